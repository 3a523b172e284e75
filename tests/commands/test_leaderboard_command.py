"""`mlsuperb leaderboard`: folders in, text out."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from board_runs import run, whole_row

from mlsuperb.commands import leaderboard
from mlsuperb.scoring.boards.facts import FACTS
from mlsuperb.scoring.boards.formats import FORMATS
from mlsuperb.scoring.boards.superb_s import boards


def write(root: Path, results) -> Path:
    for place, result in results:
        folder = root / place
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(result))
    return root / "exp"


@pytest.fixture
def exp(tmp_path) -> Path:
    return write(tmp_path, whole_row())


def shown(capsys, *arguments: object) -> str:
    leaderboard.main([str(one) for one in arguments])
    return capsys.readouterr().out


def test_the_table_on_a_terminal(exp, capsys) -> None:
    text = shown(capsys, exp)
    assert "ML-SUPERB 1.0, board of 2024: 10min" in text
    assert "mHuBERT-147, 3rd iteration" in text
    assert "ours (official)" in text


def test_without_runs_the_published_rows(capsys) -> None:
    text = shown(capsys, "--size", "1h", "--board", "2023")
    assert "XLSR-128" in text
    assert "996.0" in text
    assert "published, unverified" in text


def test_runs_that_have_no_result_and_evaluations_are_listed(exp, capsys) -> None:
    for name, status in {
        "a": {"state": "running", "iteration": 1000, "num_iterations": 15000},
        "b": {"state": "failed", "error": "ValueError: no\n  1. really"},
    }.items():
        (exp / name).mkdir()
        (exp / name / "status.json").write_text(json.dumps(status))
    write(exp.parent, [("exp/hubert_base-s0-lid/evaluations/x", run("lid", metrics={}))])
    (exp / "c").mkdir()
    (exp / "c" / "result.json").write_text("{}")
    text = shown(capsys, exp)
    assert "a: not finished after 1,000 of 15,000 iterations" in text
    assert "b: failed: ValueError: no ... (run.log has it all)" in text
    assert "evaluations/x: an evaluation of a trained run" in text
    assert "schema_version is None" in text
    assert "ours (official)" in text


def test_a_result_from_before_the_benchmark_was_recorded_is_read(exp, capsys) -> None:
    path = exp / "hubert_base-s0-lid" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"benchmark": None}))
    text = shown(capsys, exp)
    assert "no lid run" in text
    assert "its result has no benchmark" in text


def test_csv_has_numbers_of_their_own_and_every_row(exp, capsys) -> None:
    rows = list(csv.DictReader(io.StringIO(shown(capsys, exp, "--format", "csv"))))
    assert len(rows) == 1 + 10
    (ours,) = [row for row in rows if row["row"].startswith("ours")]
    assert (ours["multi_cer"], ours["multi_cer_difference"], ours["board"]) == ("40.0000", "0.2000", "2024")


def test_csv_tells_synthetic_rows(tmp_path, capsys) -> None:
    exp = write(tmp_path, whole_row(synthetic=True))
    rows = list(csv.DictReader(io.StringIO(shown(capsys, exp, "--format", "csv"))))
    assert {row["row"]: row["synthetic"] for row in rows} == {"published": "no", "ours": "yes"}


def test_markdown_marks_our_rows_and_escapes(tmp_path, capsys) -> None:
    exp = write(tmp_path, whole_row(upstream="a|b_*c"))
    text = shown(capsys, exp, "--format", "md")
    assert r"**a\|b_\*c**" in text
    header = next(line for line in text.splitlines() if "Mono CER" in line and line.startswith("|"))
    ours = next(line for line in text.splitlines() if "a\\|b" in line and line.startswith("|"))
    assert header.count("|") == ours.replace("\\|", "").count("|")


def test_brackets_on_the_terminal_are_text_and_no_markup(tmp_path, capsys) -> None:
    text = shown(capsys, write(tmp_path, whole_row(upstream="a[red]b")))
    assert "a[red]b" in text


def test_latex_is_escaped(tmp_path, capsys) -> None:
    exp = write(tmp_path, whole_row(upstream="a_b&c%"))
    text = shown(capsys, exp, "--format", "latex")
    assert r"\textbf{a\_b\&c\%}" in text
    assert r"Mono CER $\downarrow$" in text
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 1
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len({line.replace(r"\&", "").count("&") for line in body}) == 1, "as many cells in every row"


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.append(tag)
        assert not {"src", "href"} & dict(attrs).keys()
        if tag != "meta":
            self.tags.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.tags.pop() == tag


def test_html_is_one_well_formed_page_and_escaped(tmp_path, capsys) -> None:
    exp = write(tmp_path, whole_row(upstream="<script>alert(1)</script>", deviations={"x": ["<b>", "&"]}))
    text = shown(capsys, exp, "--format", "html")
    reader = _Reader()
    reader.feed(text)
    assert reader.tags == []
    assert reader.seen.count("script") == 1, "the page's own, which its policy names"
    assert "<script>alert" not in text
    assert "default-src 'none'" in text
    assert reader.seen.count("table") == 2


def cells_of(text: str, system: str) -> list[str]:
    """The opening tags and texts of a row's cells."""
    (row,) = (one for one in re.findall(r"<tr.*?</tr>", text, re.S) if f"<bdi>{system}</bdi>" in one)
    return re.findall(r"<t[hd] [^>]*>\s*<bdi>[^<]*", row)


