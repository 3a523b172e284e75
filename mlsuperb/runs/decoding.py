"""Decode a dataset into `hypotheses.jsonl`: resumable, in the order of the manifest, dealt out among ranks, timed."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pandas as pd
import torch
from tqdm.auto import tqdm

from mlsuperb.data.audio_file import END_TOLERANCE_S, UNREADABLE_AUDIO, AudioError, audio_info
from mlsuperb.data.dataset import Speech
from mlsuperb.data.loading import Loader, Loading
from mlsuperb.runs.hypotheses import read_hypotheses, write_hypotheses
from mlsuperb.runtime import ranks
from mlsuperb.runtime.files import disk_errors_named, drop_cut_line, no_link
from mlsuperb.runtime.speed import Speed
from mlsuperb.types import Batch, Hypothesis, Utterance

log = logging.getLogger(__name__)
Item = TypeVar("Item")
# A file as a row of a manifest.
_FILE = {"text": "", "language": "", "dataset": "", "split": "files", "speaker": "", "start_s": 0.0}


class Transcriber(Protocol):
    """A model with all it takes to turn audio into text and language."""

    loading: Loading

    def write_in(self, language: str) -> None:
        """Write all texts in a language (ISO 639-3) from now on, whatever the data name.

        Raises:
            ValueError: the model is told no language, or does not have this one.
        """
        ...

    def check(self, rows: pd.DataFrame) -> None:
        """Look at utterances before they are decoded.

        Raises:
            ValueError: some cannot be: they are too long, or of a language that the model does not have.
        """
        ...

    def encode(self, batch: Batch) -> Any:
        """What the model makes of a batch; a GPU is not waited for."""
        ...

    def texts(self, encoded: Any) -> list[tuple[str, str | None]]:
        """The raw output of each utterance of a batch, and the language it names (None where it names none)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """Hypotheses in the order of the manifest, and how fast they were decoded."""

    hypotheses: list[Hypothesis]
    speed: Speed


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The batches of a dataset that this rank computes, and the manifest rows of each."""

    loader: Loader
    rows: list[list[Utterance]]


def decode(dataset: Speech, path: Path, transcriber: Transcriber) -> Decoding:
    """Decode every utterance of `dataset` into `path` (`hypotheses.jsonl`).

    What a killed run had decoded lies in `<path>.partial*`, one file per rank, and is not decoded again; nor is what is
    there whole.
    """
    rows = [dataset.utterance(index) for index in range(len(dataset))]
    there = ranks.from_main(lambda: read_hypotheses(path) if path.exists() else [])
    if [_spoken(one) for one in there] == [_spoken(row) for row in rows]:
        return Decoding(hypotheses=there, speed=Speed())
    done, speed = _decode_rest(dataset, path, transcriber)
    ordered = [done[row.split, row.id] for row in rows]
    if ranks.is_main():
        write_hypotheses(path, ordered)
        for partial in _partials(path):
            partial.unlink()
    return Decoding(hypotheses=ordered, speed=speed)


def transcribe_files(
    paths: Sequence[Path], load: Callable[[], Transcriber], *, on_bad: Callable[[str], None] | None = None
) -> list[Hypothesis]:
    """Decode whole audio files of any sampling rate, in their order; the path is the id.

    Args:
        load: gives the model; called once it is known which files can be read.
        on_bad: called with a sentence for each file that cannot be read or taken by the model, which is left out; None: such a
            file is an error.

    Raises:
        ValueError: a file cannot be read, all such files being named, or the model cannot take one.
    """
    problems: list[str] = []
    durations = {path: _whole_s(path, problems) for path in dict.fromkeys(paths)}
    if problems and on_bad is None:
        raise ValueError("; ".join(problems))
    rows = [_FILE | {"id": str(path), "audio": str(path), "duration_s": durations[path]} for path in paths]
    manifest = pd.DataFrame([row for row in rows if row["duration_s"] is not None])
    transcriber = None if manifest.empty else load()
    if on_bad is not None:
        if transcriber is not None:
            taken = [_takes(transcriber, manifest[row : row + 1], problems) for row in range(len(manifest))]
            manifest = manifest[taken]
        for problem in problems:
            on_bad(problem)
    if transcriber is None or manifest.empty:
        return []
    transcriber.check(manifest)
    dataset = transcriber.loading.dataset(manifest, encode=None, resample=True)
    with tempfile.TemporaryDirectory() as folder:
        return decode(dataset, Path(folder) / "hypotheses.jsonl", transcriber).hypotheses


def _whole_s(path: Path, problems: list[str]) -> float | None:
    """The seconds of a file that can be read to its end; of another one, None, and one more of the `problems`."""
    try:
        info = audio_info(path, decode=True)  # a header says nothing of what follows it
    except AudioError as error:
        what = str(error)
        if not path.is_file():
            what = f"{path}: " + (f"a folder; give {path}/*" if path.exists() else "there is no such file")
        elif error.fault == UNREADABLE_AUDIO:
            what = f"{path}: no audio that can be read; convert it to WAV, FLAC or Ogg"
        problems.append(what)
        return None
    if info.missing_s > END_TOLERANCE_S:
        log.warning("%s: %s What there is of it is transcribed.", path, info.cut_short)
    return info.duration_s


def _takes(transcriber: Transcriber, row: pd.DataFrame, problems: list[str]) -> bool:
    """Whether a model takes a file; if not, that is one more of the `problems`."""
    try:
        transcriber.check(row)
    except ValueError as error:
        problems.append(str(error))
        return False
    return True


def _decode_rest(
    dataset: Speech, path: Path, transcriber: Transcriber
) -> tuple[dict[tuple[str, str], Hypothesis], Speed]:
    """All hypotheses by (split, id): those that an earlier start decoded, and the rest."""
    done, speed = ranks.from_main(lambda: _decoded_before(path, dataset)), Speed()
    plan = batches_of_rank(dataset, transcriber.loading, done=done)
    partial = _partial(path, ranks.rank())
    with disk_errors_named(partial), open(partial, "a", encoding="utf-8", opener=no_link) as file:
        for hypotheses in _decode_batches(plan, transcriber, speed):
            # a batch of which a line was lost is decoded whole, but its other lines stand there already
            new = {key: one for one in hypotheses if (key := (one.split, one.id)) not in done}
            done |= new
            file.writelines(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in new.values())
            file.flush()
    speed.over(ranks.gather(speed))
    return {key: one for part in ranks.gather(done) for key, one in part.items()}, speed


def batches_of_rank(dataset: Speech, loading: Loading, *, done: Iterable[tuple[str, str]] = ()) -> Plan:
    """The batches of `dataset` that this rank computes; without those whose utterances (split, id) are all `done`. Batches
    stay as they are, so that an interrupted decoding, and one on several ranks, gives the same bytes."""
    skip, loader = set(done), loading.inference(dataset)
    sampler: Any = loader.batch_sampler
    plan = [[dataset.utterance(index) for index in batch] for batch in sampler.batches]
    waiting = [at for at, rows in enumerate(plan) if not all((row.split, row.id) in skip for row in rows)]
    mine = waiting[ranks.rank() :: ranks.world()]  # longest first, so each gets as much
    sampler.batches = [sampler.batches[at] for at in mine]
    return Plan(loader=loader, rows=[plan[at] for at in mine])


@torch.inference_mode()
def _decode_batches(plan: Plan, transcriber: Transcriber, speed: Speed) -> Iterator[list[Hypothesis]]:
    total = sum(map(len, plan.rows))
    with tqdm(total=total, desc="decode", unit="utt", dynamic_ncols=True, disable=not ranks.is_main()) as bar:
        # the model goes one batch ahead of search, texts and file, so that on a GPU neither waits for the other
        encoded = ((batch.audio_s, batch.cached_s, transcriber.encode(batch)) for batch in plan.loader)
        for rows, (audio_s, cached_s, one) in zip(plan.rows, _one_ahead(encoded), strict=True):
            texts = transcriber.texts(one)
            speed.add(audio_s=audio_s, cached_s=cached_s)
            yield [_hypothesis(row, text, language) for row, (text, language) in zip(rows, texts, strict=True)]
            bar.update(len(rows))


def _hypothesis(row: Utterance, text: str, language: str | None) -> Hypothesis:
    return Hypothesis(
        id=row.id,
        dataset=row.dataset,
        language=row.language,
        split=row.split,
        audio=row.audio,
        start_s=row.start_s,
        duration_s=row.duration_s,
        reference=row.text,
        hypothesis=text,
        predicted_language=language,
    )


def _one_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Each item once the next one is there."""
    waiting: list[Item] = []
    for item in items:
        waiting.append(item)
        if len(waiting) > 1:
            yield waiting.pop(0)
    yield from waiting


