"""Decode a dataset into `hypotheses.jsonl`: resumable, in the order of the manifest, dealt out among ranks, timed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pandas as pd
import torch
from tqdm.auto import tqdm

from mlsuperb.data.dataset import Speech
from mlsuperb.data.loading import Loader, Loading
from mlsuperb.runs.hypotheses import read_hypotheses, write_hypotheses
from mlsuperb.runs.transcripts import Piece
from mlsuperb.runs.windows import Window
from mlsuperb.runtime import ranks
from mlsuperb.runtime.files import disk_errors_named, drop_cut_line, no_link
from mlsuperb.runtime.speed import Speed
from mlsuperb.types import Batch, Hypothesis, Utterance

log = logging.getLogger(__name__)
Item = TypeVar("Item")


class Transcriber(Protocol):
    """A model with all it takes to turn audio into text and language.

    Attributes:
        whole_s: seconds of speech, those of the longest recording that it decodes in one piece.
        aligns: whether it says when each word is said.
    """

    loading: Loading

    @property
    def whole_s(self) -> float: ...

    @property
    def aligns(self) -> bool: ...

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

    def pieces(self, encoded: Any, windows: Sequence[Window]) -> list[Piece]:
        """The same for the part that is kept of each window of a batch, with more that the model says."""
        ...


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """Hypotheses in the order of the manifest, and how fast this start decoded those that were not there already."""

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
        for rows, (audio_s, cached_s, one) in zip(plan.rows, one_ahead(encoded), strict=True):
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


def one_ahead(items: Iterable[Item]) -> Iterator[Item]:
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
