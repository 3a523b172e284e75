"""How long a frozen run on the multilingual 1h set of ML-SUPERB takes with a feature cache of so many GB, from three measured
rates and arithmetic. `scripts/bench/frozen_run.py` measures the rates:

    python scripts/bench/cache_hours.py --cached-step 0.75 --uncached-step 8.3 --fill 0.16 [--step-audio-s 48]
        [--layers 13] [--size 768] [--max-gb 0 200 550 1100]

The set is that of the ESPnet recipe `egs2/ml_superb/asr1`, joint setup: 123,097 utterances to train on, 23,665 to validate,
24,017 to test, 300 h in all; `train_asr_s3prl_1h.yaml`: 30 epochs of 20,000 iterations of 8 utterances.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mlsuperb.cache.codec import DType, bytes_per_second
from scripts.bench.harness import Table, save

NUM_TRAIN, NUM_DEV, NUM_TEST, TOTAL_H = 123_097, 23_665, 24_017, 300.0
NUM_ITERATIONS, NUM_EPOCHS, BATCH_SIZE = 600_000, 30, 8
FRAME_RATE_HZ = 50.0


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What was measured."""

    cached_step_s: float  # a training step whose features are all in the cache
    uncached_step_s: float  # the same step from the waves
    step_audio_s: float  # of audio in that step
    fill_s: float  # for one second of audio, until its features are in the cache


@dataclass(frozen=True, kw_only=True)
class Hours:
    """Of a run: `share` of the audio is in the cache; `read_mb_per_s` is what the disk gives while cached steps run, where
    the machine's memory does not hold the cache."""

    share: float
    fill_h: float
    train_h: float
    valid_h: float
    test_h: float
    read_mb_per_s: float

    @property
    def total_h(self) -> float:
        return self.fill_h + self.train_h + self.valid_h + self.test_h


def hours(rates: Rates, *, max_gb: float, bytes_per_s: float) -> Hours:
    """The hours of a run with `max_gb` (10^9 bytes) of features, of `bytes_per_s` for a second of audio.

    An utterance is in the cache or not, with no regard to how often it is seen, so a step costs the mean of both steps by the
    cached share. A second of audio costs as much in validation and test as in training, which is more than it does; the search
    for the best text is not in it.
    """
    share = min(1.0, max_gb * 1e9 / (TOTAL_H * 3600 * bytes_per_s))
    step_s = share * rates.cached_step_s + (1 - share) * rates.uncached_step_s
    per_audio = step_s / rates.step_audio_s
    utterance_h = TOTAL_H / (NUM_TRAIN + NUM_DEV + NUM_TEST)
    return Hours(
        share=share,
        fill_h=share * TOTAL_H * rates.fill_s,
        train_h=NUM_ITERATIONS * BATCH_SIZE * utterance_h * per_audio,
        valid_h=NUM_EPOCHS * NUM_DEV * utterance_h * per_audio,
        test_h=NUM_TEST * utterance_h * per_audio,
        read_mb_per_s=share * bytes_per_s * rates.step_audio_s / step_s / 1e6,
    )


def table(rates: Rates, *, num_layers: int, size: int, max_gb: list[float]) -> list[list[str]]:
    """A row of cells for each type and size of cache, those that hold everything once."""
    rows = []
    without = hours(rates, max_gb=0.0, bytes_per_s=1.0).total_h
    dtypes: tuple[DType, ...] = ("bf16", "int8")
    for dtype in dtypes:
        per_s = bytes_per_second(num_layers=num_layers, size=size, frame_rate_hz=FRAME_RATE_HZ, dtype=dtype)
        needed_gb = TOTAL_H * 3600 * per_s / 1e9
        sizes_gb = sorted({min(one, needed_gb) for one in [*max_gb, needed_gb]})
        for size_gb in [one for one in sizes_gb if one or dtype == dtypes[0]]:
            found = hours(rates, max_gb=size_gb, bytes_per_s=per_s)
            parts = (found.fill_h, found.train_h, found.valid_h, found.test_h, found.total_h)
            whole = [f"{part:,.0f}" for part in parts]
            speed = [f"{without / found.total_h:.1f}", f"{found.read_mb_per_s:,.0f}"]
            rows.append([dtype if size_gb else "none", f"{size_gb:,.0f}", f"{found.share:.0%}", *whole, *speed])
    return rows


def main() -> None:
    """Compute and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the table to this file, too")
    parser.add_argument("--cached-step", type=float, required=True, help="seconds of a step from the cache")
    parser.add_argument("--uncached-step", type=float, required=True, help="seconds of the same step from the waves")
    parser.add_argument("--fill", type=float, required=True, help="seconds to fill the cache with a second of audio")
    parser.add_argument(
        "--step-audio-s", type=float, default=48.0, help="seconds of audio in that step (default 8 x 6)"
    )
    parser.add_argument("--layers", type=int, default=13, help="of the upstream (default 13: a base model; large: 25)")
    parser.add_argument("--size", type=int, default=768, help="of a layer (default 768; large: 1024)")
    parser.add_argument("--max-gb", type=float, nargs="+", default=[0.0, 200.0, 500.0, 1100.0])
    given = parser.parse_args()
    steps = {"cached_step_s": given.cached_step, "uncached_step_s": given.uncached_step}
    rates = Rates(**steps, step_audio_s=given.step_audio_s, fill_s=given.fill)
    titles = ("GB", "of the audio", "fill, h", "train, h", "validate, h", "test, h", "whole run, h", "x", "reads, MB/s")
    shown = Table("cache", *titles)
    for row in table(rates, num_layers=given.layers, size=given.size, max_gb=given.max_gb):
        shown.row(*row)
    save(given, {})


if __name__ == "__main__":
    main()
