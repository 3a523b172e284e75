"""Sections of a result as tables: on a terminal (rich) and as markdown, from the same cells."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from mlsuperb.runtime.console import Console
from mlsuperb.scoring.counts import Counts, Rate, total
from mlsuperb.scoring.escaping import markdown
from mlsuperb.scoring.fitted import Column, FittedTable, shown
from mlsuperb.scoring.protocols.challenge import NUM_WORST
from mlsuperb.scoring.protocols.per_pfer import PhoneCounts
from mlsuperb.types import TaskFacts

if TYPE_CHECKING:
    from mlsuperb.scoring.result import Metric, Protocols, Section

ARROWS = {"lower": "↓", "higher": "↑"}
ABSENT = "n.a."
PIPE_WIDTH = 240  # columns of a table that no terminal bounds
SYNTHETIC = "Synthetic data: these numbers say nothing about real speech."


def table_console() -> Console:
    """A console as wide as the terminal or as `COLUMNS` says; in a pipe or a file without it, wide enough for tables."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=PIPE_WIDTH)


def tell(console: Console, *lines: object, style: str = "") -> None:
    """Print lines as they are (`shown`), without colours of numbers and breaks of our own."""
    for line in lines:
        console.print(shown(str(line), but="\n\t", style=style), soft_wrap=True)


