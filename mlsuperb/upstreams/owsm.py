"""OWSM's encoder: an E-Branchformer on globally normalised log-mels, 25 frames a second (OWSM 3.1) or 12.5 (OWSM 4).

Letters: B batch, T samples, M mel frames, K mel filters, F encoder frames, D feature size, P tokens before the frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from mlsuperb.espnet.folder import read_weights
from mlsuperb.espnet.keys import ENCODERS_ALONE
from mlsuperb.layers.frontends import StridedConv2d
from mlsuperb.layers.masks import valid_mask
from mlsuperb.layers.positions import Positions
from mlsuperb.upstreams.base import ENCODER, SAMPLE_RATE_HZ, Front, Upstream, size_and_type
from mlsuperb.upstreams.espnet_encoder import E_BRANCHFORMER, EspnetEncoder, fill
from mlsuperb.upstreams.fbank import Fbank
from mlsuperb.upstreams.owsm_files import (
    OWSM,
    Kind,
    OwsmFiles,
    OwsmSettings,
    find_files,
    owsm_problems,
    read_settings,
    read_stats,
)
from mlsuperb.upstreams.sources import local_folder

TRAINED_ON_S = 30.0  # `speech_length` of the recipes egs2/owsm_v3.1/s2t1, owsm_v4/s2t1 and owsm_ctc_v3.1/s2t1


class OwsmEncoder(EspnetEncoder):
    """ESPnet's `EBranchformerEncoder` with convolutions on log-mels in front and absolute positions; with `prefix_size` and
    `conditioned_after` its `EBranchformerCTCEncoder`.

    Args:
        input_size: K.
        size: D.
        position_dropout: behind the positions.
        frontend: ESPnet's `input_layer`: every 4th or every 8th frame of the log-mels.
        prefix_size: P embedded tokens stand before the frames in the blocks and are taken out of each layer.
        blocks: see `add_blocks`.
    """

    def __init__(
        self,
        *,
        input_size: int,
        size: int,
        position_dropout: float,
        frontend: Literal["conv2d", "conv2d8"] = "conv2d",
        prefix_size: int = 0,
        **blocks: Any,
    ) -> None:
        super().__init__()
        self.names = ENCODERS_ALONE[frontend]
        self.frontend = StridedConv2d(input_size, size, num_halvings=2 if frontend == "conv2d" else 3)
        self.prefix_PD = nn.Parameter(torch.randn(prefix_size, size)) if prefix_size else None
        self.positions = Positions(dropout=position_dropout)
        self.add_blocks(size, **blocks)

    def forward(self, hidden_BFD: Tensor, lengths_B: Tensor) -> list[Tensor]:
        """The input of the first block and the output of each, the last one normalised: (B, F, D), garbage beyond the
        valid frames; from the output of `frontend`."""
        num_before = 0
        if self.prefix_PD is not None:
            num_before = len(self.prefix_PD)
            prefix_BPD = self.prefix_PD.to(hidden_BFD.dtype).expand(len(hidden_BFD), -1, -1)
            hidden_BFD = torch.cat([prefix_BPD, hidden_BFD], dim=1)
        valid_BF = valid_mask(lengths_B + num_before, hidden_BFD.shape[1])
        layers = self.run_blocks(self.positions(hidden_BFD), valid_BF)
        return [layer_BFD[:, num_before:] for layer_BFD in layers]


class OwsmStack(Upstream):
    """An E-Branchformer encoder with its log-mels as an upstream.

    Layer 0 is the input of the first block, layer i the output of block i; the last one, of the last block, is after the
    encoder's final layer norm. 25 frames a second, 12.5 behind `conv2d8`. Audio of any length is encoded whole; under 60 ms
    (140 ms) it is padded, by mean log-mels.

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
    stacks = {ENCODER: E_BRANCHFORMER}

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
        self.layer_size = encoder.size
        self.frame_rate_hz = fbank.frame_rate_hz / encoder.frontend.shortening
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
    """The encoder of a published OWSM 3.1 or 4, or of another ESPnet model with such an encoder; its decoder is not kept.

    Args:
        checkpoint: an id on the hub (`espnet/owsm_v3.1_ebf`) or a folder with ESPnet's config.yaml, weights (*.pth) and
            feats_stats.npz, packed (meta.yaml) or as a recipe leaves them.
        revision: branch, tag or commit on the hub; a folder has none.
        pad_to_30s: see `pad_to_s` of `OwsmStack`.
        dropout_while_frozen: see `Upstream`.
    """

    kind: ClassVar[Kind] = OWSM

    def __init__(
        self, *, checkpoint: str, revision: str = "main", pad_to_30s: bool = False, dropout_while_frozen: bool = False
    ) -> None:
        files = find_files(checkpoint, revision=revision)
        settings = read_settings(files.config, kind=self.kind)
        if settings.problem:
            raise ValueError(f"upstream.checkpoint={checkpoint}: {settings.problem}")
        fbank = Fbank(**settings.fbank)
        mean_K, std_K = read_stats(files.stats, num_mels=fbank.layer_size)
        weights, further = self._weights(files, settings, checkpoint)
        with torch.device("meta"):
            encoder = OwsmEncoder(input_size=fbank.layer_size, **settings.encoder, **further)
        fill(encoder, weights, checkpoint=checkpoint, file=files.weights)
        super().__init__(
            encoder,
            fbank=fbank,
            mean_K=mean_K,
            std_K=std_K,
            pad_to_s=TRAINED_ON_S if pad_to_30s else 0.0,
            dropout_while_frozen=dropout_while_frozen,
        )
        self._record = {**files.record(checkpoint, revision, kind=self.kind), **size_and_type(self)}

    @staticmethod
    def _weights(files: OwsmFiles, settings: OwsmSettings, checkpoint: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The weights by ESPnet's names, and settings of the encoder that only they tell."""
        return read_weights(files.weights), {}

    @classmethod
    def problems(cls, *, checkpoint: str, revision: str = "main", **_others: object) -> list[str]:
        """What can be said against the checkpoint without network or weights."""
        return owsm_problems(checkpoint, revision=revision, kind=cls.kind)

    @classmethod
    def depth(cls, settings: Mapping[str, Any]) -> int | None:
        """See `Upstream.depth`; None for a hub's checkpoint."""
        if local_folder(settings["checkpoint"]) is None:
            return None
        files = find_files(settings["checkpoint"], revision=settings["revision"])
        return int(read_settings(files.config, kind=cls.kind).encoder["num_blocks"])