def _spoken(one: Utterance | Hypothesis) -> tuple[str | float, ...]:
    """What tells an utterance from another, and a changed corpus from what it was."""
    text = one.reference if isinstance(one, Hypothesis) else one.text
    return one.split, one.id, one.audio, one.start_s, one.duration_s, one.language, one.dataset, text


def _partial(path: Path, rank: int) -> Path:
    return path.with_name(f"{path.name}.partial{rank or ''}")


def _partials(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.partial*"))


def _decoded_before(path: Path, dataset: Speech) -> dict[tuple[str, str], Hypothesis]:
    """What an interrupted decoding left, on however many ranks; nothing where it was of other utterances under these names."""
    found = {(one.split, one.id): one for partial in _partials(path) for one in _read_partial(partial)}
    rows = (dataset.utterance(index) for index in range(len(dataset)))
    if found and not {_spoken(one) for one in found.values()} <= set(map(_spoken, rows)):
        log.warning("the data have changed since %s was begun: everything is decoded anew", path)
        for partial in _partials(path):
            partial.unlink()
        return {}
    return found


def _read_partial(path: Path) -> list[Hypothesis]:
    """Whole lines of an interrupted decoding; a line cut off by a kill is dropped."""
    if not path.exists():
        return []
    found = read_hypotheses(path) if drop_cut_line(path) else []
    log.info("%d utterances were decoded before", len(found))
    return found
