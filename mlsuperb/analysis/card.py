"""The model card of a finished run, README.md in the Hugging Face hub's format: what it is, its scores, its limits, its use.

Everything stands in `result.json`; no network is asked. The format: https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsuperb.analysis.card_text import body
from mlsuperb.data.languages import BENCHMARK_LABELS
from mlsuperb.runtime.files import write_atomic
from mlsuperb.scoring.result import RESULT_FILE, read_result

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

CARD_FILE = "README.md"
TASK_TAGS = {
    "asr": "automatic-speech-recognition",
    "asr_lid": "automatic-speech-recognition",
    "lid": "audio-classification",
}
TASK_NAMES = {
    "asr": "Speech recognition",
    "asr_lid": "Speech recognition and language identification",
    "lid": "Language identification",
}
METRIC_TYPES = {"cer": "cer", "per": "per", "lid_accuracy": "accuracy"}
METRIC_NAMES = {
    "cer": "Character error rate (%)",
    "per": "Phoneme error rate (%)",
    "lid_accuracy": "Language accuracy (%)",
}
SUBSETS = {"trained": "languages trained as usual", "reserved": "20 few-shot languages"}
# Where the corpora lie on the hub; of the archives the release tells (ESPnet egs2/ml_superb/asr1/README.md)
HUB_DATASETS = {"ml_superb_hf": "espnet/ml_superb_hf"}
HUB_RELEASES = {"7th": "ftshijt/mlsuperb_7th", "8th": "ftshijt/mlsuperb_8th"}


def write_card(folder: Path) -> Path:
    """Write the card of the result in `folder`: a run's, or an evaluation's inside a run.

    Raises:
        ValueError: no result there.
        OSError: the file cannot be written.
    """
    path, result = folder / CARD_FILE, read_result(folder / RESULT_FILE)
    run: Path = folder
    training: dict[str, Any] | None = result
    if folder.parent.name == "evaluations":  # its own data are not what the model was trained on
        run = folder.parents[1]
        training = read_result(run / RESULT_FILE) if (run / RESULT_FILE).is_file() else None
    write_atomic(path, [model_card(result, run=run.resolve().name, training=training)])
    return path


def model_card(result: Mapping[str, Any], *, run: str, training: Mapping[str, Any] | None) -> str:
    """The card of a result, as text: YAML metadata between two lines of dashes, then markdown.

    Args:
        run: name of the folder that transcribes.
        training: the result that was written after the training, `result` itself unless other data were evaluated; None
            where the model was trained elsewhere.
    """
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        language=metadata_languages(training or result) or None,
        library_name="mlsuperb",
        pipeline_tag=TASK_TAGS[result["task"]["name"]],
        tags=_tags(result),
        base_model=base_model(result),
        datasets=[name] if (name := hub_dataset(result)) else None,
        metrics=list(dict.fromkeys(one.metric_type for one in eval_results(result))) or None,
        model_name=result["run_id"],
        eval_results=eval_results(result) or None,
    )
    return f"---\n{data.to_yaml()}\n---\n\n{body(result, run=run, training=training)}"


def metadata_languages(result: Mapping[str, Any]) -> list[str]:
    """ISO 639-3 codes of the languages trained on, or tested on where that is not known; `org_jpn` is jpn."""
    labels = trained_languages(result) or tested_languages(result)
    return sorted({label.split("_")[-1] if label in BENCHMARK_LABELS else label for label in labels})


def trained_languages(result: Mapping[str, Any]) -> list[str]:
    """Labels of the training speech; empty where the result does not say them."""
    return list(result["data"].get("languages", {}).get("train", []))


def tested_languages(result: Mapping[str, Any]) -> list[str]:
    """Labels that were scored."""
    section: Mapping[str, Any] = next(
        (result["protocols"][name] for name in result["scorer"]["protocols"]), {"counts": {}}
    )
    return sorted(
        {language for datasets in section["counts"].values() for found in datasets.values() for language in found}
    )


def base_model(result: Mapping[str, Any]) -> str | None:
    """The hub's id of the upstream's checkpoint; None for a folder, and where there is none."""
    loaded = result["upstream"].get("loaded", {})
    checkpoint = loaded.get("checkpoint")
    return checkpoint if checkpoint and not loaded.get("sha256") and str(checkpoint).count("/") == 1 else None


def hub_dataset(result: Mapping[str, Any]) -> str | None:
    """The hub's id of the corpus, where that is known."""
    if result["synthetic"]:
        return None
    release = result["data"].get("release") or {"name": ""}
    return HUB_RELEASES.get(release["name"]) or HUB_DATASETS.get(result["data"]["name"])


def eval_results(result: Mapping[str, Any]) -> list[EvalResult]:
    """The metrics of protocol v1 that have a value, by split and subset of languages."""
    from huggingface_hub import EvalResult

    task = result["task"]["name"]
    return [
        EvalResult(
            task_type=TASK_TAGS[task],
            task_name=TASK_NAMES[task],
            dataset_type=hub_dataset(result) or result["data"]["name"],
            dataset_name=_dataset_name(result),
            dataset_config=subset,
            dataset_split=split,
            metric_type=METRIC_TYPES[name],
            metric_name=f"{METRIC_NAMES[name]}, {SUBSETS[subset]}, ML-SUPERB protocol v1",
            metric_value=round(value, 2),
        )
        for split, subset, name, value in _values(result)
    ]


def _values(result: Mapping[str, Any]) -> Iterator[tuple[str, str, str, float]]:
    for split, metrics in result["protocols"].get("v1", {}).get("metrics", {}).items():
        for metric, entry in metrics.items():
            subset, _, name = metric.partition("_")
            if subset in SUBSETS and entry["value"] is not None:
                yield split, subset, name, entry["value"]


def _dataset_name(result: Mapping[str, Any]) -> str:
    return f"{result['data']['name']}{' (synthetic speech)' if result['synthetic'] else ''}"


def _tags(result: Mapping[str, Any]) -> list[str]:
    tags = ["mlsuperb", "ML-SUPERB", result["task"]["name"], result["upstream"]["name"], result["adaptation"]["name"]]
    return [*tags, *(["synthetic-data"] if result["synthetic"] else [])]
