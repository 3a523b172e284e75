"""The stages that `scripts/bench/scale.py` times. Each takes the folder of the corpus, makes what it needs, and returns the
work whose time counts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from mlsuperb.data.batching import BucketedBatches, InferenceBatches, SortedBatches, TrainingBatches, language_repeats
from mlsuperb.data.corpora.table import Table
from mlsuperb.data.dataset import SpeechDataset
from mlsuperb.data.manifest import prepare, read_manifest, split_hash, summary, utterances, validate, write_manifest
from mlsuperb.data.vocabulary import Vocabulary
from mlsuperb.runs.environment import environment, now
from mlsuperb.runs.hypotheses import read_hypotheses, write_hypotheses
from mlsuperb.scoring.result import build_result, write_result
from mlsuperb.scoring.score import score
from mlsuperb.scoring.table import protocol_tables
from mlsuperb.tasks.asr_lid import ASRLID
from scripts.bench.scale_corpus import hypotheses, write_untranscribed

Work = Callable[[], object]
Stage = Callable[[Path], Work]

MANIFEST, MANY, NUM_MANY = "manifests/manifest.parquet", "many.parquet", "many_rows"
HYPOTHESES, SCORES = "hypotheses.jsonl", "scores.json"
BATCHINGS = {"bucketed": BucketedBatches(max_batch_s=100.0), "sorted": SortedBatches(batch_size=8)}
EVAL_BATCH_S, TEMPERATURE = 200.0, 2.0
RESUMED_PASSES = 3
SPECIALS = ("<blank>", "<unk>", "<sos/eos>")


def stream(dataset: SpeechDataset, kind: str, *, start: int = 0) -> Iterator[list[int]]:
    """Endless batches, small languages more often."""
    repeats = language_repeats(dataset.durations_s, dataset.languages, temperature=TEMPERATURE)
    return iter(TrainingBatches(dataset.durations_s, batching=BATCHINGS[kind], seed=0, start=start, repeats=repeats))


def read(folder: Path) -> pd.DataFrame:
    return read_manifest(folder / MANIFEST)


def train_rows(folder: Path) -> pd.DataFrame:
    frame = read(folder)
    return frame[frame["split"] == "train"]


def prepare_corpus(folder: Path) -> Work:
    tables = {split: str(folder / f"{split}.parquet") for split in ("train", "dev", "test")}
    return lambda: prepare(Table(**tables, dataset=None), folder=(folder / MANIFEST).parent)


def hash_splits(folder: Path) -> Work:
    frame = read(folder)
    return lambda: [split_hash(rows) for _, rows in frame.groupby("split")]


def vocabulary(folder: Path) -> Work:
    """As `build_data` does it: no transcript that is empty once it is normalised; the tokens of all targets are counted."""
    rows, task = train_rows(folder), ASRLID()

    def work() -> int:
        dataset = SpeechDataset(rows[[task.keeps(text) for text in rows["text"]]])
        targets = (task.target(dataset.utterance(index)) for index in range(len(dataset)))
        return len(Vocabulary.build(targets, specials=SPECIALS))

    return work


def one_pass(folder: Path) -> Work:
    """Every batch of a pass with its utterances, but without their audio."""
    dataset = SpeechDataset(train_rows(folder))

    def work() -> None:
        num_seen = 0
        for batch in stream(dataset, "bucketed"):
            num_seen += len([dataset.utterance(index) for index in batch])
            if num_seen >= len(dataset):
                return

    return work


def inference_batches(folder: Path) -> Work:
    durations_s = read(folder)["duration_s"].to_numpy()
    return lambda: list(InferenceBatches(durations_s, max_batch_s=EVAL_BATCH_S))


def writing_hypotheses(folder: Path) -> Work:
    said = list(hypotheses(utterances(read(folder))))
    return lambda: write_hypotheses(folder / HYPOTHESES, said)


def scores_v1(folder: Path) -> Work:
    said = read_hypotheses(folder / HYPOTHESES)
    return lambda: score(said, task="asr_lid", protocols=["v1"])


def scores(folder: Path) -> Work:
    said = read_hypotheses(folder / HYPOTHESES)
    return lambda: (folder / SCORES).write_text(json.dumps(score(said, task="asr_lid")), encoding="utf-8")


def result(folder: Path) -> Work:
    protocols = json.loads((folder / SCORES).read_text(encoding="utf-8"))
    parts: dict[str, Any] = {
        **{name: {} for name in ("upstream", "adaptation", "head", "config", "training", "cost")},
        **dict.fromkeys(("num_trainable", "num_total", "seed"), 0),
        "run_id": "scale",
        "task": "asr_lid",
        "normaliser": "v1",
        "units": "char",
        "date": now(),
        "data": {"name": "scale", "splits": {}},
        "environment": environment(),
        "protocols": protocols,
    }

    def work() -> list[str]:
        write_result(folder / "result.json", build_result(**parts, hypotheses=folder / HYPOTHESES))
        return [table.to_markdown() for table in protocol_tables(protocols)]

    return work


def on_manifest(work: Callable[[pd.DataFrame, Path], object], *, name: str = MANIFEST) -> Stage:
    """Something that is done with a manifest."""

    def stage(folder: Path) -> Work:
        return partial(work, read_manifest(folder / name), folder)

    return stage


def on_many(work: Callable[[SpeechDataset], object]) -> Stage:
    """Something that is done with the dataset of many rows."""

    def stage(folder: Path) -> Work:
        return partial(work, many(folder))

    return stage


def many(folder: Path) -> SpeechDataset:
    return SpeechDataset(read_manifest(folder / MANY))  # the table is given back here; its text is the dataset's now


def next_batches(dataset: SpeechDataset) -> int:
    batches = stream(dataset, "bucketed")
    return sum(len(batch) for batch in islice(batches, 100_000))


def resumed(dataset: SpeechDataset) -> list[int]:
    """A batch that is `RESUMED_PASSES` passes away, about: batches are nearly full."""
    start = RESUMED_PASSES * dataset.durations_s.sum() / BATCHINGS["bucketed"].max_batch_s  # type: ignore[attr-defined]
    return next(stream(dataset, "bucketed", start=int(start)))


STAGES: dict[str, Stage] = {
    "libraries alone": lambda _: lambda: None,
    "prepare: tables, audio headers, checks, store": prepare_corpus,
    "prepare again: nothing has changed": prepare_corpus,
    "read (validation included)": lambda folder: partial(read, folder),
    "validate": on_manifest(lambda frame, _: validate(frame)),
    "write (validation included)": on_manifest(lambda frame, folder: write_manifest(frame, folder / "again.parquet")),
    "hash of every split": hash_splits,
    "summary": on_manifest(lambda frame, _: summary(frame)),
    "vocabulary: normalise, count": vocabulary,
    "a pass: plan, batches, their utterances": one_pass,
    "batches for decoding": inference_batches,
    "write hypotheses": writing_hypotheses,
    "read hypotheses": lambda folder: partial(read_hypotheses, folder / HYPOTHESES),
    "score, v1 alone": scores_v1,
    "score, all protocols": scores,
    "result and table of languages": result,
}
MANY_STAGES: dict[str, Stage] = {
    "make the file": lambda f: partial(write_untranscribed, f / MANY, num_rows=int((f / NUM_MANY).read_text())),
    "load: read, validate, dataset": lambda folder: partial(many, folder),
    "hash": on_manifest(lambda frame, _: split_hash(frame), name=MANY),
    "bucketed, tempered: the first batch": on_many(lambda dataset: next(stream(dataset, "bucketed"))),
    "bucketed, tempered: the first 100,000 batches": on_many(next_batches),
    f"bucketed, tempered: resumed after {RESUMED_PASSES} passes": on_many(resumed),
    "sorted, tempered: the first batch": on_many(lambda dataset: next(stream(dataset, "sorted"))),
    "batches for decoding": on_many(lambda one: len(InferenceBatches(one.durations_s, max_batch_s=EVAL_BATCH_S))),
}
