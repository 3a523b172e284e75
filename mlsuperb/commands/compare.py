"""`mlsuperb compare RUN_A RUN_B`: where two runs differ, how sure that is, and on which utterances."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlsuperb.runs.hypotheses import hypotheses_of_split
from mlsuperb.runtime.files import write_atomic
from mlsuperb.runtime.records import strict_json
from mlsuperb.scoring.comparison.comparable import comparable
from mlsuperb.scoring.comparison.language_facts import GROUPINGS, By
from mlsuperb.scoring.comparison.paired import (
    LEGEND,
    PairedRow,
    PairedUtterance,
    most_different,
    pair_utterances,
    paired_cells,
    paired_rows,
    utterance_lines,
    verdict,
)
from mlsuperb.scoring.comparison.runs import differences
from mlsuperb.scoring.escaping import code_block, markdown
from mlsuperb.scoring.table import SYNTHETIC, Cells, table_console, tell
from mlsuperb.scoring.utterances import language_tokens, shown_protocol

if TYPE_CHECKING:
    from mlsuperb.data.text import LanguageTokens
    from mlsuperb.scoring.result import BenchmarkResult

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two runs with what was found."""

    first: BenchmarkResult
    second: BenchmarkResult
    split: str
    by: By
    rows: Sequence[PairedRow]
    different: Sequence[PairedUtterance]
    tokens: LanguageTokens

    @property
    def cells(self) -> Cells:
        """The table."""
        what = "row" if self.by == "language" else self.by
        title = f"{self.split}, pooled over the utterances of each {what} ({shown_protocol(self.first.facts)})"
        return paired_cells(self.rows, self.first.facts, by=self.by, title=title)

    @property
    def legend(self) -> list[str]:
        """Which runs A and B are, and in what they differ."""
        runs = (self.first, self.second)
        settings = differences(runs)
        lines = []
        for index, (name, run) in enumerate(zip("AB", runs, strict=True)):
            own = ", ".join(f"{path}={values[index]}" for path, values in settings.items() if values[index])
            lines.append(f"{name}: {run.run_id}{f' ({own})' if own else ''}")
        return lines

    @property
    def verdict(self) -> str:
        """What the marks of the table mean."""
        return verdict(self.rows, self.first.facts, confidence=CONFIDENCE)

    @property
    def examples(self) -> list[str]:
        """The utterances that differ most, one block each."""
        if not self.different:
            same = all(row.first == row.second for row in self.rows)
            return ["Both runs have the same counts in every row."] if same else []
        blocks = ["\n".join(utterance_lines(pair, self.first.facts, self.tokens)) for pair in self.different]
        return [f"Utterances that differ most ({LEGEND}):", *blocks]


def compare_runs(
    first: Path,
    second: Path,
    *,
    split: str = "test",
    by: By = "language",
    num_examples: int = 5,
    any_training: bool = False,
) -> Comparison:
    """Read and compare two finished runs.

    Args:
        any_training: they may have been trained on other data; only `split` has to be the same.

    Raises:
        ValueError: a folder holds no finished run, the results are not comparable, or none has the split.
    """
    from mlsuperb.runs import store
    from mlsuperb.scoring.result import SCORED

    a, b = (store.read(folder, *SCORED) for folder in (first, second))
    if reasons := comparable(a, b, splits=[split] if any_training else None):
        why = f"{first} and {second} cannot be compared: {'; '.join(reasons)}"
        of_training = not any_training and not comparable(a, b, splits=[split])
        raise ValueError(
            f"{why}. To compare runs that were trained on other data, add --any-training" if of_training else why
        )
    pairs = pair_utterances(hypotheses_of_split(first, split), hypotheses_of_split(second, split), a.facts)
    rows = paired_rows(pairs, by=by, confidence=CONFIDENCE)
    return Comparison(
        first=a,
        second=b,
        split=split,
        by=by,
        rows=rows,
        different=most_different(pairs, n=num_examples),
        tokens=language_tokens(one for pair in pairs for one in (pair.first, pair.second)),
    )


def as_markdown(found: Comparison) -> str:
    """Everything, for a file."""
    head = [f"**{SYNTHETIC}**", ""] if found.first.synthetic else []
    body = [*(f"- {markdown(line)}" for line in found.legend), "", found.cells.to_markdown(), f"\\{found.verdict}"]
    shown = found.examples
    blocks = [*shown[:1], *map(code_block, shown[1:])]
    return "\n".join([*head, *body, *(f"\n{block}" for block in blocks)]) + "\n"


def as_json(found: Comparison, *, name: str) -> str:
    """Everything with its counts. `name` is named in errors."""
    first, facts = found.first, asdict(found.first.facts)
    whole = {"first": first.run_id, "second": found.second.run_id, "synthetic": first.synthetic}
    whole |= {"split": found.split, "by": found.by, "confidence": CONFIDENCE, "task": facts["name"]}
    whole |= {key: facts[key] for key in ("normaliser", "units")} | {"rows": [asdict(row) for row in found.rows]}
    whole["most_different"] = [
        asdict(pair) | {"difference": pair.difference, "lid_difference": pair.lid_difference}
        for pair in found.different
    ]
    return strict_json(whole, name=name, indent=2) + "\n"


def show(found: Comparison) -> None:
    """Print it."""
    console = table_console()
    tell(console, *found.legend)
    console.print(found.cells.to_rich())
    if found.first.synthetic:
        console.print(SYNTHETIC, style="bold yellow")
    tell(console, found.verdict, *found.examples)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="mlsuperb compare", description=__doc__)
    parser.add_argument("first", type=Path, metavar="RUN_A", help="folder of a finished run")
    parser.add_argument("second", type=Path, metavar="RUN_B", help="folder of another; differences are B - A")
    parser.add_argument("--split", default="test", help="split that is compared (default: test)")
    parser.add_argument(
        "--any-training", action="store_true", help="let the runs be trained on other data: the split alone counts"
    )
    parser.add_argument("--by", choices=GROUPINGS, default="language", help="what a row is (default: language)")
    parser.add_argument("--examples", type=int, default=5, metavar="N", help="utterances that are shown (default: 5)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write everything as markdown, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything with its counts as JSON, too")
    options = parser.parse_args(arguments)
    if options.examples < 0:
        raise ValueError(f"--examples is {options.examples}; give 0 or more")
    found = compare_runs(
        options.first,
        options.second,
        split=options.split,
        by=options.by,
        num_examples=options.examples,
        any_training=options.any_training,
    )
    show(found)
    if options.out:
        write_atomic(options.out, [as_markdown(found)])
    if options.json:
        write_atomic(options.json, [as_json(found, name=str(options.json))])
