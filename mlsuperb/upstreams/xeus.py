"""XEUS (arXiv 2407.00837): an E-Branchformer on the wave, 50 frames a second; PhoneticXeus (arXiv 2603.29042), made of it.

Letters: B batch, T samples, C channels of the convolutions, F frames, D feature size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mlsuperb.espnet.keys import ENCODERS_ALONE
from mlsuperb.layers.masks import valid_mask
from mlsuperb.layers.positions import ConvolutionalPositions
from mlsuperb.upstreams.base import ENCODER, Front, Regularisation, Upstream, size_and_type
from mlsuperb.upstreams.espnet_encoder import E_BRANCHFORMER, EspnetEncoder, fill
from mlsuperb.upstreams.inputs import WaveInput
from mlsuperb.upstreams.padding import normalise_wave
from mlsuperb.upstreams.sources import CONFIG as JSON
from mlsuperb.upstreams.sources import local_folder
from mlsuperb.upstreams.xeus_files import XeusFiles, find_phonetic_xeus, find_xeus, hub_problems, read_settings

POSITION_KERNEL, POSITION_GROUPS = 128, 16  # defaults of `ConvolutionalPositionalEmbedding`, which no setting changes
WAVE_EPS = 1e-5  # of `F.layer_norm` on the wave
MASK_EMBEDDING = "util_modules.mask.mask_embedding"


class XeusEncoder(EspnetEncoder):
    """ESPnet's `CNNFrontend`, a linear pre-encoder without a norm before it, and its `EBranchformerEncoder` with convolutional
    positions, whose output takes the place of the frames.

    Args:
        shapes: channels, kernel and stride of each convolution on the wave.
        size: D.
        mask_embedding: whether there is an embedding of masked frames.
        blocks: see `add_blocks`.
    """

    names = ENCODERS_ALONE["wave"]
    prefixes: ClassVar = ("frontend.", "preencoder.", "encoder.")

    def __init__(
        self, *, shapes: Sequence[Sequence[int]], size: int, mask_embedding: bool = False, **blocks: Any
    ) -> None:
        super().__init__()
        from transformers import Wav2Vec2Config
        from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2FeatureEncoder

        channels, kernels, strides = zip(*shapes, strict=True)
        config = Wav2Vec2Config(
            conv_dim=channels, conv_kernel=kernels, conv_stride=strides, conv_bias=True, feat_extract_norm="layer"
        )
        self.input = WaveInput(kernels=kernels, strides=strides, normalise=False)
        self.convolutions: Any = Wav2Vec2FeatureEncoder(config)  # the same layers
        self.convolutions._requires_grad = False  # else it makes the wave require a gradient
        self.projection = nn.Linear(channels[-1], size)
        self.mask_embedding = nn.Parameter(torch.rand(size)) if mask_embedding else None
        self.positions = ConvolutionalPositions(size, kernel=POSITION_KERNEL, groups=POSITION_GROUPS)
        self.add_blocks(size, **blocks)

    def forward(self, hidden_BFD: Tensor, lengths_B: Tensor) -> list[Tensor]:
        """The input of the first block and the output of each: (B, F, D), garbage beyond the valid frames; from the output of
        `projection`."""
        valid_BF = valid_mask(lengths_B, hidden_BFD.shape[1])
        return self.run_blocks(self.positions(hidden_BFD, lengths_B), valid_BF)


class XeusStack(Upstream):
    """An encoder of XEUS's kind as an upstream.

    Layer 0 is the input of the first block, layer i the output of block i, the last one after the final layer norm where the
    encoder has it. XEUS's authors leave both away: they sum the outputs of the 19 blocks, the last one as it is
    (`multilayer_feature` of ESPnet's `ESPnetSSLFrontend`; `use_final_output=False`).

    Each wave is normalised over its own samples, as ESPnet does with one utterance; in a batch it normalises over all of it,
    padding included. Audio under 25 ms is padded with zeros to 25 ms. Layer drop is off.

    Args:
        encoder: the model.
        input_layer: return layer 0, too.
        dropout_while_frozen: see `Upstream`.
    """

    stacks = {
        ENCODER: replace(E_BRANCHFORMER, front=("model.convolutions", "model.projection", "model.positions")),
    }

    def __init__(self, encoder: XeusEncoder, *, input_layer: bool = True, dropout_while_frozen: bool = False) -> None:
        super().__init__()
        self.has_input_layer = input_layer
        self.has_final_norm = encoder.final_norm is not None
        self.num_layers = len(encoder.blocks) + input_layer
        self.layer_size = encoder.size
        self.frame_rate_hz = encoder.input.frame_rate_hz
        self.dropout_while_frozen = dropout_while_frozen
        self.model = encoder

    @property
    def mask_embedding_D(self) -> nn.Parameter | None:  # noqa: N802 (a shape)
        """What a masked frame was replaced by in pre-training; None with `regularisation="off"`."""
        return self.model.mask_embedding

    def run_front(self, wave_BT: Tensor, lengths_B: Tensor) -> Front:
        with torch.autocast(wave_BT.device.type, enabled=False):
            wave_BT = normalise_wave(wave_BT.float(), lengths_B, eps=WAVE_EPS)
            wave_BT, _ = self.model.input(wave_BT, lengths_B)
        conv_BFC: Tensor = self.model.convolutions(wave_BT).transpose(1, 2)
        return Front(self.model.projection(conv_BFC), self.num_frames(lengths_B), conv_BFC)

    def encode(self, hidden_BFD: Tensor, lengths_B: Tensor) -> list[Tensor]:
        layers: list[Tensor] = self.model(hidden_BFD, lengths_B)
        return layers[0 if self.has_input_layer else 1 :]

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return self.model.input.num_frames(lengths_B)


class Xeus(XeusStack):
    """XEUS with its published weights, or another model of ESPnet's task `ssl` with such an encoder; losses are not kept.

    Args:
        checkpoint: an id on the hub (`espnet/xeus`) or a folder with ESPnet's config.yaml and weights (*.pth).
        revision: branch, tag or commit on the hub; a folder has none.
        input_layer: see `XeusStack`.
        final_norm: normalise the last layer (ESPnet's `use_final_output`).
        dropout_while_frozen: see `Upstream`.
        regularisation: `mask_embedding` keeps the embedding of masked frames.
    """

    find: ClassVar[Callable[..., XeusFiles]] = staticmethod(find_xeus)
    on_hub: ClassVar[tuple[str, ...]] = ("model/config.yaml", "meta.yaml")

    def __init__(
        self,
        *,
        checkpoint: str,
        revision: str = "main",
        input_layer: bool = True,
        final_norm: bool = True,
        dropout_while_frozen: bool = False,
        regularisation: Regularisation = "off",
    ) -> None:
        files = self.find(checkpoint, revision=revision)
        settings = read_settings(files.config)
        if settings.problem:
            raise ValueError(f"upstream.checkpoint={checkpoint}: {settings.problem}")
        weights = files.read()
        if not final_norm:
            weights = {name: value for name, value in weights.items() if not name.startswith("encoder.after_norm.")}
        if (masked := regularisation == "mask_embedding") and MASK_EMBEDDING not in weights:
            raise ValueError(
                f"upstream.regularisation=mask_embedding: upstream.checkpoint={checkpoint} has no embedding of masked frames "
                f"({MASK_EMBEDDING}). Leave it out, or choose espnet/xeus"
            )
        with torch.device("meta"):
            encoder = XeusEncoder(
                **settings.encoder, mask_embedding=masked, final_norm=final_norm, conditioned_after=files.conditioned_after,
                vocab_size=len(weights.get("ctc.ctc_lo.bias", ())),
            )  # fmt: skip
        fill(encoder, weights, checkpoint=checkpoint, file=files.weights)
        super().__init__(encoder, input_layer=input_layer, dropout_while_frozen=dropout_while_frozen)
        self._record = {
            **files.record(checkpoint, revision), "input_layer": input_layer, "final_norm": final_norm, **size_and_type(self),
        }  # fmt: skip

    @classmethod
    def problems(cls, *, checkpoint: str, revision: str = "main", **_others: object) -> list[str]:
        """What can be said against the checkpoint without network or weights."""
        if local_folder(checkpoint) is None:
            return hub_problems(checkpoint, revision=revision, files=cls.on_hub)
        try:
            problem = read_settings(cls.find(checkpoint, revision=revision).config).problem
        except ValueError as error:
            return [str(error)]
        return [f"upstream.checkpoint={checkpoint}: {problem}"] if problem else []

    @classmethod
    def depth(cls, settings: Mapping[str, Any]) -> int | None:
        """See `Upstream.depth`; None for a hub's checkpoint."""
        if local_folder(settings["checkpoint"]) is None:
            return None
        return int(read_settings(cls.find(settings["checkpoint"], revision="main").config).encoder["num_blocks"])

    @classmethod
    def layer_count(cls, settings: Mapping[str, Any]) -> int | None:
        """See `Upstream.layer_count`."""
        depth = cls.depth(settings)
        return None if depth is None else depth + settings.get("input_layer", True)


class PhoneticXeus(Xeus):
    """PhoneticXeus with its published weights: XEUS fine-tuned to phones, with self-conditioned CTC inside. Its code
    (`trust_remote_code`) is not run, and neither its vocabulary nor its decoding is read.

    Args: see `Xeus`; checkpoint: `changelinglab/PhoneticXeus`, or a folder with its config.json, model.safetensors and
        `pxeus/`.
    """

    find: ClassVar[Callable[..., XeusFiles]] = staticmethod(find_phonetic_xeus)
    on_hub: ClassVar[tuple[str, ...]] = (JSON,)
