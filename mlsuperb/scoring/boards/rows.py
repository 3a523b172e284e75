"""From the results of a board to its rows: one row a system, no average over a hole.

A row needs every run of the board: the monolingual average is the mean over the runs of a language, then over the
languages, unweighted (ESPnet `egs2/ml_superb/asr1` local/mono_superb_score.py). Of several learning rates for one place the one
that is best on the dev set, over the seeds, is taken, since the benchmark leaves the learning rate free and the test must not
choose it. Several seeds make a mean and a sample standard deviation; an incomplete seed has no part in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from mlsuperb.scoring.boards.entries import Entry, LeftOut, mono_column
from mlsuperb.scoring.boards.superb_s import MONO, Board, superb_s
from mlsuperb.scoring.result import comparable

Slot = tuple[str, str | None]  # a track, and of the monolingual one a run
# What each track of one row may set its own way on the built-in corpus, which has no fixed languages.
SYNTHETIC_CHOICE = ("data.languages", "data.pairs", "data.datasets", "data.train_datasets")
GENERIC = ("hf", "s3prl", "owsm", "whisper", "seamless_m4t")  # upstream options that are named by their checkpoint


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """Of the seeds of a row: their values in the order of the seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Plain."""
        return fmean(self.values)

    @property
    def sd(self) -> float | None:
        """With n - 1; None for one seed."""
        return stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True, kw_only=True)
class SeedRow:
    """The runs of one seed. `scores` hold the columns that are whole, and every monolingual run; `missing` are the places
    without a run; `holes` say why a column has no value."""

    seed: int
    entries: Mapping[Slot, Entry]
    scores: Mapping[str, float]
    missing: tuple[Slot, ...]
    holes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One system on a board. `scores` and `superb_s` are over `seeds`; `holes`, `missing` are those of the seed shown where none
    is complete; `set_aside` are runs and seeds that have no part in it, with reasons."""

    upstream: str
    adaptation: str
    experiment: str
    deviations: Mapping[str, tuple[Any, Any]]
    synthetic: bool
    seeds: tuple[SeedRow, ...]
    scores: Mapping[str, Statistic]
    superb_s: Statistic | None
    no_score: str
    set_aside: tuple[LeftOut, ...]

    @property
    def entries(self) -> list[Entry]:
        """Every run that has a part in it."""
        return [entry for seed in self.seeds for entry in seed.entries.values()]

    @property
    def holes(self) -> tuple[str, ...]:
        """Why it is not whole."""
        return self.seeds[0].holes

    @property
    def missing(self) -> tuple[Slot, ...]:
        """The runs that it lacks."""
        return self.seeds[0].missing


def make_rows(entries: Sequence[Entry], *, board: Board, size: str) -> list[Row]:
    """The rows of all systems among `entries`, in the order in which they first come."""
    systems: dict[str, list[Entry]] = {}
    for entry in entries:
        systems.setdefault(_system(entry.result, board=board), []).append(entry)
    return [_row(members, board=board, size=size) for members in systems.values()]


def _system(result: Mapping[str, Any], *, board: Board) -> str:
    """What the runs of one row have in common, as text."""
    upstream, adaptation, benchmark = result["upstream"], result["adaptation"], result["benchmark"]
    release = result["data"].get("release") or {}
    chosen = SYNTHETIC_CHOICE if result["synthetic"] else ()
    key = {
        "upstream": [upstream["name"], upstream.get("settings"), upstream.get("loaded")],
        "adaptation": [adaptation["name"], adaptation.get("settings")],
        "deviations": {path: here for path, (_, here) in benchmark["deviations"].items() if path not in chosen},
        "synthetic": result["synthetic"],
        "release": [release.get("name"), release.get("whole")],
        "experiment": benchmark["experiment"] if len(board.tracks) == 1 else None,
    }
    return json.dumps(key, sort_keys=True, default=str)


