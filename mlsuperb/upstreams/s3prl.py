"""A self-supervised model as s3prl runs it, for heads that were trained on s3prl's features.

Letters: B batch, T samples, F frames, D feature size.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from mlsuperb.layers.masks import valid_mask, zero_padding
from mlsuperb.types import Features
from mlsuperb.upstreams.base import Front, Upstream
from mlsuperb.upstreams.huggingface import HuggingFace
from mlsuperb.upstreams.inputs import WaveInput
from mlsuperb.upstreams.padding import normalise_wave, pad_short

S3prlKind = Literal["own", "transformers"]
MIN_SAMPLES = 800  # s3prl.nn.upstream: MIN_SECOND = 0.05


class S3prl(HuggingFace):
    """The features of s3prl's `S3PRLUpstream` on one utterance (what ESPnet's `S3prlFrontend` gives a model):

    - as many frames as started hops of 320 samples: the convolutions give one or two less, and the last frame is
      repeated. Inside a batch s3prl does so for the longest utterance alone; here the number is the same in any batch;
    - audio under 0.05 s is padded with zeros to that length first, and cut to its number of frames afterwards;
    - waves normalised as the kind of model asks for (below).

    Args:
        checkpoint, revision, dropout_while_frozen: see `HuggingFace`.
        kind: `own`, a model that s3prl has itself (`hubert_base`, `xls_r_300m`, ...): waves are normalised where its
            convolutions have layer norms, as fairseq trained it, whatever preprocessor_config.json says, and 1e-5 is added
            to their variance (`F.layer_norm`). `transformers`, one that it takes from there (`hf_wav2vec2_custom`, ...):
            as preprocessor_config.json says, with 1e-7 (`Wav2Vec2FeatureExtractor`).
    """

    def __init__(
        self,
        *,
        checkpoint: str,
        revision: str = "main",
        dropout_while_frozen: bool = False,
        kind: S3prlKind = "own",
    ) -> None:
        super().__init__(checkpoint=checkpoint, revision=revision, dropout_while_frozen=dropout_while_frozen)
        if not isinstance(self.input, WaveInput):
            raise ValueError(
                f"upstream.checkpoint={checkpoint} reads no waves, so s3prl has no such model; use upstream=hf"
            )
        by_convolutions = self.model.config.feat_extract_norm == "layer"
        self.normalise = by_convolutions if kind == "own" else self.input.normalise
        self.wave_eps = 1e-5 if kind == "own" else 1e-7
        self.input.normalise = False  # done here, with another epsilon
        self.source = "s3prl's own model" if kind == "own" else self._record["do_normalize_source"]
        self.hop_length = math.prod(stride for _, stride in self.input.convolutions)

    def forward(self, wave_BT: Tensor, lengths_B: Tensor) -> Features:
        """All layers, `ceil(samples / hop)` frames each, zero beyond."""
        frames_B, num_frames = self.num_frames(lengths_B), max(1, -(-wave_BT.shape[1] // self.hop_length))
        wave_BT = wave_BT.masked_fill(~valid_mask(lengths_B, wave_BT.shape[1]), 0)
        wave_BT, padded_B = pad_short(wave_BT, lengths_B, min_samples=MIN_SAMPLES)
        if self.normalise:
            with torch.autocast(wave_BT.device.type, enabled=False):
                wave_BT = normalise_wave(wave_BT.float(), padded_B, eps=self.wave_eps)
        front = super().run_front(wave_BT, padded_B)
        positions_F = torch.arange(num_frames, device=wave_BT.device)
        source_BF1 = torch.minimum(positions_F, front.lengths_B[:, None] - 1)[..., None]
        layers = self.run_blocks(front.hidden_BFD, front.lengths_B)
        repeated = (layer.gather(1, source_BF1.expand(-1, -1, layer.shape[2])) for layer in layers)
        return Features(tuple(zero_padding(layer, frames_B) for layer in repeated), frames_B, self.frame_rate_hz)

    def run_front(self, wave_BT: Tensor, lengths_B: Tensor) -> Front:
        """Refused: frames are repeated behind the blocks."""
        return Upstream.run_front(self, wave_BT, lengths_B)

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return torch.div(lengths_B.clamp(min=1) + self.hop_length - 1, self.hop_length, rounding_mode="floor")

    def record(self) -> dict[str, object]:
        """As `HuggingFace`, but of a folder only its name: its files are known by their hashes, wherever it lies."""
        found = super().record()
        name = Path(str(found["checkpoint"])).name if found["sha256"] else found["checkpoint"]
        return found | {"checkpoint": name, "do_normalize": self.normalise, "do_normalize_source": self.source}
