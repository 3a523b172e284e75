"""Transcribe audio files of any length: each becomes windows, which are decoded in batches with those of the others."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm.auto import tqdm

from mlsuperb.data.dataset import SpeechDataset
from mlsuperb.data.inputs import expanded, readable
from mlsuperb.runs.decoding import Transcriber, one_ahead
from mlsuperb.runs.transcripts import Piece, Transcript, transcript
from mlsuperb.runs.windows import Window, Windowing
from mlsuperb.runtime import ranks

# A file as a row of a manifest
_FILE = {"text": "", "language": "", "dataset": "", "split": "files", "speaker": ""}
OnBad = Callable[[str], None]


@dataclass(frozen=True)
class _Recording:
    """An audio file: as the user named it, the file that is read, and its seconds."""

    name: str
    path: Path
    duration_s: float


def transcribe_files(
    paths: Sequence[Path],
    load: Callable[[], Transcriber],
    *,
    windowing: Windowing | None = None,
    on_bad: OnBad | None = None,
) -> list[Transcript]:
    """All transcripts of `each_transcript`, in the order of the files."""
    found = dict(each_transcript(paths, load, windowing=windowing, on_bad=on_bad))
    return [found[place] for place in sorted(found)]


def each_transcript(
    paths: Sequence[Path],
    load: Callable[[], Transcriber],
    *,
    windowing: Windowing | None = None,
    on_bad: OnBad | None = None,
) -> Iterator[tuple[int, Transcript]]:
    """Transcribe audio files, all in a folder, or standard input (`-`); files of any sampling rate. Each transcript comes as soon
    as it is there, with the place of its file in the order of `paths`; those of the longest files come first.

    Args:
        load: gives the model; called once it is known which files can be read.
        windowing: how long files are cut; None: into windows of what the model says of itself.
        on_bad: called with a sentence for each file that cannot be read or taken by the model, which is left out; None: such a
            file is an error.

    Raises:
        ValueError: a file cannot be read, all such files being named, or the model cannot take one; a folder holds no audio.
    """
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        found = [_recording(file, Path(folder), problems) for file, _ in expanded(paths)]
        if problems and on_bad is None:
            raise ValueError("; ".join(problems))
        transcriber = load() if any(found) else None
        jobs = {}
        if transcriber is not None:
            jobs = _jobs(found, transcriber, windowing or Windowing(), problems if on_bad else None)
        for problem in problems:
            if on_bad is not None:
                on_bad(problem)
        if transcriber is not None and jobs:
            yield from _transcribed(jobs, transcriber)


def _recording(path: Path, folder: Path, problems: list[str]) -> _Recording | None:
    """A file that can be read; of another one None, and one more of the `problems`."""
    try:
        return _Recording(str(path), *readable(path, folder))
    except ValueError as error:
        problems.append(str(error))
        return None


@dataclass(frozen=True)
class _Job:
    """A recording to transcribe, its windows, and a row of a manifest for each of these."""

    recording: _Recording
    windows: Sequence[Window]
    rows: Sequence[dict[str, Any]]


def _jobs(
    found: Sequence[_Recording | None], transcriber: Transcriber, windowing: Windowing, problems: list[str] | None
) -> dict[int, _Job]:
    """By the place of the file. What the model does not take is left out, and is one more of the `problems`; None: an error."""
    jobs: dict[int, _Job] = {}
    for place, recording in enumerate(found):
        if recording is None:
            continue
        windows = windowing.cut(recording.duration_s, whole_s=transcriber.whole_s)
        job = _Job(recording, windows, [_row(recording, window, windows) for window in windows])
        if problems is None or _takes(transcriber, job, problems):
            jobs[place] = job
    if jobs:  # what is the matter with all of them together
        transcriber.check(pd.DataFrame([row for job in jobs.values() for row in job.rows]))
    return jobs


def _takes(transcriber: Transcriber, job: _Job, problems: list[str]) -> bool:
    """Whether a model takes a recording; if not, that is one more of the `problems`."""
    try:
        transcriber.check(pd.DataFrame(job.rows))
    except ValueError as error:
        problems.append(str(error))
        return False
    return True


def _row(recording: _Recording, window: Window, windows: Sequence[Window]) -> dict[str, Any]:
    part = f" from {window.start_s:.1f} s on" if len(windows) > 1 else ""
    times = {"start_s": window.start_s, "duration_s": round(window.duration_s, 6)}  # equal ones make full batches
    return _FILE | times | {"id": f"{recording.name}{part}", "audio": str(recording.path)}


def _transcribed(jobs: dict[int, _Job], transcriber: Transcriber) -> Iterator[tuple[int, Transcript]]:
    """Each transcript once the last of its windows is decoded."""
    owners = [(place, number) for place, job in jobs.items() for number in range(len(job.windows))]
    rows = [row for job in jobs.values() for row in job.rows]
    dataset = SpeechDataset(pd.DataFrame(rows))
    missing = {place: len(job.windows) for place, job in jobs.items()}
    pieces: dict[tuple[int, int], Piece] = {}
    total_s = sum(job.recording.duration_s for job in jobs.values())
    bar_format = "{l_bar}{bar}| {n:.0f}/{total:.0f} s of audio [{elapsed}<{remaining}]"
    with tqdm(
        total=total_s, desc="transcribe", bar_format=bar_format, dynamic_ncols=True, disable=not ranks.is_main()
    ) as bar:
        for index, piece in _decoded(dataset, transcriber, [jobs[place].windows[number] for place, number in owners]):
            place, number = owners[index]
            job = jobs[place]
            pieces[place, number] = piece
            missing[place] -= 1
            # their sum is rounded
            bar.update(min(job.windows[number].to_s - job.windows[number].from_s, total_s - bar.n))
            if not missing[place]:
                parts = [pieces.pop((place, number)) for number in range(len(job.windows))]
                yield place, transcript(job.recording.name, job.windows, parts)


@torch.inference_mode()
def _decoded(
    dataset: SpeechDataset, transcriber: Transcriber, windows: Sequence[Window]
) -> Iterator[tuple[int, Piece]]:
    """Each window's piece, by its row. The model goes one batch ahead, so that on a GPU it does not wait for the search."""
    loader = transcriber.loading.inference(dataset)
    encoded = (transcriber.encode(batch) for batch in loader)
    for rows, one in zip(list(loader.batch_sampler), one_ahead(encoded), strict=True):  # type: ignore[arg-type]
        yield from zip(rows, transcriber.pieces(one, [windows[row] for row in rows]), strict=True)
