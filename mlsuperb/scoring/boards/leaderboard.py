"""A board as tables: our rows beside published ones where they may stand there, everything else apart with the reason."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlsuperb.scoring.boards.blocks import Block, BlockMaker, Facts
from mlsuperb.scoring.boards.entries import Entry, take
from mlsuperb.scoring.boards.rows import Row, make_rows
from mlsuperb.scoring.boards.superb_s import FORMULA, MONO, Board
from mlsuperb.scoring.comparison.selection import value_of
from mlsuperb.scoring.result import BenchmarkResult

_SETTING = re.compile(r"^(\+{0,2})([\w/.@-]+)=(.*)$", re.DOTALL)
OWN = ("exp", "data.mono", "benchmark.run", "seed", "run_name")  # settings that say which run of a row it is
CHOICE = ("data.languages", "data.pairs", "data.train_datasets")  # set by data.mono, too


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """What there is to show: `about` the board, its tables, and `lists` of lines by title."""

    title: str
    about: tuple[str, ...]
    blocks: tuple[Block, ...]
    lists: Mapping[str, tuple[str, ...]]
    rows: tuple[Row, ...]


def leaderboard(
    results: Mapping[Path, BenchmarkResult],
    *,
    board: Board,
    size: str,
    left_out: Mapping[Path, str] | None = None,
    facts: Facts = lambda _: {},
) -> Leaderboard:
    """The board of the runs in `results`.

    Args:
        left_out: folders without a result, with reasons.
        facts: heading -> text of a row, for further columns.
    """
    entries, others = take(results, board=board, size=size)
    rows = make_rows(entries, board=board, size=size)
    return Leaderboard(
        title=f"{board.title}: {size}",
        about=tuple(_about(board, size)),
        blocks=tuple(BlockMaker(board=board, size=size, facts=facts).blocks(rows)),
        lists=_lists(rows, board=board, left_out={**(left_out or {}), **others}),
        rows=tuple(rows),
    )


def _about(board: Board, size: str) -> Iterator[str]:
    yield f"Board {board.name}, version {board.version}, {size}. Source: {board.source}."
    if size in board.references:
        reference = board.references[size]
        for name, values in (("SOTA", reference.sota), ("FBANK", reference.fbank)):
            yield f"{name}: " + ", ".join(f"{column.title} {values[column.name]:g}" for column in board.columns) + "."
        yield f"SUPERB_s = {FORMULA}. The SOTA values of a board never change: a better system scores above 1000."
    if board.mono:
        phonemes = f"; {', '.join(board.phonemes)} in phonemes" if board.phonemes else ""
        yield f"Mono: unweighted mean over {', '.join(board.mono)}, each the mean over its runs{phonemes}."
    data = f"the whole {board.release} release" if board.release else board.data
    yield (
        f"Our rows stand beside published rows only if they were trained on the same data ({data}), scored with the same "
        "protocol and scorer, and deviate in no setting. In brackets: ours minus the published value of the same upstream and "
        "adaptation. Official: the published settings except for upstream and learning rate, the whole release, a hypothesis "
        "for every utterance, the code as committed."
    )


def _lists(rows: Sequence[Row], *, board: Board, left_out: Mapping[Path, str]) -> dict[str, tuple[str, ...]]:
    incomplete = []
    for row in (row for row in rows if row.first.holes):
        incomplete.append(f"{row.label}, {row.adaptation}, seed {row.first.seed}: {'; '.join(row.first.holes)}")
        incomplete += [f"  {command}" for command in _commands(row, board=board)]
    unofficial = {
        f"{row.label}, {row.adaptation}: {reason}"
        for row in rows
        if not row.synthetic and not row.deviations  # which their table names
        for entry in row.entries
        for reason in entry.result.not_official_because
    }
    lists = {
        "Incomplete rows (no SUPERB_s, no average over missing runs), with the commands that would complete them": incomplete,
        "Runs left out of their row": [f"{place}: {why}" for row in rows for place, why in row.set_aside.items()],
        "Not official": sorted(unofficial),
        "Left out": [f"{place}: {' '.join(why.split())}" for place, why in left_out.items()],
    }
    return {title: tuple(lines) for title, lines in lists.items() if lines}


def _commands(row: Row, *, board: Board) -> Iterator[str]:
    """The commands that would fill a row's holes: one for each track that lacks runs, with the settings that a sister run of
    the row was started with."""
    if not row.synthetic and any(path in CHOICE for path in row.deviations):
        return  # other languages than the board's: no settings that we could name would complete the row
    for track in dict.fromkeys(track for track, _ in row.first.missing):
        if track not in board.runs or not row.entries:
            continue
        runs = [run for slot, run in row.first.missing if slot == track and run]
        sister = min(row.entries, key=lambda entry: (entry.slot[0] != track, _is_mono(entry) != (track == MONO)))
        left_out = OWN if _is_mono(sister) == (track == MONO) else OWN + CHOICE
        words = ["-m"] if len(runs) > 1 else []
        words += [*board.runs[track].format(run=",".join(runs)).split(), *_settings(sister, left_out=left_out)]
        words += [f"seed={row.first.seed}"] if row.first.seed else []
        yield f"python -m mlsuperb.run {shlex.join(words)}"


def _is_mono(entry: Entry) -> bool:
    return entry.slot[0] == MONO


def _settings(sister: Entry, *, left_out: Sequence[str]) -> list[str]:
    """The overrides of a run's command line that make its system."""
    config = sister.result.config
    words = (_SETTING.match(word) for word in sister.result.env.get("command", []))
    found = [
        f"{match[1]}{match[2]}={_own(config, match[2], match[3])}"
        for match in words
        if match and match[2] not in left_out and not match[2].startswith("hydra")
    ]
    return found or [f"{group}={config[group]['name']}" for group in ("data", "upstream") if group in config]


def _own(config: Mapping[str, Any], path: str, value: str) -> str:
    """`value`, or where it names several for a sweep (`a,b`, `range(3)`), the one of this run."""
    if not ("," in value or "(" in value) or value.startswith(("[", "{", "'", '"')):
        return value
    own = value_of(config, path)
    own = own.get("name") if isinstance(own, Mapping) else own
    return value if own is None else str(own)
