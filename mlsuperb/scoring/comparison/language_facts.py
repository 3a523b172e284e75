"""Family and resource level of the benchmark's languages, and groups of utterances by them. Sources and licences stand in
the head of `language_facts.csv`."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

from mlsuperb.data.languages import iso_639_3
from mlsuperb.scoring.protocols.v2 import LANGUAGE_NAMES

By = Literal["language", "dataset", "family", "resource"]
GROUPINGS: tuple[By, ...] = get_args(By)
UNKNOWN = "unknown"
TITLES: Mapping[By, str] = {  # of a table's first column
    "language": "language",
    "dataset": "dataset",
    "family": "family (Glottolog 4.0)",
    "resource": "resource class (Joshi et al. 2020)",
}
_LABELS = {name: label for label, name in LANGUAGE_NAMES.items()}  # protocol v2 writes orgjpn


@cache
def language_facts() -> Mapping[str, Mapping[str, str]]:
    """Facts of every language label of ML-SUPERB: `family`, top-level, by Glottolog, and `resource_class`, 0 (least) to 5; empty
    where no source says it."""
    text = files("mlsuperb.scoring.comparison").joinpath("language_facts.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {row["code"]: row for row in rows}


def group_of(by: By, *, dataset: str, language: str) -> str:
    """The group that an utterance belongs to; `unknown` where the fact is not known.

    Raises:
        ValueError: an unknown grouping.
    """
    if by not in GROUPINGS:
        raise ValueError(f"cannot group by {by!r}; choose {', '.join(GROUPINGS)}")
    if by in ("language", "dataset"):
        return language if by == "language" else dataset
    known, code = language_facts(), _LABELS.get(language, language)
    facts = known.get(code) or known.get(iso_639_3(code) or "", {})
    return facts.get("family" if by == "family" else "resource_class") or UNKNOWN
