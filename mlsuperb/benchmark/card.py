"""The model card of a finished run, README.md in the Hugging Face hub's format: what it is, its scores, its limits, its use.

All facts stand in `result.json`; nothing is fetched. The format: https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from mlsuperb.data.languages import BENCHMARK_LABELS, hub_languages, language_name
from mlsuperb.runs.store import EVALUATIONS, RESULT_FILE, read
from mlsuperb.runtime.files import write_atomic
from mlsuperb.scoring.comparison.run_facts import overlap
from mlsuperb.scoring.escaping import markdown, page
from mlsuperb.scoring.protocols import described
from mlsuperb.scoring.result import BenchmarkResult
from mlsuperb.scoring.table import SYNTHETIC, protocol_tables

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

CARD_FILE = "README.md"
TEMPLATE = Path(__file__).with_name("card.md.jinja")
METRICS = {  # of the first protocol, by what follows the subset: type on the hub, name
    "cer": ("cer", "Character error rate (%)"),
    "per": ("per", "Phoneme error rate (%)"),
    "lid_accuracy": ("accuracy", "Language accuracy (%)"),
}
SUBSETS = {"trained": "languages with the full training set", "reserved": "20 few-shot languages"}
# Where the corpora lie on the hub; for the archives, the release decides (ESPnet egs2/ml_superb/asr1/README.md)
HUB_DATASETS = {"ml_superb_hf": "espnet/ml_superb_hf"}
HUB_RELEASES = {"7th": "ftshijt/mlsuperb_7th", "8th": "ftshijt/mlsuperb_8th"}
PARTS = (
    *("upstream", "adaptation", "featurizer", "specaug", "head", "objective", "task", "loading", "decoding"),
    "trainer",
)
USUAL = {"featurizer": "weighted_sum", "objective": "ctc"}
UNSHOWN = (
    *("name", "card", "_target_", "_partial_", "device", "num_workers", "keep_audio_gb", "trackers", "log_every"),
    "checkpoint_every",
)


def write_card(folder: Path) -> Path:
    """Write the card of the result in `folder`: a run's, or an evaluation's inside a run.

    Raises:
        ValueError: there is no result.
        OSError: the file cannot be written.
    """
    path, result = folder / CARD_FILE, read(folder, BenchmarkResult)
    run: Path = folder
    training: BenchmarkResult | None = result
    if folder.parent.name == EVALUATIONS:  # its own data are not what the model was trained on
        run = folder.parents[1]
        training = read(run, BenchmarkResult) if (run / RESULT_FILE).is_file() else None
    write_atomic(path, [model_card(result, run=run.resolve().name, training=training)])
    return path


def model_card(result: BenchmarkResult, *, run: str, training: BenchmarkResult | None) -> str:
    """The card of a result: YAML metadata between two lines of dashes, then Markdown.

    Args:
        run: name of the folder that transcribes.
        training: the result that was written after the training, `result` itself unless other data were evaluated; None
            where the model was trained elsewhere.
    """
    from huggingface_hub import ModelCard, ModelCardData
    from markupsafe import Markup

    scores, dataset, task = eval_results(result), hub_dataset(result), result.task
    data = ModelCardData(
        language=hub_languages(languages(training or result)) or None,
        library_name="mlsuperb",
        pipeline_tag=_pipeline(result),
        tags=["mlsuperb", "ML-SUPERB", task.name, result.upstream.name, result.adaptation.name]
        + ["synthetic-data"] * result.synthetic,
        base_model=base_model(result),
        datasets=[dataset] if dataset else None,
        metrics=list(dict.fromkeys(one.metric_type for one in scores)) or None,
        model_name=result.run_id,
        eval_results=scores or None,
    )
    text = page(
        TEMPLATE.read_text(encoding="utf-8"),
        card_data=Markup(data.to_yaml()), run=run, result=result, training=training, **_words(result, training),
    )  # fmt: skip
    return f"{ModelCard(text).content.rstrip()}\n"


def _words(result: BenchmarkResult, training: BenchmarkResult | None) -> dict[str, Any]:
    """What the template shows beside the result's own values, and the functions that it calls."""
    from markupsafe import Markup

    task, config = result.task, (training or result).config
    does = ["names the language of speech"] * task.has_language
    does += ["transcribes it" if does else "transcribes speech"] * task.has_text
    others = ["cannot name"] * task.has_language
    others += ["writes badly," if others else "writes badly, if at all,"] * task.has_text
    return {
        "synthetic_warning": SYNTHETIC,
        "does": " and ".join(does),
        "others": ", and ".join(others),
        "overlap": overlap(result),
        "tables": Markup("\n".join(cells.to_markdown() for cells in protocol_tables(result.protocols)).rstrip()),
        "parts": {name: Markup(_settings(config[name])) for name in PARTS if name in config},
        "unusual": unusual(config),
        "language_name": language_name,
        "file_name": lambda path: PurePath(path).name,  # where a folder lay on some machine helps nobody
        "described": described,
        "unaligned": unaligned,
        "count": "{:,}".format,
    }


