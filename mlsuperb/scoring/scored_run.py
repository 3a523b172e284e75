"""What a run with scored hypotheses says of them in its result, and what it shows."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlsuperb.data.text import VERSIONS
from mlsuperb.runs import store
from mlsuperb.runs.hypotheses import HYPOTHESES_FILE, read_hypotheses
from mlsuperb.runtime import ranks
from mlsuperb.runtime.console import Console
from mlsuperb.runtime.messages import describe_trained
from mlsuperb.scoring.comparison.run_facts import above_cap
from mlsuperb.scoring.examples import show_examples
from mlsuperb.scoring.protocols import known
from mlsuperb.scoring.result import SCORED, SCORER_VERSION, BenchmarkResult, Section
from mlsuperb.scoring.score import Scoring
from mlsuperb.scoring.table import SYNTHETIC, section_tables, tell
from mlsuperb.scoring.utterances import num_empty
from mlsuperb.types import Hypothesis, TaskFacts


def what_was_scored(
    folder: Path, hypotheses: Sequence[Hypothesis], *, facts: TaskFacts, scoring: Scoring
) -> dict[str, Any]:
    """Task, scores and the hypotheses that they are of.

    Args:
        folder: of the run, with the file of its hypotheses.
        facts: of the task.
        scoring: the protocols.
    """
    protocols = scoring.score(hypotheses, facts)
    path = folder / HYPOTHESES_FILE
    return {
        "task": {key: value for key, value in asdict(facts).items() if key != "normaliser"},
        "normaliser": {"name": facts.normaliser, "version": VERSIONS[facts.normaliser]},
        "scorer": {
            "version": SCORER_VERSION,
            "protocols": {name: section.version for name, section in protocols.sections.items()},
        },
        "protocols": protocols,
        "hypotheses": {
            "path": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "num_utterances": dict(Counter(one.split for one in hypotheses)),
        },
    }


def score_again(folder: Path, config: Mapping[str, Any], scoring: Scoring, *, kind: type[BenchmarkResult]) -> None:
    """Put other scores of the same hypotheses into the result of a folder.

    Args:
        config: its group `scoring` becomes the result's.
        scoring: what that group builds.
        kind: of the result.

    Raises:
        ValueError: there is no result, there are no hypotheses, or no protocol has anything to say of them.
        OSError: the result cannot be written.
    """
    result = store.read(folder, kind)
    if reason := scoring.why_nothing(result.facts):
        raise ValueError(
            f"scoring.protocols={scoring.protocols} have nothing to say of task {result.task.name}: {reason}"
        )
    hypotheses = read_hypotheses(folder / result.hypotheses.path)
    content = result.model_dump(exclude_unset=True)
    content |= what_was_scored(folder, hypotheses, facts=result.facts, scoring=scoring)
    content["config"] = {**result.config, "scoring": config["scoring"]}
    store.write(folder, store.validated(content, kind, place=f"result of {result.run_id}"))


def scorer_versions() -> dict[str, Any]:
    """Of the scoring code here."""
    return {"version": SCORER_VERSION, "protocols": {name: one.version for name, one in known().items()}}


def score_afresh(folder: Path) -> list[str]:
    """Score the hypotheses of a finished run or evaluation again, by the protocols of its result. Where that gives other numbers,
    they become the result's.

    Returns:
        What differs, a sentence each; nothing where the run has no hypotheses.

    Raises:
        ValueError: the result or its hypotheses are damaged.
    """
    if store.read(folder, store.Result).job not in {kind.kind for kind in SCORED}:
        return []
    result = store.read(folder, *SCORED)
    recorded = result.protocols.sections
    names = [name for name in recorded if name in known()]
    hypotheses = read_hypotheses(folder / result.hypotheses.path)
    found = what_was_scored(folder, hypotheses, facts=result.facts, scoring=Scoring(protocols=names))
    today = found["protocols"].sections
    lines = [line for name in names for line in _differences(recorded[name], today.get(name))]
    if lines:
        content = result.model_dump(exclude_unset=True)
        # protocols that do not apply were not asked for again
        apart = {"not_applicable": content["protocols"].get("not_applicable", {})}
        found["protocols"] = content["protocols"] | found["protocols"].model_dump(exclude_unset=True) | apart
        store.write(folder, store.validated(content | found, type(result), place=f"result of {result.run_id}"))
    return lines + [
        f"{name} is no protocol of this version, so its scores stand" for name in recorded if name not in names
    ]


def _differences(recorded: Section, today: Section | None) -> Iterator[str]:
    """In which counts and metrics two sections of one protocol differ."""
    if today is None:
        yield f"{recorded.protocol} does not apply to this task"
        return
    numbers = [
        {f"{split} {dataset} {language}": counts for split, dataset, language, counts in _cells(one)}
        | {split: {name: metric.value for name, metric in metrics.items()} for split, metrics in one.metrics.items()}
        for one in (recorded, today)
    ]
    for place in dict.fromkeys([*numbers[0], *numbers[1]]):
        then, now = (one.get(place, {}) for one in numbers)
        changed = [name for name in dict.fromkeys([*then, *now]) if then.get(name) != now.get(name)]
        if changed:
            told = ", ".join(f"{name} {then.get(name)} recorded, {now.get(name)} today" for name in changed)
            yield f"{recorded.protocol}, {place}: {told}"


def _cells(section: Section) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    for split, datasets in section.counts.items():
        for dataset, languages in datasets.items():
            for language, counts in languages.items():
                yield split, dataset, language, counts


def part(node: Mapping[str, Any]) -> dict[str, Any]:
    """Name, facts and settings of a part, for tables."""
    settings = {key: value for key, value in node.items() if key not in ("name", "card", "_target_")}
    return {"name": node["name"], "card": node.get("card", {}), "settings": settings}


def standing(reasons: Iterable[str], content: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Whether a result is official, and if not, why: the `reasons` that are known, and those that it says itself."""
    found = [*reasons, *_reasons(content, data)]
    synthetic = bool(data.get("synthetic", False))
    return {"official": not found, "not_official_because": found, "synthetic": synthetic}


