"""Published rows as listed in `published/*.yaml`, each with its source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from mlsuperb.scoring.boards.superb_s import read_published

ROW_FILES = (
    "board_2024.yaml",
    "paper_2023.yaml",
    "paper_2023_recalled.yaml",
    "recipe_readme.yaml",
    "challenge.yaml",
    "peft_study.yaml",
)


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """What a publication reports of one system, trained on one size.

    Args:
        title: of the publication, short.
        board: whose row it is, and whose SUPERB_s `superb_s` is; None for single numbers.
        upstream, adaptation, experiment: our options for the same; None where we have none, or where it has to be none.
        release, protocol: of the data it was measured on, and how.
        labels: of the challenge's data, raw or cleaned.
        scores: column -> %; a column `mono_<run>` is one monolingual run.
        verified, superb_s_verified: whether it was read in the source that is named.
    """

    title: str
    system: str
    board: str | None
    size: str
    release: str | None
    protocol: str
    scores: Mapping[str, float]
    verified: bool
    superb_s_verified: bool
    source: str
    superb_s: float | None = None
    upstream: str | None = None
    adaptation: str = "frozen"
    experiment: str | None = None
    labels: str | None = None
    params_m: float | None = None
    note: str = ""


@cache
def published_rows() -> tuple[PublishedRow, ...]:
    """All published rows, in the order of their files."""
    return tuple(row for name in ROW_FILES for row in _rows(read_published(name)))


def _rows(table: Mapping[str, Any]) -> Iterator[PublishedRow]:
    shared = {key: table[key] for key in ("title", "board", "release", "protocol", "verified", "source")}
    for entry in table["rows"]:
        facts = {**shared, **entry}
        facts["superb_s_verified"] = facts["verified"] and table.get("superb_s_verified", True)
        for size, numbers in entry["scores"].items():
            columns = zip(table["columns"], numbers, strict=True)
            scores = {name: float(number) for name, number in columns if number is not None}
            superb_s = entry.get("superb_s", {}).get(size)
            yield PublishedRow(**{**facts, "size": size, "scores": scores, "superb_s": superb_s})
