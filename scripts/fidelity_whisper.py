"""Compare the Whisper upstream with transformers' own encoder, layer by layer, on real weights and real speech. Exits with 1 if a
layer differs by more than is allowed.

    python scripts/fidelity_whisper.py --checkpoint DIR --speech DIR

Each clip is padded to 30 s, as the original always does, and goes through the upstream alone and in batches of different
lengths; the original reads it alone. All differences are shares of the layer's largest magnitude, which is shown: Whisper has
a few features many times larger than all others, beside which the last bits of fp32 are more than 1e-5.

- same log-mels: both get the original's. This is what the layers compute, and what is allowed 1e-5.
- from the wave: each makes its own log-mels, in fp32, whose last bits the later layers multiply. Beside it stands how far the
  original is from itself in fp64 (`rounding`). Two computations that are each so far from the exact one may differ by twice
  that; more, and more than 1e-5, is not allowed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mlsuperb.data.audio import load_audio
from mlsuperb.types import SAMPLE_RATE_HZ
from mlsuperb.upstreams.whisper import Whisper

ALLOWED = 1e-5  # of a layer's largest magnitude
TIMES = 2  # of the original's own rounding: one for each side
AUDIO = (".flac", ".ogg", ".wav")
MAX_S = 30.0


class Differences:
    """The largest difference in each layer, as a share of the largest magnitude that the original has there."""

    def __init__(self, num_layers: int) -> None:
        self.absolute, self.magnitude = [0.0] * num_layers, [0.0] * num_layers

    def add(self, found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
        """Layers (F, D) of a clip."""
        for layer, (one, other) in enumerate(zip(found, expected, strict=True)):
            self.absolute[layer] = max(self.absolute[layer], (one - other).abs().max().item())
            self.magnitude[layer] = max(self.magnitude[layer], other.abs().max().item())

    def relative(self) -> list[float]:
        return [one / other for one, other in zip(self.absolute, self.magnitude, strict=True)]


def clips(folder: Path, num: int) -> list[Tensor]:
    """`num` clips of at most 30 s, evenly out of all in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in AUDIO)
    if not files:
        sys.exit(f"--speech {folder} has no {', '.join(AUDIO)} files")
    chosen = files[:: max(1, len(files) // num)][:num]
    waves = [torch.as_tensor(load_audio(str(path))).float() for path in chosen]
    return [wave_T[: int(MAX_S * SAMPLE_RATE_HZ)] for wave_T in waves]


def original_encoder(checkpoint: Path) -> Any:
    """transformers' encoder, in the whole model, whose decoder the checkpoint need not have."""
    from transformers import WhisperModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    model, info = WhisperModel.from_pretrained(checkpoint, dtype=torch.float32, output_loading_info=True)
    if missing := sorted(name for name in info["missing_keys"] if name.startswith("encoder.")):
        sys.exit(f"--checkpoint {checkpoint} has no {missing[0]}")
    return model.encoder.eval()


class Original:
    """transformers' encoder behind its own log-mels.

    Attributes:
        mels_BKM: of each clip, padded to 30 s.
        layers: of each clip.
        rounding: how far these are from the same in fp64, log-mels included.
    """

    @torch.no_grad()
    def __init__(self, encoder: Any, waves: Sequence[Tensor], frames: Sequence[int]) -> None:
        from transformers import WhisperFeatureExtractor

        extractor = WhisperFeatureExtractor(feature_size=encoder.config.num_mel_bins)
        padded_BT = np.stack([np.pad(wave_T.numpy(), (0, extractor.n_samples - len(wave_T))) for wave_T in waves])
        arguments = {"sampling_rate": SAMPLE_RATE_HZ, "return_tensors": "pt"}
        self.mels_BKM = extractor([wave_T.numpy() for wave_T in waves], **arguments).input_features
        exact_BKM = torch.as_tensor(extractor._np_extract_fbank_features(padded_BT.astype(float), "cpu")).double()
        self.layers = [
            self._layers(encoder, mels_KM, count) for mels_KM, count in zip(self.mels_BKM, frames, strict=True)
        ]
        self.rounding = Differences(len(self.layers[0]))
        exact = deepcopy(encoder).double()
        for layers, mels_KM, count in zip(self.layers, exact_BKM, frames, strict=True):
            self.rounding.add([layer.double() for layer in layers], self._layers(exact, mels_KM, count))

    def _layers(self, encoder: Any, mels_KM: Tensor, num_frames: int) -> list[Tensor]:
        hidden_states = encoder(mels_KM[None], output_hidden_states=True).hidden_states
        return [layer_1FD[0, :num_frames] for layer_1FD in hidden_states]


@torch.no_grad()
def compare(
    upstream: Whisper, original: Original, waves: Sequence[Tensor], *, size: int, same_mels: bool
) -> list[float]:
    """How far the upstream's layers, of batches of `size`, are from the original's."""
    found, log_mels = Differences(upstream.num_layers), upstream.input
    for start in range(0, len(waves), size):
        part = list(waves[start : start + size])
        lengths_B = torch.tensor([len(wave_T) for wave_T in part])
        if same_mels:
            mels_BMK = original.mels_BKM[start : start + size].transpose(1, 2)
            given = mels_BMK, torch.full((len(part),), mels_BMK.shape[1])
            log_mels.forward = lambda *_, given=given: given  # type: ignore[method-assign]
        features = upstream(pad_sequence(part, batch_first=True), lengths_B)
        for row, count in enumerate(features.lengths_B.tolist()):
            found.add([layer[row, :count] for layer in features.layers], original.layers[start + row])
    vars(log_mels).pop("forward", None)
    return found.relative()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder of a Whisper, with or without a decoder")
    parser.add_argument("--speech", type=Path, required=True, help="folder of recordings (16 kHz or any other rate)")
    parser.add_argument("--num", type=int, default=12, help="clips to compare (default 12)")
    parser.add_argument("--batch", type=int, default=4, help="clips in a padded batch (default 4)")
    arguments = parser.parse_args()
    waves = clips(arguments.speech, arguments.num)
    upstream: Any = Whisper(checkpoint=str(arguments.checkpoint), pad_to_30s=True).eval()
    frames = upstream.num_frames(torch.tensor([len(wave_T) for wave_T in waves])).tolist()
    original = Original(original_encoder(arguments.checkpoint), waves, frames)
    lengths = [len(wave_T) / SAMPLE_RATE_HZ for wave_T in waves]
    print(
        f"{len(waves)} clips of {min(lengths):.2f} to {max(lengths):.2f} s, alone and in batches of {arguments.batch}"
    )
    columns = [
        compare(upstream, original, waves, size=size, same_mels=same)
        for same in (True, False)
        for size in (1, arguments.batch)
    ]
    print("layer  largest   same log-mels: alone    batch   from the wave: alone    batch  rounding")
    rounding, failed = original.rounding.relative(), 0
    for layer, (*found, own) in enumerate(zip(*columns, rounding, strict=True)):
        allowed = (ALLOWED, ALLOWED, max(ALLOWED, TIMES * own), max(ALLOWED, TIMES * own))
        failed += any(one > most for one, most in zip(found, allowed, strict=True))
        largest = original.rounding.magnitude[layer]
        print(f"{layer:5} {largest:8.2f} {found[0]:22.1e} {found[1]:8.1e} {found[2]:22.1e} {found[3]:8.1e} {own:9.1e}")
    print(f"{failed} layers differ by more than is allowed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
