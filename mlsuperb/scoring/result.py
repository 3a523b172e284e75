"""The result of a benchmark run: its numbers with everything needed to trust, recompute and compare them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from mlsuperb.runs.result import Record, Result
from mlsuperb.scoring.counts import Counts
from mlsuperb.types import TaskFacts

# Of everything in this package that is not a protocol's own: alignment, counts. Raise it when a number may change.
SCORER_VERSION = "1"
COUNTS = frozenset(field.name for field in fields(Counts))
# Facts of the tasks that results named before results held them: has_text, has_language.
_NAMED_TASKS = {"asr": (True, False), "lid": (False, True), "asr_lid": (True, True)}


class Named(Record):
    """Something that has a version."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class TaskRecord(Record):
    """See `mlsuperb.types.TaskFacts`."""

    name: str
    units: str
    has_text: bool
    has_language: bool
    unit_name: str

    @model_validator(mode="before")
    @classmethod
    def _facts_of_older_results(cls, content: Any) -> Any:
        if not isinstance(content, Mapping) or "has_text" in content or content.get("name") not in _NAMED_TASKS:
            return content
        has_text, has_language = _NAMED_TASKS[content["name"]]
        unit_name = "PER" if content.get("units") == "phoneme" else "CER"
        return {**content, "has_text": has_text, "has_language": has_language, "unit_name": unit_name}


class Split(Record):
    """The utterances of a split: `sha256` is `mlsuperb.data.manifest.split_hash`."""

    sha256: str | None = None
    num_utterances: int = 0
    duration_s: float = 0.0


class Release(Record):
    """A published release of a corpus; `why` says what is missing of it."""

    name: str
    whole: bool
    why: str = ""


class DataRecord(Record):
    """What the run was trained and tested on, and what was skipped on the way."""

    name: str
    splits: dict[str, Split]
    synthetic: bool = False
    release: Release | None = None
    stand_ins: dict[str, str] = Field(default_factory=dict)
    languages: dict[str, list[str]] = Field(default_factory=dict)
    skipped: dict[str, Any] = Field(default_factory=dict)

    def sha256(self, split: str) -> str | None:
        """The hash of a split; None where there is no such split."""
        return self.splits[split].sha256 if split in self.splits else None


class Scorer(Record):
    """Versions of the scoring code: of what all protocols share, and of each protocol."""

    version: str
    protocols: dict[str, str]


class Part(Record):
    """A part of the model: its name, facts (card) and settings. An upstream says what was `loaded` and under which `conventions`
    it is run (`mlsuperb.upstreams.conventions`), an adaptation how many parameters of each part of the model it `trained`."""

    name: str = ""
    card: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    loaded: dict[str, Any] = Field(default_factory=dict)
    conventions: str | None = None
    trained: dict[str, int] = Field(default_factory=dict)


class FeaturizerRecord(Record):
    """`layer_weights`: the share of each layer; null where the featurizer learns none."""

    name: str
    layer_weights: list[float] | None
    num_layers: int | None = None


class Published(Record):
    """The published experiment that a run is of, and its deviations: setting -> [published, here]; `upstream`: the same of the
    upstream's settings against those of its option."""

    experiment: str
    track: str
    size: str | None = None
    run: str | None = None
    deviations: dict[str, list[Any]] = Field(default_factory=dict)
    upstream: dict[str, list[Any]] = Field(default_factory=dict)


class Metric(Record):
    """One number of a protocol; null with a reason where it cannot be had.

    Attributes:
        num_languages, num_utterances: that it was taken over.   num_summed: languages in a sum of the highest rates.
        languages: those of an extreme, or by language the datasets of its `highest` and `lowest` rate.
        without_words: languages left out of a word error rate, since they are written without spaces.
    """

    value: float | None
    better: Literal["lower", "higher"]
    unit: str = "%"
    reason: str = ""
    num_languages: int | None = None
    num_utterances: int | None = None
    num_summed: int | None = None
    languages: list[str] | dict[str, dict[str, str]] | None = None
    without_words: list[str] | None = None


class Section(Record):
    """What one protocol says. `counts`: split -> dataset -> language -> counts; `metrics`: split -> name -> metric;
    `per_language`: split -> language -> rates."""

    protocol: str
    version: str
    normaliser: Named
    units: str
    counts: dict[str, dict[str, dict[str, dict[str, Any]]]]
    metrics: dict[str, dict[str, Metric]]
    per_language: dict[str, dict[str, dict[str, Any]]]

    @property
    def rate_name(self) -> str:
        """The error rate in its units, as tables call it: `CER`, `PER`, `WER`."""
        return f"{self.units[:1].upper()}ER"

    @property
    def pools(self) -> bool:
        """Whether its counts can be added up over languages (`mlsuperb.scoring.counts.Counts`)."""
        every = (
            one for datasets in self.counts.values() for languages in datasets.values() for one in languages.values()
        )
        return next(every, {}).keys() <= COUNTS


