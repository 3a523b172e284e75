"""Curves, languages, confusions: what is in the figures' numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlsuperb.analysis.chart import heat_map, new_figure
from mlsuperb.analysis.confusion import NONE, NUM_LANGUAGES, confusions
from mlsuperb.analysis.curves import language_weights, training_curves
from mlsuperb.analysis.languages import dataset_ranges, language_bars, language_scores
from mlsuperb.types import TaskFacts

ROWS = [  # language, dataset, named, errors, length
    ("eng", "a", "eng", 1, 10),
    ("eng", "b", "deu", 6, 10),
    ("deu", "a", "deu", 0, 20),
    ("deu", "a", "", 5, 20),
    ("nan", "a", "nan", 0, 0),
]
BOTH = TaskFacts(name="both", has_text=True, has_language=True)
TABLE = pd.DataFrame(ROWS, columns=["language", "dataset", "named", "errors", "length"])


def test_rates_are_pooled_by_label() -> None:
    found = {one.code: one for one in language_scores(TABLE, BOTH)}
    assert list(found) == ["deu", "eng", "nan"]
    assert found["eng"].rate == pytest.approx(35.0)
    assert found["eng"].datasets == {"a": 10.0, "b": 60.0}
    assert found["eng"].spread == 50.0
    assert found["deu"].lid_accuracy == 50.0
    assert found["deu"].spread is None
    assert found["nan"].rate is None
    assert {one.rate for one in language_scores(TABLE, replace(BOTH, has_text=False))} == {None}


def test_figures_of_languages_hold_every_language() -> None:
    scores = language_scores(TABLE, BOTH)
    chart = language_bars(scores, rate="CER %")
    assert chart.data["language"].tolist() == ["deu", "eng", "nan"]
    assert dataset_ranges(scores, rate="CER %").data["rate"].tolist() == [10.0, 60.0]
    assert dataset_ranges(scores[:1], rate="CER %") is None
    assert "<svg" in chart.svg()


def test_confusions_are_counted() -> None:
    found = confusions(TABLE)
    pairs = [tuple(row) for row in found.pairs[["language", "named", "num", "share"]].to_numpy().tolist()]
    assert pairs == [("deu", NONE, 1, 50.0), ("eng", "deu", 1, 50.0)]
    assert found.num_pairs == 2
    assert found.chart.data["num"].sum() == len(TABLE)


def test_of_many_languages_the_most_confused_are_drawn() -> None:
    codes = [f"l{number:02d}" for number in range(60)]
    rows = pd.DataFrame({"language": codes * 2, "named": codes + ["l59"] * 60})
    found = confusions(rows)
    assert found.num_shown == NUM_LANGUAGES
    assert "24 of 60 languages" in found.chart.note
    assert found.num_pairs == 59
    assert len(found.pairs) == 30
    assert found.chart.data["language"].nunique() == 60


def test_a_figure_twice_is_the_same_and_has_no_formulas(tmp_path: Path) -> None:
    history = [{"epoch": number, "train_loss": 3.0, "valid_loss": 4.0} for number in (1, 2)]
    chart = training_curves({"a": history, r"b$\frac{$": history})[0]
    assert r"b$\frac{$" in chart.svg()
    assert chart.svg() == chart.svg()
    first, second = ([path.read_bytes() for path in chart.save(tmp_path)] for _ in range(2))
    assert len(first) == 3
    assert first == second
    assert chart.svg().startswith('<svg role="img" aria-label="Loss by epoch"')


def test_curves_of_runs_share_a_figure() -> None:
    history = [{"epoch": 1, "train_loss": 3.0, "valid_loss": 4.0, "valid_token_error_rate": 0.9}]
    charts = training_curves({"a": history, "b$": history, "none": []})
    assert [chart.name for chart in charts] == ["curve_losses", "curve_valid_token_error_rate"]
    assert set(charts[0].data["run"]) == {"a", "b$"}
    assert len(charts[0].data) == 4
    assert charts[1].data["value"].tolist() == [90.0, 90.0]  # in %, as all error rates
    assert training_curves({"a": []}) == []


def test_a_run_keeps_its_colour_and_its_name_where_it_is_alone() -> None:
    loss = {"epoch": 1, "train_loss": 3.0, "valid_loss": 4.0}
    charts = training_curves({"a": [loss], "b": [loss | {"valid_lid_error_rate": 0.5}]})
    alone = charts[1].figure
    assert [text.get_text() for text in alone.legends[0].get_texts()] == ["b"]
    assert alone.axes[0].lines[0].get_color() == charts[0].figure.axes[0].lines[-1].get_color()


def test_weights_of_languages_have_a_figure_for_each_run() -> None:
    history = [
        {"epoch": epoch, "valid_loss": 4.0, "dro_weights/deu": 0.5 + epoch / 10, "dro_weights/swa": 0.5 - epoch / 10}
        for epoch in (1, 2)
    ]
    (chart,) = language_weights({"a": history})
    assert (chart.name, chart.title) == ("curve_language_weights", "Weights of the languages by epoch")
    assert chart.data.set_index(["language", "epoch"])["weight"].to_dict() == {
        ("deu", 1): 0.6, ("swa", 1): 0.4, ("deu", 2): 0.7, ("swa", 2): 0.3
    }  # fmt: skip
    assert [text.get_text() for text in chart.figure.legends[0].get_texts()] == ["deu", "swa"], "the largest first"
    assert "1 / 2, where" in chart.note
    assert "Grey" not in chart.note
    both = language_weights({"a": history, "plain": [{"epoch": 1, "valid_loss": 4.0}], "b": history})
    assert [one.title.rpartition(", ")[2] for one in both] == ["a", "b"]
    assert len({one.name for one in both}) == 2
    assert language_weights({"plain": [{"epoch": 1, "valid_loss": 4.0}]}) == []


def test_of_many_languages_those_farthest_from_where_they_began_have_a_colour() -> None:
    weights = {f"dro_weights/l{n:02}": (1 + (n >= 20)) / 26 for n in range(23)}
    (chart,) = language_weights({"a": [{"epoch": 1, **weights}]})
    named = [text.get_text() for text in chart.figure.legends[0].get_texts()]
    assert named[:3] == ["l20", "l21", "l22"]
    assert len(named) == 8
    assert "Grey: 15 that" in chart.note


def test_numbers_in_a_heat_map_stand_out() -> None:
    values_RC = np.array([[0.0, 100.0, np.nan]])
    texts = {(0, 0): "0", (0, 1): "100", (0, 2): "not measured"}
    for colour_map, expected in (("Blues", ["black", "white"]), ("viridis", ["white", "black"])):
        _, (axis,) = new_figure()
        image = heat_map(axis, values_RC, rows=["a"], colour_map=colour_map, highest=100, texts=texts)
        assert [text.get_color() for text in axis.texts][:2] == expected
        assert axis.texts[2].get_text() == "not measured"
        assert image.get_clim() == (0, 100)
