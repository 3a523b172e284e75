"""Checks of a corpus' raw rows: errors stop, everything else that is dropped is counted."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

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
    AudioError,
    audio_info,
)
from mlsuperb.data.languages import language_problems
from mlsuperb.data.skips import NUM_EXAMPLES, SkipReport
from mlsuperb.types import SAMPLE_RATE_HZ

NUM_READERS = 16  # threads that wait for files, or decode
FILTERED_SPLITS = ("train", "dev")

NO_DURATION = "zero duration"
BEYOND_END = "segment beyond the end of its file"
AUDIO_FAULTS = (  # a whole corpus has none of these
    MISSING_AUDIO, UNREADABLE_AUDIO, CUT_AUDIO, JOINED_AUDIO, DAMAGED_AUDIO, WRONG_LEVEL, NO_DURATION, BEYOND_END,
)  # fmt: skip
_log = logging.getLogger(__name__)


class _Look(NamedTuple):
    """What was found in a file: a fault and a sentence about it, both empty where there is none; its rate (0: not known), and its
    seconds (up to the fault)."""

    fault: str
    why: str
    rate_hz: int
    readable_s: float


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
    frame: pd.DataFrame, skipped: SkipReport, *, resample: bool, refuse_bad: bool, decode: bool
) -> pd.DataFrame:
    """Open every file, fill in the duration of rows that last to the end of their file, and drop rows whose audio cannot be used.

    Args:
        decode: decode the files in which damage can hide.

    Raises:
        ValueError: audio is bad and `refuse_bad` is set; a file has to be resampled and `resample` is not set.
    """
    paths = frame["audio"].unique().tolist()
    looks = pd.DataFrame(_looks(paths, decode=decode), index=paths, columns=list(_Look._fields))
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
        frame = skipped.drop(frame, fault[frame.index] == reason, reason, by_audio=True)
    return frame


def _looks(paths: Sequence[str], *, decode: bool) -> list[_Look]:
    """What is found in every file; the first of each fault are told."""
    with ThreadPoolExecutor(NUM_READERS) as pool:
        looks = pool.map(lambda path: _look(path, decode=decode), paths)
        doing = "decode audio" if decode else "audio headers"
        found = list(tqdm(looks, total=len(paths), desc=doing, unit="file", disable=None))
    for fault in AUDIO_FAULTS:
        for one in [look for look in found if look.fault == fault][:NUM_EXAMPLES]:
            _log.warning("%s: %s", fault, one.why)
    return found


def _look(path: str, *, decode: bool) -> _Look:
    try:
        info = audio_info(path, decode=decode)
    except AudioError as error:
        return _Look(error.fault, str(error), 0, error.readable_s)
    if info.missing_s > END_TOLERANCE_S:
        return _Look(
            CUT_AUDIO, f"{path}: {info.cut_short} Get it again, or take it out.", info.rate_hz, info.duration_s
        )
    return _Look("", "", info.rate_hz, info.duration_s)


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