@dataclass(frozen=True)
class Cells:
    """A table: column titles, rows of text, how many columns on the left are names and whether the last one is; `bold`: numbers
    of the rows that stand out; `best`: (row, column) of the best values."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_names: int
    last_is_name: bool = False
    bold: frozenset[int] = frozenset()
    best: frozenset[tuple[int, int]] = frozenset()

    def is_name(self, column: int) -> bool:
        """Whether a column holds names, which are aligned to the left, and no numbers."""
        return column < self.num_names or (self.last_is_name and column == len(self.columns) - 1)

    def to_rich(self) -> FittedTable:
        """For `rich.print`: fits the terminal. What stands in the cells is text, not markup."""
        cells = zip(*self.rows, strict=True) if self.rows else ((),) * len(self.columns)
        columns = [
            Column(title, tuple(texts), self.is_name(number))
            for number, (title, texts) in enumerate(zip(self.columns, cells, strict=True))
        ]
        return FittedTable(self.title, tuple(columns), self.bold)

    def to_markdown(self) -> str:
        """With the title as a line of its own."""
        return f"**{markdown(self.title)}**\n\n{self.markdown_rows()}\n"

    def markdown_rows(self) -> str:
        """The table without its title."""
        rule = ["---" if self.is_name(number) else "---:" for number in range(len(self.columns))]
        rows = [[markdown(cell) for cell in row] for row in (self.columns, *self.rows)]
        for number in self.bold:
            rows[number + 1] = [f"**{cell}**" if cell else "" for cell in rows[number + 1]]
        return "\n".join("| " + " | ".join(row) + " |" for row in (rows[0], rule, *rows[1:]))


def section_tables(section: Section) -> list[Cells]:
    """Of one protocol: for each split the counts of every language and dataset, then the metrics of all splits."""
    return [*(_counts_table(section, split) for split in section.counts), metrics_table(section)]


def protocol_tables(protocols: Protocols) -> list[Cells]:
    """Counts of the first protocol, metrics of all of them (the others' counts are much the same)."""
    sections = list(protocols.sections.values())
    return [*section_tables(sections[0]), *map(metrics_table, sections[1:])] if sections else []


def metrics_table(section: Section) -> Cells:
    """Every metric of a section; a missing value says why. Neighbours missing for the same reason share a row."""
    rows = tuple((split, *row) for split, metrics in section.metrics.items() for row in _metric_rows(metrics))
    title = f"Protocol {section.protocol} (version {section.version})"
    return Cells(title, ("split", "metric", "%", "over"), rows, num_names=2, last_is_name=True)


def rates(facts: TaskFacts) -> list[tuple[Rate, str, str]]:
    """The rates of a task: field of `Counts`, name, arrow towards better."""
    text: list[tuple[Rate, str, str]] = [("error_rate", facts.unit_name, ARROWS["lower"])]
    language: list[tuple[Rate, str, str]] = [("lid_accuracy", "LID", ARROWS["higher"])]
    return [*(text if facts.has_text else []), *(language if facts.has_language else [])]


def percent(value: float | None) -> str:
    """One decimal, as the published tables have it."""
    return ABSENT if value is None else f"{value:.1f}"


def _metric_rows(metrics: Mapping[str, Metric]) -> Iterator[tuple[str, str, str]]:
    def missing(item: tuple[str, Metric]) -> tuple[str, str] | None:
        return (item[0].split("_")[0], item[1].reason) if item[1].value is None else None

    for key, group in groupby(metrics.items(), key=missing):
        entries = dict(group)
        if key and len(entries) > 1:
            yield f"{key[0]}_*", ABSENT, key[1]
            continue
        for name, entry in entries.items():
            yield f"{name} {ARROWS[entry.better]}", percent(shown_value(entry)), taken_over(entry)


def shown_value(metric: Metric) -> float | None:
    """The value of a metric; None where the original sums up fewer rates than it divides by, which makes it too low."""
    return None if metric.num_summed is not None and metric.num_summed < NUM_WORST else metric.value


def taken_over(metric: Metric) -> str:
    """What a metric was taken over, or why there is none to be shown."""
    if metric.value is None:
        return metric.reason
    if shown_value(metric) is None:
        return f"needs {NUM_WORST} languages, there are {metric.num_summed} (as the original calculates it: {metric.value:.1f})"
    if isinstance(metric.languages, Mapping):
        return "; ".join(f"{name}: {at['lowest']} to {at['highest']}" for name, at in metric.languages.items())
    if metric.languages:
        return ", ".join(metric.languages)
    num = metric.num_languages or 0
    summed = f", the rates of {metric.num_summed} summed" if metric.num_summed is not None else ""
    without = f"; without words: {', '.join(metric.without_words)}" if metric.without_words else ""
    return f"{num} language{'' if num == 1 else 's'}{summed}{without}"


_Column = tuple[str, Callable[[Mapping[str, Any]], str]]


def _counts_table(section: Section, split: str) -> Cells:
    rows = {
        (language, dataset): counts
        for dataset, languages in section.counts[split].items()
        for language, counts in languages.items()
    }
    sample = next(iter(rows.values()))
    columns = _pooled_columns(sample, section.rate_name) if section.pools else _other_columns(sample)
    rows = {key: rows[key] for key in sorted(rows)}
    if section.pools:
        rows["total", ""] = asdict(total(Counts(**counts) for counts in rows.values()))
    return Cells(
        f"Protocol {section.protocol}, split {split}",
        ("language", "dataset", *(name for name, _ in columns)),
        tuple((*key, *(show(counts) for _, show in columns)) for key, counts in rows.items()),
        num_names=2,
    )


def _pooled_columns(sample: Mapping[str, Any], rate_name: str) -> Sequence[_Column]:
    error: _Column = (f"{rate_name} % ↓", lambda c: percent(Counts(**c).error_rate))
    language: _Column = ("LID % ↑", lambda c: percent(Counts(**c).lid_accuracy))
    edits = {"substitutions": "sub", "insertions": "ins", "deletions": "del"}
    return [
        _column("utterances", "num_utterances"),
        *([error] if "reference_length" in sample else []),
        *([language] if "lid_total" in sample else []),
        *(_column(title, field) for field, title in edits.items() if field in sample),
    ]


def _column(title: str, field: str) -> _Column:
    return title, lambda counts: str(counts[field])


def _other_columns(sample: Mapping[str, Any]) -> Sequence[_Column]:
    """Of counts that are rates of utterances added up (`protocols.challenge.ChallengeCounts`), of words beside characters
    (`protocols.wer_cer.WordCounts`), of phones and features (`protocols.per_pfer.PhoneCounts`), or whatever there is."""

    def share(title: str, name: str, of: str = "num_scored") -> _Column:
        return title, lambda counts: percent(100 * counts[name] / counts[of] if counts[of] else None)

    if "word_errors" in sample:
        return [
            _column("utterances", "num_utterances"),
            share("WER % ↓", "word_errors", of="num_words"),
            share("CER % ↓", "character_errors", of="num_characters"),
            _column("words", "num_words"),
            _column("characters", "num_characters"),
        ]
    if "phone_errors" in sample:
        return [
            _column("utterances", "num_utterances"),
            share("PER % ↓", "phone_errors", of="num_phones"),
            ("PFER % ↓", lambda c: percent(PhoneCounts(**c).pfer)),
            _column("phones", "num_phones"),
            _column("without features", "num_unknown"),
        ]
    if "cer_sum" not in sample:
        return [_column(name.replace("_", " "), name) for name in sample]
    return [
        _column("utterances", "num_utterances"),
        share("CER % ↓", "cer_sum"),
        share("LID % ↑", "lid_correct"),
        ("no reference", lambda c: str(c["num_utterances"] - c["num_scored"])),
        _column("no hypothesis", "num_empty_hypotheses"),
    ]
