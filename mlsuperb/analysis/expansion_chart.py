"""What systems of language expansion gain and forget, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from mlsuperb.analysis.chart import GREY, Chart, colours, legend_below, new_figure, sample
from mlsuperb.analysis.expansion import ExpandedSystem
from mlsuperb.scoring.comparison.bootstrap import Interval

NOTE = (
    "Changes to {base} in points, with 95 % bootstrap intervals over utterances. A system that learns and forgets nothing lies "
    "below the middle line, on the upright one; to the right of it old languages have become worse. {trainings}"
)


def expansion_chart(systems: Sequence[ExpandedSystem], *, name: str, rate: str) -> Chart | None:
    """Each system's change of the error rate on new languages over that on old ones; the first is the base, in the origin. None
    where no system has an interval on both sides, for which two utterances are needed.

    Args:
        name: of the chart's files.
        rate: name of the error rate.
    """
    base, *others = systems
    rows = [
        {"system": one.name} | _bounds("old", one.old.error_change) | _bounds("new", one.new.error_change)
        for one in others
        if one.old.error_change and one.new.error_change
    ]
    if not rows:
        return None
    figure, (axis,) = new_figure(height_in=4.5)
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.axvline(0, color=GREY, linewidth=0.8)
    shades = colours([row["system"] for row in rows])
    for row in rows:
        old, new = ([[row[side] - row[f"{side}_low"]], [row[f"{side}_high"] - row[side]]] for side in ("old", "new"))
        axis.errorbar(row["old"], row["new"], xerr=old, yerr=new, fmt="o", color=shades[row["system"]], capsize=3)
    axis.set_xlabel(f"old languages: change of {rate}, points (right: forgotten)")
    axis.set_ylabel(f"new languages: change of {rate},\npoints (down: learnt)")
    handles = [sample(name, shade, marker="o", linestyle="") for name, shade in shades.items()]
    legend_below(figure, handles, columns=min(5, len(handles)))
    return Chart(
        name=name,
        title=f"Gain and forgetting against {base.name}",
        note=NOTE.format(base=base.name, trainings=_trainings(others)),
        figure=figure,
        data=pd.DataFrame(rows),
    )


def _bounds(side: str, change: Interval) -> dict[str, Any]:
    return {side: change.value, f"{side}_low": change.low, f"{side}_high": change.high}


def _trainings(systems: Sequence[ExpandedSystem]) -> str:
    most = max(one.num_seeds for one in systems)
    return (
        "Each system is one training." if most == 1 else f"Errors of up to {most} trainings of a system are added up."
    )