def _reasons(content: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[str]:
    if data.get("synthetic"):
        yield "synthetic data"
    if content["code"]["dirty"]:
        yield "the code was changed since its commit"
    counted = content["hypotheses"]["num_utterances"]
    tested = [split for split in data["splits"] if split not in ("train", "dev")]
    for split in dict.fromkeys([*tested, *counted]):
        number, expected = counted.get(split, 0), data["splits"].get(split, {}).get("num_utterances", 0)
        if number != expected:
            yield f"split {split}: {number} hypotheses for {expected} utterances"


def show(folder: Path, console: Console | None = None, *, kind: type[BenchmarkResult] = BenchmarkResult) -> None:
    """The result of a folder: scores by language and dataset, three utterances with their differences marked, the path.

    Args:
        kind: of the result: of another job, whose results have what the benchmark's have.
    """
    if not ranks.is_main():
        return
    console = console or Console()
    result = store.read(folder, kind)
    path = folder / result.hypotheses.path
    hypotheses = read_hypotheses(path) if path.is_file() else []  # the scores stand without them
    first, *others = result.protocols.sections.values()  # one at least: checked before the run
    for cells in section_tables(first):
        console.print(cells.to_rich())
    colour = console.is_terminal and not console.no_color
    if hypotheses:
        console.print(show_examples(hypotheses, result.facts, colour=colour), soft_wrap=True)
    else:
        tell(console, f"{path} is not there any more: no examples can be shown.")
    trained = describe_trained(result.adaptation.trained)
    tell(console, f"{trained}{above_cap(result.num_trainable)}", *_remarks(result, hypotheses))
    if result.synthetic:
        console.print(SYNTHETIC, style="bold yellow")
    if others:
        names = ", ".join(other.protocol for other in others)
        tell(console, f"Scores of {names}: mlsuperb score {folder}")
    tell(console, f"One page with pictures and sound: mlsuperb report {folder}", f"Everything is in {folder}")


def _remarks(result: BenchmarkResult, hypotheses: Sequence[Hypothesis]) -> Iterator[str]:
    if empty := num_empty(hypotheses):
        yield f"Empty hypotheses: {empty:,} of {len(hypotheses):,}."
    if num_unaligned := result.training.get("num_unaligned"):
        yield (
            f"{num_unaligned:,} times a training example had fewer frames than tokens and did not contribute to the loss "
            f"(of {result.cost['utterances']:,} examples seen in training)."
        )
