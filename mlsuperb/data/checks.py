"""From a corpus' raw rows to those that can be used: errors stop, everything else that is dropped is counted."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm import tqdm

from mlsuperb.data.arrow import repeated
from mlsuperb.data.audio import END_TOLERANCE_S, audio_info, wrong_rate
from mlsuperb.data.languages import language_problems
from mlsuperb.data.skips import SkipReport
from mlsuperb.types import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from mlsuperb.data.corpora.base import Corpus

NUM_READERS = 16  # threads that wait for file headers
FILTERED_SPLITS = ("train", "dev")

EMPTY_TEXT = "empty text"
MISSING_AUDIO = "missing audio file"
UNREADABLE_AUDIO = "unreadable audio file"
BEYOND_END = "segment beyond the end of its file"
NO_DURATION = "zero duration"
TOO_LONG = "longer than max_duration_s"
TOO_SHORT = "not longer than min_duration_s"
BEYOND_HOURS = "beyond max_train_hours"
AUDIO_FAULTS = (MISSING_AUDIO, UNREADABLE_AUDIO, BEYOND_END, NO_DURATION)  # a whole corpus has none of these


def usable_rows(corpus: Corpus, frame: pd.DataFrame, skipped: SkipReport) -> pd.DataFrame:
    """The rows of `frame` that can be used, with their durations filled in.

    Raises:
        ValueError: an id occurs twice in a split; a language is unknown; a rate is refused; audio is bad and `on_bad`
            is `error`; nothing is left of the corpus or of something that was asked for by name.
    """
    frame = _wanted(corpus, frame)
    if frame.empty:  # the steps below need a row
        _refuse_absent_names(corpus, frame, skipped)
    refuse_unknown_languages(frame, "language", extra=corpus.extra_languages, group=corpus.group)
    remedy = ", or leave one of the places out with data.languages or data.datasets"
    refuse_duplicates(frame, place=("dataset", "language"), remedy=remedy)
    if corpus.text == "required":
        frame = drop(frame, frame["text"].str.strip() == "", EMPTY_TEXT, skipped)
    frame = _with_durations(corpus, frame, skipped)
    filtered = frame["split"].isin(FILTERED_SPLITS)
    too_long = filtered & (frame["duration_s"] > corpus.max_duration_s)
    too_short = filtered & (frame["duration_s"] <= corpus.min_duration_s)
    frame = drop(frame, too_long, TOO_LONG, skipped)
    frame = drop(frame, too_short[frame.index], TOO_SHORT, skipped)
    if corpus.max_train_hours is not None:
        train = frame[frame["split"] == "train"]
        hours = train.groupby(["language", "dataset"])["duration_s"].cumsum() / 3600
        frame = drop(frame, frame.index.isin(hours.index[hours > corpus.max_train_hours]), BEYOND_HOURS, skipped)
    _refuse_absent_names(corpus, frame, skipped)
    return frame.reset_index(drop=True)


def _wanted(corpus: Corpus, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that the settings ask for. Readers may leave the others out earlier; here no reader can forget it."""
    pairs = list(zip(frame["language"], frame["dataset"], strict=True))
    wanted = {pair for pair in set(pairs) if corpus.wants(*pair)}
    return frame[np.array([pair in wanted for pair in pairs], dtype=bool)]


def refuse_unknown_languages(frame: pd.DataFrame, column: str, *, extra: Collection[str], group: str) -> None:
    """Stop at the first row with a language that is none.

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
        ids = _some(again["id"].drop_duplicates())
        places = _some(again[list(place)].drop_duplicates().agg("/".join, axis=1))
        raise ValueError(
            f"{again.drop_duplicates(['split', 'id']).shape[0]} ids occur more than once in split "
            f"{_some(again['split'].drop_duplicates())}: {ids} (in {places}). An id must name one row: take the repeated "
            f"lines out of the corpus{remedy}."
        )


def _with_durations(corpus: Corpus, frame: pd.DataFrame, skipped: SkipReport) -> pd.DataFrame:
    """Open every file's header; fill in the duration of rows that last to the end of their file."""
    headers = _headers(frame["audio"].unique())
    state = frame["audio"].map({path: header[0] for path, header in headers.items()}).astype(str)
    if corpus.on_bad == "error":
        _refuse_bad(frame, state)
    for reason in (MISSING_AUDIO, UNREADABLE_AUDIO):
        frame = drop(frame, state[frame.index] == reason, reason, skipped)
    rate_hz = frame["audio"].map({path: header[1] for path, header in headers.items()}).astype(float)
    file_s = frame["audio"].map({path: header[2] for path, header in headers.items()}).astype(float)
    if not corpus.resample and (refused := frame["audio"][rate_hz != SAMPLE_RATE_HZ]).size:
        first = wrong_rate(refused.iloc[0], rate_hz=int(rate_hz[refused.index[0]]))
        raise ValueError(f"{first} ({refused.nunique()} files of this corpus have another rate.)")
    rest_s = file_s - frame["start_s"]
    given_s = frame["duration_s"].where(frame["duration_s"].notna(), rest_s)
    no_duration = (file_s <= 0) | (given_s.where(frame["duration_s"].notna(), 1.0) <= 0)
    beyond = ~no_duration & ((rest_s <= 0) | (given_s > rest_s + END_TOLERANCE_S) | (frame["start_s"] < 0))
    if corpus.on_bad == "error":
        _refuse_bad(frame, pd.Series(np.where(beyond, BEYOND_END, ""), index=frame.index))
    frame = frame.assign(duration_s=np.minimum(given_s, rest_s))
    frame = drop(frame, no_duration, NO_DURATION, skipped)
    return drop(frame, beyond[frame.index], BEYOND_END, skipped)


