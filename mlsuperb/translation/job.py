"""The job that adapts a model of speech and text (SeamlessM4T, Whisper) to a language with little speech (arXiv 2410.13445)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from mlsuperb.runs.decoding import Transcriber
    from mlsuperb.runs.run import Run


class Translation:
    """See `mlsuperb.runs.job.Job`. Trains by transcribed speech, by parallel text through the same decoder, by both or not at
    all, and decodes the test utterances of its corpus. Where parallel text is chosen it is scored on it, too."""

    groups: ClassVar = (
        "model", "adaptation", "start", "data", "text", "loss", "loading", "text_loading", "search", "task", "scoring", "trainer",
        "preservation",
    )  # fmt: skip
    optional: ClassVar = frozenset({"start", "text", "text_loading", "preservation"})
    settings: ClassVar = ("train_on",)
    runtime: ClassVar = {"model": frozenset({"parts"})}

    @classmethod
    def misfits(cls, config: Mapping[str, Any], groups: Sequence[str]) -> Iterator[str]:
        """Parts that do not go together."""
        from mlsuperb.translation.misfits import misfits

        return misfits(config, groups)

    def __call__(self, config: Mapping[str, Any], run: Run) -> None:
        """The data flow."""
        from mlsuperb.config.build import instantiate
        from mlsuperb.runs.corpus import same_training_data
        from mlsuperb.runs.decoding import decode
        from mlsuperb.runs.hypotheses import HYPOTHESES_FILE
        from mlsuperb.training.progress import Progress
        from mlsuperb.translation import build, data, result, text_scores
        from mlsuperb.translation.start import MODEL
        from mlsuperb.upstreams.base import same_record

        recogniser = build.build_recogniser(config, parts=build.needed_parts(config))
        given = data.build_data(config, recogniser.model.translator)
        run.pin("data", given.record["splits"], same=same_training_data(instantiate(config["data"])))
        run.pin(MODEL, recogniser.model.translator.record(), same=same_record)
        progress = build.train(config, recogniser, given, run=run) if given.sides else Progress()
        figures = build.validate(recogniser, given) if given.sides else {}
        of_text = text_scores.score_text(recogniser, given.text, run.folder) if given.text else text_scores.NO_TEXT
        transcribing = build.transcribing(config, run.folder, recogniser)
        decoded = decode(data.test_dataset(given, transcribing.loading), run.folder / HYPOTHESES_FILE, transcribing)
        result.save_result(
            config, run.folder, model=recogniser.model, data=given, decoded=decoded, progress=progress, figures=figures,
            environment=run.environment, of_text=of_text,
        )  # fmt: skip

    @classmethod
    def leaves(cls, config: Mapping[str, Any]) -> Sequence[str]:
        """See `mlsuperb.runs.job.Job`."""
        return ["config.yaml", "model.json", "hypotheses.jsonl", *(["model.safetensors"] if config["train_on"] else [])]

    def load(self, folder: Path, *, device: str) -> Transcriber:
        """The adapted model of a run.

        Raises:
            ValueError: the run has not finished, or its weights do not fit its settings.
        """
        from mlsuperb.config.check import check_stored
        from mlsuperb.translation.build import load_recogniser

        config = self.trained_config(folder)
        check_stored(config, ("model", "adaptation", "loss", "search", "loading", "task"), place=folder / "config.yaml")
        return load_recogniser(folder, config | {"trainer": config["trainer"] | {"device": device}})

    def trained_config(self, folder: Path) -> dict[str, Any]:
        """See `mlsuperb.runs.job.Evaluates`."""
        from mlsuperb.runs import store
        from mlsuperb.scoring.result import TranslationResult

        store.read(folder, TranslationResult)
        return store.config_to_build(folder)

    def evaluate(self, run: Path, config: Mapping[str, Any], folder: Path, *, language: str | None) -> None:
        """See `mlsuperb.runs.job.Evaluates`."""
        from mlsuperb.runs.decoding import decode
        from mlsuperb.runs.environment import environment
        from mlsuperb.runs.hypotheses import HYPOTHESES_FILE
        from mlsuperb.runtime.files import held
        from mlsuperb.training.progress import PROGRESS_FILE, Progress
        from mlsuperb.translation import build, data, result

        recogniser = build.load_recogniser(run, config)
        if language is not None:
            recogniser.write_in(language)
        given = data.data_to_decode(config)
        recogniser.check(given.test)
        progress = Progress.load(run / PROGRESS_FILE) if config["train_on"] else Progress()
        with held(folder):
            decoded = decode(data.test_dataset(given, recogniser.loading), folder / HYPOTHESES_FILE, recogniser)
            result.save_result(
                config, folder, model=recogniser.model, data=given, decoded=decoded, progress=progress, figures={},
                environment=environment(), language=language,
            )  # fmt: skip

    def data_splits(self, config: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        """See `mlsuperb.runs.job.Evaluates`."""
        from mlsuperb.translation import data

        splits: Mapping[str, Mapping[str, Any]] = data.data_to_decode(config).record["splits"]
        return splits

    def decode_again(self, folder: Path, config: Mapping[str, Any]) -> None:
        """See `mlsuperb.runs.job.Evaluates`."""
        from mlsuperb.runs.decoding import decode
        from mlsuperb.runs.finished import refuse_other_data
        from mlsuperb.runs.hypotheses import HYPOTHESES_FILE
        from mlsuperb.translation import build, data

        given = data.data_to_decode(config)
        refuse_other_data(folder, given.record["splits"])
        recogniser = build.load_recogniser(folder, config)
        decode(data.test_dataset(given, recogniser.loading), folder / HYPOTHESES_FILE, recogniser)

    def score_again(self, folder: Path, config: Mapping[str, Any]) -> None:
        """See `mlsuperb.runs.job.Evaluates`."""
        from mlsuperb.config.build import instantiate
        from mlsuperb.scoring import scored_run
        from mlsuperb.scoring.result import TranslationResult

        scored_run.score_again(folder, config, instantiate(config["scoring"]), kind=TranslationResult)

    def show(self, folder: Path) -> None:
        """Scores by language, examples, the path."""
        from mlsuperb.translation.result import show

        show(folder)
