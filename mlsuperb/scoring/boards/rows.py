"""From the results of a board to its rows: one row per system, and no average over a hole.

A row needs every run of the board: the monolingual average is the mean over the runs of a language, then over the
languages, unweighted (ESPnet `egs2/ml_superb/asr1` local/mono_superb_score.py). Where a run was trained with several learning
rates, the row takes the one that is best on the dev set over the seeds, since the benchmark leaves the learning rate free and
the test set must not choose it. Several seeds give a mean and a sample standard deviation; an incomplete seed is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from mlsuperb.scoring.boards.entries import Entry, Slot, mono_column, slot_name
from mlsuperb.scoring.boards.superb_s import MONO, Board, superb_s
from mlsuperb.scoring.comparison.comparable import comparable
from mlsuperb.scoring.comparison.selection import choose_on_dev
from mlsuperb.scoring.counts import grouped
from mlsuperb.scoring.result import Part

SCORE = "superb_s"  # among the scores of a row
# Settings of the built-in corpus in which the tracks of one row may differ there: it has no fixed languages.
SYNTHETIC_CHOICE = ("data.languages", "data.pairs", "data.datasets", "data.train_datasets")
GENERIC = ("hf", "s3prl", "owsm", "whisper", "seamless_m4t")  # upstream options that are named by their checkpoint
NOT_TOLD = ("upstream", "adaptation", "synthetic", "whole")  # of a system, in its label: the tables show it


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """A score of several seeds: `values` in the order of the seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return fmean(self.values)

    @property
    def sd(self) -> float | None:
        """Sample standard deviation (n - 1); None for one seed."""
        return stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True, kw_only=True)
