"""A paired comparison as a table, as text with marked errors, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rapidfuzz.distance import Levenshtein

from mlsuperb.data.text import first_language
from mlsuperb.scoring.comparison.bootstrap import Interval
from mlsuperb.scoring.comparison.language_facts import TITLES, By
from mlsuperb.scoring.comparison.paired import PairedRow, PairedUtterance
from mlsuperb.scoring.table import ABSENT, Cells, percent
from mlsuperb.scoring.utterances import TaskName, UnitName, compared_texts

MARK = "*"
LEGEND = "{braces}: wrong or added; {*}: a unit that is missing there"


def paired_cells(rows: Sequence[PairedRow], *, by: By, task: TaskName, units: UnitName, title: str) -> Cells:
    """One line a group: sizes, the rates of A and B, B - A with its interval, marked where the interval excludes 0."""
    columns = [TITLES[by], *(["languages"] if by != "language" else []), "utterances"]
    rates = []
    if task != "lid":
        rates.append(("PER" if units == "phoneme" else "CER", "↓", "error_rate"))
    if task != "asr":
        rates.append(("LID", "↑", "lid_accuracy"))
    for name, arrow, _ in rates:
        columns += [f"{name} A % {arrow}", f"{name} B % {arrow}", "B - A"]
    lines = []
    for row in rows:
        line = [row.group, *([str(row.num_languages)] if by != "language" else []), f"{row.num_utterances:,}"]
        for _, _, field in rates:
            values = getattr(row.first, field), getattr(row.second, field)
            line += [*map(percent, values), shown_difference(getattr(row, field), *values)]
        lines.append(tuple(line))
    return Cells(title, tuple(columns), tuple(lines), num_names=1)


def shown_difference(interval: Interval | None, first: float | None, second: float | None) -> str:
    """`-2.1 [-3.0, -1.2] *`; without brackets where there is no interval."""
    if interval is None:
        return ABSENT if first is None or second is None else f"{second - first:+.1f}"
    mark = f" {MARK}" if interval.excludes_zero else ""
    return f"{interval.value:+.1f} [{interval.low:+.1f}, {interval.high:+.1f}]{mark}"


def verdict(rows: Sequence[PairedRow], *, task: TaskName, confidence: float) -> str:
    """What the marks mean, how many would be there by chance, and what they do not say."""
    field = "lid_accuracy" if task == "lid" else "error_rate"
    known = [interval for row in rows[:-1] if (interval := getattr(row, field)) is not None]
    marked = sum(interval.excludes_zero for interval in known)
    chance = (1 - confidence) * len(known)
    return (
        f"{MARK} the {100 * confidence:g} % interval (paired bootstrap over utterances) excludes 0: {marked} of {len(known)} "
        f"groups; about {chance:.1f} would be marked by chance if both runs were equally good. "
        "Intervals tell of other utterances, not of other seeds, and are too narrow over a few utterances."
    )


def utterance_lines(pair: PairedUtterance, *, task: TaskName, normaliser: str, units: UnitName) -> list[str]:
    """Reference, both outputs with their errors marked, and the audio; see `LEGEND`."""
    one = pair.first
    sides = (("A", pair.first, pair.first_counts), ("B", pair.second, pair.second_counts))
    head = [f"{one.id} ({one.dataset}, {one.language})"]
    lines = []
    if task != "lid":
        head += [f"{name}: {_errors(counts.errors, counts.reference_length)}" for name, _, counts in sides]
        lines.append(f"reference  {_join(_units(one, task, normaliser, units)[0])}")
    for name, side, _ in sides:
        predicted = f"[{first_language(side.hypothesis) or 'none'}]" if task != "asr" else ""
        text = marked(*_units(side, task, normaliser, units)) if task != "lid" else ""
        lines.append(f"{name}          {predicted}{' ' if predicted and text else ''}{text}")
    lines.append(f"audio      {one.audio} ({one.start_s:.2f} s to {one.start_s + one.duration_s:.2f} s)")
    return ["; ".join(head), *(f"  {line}" for line in lines)]


def marked(reference: Sequence[str], output: Sequence[str]) -> str:
    """An output with what differs from the reference in braces: wrong units as they are, missing ones as stars."""
    parts = []
    for operation in Levenshtein.opcodes(reference, output):
        found = _join(output[operation.dest_start : operation.dest_end])
        missing = MARK * (operation.src_end - operation.src_start)
        parts.append(found if operation.tag == "equal" else f"{{{found or missing}}}")
    return ("" if isinstance(output, str) else " ").join(parts)


def to_json(rows: Sequence[PairedRow], different: Sequence[PairedUtterance]) -> dict[str, Any]:
    """Everything that the table and the text show, with the counts."""
    return {
        "rows": [asdict(row) for row in rows],
        "most_different": [
            {
                "first": asdict(pair.first),
                "second": asdict(pair.second),
                "first_counts": asdict(pair.first_counts),
                "second_counts": asdict(pair.second_counts),
                "difference": pair.difference,
                "lid_difference": pair.lid_difference,
            }
            for pair in different
        ],
    }


def _errors(errors: int, length: int) -> str:
    return f"{100 * errors / length:.0f} % errors" if length else f"{errors} errors, empty reference"


def _units(one: Any, task: TaskName, normaliser: str, units: UnitName) -> tuple[Sequence[str], Sequence[str]]:
    reference, output = compared_texts(one, task=task, normaliser=normaliser, units=units)
    return (reference.split(), output.split()) if units == "phoneme" else (reference.strip(), output.strip())


def _join(units: Sequence[str]) -> str:
    return units if isinstance(units, str) else " ".join(units)
