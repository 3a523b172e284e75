"""docs/performance.md is what the results in docs/performance/ say, and no figure stands there without one."""

from __future__ import annotations

import json
import re
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from script_module import SCRIPTS, script_module

RESULTS = sorted((SCRIPTS.parent / "docs" / "performance").rglob("*.json"))
# a number and what it counts, as measurements have it
FIGURE = re.compile(r"\b\d[\d.,]*(e-?\d+)?( (s|ms|h|x|GB|MB|kB|times|seconds|GFLOP/s|frames / s)\b| ?%)")
CODE = re.compile(r"`[^`]*`|{{.*?}}|{%.*?%}")


@pytest.fixture(scope="module")
def performance() -> Iterator[ModuleType]:
    with script_module("performance") as module:
        yield module


def test_the_committed_page_is_what_the_results_say(performance: ModuleType) -> None:
    assert performance.page() == performance.PAGE.read_text(encoding="utf-8"), "run python scripts/performance.py"


def test_the_tutorial_of_a_row_has_the_hours_of_the_page(performance: ModuleType) -> None:
    found = json.loads((performance.RESULTS / "frozen_run_fp32.json").read_text(encoding="utf-8"))
    hours = performance.row_hours(found)
    assert hours["mono"] == pytest.approx(15_000 * 8 * 300 / 170_779 * hours_per_audio_hour(found), rel=0.05), (
        "little beside the steps"
    )
    tutorial = " ".join((SCRIPTS.parent / "docs/tutorials/leaderboard_row.md").read_text(encoding="utf-8").split())
    assert f"a row of 10min takes {hours['row_10min']:.0f} hours, one of 1h {hours['row_1h']:.0f}" in tutorial


def hours_per_audio_hour(found: dict[str, Any]) -> float:
    """Of training steps, which hold 24 s each."""
    return found["figures"]["ours"]["step_s"][0] / 24


def test_no_figure_is_typed_into_the_page(performance: ModuleType) -> None:
    text = CODE.sub("", performance.TEMPLATE.read_text(encoding="utf-8"))
    assert FIGURE.search("takes 3.5 ms of it")
    assert FIGURE.search("in 40 %")
    assert [found.group() for found in FIGURE.finditer(text)] == [], "a figure needs a result file (docs/performance/)"


def test_what_has_no_result_is_named_as_not_measured(performance: ModuleType, tmp_path: Path) -> None:
    text = performance.page(tmp_path)
    assert not re.search(r"^\|", text, re.MULTILINE)
    assert not FIGURE.search(CODE.sub("", text))
    assert text.count("Not measured yet") > 20


@pytest.mark.parametrize("file", RESULTS, ids=[path.stem for path in RESULTS])
def test_results_say_where_they_are_from(file: Path, performance: ModuleType) -> None:
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found.keys() >= performance.NEEDED
    assert (SCRIPTS.parent / found["command"].split()[0]).is_file()
    assert all(len(row) == len(table["columns"]) for table in found["tables"] for row in table["rows"])
    paths = re.findall(r"(?<![\w.])/(?:work|home|root|tmp|Users)\b[\w./-]*", file.read_text(encoding="utf-8"))
    assert paths == [], "a path of someone's machine"


def saved(path: Path, monkeypatch: pytest.MonkeyPatch, *words: str, device: str) -> Path:
    """A result as a measurement writes it."""
    from scripts.bench import harness

    monkeypatch.setattr(harness.Table, "shown", [])
    monkeypatch.setattr(sys, "argv", [str(SCRIPTS / "bench" / "scoring.py"), *words, "--json", str(path)])
    harness.Table("side", "s").row("ours", "1.5")
    harness.save(Namespace(json=path, device=device), {"ours": 1.5})
    return path


def test_a_result_is_taken_and_shown(performance: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "results"
    monkeypatch.setattr(performance, "RESULTS", results)
    words = ("--phones", "/data/of mine/speech", "--rounds=3")
    file = saved(tmp_path / "scoring.json", monkeypatch, *words, device="cpu")
    assert performance.take(file) == [results / "scoring.json"]
    text = performance.page(results)
    assert "| ours | 1.5 |" in text
    assert "--rounds=3" in text
    assert "/data" not in text
    saved(tmp_path / "gpu" / "decoding.json", monkeypatch, device="cuda")
    assert performance.take(tmp_path / "gpu") == [results / "gpu" / "decoding.json"]
    assert "### decoding" in performance.page(results)


def test_what_is_no_result_is_refused(performance: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no \.json file"):
        performance.take(tmp_path)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(SystemExit, match="no result of a measurement, it lacks command"):
        performance.take(tmp_path / "other.json")
    heavy = dict.fromkeys(performance.NEEDED, "") | {"tables": [], "versions": {}, "figures": ["x" * 80_000]}
    (tmp_path / "other.json").write_text(json.dumps(heavy))
    with pytest.raises(SystemExit, match="at most 64"):
        performance.take(tmp_path / "other.json")


def test_a_result_that_no_section_shows_is_named(performance: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "unheard_of.json").write_text("{}")
    with pytest.raises(SystemExit, match="does not show unheard_of"):
        performance.page(tmp_path)
