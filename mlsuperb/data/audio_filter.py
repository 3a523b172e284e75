"""Finds recordings that are more music, noise or silence than speech, as mHuBERT-147's authors did for VoxLingua107
(`music_noise_detection.py` of utter-project/mHuBERT-147-scripts): an offline pass over the utterances of a corpus, with
`mlsuperb data filter`. What it finds is a list of ids, which `data.preparation.drop_list` takes out.

<folder>/manifest.parquet       the utterances that are looked at, prepared as for training but neither joined nor cut
<folder>/about.json             with what they are measured, and how many there are
<folder>/verdicts-00000.jsonl   seconds of each label in each utterance of a shard; written whole or not at all
<folder>/drop_list.txt          id, tab, reason; written when all shards are there

Two measures: `ina` is inaSpeechSegmenter (Doukhan et al., ICASSP 2018), a network that tells speech, music and noise apart;
`energy` computes only what that calls `noEnergy`, without a network. The package was not at hand when this was written: `ina` is
tested with a stand-in, and `energy` against the package's formulas. Letters: T samples, F frames.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import soundfile
from tqdm import tqdm

from mlsuperb.data.arrow import sorted_rows_digest, text_array
from mlsuperb.data.audio import load_audio
from mlsuperb.data.corpora.base import Corpus
from mlsuperb.data.preparation import Preparation
from mlsuperb.data.prepared import prepare
from mlsuperb.data.skips import SkipReport
from mlsuperb.runtime.files import disk_errors_named, replaced, written_before
from mlsuperb.types import SAMPLE_RATE_HZ

Measure = Literal["ina", "energy"]
DROP_LIST = "drop_list.txt"
ROWS_PER_SHARD = 1000  # a killed process loses no more than these
UNREADABLE = "audio that cannot be read"

# inaSpeechSegmenter's segmenter.py (`_energy_activity`), viterbi_utils.py and sidekit_mfcc.py
_WINDOW, _HOP = 400, 160  # 25 ms, 10 ms
_PREEMPHASIS = 0.97
_ENERGY_RATIO = 0.03  # a frame has energy if it is above this times the geometric mean of all
_SWITCH = 150 * math.log(10)  # cost of a change of state
_MISMATCH = 10 * math.log(10)  # cost of a frame that is not as its state says
_STAY_SILENT = 5.0  # cost of each further frame without energy
_LABEL_S = 0.02  # every second frame gives a label

# every train and dev utterance as it is
_AS_IT_IS = Preparation(min_s=1e-6, max_s=math.inf, join_short=False, num_valid=0)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How many seconds of what is too much."""

    max_music_s: float = 2.0
    max_noise_s: float = 2.0
    max_no_energy_s: float = 5.0

    def reason(self, seconds: Mapping[str, float]) -> str:
        """Why an utterance with so many seconds of each label is dropped; empty where it is kept."""
        if seconds.get("music", 0.0) > self.max_music_s:
            return f"more than {self.max_music_s:g} s of music"
        if seconds.get("noise", 0.0) > self.max_noise_s:
            return f"more than {self.max_noise_s:g} s of noise"
        if seconds.get("noEnergy", 0.0) > self.max_no_energy_s:
            return f"more than {self.max_no_energy_s:g} s without energy"
        return ""


