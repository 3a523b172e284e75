"""What mHuBERT-147 did to its corpora before training (arXiv 2406.06371; utter-project/mHuBERT-147-scripts): limits of length,
joining of short clips, a validation set. Letters: N rows."""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import NonNegativeInt, PositiveFloat

from mlsuperb.data.audio import joined
from mlsuperb.data.checks import FILTERED_SPLITS
from mlsuperb.data.skips import SkipReport
from mlsuperb.runtime.lines import raw_lines

IN_DROP_LIST = "in preparation.drop_list"
TOO_SHORT = "not longer than preparation.min_s, not joined"
TOO_LONG = "longer than preparation.max_s"
JOINED = "not longer than preparation.min_s, joined"
CUT = "longer than preparation.max_s, cut"
VALIDATION = "moved from train to dev"


@dataclass(kw_only=True)
class Preparation:
    """Settings of what is done to the usable utterances of a corpus (`data.preparation`, added with
    `+data/preparation=mhubert_147`). Test utterances stay as they are.

    A short clip is joined with the short clips that follow it in the corpus, within its dataset, language and split, until
    together they are longer than `min_s`. Each clip that is left over at the end is added to the first of these that then
    lasts no longer than `max_s`, or else to the first other utterance, or is dropped (`concat_wav_files.py`, but for its
    cross-fade of 0.1 s, which is the default of the library that it joins with). The transcripts are joined with spaces.

    The validation set of mHuBERT-147 is `num_valid` random utterances of each (dataset, language) pair (`create_valid_set.py`,
    `random.seed(10)` there), except for English MLS: one of each of five random parts of its manifest, because that was too
    large to hold in one piece. This exception is not copied.

    Args:
        min_s: utterances of no more than this are short.
        max_s: utterances above this are long.
        join_short: join short utterances; false drops them.
        join_speakers: join across speakers; false joins only clips of one speaker (one whose name is not known is a speaker
            for this).
        long: drop long utterances, or cut them into the fewest pieces of equal length that are not long. The pieces have no
            transcript.
        num_valid: training utterances of each (dataset, language) pair that are moved to dev, half of them at most.
        valid: whether this is done to pairs that have no dev utterances, or to all.
        drop_list: a text file with the id of an utterance in each line that is to be dropped, and behind a tab the reason
            (`mlsuperb.data.audio_filter` writes one).
        seed: of the choice for validation; the choice for a pair does not depend on other pairs.
    """

    min_s: PositiveFloat = 2.0
    max_s: PositiveFloat = 30.0
    join_short: bool = True
    join_speakers: bool = True
    long: Literal["drop", "cut"] = "drop"
    num_valid: NonNegativeInt = 5
    valid: Literal["where_absent", "everywhere"] = "where_absent"
    drop_list: str | None = None
    seed: NonNegativeInt = 0

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        """What is wrong with the settings, a full sentence each."""
        found, min_s, max_s = [], settings["min_s"], settings["max_s"]
        if 2 * min_s > max_s:
            found.append(
                f"preparation.min_s={min_s} and max_s={max_s}: two short utterances could be too long together. Give a max_s "
                "of at least twice min_s."
            )
        path = settings.get("drop_list")
        if path is not None and not Path(path).is_file():
            found.append(
                f"preparation.drop_list={path}: there is no such file. Give the path of a list of ids, or null."
            )
        return found

    def sources(self) -> list[Path]:
        """The files whose change makes a stored manifest stale."""
        return [] if self.drop_list is None else [Path(self.drop_list)]

    def apply(self, manifest: pd.DataFrame, skipped: SkipReport) -> pd.DataFrame:
        """The utterances to train and validate on. What is dropped, joined, cut and moved is counted in `skipped`, with its
        hours.

        Raises:
            ValueError: the settings do not go together; the drop list has no id of this manifest.
        """
        if problems := self.problems(**vars(self)):
            raise ValueError(" ".join(problems))
        frame = self._without_listed(manifest, skipped).reset_index(drop=True)
        frame = self._joined(frame, skipped) if self.join_short else frame
        frame = skipped.drop(frame, _filtered(frame) & (frame["duration_s"] <= self.min_s), TOO_SHORT)
        too_long = _filtered(frame) & (frame["duration_s"] > self.max_s)
        frame = self._cut(frame, too_long, skipped) if self.long == "cut" else skipped.drop(frame, too_long, TOO_LONG)
        return self._with_validation(frame.reset_index(drop=True), skipped)

    def _without_listed(self, frame: pd.DataFrame, skipped: SkipReport) -> pd.DataFrame:
        if self.drop_list is None:
            return frame
        lines = [line.rstrip("\r\n").partition("\t") for _, line in raw_lines(Path(self.drop_list))]
        reasons: dict[str, str] = {}
        for name, _, reason in lines:
            if name.strip():
                reasons.setdefault(name, reason)  # lists of several measures may be joined into one
        listed = frame[frame["id"].isin(reasons) & _filtered(frame)]
        if reasons and listed.empty:
            raise ValueError(
                f"preparation.drop_list={self.drop_list} has {len(reasons):,} ids, the first of them {next(iter(reasons))!r}, "
                "and none is of a train or dev utterance of this corpus. Give the list that was made for it."
            )
        reason_N = listed["id"].map(reasons)
        for reason in reason_N.drop_duplicates():
            named = f"{IN_DROP_LIST}: {reason}" if reason else IN_DROP_LIST
            skipped.count(listed[reason_N == reason], named)
        return frame.drop(listed.index)

    def _joined(self, frame: pd.DataFrame, skipped: SkipReport) -> pd.DataFrame:
        """`frame`, its index 0 to N - 1, with short utterances joined where that is possible."""
        duration_N, target_N = frame["duration_s"].to_numpy(), np.arange(len(frame))
        rows_N = np.flatnonzero(_filtered(frame))
        keys = ["dataset", "language", "split", *([] if self.join_speakers else ["speaker"])]
        for places in frame.iloc[rows_N].groupby(keys, sort=False).indices.values():
            self._assign(rows_N[places], duration_N, target_N)
        sizes_N = np.bincount(target_N, minlength=len(frame))
        short_N = _filtered(frame).to_numpy() & (duration_N <= self.min_s)
        skipped.count(frame[short_N & (sizes_N[target_N] > 1)], JOINED, kept=True)
        together = frame[sizes_N[target_N] > 1]
        made = _made_of(together, target_N[together.index])
        return pd.concat([frame[sizes_N[target_N] == 1], made]).sort_index()

    def _assign(self, rows: np.ndarray, duration_N: np.ndarray, target_N: np.ndarray) -> None:
        """Write into `target_N`, for the rows that may be joined with each other, the row that each becomes a part of."""
        short = duration_N[rows] <= self.min_s
        made_s: dict[int, float] = {}  # seconds of what is made, by its first row
        group: list[int] = []
        for row in rows[short].tolist():
            group.append(row)
            # there a group is whole at 2 s, but what lasts exactly 2 s is dropped when manifests are written
            if (group_s := float(sum(duration_N[group]))) > self.min_s:
                target_N[group], made_s[group[0]], group = group[0], group_s, []
        others, others_s = rows[~short], duration_N[rows[~short]]
        for row in group:
            room_s = self.max_s - duration_N[row]
            taker = next((one for one, one_s in made_s.items() if one_s <= room_s), None)
            if taker is None and (others_s <= room_s).any():
                place = int((others_s <= room_s).argmax())
                taker, others_s[place] = int(others[place]), np.inf  # from now on it is one of those that are made
                made_s[taker] = float(duration_N[taker])
            if taker is not None:
                target_N[row] = taker
                made_s[taker] += float(duration_N[row])

    def _cut(self, frame: pd.DataFrame, too_long: pd.Series, skipped: SkipReport) -> pd.DataFrame:
        long = frame[too_long]
        skipped.count(long, CUT, kept=True)
        num_N = np.ceil(long["duration_s"] / self.max_s).astype(int)
        pieces = long.loc[long.index.repeat(num_N)]
        number_N = pieces.groupby(level=0).cumcount()
        length_N = pieces["duration_s"] / np.repeat(num_N.to_numpy(), num_N)
        pieces = pieces.assign(
            id=pieces["id"] + "#" + number_N.astype(str),
            start_s=pieces["start_s"] + number_N * length_N,
            duration_s=length_N,
            text="",
        )
        return pd.concat([frame[~too_long], pieces]).sort_index(kind="stable")

    def _with_validation(self, frame: pd.DataFrame, skipped: SkipReport) -> pd.DataFrame:
        dev = frame[frame["split"] == "dev"]
        have_dev = set(zip(dev["dataset"], dev["language"], strict=True))
        # an id that dev has already cannot be given to it again
        train = frame[(frame["split"] == "train") & ~frame["id"].isin(dev["id"])]
        moved: list[int] = []
        for pair, places in train.groupby(["dataset", "language"], sort=False).indices.items():
            if self.valid == "where_absent" and pair in have_dev:
                continue
            chosen = pair_rng(self.seed, pair).choice(places, min(self.num_valid, len(places) // 2), replace=False)
            moved += train.index[np.sort(chosen)].tolist()
        skipped.count(frame.loc[moved], VALIDATION, kept=True)
        return frame.assign(split=frame["split"].mask(frame.index.isin(moved), "dev"))


def pair_rng(seed: int, pair: Hashable) -> np.random.Generator:
    """For a draw among the rows of a (dataset, language): of no other's number or order."""
    assert isinstance(pair, tuple)
    return np.random.default_rng([seed, zlib.crc32("/".join(pair).encode())])


def _filtered(frame: pd.DataFrame) -> pd.Series:
    """Which rows are of splits that are filtered at all."""
    return frame["split"].isin(FILTERED_SPLITS)


def _made_of(frame: pd.DataFrame, target_N: np.ndarray) -> pd.DataFrame:
    """One utterance of the rows of each target, in their order, at the index of the target."""
    order = np.argsort(target_N, kind="stable")
    targets, firsts = np.unique(target_N[order], return_index=True)
    rows = frame.iloc[order]
    made = frame.loc[targets]  # ids and so on are those of the target
    bounds = [*firsts.tolist(), len(rows)]
    pieces = list(zip(rows["audio"], rows["start_s"].tolist(), rows["duration_s"].tolist(), strict=True))
    return made.assign(
        id=[f"{one}+{last - first - 1}" for one, (first, last) in zip(made["id"], pairwise(bounds), strict=True)],
        audio=[joined(group) for group in _groups(pieces, bounds)],
        start_s=0.0,
        duration_s=[sum(duration_s for _, _, duration_s in group) for group in _groups(pieces, bounds)],
        text=[" ".join(filter(None, group)) for group in _groups(rows["text"].tolist(), bounds)],
        speaker=[group[0] if len(set(group)) == 1 else "" for group in _groups(rows["speaker"].tolist(), bounds)],
    )


def _groups(values: Sequence[Any], bounds: Sequence[int]) -> Iterator[Sequence[Any]]:
    return (values[first:last] for first, last in pairwise(bounds))
