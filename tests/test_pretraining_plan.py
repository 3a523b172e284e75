"""The plan of training at corpus scale: the document has the table of the script, and its sums are right."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts import pretraining_plan as plan  # noqa: E402


def figure(what: str) -> str:
    (found,) = [line.split("|")[2].strip() for line in plan.table().splitlines() if line.startswith(f"| {what}")]
    return found


def test_the_document_has_the_table_of_now() -> None:
    document = plan.DOCUMENT.read_text(encoding="utf-8")
    assert plan.BEGIN in document
    assert plan.written(document) == document


def test_figures_are_those_of_the_reference() -> None:
    """WAV, labels and features of 90,430 h, H100 hours and passes, each reckoned by hand."""
    assert figure("audio as 16-bit WAV") == "10.4 TB"
    assert figure("labels of a layer") == "33 GB"
    assert figure("features of a layer").startswith("50.0 TB")
    assert figure("an iteration:").startswith("**1,600 H100 hours**, 50 h on 32")
    assert figure("passes over the corpus") == "34"


def test_every_measured_term_names_a_script_that_is_there() -> None:
    for known in plan.MEASURED.values():
        assert (ROOT / known.source.split()[0]).is_file()
    rows = [line for line in plan.table().splitlines() if not line.startswith(("| **", "| what", "|---"))]
    assert len(rows) > 15
    for row in rows:
        assert row.split("|")[3].strip().startswith(("measured here", "not measured", "arithmetic"))


def test_a_figure_that_was_measured_anew_changes_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plan.MEASURED, "flac", plan.Known(100.0, plan.SHARDS))
    assert figure("audio as FLAC") == "**9.0 TB**"