def unusual(config: Mapping[str, Any]) -> dict[str, str]:
    """Names of the featurizer and objective, where they are not those of the published tables."""
    return {kind: name for kind, usual in USUAL.items() if (name := config.get(kind, {}).get("name", usual)) != usual}


def unaligned(number: int) -> str:
    """What is said of training examples that could not be aligned."""
    return f"{number:,} training examples had fewer frames than tokens and did not contribute to the loss."


def _pipeline(result: BenchmarkResult) -> str:
    return "automatic-speech-recognition" if result.task.has_text else "audio-classification"


def languages(result: BenchmarkResult) -> list[str]:
    """ISO 639-3 codes of the languages trained on, or tested on where that is not known; `org_jpn` is jpn."""
    labels = result.data.languages.get("train") or [
        language
        for section in [*result.protocols.sections.values()][:1]
        for datasets in section.counts.values()
        for languages in datasets.values()
        for language in languages
    ]
    return sorted({label.split("_")[-1] if label in BENCHMARK_LABELS else label for label in labels})


def base_model(result: BenchmarkResult) -> str | None:
    """The hub's id of the upstream's checkpoint; None for a folder, and where there is none."""
    loaded = result.upstream.loaded
    checkpoint = loaded.get("checkpoint")
    return checkpoint if checkpoint and not loaded.get("sha256") and str(checkpoint).count("/") == 1 else None


def hub_dataset(result: BenchmarkResult) -> str | None:
    """The hub's id of the corpus, where it is a release that is there, and whole: a score on other data is none on that."""
    release = result.data.release
    if result.synthetic or release is None or not release.whole:
        return None
    return HUB_RELEASES.get(release.name) or HUB_DATASETS.get(result.data.name)


def eval_results(result: BenchmarkResult) -> list[EvalResult]:
    """The pooled metrics of the first protocol that have a value, by split and subset of languages."""
    from huggingface_hub import EvalResult

    task = ["Speech recognition"] * result.task.has_text + ["Language identification"] * result.task.has_language
    release, dataset = result.data.release, result.data.name
    if result.synthetic:
        dataset += " (synthetic speech)"
    elif release and not release.whole:
        dataset += f" (not the whole {release.name} release)"
    return [
        EvalResult(
            task_type=_pipeline(result),
            task_name=" and ".join(task).capitalize(),
            dataset_type=hub_dataset(result) or result.data.name,
            dataset_name=dataset,
            dataset_config=subset,
            dataset_split=split,
            metric_type=METRICS[kind][0],
            metric_name=f"{METRICS[kind][1]}, {SUBSETS[subset]}, ML-SUPERB protocol {section.protocol}",
            metric_value=round(metric.value, 2),
        )
        for section in [*result.protocols.sections.values()][:1]
        for split, metrics in section.metrics.items()
        for name, metric in metrics.items()
        for subset, _, kind in [name.partition("_")]
        if subset in SUBSETS and kind in METRICS and metric.value is not None
    ]


def _settings(node: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in _flat(node))
    return f"`{markdown(node['name'])}`{' with ' + markdown(settings) if settings else ''}"


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by path, without names, facts, what is not set, what only computes, and places on some machine."""
    for key, value in node.items():
        if key in UNSHOWN or value in (None, [], "") or (isinstance(value, str) and "/" in value):
            continue
        if isinstance(value, Mapping):
            inner = dict(_flat(value, f"{prefix}{key}."))
            kind = {f"{prefix}{key}": value["_target_"].rpartition(".")[2]} if "_target_" in value else {}
            yield from [*kind.items(), *inner.items()]
        else:
            yield f"{prefix}{key}", value
