"""Checks of a corpus' raw rows: errors stop, everything else that is dropped is counted."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from tqdm import tqdm

from mlsuperb.data.arrow import repeated
from mlsuperb.data.audio import END_TOLERANCE_S, audio_info, file_of, wrong_rate
from mlsuperb.data.languages import language_problems
from mlsuperb.data.skips import SkipReport
from mlsuperb.types import SAMPLE_RATE_HZ

NUM_READERS = 16  # threads that wait for file headers
FILTERED_SPLITS = ("train", "dev")

MISSING_AUDIO = "missing audio file"
UNREADABLE_AUDIO = "unreadable audio file"
NO_DURATION = "zero duration"
BEYOND_END = "segment beyond the end of its file"
AUDIO_FAULTS = (MISSING_AUDIO, UNREADABLE_AUDIO, NO_DURATION, BEYOND_END)  # a whole corpus has none of these


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


def with_durations(frame: pd.DataFrame, skipped: SkipReport, *, resample: bool, refuse_bad: bool) -> pd.DataFrame:
    """Open every file's header, fill in the duration of rows that last to the end of their file, and drop rows whose audio
    cannot be used.

    Raises:
        ValueError: audio is bad and `refuse_bad` is set; a file has to be resampled and `resample` is not set.
    """
    paths = frame["audio"].unique().tolist()
    headers = pd.DataFrame(_headers(paths), index=paths, columns=["fault", "rate_hz", "file_s"])
    header = headers.loc[frame["audio"]].set_axis(frame.index)
    rest_s = header["file_s"].astype(float) - frame["start_s"]
    given_s = frame["duration_s"].fillna(rest_s)
    sound = header["fault"] == ""
    no_duration = sound & ((header["file_s"] <= 0) | (frame["duration_s"] <= 0))
    beyond = (rest_s <= 0) | (given_s > rest_s + END_TOLERANCE_S) | (frame["start_s"] < 0)
    fault = header["fault"].mask(no_duration, NO_DURATION).mask(sound & ~no_duration & beyond, BEYOND_END)
    if refuse_bad:
        _refuse_bad(frame, fault.mask(no_duration, ""))
    if not resample and (refused := frame["audio"][sound & (header["rate_hz"] != SAMPLE_RATE_HZ)]).size:
        first = wrong_rate(refused.iloc[0], rate_hz=int(header["rate_hz"][refused.index[0]]))
        raise ValueError(f"{first} ({refused.nunique()} files of this corpus have another rate.)")
    frame = frame.assign(duration_s=np.minimum(given_s, rest_s))
    for reason in AUDIO_FAULTS:
        frame = skipped.drop(frame, fault[frame.index] == reason, reason, by_audio=True)
    return frame


def _headers(paths: Sequence[str]) -> list[tuple[str, int, float]]:
    """(fault or "", rate, seconds) of every file."""
    with ThreadPoolExecutor(NUM_READERS) as pool:
        return list(tqdm(pool.map(_header, paths), total=len(paths), desc="audio headers", unit="file", disable=None))


def _header(path: str) -> tuple[str, int, float]:
    if not os.path.isfile(file_of(path)):
        return MISSING_AUDIO, 0, 0.0
    try:
        info = audio_info(path)
    except ValueError:
        return UNREADABLE_AUDIO, 0, 0.0
    return "", info.rate_hz, info.duration_s


def _refuse_bad(frame: pd.DataFrame, fault: pd.Series) -> None:
    bad = frame[fault != ""]
    if len(bad):
        raise ValueError(
            f"{len(bad)} utterances have audio that cannot be used; the first is {bad['id'].iloc[0]!r} of split "
            f"{bad['split'].iloc[0]!r}: {fault[bad.index[0]]}: {bad['audio'].iloc[0]}. Mend the corpus, or set "
            "data.on_bad=skip to count such utterances and go on."
        )


def some(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    known = list(names)
    return ", ".join(known[:5]) + (f" and {len(known) - 5} more" if len(known) > 5 else "")
