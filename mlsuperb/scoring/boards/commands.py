"""The commands that would fill the holes of a row."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from mlsuperb.scoring.boards.entries import Entry
from mlsuperb.scoring.boards.rows import Row
from mlsuperb.scoring.boards.superb_s import MONO, Board

_SETTING = re.compile(r"^(\+{0,2})([\w/.@-]+)=(.*)$", re.DOTALL)
NOT_TAKEN = ("exp", "data.mono", "benchmark.run", "seed", "run_name")  # of a sister run: they say which run it is
CHOICE = ("data.languages", "data.pairs", "data.train_datasets")  # data.mono sets these


def commands(row: Row, *, board: Board) -> list[str]:
    """One command a track that lacks runs: the settings are those that a sister run of the row was started with."""
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
