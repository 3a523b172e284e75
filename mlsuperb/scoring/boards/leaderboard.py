"""A board as tables: our rows beside published ones where they may stand there, all else apart and said why."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlsuperb.scoring.boards.blocks import Block, BlockMaker, Facts, labels_of
from mlsuperb.scoring.boards.entries import Entry, LeftOut, take
from mlsuperb.scoring.boards.rows import Row, make_rows
from mlsuperb.scoring.boards.superb_s import FORMULA, MONO, Board

_SETTING = re.compile(r"^(\+{0,2})([\w/.@-]+)=(.*)$", re.DOTALL)
NOT_TAKEN = ("exp", "data.mono", "benchmark.run", "seed", "run_name")  # of a sister run: they say which run it is
CHOICE = ("data.languages", "data.pairs", "data.train_datasets")  # data.mono sets these

OFFICIAL = (
    "Official: settings as published but for upstream and learning rate, the whole release, every utterance recognised, code as "
    "committed"
)


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """All there is to show. `lists` have a title each; `records` are the rows of all blocks as plain values."""

    title: str
    about: tuple[str, ...]
    blocks: tuple[Block, ...]
    lists: Mapping[str, tuple[str, ...]]
    records: tuple[dict[str, str], ...]
    rows: tuple[Row, ...]


def leaderboard(
    results: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    board: Board,
    size: str,
    left_out: Sequence[LeftOut] = (),
    facts: Facts | None = None,
) -> Leaderboard:
    """The board of `results` (folder, result).

    Args:
        left_out: runs without a result.
        facts: of a row, heading -> text, for further columns.
    """
    entries, others = take(results, board=board, size=size)
    rows = make_rows(entries, board=board, size=size)
    labels = labels_of(rows, board=board)
    maker = BlockMaker(board=board, size=size, labels=labels, facts=facts or (lambda _: {}))
    blocks = list(maker.blocks(rows))
    return Leaderboard(
        title=f"{board.title}: {size}",
        about=tuple(_about(board, size)),
        blocks=tuple(block for block, _ in blocks),
        lists=_lists(rows, labels, board=board, left_out=[*left_out, *others]),
        records=tuple(record for _, records in blocks for record in records),
        rows=tuple(rows),
    )


def _about(board: Board, size: str) -> Iterator[str]:
    yield f"Board {board.name}, version {board.version}, {size}. Source: {board.source}."
    if size in board.references:
        reference = board.references[size]
        for name, values in (("SOTA", reference.sota), ("FBANK", reference.fbank)):
            yield f"{name}: " + ", ".join(f"{column.title} {values[column.name]:g}" for column in board.columns) + "."
        yield f"SUPERB_s = {FORMULA}. SOTA is that of this board and stays what it is: a better system is above 1000."
    if board.mono:
        phonemes = f"; {', '.join(board.phonemes)} in phonemes" if board.phonemes else ""
        yield f"Mono: runs averaged within a language, then over {', '.join(board.mono)}, unweighted{phonemes}."
    yield (
        f"Ours stand beside published rows only on the same data ({board.release or board.data}"
        f"{' release, whole' if board.release else ''}), protocol and scorer, without a deviation; in brackets "
        f"ours minus what was published of the same upstream and adaptation. {OFFICIAL}."
    )


def _lists(
    rows: Sequence[Row], labels: Mapping[int, str], *, board: Board, left_out: Sequence[LeftOut]
) -> dict[str, tuple[str, ...]]:
    missing = []
    for row in rows:
        if row.holes:
            missing.append(f"{labels[id(row)]}, {row.adaptation}, seed {row.seeds[0].seed}: {'; '.join(row.holes)}")
            missing += [f"  {command}" for command in _commands(row, board=board)]
    unofficial = {
        f"{labels[id(row)]}, {row.adaptation}: {reason}"
        for row in rows
        if not row.synthetic and not row.deviations  # which their table names
        for entry in row.entries
        for reason in entry.result["not_official_because"]
    }
    lists = {
        "Incomplete rows (no score, no average over a hole), and what would fill them": tuple(missing),
        "Runs that are not averaged in": tuple(f"{one.place}: {one.reason}" for row in rows for one in row.set_aside),
        "Not official": tuple(sorted(unofficial)),
        "Left out": tuple(f"{one.place}: {' '.join(one.reason.split())}" for one in left_out),
    }
    return {title: lines for title, lines in lists.items() if lines}


def _commands(row: Row, *, board: Board) -> list[str]:
    """What would fill a row's holes, one command a track that lacks runs, with the settings that a sister run of the row was
    started with."""
    if not row.synthetic and any(path in CHOICE for path in row.deviations):
        return []  # other languages than the board's: no settings that we could name make one row of it
    found = []
    for track in dict.fromkeys(track for track, _ in row.missing):
        if track not in board.runs or not row.entries:
            continue
        runs = [str(run) for slot, run in row.missing if slot == track and run]
        sister = min(row.entries, key=lambda entry: (entry.track != track, (entry.track == MONO) != (track == MONO)))
        chosen = board.runs[track].format(run=",".join(runs)).split()
        sweep = ["-m"] if len(runs) > 1 else []
        seed = [f"seed={row.seeds[0].seed}"] if row.seeds[0].seed else []
        words = [*sweep, *chosen, *_settings(sister, alike=(sister.track == MONO) == (track == MONO)), *seed]
        found.append(f"python -m mlsuperb.run {' '.join(map(shlex.quote, words))}")
    return found


def _settings(sister: Entry, *, alike: bool) -> list[str]:
    """Of a run's command line, what makes its system; a value that was swept is the run's own."""
    config = sister.result["config"]
    words = [match for word in sister.result["env"].get("command", []) if (match := _SETTING.match(word))]
    left_out = NOT_TAKEN if alike else NOT_TAKEN + CHOICE
    found = [
        f"{match[1]}{match[2]}={_own(config, match[2], match[3])}"
        for match in words
        if match[2] not in left_out and not match[2].startswith("hydra")
    ]
    return found or [f"{group}={config[group]['name']}" for group in ("data", "upstream") if group in config]


def _own(config: Mapping[str, Any], path: str, value: str) -> str:
    """`value`, or where it names several for a sweep (`a,b`, `range(3)`), the one of this run."""
    if not ("," in value or "(" in value) or value.startswith(("[", "{", "'", '"')):
        return value
    node: Any = config
    for part in path.split("."):
        node = node.get(part, {}) if isinstance(node, Mapping) else {}
    return str(node.get("name", value)) if isinstance(node, Mapping) else str(node)
