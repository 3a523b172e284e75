"""OWSM's encoder: an E-Branchformer on globally normalised log-mels, 25 frames a second.

Letters: B batch, T samples, M mel frames, K mel filters, F encoder frames, D feature size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from mlsuperb.espnet.folder import CONFIG, read_weights
from mlsuperb.espnet.keys import HEADS
from mlsuperb.layers.e_branchformer import EBranchformerBlock
from mlsuperb.layers.frontends import StridedConv2d
from mlsuperb.layers.masks import valid_mask
from mlsuperb.layers.norm import NORM_EPS
from mlsuperb.layers.positions import Positions
from mlsuperb.runtime.messages import listed
from mlsuperb.upstreams.base import ENCODER, SAMPLE_RATE_HZ, Front, Stack, Upstream, size_and_type
from mlsuperb.upstreams.fbank import Fbank
from mlsuperb.upstreams.owsm_files import find_files, owsm_problems, read_settings, read_stats

TRAINED_ON_S = 30.0  # `speech_length` of the recipe egs2/owsm_v3.1/s2t1


class OwsmEncoder(nn.Module):
    """ESPnet's `EBranchformerEncoder` with `conv2d` in front, absolute positions and two feed-forward networks per block.

    Args:
        input_size: K.
        size: D.
        num_blocks: how many.
        position_dropout: behind the positions.
        block: the other settings of `EBranchformerBlock`.
    """

    def __init__(self, *, input_size: int, size: int, num_blocks: int, position_dropout: float, **block: Any) -> None:
        super().__init__()
        self.frontend = StridedConv2d(input_size, size, second_stride=2)
        self.positions = Positions(dropout=position_dropout)
        self.blocks = nn.ModuleList(
            EBranchformerBlock(size, positions="absolute", macaron=True, **block) for _ in range(num_blocks)
        )
        self.final_norm = nn.LayerNorm(size, eps=NORM_EPS)

    def forward(self, hidden_BFD: Tensor, lengths_B: Tensor) -> list[Tensor]:
        """The input of the first block and the output of each, the last one normalised: (B, F, D), garbage beyond the
        valid frames; from the output of `frontend`."""
        valid_BF = valid_mask(lengths_B, hidden_BFD.shape[1])
        layers = [self.positions(hidden_BFD)]
        for block in self.blocks:
            layers.append(block(layers[-1], valid_BF))
        return [*layers[:-1], self.final_norm(layers[-1])]

    def misfits(self, weights: Mapping[str, Tensor]) -> dict[str, list[str]]:
        """What of ESPnet's `weights`, without the prefix `encoder.`, does not fit, by ESPnet's names."""
        shapes = {espnet_name(name): value.shape for name, value in self.state_dict().items()}
        both = shapes.keys() & weights.keys()
        return {
            "missing": sorted(shapes.keys() - weights.keys()),
            "unknown": sorted(weights.keys() - shapes.keys()),
            "of another shape": sorted(name for name in both if weights[name].shape != shapes[name]),
        }

    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Copies of ESPnet's weights in place of its own, which may be on the meta device."""
        copies = {name: weights[espnet_name(name)].to(torch.float32, copy=True) for name in self.state_dict()}
        self.load_state_dict(copies, assign=True)


def espnet_name(our_name: str) -> str:
    """What ESPnet calls a parameter of `OwsmEncoder`, in its encoder: the layers are those of our E-Branchformer head."""
    return HEADS["e_branchformer"].theirs(our_name).removeprefix("encoder.")