class Protocols(Record):
    """The sections by the names of their protocols, and why the other protocols do not apply."""

    __pydantic_extra__: dict[str, Section]

    not_applicable: dict[str, str] = Field(default_factory=dict)

    @property
    def sections(self) -> Mapping[str, Section]:
        """Protocol -> section, in the order in which they were asked for."""
        return self.__pydantic_extra__


class HypothesesRecord(Record):
    """The file that was scored; utterances by split."""

    path: str
    sha256: str
    num_utterances: dict[str, int]


class BenchmarkResult(Result):
    """Of job `benchmark`."""

    kind: ClassVar[str] = "benchmark"

    official: bool
    not_official_because: list[str]
    synthetic: bool
    benchmark: Published | None
    task: TaskRecord
    normaliser: Named
    data: DataRecord
    scorer: Scorer
    upstream: Part
    adaptation: Part
    head: Part
    featurizer: FeaturizerRecord | None = None
    num_trainable: int
    num_total: int
    protocols: Protocols
    hypotheses: HypothesesRecord

    @model_validator(mode="before")
    @classmethod
    def _deviations_of_older_results(cls, content: Any) -> Any:
        """What results of 1.0 did not yet name: upstreams that were not run as those of the published rows, and features in
        bf16. A result that says under which conventions its upstream is run has named them."""
        parts = ("benchmark", "upstream", "config", "cost")
        if not isinstance(content, Mapping) or not all(isinstance(content.get(part), Mapping) for part in parts):
            return content
        benchmark = content["benchmark"]
        if not str(benchmark.get("experiment")).startswith("v1/") or "conventions" in content["upstream"]:
            return content
        found = dict(_unnamed(content))
        if not found:
            return content
        reason = f"not as +exp={benchmark['experiment']}: " + "; ".join(
            f"{path} {a} -> {b}" for path, (a, b) in found.items()
        )
        return {
            **content,
            "official": False,
            "not_official_because": [*content.get("not_official_because", []), reason],
            "benchmark": {**benchmark, "deviations": {**benchmark.get("deviations", {}), **found}},
        }

    @property
    def facts(self) -> TaskFacts:
        """How its texts are compared."""
        named = {name: getattr(self.task, name) for name in TaskRecord.model_fields}
        return TaskFacts(**named, normaliser=self.normaliser.name)


def _unnamed(content: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    upstream, config = content["upstream"], content["config"]
    loaded, node = upstream.get("loaded", {}), config.get("upstream", {})
    reads_waves = "do_normalize" in loaded and "log-mels" not in str(loaded.get("do_normalize_source"))
    if reads_waves and not str(node.get("_target_")).endswith(".S3prl"):
        yield "upstream.conventions", ["s3prl", "checkpoint"]
    # features were kept of frozen models; log-mels and the like, of which nothing is loaded, are computed each time
    kept = loaded and content.get("adaptation", {}).get("name") == "frozen" and not node.get("dropout_while_frozen")
    if kept and config.get("cache", {}).get("dtype") == "bf16":
        yield "cache.dtype", ["int16", "bf16"]


class TranslationResult(BenchmarkResult):
    """Of job `translation`: as of a benchmark run, where `upstream` is the model.

    Attributes:
        train_on: `speech`, `text`, or both.
        text: the parallel text: name, splits, directions, what was skipped; `scored`: the pairs that `scores` of text are of.
        start: what an earlier run had trained.
        scores: of validation: losses in nats and accuracies of the target tokens, of speech and of text. Of the parallel text
            (`mlsuperb.translation.text_scores`): `text_bits_per_character` with the bounds `..._low` and `..._high`,
            `text_chrf`, `text_bleu`.
    """

    kind: ClassVar[str] = "translation"

    train_on: list[str]
    language: str | None = None  # of an evaluation: that all was written in, whatever the data named
    text: dict[str, Any] = Field(default_factory=dict)
    start: dict[str, Any] | None = None
    scores: dict[str, Any] = Field(default_factory=dict)


# kinds of results with scored hypotheses
SCORED: tuple[type[BenchmarkResult], ...] = (BenchmarkResult, TranslationResult)
