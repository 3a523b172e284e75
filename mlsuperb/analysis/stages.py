"""Languages at each stage of a model: t-SNE pictures and the languages of nearest neighbours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlsuperb.analysis.chart import GREY, TWENTY, Chart, Outcome, colours, legend_below, new_figure, sample
from mlsuperb.analysis.projection import WRONG
from mlsuperb.data.languages import language_name
from mlsuperb.runs.environment import now
from mlsuperb.scoring.escaping import from_csv
from mlsuperb.scoring.result import BenchmarkResult
from mlsuperb.scoring.table import Cells, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS, NEIGHBOURS, STAMP = "tsne.csv", "knn.csv", "tsne.json"  # the stamp says what the stored numbers were made of
MOST_NAMES = 20  # languages whose codes fit into a panel
TSNE_NOTE = (
    "Each point is an utterance: the mean of its frames at that stage, placed so that neighbours (by cosine) stay neighbours. "
    "Distances between clusters, their sizes and the axes have no meaning."
)
MARKS = "Circle: the model named the right language; cross: another one, or none."
NO_MARKS = "The task names no language, so no point is right or wrong."
KNN_NOTE = (
    "Share of utterances whose nearest neighbours (cosine) are mostly of their own language, at every stage. Neighbours of the "
    "same speaker, recording or dataset make it higher than the language alone would: "
)


@dataclass(frozen=True, kw_only=True)
class Stages:
    """Tables of an analysis (`projection.points_table`, `projection.knn_table`), what they were made of, and the stages left
    out because they are constant."""

    points: pd.DataFrame
    neighbours: pd.DataFrame
    made_of: Mapping[str, Any]
    constant: Sequence[str]
    date: str = ""

    @property
    def charts(self) -> tuple[Chart, Chart]:
        """The picture of the stages, and their neighbours."""
        return (
            tsne_chart(self.points, self.neighbours, constant=self.constant),
            knn_chart(self.neighbours, constant=self.constant),
        )


def stored(folder: Path) -> Stages | None:
    """What an earlier analysis saved in `folder`; None where it is not all there."""
    if not all((folder / name).is_file() for name in (POINTS, NEIGHBOURS, STAMP)):
        return None
    stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    return Stages(points=read_table(folder / POINTS), neighbours=read_table(folder / NEIGHBOURS), **stamp)


def read_table(path: Path) -> pd.DataFrame:
    """A table that one of these charts has saved. `nan` is Min Nan Chinese, no missing value."""
    texts = dict.fromkeys(("stage", "id", "language", "predicted", "correct"), str)
    table = pd.read_csv(path, keep_default_na=False, na_values={"accuracy_other_speakers": [""]}, dtype=texts)
    return table.assign(**{name: table[name].map(from_csv) for name in texts if name in table})


def tsne(run: Path, result: BenchmarkResult, *, out: Path, device: str = "auto", **settings: Any) -> Outcome:
    """t-SNE and nearest neighbours of a run's test set. What an earlier call with the same settings computed from the same
    hypotheses, in `out`, is used again.

    Args:
        settings: `num_utterances`, `split`, `all_layers`, `k`, `seed`.

    Raises:
        ValueError: the run has no such split, or too few utterances or languages in it.
    """
    made_of = {**settings, "hypotheses": result.hypotheses.sha256}
    found, remarks = stored(out), []
    if found and found.made_of == made_of:
        remarks = [f"the numbers are those of {found.date}; remove {out / STAMP} to compute them again"]
    else:
        from mlsuperb.analysis.embeddings import stage_tables

        points, neighbours, constant = stage_tables(run, result, device=device, **settings)
        found = Stages(points=points, neighbours=neighbours, made_of=made_of, constant=constant, date=now())
        (out / STAMP).unlink(missing_ok=True)  # until the new tables are there, none is known to be whole
    stamp = {"made_of": found.made_of, "constant": found.constant, "date": found.date}
    return Outcome(
        charts=found.charts,
        table=summary(found.neighbours),
        texts={STAMP: json.dumps(stamp, indent=2) + "\n"},  # written last: without it the tables may be of two analyses
        remarks=remarks,
        synthetic=result.synthetic,
    )


def tsne_chart(points: pd.DataFrame, neighbours: pd.DataFrame, *, constant: Sequence[str] = ()) -> Chart:
    """One panel per stage, one colour per language, a cross where the wrong language was named. `constant`: stages left out."""
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
    repeated = f" Colours repeat after {len(TWENTY)} languages." if len(shades) > len(TWENTY) else ""
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
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set(visible=True, color="#cccccc")


def _densest(xy_N2: np.ndarray) -> np.ndarray:
    """The point with a quarter of the others nearest around it: the middle of a language with two clusters is in neither."""
    distances_NN = np.linalg.norm(xy_N2[:, None] - xy_N2[None], axis=-1)
    return np.asarray(xy_N2[np.sort(distances_NN, axis=1)[:, len(xy_N2) // 4].argmin()])


def _legend(figure: Any, shades: dict[str, str], *, marks: bool) -> None:
    few = len(shades) <= MOST_NAMES
    named = {code: f"{code} {language_name(code).partition(' (')[0]}"[:24] if few else code for code in shades}
    dot: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 5}
    handles = [sample(named[code], colour, **dot) for code, colour in shades.items()]
    if marks:
        handles += [sample("right", GREY, **dot), sample("wrong", GREY, **dot | {"marker": "x"})]
    legend_below(figure, handles, columns=4 if few else 10, handletextpad=0.1)


def knn_chart(neighbours: pd.DataFrame, *, constant: Sequence[str] = ()) -> Chart:
    """Points on lines from stage to stage, with the level of chance."""
    stages = neighbours["stage"].tolist()
    first, places = neighbours.iloc[0], range(len(stages))
    figure, (axis,) = new_figure(height_in=0.35 * len(stages) + 1.6)
    counted, total = int(first["num_other_speakers"]), int(first["num_utterances"])
    axis.plot(neighbours["accuracy"], places, "o-", color="#0072B2", label=f"all neighbours ({total} utterances)")
    others = neighbours["accuracy_other_speakers"]
    why = "here speakers are not known, or each language has only one, so their effect cannot be separated."
    if others.notna().any():
        axis.plot(others, places, "s--", color="#D55E00", label=f"of other speakers ({counted} utterances)")
        why = (
            f"the second line leaves out neighbours of the same speaker and covers the {counted} of {total} utterances whose "
            "language has another speaker, so the two lines also differ in their utterances."
        )
    label = f"always naming the commonest language ({first['chance']:.0f} %)"
    axis.axvline(float(first["chance"]), color=GREY, linestyle=":", label=label)
    axis.set_yticks(list(places), stages)
    axis.invert_yaxis()
    axis.set_xlim(0, 102)
    axis.set_xlabel(f"utterances whose {first['k']} nearest neighbours are mostly of their own language, %")
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
    return f" Not shown, since the mean is the same for all utterances: {', '.join(constant)}."


def summary(neighbours: pd.DataFrame) -> Cells:
    """The numbers of `knn_chart`."""
    names = {"accuracy": "own language %", "accuracy_other_speakers": "without the same speaker %"}
    shown = {key: name for key, name in names.items() if neighbours[key].notna().any()}
    rows = tuple((row["stage"], *(percent(row[key]) for key in shown)) for row in neighbours.to_dict("records"))
    first = neighbours.iloc[0]
    title = f"{first['k']} nearest of {first['num_utterances']} utterances; chance {first['chance']:.1f} %"
    return Cells(title, ("stage", *shown.values()), rows, num_names=1)