def filter_corpus(
    corpus: Corpus, folder: Path, *, measure: Measure, part: tuple[int, int] = (0, 1)
) -> dict[str, dict[str, Any]] | None:
    """Measure the train and dev utterances of a corpus and list those that break the rule. What an earlier call has measured
    is not measured again.

    Args:
        folder: where the verdicts and the list are kept.
        part: (i, n): of every n shards only one is measured, so that n processes can share the work.

    Returns:
        What is in the list, as a skip report; None as long as other processes' shards are missing.

    Raises:
        ValueError: the measure is not installed; the folder holds verdicts on other speech or by another measure.
    """
    if corpus.preparation is not None:
        corpus = replace(corpus, preparation=_AS_IT_IS)
    frame = prepare(corpus, folder=folder).manifest
    frame = frame[frame["split"].isin(("train", "dev"))].reset_index(drop=True)
    digest = sorted_rows_digest([text_array(frame["id"]), text_array(frame["audio"])])
    _begin(folder, {"measure": measure, "num_rows": len(frame), "sha256": digest})
    shards = [folder / f"verdicts-{number:05d}.jsonl" for number in range(-(-len(frame) // ROWS_PER_SHARD))]
    mine = [number for number in range(part[0], len(shards), part[1]) if not shards[number].is_file()]
    measured = MEASURES[measure]() if mine else None
    for number in mine:
        rows = frame.iloc[number * ROWS_PER_SHARD : (number + 1) * ROWS_PER_SHARD]
        assert measured is not None
        lines = [f"{json.dumps(_verdict(row, measured), ensure_ascii=False)}\n" for row in _shown(rows, shards[number])]
        _write(shards[number], lines)
    return write_drop_list(folder, frame, shards) if all(shard.is_file() for shard in shards) else None


def write_drop_list(folder: Path, frame: pd.DataFrame, shards: list[Path]) -> dict[str, Any]:
    """Write the list of ids that break the rule, by the verdicts on the rows of `frame`; what is in it, as a skip report."""
    rule = Rule()
    verdicts = [json.loads(line) for shard in shards for line in shard.read_text(encoding="utf-8").splitlines()]
    assert [one["id"] for one in verdicts] == frame["id"].tolist(), "a verdict on each row"
    reasons = np.array(
        [UNREADABLE if "error" in one else rule.reason(one["seconds"]) for one in verdicts], dtype=object
    )
    report = SkipReport()
    for reason in dict.fromkeys(filter(None, reasons)):
        report.count(frame[reasons == reason], reason)
    named = zip(frame["id"], reasons, strict=True)
    _write(folder / DROP_LIST, (f"{name}\t{reason}\n" for name, reason in named if reason))
    return report.to_dict()


def no_energy_s(wave_T: np.ndarray) -> float:
    """Seconds of a wave that have no energy beside the rest of it: the smoothed decision of inaSpeechSegmenter."""
    if len(wave_T) < _WINDOW:
        return 0.0
    frames_FT = np.lib.stride_tricks.sliding_window_view(wave_T.astype(np.float64), _WINDOW)[::_HOP]
    before_FT = np.concatenate([frames_FT[:, :1], frames_FT[:, :-1]], axis=1)
    energy_F = np.square(frames_FT - _PREEMPHASIS * before_FT).sum(axis=1)
    sounding_F = energy_F > 0
    if not sounding_F.any():
        return len(energy_F[::2]) * _LABEL_S
    threshold = np.exp(np.log(energy_F[sounding_F]).mean()) * _ENERGY_RATIO
    return int((~smoothed(energy_F > threshold))[::2].sum()) * _LABEL_S


def smoothed(active_F: np.ndarray) -> np.ndarray:
    """The cheapest sequence of two states for frames that are active or not (F,): Viterbi, over runs of equal frames instead of
    frames, because no cheapest sequence changes its state within a run."""
    runs = [(bool(active), len(list(group))) for active, group in groupby(active_F.tolist())]
    cost_of = {False: 0.0, True: 0.0}  # of the cheapest sequence that ends in each state
    came_from: list[dict[bool, bool]] = []
    for active, length in runs:
        entered, origin = {}, {}
        for state in (False, True):
            stays = cost_of[state] + (_STAY_SILENT if came_from and not state else 0.0)
            changes = cost_of[not state] + (_SWITCH if came_from else 0.0)
            origin[state] = state if stays <= changes else not state
            inside = length * _MISMATCH * (state != active) + (length - 1) * _STAY_SILENT * (not state)
            entered[state] = min(stays, changes) + inside
        cost_of = entered
        came_from.append(origin)
    state, states = cost_of[True] <= cost_of[False], []
    for origin in reversed(came_from):
        states.append(state)
        state = origin[state]
    return np.repeat(states[::-1], [length for _, length in runs])


def _energy() -> Callable[[np.ndarray], dict[str, float]]:
    return lambda wave_T: {"noEnergy": no_energy_s(wave_T)}


def _ina() -> Callable[[np.ndarray], dict[str, float]]:
    try:
        from inaSpeechSegmenter import Segmenter
    except ImportError as error:
        raise ValueError(
            "inaSpeechSegmenter is not installed here, which tells music and noise from speech: pip install "
            "'mlsuperb[filter]', or give --measure energy to look for silence alone."
        ) from error
    if shutil.which("ffmpeg") is None:
        raise ValueError("inaSpeechSegmenter needs the program ffmpeg, which is not on PATH. Install it.")
    segment = Segmenter(detect_gender=False)

    def seconds(wave_T: np.ndarray) -> dict[str, float]:
        found: dict[str, float] = {}
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:  # it reads files alone
            soundfile.write(file.name, wave_T, SAMPLE_RATE_HZ)
            for label, start_s, stop_s in segment(file.name):
                found[label] = found.get(label, 0.0) + float(stop_s) - float(start_s)
        return found

    return seconds


MEASURES: dict[Measure, Callable[[], Callable[[np.ndarray], dict[str, float]]]] = {"ina": _ina, "energy": _energy}


def _verdict(row: Any, measured: Callable[[np.ndarray], dict[str, float]]) -> dict[str, Any]:
    try:
        wave_T = load_audio(row.audio, start_s=row.start_s, duration_s=row.duration_s)
    except ValueError as error:  # one bad file of millions must not end the pass
        return {"id": row.id, "error": str(error)}
    return {"id": row.id, "seconds": {label: round(seconds, 3) for label, seconds in measured(wave_T).items()}}


def _shown(rows: pd.DataFrame, shard: Path) -> Any:
    return tqdm(rows.itertuples(index=False), total=len(rows), desc=shard.stem, unit="utterance", disable=None)


def _write(path: Path, pieces: Iterable[str]) -> None:
    """Several processes may end at the same time, so that each needs a temporary name of its own."""
    with disk_errors_named(path), replaced(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(pieces)


def _begin(folder: Path, about: dict[str, Any]) -> None:
    if (before := written_before(folder / "about.json", about)) is not None:
        raise ValueError(
            f"{folder} holds verdicts on other speech or by another measure ({before['measure']} on {before['num_rows']:,} "
            f"utterances; now {about['measure']} on {about['num_rows']:,}). Give another folder, or remove this one."
        )
