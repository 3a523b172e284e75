"""The page about labels and pre-training, on two real iterations of a corpus of seconds."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch.utils.tensorboard import SummaryWriter

sys.path.insert(0, str(Path(__file__).parents[1] / "pretraining"))
from pretraining_runs import labels_of, pretraining_of, run, speech_tree

from mlsuperb.analysis.chart import Chart
from mlsuperb.analysis.pretraining_curves import MOST_POINTS, by_update, logged
from mlsuperb.analysis.pretraining_table import in_order, pretraining_table
from mlsuperb.analysis.report.page import write_pretraining_report
from mlsuperb.pretraining.records import LabelsResult, PretrainingResult
from mlsuperb.runs import store
from mlsuperb.runs.result import Result
from mlsuperb.units.labels import Labels

SHORT = ("+data/preparation=mhubert_147", "data.preparation.min_s=2.6", "data.preparation.join_short=false")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Labels, training, labels of the trained model, training. Only the first training has logs, and it accumulates."""
    root = tmp_path_factory.mktemp("chain")
    tree, out = speech_tree(root / "tree"), root / "exp"
    logs = (
        "trainer.trackers=[tensorboard]",
        "trainer.log_every=1",
        "trainer.accumulate=2",
        "trainer.checkpoint_every=4",
    )
    first = run(labels_of(tree, out, *SHORT, "run_name=labels1"))
    second = run(pretraining_of(first, out, *logs, "run_name=iteration1"))
    model = ("upstream=pretrained", f"upstream.run={second}", "extraction.layer=1")
    third = run(labels_of(tree, out, *SHORT, *model, "run_name=labels2"))
    return [first, second, third, run(pretraining_of(third, out, "run_name=iteration2"))]


