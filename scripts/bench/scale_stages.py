"""The stages that `scripts/bench/scale.py` times. Each is a generator over the folder of the corpus: it makes what it needs,
yields, and then does the work whose time counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlsuperb.data.batching import BucketedBatches, InferenceBatches, SortedBatches, TrainingBatches
from mlsuperb.data.corpora.table import Table
from mlsuperb.data.dataset import SpeechDataset
from mlsuperb.data.manifest import read_manifest, records, split_hash, summary, validate, write_manifest
from mlsuperb.data.prepared import prepare
from mlsuperb.data.sampling import Draw, Temperature
from mlsuperb.data.vocabulary import Vocabulary
from mlsuperb.runs import store
from mlsuperb.runs.environment import environment, now
from mlsuperb.runs.hypotheses import read_hypotheses, write_hypotheses
from mlsuperb.runs.result import SCHEMA_VERSION
from mlsuperb.scoring.result import SCORER_VERSION, BenchmarkResult, Protocols
from mlsuperb.scoring.score import Scoring
from mlsuperb.scoring.table import protocol_tables
from mlsuperb.tasks.asr_lid import ASRLID
from mlsuperb.types import Utterance
from scripts.bench.scale_corpus import hypotheses, write_untranscribed

Stage = Callable[[Path], Iterator[None]]

MANIFEST, MANY, NUM_MANY = "manifests/manifest.parquet", "many.parquet", "many_rows"
HYPOTHESES, SCORES = "hypotheses.jsonl", "scores.json"
BATCHINGS = {"bucketed": BucketedBatches(max_batch_s=100.0), "sorted": SortedBatches(batch_size=8)}
EVAL_BATCH_S, TEMPERATURE = 200.0, 2.0
RESUMED_PASSES = 3
SPECIALS = ("<blank>", "<unk>", "<sos/eos>")


def stream(dataset: SpeechDataset, kind: str, *, start: int = 0) -> Iterator[list[Draw]]:
    """Endless batches, small languages more often."""
    law = Temperature(temperature=TEMPERATURE)
    repeats = law.repeats(dataset.durations_s, languages=dataset.languages, datasets=dataset.datasets)
    return iter(TrainingBatches(dataset.durations_s, batching=BATCHINGS[kind], seed=0, start=start, repeats=repeats))


def train_rows(folder: Path) -> pd.DataFrame:
    frame = read_manifest(folder / MANIFEST)
    return frame[frame["split"] == "train"]


def prepare_corpus(folder: Path) -> Iterator[None]:
    tables = {split: str(folder / f"{split}.parquet") for split in ("train", "dev", "test")}
    yield
    prepare(Table(**tables, dataset=None), folder=(folder / MANIFEST).parent)


def vocabulary(folder: Path) -> Iterator[None]:
    """As `build_data` does it: no transcript that is empty once it is normalised; the tokens of all targets are counted."""
    rows, task = train_rows(folder), ASRLID()
    yield
    dataset = SpeechDataset(rows[[task.keeps(text) for text in rows["text"]]])
    targets = (task.target(dataset.utterance(index)) for index in range(len(dataset)))
    Vocabulary.build(targets, specials=SPECIALS)


def one_pass(folder: Path) -> Iterator[None]:
    """Every batch of a pass with its utterances, but without their audio."""
    dataset, num_seen = SpeechDataset(train_rows(folder)), 0
    yield
    for batch in stream(dataset, "bucketed"):
        num_seen += len([dataset.utterance(draw.index) for draw in batch])
        if num_seen >= len(dataset):
            return


def writing_hypotheses(folder: Path) -> Iterator[None]:
    said = list(hypotheses(records(read_manifest(folder / MANIFEST), Utterance)))
    yield
    write_hypotheses(folder / HYPOTHESES, said)


def scores(folder: Path, protocols: Sequence[str] = ()) -> Iterator[None]:
    said, scoring = read_hypotheses(folder / HYPOTHESES), Scoring(protocols=list(protocols)) if protocols else Scoring()
    yield
    (folder / SCORES).write_text(
        scoring.score(said, ASRLID().facts).model_dump_json(exclude_unset=True), encoding="utf-8"
    )


def result(folder: Path) -> Iterator[None]:
    protocols = Protocols.model_validate_json((folder / SCORES).read_text(encoding="utf-8"))
    env = environment()
    content: dict[str, Any] = {
        **{name: {} for name in ("upstream", "adaptation", "head", "config", "training", "cost")},
        **dict.fromkeys(("num_trainable", "num_total", "seed"), 0),
        "schema_version": SCHEMA_VERSION, "run_id": "scale", "status": "finished", "date": now(), "protocols": protocols,
        "official": False, "not_official_because": [], "synthetic": True, "benchmark": None,
        "task": {"name": "asr_lid", "units": "char"}, "normaliser": {"name": "v1", "version": "1"},
        "data": {"name": "scale", "splits": {}}, "scorer": {"version": SCORER_VERSION, "protocols": {}},
        "code": {**env.pop("code"), "package_version": env.pop("package_version")}, "env": env,
        "hypotheses": {"path": HYPOTHESES, "sha256": "", "num_utterances": {}},
    }  # fmt: skip
    yield
    store.write(folder, store.validated(content, BenchmarkResult, place="scale"))
    for table in protocol_tables(protocols):
        table.to_markdown()


def alone(work: Callable[[Path], object]) -> Stage:
    """Something that needs nothing made before."""

    def stage(folder: Path) -> Iterator[None]:
        yield
        work(folder)

    return stage


def on_manifest(work: Callable[[pd.DataFrame, Path], object], *, name: str = MANIFEST) -> Stage:
    """Something that is done with a manifest."""

    def stage(folder: Path) -> Iterator[None]:
        frame = read_manifest(folder / name)
        yield
        work(frame, folder)

    return stage


def on_many(work: Callable[[SpeechDataset], object]) -> Stage:
    """Something that is done with the dataset of many rows."""

    def stage(folder: Path) -> Iterator[None]:
        dataset = many(folder)
        yield
        work(dataset)

    return stage


def many(folder: Path) -> SpeechDataset:
    return SpeechDataset(read_manifest(folder / MANY))  # the table is given back here; its text is the dataset's now


def inference_batches(durations_s: np.ndarray) -> int:
    return len(InferenceBatches(durations_s, max_batch_s=EVAL_BATCH_S))


def resumed(dataset: SpeechDataset) -> list[int]:
    """A batch that is `RESUMED_PASSES` passes away, about: batches are nearly full."""
    start = RESUMED_PASSES * dataset.durations_s.sum() / BATCHINGS["bucketed"].max_batch_s  # type: ignore[attr-defined]
    return next(stream(dataset, "bucketed", start=int(start)))


STAGES: dict[str, Stage] = {
    "libraries alone": alone(lambda _: None),
    "prepare: tables, audio headers, checks, store": prepare_corpus,
    "prepare again: nothing has changed": prepare_corpus,
    "read (validation included)": alone(lambda folder: read_manifest(folder / MANIFEST)),
    "validate": on_manifest(lambda frame, _: validate(frame)),
    "write (validation included)": on_manifest(lambda frame, folder: write_manifest(frame, folder / "again.parquet")),
    "hash of every split": on_manifest(lambda frame, _: [split_hash(rows) for _, rows in frame.groupby("split")]),
    "summary": on_manifest(lambda frame, _: summary(frame)),
    "vocabulary: normalise, count": vocabulary,
    "a pass: plan, batches, their utterances": one_pass,
    "batches for decoding": on_manifest(lambda frame, _: inference_batches(frame["duration_s"].to_numpy())),
    "write hypotheses": writing_hypotheses,
    "read hypotheses": alone(lambda folder: read_hypotheses(folder / HYPOTHESES)),
    "score, v1 alone": partial(scores, protocols=["v1"]),
    "score, all protocols": scores,
    "result and table of languages": result,
}
MANY_STAGES: dict[str, Stage] = {
    "make the file": alone(lambda f: write_untranscribed(f / MANY, num_rows=int((f / NUM_MANY).read_text()))),
    "load: read, validate, dataset": alone(many),
    "hash": on_manifest(lambda frame, _: split_hash(frame), name=MANY),
    "bucketed, tempered: the first batch": on_many(lambda dataset: next(stream(dataset, "bucketed"))),
    "bucketed, tempered: the first 100,000 batches": on_many(
        lambda dataset: sum(map(len, islice(stream(dataset, "bucketed"), 100_000)))
    ),
    f"bucketed, tempered: resumed after {RESUMED_PASSES} passes": on_many(resumed),
    "sorted, tempered: the first batch": on_many(lambda dataset: next(stream(dataset, "sorted"))),
    "batches for decoding": on_many(lambda dataset: inference_batches(dataset.durations_s)),
}
