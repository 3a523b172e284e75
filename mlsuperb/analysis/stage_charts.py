"""Pictures of the stages of a model: where utterances lie, how many have neighbours of their own language."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlsuperb.analysis.chart import Chart, new_figure
from mlsuperb.analysis.palette import TWENTY, colours
from mlsuperb.analysis.projection import WRONG
from mlsuperb.data.languages import language_name
from mlsuperb.scoring.table import Cells, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NAMES = 20  # languages whose codes fit into a panel
TSNE_NOTE = (
    "Each point is an utterance: the mean of its frames at that stage, placed so that neighbours (by cosine) stay neighbours. "
    "Distances between clusters, their sizes and the axes mean nothing."
)
MARKS = "Circle: the model named the right language; cross: another one, or none."
NO_MARKS = "The task names no language, so that no point is right or wrong."
KNN_NOTE = (
    "Share of utterances whose nearest neighbours (cosine) are mostly of their own language, at every stage. Neighbours of the "
    "same speaker, recording or dataset make it higher than the language alone would: "
)


def read_table(path: Path) -> pd.DataFrame:
    """A table that one of these charts has saved. `nan` is Min Nan Chinese, no missing value."""
    texts = dict.fromkeys(("stage", "id", "language", "predicted", "correct"), str)
    return pd.read_csv(path, keep_default_na=False, na_values={"accuracy_other_speakers": [""]}, dtype=texts)


def tsne_chart(points: pd.DataFrame, neighbours: pd.DataFrame, *, constant: Sequence[str] = ()) -> Chart:
    """A panel a stage, a colour a language, a cross where the language was wrong.

    Args:
        points, neighbours: of `points_table` and `knn_table`.
        constant: stages that were left out.
    """
    stages = list(dict.fromkeys(points["stage"]))
    names_language = bool((points["correct"] != "").any())
    accuracy = dict(zip(neighbours["stage"], neighbours["accuracy"], strict=True))
    columns = 2 if len(stages) in (2, 4) else min(len(stages), 3 if len(stages) <= 9 else 4)
    rows = ceil(len(stages) / columns)
    figure, axes = new_figure(height_in=rows * (6.6 / columns + 0.2) + 0.9, rows=rows, columns=columns)
    shades = colours(sorted(set(points["language"])))
    for axis, stage in zip(axes, stages, strict=False):
        _panel(axis, points[points["stage"] == stage], shades)
        axis.set_title(f"{stage}\nkNN {accuracy[stage]:.0f} %", fontsize=9)
    for axis in axes[len(stages) :]:
        axis.set_axis_off()
    _legend(figure, shades, marks=names_language)
    marks = MARKS if names_language else NO_MARKS
    repeated = f" Colours come again after {len(TWENTY)} languages." if len(shades) > len(TWENTY) else ""
    return Chart(
        name="tsne",
        title=f"Languages at each stage of the model (t-SNE of {len(points) // len(stages)} utterances)",
        note=f"{TSNE_NOTE} {marks}{repeated} kNN: see the chart of neighbours.{_left_out(constant)}",
        figure=figure,
        data=points,
    )


def _panel(axis: Axes, points: pd.DataFrame, shades: dict[str, str]) -> None:
    from matplotlib.patheffects import withStroke

    size = 14 if len(points) <= 300 else 8
    for code, colour in shades.items():
        of_code = points[points["language"] == code]
        wrong = of_code["correct"] == WRONG
        right_ones, wrong_ones = of_code[~wrong], of_code[wrong]
        axis.scatter(right_ones["x"], right_ones["y"], s=size, color=colour, alpha=0.75, linewidths=0)
        axis.scatter(wrong_ones["x"], wrong_ones["y"], s=1.6 * size, color=colour, marker="x", linewidths=1.1)
    if len(shades) <= MOST_NAMES:  # names stand on their clusters: colours need not be told apart
        for code in shades:
            x, y = _densest(points.loc[points["language"] == code, ["x", "y"]].to_numpy())
            text = axis.annotate(code, (x, y), xytext=(0, 8), textcoords="offset points", ha="center", va="center")
            text.set(fontsize=8, weight="bold")
            text.set_path_effects([withStroke(linewidth=2, foreground="white")])
    axis.margins(0.08)
    axis.set_xticks([])
    axis.set_yticks([])
    for side in ("top", "right", "bottom", "left"):
        axis.spines[side].set_visible(True)
        axis.spines[side].set_color("#cccccc")


def _densest(xy_N2: np.ndarray) -> np.ndarray:
    """The point with a quarter of the others nearest around it: the middle of a language with two clusters is in neither."""
    distances_NN = np.linalg.norm(xy_N2[:, None] - xy_N2[None], axis=-1)
    return np.asarray(xy_N2[np.sort(distances_NN, axis=1)[:, len(xy_N2) // 4].argmin()])


def _legend(figure: Any, shades: dict[str, str], *, marks: bool) -> None:
    from matplotlib.lines import Line2D

    few = len(shades) <= MOST_NAMES
    named = {code: f"{code} {language_name(code).partition(' (')[0]}"[:24] if few else code for code in shades}
    handles = [
        Line2D([], [], marker="o", linestyle="", markersize=5, color=colour, label=named[code])
        for code, colour in shades.items()
    ]
    if marks:
        handles += [
            Line2D([], [], marker=marker, linestyle="", markersize=5, color="#555555", label=label)
            for marker, label in (("o", "right"), ("x", "wrong"))
        ]
    columns = 4 if few else 10
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, fontsize=8, frameon=False, handletextpad=0.1
    )


def knn_chart(neighbours: pd.DataFrame, *, constant: Sequence[str] = ()) -> Chart:
    """Points on lines from stage to stage, with the level of chance."""
    stages = neighbours["stage"].tolist()
    places = range(len(stages))
    figure, (axis,) = new_figure(height_in=0.35 * len(stages) + 1.6)
    counted, total = int(neighbours["num_other_speakers"].iloc[0]), int(neighbours["num_utterances"].iloc[0])
    axis.plot(neighbours["accuracy"], places, "o-", color="#0072B2", label=f"all neighbours ({total} utterances)")
    others = neighbours["accuracy_other_speakers"]
    if others.notna().any():
        axis.plot(others, places, "s--", color="#D55E00", label=f"of other speakers ({counted} utterances)")
        why = (
            f"the second line leaves neighbours of the own speaker out, and is of the {counted} of {total} utterances whose "
            "language somebody else speaks, so that the lines differ in their utterances too."
        )
    else:
        why = "here speakers are not known, or each language has one, so that it cannot be told apart."
    chance = float(neighbours["chance"].iloc[0])
    axis.axvline(chance, color="#555555", linestyle=":", label=f"the commonest language always ({chance:.0f} %)")
    axis.set_yticks(list(places), stages)
    axis.invert_yaxis()
    axis.set_xlim(0, 102)
    axis.set_xlabel(f"utterances whose {neighbours['k'].iloc[0]} nearest are mostly of their own language, %")
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return Chart(
        name="knn",
        title="Languages of nearest neighbours at each stage of the model",
        note=KNN_NOTE + why + _left_out(constant),
        figure=figure,
        data=neighbours,
    )


def _left_out(constant: Sequence[str]) -> str:
    if not constant:
        return ""
    return f" Not shown, since its mean is the same for all utterances: {', '.join(constant)}."


def summary(neighbours: pd.DataFrame) -> Cells:
    """The numbers of `knn_chart`."""
    known = bool(neighbours["accuracy_other_speakers"].notna().any())
    columns = ("stage", "own language %", *(("without the own speaker %",) if known else ()))
    accuracies = zip(neighbours["stage"], neighbours["accuracy"], neighbours["accuracy_other_speakers"], strict=True)
    rows = tuple((stage, percent(all_), *((percent(others),) if known else ())) for stage, all_, others in accuracies)
    first = neighbours.iloc[0]
    title = f"{first['k']} nearest of {first['num_utterances']} utterances; chance {first['chance']:.1f} %"
    return Cells(title, columns, rows, num_names=1)
