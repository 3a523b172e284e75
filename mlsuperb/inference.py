"""What a trained model says: validation figures while it trains, hypotheses when it is done."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from rapidfuzz.distance import Levenshtein
from tqdm.auto import tqdm

from mlsuperb import ranks
from mlsuperb.data.dataset import Speech
from mlsuperb.data.loading import Loader, Loading
from mlsuperb.data.vocabulary import IGNORED, Vocabulary
from mlsuperb.decoding.base import Decoded, Decoder
from mlsuperb.model import SpeechModel
from mlsuperb.scoring.hypotheses import read_hypotheses, write_hypotheses
from mlsuperb.tasks.base import Task
from mlsuperb.training.checkpoint import disk_errors_named
from mlsuperb.training.device import autocast
from mlsuperb.training.progress import Speed
from mlsuperb.types import AttentionDecoder, Batch, Encoded, Hypothesis, Utterance, figure_names

log = logging.getLogger(__name__)
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class _Heard:
    """What the model makes of a batch, before it is searched: posteriors, attention decoder; `made`: on a GPU, when they
    are there."""

    posteriors: Encoded
    attention: AttentionDecoder | None
    made: torch.cuda.Event | None
    audio_s: float
    cached_s: float


@dataclass(kw_only=True)
class Recogniser:
    """A model with all it takes to turn audio into text and language."""

    model: SpeechModel
    task: Task
    vocabulary: Vocabulary
    decoder: Decoder
    loading: Loading
    device: torch.device
    precision: str
    decoding: Speed = field(default_factory=Speed)  # of what was decoded

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of what `validate` returns; lower is better for each."""
        return figure_names(has_language=self.task.has_language, rates=self.model.objective.rates)

    @torch.inference_mode()
    def validate(self, dataset: Speech, *, quick_decoder: Decoder) -> dict[str, float]:
        """Mean loss an utterance, the rate of token errors (and of wrong languages) under `quick_decoder`, and the error
        rates that the objective counts itself. Whole batches are dealt out among the ranks of a job, and all get the sums.

        Raises:
            ValueError: every utterance is too short for its text, so that the loss means nothing.
        """
        sums: Counter[str] = Counter()
        loader, _ = self._batches_of_rank(dataset)
        for batch in loader:
            moved = batch.to(self.device)
            with autocast(self.device, self.precision):
                encoded = self.model.encode(moved)
                result = self.model.objective(encoded, moved.targets_BS, moved.target_lengths_B)
                posteriors = self.model.objective.log_probs(encoded)
            sums["loss"] += float(result.loss) * len(batch.ids)  # type: ignore[assignment]
            sums.update({name: int(number) for name, number in result.counts.items()})
            targets = zip(batch.targets_BS.tolist(), batch.target_lengths_B.tolist(), strict=True)
            decoded = quick_decoder(posteriors.values, posteriors.lengths_B)
            for (padded, length), hypothesis in zip(targets, decoded, strict=True):
                target = padded[:length]  # may be empty: a transcript of punctuation alone
                sums["errors"] += Levenshtein.distance(target, hypothesis.tokens)
                sums["tokens"] += length
                sums["wrong_languages"] += hypothesis.tokens[:1] != target[:1] or target[:1] == [IGNORED]
        return self._rates(ranks.gather(sums), num=len(dataset))

    def _rates(self, sums_of_ranks: list[Counter[str]], *, num: int) -> dict[str, float]:
        sums: Counter[str] = Counter()
        for one in sums_of_ranks:
            sums.update(one)
        if sums["num_unaligned"] == num:
            raise ValueError(
                "every utterance of the dev set is too short for its text once the head has shortened it: choose a front "
                "end that keeps more frames (head.frontend=conv1d2 or linear), or an upstream with more frames a second"
            )
        own = [sums[f"num_{name}_errors"] / max(1, sums[f"num_{name}_tokens"]) for name in self.model.objective.rates]
        lid = [sums["wrong_languages"] / num] if self.task.has_language else []
        values = (sums["loss"] / num, sums["errors"] / max(1, sums["tokens"]), *lid, *own)
        return dict(zip(self.figures, values, strict=True))

    def decode(self, dataset: Speech, path: Path) -> list[Hypothesis]:
        """Decode every utterance of `dataset` into `path` (`hypotheses.jsonl`), in the order of the manifest.

        What a killed run had decoded lies in `<path>.partial*`, a file a rank, and is not decoded again; nor is what is there
        whole.
        """
        rows = [dataset.utterance(index) for index in range(len(dataset))]
        there = ranks.from_main(lambda: read_hypotheses(path) if path.exists() else [])
        if [_spoken(one) for one in there] == [_spoken(row) for row in rows]:
            return there
        done = ranks.from_main(lambda: _collect_partials(path))
        partial = _partial(path, ranks.rank())
        with disk_errors_named(partial), partial.open("a", encoding="utf-8") as file:
            for hypotheses in self._decode_batches(dataset, skip=set(done)):
                # a batch of which a line was lost is decoded whole, but its other lines stand there already
                new = {key: one for one in hypotheses if (key := (one.split, one.id)) not in done}
                done |= new
                file.writelines(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in new.values())
                file.flush()
        self.decoding.over(ranks.gather(self.decoding))
        done = {key: one for part in ranks.gather(done) for key, one in part.items()}
        ordered = [done[row.split, row.id] for row in rows]
        if ranks.is_main():
            write_hypotheses(path, ordered)
            for partial in _partials(path):
                partial.unlink()
        return ordered

    def _batches_of_rank(
        self, dataset: Speech, *, skip: Container[tuple[str, str]] = ()
    ) -> tuple[Loader, list[list[Utterance]]]:
        """The batches of `dataset` that this rank computes, and their rows; without those that are in `skip` whole. Batches
        stay as they are, so that an interrupted decoding, and one on several ranks, gives the same bytes."""
        loader = self.loading.inference(dataset)
        sampler: Any = loader.batch_sampler
        plan = [[dataset.utterance(index) for index in batch] for batch in sampler.batches]
        waiting = [at for at, rows in enumerate(plan) if not all((row.split, row.id) in skip for row in rows)]
        mine = waiting[ranks.rank() :: ranks.world()]  # longest first, so each gets as much
        sampler.batches = [sampler.batches[at] for at in mine]
        return loader, [plan[at] for at in mine]

    @torch.inference_mode()
    def _decode_batches(self, dataset: Speech, *, skip: set[tuple[str, str]]) -> Iterator[list[Hypothesis]]:
        loader, plan = self._batches_of_rank(dataset, skip=skip)
        stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self.decoding = Speed()
        with tqdm(
            total=sum(map(len, plan)), desc="decode", unit="utt", dynamic_ncols=True, disable=not ranks.is_main()
        ) as bar:
            # the model goes one batch ahead of search, texts and file, so that on a GPU neither waits for the other
            for rows, heard in zip(plan, _one_ahead(map(self._hear, loader)), strict=True):
                decoded = self._search(heard, stream)
                self.decoding.add(audio_s=heard.audio_s, cached_s=heard.cached_s)
                texts = [self.task.text(self.vocabulary.decode(one.tokens)) for one in decoded]
                yield [
                    Hypothesis(
                        id=row.id,
                        dataset=row.dataset,
                        language=row.language,
                        split=row.split,
                        audio=row.audio,
                        start_s=row.start_s,
                        duration_s=row.duration_s,
                        reference=row.text,
                        hypothesis=text,
                        predicted_language=self.task.language(text),
                    )
                    for row, text in zip(rows, texts, strict=True)
                ]
                bar.update(len(texts))

    def _hear(self, batch: Batch) -> _Heard:
        """Posteriors of a batch; a GPU is not waited for."""
        moved = batch.to(self.device)
        with autocast(self.device, self.precision):
            encoded = self.model.encode(moved)
            posteriors = self.model.objective.log_probs(encoded)
        attention = self.model.objective.attention(encoded)
        made = torch.cuda.current_stream(self.device).record_event() if self.device.type == "cuda" else None
        return _Heard(
            posteriors=posteriors, attention=attention, made=made, audio_s=batch.audio_s, cached_s=batch.cached_s
        )

    def _search(self, heard: _Heard, stream: torch.cuda.Stream | None) -> list[Decoded]:
        """The decoder's texts; on a GPU in a stream of its own, beside the model's work on the next batch."""
        with torch.cuda.stream(stream):  # None: nothing changes
            if stream is not None and heard.made is not None:
                stream.wait_event(heard.made)
            decoded = self.decoder(heard.posteriors.values, heard.posteriors.lengths_B, heard.attention)
            if stream is not None:
                stream.synchronize()  # the model's stream may reuse the posteriors' memory as soon as they are let go
        return decoded


def _one_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Each item once the next one is there."""
    waiting: list[Item] = []
    for item in items:
        waiting.append(item)
        if len(waiting) > 1:
            yield waiting.pop(0)
    yield from waiting


def _spoken(one: Utterance | Hypothesis) -> tuple[str, ...]:
    """What tells an utterance from another, and a changed corpus from what it was."""
    return one.split, one.id, one.audio, one.language, one.reference if isinstance(one, Hypothesis) else one.text


def _partial(path: Path, rank: int) -> Path:
    return path.with_name(f"{path.name}.partial{rank or ''}")


def _partials(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.partial*"))


def _collect_partials(path: Path) -> dict[tuple[str, str], Hypothesis]:
    """What an interrupted decoding left, on however many ranks."""
    return {(one.split, one.id): one for partial in _partials(path) for one in _read_partial(partial)}


def _read_partial(path: Path) -> list[Hypothesis]:
    """Whole lines of an interrupted decoding; a line cut off by a kill is dropped."""
    if not path.exists():
        return []
    whole = path.read_bytes().rfind(b"\n") + 1  # bytes: the cut may go through a letter
    os.truncate(path, whole)
    found = read_hypotheses(path) if whole else []
    log.info("%d utterances were decoded before", len(found))
    return found
