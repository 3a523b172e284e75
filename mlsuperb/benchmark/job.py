"""The job that is ML-SUPERB: train one model on one upstream, decode its test sets, score them, write one result."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from pandas import DataFrame

    from mlsuperb.benchmark.recogniser import Recogniser
    from mlsuperb.runs.decoding import Decoding
    from mlsuperb.runs.run import Run

log = logging.getLogger(__name__)


class Benchmark:
    """See `mlsuperb.runs.job.Job`."""

    groups: ClassVar = (
        "upstream", "cache", "adaptation", "featurizer", "specaug", "head", "objective", "task", "data", "loading",
        "decoding", "scoring", "trainer",
    )  # fmt: skip
    optional: ClassVar[frozenset[str]] = frozenset()
    settings: ClassVar = ("benchmark",)
    runtime: ClassVar = {
        "featurizer": frozenset({"num_layers", "layer_size"}),
        "head": frozenset({"input_size"}),
        "objective": frozenset({"input_size", "vocab_size"}),
    }

    @classmethod
    def misfits(cls, config: Mapping[str, Any], groups: Sequence[str]) -> Iterator[str]:
        """Parts that are sound alone but do not go together."""
        from mlsuperb.benchmark.misfits import misfits

        return misfits(config, groups)

    def __call__(self, config: Mapping[str, Any], run: Run) -> None:
        """The data flow."""
        from mlsuperb.benchmark import build, result
        from mlsuperb.benchmark.frames import check_frames
        from mlsuperb.runs.decoding import decode
        from mlsuperb.runs.hypotheses import HYPOTHESES_FILE
        from mlsuperb.upstreams.base import same_record

        data = build.build_data(config, run=run)
        recogniser = build.build_recogniser(config, vocabulary=data.vocabulary, languages=data.languages)
        check_frames(config, recogniser, data.train)
        run.pin(build.UPSTREAM, build.upstream_record(recogniser), same=same_record)  # a branch of a hub can move
        with build.features_kept(config, recogniser, data.train, data.dev, data.test) as (train, dev, test):
            progress = build.train(config, recogniser, train=train, dev=dev, run=run)
            decoded = decode(test, run.folder / HYPOTHESES_FILE, recogniser)
        result.save_result(
            config,
            run.folder,
            record=data.record,
            model=recogniser.model,
            decoded=decoded,
            progress=progress,
            environment=run.environment,
        )

    @classmethod
    def leaves(cls, config: Mapping[str, Any]) -> Sequence[str]:
        """See `mlsuperb.runs.job.Job`."""
        return (
            "config.yaml", "tokens.txt", "model.safetensors", "training.json", "upstream.json", "hypotheses.jsonl",
        )  # fmt: skip

    def load(self, folder: Path, *, device: str) -> Recogniser:
        """The trained recogniser of a run.

        Raises:
            ValueError: the folder has other weights than its settings describe, or the upstream is not what it was.
        """
        from mlsuperb.benchmark.build import BUILT, load_config, load_recogniser
        from mlsuperb.config.check import check_stored

        config = load_config(folder)
        check_stored(config, BUILT, place=folder / "config.yaml")
        return load_recogniser(folder, config | {"trainer": config["trainer"] | {"device": device}})

    def trained_config(self, folder: Path) -> dict[str, Any]:
        """See `mlsuperb.runs.job.Evaluates`."""
        from mlsuperb.benchmark.build import load_config

        return load_config(folder)

    def evaluate(self, run: Path, config: Mapping[str, Any], folder: Path, *, language: str | None) -> None:
        """See `mlsuperb.runs.job.Evaluates`."""
        from mlsuperb.benchmark import build, result
        from mlsuperb.benchmark.data_checks import check_phones, warn_of_unknown_tokens
        from mlsuperb.runs.corpus import test_rows
        from mlsuperb.runs.environment import environment
        from mlsuperb.runtime.files import held
        from mlsuperb.training.progress import PROGRESS_FILE, Progress

        recogniser = build.load_recogniser(run, config)
        if language is not None:
            recogniser.write_in(language)
        manifest, record = build.read_data(config)
        corpus = build.build_corpus(config)
        check_phones(recogniser.task, corpus, manifest)
        test = test_rows(corpus, manifest, record=record)
        warn_of_unknown_tokens(recogniser.task, recogniser.vocabulary, test)
        with held(folder):
            result.save_result(
                config, folder, record=record, model=recogniser.model, decoded=_decoded(recogniser, test, config, folder),
                progress=Progress.load(run / PROGRESS_FILE), environment=environment(),
            )  # fmt: skip

    def data_splits(self, config: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        """See `mlsuperb.runs.job.Evaluates`."""
        from mlsuperb.benchmark import build

        splits: Mapping[str, Mapping[str, Any]] = build.read_data(config)[1]["splits"]
        return splits

    def decode_again(self, folder: Path, config: Mapping[str, Any]) -> None:
        """See `mlsuperb.runs.job.Evaluates`."""
        from mlsuperb.benchmark import build
        from mlsuperb.runs.corpus import test_rows
        from mlsuperb.runs.finished import refuse_other_data

        manifest, record = build.read_data(config)
        refuse_other_data(folder, record["splits"])
        trained = {**build.load_config(folder), "trainer": config["trainer"]}  # the device may be another one
        test = test_rows(build.build_corpus(config), manifest, record=record)
        _decoded(build.load_recogniser(folder, trained), test, config, folder)

    def score_again(self, folder: Path, config: Mapping[str, Any]) -> None:
        """See `mlsuperb.runs.job.Evaluates`."""
        from mlsuperb.benchmark.result import save_card
        from mlsuperb.config.build import instantiate
        from mlsuperb.scoring import scored_run
        from mlsuperb.scoring.result import BenchmarkResult

        scored_run.score_again(folder, config, instantiate(config["scoring"]), kind=BenchmarkResult)
        save_card(folder)

    def show(self, folder: Path) -> None:
        """Scores by language and dataset, three utterances with their differences marked, the path."""
        from mlsuperb.scoring.scored_run import show

        show(folder)


def _decoded(recogniser: Recogniser, test: DataFrame, config: Mapping[str, Any], folder: Path) -> Decoding:
    """Utterances of a manifest, decoded by a trained recogniser into the file of a folder."""
    from mlsuperb.benchmark import build
    from mlsuperb.data.text import codes_of_tokens
    from mlsuperb.runs.decoding import decode
    from mlsuperb.runs.hypotheses import HYPOTHESES_FILE

    unknown = sorted(set(test["language"]) - set(codes_of_tokens(recogniser.vocabulary.tokens)))
    if recogniser.task.has_language and unknown:
        log.warning("not in the training data, so never recognised: %s", ", ".join(unknown))
    dataset = recogniser.loading.dataset(test, encode=None, resample=build.build_corpus(config).resample)
    with build.features_kept(config, recogniser, dataset) as (speech,):
        return decode(speech, folder / HYPOTHESES_FILE, recogniser)