class OwsmStack(Upstream):
    """An E-Branchformer encoder with its log-mels as an upstream.

    Layer 0 is the input of the first block, layer i the output of block i; the last one, of the last block, is after the
    encoder's final layer norm. 25 frames a second. Audio of any length is encoded whole; under 60 ms it is padded, by mean
    log-mels.

    OWSM was trained on speech padded or cut to 30 s, the padding counted as speech. Its positions are sinusoids, so that
    it also runs on the utterance alone, at a small part of the cost, but without the silence that it has always seen.

    Args:
        encoder: the model.
        fbank: makes its log-mels.
        mean_K, std_K: of each log-mel filter over the corpus that the encoder was trained on.
        pad_to_s: pad each utterance with zeros to so many seconds, and count them in, as in training. Only the frames of
            the utterance itself come out. A longer utterance is encoded whole, where the original cuts it off.
        dropout_while_frozen: see `Upstream`.
    """

    mean_K: Tensor
    std_K: Tensor
    stacks = {
        ENCODER: Stack(
            blocks="model.blocks",
            front=("model.frontend",),
            attention="attention",
            ffn="ffn.3",
            ffn_dropout=None,  # one module for every branch of a block
            attention_linears=tuple(f"attention.{name}" for name in ("query", "key", "value", "out")),
            ffn_linears=("macaron.0", "macaron.3", "ffn.0", "ffn.3"),
        )
    }

    def __init__(
        self,
        encoder: OwsmEncoder,
        *,
        fbank: Fbank,
        mean_K: Tensor,
        std_K: Tensor,
        pad_to_s: NonNegativeFloat = 0.0,
        dropout_while_frozen: bool = False,
    ) -> None:
        super().__init__()
        self.num_layers = len(encoder.blocks) + 1
        self.layer_size = encoder.final_norm.normalized_shape[0]
        self.frame_rate_hz = fbank.frame_rate_hz / 4
        self.dropout_while_frozen = dropout_while_frozen
        self.min_samples = round(pad_to_s * SAMPLE_RATE_HZ)
        self.fbank = fbank
        self.register_buffer("mean_K", mean_K.float(), persistent=False)
        self.register_buffer("std_K", std_K.float(), persistent=False)
        self.model = encoder

    def run_front(self, wave_BT: Tensor, lengths_B: Tensor) -> Front:
        """With `pad_to_s` there are more frames than the utterances' own: those of the silence, which count in the blocks."""
        with torch.autocast(wave_BT.device.type, enabled=False):
            mels = self.fbank(*self._pad(wave_BT.float(), lengths_B))
            mels_BMK = (mels.layers[0] - self.mean_K) / self.std_K
        return Front(self.model.frontend(mels_BMK, mels.lengths_B), self.num_frames(lengths_B))

    def encode(self, hidden_BFD: Tensor, lengths_B: Tensor) -> list[Tensor]:
        fewest = self.num_frames(torch.tensor(self.min_samples))
        layers = self.model(hidden_BFD, lengths_B.clamp(min=int(fewest)))
        longest = int(lengths_B.max())
        return [layer_BFD[:, :longest] for layer_BFD in layers]

    def _pad(self, wave_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        wave_BT = wave_BT.masked_fill(~valid_mask(lengths_B, wave_BT.shape[1]), 0)
        missing = max(0, self.min_samples - wave_BT.shape[1])
        return nn.functional.pad(wave_BT, (0, missing)), lengths_B.clamp(min=self.min_samples)

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return self.model.frontend.num_frames(self.fbank.num_frames(lengths_B))


class Owsm(OwsmStack):
    """The encoder of a published OWSM 3.1, or of another ESPnet model with such an encoder; its decoder is not kept.

    Args:
        checkpoint: an id on the hub (`espnet/owsm_v3.1_ebf`) or a folder with ESPnet's config.yaml, weights (*.pth) and
            feats_stats.npz, packed (meta.yaml) or as a recipe leaves them.
        revision: branch, tag or commit on the hub; a folder has none.
        pad_to_30s: see `pad_to_s` of `OwsmStack`.
        dropout_while_frozen: see `Upstream`.
    """

    def __init__(
        self, *, checkpoint: str, revision: str = "main", pad_to_30s: bool = False, dropout_while_frozen: bool = False
    ) -> None:
        files = find_files(checkpoint, revision=revision)
        settings = read_settings(files.config)
        if settings.problem:
            raise ValueError(f"upstream.checkpoint={checkpoint}: {settings.problem}")
        fbank = Fbank(**settings.fbank)
        mean_K, std_K = read_stats(files.stats, num_mels=fbank.layer_size)
        with torch.device("meta"):
            encoder = OwsmEncoder(input_size=fbank.layer_size, **settings.encoder)
        tensors = read_weights(files.weights)
        weights = {name.removeprefix("encoder."): tensors[name] for name in tensors if name.startswith("encoder.")}
        if any((wrong := encoder.misfits(weights)).values()):
            raise ValueError(
                f"upstream.checkpoint={checkpoint}: {files.weights.name} does not fit its {CONFIG}: {listed(wrong)}. "
                "Parts of the encoder would be random. Give weights and configuration of one and the same model."
            )
        encoder.take(weights)
        super().__init__(
            encoder,
            fbank=fbank,
            mean_K=mean_K,
            std_K=std_K,
            pad_to_s=TRAINED_ON_S if pad_to_30s else 0.0,
            dropout_while_frozen=dropout_while_frozen,
        )
        self._record = {**files.record(checkpoint, revision), **size_and_type(self)}

    @classmethod
    def problems(cls, *, checkpoint: str, revision: str = "main", **_others: object) -> list[str]:
        """What can be said against the checkpoint without network or weights."""
        return owsm_problems(checkpoint, revision=revision)
