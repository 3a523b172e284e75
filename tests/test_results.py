"""docs/results.md is what the packed results say, and its intervals are those of the scoring package."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from types import ModuleType

import pytest
from script_module import script_module


@pytest.fixture(scope="module")
def results() -> Iterator[ModuleType]:
    with script_module("results") as module:
        yield module


@pytest.fixture(scope="module")
def page(results: ModuleType) -> str:
    with results.unpacked() as runs:
        return str(results.page(runs))


def test_the_committed_page_is_what_the_packed_results_say(results: ModuleType, page: str) -> None:
    readme = results.README.read_text(encoding="utf-8")
    assert page == results.PAGE.read_text(encoding="utf-8"), "run python scripts/results.py"
    with results.unpacked() as runs:
        assert results.with_summary(readme, runs) == readme, "run python scripts/results.py"
        pooled = [run for run in runs if run.facts["upstream"] == "mhubert_tiny" and "_1h-" in run.folder.name]
        each = [run.result.protocols.sections["v1"].metrics["test"]["all_cer"].value for run in pooled]
        table = next(one for one in results.tables() if one.title == "Upstreams, 1h")
        row = next(cells for cells in results.cells_of(table, runs) if cells[0] == "mhubert_tiny")
    assert float(row[2].split()[0]) == pytest.approx(mean(each), abs=0.051)  # the same references for every seed
    assert row[1] == str(len(each))


def test_the_page_says_which_seeds_it_has_and_which_tables_it_lacks(results: ModuleType, page: str) -> None:
    with results.unpacked() as runs:
        some = results.page([run for run in runs if run.facts["upstream"] != "whisper_base"])
        seeds = ",".join(map(str, sorted({run.result.seed for run in runs})))
    assert f"--seeds {seeds}\n" in page
    titles = [*(table.title for table in results.tables()), results.TRANSFER]
    for title in titles:
        assert (f"\n## {title}\n" in page) != (
            f'"{title}"' in page.partition("no packed runs yet: ")[2].partition("\n")[0]
        ), title
    assert '"Layers"' in some.partition("no packed runs yet: ")[2].partition("\n")[0]
    assert not re.search(r"^## .*\n\n(#|!\[|\Z)", page, re.MULTILINE), "a heading without a word"


def test_a_table_of_one_system_is_left_out(results: ModuleType) -> None:
    with results.unpacked() as runs:
        alone = [run for run in runs if run.facts["upstream"] == "fbank"]
    assert alone
    assert all(results.cells_of(table, alone) == [] for table in results.tables())


def test_runs_that_are_not_packed_do_not_overwrite_the_page(
    results: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = results.PAGE.read_bytes(), results.README.read_bytes()
    with pytest.raises(SystemExit):
        results.main([str(tmp_path)])
    assert "give --out FILE for the page of other runs" in capsys.readouterr().err
    assert before == (results.PAGE.read_bytes(), results.README.read_bytes())
