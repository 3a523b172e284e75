"""Compare the Whisper upstream with transformers' own encoder, layer by layer, on real weights and real speech. Exits with 1 if a
layer differs by more than 1e-5 of its largest magnitude.

    python scripts/fidelity_whisper.py --checkpoint DIR --speech DIR

Each clip is padded to 30 s, as the original always does, and goes through the upstream alone and in batches of different
lengths; the original reads it alone. Differences are shown as they are and as a share of the largest magnitude in the layer:
Whisper has a few features many times larger than all others, beside which the last bits of fp32 are more than 1e-5. In fp64, with
the original's log-mels on both sides, only what is computed differently is left.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mlsuperb.data.audio import load_audio
from mlsuperb.types import SAMPLE_RATE_HZ
from mlsuperb.upstreams.whisper import Whisper

ALLOWED = 1e-5  # of a layer's largest magnitude
AUDIO = (".flac", ".ogg", ".wav")
MAX_S = 30.0


@dataclass
class Difference:
    """The largest difference in a layer, and the largest magnitude that the original has there."""

    absolute: float = 0.0
    magnitude: float = 0.0

    @property
    def relative(self) -> float:
        return self.absolute / self.magnitude

    def add(self, found: Tensor, expected: Tensor) -> None:
        self.absolute = max(self.absolute, (found - expected).abs().max().item())
        self.magnitude = max(self.magnitude, expected.abs().max().item())


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


def batches(waves: Sequence[Tensor], size: int) -> Iterator[tuple[Tensor, Tensor, range]]:
    """Padded waves, their lengths and places."""
    for start in range(0, len(waves), size):
        part = waves[start : start + size]
        padded_BT = pad_sequence(list(part), batch_first=True)
        yield padded_BT, torch.tensor([len(wave_T) for wave_T in part]), range(start, start + len(part))


@torch.no_grad()
def compare(upstream: Whisper, encoder: Any, waves: Sequence[Tensor], *, size: int, fp64: bool) -> list[Difference]:
    """Differences of the layers, of batches of `size` from the original alone."""
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=encoder.config.num_mel_bins)
    found = [Difference() for _ in range(upstream.num_layers)]
    log_mels: Any = upstream.input
    kind = torch.float64 if fp64 else torch.float32
    for wave_BT, lengths_B, places in batches(waves, size):
        arrays = [waves[place].numpy() for place in places]
        mels_BKM = extractor(arrays, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt").input_features.to(kind)
        if fp64:  # ours are made in fp32
            given = mels_BKM.transpose(1, 2), torch.full((len(mels_BKM),), mels_BKM.shape[-1])
            log_mels.forward = lambda *_, given=given: given
        ours = upstream(wave_BT, lengths_B)
        for row, mels_KM in enumerate(mels_BKM):
            output = encoder(mels_KM[None], output_hidden_states=True)
            frames = int(ours.lengths_B[row])
            for difference, layer, theirs in zip(found, ours.layers, output.hidden_states, strict=True):
                difference.add(layer[row, :frames], theirs[0, :frames])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder of a Whisper, with or without a decoder")
    parser.add_argument("--speech", type=Path, required=True, help="folder of recordings (16 kHz or any other rate)")
    parser.add_argument("--num", type=int, default=12, help="clips to compare (default 12)")
    parser.add_argument("--batch", type=int, default=4, help="clips in a padded batch (default 4)")
    arguments = parser.parse_args()
    waves = clips(arguments.speech, arguments.num)
    encoder = original_encoder(arguments.checkpoint)
    upstream: Any = Whisper(checkpoint=str(arguments.checkpoint), pad_to_30s=True).eval()
    lengths = [len(wave_T) / SAMPLE_RATE_HZ for wave_T in waves]
    print(f"{len(waves)} clips of {min(lengths):.2f} to {max(lengths):.2f} s; differences from transformers' encoder:")
    worst = 0.0
    for fp64 in (False, True):
        if fp64:
            upstream.double()
            encoder.double()
        for size in (1, arguments.batch):
            title = f"{'fp64, the same log-mels' if fp64 else 'fp32'}, {'alone' if size == 1 else f'batches of {size}'}"
            print(f"\n{title}\nlayer  largest magnitude  absolute  of the largest magnitude")
            for layer, one in enumerate(compare(upstream, encoder, waves, size=size, fp64=fp64)):
                print(f"{layer:5}  {one.magnitude:17.2f}  {one.absolute:8.1e}  {one.relative:8.1e}")
                worst = max(worst, one.relative)
    print(f"\nlargest: {worst:.1e} of a layer's largest magnitude; allowed: {ALLOWED:.0e}")
    return int(worst > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
