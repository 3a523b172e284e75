"""SUPERB_s, the one number of an ML-SUPERB board, and the boards with the reference values it is taken with.

    SUPERB_s = 1000 / |T| * sum over tasks t of the mean over t's columns of (score - FBANK) / (SOTA - FBANK)

(compute_superb_score.py of utter-project/mHuBERT-147-scripts.) FBANK scores 0. SOTA is the best value of each column among
the models of a board, for each training size; so the same system has another score on another board, and a score without
its board says nothing. The values of a board are in `published/boards.yaml` and never move: a system better than SOTA is
above 1000.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import fmean
from typing import Any, Literal

import yaml

from mlsuperb.scoring.table import ARROWS

FORMULA = "1000 / tasks x the sum over tasks of the mean over the task's columns of (score - FBANK) / (SOTA - FBANK)"
MONO = "mono_asr"
ANY_SIZE = "all"  # the size of a corpus that has none


@dataclass(frozen=True, kw_only=True)
class Column:
    """One figure of a board, in %. `metric` is its name in the protocol's section; empty for the monolingual average."""

    name: str
    title: str
    track: str
    better: Literal["lower", "higher"]
    metric: str = ""

    @property
    def heading(self) -> str:
        """The title with an arrow that says which way is better."""
        return f"{self.title} {ARROWS[self.better]}"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The values that score 0 (`fbank`) and 1000 (`sota`), by column."""

    fbank: Mapping[str, float]
    sota: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Board:
    """A table of systems with its columns, its runs and its reference values.

    Args:
        experiments: how the names of the experiments begin whose runs count.
        runs: track -> overrides that start a run of it, with `{run}` for the monolingual run.
        release, data: the release of the corpus that its rows were measured on, or else the corpus option.
        mono: language -> its runs, for the monolingual average.
        phonemes: languages that are scored in phonemes.
        references: size -> reference values of SUPERB_s; empty for a board without SUPERB_s.
        decimals: shown of every figure.
    """

    name: str
    version: str
    title: str
    source: str
    experiments: str
    runs: Mapping[str, str]
    protocol: str
    protocol_version: str
    scorer_version: str
    split: str
    release: str | None
    columns: Sequence[Column]
    mono: Mapping[str, Sequence[str]]
    phonemes: Sequence[str]
    references: Mapping[str, Reference]
    data: str | None = None
    decimals: int = 1

    @property
    def sizes(self) -> tuple[str, ...]:
        """The training sizes."""
        return tuple(self.references) or (ANY_SIZE,)

    @property
    def tracks(self) -> tuple[str, ...]:
        """The tracks, in the order of the columns."""
        return tuple(dict.fromkeys(column.track for column in self.columns))

    @property
    def mono_runs(self) -> tuple[str, ...]:
        """All monolingual runs, language by language."""
        return tuple(run for runs in self.mono.values() for run in runs)

    @property
    def phoneme_runs(self) -> tuple[str, ...]:
        """The monolingual runs that are scored in phonemes."""
        return tuple(run for language in self.phonemes for run in self.mono[language])

    def check_size(self, size: str | None) -> str:
        """`size`, or the first of the board.

        Raises:
            ValueError: the board does not have it.
        """
        if size is not None and size not in self.sizes:
            raise ValueError(f"board {self.name} has no size {size}; it has {', '.join(self.sizes)}")
        return size or self.sizes[0]


@cache
def boards() -> dict[str, Board]:
    """Every board, by name."""
    facts = read_published("boards.yaml")
    columns = {name: Column(name=name, **entry) for name, entry in facts["columns"].items()}
    found = {}
    for entry in facts["boards"]:
        names = entry["columns"]
        references = {
            size: Reference(**{which: dict(zip(names, values, strict=True)) for which, values in one.items()})
            for size, one in entry["references"].items()
        }
        board = {**entry, "columns": [columns[name] for name in names], "references": references}
        found[entry["name"]] = Board(**board)
    return found


def board_named(name: str) -> Board:
    """The board of a name.

    Raises:
        ValueError: there is none; lists all boards.
    """
    if name not in boards():
        raise ValueError(f"there is no board {name!r}; choose one of {', '.join(boards())}")
    return boards()[name]


def superb_s(scores: Mapping[str, float | None], *, board: Board, size: str) -> float | None:
    """SUPERB_s of `scores` (column name -> %); None where a column has no score, or the board has no SUPERB_s.

    Raises:
        ValueError: the board does not have the size.
    """
    board.check_size(size)
    known = {name: score for name, score in scores.items() if score is not None}
    if size not in board.references or any(column.name not in known for column in board.columns):
        return None
    reference = board.references[size]
    tasks: dict[str, list[float]] = {}
    for column in board.columns:
        fbank, sota = reference.fbank[column.name], reference.sota[column.name]
        tasks.setdefault(column.track, []).append((known[column.name] - fbank) / (sota - fbank))
    return 1000 * fmean(fmean(shares) for shares in tasks.values())


def read_published(name: str) -> dict[str, Any]:
    """A file of `published/`."""
    path = files("mlsuperb.scoring.boards").joinpath("published", name)
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content