def _row(entries: Sequence[Entry], *, board: Board, size: str) -> Row:
    set_aside: list[LeftOut] = []
    by_seed: dict[int, list[Entry]] = {}
    for entry in entries:
        by_seed.setdefault(entry.seed, []).append(entry)
    rates = {slot: _best_rate(candidates) for slot, candidates in _by_slot(entries).items()}
    seeds = [_seed_row(seed, by_seed[seed], board=board, rates=rates, set_aside=set_aside) for seed in sorted(by_seed)]
    complete = [seed for seed in seeds if not seed.holes]
    shown = complete or [max(seeds, key=lambda seed: (len(seed.entries), -seed.seed))]
    shown, others = _on_same_data(shown)
    for seed in seeds:
        if seed not in shown:
            reason = (
                others.get(seed.seed) or f"seed {seed.seed} is incomplete ({'; '.join(seed.holes)}): not averaged in"
            )
            set_aside += [LeftOut(place=entry.place, reason=reason) for entry in seed.entries.values()]
    names = [name for name in shown[0].scores if all(name in seed.scores for seed in shown)]
    found = [superb_s(seed.scores, board=board, size=size) for seed in shown]
    values = tuple(score.value for score in found if score.value is not None)
    first = shown[0].entries[next(iter(shown[0].entries))].result if shown[0].entries else entries[0].result
    return Row(
        upstream=_upstream_name(first["upstream"]),
        adaptation=first["adaptation"]["name"],
        experiment=str(first["benchmark"]["experiment"]),
        deviations=_deviations(shown),
        synthetic=bool(first["synthetic"]),
        seeds=tuple(shown),
        scores={name: Statistic(values=tuple(seed.scores[name] for seed in shown)) for name in names},
        superb_s=Statistic(values=values) if len(values) == len(shown) else None,
        no_score=found[0].reason,
        set_aside=tuple(set_aside),
    )


def _upstream_name(upstream: Mapping[str, Any]) -> str:
    checkpoint = upstream.get("settings", {}).get("checkpoint")
    return f"{upstream['name']} {checkpoint}" if upstream["name"] in GENERIC and checkpoint else str(upstream["name"])


def _deviations(seeds: Sequence[SeedRow]) -> dict[str, tuple[Any, Any]]:
    """Setting -> (published, here); where the tracks of a row were published with several values, all of them."""
    found: dict[str, list[tuple[Any, Any]]] = {}
    for seed in seeds:
        for entry in seed.entries.values():
            for path, (published, here) in entry.result["benchmark"]["deviations"].items():
                found.setdefault(path, []).append((published, here))

    def join(values: Sequence[Any]) -> Any:
        different = [value for number, value in enumerate(values) if value not in values[:number]]
        return different[0] if len(different) == 1 else " or ".join(map(str, different))

    return {path: (join([one for one, _ in pairs]), join([one for _, one in pairs])) for path, pairs in found.items()}


def _by_slot(entries: Sequence[Entry]) -> dict[Slot, list[Entry]]:
    found: dict[Slot, list[Entry]] = {}
    for entry in entries:
        found.setdefault((entry.track, entry.run), []).append(entry)
    return found


def _best_rate(candidates: Sequence[Entry]) -> float | None:
    """The learning rate with the lowest dev figure: the mean over the seeds that all rates have, over each rate's own where
    they share none."""
    figures: dict[float | None, dict[int, float]] = {}
    for one in candidates:
        seeds = figures.setdefault(one.learning_rate, {})
        seeds[one.seed] = min(one.dev_figure, seeds.get(one.seed, one.dev_figure))
    common = set.intersection(*map(set, figures.values()))
    return min(figures, key=lambda rate: fmean(figures[rate][seed] for seed in common or figures[rate]))