def test_html_ranks_marks_the_best_and_sorts(exp, capsys) -> None:
    text = shown(capsys, exp, "--format", "html")
    first, ours = cells_of(text, "MMS-1B"), cells_of(text, "hubert_base")
    assert first[0].endswith("<bdi>1")
    assert ours[0].endswith("<bdi>10")
    best = [cell.rpartition(">")[2] for cell in first if " best" in cell or '"best' in cell]
    assert {"33.3", "21.3", "30.2", "983.5"} <= set(best)
    assert "84.8" not in best, "another system names more languages"
    assert text.count('class="bar"') == 11, "a bar a row, in the column that ranks"
    assert text.count('<div class="table" data-sortable') == 1
    assert len(re.findall(r'<tr class="ours">', text)) == 1
    assert text.index("<table") < text.index("SOTA: Mono CER"), "the table comes first"


def test_latex_has_a_label_and_the_best_in_bold(exp, capsys) -> None:
    text = shown(capsys, exp, "--format", "latex")
    assert r"\label{tab:ml-superb-1-0-board-of-2024-10min-1}" in text
    (best,) = (line for line in text.splitlines() if "MMS-1B &" in line)
    assert r"\textbf{33.3} & \textbf{21.3} & \textbf{30.2} & 84.8" in best
    (ours,) = (line for line in text.splitlines() if "hubert" in line)
    assert ours.count(r"\textbf") == 3, "its names"


def test_json_has_numbers(exp, capsys) -> None:
    text = shown(capsys, exp, "--json")
    found = json.loads(text)
    assert text == shown(capsys, exp, "--format", "json")
    (ours,) = [row for row in found["rows"] if row["row"].startswith("ours")]
    assert (ours["rank"], ours["multi_cer"], ours["multi_cer_difference"], ours["mono_cer_sd"]) == (10, 40.0, 0.2, None)
    assert found["title"] == "ML-SUPERB 1.0, board of 2024: 10min"
    assert len(found["rows"]) == 10 + 1


def test_a_file_is_written_in_the_format_asked_for(exp, tmp_path, capsys) -> None:
    text = shown(capsys, exp, "--format", "html", "--out", tmp_path / "board.html")
    assert "Written to" in text
    assert (tmp_path / "board.html").read_text().startswith("<!DOCTYPE html>")


def test_further_columns(exp, capsys) -> None:
    text = shown(capsys, exp, "--show", "params,memory,hours,macs,overlap", "--format", "md")
    headings = (
        "trained", "total", "peak memory", "hours of training, all runs", "multiply-accumulates for 1 s of audio",
        "test data seen in pre-training",
    )  # fmt: skip
    for heading in headings:
        assert f"| {heading} |" in text
    assert "| **4.70 M** | **99.00 M** | **7.2 GB** | **16.00** | **8.10 G** |" in text


def test_a_number_above_a_thousand_is_a_number(exp, capsys) -> None:
    path = next(exp.rglob("result.json"))
    result = json.loads(path.read_text())
    result["cost"]["train_wall_s"] = 3600.0 * 4000
    path.write_text(json.dumps(result))
    rows = json.loads(shown(capsys, exp, "--show", "hours", "--format", "json"))["rows"]
    (ours,) = [row for row in rows if row["row"].startswith("ours")]
    assert ours["hours of training, all runs"] > 4000


def test_the_check_exits_with_1_beyond_the_tolerance(exp, capsys) -> None:
    assert leaderboard.main([str(exp), "--check"]) == 1
    text = capsys.readouterr().out
    assert "Check against published rows: FAILED" in text
    assert "mono jpn: 42.80, published 20.6" in text
    assert "passed" in shown(capsys, exp, "--check", "--tolerance", "30")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--board", "2022"], "there is no board '2022'; choose one of 2024, 2023"),
        (["--board", "peft_study", "--size", "1h"], "board peft_study has no size 1h; it has 10min"),
        (["--show", "cost"], "--show has no cost; choose from params, memory, hours, macs, overlap"),
        (["nowhere"], "there is no folder nowhere"),
    ],
)
def test_mistakes_are_explained(arguments, message) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        leaderboard.main(arguments)


def test_the_help_names_every_board_format_and_fact(capsys) -> None:
    with pytest.raises(SystemExit):
        leaderboard.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert all(name in text for name in boards())
    assert f"{{{','.join(FORMATS)}}}" in text
    assert ",".join(FACTS) in text
