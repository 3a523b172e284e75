"""The page docs/matrix.md: what came of the cells, and counts for models of real size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import pandas as pd
import real_models
import torch

from mlsuperb.benchmark import build
from mlsuperb.config.compose import compose
from mlsuperb.config.options import conf_dir, options
from mlsuperb.training.parameters import count_trained, num_parameters

if TYPE_CHECKING:
    from matrix import Cell

CAP, VOCAB_SIZE = 100_000_000, 6_000  # tokens: about what the 1h set of all languages has
UPSTREAMS = ("xls_r_300m", "mms_1b")
AXES = ("upstream", "adaptation", "head", "objective", "task")
# whose figures stand for an upstream and adaptation
SHOWN = {"head": "transformer", "objective": "ctc", "task": "asr_lid"}
OUTCOMES = ("trained", "refused", "failed")
HEAD = """\
# The matrix

Written by `python scripts/matrix.py`; do not edit. Every cell of upstream x adaptation x head x objective x task is
composed from its YAML files, checked and built as a run is, and trained on one batch of noise, on tiny models of
every family and in small sizes, for four steps (up to forty where masks and dropout hide what four have learned):
**{:,} cells, {:,} trained, {:,} refused with a reason, {:,} failed**. A cell fails if
anything is raised or the loss does not fall. On upstreams of at most 12.5 frames per second heads have `head.frontend=linear`, as
the checks demand.
"""
PAIRS = """\
Trained parameters inside the whole tiny model, loss before and after, and seconds per step (CPU, one thread, four
steps: for orientation) with `head=transformer objective=ctc task=asr_lid`; cells are all heads, objectives, tasks."""
REAL = f"Models of real size without weights, {VOCAB_SIZE:,} tokens, millions of parameters. ML-SUPERB 2.0 allows 100."
FIGURES = "trained | loss | s / step | cells trained | refused | failed"


@dataclass(frozen=True, kw_only=True)
class Count:
    """Trained parameters of an experiment on a model of real size."""

    experiment: str
    upstream: str
    num_upstream: int
    trained: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.trained.values())


def real_counts() -> Iterator[Count]:
    """Every `v2` experiment on the upstreams of the paper, without weights."""
    for experiment in options("exp", [conf_dir()]):
        if experiment.startswith("v2/") and experiment.count("/") == 1:
            own = compose([f"+exp={experiment}", "data.root=."])["upstream"]["name"]
            for upstream in UPSTREAMS if own in UPSTREAMS else (own,):  # supervised ones stand for themselves
                yield _count(experiment, upstream)


def _count(experiment: str, upstream: str) -> Count:
    config = compose([f"+exp={experiment}", "data.root=.", f"upstream={upstream}"])
    base = real_models.make_upstream(upstream, device="meta")
    num_upstream = num_parameters(base.parameters())
    with torch.device("meta"):
        trained = count_trained(build.build_model(config, base, vocab_size=VOCAB_SIZE))
    return Count(experiment=experiment, upstream=upstream, num_upstream=num_upstream, trained=trained)


def report(found: Sequence[Cell], real: Sequence[Count]) -> str:
    """The whole document."""
    cells = pd.DataFrame([asdict(one) | {"outcome": one.outcome} for one in found])
    numbers = [int((cells["outcome"] == outcome).sum()) for outcome in OUTCOMES]
    parts = [
        HEAD.format(len(cells), *numbers),
        _table("Upstream x adaptation", PAIRS, f"upstream | adaptation | {FIGURES}", 2, _pairs(cells)),
        _table(
            "Head x objective x task", "Medians over all upstreams and adaptations.", f"head | objective | task | {FIGURES}",
            3, _tops(cells),
        ),
        _table("Refusals", "", "cells | where | answer", -2, _refusals(cells)),
    ]  # fmt: skip
    if real:
        columns = "`+exp=` | upstream | its parameters | in it | featurizer | head | objective | trained | under 100 M"
        parts.append(_table("Trained parameters of the 2.0 experiments", REAL, columns, 2, map(_real, real)))
    return "\n".join(parts)


def _table(title: str, text: str, columns: str, num_words: int, rows: Iterator[str]) -> str:
    """A section with a table. The first `num_words` columns hold words (the last, if negative), and the column "under"."""
    names = columns.split(" | ")
    numbers = ["---:"] * (len(names) - abs(num_words))
    lines = ["---"] * num_words + numbers if num_words > 0 else numbers + ["---"] * -num_words
    if names[-1].startswith("under"):
        lines[-1] = "---"
    head = [f"## {title}", "", *([text, ""] if text else []), f"| {columns} |", f"|{'|'.join(lines)}|"]
    return "\n".join([*head, *(f"| {row} |" for row in rows), ""])


def _pairs(cells: pd.DataFrame) -> Iterator[str]:
    """A row for each upstream and adaptation."""
    for (upstream, adaptation), ones in cells.groupby(["upstream", "adaptation"], sort=False):
        chosen = ones[(ones[list(SHOWN)] == pd.Series(SHOWN)).all(axis=1)]
        one = (chosen if len(chosen) else ones).iloc[0]
        figures = {"refused": "| refused |", "failed": "| FAILED |"}.get(one["outcome"]) or _figures(one)
        yield f"{upstream} | {adaptation} | {figures} | {_outcomes(ones)}"


def _tops(cells: pd.DataFrame) -> Iterator[str]:
    """A row for each head, objective and task."""
    for names, ones in cells.groupby(list(AXES[2:]), sort=False):
        good = ones[ones["outcome"] == "trained"]
        figures = _figures(good.median(numeric_only=True)) if len(good) else "| |"
        yield f"{' | '.join(names)} | {figures} | {_outcomes(ones)}"


def _refusals(cells: pd.DataFrame) -> Iterator[str]:
    """Each reason once, with the cells that it stands for."""
    for reason, ones in cells[cells["outcome"] == "refused"].groupby("refusal", sort=False):
        where = [f"{axis} {', '.join(sorted(set(ones[axis])))}" for axis in AXES if set(ones[axis]) != set(cells[axis])]
        yield f"{len(ones):,} | {'; '.join(where) or 'everywhere'} | {' '.join(str(reason).split()).replace('|', '/')}"


def _real(one: Count) -> str:
    names = ("upstream", "featurizer", "head", "objective")
    parts = " | ".join(f"{one.trained.get(name, 0) / 1e6:.2f}" for name in names)
    total = f"{one.total / 1e6:.2f} | {'yes' if one.total <= CAP else 'no'}"
    return f"{one.experiment} | {one.upstream} | {one.num_upstream / 1e6:.1f} | {parts} | {total}"


def _figures(one: pd.Series) -> str:
    return f"{one['num_trained']:,.0f} | {one['first_loss']:.2f} → {one['last_loss']:.2f} | {one['step_s']:.3f}"


def _outcomes(ones: pd.DataFrame) -> str:
    return " | ".join(str(int((ones["outcome"] == outcome).sum())) for outcome in OUTCOMES)