def _seed_row(
    seed: int,
    entries: Sequence[Entry],
    *,
    board: Board,
    rates: Mapping[Slot, float | None],
    set_aside: list[LeftOut],
) -> SeedRow:
    chosen: dict[Slot, Entry] = {}
    holes: dict[Slot, str] = {}
    for slot, candidates in _by_slot(entries).items():
        of_rate = [one for one in candidates if one.learning_rate == rates[slot]]
        if reason := _conflict(candidates) or _no_run_of_rate(of_rate, rates[slot]):
            holes[slot] = f"{slot_name(slot)}: {reason}"
            set_aside += [LeftOut(place=one.place, reason=f"{slot_name(slot)}: {reason}") for one in candidates]
            continue
        best = chosen[slot] = min(of_rate, key=lambda one: (one.dev_figure, one.place))
        set_aside += [LeftOut(place=one.place, reason=_not_chosen(one, best)) for one in candidates if one is not best]
    scores = {name: value for entry in chosen.values() for name, value in entry.scores.items()}
    missing = tuple(slot for slot in slots(board) if slot not in chosen and slot not in holes)
    if board.mono and not any(slot[0] == MONO for slot in (*missing, *holes)):
        scores |= _mono_average(scores, board=board)
    return SeedRow(
        seed=seed,
        entries=chosen,
        scores=scores,
        missing=missing,
        holes=(*_missing_texts(missing), *holes.values(), *_valueless(chosen.values())),
    )


def _mono_average(scores: Mapping[str, float], *, board: Board) -> dict[str, float]:
    """Runs within a language, then over the languages; nothing where one has no value."""
    columns = {language: [mono_column(run) for run in runs] for language, runs in board.mono.items()}
    if any(name not in scores for names in columns.values() for name in names):
        return {}
    return {"mono_cer": fmean(fmean(scores[name] for name in names) for names in columns.values())}


def _conflict(candidates: Sequence[Entry]) -> str:
    """Why one of several runs for a place cannot be chosen, or an empty string."""
    for other in candidates[1:]:
        if reasons := comparable(candidates[0].result, other.result):
            return f"{candidates[0].place} and {other.place} cannot stand for each other: {'; '.join(reasons)}"
    return ""


def _no_run_of_rate(of_rate: Sequence[Entry], rate: float | None) -> str:
    return "" if of_rate else f"no run with learning rate {rate}, which is the best on dev over the seeds"


def _not_chosen(entry: Entry, best: Entry) -> str:
    def shown(one: Entry) -> str:
        return f"learning rate {one.learning_rate}, dev figure {one.dev_figure:.4g}"

    return f"not chosen on dev: {shown(entry)}; taken: {best.place}, {shown(best)}"


def _valueless(entries: Iterable[Entry]) -> Iterator[str]:
    for entry in entries:
        for column, reason in entry.holes.items():
            yield f"{column} of {slot_name((entry.track, entry.run))}: {reason}"


def _missing_texts(missing: Sequence[Slot]) -> Iterator[str]:
    mono = [str(run) for track, run in missing if track == MONO]
    if mono:
        yield f"no mono run {' '.join(mono)}"
    yield from (f"no {slot_name(slot)} run" for slot in missing if slot[0] != MONO)


def _on_same_data(seeds: Sequence[SeedRow]) -> tuple[list[SeedRow], dict[int, str]]:
    """The seeds whose runs are on the data of the first one's, and of the others the reason."""
    kept, others = [seeds[0]], {}
    for seed in seeds[1:]:
        reasons = [reason for slot, entry in seed.entries.items() for reason in _against(seeds[0], slot, entry)]
        if reasons:
            others[seed.seed] = f"seed {seed.seed} is not averaged in: {reasons[0]}"
        else:
            kept.append(seed)
    return kept, others


def _against(seed: SeedRow, slot: Slot, entry: Entry) -> list[str]:
    return comparable(seed.entries[slot].result, entry.result) if slot in seed.entries else []


def slots(board: Board) -> list[Slot]:
    """Every run that a row of the board needs."""
    mono: list[Slot] = [(MONO, run) for run in board.mono_runs]
    return mono + [(track, None) for track in board.tracks if track != MONO]


def slot_name(slot: Slot) -> str:
    """`mono swe` or `asr_lid`."""
    return f"mono {slot[1]}" if slot[0] == MONO else slot[0]
