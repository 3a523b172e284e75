"""What scores are made of."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from mlsuperb.types import Hypothesis, TaskFacts

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Row = TypeVar("Row", bound="DataclassInstance")
Rate = Literal["error_rate", "lid_accuracy"]  # properties of `Counts`
TEXT_FIELDS = ("substitutions", "insertions", "deletions", "reference_length")
LANGUAGE_FIELDS = ("lid_correct", "lid_total")


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Of one utterance or of many: edits and length in units (characters, phonemes), languages right and asked for."""

    num_utterances: int = 0
    substitutions: int = 0
    insertions: int = 0
    deletions: int = 0
    reference_length: int = 0
    lid_correct: int = 0
    lid_total: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    @property
    def errors(self) -> int:
        """Substitutions, insertions and deletions together."""
        return self.substitutions + self.insertions + self.deletions

    @property
    def error_rate(self) -> float | None:
        """Errors per reference unit in %; None without a reference unit."""
        return 100 * self.errors / self.reference_length if self.reference_length else None

    @property
    def lid_accuracy(self) -> float | None:
        """Share of right languages in %; None if none was asked for."""
        return 100 * self.lid_correct / self.lid_total if self.lid_total else None

    def to_dict(self, facts: TaskFacts) -> dict[str, int]:
        """For JSON (`Counts(**...)` reads it), without the counts that a task has not."""
        absent = {*(() if facts.has_text else TEXT_FIELDS), *(() if facts.has_language else LANGUAGE_FIELDS)}
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in absent}


def summed(rows: Iterable[Row], of: type[Row]) -> Row:
    """The sum of counts of a class, such as `Counts`: field by field, much faster than adding one by one."""
    rows = list(rows)
    return of(**{f.name: sum(getattr(row, f.name) for row in rows) for f in fields(of)})


def total(counts: Iterable[Counts]) -> Counts:
    """The sum of `Counts`."""
    return summed(counts, Counts)


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """The items by their keys, in the order in which they come."""
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def group(
    hypotheses: Iterable[Hypothesis], counts: Iterable[Row], *, by: Callable[[Hypothesis], Key]
) -> dict[Key, Row]:
    """Counts of utterances added up by `by(hypothesis)`, keys in sorted order."""
    members = grouped(zip(hypotheses, counts, strict=True), lambda pair: by(pair[0]))
    rows = {key: [count for _, count in members[key]] for key in sorted(members)}  # type: ignore[type-var]
    return {key: summed(found, type(found[0])) for key, found in rows.items()}


def nested(table: Mapping[Any, Any]) -> dict[str, Any]:
    """`{(a, b, c): value}` as `{a: {b: {c: value}}}`."""
    tree: dict[str, Any] = {}
    for key, value in table.items():
        node = tree
        for part in key[:-1]:
            node = node.setdefault(part, {})
        node[key[-1]] = value
    return tree