class SeedRow:
    """The runs of one seed. `scores` are those of complete columns and of every monolingual run; `missing` are slots without a
    run; `holes` say why columns have no score."""

    seed: int
    entries: Mapping[Slot, Entry]
    scores: Mapping[str, float]
    missing: tuple[Slot, ...]
    holes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One system on a board. `label` names it in tables; `deviations`: setting -> (published, here); `seeds` are those shown:
    the complete ones, or else the fullest one; `scores` are over them, with `superb_s` where no column is missing; `set_aside`
    are runs that are no part of the row, with reasons."""

    label: str
    upstream: str
    adaptation: str
    experiment: str
    deviations: Mapping[str, tuple[Any, Any]]
    synthetic: bool
    seeds: tuple[SeedRow, ...]
    scores: Mapping[str, Statistic]
    set_aside: Mapping[Path, str]

    @property
    def entries(self) -> list[Entry]:
        """All runs of the row."""
        return [entry for seed in self.seeds for entry in seed.entries.values()]

    @property
    def first(self) -> SeedRow:
        """The only seed of an incomplete row; the first of a complete one."""
        return self.seeds[0]


def make_rows(entries: Sequence[Entry], *, board: Board, size: str) -> list[Row]:
    """The rows of all systems among `entries`, in the order in which they first come."""
    systems = grouped(entries, lambda entry: frozenset(_system(entry, board=board).items())).values()
    labels = _labels([_system(members[0], board=board) for members in systems])
    return [_row(members, label, board=board, size=size) for members, label in zip(systems, labels, strict=True)]


def _system(entry: Entry, *, board: Board) -> dict[str, str]:
    """What the runs of one row have in common, by setting. `name` is what its label begins with."""
    result, release = entry.result, entry.result.data.release
    free = SYNTHETIC_CHOICE if result.synthetic else ()
    parts = {
        "upstream": {**result.upstream.settings, **result.upstream.loaded},
        "adaptation": result.adaptation.settings,
    }
    return {
        **{path: str(here) for path, (_, here) in entry.published.deviations.items() if path not in free},
        **dict(_flat(parts)),
        "data.release": release.name if release else "none",
        "name": _upstream_name(result.upstream) + f", {entry.published.experiment}" * (len(board.tracks) == 1),
        "upstream": result.upstream.name,
        "adaptation": result.adaptation.name,
        "synthetic": str(result.synthetic),
        "whole": str(release.whole if release else None),
    }


def _flat(node: Mapping[str, Any], inside: str = "") -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{inside}{key}.")
        elif key not in ("name", "card"):
            yield f"{inside}{key}", str(value)


def _labels(systems: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """The names of systems, with the settings in which those of one name differ."""
    for system in systems:
        namesakes = [one for one in systems if one["name"] == system["name"]]
        paths = [path for path in dict.fromkeys(chain(*namesakes)) if len({one.get(path) for one in namesakes}) > 1]
        told = ", ".join(
            f"{path}={system.get(path, 'as published')}"
            for path in paths
            if path not in NOT_TOLD and (path in system or not path.startswith(("upstream.", "adaptation.")))
        )
        yield f"{system['name']} [{told}]" if told else system["name"]


def _row(entries: Sequence[Entry], label: str, *, board: Board, size: str) -> Row:
    set_aside: dict[Path, str] = {}
    rates = {slot: _best_rate(candidates) for slot, candidates in grouped(entries, lambda one: one.slot).items()}
    seeds = [
        _seed_row(seed, of_seed, board=board, size=size, rates=rates, set_aside=set_aside)
        for seed, of_seed in sorted(grouped(entries, lambda one: one.result.seed).items())
    ]
    first = next((seed for seed in seeds if not seed.holes), max(seeds, key=lambda seed: len(seed.entries)))
    reasons = {seed.seed: _why_not_averaged(seed, first) for seed in seeds}
    shown = tuple(seed for seed in seeds if not reasons[seed.seed])
    for seed in seeds:
        if reason := reasons[seed.seed]:
            set_aside |= {one.folder: reason for one in seed.entries.values()}
    names = [name for name in first.scores if all(name in seed.scores for seed in shown)]
    entry = next(iter(first.entries.values()), entries[0])
    return Row(
        label=label,
        upstream=_upstream_name(entry.result.upstream),
        adaptation=entry.result.adaptation.name,
        experiment=entry.published.experiment,
        deviations=_deviations([entry for seed in shown for entry in seed.entries.values()]),
        synthetic=entry.result.synthetic,
        seeds=shown,
        scores={name: Statistic(values=tuple(seed.scores[name] for seed in shown)) for name in names},
        set_aside=set_aside,
    )


def _why_not_averaged(seed: SeedRow, first: SeedRow) -> str:
    """Why a seed cannot be averaged with `first`; an empty string where it can."""
    if seed is first:
        return ""
    if seed.holes:
        return f"seed {seed.seed} is incomplete and not averaged: {'; '.join(seed.holes)}"
    reasons = differences(first, seed)
    return f"seed {seed.seed} is not averaged: {reasons[0]}" if reasons else ""


def differences(first: SeedRow, second: SeedRow) -> list[str]:
    """Why two rows may not be compared: the differences between their runs of the same slot."""
    shared = [slot for slot in first.entries if slot in second.entries]
    both = [(first.entries[slot].result, second.entries[slot].result) for slot in shared]
    return [reason for one, other in both for reason in comparable(one, other)]


def _upstream_name(upstream: Part) -> str:
    checkpoint = upstream.settings.get("checkpoint")
    return f"{upstream.name} {checkpoint}" if upstream.name in GENERIC and checkpoint else upstream.name


def _deviations(entries: Sequence[Entry]) -> dict[str, tuple[Any, Any]]:
    """Setting -> (published, here); where the tracks of a row differ in a value, all of its values."""
    paths = dict.fromkeys(path for entry in entries for path in entry.published.deviations)

    def joined(path: str, side: int) -> Any:
        values = [one.published.deviations[path][side] for one in entries if path in one.published.deviations]
        different = [value for number, value in enumerate(values) if value not in values[:number]]
        return different[0] if len(different) == 1 else " or ".join(map(str, different))

    return {path: (joined(path, 0), joined(path, 1)) for path in paths}


def _best_rate(candidates: Sequence[Entry]) -> float | None:
    """The learning rate that `mlsuperb table --best` chooses; that of the run with the lowest dev figure where the runs cannot
    be compared so (no seed in common, no validation)."""
    try:
        chosen = choose_on_dev([one.result for one in candidates]).chosen
    except ValueError:
        chosen = tuple(one.result for one in candidates)
    of_rate = [one for one in candidates if any(one.result is result for result in chosen)]
    return min(of_rate, key=lambda one: one.dev_figure).learning_rate


def _seed_row(
    seed: int,
    entries: Sequence[Entry],
    *,
    board: Board,
    size: str,
    rates: Mapping[Slot, float | None],
    set_aside: dict[Path, str],
) -> SeedRow:
    """The runs of one seed, for each slot the best on dev; the others are added to `set_aside`."""
    chosen: dict[Slot, Entry] = {}
    refused: dict[Slot, str] = {}
    for slot, candidates in grouped(entries, lambda one: one.slot).items():
        of_rate = [one for one in candidates if one.learning_rate == rates[slot]]
        reason = _conflict(candidates)
        if not (reason or of_rate):
            reason = f"no run with learning rate {rates[slot]}, which is the best on dev over the seeds"
        if reason:
            refused[slot] = f"{slot_name(slot)}: {reason}"
            set_aside |= {one.folder: refused[slot] for one in candidates}
            continue
        best = chosen[slot] = min(of_rate, key=lambda one: (one.dev_figure, one.folder))
        set_aside |= {one.folder: _not_chosen(one, best) for one in candidates if one is not best}
    missing = tuple(slot for slot in slots(board) if slot not in chosen and slot not in refused)
    holes = [*_missing_texts(missing), *refused.values()]
    holes += [
        f"{column} of {slot_name(slot)}: {reason}"
        for slot, entry in chosen.items()
        for column, reason in entry.holes.items()
    ]
    scores = _scores(chosen.values(), board=board, size=size)
    return SeedRow(seed=seed, entries=chosen, scores=scores, missing=missing, holes=tuple(holes))


def _scores(entries: Iterable[Entry], *, board: Board, size: str) -> dict[str, float]:
    """All scores of one seed, with the monolingual average (over the runs of a language, then over the languages) and SUPERB_s
    where nothing is missing for them."""
    scores = {name: value for entry in entries for name, value in entry.scores.items()}
    if board.mono and all(mono_column(run) in scores for run in board.mono_runs):
        scores["mono_cer"] = fmean(fmean(scores[mono_column(run)] for run in runs) for runs in board.mono.values())
    total = superb_s(scores, board=board, size=size)
    return scores if total is None else scores | {SCORE: total}


def _conflict(candidates: Sequence[Entry]) -> str:
    """Why it is impossible to choose among several runs of a slot; an empty string where it is possible."""
    for other in candidates[1:]:
        if reasons := comparable(candidates[0].result, other.result):
            return f"{candidates[0].folder} and {other.folder} are not comparable: {'; '.join(reasons)}"
    return ""


def _not_chosen(entry: Entry, best: Entry) -> str:
    given, taken = (f"learning rate {one.learning_rate}, dev figure {one.dev_figure:.4g}" for one in (entry, best))
    return f"not chosen on dev: {given}; chosen: {best.folder}, {taken}"


def _missing_texts(missing: Sequence[Slot]) -> Iterator[str]:
    if mono := [str(run) for track, run in missing if track == MONO]:
        yield f"no mono run {' '.join(mono)}"
    yield from (f"no {slot_name(slot)} run" for slot in missing if slot[0] != MONO)


def slots(board: Board) -> list[Slot]:
    """Every run that a row of the board needs."""
    mono: list[Slot] = [(MONO, run) for run in board.mono_runs]
    return mono + [(track, None) for track in board.tracks if track != MONO]
