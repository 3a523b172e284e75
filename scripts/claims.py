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

from claims_runs import Run, find_runs  # noqa: E402
from claims_tests import KINDS, NEEDS, NOT_RUN, Verdict  # noqa: E402

from mlsuperb.runtime.files import write_atomic  # noqa: E402

CLAIMS, PAGE = ROOT / "docs" / "claims.yaml", ROOT / "docs" / "claims.md"
NEEDED = {"id", "claim", "source", "verified", "recipe", "tests"}
HEAD = """# Published claims, and what runs of this toolkit say of them

Written by `python scripts/claims.py RUNS...` from docs/claims.yaml; not to be edited.

- **supported**, **contradicted**: the interval (95 %) lies on one side. **undecided**: it does not. **mixed**: the tests of a
  claim differ. **not run**: no run tests it.
- Two systems are compared over the same utterances, pooled, by a paired bootstrap (1,000 draws; Bisani and Ney, 2004), on runs
  that are alike but for what the test names. Of several such runs (learning rates) the one with the lowest validation loss stands
  for them, as in a sweep; an utterance heard with several seeds counts once, with its counts added up.
- Groups of one run (languages) are compared by their own intervals (Zou and Donner, 2008). The best and the worst of many groups
  are chosen by their scores, which makes the difference look larger than it is: read it as "large", not as a size.
- A test is what *we* read in a claim. "Verified" says whether the claim was read in the named source.
- A run counts if its settings come from the named experiment; where they or its data leave what was published, the row says so.
- Runs of synthetic speech are never counted: they say nothing about real speech.
"""


def read_claims(path: Path) -> list[dict[str, Any]]:
    """The groups of docs/claims.yaml.

    Raises:
        ValueError: a claim or a test is not complete, or its kind does not exist.
    """
    groups: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    for claim in (claim for group in groups for claim in group["claims"]):
        place = f"{path.name}, {claim.get('id', 'a claim without id')}"
        if missing := sorted(NEEDED - claim.keys()):
            raise ValueError(f"{place}: missing {', '.join(missing)}")
        for test in claim["tests"]:
            if test.get("kind") not in KINDS:
                raise ValueError(f"{place}: no test is of kind {test.get('kind')!r}; there are {', '.join(KINDS)}")
            if missing := sorted(({"says"} | NEEDS[test["kind"]]) - test.keys()):
                raise ValueError(f"{place}: a test of kind {test['kind']} needs {', '.join(missing)}")
    return groups


def judge(test: Mapping[str, Any], runs: Sequence[Run]) -> Verdict:
    """What the runs say of a test."""
    return KINDS[test["kind"]](test, runs)


def overall(verdicts: Sequence[Verdict]) -> str:
    """Of a claim: what all of its tests say that were run."""
    outcomes = {verdict.outcome for verdict in verdicts} - {NOT_RUN}
    return "mixed" if len(outcomes) > 1 else next(iter(outcomes), NOT_RUN)


def page(groups: Sequence[Mapping[str, Any]], runs: Sequence[Run], *, num_synthetic: int) -> str:
    """docs/claims.md."""
    judged = {
        claim["id"]: [judge(test, runs) for test in claim["tests"]] for group in groups for claim in group["claims"]
    }
    counted = Counter(overall(verdicts) for verdicts in judged.values())
    found = f"{len(runs)} run{'' if len(runs) == 1 else 's'} of real speech" if runs else "No run of real speech"
    synthetic = f", {num_synthetic} of synthetic speech left out" if num_synthetic else ""
    total = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counted.items()))
    lines = [HEAD, f"{found}{synthetic}. {len(judged)} claims: {total}.", "", "| claim | outcome |", "| --- | --- |"]
    claims = [claim for group in groups for claim in group["claims"]]
    lines += [f"| [{claim['claim']}](#{claim['id']}) | {overall(judged[claim['id']])} |" for claim in claims]
    for group in groups:
        lines += ["", f"## {group['title']}"]
        for claim in group["claims"]:
            lines += _section(claim, judged[claim["id"]])
    return "\n".join(lines) + "\n"


def _section(claim: Mapping[str, Any], verdicts: Sequence[Verdict]) -> list[str]:
    verified = "verified" if claim["verified"] else "not verified: not read there"
    lines = ["", f'<a id="{claim["id"]}"></a>', f"### {claim['claim']}", "", f"Source: {claim['source']} ({verified})."]
    if remark := claim.get("remark"):
        lines += ["", f"Remark: {remark}"]
    lines += ["", "```bash", *(claim["recipe"].strip().splitlines()), "```", ""]
    lines += ["| test | outcome | what came out | runs |", "| --- | --- | --- | --- |"]
    for test, verdict in zip(claim["tests"], verdicts, strict=True):
        row = (test["says"], verdict.outcome, verdict.text or "-", _runs(verdict.runs))
        lines.append("| " + " | ".join(text.replace("|", "\\|") for text in row) + " |")
    return lines


def _runs(runs: Sequence[Run]) -> str:
    if not runs:
        return "-"
    others = sum(not run.as_published for run in runs)
    left = f"; {others} of {len(runs)} not as published" if others else ""
    return ", ".join(f"`{run.name}`" for run in runs) + left


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUNS", help="folders of runs, or result.json files")
    parser.add_argument("--claims", type=Path, default=CLAIMS, help="default: docs/claims.yaml")
    parser.add_argument("--out", type=Path, default=PAGE, help="default: docs/claims.md")
    options = parser.parse_args(arguments)
    try:
        groups = read_claims(options.claims)
        runs, num_synthetic = find_runs(options.runs)
        write_atomic(options.out, [page(groups, runs, num_synthetic=num_synthetic)])
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    print(f"{options.out}: {len(runs)} runs of real speech, {num_synthetic} of synthetic speech left out")


if __name__ == "__main__":
    main()
