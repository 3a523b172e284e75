"""Results and scores for Python programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from mlsuperb.scoring.result import BenchmarkResult
    from mlsuperb.types import Hypothesis

_SPLIT = "test"  # of what is no part of a run


def results(*folders: str | Path) -> pd.DataFrame:
    """The finished runs in folders, one row each, by their folders.

    Columns: `run_id` and `job`; the settings in which the runs differ, by their paths (`head.size`; where another option was
    chosen, its name); `task`, `data`, `synthetic`, `official`, `num_trainable`, `num_total`; the metrics of all protocols as
    PROTOCOL.SPLIT.METRIC, in % (`v1.test.trained_cer`); what a run cost as `cost.NAME`. A run without a value has NaN or None
    there. `attrs["left_out"]` says which folders give no row, and why.

    Args:
        folders: each a run, or what holds runs.

    Raises:
        ValueError: no run has finished.
    """
    import pandas as pd

    from mlsuperb.runs.result import Result
    from mlsuperb.runs.store import find
    from mlsuperb.scoring.comparison.runs import config_differences
    from mlsuperb.scoring.result import SCORED, BenchmarkResult

    found = find([Path(folder) for folder in folders], *SCORED, Result).required()
    hidden = {path for one in found.runs.values() for path in one.not_science}
    settings = config_differences([one.config for one in found.runs.values()], hidden=hidden)
    rows = [
        {"run_id": one.run_id, "job": one.job}
        | {path: _value(one.config, path) for path in settings}
        | (_scored(one) if isinstance(one, BenchmarkResult) else {})
        | {f"cost.{name}": value for name, value in one.cost.items() if isinstance(value, int | float | str)}
        for one in found.runs.values()
    ]
    frame = pd.DataFrame(rows, index=pd.Index(map(str, found.runs), name="folder"))
    frame.attrs["left_out"] = {str(folder): why for folder, why in found.left_out.items()}
    return frame


def _value(config: Mapping[str, Any], path: str) -> Any:
    """A setting as it is; the name of a group's option, a list as text."""
    from mlsuperb.scoring.comparison.runs import option_name

    node: Any = config
    for key in path.split("."):
        node = node.get(key) if isinstance(node, Mapping) else None
    if isinstance(node, Mapping):
        return option_name(node)
    return str(node) if isinstance(node, list) else node


def _scored(one: BenchmarkResult) -> dict[str, Any]:
    facts = {name: getattr(one, name) for name in ("synthetic", "official", "num_trainable", "num_total")}
    metrics = {
        f"{protocol}.{split}.{name}": metric.value
        for protocol, section in one.protocols.sections.items()
        for split, found in section.metrics.items()
        for name, metric in found.items()
    }
    return {"task": one.task.name, "data": one.data.name, **facts, **metrics}


def score(
    references: Sequence[str],
    hypotheses: Sequence[str],
    languages: Sequence[str],
    *, predicted_languages: Sequence[str | None] | None = None, datasets: Sequence[str] | None = None,
    protocols: Sequence[str] | None = None, task: str | None = None, normaliser: str = "v1", units: str = "char",
) -> dict[str, Any]:  # fmt: skip
    """Score texts, as `mlsuperb score` does; no run and no torch are needed.

    Args:
        references, hypotheses: a text for each utterance. A hypothesis may begin with a language token (`[eng] HELLO`).
        languages: their right languages, ISO 639-3 codes.
        predicted_languages: those that were recognised, None where there was none; without this list, and without tokens,
            languages are not scored.
        datasets: for protocol v2, which takes a mean over the datasets of a language; one by default.
        protocols: names (`v1`, `v2`, `wer_cer`, ...); all that apply by default.
        task: asr, lid or asr_lid; by default what the hypotheses look like.
        normaliser: of the references (`mlsuperb.data.text`): v1 takes punctuation away and writes capitals; raw.
        units: what is compared: char, phoneme, phone (with spaces between them, not normalised).

    Returns:
        Protocol -> `metrics` (name -> value in %, None where it cannot be had), `per_language` (language -> rates in % and
        numbers of utterances) and `counts` (dataset -> language -> substitutions and so on).

    Raises:
        ValueError: the lists have other lengths, something in them is no text, a name is unknown, or words are to be compared as
            phones.
    """
    rows: dict[str, Sequence[Any]] = {"reference": references, "hypothesis": hypotheses, "language": languages}
    rows |= {} if predicted_languages is None else {"predicted_language": predicted_languages}
    rows |= {} if datasets is None else {"dataset": datasets}
    return _scores(_hypotheses(rows), protocols, {"task": task, "normaliser": normaliser, "units": units})


def _hypotheses(columns: Mapping[str, Sequence[Any]]) -> list[Hypothesis]:
    from mlsuperb.runs.hypotheses import hypothesis_of_others

    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{number} of {name}" for name, number in lengths.items())
        raise ValueError(f"the lists do not have the same length: {told}")
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return [hypothesis_of_others({"id": str(at), **row}, place=f"utterance {at}") for at, row in enumerate(rows)]


def _scores(ones: Sequence[Hypothesis], protocols: Sequence[str] | None, asked: Mapping[str, Any]) -> dict[str, Any]:
    from mlsuperb import tasks
    from mlsuperb.commands.score import infer_task, overruled
    from mlsuperb.scoring.score import Scoring
    from mlsuperb.scoring.utterances import refuse_words

    if asked["task"] is not None and asked["task"] not in tasks.names():
        raise ValueError(f"there is no task {asked['task']!r}; known: {', '.join(tasks.names())}")
    scoring = Scoring(**({} if protocols is None else {"protocols": list(protocols)}))
    facts = overruled(infer_task(ones), asked)
    refuse_words(ones, facts)
    found = scoring.score(ones, facts)
    return {
        name: {
            "metrics": {metric: one.value for metric, one in section.metrics[_SPLIT].items()},
            "per_language": section.per_language[_SPLIT],
            "counts": section.counts[_SPLIT],
        }
        for name, section in found.sections.items()
    }
