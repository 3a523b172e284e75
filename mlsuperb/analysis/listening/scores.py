"""Mean opinion scores of a listening test. Letters: L listeners, U utterances, R draws.

Intervals are those of A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1, 2007: listeners and utterances are
both drawn with replacement, since another test would have other ones of both. The interval of ITU-T P.1401 (2020), Student's t
over all votes, takes the votes of a listener as independent and is narrower.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlsuperb.analysis.listening.page import COLUMNS, SCALE
from mlsuperb.data.corpora.tables import read_table
from mlsuperb.runtime.messages import some
from mlsuperb.scoring.comparison.bootstrap import Interval
from mlsuperb.scoring.table import ARROWS, Cells

CONFIDENCE, _NUM_DRAWS = 0.95, 5000


@dataclass(frozen=True, kw_only=True)
class OpinionScore:
    """A system's mean opinion score with its interval. `counts`: rating -> how often it was given."""

    system: str
    mos: Interval
    num_listeners: int
    num_utterances: int
    counts: Mapping[int, int]

    def record(self) -> dict[str, Any]:
        """All figures by name, flat."""
        figures = {"system": self.system, "mos": self.mos.value, "mos_low": self.mos.low, "mos_high": self.mos.high}
        figures |= {"num_listeners": self.num_listeners, "num_utterances": self.num_utterances}
        return figures | {f"num_{SCALE[value].lower()}": number for value, number in self.counts.items()}


def read_key(path: Path) -> dict[str, Any]:
    """The key that was written beside a page.

    Raises:
        ValueError: the file is missing or is no key.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}; give the key.json that mlsuperb listen page wrote beside the page")
    try:
        key = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); give the key.json of the page") from error
    if not (isinstance(key, dict) and {"page", "systems", "samples"} <= set(key)):
        raise ValueError(f"{path} is no key of a listening test; give the key.json of the page, and ratings after it")
    return key


def read_ratings(paths: Sequence[Path], key: Mapping[str, Any]) -> pd.DataFrame:
    """Ratings with their systems and utterances: columns listener, system, utterance, rating.

    Raises:
        ValueError: a file is none of ratings or of another page, a rating is none of the scale, or a listener rated a sample
            twice; all files that are wrong are named.
    """
    problems, tables = [], []
    for path in paths:
        if not path.is_file():
            problems.append(f"{path}: there is no such file")
            continue
        try:
            table = read_table(path)
        except ValueError as error:
            problems.append(str(error))
            continue
        problem = next((text for check, text in _checks(key) if check(table)), None)
        if problem:
            problems.append(f"{path}: {problem}")
        tables.append(table.assign(file=str(path)))
    if problems:
        raise ValueError("; ".join(problems))
    ratings = pd.concat(tables, ignore_index=True)
    twice = ratings[ratings.duplicated(["listener", "sample"], keep=False)]
    if not twice.empty:
        raise ValueError(
            f"{', '.join(sorted(set(twice['listener'])))} rated {twice['sample'].nunique():,} samples twice, in "
            f"{', '.join(sorted(set(twice['file'])))}; keep one file of each listener, and where two listeners have the same "
            "name, change it in one of the files"
        )
    found = pd.DataFrame([key["samples"][sample] for sample in ratings["sample"]])
    return found.assign(listener=ratings["listener"], rating=ratings["rating"].astype(int))


def _checks(key: Mapping[str, Any]) -> list[tuple[Callable[[pd.DataFrame], bool], str]]:
    """What may be wrong with a table of ratings, in the order in which it is looked at."""
    scale = {str(value) for value in SCALE}
    return [
        (
            lambda table: not set(COLUMNS) <= set(table.columns),
            f"no ratings: these have the columns {', '.join(COLUMNS)}",
        ),
        (lambda table: table.empty, "holds no rating"),
        (
            lambda table: not set(table["page"]) <= {key["page"]},
            f"ratings of another page; the key is that of page {key['page']}",
        ),
        (lambda table: not set(table["sample"]) <= set(key["samples"]), "rates samples that the page does not have"),
        (lambda table: not set(table["rating"]) <= scale, f"has ratings that are none of {', '.join(sorted(scale))}"),
        (
            lambda table: not all(name.strip() for name in table["listener"]),
            "has ratings without the name of a listener",
        ),
    ]


def opinion_scores(ratings: pd.DataFrame, systems: Sequence[str], *, seed: int = 0) -> list[OpinionScore]:
    """The scores of the systems that were rated, the highest first."""
    found = []
    for system in systems:
        own = ratings[ratings["system"] == system]
        if own.empty:
            continue
        table_LU = own.pivot(index="listener", columns="utterance", values="rating").to_numpy(float)
        counts = own["rating"].value_counts()
        found.append(
            OpinionScore(
                system=system,
                mos=_interval(table_LU, seed=seed),
                num_listeners=table_LU.shape[0],
                num_utterances=table_LU.shape[1],
                counts={value: int(counts.get(value, 0)) for value in SCALE},
            )
        )
    return sorted(found, key=lambda one: -one.mos.value)


def _interval(ratings_LU: np.ndarray, *, seed: int) -> Interval:
    """Of ratings that may be missing (NaN). Draws without a rating are left out."""
    given_LU = ~np.isnan(ratings_LU)
    filled_LU = np.where(given_LU, ratings_LU, 0)
    generator = np.random.default_rng(seed)
    listeners_RL, utterances_RU = (
        generator.multinomial(num, [1 / num] * num, size=_NUM_DRAWS).astype(float) for num in ratings_LU.shape
    )
    sums_R, numbers_R = (
        ((listeners_RL @ table_LU) * utterances_RU).sum(1) for table_LU in (filled_LU, given_LU.astype(float))
    )
    low, high = np.quantile(
        sums_R[numbers_R > 0] / numbers_R[numbers_R > 0], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    )
    return Interval(value=float(np.nanmean(ratings_LU)), low=float(low), high=float(high))


def score_table(scores: Sequence[OpinionScore]) -> Cells:
    """A row per system."""
    columns = (
        "system",
        f"MOS {ARROWS['higher']}",
        "listeners",
        "utterances",
        *(f"{value} {name}" for value, name in SCALE.items()),
    )
    rows = tuple(
        (
            one.system,
            f"{one.mos.value:.2f} [{one.mos.low:.2f}, {one.mos.high:.2f}]",
            f"{one.num_listeners:,}",
            f"{one.num_utterances:,}",
            *(f"{number:,}" for number in one.counts.values()),
        )
        for one in scores
    )
    return Cells("Mean opinion scores (ITU-T P.800, absolute category rating)", columns, rows, num_names=1)


def score_remarks(ratings: pd.DataFrame, scores: Sequence[OpinionScore], key: Mapping[str, Any]) -> list[str]:
    """What the intervals are, who did not finish, and what is missing."""
    lines = [
        f"in brackets: {100 * CONFIDENCE:g} % intervals by bootstrap over listeners and utterances (Owen 2007); "
        "wider than Student's t over all votes (ITU-T P.1401), which takes the votes of a listener as independent"
    ]
    num = len(key["samples"])
    counts = ratings["listener"].value_counts()
    if unfinished := [f"{name} {number} of {num}" for name, number in sorted(counts.items()) if number < num]:
        lines.append(f"not all samples were rated: {some(unfinished)}")
    if len(counts) == 1:
        lines.append("one listener: the intervals say nothing of other listeners")
    if missing := sorted(set(key["systems"]) - {one.system for one in scores}):
        lines.append(f"not rated by anybody: {', '.join(missing)}")
    return lines
