"""What mHuBERT-147's training takes at its size, term by term, each with where it comes from: docs/pretraining_at_scale.md.

    python scripts/pretraining_plan.py            # print it
    python scripts/pretraining_plan.py --write    # put it into the document, between its marks

The figures of `MEASURED` are of one core of a machine without a GPU, in processor seconds; measure them anew with the commands
beside them. Those of `TAKEN` were not measured here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "pretraining_at_scale.md"
BEGIN, END = "<!-- scripts/pretraining_plan.py -->\n", "<!-- end -->\n"
SHARDS, LABELS = "scripts/bench/shards.py", "scripts/bench/label_speed.py"

HOURS = 90_430  # after filtering (arXiv 2406.06371)
ROWS = 25_000_000  # utterances of 13 s, which is what the stages of scripts/bench/scale.py are measured with
NUM_LANGUAGES = 147
UPDATES, UPDATE_S, NUM_GPUS = 2_000_000, 5_600, 32  # of an iteration; of audio in an update (mhubert147_base.yaml)
ITERATIONS = 3


@dataclass(frozen=True)
class Known:
    """A figure and what it rests on."""

    value: float
    source: str


MEASURED = {
    "flac": Known(62.2, SHARDS),  # MB per hour, in shards
    "opus": Known(13.4, SHARDS),
    "write flac": Known(1481, SHARDS),  # times real time, a core
    "write opus": Known(32, SHARDS),
    "read flac": Known(1.19, SHARDS),  # hours per second, a core
    "read opus": Known(0.208, SHARDS),
    "plan": Known(5.9, f"{SHARDS} --plan-rows 25000000"),  # seconds a pass
    "mfcc": Known(2576, LABELS),  # times real time, a core
    "units of mfcc": Known(771_000, LABELS),  # frames per second, a core
    "units of a layer": Known(323_000, LABELS),
    "encoder": Known(6.5, LABELS),  # times real time, a core, up to layer 9
}
TAKEN = {
    # minimal_hubert: 400,000 updates of 16 x 175 s in 10 h on 16 H100, compiled, bf16
    "training": Known(400_000 * 175 / 36_000, "minimal_hubert's 10 h for 400,000 updates of 175 s on each of 16 H100"),
    "forward": Known(1 / 3, "a third is the forward pass"),
}


@dataclass(frozen=True)
class Term:
    """A row of the table."""

    what: str
    figure: str
    known: str


def storage() -> Iterator[Term]:
    """What lies on disks."""
    arithmetic = "arithmetic"
    yield Term("audio as 16-bit WAV", f"{_tb(HOURS * 3600 * 16_000 * 2)} TB", arithmetic)
    for codec in ("flac", "opus"):
        per_hour = MEASURED[codec]
        size = _tb(HOURS * per_hour.value * 1e6)
        yield Term(
            f"audio as {codec.upper()} in shards, indices included",
            f"**{size} TB**",
            _measured(per_hour, f"{per_hour.value:g} MB per hour"),
        )
    yield Term("labels of MFCCs, 100 per second, uint16", f"{HOURS * 3600 * 100 * 2 / 1e9:.0f} GB", arithmetic)
    yield Term("labels of a layer, 50 per second, uint16", f"{HOURS * 3600 * 50 * 2 / 1e9:.0f} GB", arithmetic)
    yield Term(
        "features of a layer, 768 numbers in fp32", f"{_tb(HOURS * 3600 * 50 * 768 * 4)} TB, never stored", arithmetic
    )


def preparation() -> Iterator[Term]:
    """What is done once, on CPUs."""
    for codec in ("flac", "opus"):
        speed = MEASURED[f"write {codec}"]
        hours = HOURS / speed.value
        yield Term(
            f"writing {codec.upper()} shards",
            f"{hours:,.0f} core hours",
            _measured(speed, f"{speed.value:,.0f} times real time"),
        )


def labelling() -> Iterator[Term]:
    """What is done in each iteration before the training."""
    read = MEASURED["read flac"]
    yield Term(
        "each pass: reading FLAC",
        f"{HOURS / read.value / 3600:,.0f} core hours",
        _measured(read, f"{read.value:g} h / s"),
    )
    mfcc, units, frames = MEASURED["mfcc"], MEASURED["units of mfcc"], MEASURED["units of a layer"]
    yield Term(
        "iteration 1: MFCCs",
        f"{HOURS / mfcc.value:,.0f} core hours",
        _measured(mfcc, f"{mfcc.value:,.0f} times real time"),
    )
    yield Term(
        "iteration 1: nearest of 1,000 units",
        f"{HOURS * 100 / units.value:,.0f} core hours",
        _measured(units, f"{units.value:,.0f} frames / s"),
    )
    yield Term(
        "later: nearest of 1,000 units",
        f"{HOURS * 50 / frames.value:,.0f} core hours, less on GPUs",
        _measured(frames, f"{frames.value:,.0f} frames / s"),
    )
    speed, share, core = TAKEN["training"], TAKEN["forward"], MEASURED["encoder"]
    gpu_hours = HOURS / (speed.value / share.value) * 9 / 12
    yield Term(
        "later: encoder up to layer 9",
        f"{gpu_hours:,.0f} H100 hours",
        f"not measured; {speed.source}, of which {share.source}; 9 of 12 blocks",
    )
    yield Term(
        "later: on CPUs, for comparison, with a tenth block",
        f"{HOURS / core.value:,.0f} core hours",
        _measured(core, f"{core.value:g} times real time"),
    )


def training() -> Iterator[Term]:
    """What an iteration takes on GPUs, and what feeds them."""
    speed = TAKEN["training"]
    gpu_hours = UPDATES * UPDATE_S / speed.value / 3600
    yield Term(
        f"an iteration: {UPDATES:,} updates of {UPDATE_S:,} s",
        f"**{gpu_hours:,.0f} H100 hours**, {gpu_hours / NUM_GPUS:.0f} h on {NUM_GPUS}",
        f"not measured; {speed.source}: {speed.value:,.0f} s of audio per second",
    )  # fmt: skip
    per_s = speed.value * NUM_GPUS / 3600
    yield Term(f"audio that {NUM_GPUS} H100 take in", f"{per_s:.1f} h / s", "not measured; from the row above")
    for codec in ("flac", "opus"):
        read, size = MEASURED[f"read {codec}"], MEASURED[codec]
        yield Term(
            f"to feed them with {codec.upper()}",
            f"{per_s / read.value:.0f} cores, {per_s * size.value / 1e3:.2f} GB / s on each node",
            _measured(read, f"{read.value:g} h / s on a core; a node reads whole shards"),
        )  # fmt: skip
    plan = MEASURED["plan"]
    passes = UPDATES * UPDATE_S / 3600 / HOURS
    yield Term("passes over the corpus in an iteration", f"{passes:.0f}", "arithmetic")
    yield Term(
        "to resume at the end of an iteration",
        f"{plan.value * passes / 60:.0f} min",
        _measured(plan, f"{plan.value:g} s to plan a pass of {ROWS:,} rows"),
    )


def total() -> Iterator[Term]:
    """What all iterations take together."""
    speed = TAKEN["training"]
    train = ITERATIONS * UPDATES * UPDATE_S / speed.value / 3600
    label = (ITERATIONS - 1) * HOURS / (speed.value / TAKEN["forward"].value) * 9 / 12
    days = (train + label) / NUM_GPUS / 24
    yield Term(
        f"{ITERATIONS} iterations on 4 nodes of 8 H100",
        f"**{train + label:,.0f} H100 hours**, {days:.1f} days",
        "not measured; sum of the above, no waiting",
    )


def table() -> str:
    """All terms as markdown."""
    lines = ["| what | figure | known from |", "|---|---:|---|"]
    for part, terms in (
        ("storage", storage),
        ("once", preparation),
        ("labels", labelling),
        ("training", training),
        ("in all", total),
    ):
        lines.append(f"| **{part}** | | |")
        lines += [f"| {term.what} | {term.figure} | {term.known} |" for term in terms()]
    return "\n".join(lines) + "\n"


def _measured(known: Known, what: str) -> str:
    return f"measured here: {what} (`{known.source}`)"


def _tb(num_bytes: float) -> str:
    return f"{num_bytes / 1e12:.1f}"


def written(document: str) -> str:
    """The document with the table of now."""
    before, _, rest = document.partition(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


def main() -> int:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"into {DOCUMENT.name}")
    if not parser.parse_args().write:
        print(table(), end="")
        return 0
    DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
