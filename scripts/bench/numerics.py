"""What a change of numerics did to scores: the same runs, seed by seed, before and after it.

    python scripts/bench/numerics.py --before exp/before/RUN-s* --after exp/after/RUN-s*

Rates are pooled over utterances, with 95 % bootstrap intervals; the change is paired, an utterance counts once, with its counts
over seeds added up (scripts/results.py).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from claims_runs import find_runs  # noqa: E402
from results import RATES, rate_cells  # noqa: E402

from scripts.bench.harness import Table, save  # noqa: E402


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, nargs="+", required=True, help="folders of runs")
    parser.add_argument("--after", type=Path, nargs="+", required=True, help="those of the same settings and seeds")
    parser.add_argument("--json", type=Path, help="write the table to this file, too")
    options = parser.parse_args()
    sides = {"before": find_runs(options.before)[0], "after": find_runs(options.after)[0]}
    seeds = [sorted(run.result.seed for run in runs) for runs in sides.values()]
    if seeds[0] != seeds[1]:
        parser.error(f"seeds differ: {seeds[0]} before, {seeds[1]} after")
    table = Table("", "commit", "seeds", "CER %", "better", "LID %", "better", text=2)
    for name, runs in sides.items():
        commits = ", ".join(sorted({str(run.result.code.commit)[:7] for run in runs}))
        cells = [cell for of in RATES for cell in rate_cells(runs, sides["before"], of=of)]
        table.row(name, commits, len(runs), *cells)
    save(options, {})


if __name__ == "__main__":
    main()
