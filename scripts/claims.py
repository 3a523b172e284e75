"""Holds finished runs against what was published, and writes docs/claims.md from docs/claims.yaml.

    python scripts/claims.py                            # the page without a run: every claim, how to test it
    python scripts/claims.py exp/ --out claims.md       # what the runs under exp/ say of it

A test names runs (published experiment, upstream, adaptation, ...) and what they should show. Runs of synthetic speech test no
claim about real speech and are left out, with their number.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from claims_runs import Run, find_runs, unpacked  # noqa: E402
from claims_tests import KINDS, NOT_RUN, Verdict, settings_of  # noqa: E402
from jinja2 import Environment, StrictUndefined  # noqa: E402

from mlsuperb.runtime.files import write_atomic  # noqa: E402

CLAIMS, PAGE = ROOT / "docs" / "claims.yaml", ROOT / "docs" / "claims.md"
TEMPLATE = ROOT / "scripts" / "claims.md.jinja"
NEEDED = {"id", "claim", "source", "verified", "recipe", "tests"}


def read_claims(path: Path) -> list[dict[str, Any]]:
    """The groups of docs/claims.yaml.

    Raises:
        ValueError: a claim or a test is not complete, or has a setting or kind that does not exist.
    """
    groups: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    for claim in (claim for group in groups for claim in group["claims"]):
        place = f"{path.name}, {claim.get('id', 'a claim without id')}"
        if missing := sorted(NEEDED - claim.keys()):
            raise ValueError(f"{place}: missing {', '.join(missing)}")
        for test in [*claim["tests"], *claim.get("here", ())]:
            if test.get("kind") not in KINDS:
                raise ValueError(f"{place}: no test is of kind {test.get('kind')!r}; there are {', '.join(KINDS)}")
            settings = {"says": True, "kind": True, **settings_of(test["kind"])}
            if missing := sorted({name for name, needed in settings.items() if needed} - test.keys()):
                raise ValueError(f"{place}: a test of kind {test['kind']} needs {', '.join(missing)}")
            if unknown := sorted(test.keys() - settings):
                raise ValueError(f"{place}: a test of kind {test['kind']} has no setting {', '.join(unknown)}")
    return groups


def judge(test: Mapping[str, Any], runs: Sequence[Run]) -> Verdict:
    """What the runs say of a test."""
    return KINDS[test["kind"]](runs, **{key: value for key, value in test.items() if key not in ("kind", "says")})


def overall(verdicts: Sequence[Verdict]) -> str:
    """The outcome of a claim: of all of its tests that have runs."""
    outcomes = {verdict.outcome for verdict in verdicts} - {NOT_RUN}
    return "mixed" if len(outcomes) > 1 else next(iter(outcomes), NOT_RUN)


def page(groups: Sequence[Mapping[str, Any]], runs: Sequence[Run], *, here: Sequence[Run], num_synthetic: int) -> str:
    """docs/claims.md. `here`: the runs of docs/results.md."""
    claims = [claim for group in groups for claim in group["claims"]]
    judged = {claim["id"]: [(test, judge(test, runs)) for test in claim["tests"]] for claim in claims}
    beside = {claim["id"]: [(test, judge(test, here)) for test in claim.get("here", ())] for claim in claims}
    outcomes = {name: overall([verdict for _, verdict in both]) for name, both in judged.items()}
    outcomes_here = {name: overall([verdict for _, verdict in both]) if both else "" for name, both in beside.items()}
    found = (
        f"{len(runs)} run{'' if len(runs) == 1 else 's'} of real speech"
        if runs
        else "No run of real speech on the published data"
    )
    found += f", {num_synthetic} of synthetic speech left out" if num_synthetic else ""
    total = ", ".join(f"{number} {outcome}" for outcome, number in sorted(Counter(outcomes.values()).items()))
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["cell"] = lambda text: text.replace("|", "\\|") or "-"
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    given = {"groups": groups, "judged": judged, "outcomes": outcomes, "beside": beside, "outcomes_here": outcomes_here}
    return template.render(given, found=found, total=total)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUNS", help="folders of runs, or result.json files")
    parser.add_argument("--claims", type=Path, default=CLAIMS, help="default: docs/claims.yaml")
    parser.add_argument("--out", type=Path, default=PAGE, help="default: docs/claims.md")
    options = parser.parse_args(arguments)
    try:
        groups = read_claims(options.claims)
        runs, num_synthetic, left_out = find_runs(options.runs)
        with unpacked() as here:
            write_atomic(options.out, [page(groups, runs, here=here, num_synthetic=num_synthetic)])
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    for line in left_out:
        print(f"left out: {line}")
    print(f"{options.out}: {len(runs)} runs of real speech, {num_synthetic} of synthetic speech left out")


if __name__ == "__main__":
    main()
