"""Time scoring: edits of 1,000,000 characters beside jiwer called for each utterance. What a whole test set takes, from its
hypotheses to its scores, is among the stages of `scripts/bench/scale.py`.

    python scripts/bench/scoring.py [--rounds 5] [--quick]

Texts are random words in 16 scripts, 3 to 300 characters, of which about 20 % were edited. jiwer's edits are the fewest
possible; ours are those that NIST's sclite counts (`mlsuperb/scoring/alignment.py`), for which jiwer has no setting: sclite
minimises 4 x substitutions + 3 x insertions + 3 x deletions and breaks ties its own way. So their sums are compared, not their
parts: ours can only be greater. Both sides of the first table run in processes of their own, in turn; medians of the rounds.
"""

from __future__ import annotations

import argparse
import platform
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.harness import Figures, Table, command_line, in_turns, peak_gb, save, seconds

ERROR_RATE = 0.2
# first letters of Latin, Greek, Cyrillic, Armenian, Hebrew, Arabic, Devanagari, Bengali, Tamil, Telugu, Thai, Georgian, Ethiopic,
# Khmer, Han, Hangul
SCRIPTS = (
    0x61, 0x3B1, 0x430, 0x561, 0x5D0, 0x621, 0x905, 0x985, 0xB85, 0xC05, 0xE01, 0x10D0, 0x1200, 0x1780, 0x4E00, 0xAC00,
)  # fmt: skip


def texts(num_characters: int, *, seed: int = 0) -> tuple[list[str], list[str]]:
    """References of so many characters together, and hypotheses with errors in them."""
    rng = random.Random(seed)
    references, hypotheses = [], []
    while num_characters > 0:
        length = min(max(3, round(rng.lognormvariate(4, 0.6))), 300)
        first, size = rng.choice(SCRIPTS), 26
        letters = [chr(first + index) for index in range(size)] + [" "] * 5
        reference = rng.choices(letters, k=length)
        references.append("".join(reference).strip())  # jiwer strips them
        hypotheses.append("".join(edited(reference, letters, rng)).strip())
        num_characters -= length
    return references, hypotheses


def edited(reference: list[str], letters: list[str], rng: random.Random) -> list[str]:
    """Half of the errors are substitutions, the others insertions and deletions."""
    out: list[str] = []
    for letter in reference:
        kind = rng.random() / ERROR_RATE
        if kind < 0.5:
            out.append(rng.choice(letters))
        elif kind < 0.75:
            out += [letter, rng.choice(letters)]
        elif kind >= 1:
            out.append(letter)
    return out


def align(settings: argparse.Namespace) -> Figures:
    """Errors of all pairs, seconds and peak memory of one side."""
    if settings.side == "ours":
        from mlsuperb.scoring.alignment import edit_counts

        def count() -> int:
            return sum(map(sum, edit_counts(references, outputs)))
    else:
        from jiwer import process_characters

        def count() -> int:
            pairs = (process_characters(*pair) for pair in zip(references, outputs, strict=True))
            return sum(one.substitutions + one.insertions + one.deletions for one in pairs)

    references, outputs = texts(settings.characters)
    errors = count()  # warm
    figures = {"seconds": seconds(count), "errors": errors, "peak_mb": 1000 * peak_gb()}
    return figures | {"characters": sum(map(len, references)), "num": len(references)}


def main() -> int:
    """Measure and print; 1 if ours misses an error that jiwer counts."""
    parser = command_line(__doc__, rounds=5)
    parser.add_argument("--characters", type=int, default=1_000_000, help="of the references (default 1,000,000)")
    parser.add_argument("--quick", action="store_true", help="100,000 characters, one round")
    options = parser.parse_args()
    if options.quick:
        options.characters, options.rounds = 100_000, 1
    sides = {name: (align, argparse.Namespace(**vars(options), side=name)) for name in ("ours", "jiwer")}
    rows = in_turns(sides, rounds=options.rounds)
    table = Table("edits of", "wall, s", "processor, s", "ratio", "processor", "errors", "peak, MB")
    for name, row in rows.items():
        ratios = [f"{a / b:.2f} x" for a, b in zip(row["seconds"], rows["ours"]["seconds"], strict=True)]
        taken = [f"{one:.3f}" for one in row["seconds"]]
        table.row(name, *taken, *ratios, f"{row['errors']:,}", f"{row['peak_mb']:,.0f}")
    size = f"{rows['ours']['characters']:,} characters in {rows['ours']['num']:,} utterances"
    print(f"\n{size}, Python {platform.python_version()}")
    save(options, rows)
    return int(rows["ours"]["errors"] < rows["jiwer"]["errors"])


if __name__ == "__main__":
    sys.exit(main())
