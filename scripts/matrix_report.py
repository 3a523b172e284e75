"""The pages of docs/matrix.md: what came of the cells, and counts for models of real size."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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


def real_counts() -> list[Count]:
    """Every `v2` experiment on the upstreams of the paper, without weights."""
    names = [name for name in options("exp", [conf_dir()]) if name.startswith("v2/") and name.count("/") == 1]
    return [count for name in names for count in _count(name)]


def _count(experiment: str) -> Iterator[Count]:
    own = compose([f"+exp={experiment}", "data.root=."])["upstream"]["name"]
    supervised = own not in real_models.REAL or own not in UPSTREAMS
    for upstream in (own,) if supervised else UPSTREAMS:
        config = compose([f"+exp={experiment}", "data.root=.", f"upstream={upstream}"])
        base = real_models.make_upstream(upstream, device="meta")
        num_upstream = num_parameters(base.parameters())
        with torch.device("meta"):
            model = build.assemble(config, base, vocab_size=VOCAB_SIZE)
        trained = count_trained(model)
        yield Count(experiment=experiment, upstream=upstream, num_upstream=num_upstream, trained=trained)


def report(found: Sequence[Cell], real: Sequence[Count]) -> str:
    """The whole document."""
    return "\n".join([*_head(found), *_pairs(found), *_tops(found), *_refusals(found), *_real(real)]) + "\n"


def _head(found: Sequence[Cell]) -> Iterator[str]:
    trained = sum(not (one.refusal or one.failure) for one in found)
    refused, failed = (sum(bool(getattr(one, what)) for one in found) for what in ("refusal", "failure"))
    yield "# The matrix"
    yield ""
    yield "Written by `python scripts/matrix.py`; do not edit. Every cell of upstream x adaptation x head x objective x task is"
    yield "composed from its YAML files, checked and built as a run is, and trained on one batch of noise, on tiny models of"
    yield "every family and in small sizes, for four steps (up to forty where masks and dropout hide what four have learned):"
    yield f"**{len(found):,} cells, {trained:,} trained, {refused:,} refused with a reason, {failed:,} failed**. A cell fails if"
    yield "anything is raised or the loss does not fall."
    yield ""


def _pairs(found: Sequence[Cell]) -> Iterator[str]:
    """A row for each upstream and adaptation."""
    yield "## Upstream x adaptation"
    yield ""
    yield "Trained parameters inside the whole tiny model, loss before and after, and seconds a step (CPU, one thread, four"
    yield "steps: for orientation) with `head=transformer objective=ctc task=asr_lid`; cells are all heads, objectives, tasks."
    yield ""
    yield "| upstream | adaptation | trained | loss | s / step | cells trained | refused | failed |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for (upstream, adaptation), ones in _grouped(found, lambda one: (one.upstream, one.adaptation)):
        shown = next(
            (one for one in ones if (one.head, one.objective, one.task) == ("transformer", "ctc", "asr_lid")), ones[0]
        )
        yield f"| {upstream} | {adaptation} | {_figures(shown)} | {_outcomes(ones)} |"
    yield ""


def _tops(found: Sequence[Cell]) -> Iterator[str]:
    """A row for each head, objective and task."""
    yield "## Head x objective x task"
    yield ""
    yield "Medians over all upstreams and adaptations."
    yield ""
    yield "| head | objective | task | trained | loss | s / step | cells trained | refused | failed |"
    yield "|---|---|---|---:|---:|---:|---:|---:|---:|"
    for names, ones in _grouped(found, lambda one: (one.head, one.objective, one.task)):
        good = [one for one in ones if not (one.refusal or one.failure)]
        if good:
            trained, first, last, step_s = (
                statistics.median(getattr(one, name) for one in good)
                for name in ("num_trained", "first_loss", "last_loss", "step_s")
            )
            figures = f"{trained:,.0f} | {first:.2f} → {last:.2f} | {step_s:.3f}"
        else:
            figures = "| |"
        yield f"| {' | '.join(names)} | {figures} | {_outcomes(ones)} |"
    yield ""


def _refusals(found: Sequence[Cell]) -> Iterator[str]:
    """Each reason once, with the cells that it stands for."""
    yield "## Refusals"
    yield ""
    reasons: dict[str, list[Cell]] = defaultdict(list)
    for one in found:
        if one.refusal:
            reasons[one.refusal].append(one)
    yield "| cells | where | answer |"
    yield "|---:|---|---|"
    for reason, ones in reasons.items():
        yield f"| {len(ones):,} | {_where(ones, found)} | {' '.join(reason.split()).replace('|', '/')} |"
    yield ""


def _where(ones: Sequence[Cell], found: Sequence[Cell]) -> str:
    """The axes on which the cells of a reason are not everything."""
    parts = []
    for axis in ("upstream", "adaptation", "head", "objective", "task"):
        values, every = ({getattr(one, axis) for one in some} for some in (ones, found))
        if values != every:
            parts.append(f"{axis} {', '.join(sorted(values))}")
    return "; ".join(parts) or "everywhere"


def _real(real: Sequence[Count]) -> Iterator[str]:
    if not real:
        return
    yield "## Trained parameters of the 2.0 experiments"
    yield ""
    yield f"Models of real size without weights, {VOCAB_SIZE:,} tokens, millions of parameters. ML-SUPERB 2.0 allows 100."
    yield ""
    yield "| `+exp=` | upstream | its parameters | in it | featurizer | head | objective | trained | under 100 M |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|---|"
    for one in real:
        parts = " | ".join(
            f"{one.trained.get(part, 0) / 1e6:.2f}" for part in ("upstream", "featurizer", "head", "objective")
        )
        total = f"{one.total / 1e6:.2f} | {'yes' if one.total <= CAP else 'no'}"
        yield f"| {one.experiment} | {one.upstream} | {one.num_upstream / 1e6:.1f} | {parts} | {total} |"
    yield ""


def _figures(one: Cell) -> str:
    if one.refusal or one.failure:
        return "| refused |" if one.refusal else "| FAILED |"
    return f"{one.num_trained:,} | {one.first_loss:.2f} → {one.last_loss:.2f} | {one.step_s:.3f}"


def _outcomes(ones: Sequence[Cell]) -> str:
    refused, failed = sum(bool(one.refusal) for one in ones), sum(bool(one.failure) for one in ones)
    return f"{len(ones) - refused - failed} | {refused} | {failed}"


def _grouped(found: Iterable[Cell], key: Callable[[Cell], Any]) -> Iterator[tuple[Any, list[Cell]]]:
    groups: dict[Hashable, list[Cell]] = defaultdict(list)
    for one in found:
        groups[key(one)].append(one)
    yield from groups.items()
