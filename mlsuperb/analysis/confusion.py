"""Language confusions: which language was named for which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlsuperb.analysis.chart import Chart, heat_map, new_figure

NONE = "(none)"  # no language named
OTHER = "(other)"
NUM_LANGUAGES = 24  # rows of the matrix
NUM_PAIRS = 30


@dataclass(frozen=True, kw_only=True)
class Confusions:
    """`pairs`: language, named, num, share (% of the language's utterances), the most frequent of `num_pairs` first, without
    right answers. `chart`: the matrix of the `num_shown` languages that are confused most."""

    pairs: pd.DataFrame
    num_pairs: int
    num_shown: int
    chart: Chart


def confusions(table: pd.DataFrame) -> Confusions:
    """The confusions of a task that names languages. `table`: of `utterance_facts.text_facts`, with `language`, `named`."""
    table = table.assign(named=table["named"].replace("", NONE))
    counts = table.groupby(["language", "named"]).size().rename("num").reset_index()
    sizes = table["language"].value_counts()
    counts["share"] = 100 * counts["num"] / counts["language"].map(sizes)
    wrong = counts[counts["language"] != counts["named"]].sort_values(
        ["num", "language", "named"], ascending=[False, True, True]
    )
    most = _most_confused(sizes, wrong)
    matrix = _matrix(counts, most)
    return Confusions(
        pairs=wrong.head(NUM_PAIRS).reset_index(drop=True),
        num_pairs=len(wrong),
        num_shown=len(most),
        chart=_chart(matrix, counts, num_languages=len(sizes)),
    )


def _most_confused(sizes: pd.Series, wrong: pd.DataFrame) -> list[str]:
    """Languages by their confusions, as the right one or as the named one."""
    lost = wrong.groupby("language")["num"].sum().reindex(sizes.index, fill_value=0)
    won = wrong.groupby("named")["num"].sum().reindex(sizes.index, fill_value=0)
    ranked = (lost + won).sort_values(ascending=False, kind="stable").index[:NUM_LANGUAGES]
    return sorted(map(str, ranked))


def _matrix(counts: pd.DataFrame, languages: list[str]) -> pd.DataFrame:
    """% of each language's utterances by the language named, of which the rest share a column."""
    inside = counts[counts["language"].isin(languages)].copy()
    inside["named"] = inside["named"].where(inside["named"].isin([*languages, NONE]), OTHER)
    matrix = inside.pivot_table(index="language", columns="named", values="share", aggfunc="sum", fill_value=0.0)
    ends = [name for name in (OTHER, NONE) if name in matrix.columns]
    return matrix.reindex(index=languages, columns=[*languages, *ends], fill_value=0.0)


def _chart(matrix: pd.DataFrame, counts: pd.DataFrame, *, num_languages: int) -> Chart:
    side = max(2.6, 1.2 + 0.24 * len(matrix))
    figure, (axes,) = new_figure(width_in=side + 0.8, height_in=side)
    values_RC = matrix.to_numpy(dtype=float)
    few = len(matrix) <= 12
    texts = {place: f"{value:.0f}" for place, value in np.ndenumerate(values_RC) if value and few}
    image = heat_map(
        axes, values_RC, rows=list(matrix.index), colour_map="Blues", highest=100, texts=texts, aspect="equal"
    )
    axes.set_xticks(range(matrix.shape[1]), list(matrix.columns), rotation=90, fontsize=8)
    axes.set(xlabel="language named", ylabel="language")
    figure.colorbar(image, ax=axes, shrink=0.8, label="% of the language's utterances")
    note = f"Rows add up to 100 %. {NONE}: no language named."
    if len(matrix) < num_languages:
        note += (
            f" Only the {len(matrix)} of {num_languages} languages with the most confusions are shown; {OTHER}: one of the "
            "others. The CSV file has all."
        )
    return Chart(name="confusion", title="Languages named, by language", note=note, figure=figure, data=counts)
