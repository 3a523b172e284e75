"""Finished runs as tests of claims choose them: which they are, what they heard, how their utterances are put side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

from mlsuperb.runs.hypotheses import read_hypotheses
from mlsuperb.scoring.comparison.paired import PairedUtterance, pair_utterances
from mlsuperb.scoring.counts import Counts
from mlsuperb.scoring.protocols.v1 import in_subset, scored_language
from mlsuperb.scoring.result import read_result, scoring_settings
from mlsuperb.scoring.utterances import utterance_counts
from mlsuperb.types import Hypothesis

PARTS = ("upstream", "adaptation", "head", "objective")
SELECTORS = ("experiment", "track", "size", "run", "task", *PARTS, "run_name", "trained_on")
# Two runs of a pair differ in what the test names, in their settings of it, and in nothing of these
SAME = ("track", "size", "run", "task", *PARTS, "seed", "data")
Selector = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Run:
    """A result.json, of a run or of an evaluation inside one (`training` is then that run's result)."""

    folder: Path
    result: Mapping[str, Any]
    training: Mapping[str, Any]

    @property
    def name(self) -> str:
        """For the page."""
        inside = self.folder.parent.name == "evaluations"
        return f"{self.folder.parents[1].name} on {self.folder.name}" if inside else self.folder.name

    @property
    def facts(self) -> dict[str, Any]:
        """What a selector can ask for."""
        result, config = self.result, self.result["config"]
        benchmark = self.training.get("benchmark") or {}
        return {
            "experiment": benchmark.get("experiment"),
            **{key: benchmark.get(key) for key in ("track", "size", "run")},
            "task": result["task"]["name"],
            **{part: result[part]["name"] for part in ("upstream", "adaptation", "head")},
            "objective": config.get("objective", {}).get("name"),
            "run_name": config.get("run_name"),
            "trained_on": self.training["data"].get("languages", {}).get("train"),
            "seed": result["seed"],
            "data": tuple(
                sorted((name, one["sha256"]) for name, one in result["data"]["splits"].items() if name != "train")
            ),
        }

    @property
    def as_published(self) -> bool:
        """Whether nothing speaks against its settings and data."""
        return bool(self.result["official"])

    @property
    def valid_loss(self) -> float:
        """The best; infinite where there was none."""
        history = self.result["training"].get("history", [])
        return min((epoch["valid_loss"] for epoch in history if "valid_loss" in epoch), default=float("inf"))

    @cached_property
    def hypotheses(self) -> list[Hypothesis]:
        """Those that were scored."""
        return read_hypotheses(self.folder / self.result["hypotheses"]["path"])

    @property
    def scoring(self) -> dict[str, Any]:
        """How they are scored."""
        return scoring_settings(self.result)

    def counts(self, subset: str = "all") -> list[tuple[Hypothesis, Counts]]:
        """Utterances of a subset of languages with their counts."""
        both = zip(self.hypotheses, utterance_counts(self.hypotheses, **self.scoring), strict=True)
        return [(one, counts) for one, counts in both if in_subset(scored_language(one), subset)]


def find_runs(places: Sequence[Path]) -> tuple[list[Run], int]:
    """Runs of real speech under `places` (folders, or result.json files), and how many of synthetic speech there were.

    Raises:
        ValueError: a place that does not exist, or a result that cannot be read.
    """
    if missing := [str(place) for place in places if not place.exists()]:
        raise ValueError(
            f"{', '.join(missing)}: there is no such folder or file; give folders of runs, or result.json files"
        )
    paths = {path for place in places for path in ([place] if place.is_file() else place.rglob("result.json"))}
    runs = []
    for path in sorted(paths):
        folder, result = path.parent, read_result(path)
        home = folder.parents[1] / "result.json" if folder.parent.name == "evaluations" else path
        runs.append(Run(folder, result, read_result(home) if home.is_file() else result))
    real = [run for run in runs if not run.result["synthetic"]]
    return real, len(runs) - len(real)


def select(runs: Sequence[Run], selector: Selector) -> list[Run]:
    """Those that a selector names; its values are patterns as of file names, or lists of them.

    Raises:
        ValueError: a selector that there is not.
    """
    if unknown := sorted(selector.keys() - set(SELECTORS)):
        raise ValueError(f"no selector is called {', '.join(unknown)}; there are {', '.join(SELECTORS)}")
    return [run for run in runs if all(_fits(run.facts[key], wanted) for key, wanted in selector.items())]


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(value, list):
        return value == ([wanted] if isinstance(wanted, str) else wanted)
    patterns = [wanted] if isinstance(wanted, str) else wanted
    return value is not None and any(fnmatch(str(value), str(pattern)) for pattern in patterns)


def pairs(runs: Sequence[Run], first: Selector, second: Selector) -> list[tuple[Run, Run]]:
    """Runs of `first` and of `second` that differ in what the selectors name and in nothing else of `SAME`. Of several of a
    kind (other learning rates, say) the one with the lowest validation loss stands for it."""
    named = {key for key in {*first, *second} if first.get(key) != second.get(key)}
    sides = [_by_rest(select(runs, {**selector}), named) for selector in (first, second)]
    return [(sides[0][rest], sides[1][rest]) for rest in sides[0] if rest in sides[1]]


def _by_rest(runs: Sequence[Run], named: set[str]) -> dict[tuple[Any, ...], Run]:
    found: dict[tuple[Any, ...], Run] = {}
    for run in sorted(runs, key=lambda run: run.valid_loss):
        found.setdefault(tuple(run.facts[key] for key in SAME if key not in named), run)
    return found


def paired_counts(found: Sequence[tuple[Run, Run]], *, subset: str) -> tuple[list[Counts], list[Counts]]:
    """Counts of both sides, utterance by utterance. One that several pairs heard (seeds, runs of one language) stands once,
    with its counts added up, so that it is not taken for several."""
    sums: dict[tuple[str, str], tuple[Counts, Counts]] = {}
    for key, pair in ((key, pair) for first, second in found for key, pair in _utterances(first, second, subset)):
        before = sums.get(key, (Counts(), Counts()))
        sums[key] = (before[0] + pair.first_counts, before[1] + pair.second_counts)
    return [one for one, _ in sums.values()], [other for _, other in sums.values()]


def _utterances(first: Run, second: Run, subset: str) -> Iterator[tuple[tuple[str, str], PairedUtterance]]:
    for pair in pair_utterances(first.hypotheses, second.hypotheses, **first.scoring):
        if in_subset(scored_language(pair.first), subset):
            yield (pair.first.split, pair.first.id), pair