@pytest.fixture(scope="module")
def page(chain: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    return write_pretraining_report(results(reversed(chain)), out=path)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of figures take most of a report's time."""
    monkeypatch.setattr(Chart, "save", lambda chart, folder: [])


def results(folders: Any) -> dict[Path, Result]:
    return {folder: store.read(folder, LabelsResult, PretrainingResult) for folder in folders}


class Reader(HTMLParser):
    """The rows of each table by its id, the ids of sections, and the text outside style, script and figures."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.sections: list[str] = []
        self.text = ""
        self._cell = self._small = False
        markup = re.sub(r"<(style|script)>.*?</\1>", "", path.read_text(encoding="utf-8"), flags=re.S)
        self.feed(re.sub(r"<svg.*?</svg>", "", markup, flags=re.S))
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "section":
            self.sections.append(str(found["id"]))
        if tag == "table":
            self.rows = self.tables.setdefault(str(found["id"]).removeprefix("table-"), [])
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self._cell, self._small = self._cell or tag in ("td", "th"), self._small or tag == "small"

    def handle_endtag(self, tag: str) -> None:
        self._cell, self._small = self._cell and tag not in ("td", "th"), self._small and tag != "small"

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"
        if self._cell and not self._small:
            self.rows[-1][-1] += data.strip()

    def rows_of(self, table: str) -> list[dict[str, str]]:
        columns, *rows = self.tables[table]
        return [dict(zip(columns, row, strict=True)) for row in rows]


def test_iterations_stand_in_the_order_of_their_inputs(chain: list[Path], page: Path) -> None:
    assert list(in_order(results(reversed(chain)))) == chain
    found = Reader(page)
    assert "labels1, iteration1, labels2, iteration2" in found.text
    assert found.sections == ["summary", "training", "languages", "labels", "data", "use", "settings", "cost"]
    assert [row["run"] for row in found.rows_of("models")] == ["iteration1", "iteration2"]
    assert [row["features"] for row in found.rows_of("models")] == ["kaldi_mfcc", "iteration1"]
    assert [row["layer"] for row in found.rows_of("models")] == ["0", "1"]
    assert [row["run"] for row in found.rows_of("cost")] == ["labels1", "iteration1", "labels2", "iteration2"]


def test_the_figures_are_those_of_the_results(chain: list[Path], page: Path) -> None:
    found = Reader(page)
    for folder, row in zip((chain[1], chain[3]), found.rows_of("models"), strict=True):
        result = json.loads((folder / "result.json").read_text())
        scores = result["scores"]["all"]
        assert row["loss (bits) ↓"] == f"{math.log2(math.exp(scores['loss'])):.3f}"
        assert row["masked acc. % ↑"] == f"{100 * scores['masked_accuracy']:.1f}"
        assert row["unmasked acc. % ↑"] == f"{100 * scores['unmasked_accuracy']:.1f}"
        assert (row["perplexity"], row["of the labels"]) == tuple(
            f"{scores[name]:.1f}" for name in ("code_perplexity", "label_perplexity")
        )
        assert (row["units"], row["model"]) == ("8", "hubert_new")
    assert [row["updates"] for row in found.rows_of("models")] == ["4", "8"]  # the first accumulates two iterations
    last = json.loads((chain[3] / "result.json").read_text())["scores"]["all"]
    assert f"Loss {math.log2(math.exp(last['loss'])):.3f} bits Per masked validation frame" in found.text
    assert f"{math.log2(last['label_perplexity']):.2f} bits by the frequencies of the units alone" in found.text
    assert "These are the figures of iteration2, the last model." in found.text


def test_languages_have_their_loss_highest_first_and_their_hours(chain: list[Path], page: Path) -> None:
    scores = json.loads((chain[1] / "result.json").read_text())["scores"]["languages"]
    rows = Reader(page).rows_of("languages1")
    by_loss = sorted(scores, key=lambda code: -scores[code]["loss"])
    assert [row["language"] for row in rows] == by_loss
    assert [row["loss (bits)"] for row in rows] == [f"{scores[code]['loss'] / math.log(2):.3f}" for code in by_loss]
    manifest = Labels(chain[0] / "labels").manifest
    for row in rows:
        seconds = manifest[(manifest["language"] == row["language"]) & (manifest["split"] == "train")]["duration_s"]
        assert row["hours"] == f"{seconds.sum() / 3600:.2f}"


def test_labels_data_and_cost_are_told(chain: list[Path], page: Path) -> None:
    found = Reader(page)
    for folder, row in zip((chain[0], chain[2]), found.rows_of("labels"), strict=True):
        units = json.loads((folder / "result.json").read_text())["units"]
        assert row["units in use"] == f"{units['active']} of 8"
        assert row["segment ms"] == f"{1000 * units['mean_segment_s']:.0f}"
        assert row["perplexity"] == f"{units['perplexity']:.1f}"
        assert row["bits/s"] == f"{units['bitrate']:.0f}"
    hours = found.rows_of("hours1")
    assert {(row["language"], row["dataset"]) for row in hours} == {("deu", "a"), ("deu", "b"), ("swa", "a")}
    assert [row["utterances"] for row in hours] == ["4", "4", "4"]  # three of train, one of dev
    assert "hours2" not in found.tables  # the same speech
    (skipped,) = found.rows_of("skipped")
    assert skipped["reason"] == "not longer than preparation.min_s, not joined"
    assert (skipped["number"], skipped["hours lost"]) == ("3", "0.00")
    assert f"upstream=pretrained upstream.run={chain[3]}" in found.text
    assert f'AutoModel.from_pretrained("{chain[3] / "huggingface"}")' in found.text
    assert f"job=pretrain targets.run={chain[0]}" in found.text
    assert "prediction.temperature 0.1" in found.text


def test_curves_of_iterations_share_a_figure(chain: list[Path], page: Path) -> None:
    figures = page.parent / "figures"
    losses, accuracies = (pd.read_csv(figures / f"curve_{name}.csv") for name in ("losses", "unmasked_accuracy"))
    assert list(losses["run"].unique()) == ["iteration1", "iteration2"]
    for name, folder in (("iteration1", chain[1]), ("iteration2", chain[3])):
        history = json.loads((folder / "result.json").read_text())["training"]["history"]
        for measure, figure in (("train_loss", "train_prediction_loss"), ("valid_loss", "valid_loss")):
            values = losses[(losses["run"] == name) & (losses["measure"] == measure)]["value"]
            assert values.tolist() == pytest.approx([entry[figure] / math.log(2) for entry in history])
        part = accuracies[(accuracies["run"] == name) & (accuracies["measure"] == "valid_unmasked_accuracy")]
        assert part["value"].tolist() == pytest.approx([100 * entry["valid_unmasked_accuracy"] for entry in history])
    assert (figures / "curve_valid_code_perplexity.svg").is_file()
    svg = (figures / "curve_losses_by_update.svg").read_text(encoding="utf-8")
    assert all(f">{name}<" in svg for name in ("iteration1", "iteration2", "training", "validation"))


def test_curves_by_update_are_those_that_were_logged(chain: list[Path], page: Path) -> None:
    figures = page.parent / "figures"
    losses = pd.read_csv(figures / "curve_losses_by_update.csv").set_index("run")
    first, second = losses.loc["iteration1"], losses.loc["iteration2"]
    trained = first[first["measure"] == "train_loss"]
    assert trained["update"].tolist() == [1, 2, 3, 4]
    history = json.loads((chain[1] / "result.json").read_text())["training"]["history"]
    mean = trained["value"].to_numpy().reshape(2, 2).mean(1)
    # both are weighted by masked frames, of updates and of iterations
    assert mean == pytest.approx([entry["train_prediction_loss"] / math.log(2) for entry in history], rel=0.1)
    assert first[first["measure"] == "valid_loss"]["update"].tolist() == [2, 4]
    assert set(second["measure"]) == {"valid_loss"}
    assert second["update"].tolist() == [4, 8]
    rates = pd.read_csv(figures / "curve_learning_rate_by_update.csv")["value"]
    assert rates.max() <= 5e-4
    assert rates.is_monotonic_decreasing
    assert (pd.read_csv(figures / "curve_gradient_norm_by_update.csv")["value"] > 0).all()
    text = Reader(page).text
    assert "No gradient norm, learning rate and loss between validations: iteration2." in text
    assert "No update was skipped." in text


def test_long_logs_are_thinned_but_keep_their_peaks_and_lose_what_a_killed_run_logged_twice(
    chain: list[Path], tmp_path: Path
) -> None:
    for start, stop, value in ((1, 900, 2.0), (801, 1601, 1.0)):  # killed at 900, started again from 800
        with SummaryWriter(str(tmp_path / "curves"), purge_step=start if start > 1 else None) as writer:
            for step in range(start, stop):
                writer.add_scalar("train/prediction_loss", value * math.log(2), step)
                writer.add_scalar("train/gradient_norm", 50.0 if step == 700 else 1.0, step)
                writer.add_scalar("train/masked_accuracy", 0.5, step)
    result = store.read(chain[3], PretrainingResult)
    found = logged(tmp_path, result)
    assert set(found["measure"]) == {"train_loss", "gradient_norm"}
    losses = found[found["measure"] == "train_loss"]
    assert len(losses) == MOST_POINTS
    assert losses["value"].tolist() == pytest.approx([2.0] * 200 + [1.0] * 200)
    assert np.diff(losses["update"]).tolist() == pytest.approx([4.0] * 399)
    norms = found[found["measure"] == "gradient_norm"].set_index("update")["value"]
    assert norms.max() == 50
    assert norms.idxmax() == pytest.approx(700, abs=4)
    assert norms.median() == 1
    assert logged(tmp_path / "none", result).empty
    assert [chart.name for chart in by_update({"a": (tmp_path / "none", result)})] == ["curve_losses_by_update"]


def test_a_training_shows_the_labels_that_it_took(chain: list[Path], tmp_path: Path, no_figures: None) -> None:
    path = write_pretraining_report(results([chain[1]]), out=tmp_path / "one.html")
    found = Reader(path)
    assert found.text.count(chain[1].name) > 2
    (row,) = found.rows_of("labels")
    assert row["units in use"].endswith("of 8")
    assert "are not where its training found them" not in found.text
    other = tmp_path / "other"
    shutil.copytree(chain[1], other)
    text = (other / "result.json").read_text()
    digest = json.loads(text)["inputs"]["targets"]["sha256"]
    (other / "result.json").write_text(text.replace(digest, "0" * 64))  # the labels were made anew since
    found = Reader(write_pretraining_report(results([other]), out=tmp_path / "two.html"))
    assert f"give the folder of {chain[0].name}, too" in found.text
    assert "No run of labels is here." in found.text
    assert all(row["hours"] == "n.a." for row in found.rows_of("languages1"))


def test_skipped_updates_are_a_warning(chain: list[Path], tmp_path: Path, no_figures: None) -> None:
    result = store.read(chain[1], PretrainingResult)
    skipping = result.model_copy(update={"training": {**result.training, "skipped_steps": 3}})
    text = Reader(write_pretraining_report({chain[1]: skipping}, out=tmp_path / "page.html")).text
    assert "3 of 4 updates were skipped, because the loss or its gradient was not finite." in text
    assert "No update was skipped" not in text


def test_labels_alone_have_a_page(chain: list[Path], tmp_path: Path, no_figures: None) -> None:
    found = Reader(write_pretraining_report(results([chain[0]]), out=tmp_path / "page.html"))
    assert found.sections == ["summary", "labels", "data", "use", "settings", "cost"]
    units = json.loads((chain[0] / "result.json").read_text())["units"]
    assert f"Segment {1000 * units['mean_segment_s']:.0f} ms" in found.text
    assert f"Units in use {units['active']} of 8" in found.text


def test_a_speed_that_was_not_measured_is_said(chain: list[Path]) -> None:
    result = store.read(chain[1], PretrainingResult)
    fast, unknown = result.cost | {"train_rtfx": 1234.5}, result.cost | {"train_rtfx": None}
    rows = pretraining_table(
        [(str(n), result.model_copy(update={"cost": one})) for n, one in enumerate((fast, unknown))]
    ).rows
    assert [row[-1] for row in rows] == ["1,234", "n.a."]
