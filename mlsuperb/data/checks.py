"""Checks of a corpus' raw rows: errors stop, everything else that is dropped is counted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import pandas as pd

from mlsuperb.data.arrow import repeated
from mlsuperb.data.audio import wrong_rate
from mlsuperb.data.audio_file import (
    CUT_AUDIO,
    DAMAGED_AUDIO,
    END_TOLERANCE_S,
    JOINED_AUDIO,
    MISSING_AUDIO,
    UNREADABLE_AUDIO,
    WRONG_LEVEL,
)
from mlsuperb.data.languages import language_problems
from mlsuperb.data.looks import look_at
from mlsuperb.data.skips import SkipReport
from mlsuperb.types import SAMPLE_RATE_HZ

FILTERED_SPLITS = ("train", "dev")

NO_DURATION = "zero duration"
BEYOND_END = "segment beyond the end of its file"
AUDIO_FAULTS = (  # a whole corpus has none of these
    MISSING_AUDIO, UNREADABLE_AUDIO, CUT_AUDIO, JOINED_AUDIO, DAMAGED_AUDIO, WRONG_LEVEL, NO_DURATION, BEYOND_END,
)  # fmt: skip


def refuse_unknown_languages(frame: pd.DataFrame, column: str, *, extra: Collection[str], group: str) -> None:
    """Stop at the first row with an unknown language.

    Raises:
        ValueError: there is one; it names the row and the nearest language.
    """
    first_ids = frame.groupby(column, sort=True)["id"].first()
    for language, row_id in first_ids.items():
        setting = f"{column.replace('_', ' ')} of {row_id!r}"
        if problems := language_problems([language], setting=setting, extra=extra, group=group):
            raise ValueError(problems[0])


def refuse_duplicates(frame: pd.DataFrame, *, place: Sequence[str], remedy: str) -> None:
    """Stop where an id occurs twice in a split.

    Raises:
        ValueError: there are such ids; it names the first few and the values of their columns `place`.
    """
    again = frame[repeated(frame)]
    if len(again):
        ids = some(again["id"].drop_duplicates())
        places = some(again[list(place)].drop_duplicates().agg("/".join, axis=1))
        raise ValueError(
            f"{again.drop_duplicates(['split', 'id']).shape[0]} ids occur more than once in split "
            f"{some(again['split'].drop_duplicates())}: {ids} (in {places}). An id must name one row: take the repeated "
            f"lines out of the corpus{remedy}."
        )


def with_durations(
    frame: pd.DataFrame, skipped: SkipReport, *, known: pd.DataFrame, resample: bool, refuse_bad: bool, decode: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Look at every file, fill in the duration of rows that last to its end, and drop rows whose audio cannot be used.

    Args:
        known: looks at these or other files (`mlsuperb.data.looks`).
        decode: decode the files in which damage can hide.

    Returns:
        The rows that are left, and the looks at the files of all rows.

    Raises:
        ValueError: audio is bad and `refuse_bad` is set; a file has to be resampled and `resample` is not set.
    """
    looks = look_at(frame["audio"].unique().tolist(), decode=decode, known=known)
    look = looks.loc[frame["audio"]].set_axis(frame.index)
    rest_s = look["readable_s"].astype(float) - frame["start_s"]
    given_s = frame["duration_s"].fillna(rest_s)
    beyond = (rest_s <= 0) | (given_s > rest_s + END_TOLERANCE_S) | (frame["start_s"] < 0)
    is_before = (frame["duration_s"] > 0) & ~beyond  # a segment in what can be read of a bad file
    fault = look["fault"].mask(is_before, "")
    sound = look["fault"] == ""
    no_duration = sound & ((look["readable_s"] <= 0) | (frame["duration_s"] <= 0))
    fault = fault.mask(no_duration, NO_DURATION).mask(sound & ~no_duration & beyond, BEYOND_END)
    if refuse_bad:
        _refuse_bad(frame, fault.mask(no_duration, ""), why=look["why"])
    if not resample and (refused := frame["audio"][(fault == "") & ~look["rate_hz"].isin((0, SAMPLE_RATE_HZ))]).size:
        first = wrong_rate(refused.iloc[0], rate_hz=int(look["rate_hz"][refused.index[0]]))
        raise ValueError(f"{first} ({refused.nunique()} files of this corpus have another rate.)")
    frame = frame.assign(duration_s=np.minimum(given_s, rest_s))
    for reason in AUDIO_FAULTS:
        frame = skipped.drop(frame, fault[frame.index] == reason, reason)
    return frame, looks


def _refuse_bad(frame: pd.DataFrame, fault: pd.Series, *, why: pd.Series) -> None:
    bad = frame[fault != ""]
    if len(bad):
        first = bad.index[0]
        raise ValueError(
            f"{len(bad)} utterances have audio that cannot be used; the first is {bad['id'].iloc[0]!r} of split "
            f"{bad['split'].iloc[0]!r}: {fault[first]}: {why[first] or bad['audio'].iloc[0]} Mend the corpus, or set "
            "data.on_bad=skip to count such utterances and go on."
        )


def some(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    known = list(names)
    return ", ".join(known[:5]) + (f" and {len(known) - 5} more" if len(known) > 5 else "")
