"""Finished runs as tests of claims choose them: which they are, how they are paired, how their utterances are counted."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

from mlsuperb.runs.bundle import merge
from mlsuperb.runs.hypotheses import read_hypotheses
from mlsuperb.runs.store import EVALUATIONS, RESULT_FILE, find, read
from mlsuperb.scoring.comparison.paired import pair_utterances
from mlsuperb.scoring.counts import Counts
from mlsuperb.scoring.protocols.v1 import in_subset, scored_language
from mlsuperb.scoring.result import SCORED, BenchmarkResult
from mlsuperb.scoring.utterances import utterance_counts
from mlsuperb.types import Hypothesis

PACKED = Path(__file__).resolve().parents[1] / "docs" / "results"
PARTS = ("upstream", "adaptation", "head", "objective")
SELECTORS = ("experiment", "track", "size", "run", "task", *PARTS, "run_name", "trained_on")
# Two runs of a pair differ in what the test names, in their settings of it, and in nothing of these
SAME = ("track", "size", "run", "task", *PARTS, "seed", "data", "training_data")
ALIKE = (*SAME, "experiment", "run_name", "trained_on")  # of runs that differ at most in what is chosen by validation
NAMES_TRAINING_DATA = {"size", "run", "trained_on", "run_name"}  # selectors that ask for other training data
Selector = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Run:
    """A run, or an evaluation inside one (`training` is then that run's result)."""

    folder: Path
    result: BenchmarkResult
    training: BenchmarkResult

    @property
    def name(self) -> str:
        """The name on the page."""
        inside = self.folder.parent.name == EVALUATIONS
        return f"{self.folder.parents[1].name} on {self.folder.name}" if inside else self.folder.name

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What a selector can ask for, and what runs of a pair have in common."""
        result, published = self.result, self.training.benchmark
        tests = {name: result.data.sha256(name) for name in result.hypotheses.num_utterances}  # of the splits scored
        return {
            **{key: getattr(published, key, None) for key in ("experiment", "track", "size", "run")},
            **{part: getattr(result, part).name for part in ("task", "upstream", "adaptation", "head")},
            "objective": result.config.get("objective", {}).get("name"),
            "run_name": result.config.get("run_name"),
            "trained_on": self.training.data.languages.get("train"),
            "seed": result.seed,
            "data": tuple(sorted(tests.items())),
            "training_data": self.training.data.sha256("train"),
        }

    @property
    def valid_loss(self) -> float:
        """The lowest validation loss of the training; infinite without validation."""
        history = self.training.training.get("history", [])
        return min((epoch["valid_loss"] for epoch in history if "valid_loss" in epoch), default=float("inf"))

    @cached_property
    def hypotheses(self) -> list[Hypothesis]:
        """The hypotheses that were scored."""
        return read_hypotheses(self.folder / self.result.hypotheses.path)

    @cached_property
    def _counted(self) -> list[tuple[Hypothesis, Counts]]:
        return list(zip(self.hypotheses, utterance_counts(self.hypotheses, self.result.facts), strict=True))

    def counts(self, subset: str = "all") -> list[tuple[Hypothesis, Counts]]:
        """Utterances of a subset of languages with their counts."""
        return [(one, counts) for one, counts in self._counted if in_subset(scored_language(one), subset)]


def find_runs(places: Sequence[Path]) -> tuple[list[Run], int, list[str]]:
    """Runs of real speech and their evaluations under `places` (folders, or result.json files), how many of synthetic speech
    there were, and one line for every folder without a result.

    Raises:
        ValueError: there is no such folder.
    """
    found = find([place.parent if place.is_file() else place for place in places], *SCORED)
    inside = find([folder for folder in found.left_out if folder.parent.name == EVALUATIONS], *SCORED)
    results = {**found.runs, **inside.runs}
    runs = [Run(folder, results[folder], _training(folder, results[folder])) for folder in sorted(results)]
    real = [run for run in runs if not run.result.synthetic]
    unread = {**found.left_out, **inside.left_out}
    left_out = [f"{folder}: {reason}" for folder, reason in unread.items() if folder not in results]
    return real, len(runs) - len(real), left_out


@contextmanager
def unpacked() -> Iterator[list[Run]]:
    """The runs that are packed in docs/results/; their files are there as long as one is inside."""
    with tempfile.TemporaryDirectory() as folder:
        merge(sorted(PACKED.glob("*.tar.xz")), Path(folder))
        yield find_runs([Path(folder)])[0]


def _training(folder: Path, result: BenchmarkResult) -> BenchmarkResult:
    inside = folder.parent.name == EVALUATIONS and (folder.parents[1] / RESULT_FILE).is_file()
    return read(folder.parents[1], *SCORED) if inside else result


def select(runs: Sequence[Run], selector: Selector) -> list[Run]:
    """The runs that a selector names; its values are patterns as of file names, or lists of them.

    Raises:
        ValueError: an unknown selector.
    """
    if unknown := sorted(selector.keys() - set(SELECTORS)):
        raise ValueError(f"no selector is called {', '.join(unknown)}; there are {', '.join(SELECTORS)}")
    return [run for run in runs if all(_fits(run.facts[key], wanted) for key, wanted in selector.items())]


def _fits(value: Any, wanted: str | list[str]) -> bool:
    patterns = [wanted] if isinstance(wanted, str) else wanted
    if isinstance(value, list):
        return value == patterns
    return value is not None and any(fnmatch(str(value), str(pattern)) for pattern in patterns)


def pairs(runs: Sequence[Run], first: Selector, second: Selector) -> list[tuple[Run, Run]]:
    """Runs of `first` and of `second` that differ in what the selectors name and in nothing else of `SAME`. Of several of a
    kind (other learning rates, say) the one with the lowest validation loss stands for them."""
    named = {key for key in SELECTORS if first.get(key) != second.get(key)}
    if named & NAMES_TRAINING_DATA:
        named.add("training_data")
    same = [key for key in SAME if key not in named]
    sides = [lowest(select(runs, selector), same) for selector in (first, second)]
    return [(run, sides[1][rest]) for rest, run in sides[0].items() if rest in sides[1]]


def lowest(runs: Sequence[Run], same: Sequence[str] = ALIKE) -> dict[tuple[str, ...], Run]:
    """Of runs that are equal in all facts of `same` (those of a sweep of learning rates, say) the one with the lowest
    validation loss, by these facts."""
    found: dict[tuple[str, ...], Run] = {}
    for run in sorted(runs, key=lambda run: run.valid_loss):
        found.setdefault(tuple(str(run.facts[key]) for key in same), run)
    return found


def paired_counts(found: Sequence[tuple[Run, Run]], *, subset: str) -> tuple[list[Counts], list[Counts]]:
    """Counts of both sides, utterance by utterance. One that is in several pairs (seeds, runs of one language) stands once,
    with its counts added up, so that it is not taken for several."""
    sums: dict[tuple[str, str], tuple[Counts, Counts]] = {}
    for first, second in found:
        for pair in pair_utterances(first.hypotheses, second.hypotheses, first.result.facts):
            if in_subset(scored_language(pair.first), subset):
                key = (pair.first.split, pair.first.id)
                before = sums.get(key, (Counts(), Counts()))
                sums[key] = (before[0] + pair.first_counts, before[1] + pair.second_counts)
    return [one for one, _ in sums.values()], [other for _, other in sums.values()]
