"""The units that a vocoder speaks: the labels of a run of job=labels, which bring the speech with them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import PositiveInt

from mlsuperb.runs import store
from mlsuperb.runs.result import Result
from mlsuperb.units.labels import LABELS, Labels, few_of_each
from mlsuperb.vocoder.dataset import whole_units

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class SpeechUnits:
    """Labels of an earlier run.

    Args:
        run: folder of the run of job=labels.
        num_valid: dev utterances of each (dataset, language) to validate on, at most, chosen at random.
    """

    run: str
    num_valid: PositiveInt = 20

    @classmethod
    def problems(cls, *, run: str, **_: Any) -> list[str]:
        """Whether there is such a run, which has finished."""
        problem = store.finished_problem("targets.run", run, Result, job="labels", holds=LABELS)
        return [problem] if problem else []

    def open(self) -> Labels:
        """The labels, checked against their audio.

        Raises:
            ValueError: they do not fit, or some are missing.
        """
        return Labels(Path(self.run) / LABELS)

    def rows(self, labels: Labels, split: str, *, num_units: int) -> pd.DataFrame:
        """The rows of a split that have `num_units` units at least.

        Raises:
            ValueError: there is none.
        """
        found = labels.rows(split)
        chosen = found[whole_units(labels, found) >= num_units] if len(found) else found
        if split != "train":
            chosen = few_of_each(chosen, self.num_valid)
        if chosen.empty:
            raise ValueError(
                f"{labels.folder} has no labelled {split} utterance of at least {num_units} units ({len(found)} shorter ones). "
                "Label that split, too (labelling.splits=[train,dev]), or shorten the segments (loading.crops.max_s)"
            )
        if split == "train" and len(chosen) < len(found):
            log.info("%d train utterances are shorter than a segment and left out", len(found) - len(chosen))
        return chosen


def names(rows: pd.DataFrame, column: str) -> tuple[str, ...]:
    """The names in a column, sorted, for an embedding of each.

    Raises:
        ValueError: a row has none.
    """
    if (empty := rows[column].astype(str).str.strip() == "").any():
        raise ValueError(
            f"vocoder.{column}=true learns an embedding of every {column}, but {int(empty.sum()):,} of {len(rows):,} train "
            f"utterances have none (the first is {rows.loc[empty, 'id'].iloc[0]}). Give a corpus whose manifest names them, or "
            f"set vocoder.{column}=false"
        )
    return tuple(sorted(rows[column].astype(str).unique()))


def known(rows: pd.DataFrame, *, speakers: Sequence[str], languages: Sequence[str]) -> pd.DataFrame:
    """The dev rows whose speakers and languages have been trained, where there are embeddings of them.

    Raises:
        ValueError: there is none.
    """
    keep = pd.Series(True, index=rows.index)
    for column, trained in (("speaker", speakers), ("language", languages)):
        if trained:
            keep &= rows[column].isin(trained)
    if not keep.any():
        raise ValueError(
            "no dev utterance has a speaker and a language of the training set, whose embeddings could be tried: hold out "
            "utterances of the same speakers, or set vocoder.speaker=false"
        )
    if not keep.all():
        log.info(
            "%d dev utterances have speakers or languages that are not trained and are left out", int((~keep).sum())
        )
    return rows[keep]
