"""Figures and tables of discrete units: what is in their numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from labelled_runs import made_phones, write_labels

from mlsuperb.analysis.chart import Chart
from mlsuperb.analysis.unit_tables import (
    UnitRow,
    layer_records,
    layer_remarks,
    layer_table,
    show,
    unit_rows,
    unit_table,
)
from mlsuperb.analysis.units import layer_chart, unit_chart, unit_charts
from mlsuperb.scoring.table import ABSENT
from mlsuperb.units.abx import AbxError
from mlsuperb.units.layers import LayerCurve, LayerQuality
from mlsuperb.units.phones import Interval
from mlsuperb.units.quality import Quality, measure, pooled

PHONES = [[Interval(0.0, 0.12, "a"), Interval(0.12, 0.2, "b"), Interval(0.2, 0.3, "c")]]
UNITS = [np.array([4, 4, 4, 0, 4, 1, 2, 2, 1, 2, 2, 3, 3, 3, 3])]


@pytest.fixture(scope="module")
def quality() -> Quality:
    return measure(UNITS, PHONES, rate_hz=50, num_units=6)


def curve(pnmi_from: list[int], *, abx: list[float] | None, held_out: float = 0.0) -> LayerCurve:
    """A curve whose layers have so many right frames of 15, and these ABX errors within speaker."""
    index = np.repeat([0, 1, 2], 5)
    phones = [[Interval(0.0, 0.1, "a"), Interval(0.1, 0.2, "b"), Interval(0.2, 0.3, "c")]]
    layers = []
    for layer, right in enumerate(pnmi_from):
        units = np.where(np.arange(15) % 5 < right, index, 3)
        found = measure([units], phones, rate_hz=50, num_units=4)
        errors = (AbxError(abx[layer], 5, 10, 10), AbxError(math.nan, 0, 0, 10)) if abx else (None, None)
        layers.append(LayerQuality(layer=layer, quality=found, within=errors[0], across=errors[1]))
    return LayerCurve(layers=tuple(layers), num_units=4, held_out=held_out)


def test_units_stand_in_the_order_of_their_phones(quality: Quality) -> None:
    chart = unit_chart(quality, name="labels-1a/b")
    # a: 6 frames, c: 5, b: 4; unit 4 and 0 are of a, 3 of c, 2 of b; 5 does not occur
    assert quality.phones == ("a", "c", "b")
    image = chart.figure.axes[0].images[0].get_array()
    assert image is not None
    shares = np.asarray(image)
    assert shares.shape == (3, 5)
    assert shares.sum(0) == pytest.approx(np.ones(5))
    order = shares.argmax(0).tolist()
    assert order == sorted(order)
    assert chart.name == "units_labels-1a-b"
    assert chart.data.groupby("unit")["share"].sum().to_numpy() == pytest.approx(np.ones(5))
    assert chart.data["frames"].sum() == quality.num_frames
    one = chart.data[(chart.data["unit"] == 2) & (chart.data["phone"] == "b")]
    assert (one["frames"].item(), one["share"].item()) == (3, 0.75)


def test_the_best_layer_is_marked(tmp_path: Path) -> None:
    found = curve([1, 3, 5, 2], abx=[0.4, 0.1, 0.2, 0.3])
    chart = layer_chart({"hf": found})
    assert [axes.get_ylabel() for axes in chart.figure.axes] == ["PNMI %", "ABX error %"]
    marked = [[list(line.get_xdata()) for line in axes.lines] for axes in chart.figure.axes]
    assert [lines[1] for lines in marked] == [[2], [1]]  # behind the curve
    assert chart.data["abx"].tolist() == [0.4, 0.1, 0.2, 0.3]
    assert {path.suffix for path in chart.save(tmp_path)} == {".svg", ".png", ".csv"}
    assert layer_remarks(found) == [
        "best layer: 2 by PNMI, 1 by ABX; mHuBERT-147 took 6 of its first model and 9 of its second one, of 12 each",
        "ABX over 5 cells with 10 of 10 phones within speaker and 0 cells with 0 of 10 phones across speaker",
    ]
    assert all(line.get_linestyle() != ":" for line in chart.figure.axes[0].lines)  # not a model of 12 blocks
    several = layer_chart({"hf": found, "deep": curve([1] * 12 + [4], abx=None)})
    assert several.data["upstream"].nunique() == 2
    assert len(several.figure.legends) == 1
    assert sum(line.get_linestyle() == ":" for line in several.figure.axes[0].lines) == 2


def test_layers_as_a_table() -> None:
    cells = layer_table(curve([1, 5], abx=[0.25, 0.125]))
    assert cells.title == "Quality by layer: 4 units, scored on the frames that were clustered"
    assert cells.columns[-2:] == ("ABX within % ↓", "ABX across % ↓")
    assert [row[0] for row in cells.rows] == ["0", "1"]
    assert cells.rows[1][1] == "100.0"
    assert cells.rows[1][-2:] == ("12.5", ABSENT)
    assert cells.bold == {1}
    unmeasured = curve([1, 5], abx=None, held_out=0.25)
    assert "25% of utterances, held out" in layer_table(unmeasured).title
    assert layer_table(unmeasured).rows[0][-2:] == (ABSENT, ABSENT)
    assert layer_records(unmeasured)[0]["abx"] is None
    assert [line.partition(";")[0] for line in layer_remarks(unmeasured)] == ["best layer: 1 by PNMI"]


def test_rows_of_runs_and_languages(tmp_path: Path) -> None:
    phones = made_phones(24)
    runs = [write_labels(tmp_path / name, phones, noise=noise) for name, noise in (("good", 0.0), ("bad", 0.9))]
    given = {name: rows for name, rows in phones.items() if not name.endswith("_000")} | {
        "stranger": [Interval(0, 1, "a")]
    }
    found, remarks = unit_rows(runs, given, with_abx=True)
    rows = [row for run in found for row in run.shown(by_language=True)]
    assert [row[:2] for row in rows] == [(run, one) for run in ("good", "bad") for one in ("deu", "swa", "all")]
    assert [line for line in remarks if "ABX" not in line] == [
        f"{run}: 1 utterances {what}"
        for run in ("good", "bad")
        for what in ("have no phones and were left out", "that have phones have no labels here")
    ]
    assert [line.split(" cells ")[0] for line in remarks if "ABX" in line] == [
        f"{row.run}: ABX over {row.abx[0].num_cells}" for row in (rows[2], rows[5]) if row.abx
    ]
    assert [row.quality.num_utterances for row in rows[:3]] == [11, 12, 23]
    assert rows[0].quality.pnmi == pytest.approx(1)
    assert rows[3].quality.pnmi < 0.3
    assert rows[2].quality.figures() == pytest.approx(pooled(row.quality for row in rows[:2]).figures())
    for place in (0, 1):  # within, across
        errors = [row.abx[place] for row in rows[:3] if row.abx]
        assert errors[2].error == pytest.approx((errors[0].error + errors[1].error) / 2)
        assert errors[2].num_cells == errors[0].num_cells + errors[1].num_cells > 20
    within = [row.abx[0].error for row in rows if row.abx]
    assert within[2] < 0.2 < within[5]
    whole = found[0].shown(by_language=False)
    assert [row[:2] for row in whole] == [("good", "all")]
    assert whole[0].splits == ("dev",)
    assert whole[0].quality.figures() == pytest.approx(rows[2].quality.figures())
    ((of_one,), _) = unit_rows([runs[0] / "labels"], {name: one for name, one in phones.items() if "swa" in name})
    assert [row[:2] for row in of_one.shown(by_language=True)] == [("good", "swa")]
    assert len({chart.name for chart in unit_charts(rows)}) == 6


def test_the_table_holds_percentages_and_the_record_shares(quality: Quality) -> None:
    row = UnitRow("run", "deu", quality, (AbxError(0.0625, 3, 4, 5), AbxError(math.nan, 0, 0, 5)))
    cells = unit_table([row, UnitRow("other", "deu", quality)])
    shown = dict(zip(cells.columns, cells.rows[0], strict=True))
    assert shown["PNMI % ↑"] == f"{100 * quality.pnmi:.1f}"
    assert shown["units"] == "5 of 6"
    assert (shown["ABX within % ↓"], shown["ABX across % ↓"]) == ("6.2", ABSENT)
    assert cells.rows[1][-2:] == (ABSENT, ABSENT)
    assert "ABX within % ↓" not in unit_table([UnitRow("other", "deu", quality)]).columns
    assert row.record()["pnmi"] == quality.pnmi
    assert (row.record()["abx_within"], row.record()["abx_across"], row.record()["num_units"]) == (0.0625, None, 6)


@pytest.mark.parametrize("form", ["md", "csv", "json", None])
def test_a_table_in_each_form(
    form: str | None, quality: Quality, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    row = UnitRow("run", "deu", quality)

    def charts() -> list[Chart]:
        return unit_charts([row])

    show(unit_table([row]), [row.record()], ["a remark"], form=form, charts=charts, out=tmp_path / "figures")
    said = capsys.readouterr().out
    assert (tmp_path / "figures" / "units_run.svg").is_file()
    if form == "json":
        assert json.loads(said)[0]["pnmi"] == pytest.approx(quality.pnmi)
    elif form == "csv":
        header, values = said.splitlines()
        assert dict(zip(header.split(","), values.split(","), strict=True))["language"] == "deu"
    else:
        assert "a remark" in said
        assert "units_run.png" in said
        assert (form == "md") == ("| run | deu |" in said)