def _headers(paths: Iterable[str]) -> dict[str, tuple[str, int, float]]:
    """(fault or "", rate, seconds) of every file."""
    names = list(paths)
    with ThreadPoolExecutor(NUM_READERS) as pool:
        found = tqdm(pool.map(_header, names), total=len(names), desc="audio headers", unit="file", disable=None)
        return dict(zip(names, found, strict=True))


def _header(path: str) -> tuple[str, int, float]:
    if not os.path.isfile(path):
        return MISSING_AUDIO, 0, 0.0
    try:
        info = audio_info(path)
    except ValueError:
        return UNREADABLE_AUDIO, 0, 0.0
    return "", info.rate_hz, info.duration_s


def _refuse_bad(frame: pd.DataFrame, state: pd.Series) -> None:
    bad = frame[state != ""]
    if len(bad):
        reason = state[bad.index[0]]
        raise ValueError(
            f"{len(bad)} utterances have audio that cannot be used; the first is {bad['id'].iloc[0]!r} of split "
            f"{bad['split'].iloc[0]!r}: {reason}: {bad['audio'].iloc[0]}. Mend the corpus, or set data.on_bad=skip to "
            "count such utterances and go on."
        )


def _refuse_absent_names(corpus: Corpus, frame: pd.DataFrame, skipped: SkipReport) -> None:
    """Whatever was asked for by name must be there. Of the pairs, those that the languages and datasets let through."""
    pairs = set(zip(frame["language"], frame["dataset"], strict=True))
    languages, datasets = corpus.languages, corpus.datasets
    asked_pairs = [
        (language, dataset)
        for language, dataset in corpus.pairs or []
        if (languages is None or language in languages) and (datasets is None or dataset in datasets)
    ]
    wanted = {
        "languages": (corpus.languages or [], {language for language, _ in pairs}),
        "datasets": (corpus.datasets or [], {dataset for _, dataset in pairs}),
        "pairs": (asked_pairs, pairs),
    }
    absent = [
        f"data.{setting}={_some([str(name) for name in names if name not in present])}"
        for setting, (names, present) in wanted.items()
        if any(name not in present for name in names)
    ]
    if absent or frame.empty:
        missing = "; ".join(absent) or "any of its utterances"
        raise ValueError(
            f"nothing can be used of {missing}. The corpus has {_contents(corpus)}. Of what was asked for: {skipped}. "
            "Correct the setting, or get the corpus whole (data/README.md)."
        )


def _contents(corpus: Corpus) -> str:
    """The datasets and languages of the whole corpus; only an error message needs this second look."""
    everything = replace(corpus, languages=None, datasets=None, pairs=None)
    pairs = {(row.dataset, row.language) for row in everything.rows(SkipReport())}
    datasets = sorted({dataset for dataset, _ in pairs})
    return f"the datasets {', '.join(datasets)} and the languages {', '.join(sorted({code for _, code in pairs}))}"


def drop(frame: pd.DataFrame, mask: pd.Series | np.ndarray, reason: str, skipped: SkipReport) -> pd.DataFrame:
    """The rows that `mask` does not mark; those that it marks are counted."""
    skipped.extend(reason, frame["id"][mask], frame["split"][mask])
    return frame[~mask]


def _some(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    known = list(names)
    return ", ".join(known[:5]) + (f" and {len(known) - 5} more" if len(known) > 5 else "")
