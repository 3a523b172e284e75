"""Names from users and their data, in every format that has a syntax of its own."""

from __future__ import annotations

import io

import pandas as pd
import pytest
import yaml
from finished_runs import finished_run, result_of
from rich.console import Console

from mlsuperb.benchmark.card import model_card
from mlsuperb.commands import data
from mlsuperb.commands.compare import as_markdown, compare_runs
from mlsuperb.scoring import escaping
from mlsuperb.scoring.scored_run import show
from mlsuperb.scoring.table import Cells, tell

ODD = ("news [v1]", "[/x]", "studio[bold]1", ":cat:", "a\\", "\x1b[31mred\x1b]0;title\x07", "two\nlines")
SHOWN = ("news [v1]", "[/x]", "studio[bold]1", ":cat:", "a\\", "\\x1b[31mred\\x1b]0;title\\x07", "two\\nlines")


def printed(*things: object) -> str:
    file = io.StringIO()
    console = Console(file=file, width=200, force_terminal=True, color_system=None)
    for one in things:
        tell(console, one) if isinstance(one, str) else console.print(one)
    return file.getvalue()


def test_a_terminal_shows_names_as_they_are() -> None:
    cells = Cells(ODD[0], ("name", *ODD), tuple((name, *"1234567") for name in ODD), num_names=1)
    text = printed(cells.to_rich())
    assert all(text.count(name) >= 2 for name in SHOWN), text
    assert "\x1b]" not in text
    assert printed("[/x] :cat: \x1b[2J") == "[/x] :cat: \\x1b[2J\n"


def test_tables_of_a_corpus_show_names_as_they_are() -> None:
    cells = [{"language": "eng", "dataset": name, "minutes": 1.0} for name in ODD[:6]]
    assert all(name in printed(data._minutes(cells, split="[x]")) for name in (*SHOWN[:6], "minutes of [x]"))


def test_a_run_on_odd_datasets_is_shown(tmp_path, utterance) -> None:
    from mlsuperb.runs import store
    from mlsuperb.runs.hypotheses import write_hypotheses

    ones = [utterance("eng", "a b", "[eng] A\x1b[31m B", dataset=name, id=f"u{name}") for name in ODD[:6]]
    write_hypotheses(tmp_path / "hypotheses.jsonl", ones)
    store.write(tmp_path, result_of(ones, run_id="r[/x]"))
    file = io.StringIO()
    show(tmp_path, Console(file=file, width=200))
    assert all(name in file.getvalue() for name in SHOWN[:6])
    assert "\x1b" not in file.getvalue()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[x](javascript:alert(1))", r"\[x\](javascript:alert(1))"),
        ("<script>", r"\<script>"),
        ("a|b*c*`d", r"a\|b\*c\*\`d"),
        ("reserved_*", r"reserved_\*"),
        ("[x]: http://y", r"\[x\]: http://y"),
        ("-60.0 [-60.0, -60.0] *", "-60.0 [-60.0, -60.0] *"),
        ("news [v1]", "news [v1]"),
        ("two\nlines\x1b", r"two\\nlines\\x1b"),
        ("hubert_base-s0", "hubert_base-s0"),
    ],
)
def test_markdown_is_text(text: str, expected: str) -> None:
    assert escaping.markdown(text) == expected
    cells = Cells(text, ("name",), ((text,),), num_names=1)
    assert cells.to_markdown() == f"**{expected}**\n\n| name |\n| --- |\n| {expected} |\n"


def test_a_block_of_code_cannot_be_left() -> None:
    block = escaping.code_block("a\n````\n# title")
    assert block == "`````text\na\n````\n# title\n`````"


def test_latex_is_text() -> None:
    assert escaping.latex("a_b & 5 %\n\\input{x}") == r"a\_b \& 5 \%\textbackslash{}n\textbackslash{}input\{x\}"
    assert escaping.line("% a\n\\input{x}") == "% a\\n\\input{x}"


def test_cells_of_csv_are_no_formulas_and_come_back() -> None:
    names = ["=1+2", "+cmd|' /C calc'!A0", "-x", "@SUM(1)", "\tx", "-1.5", "+2e-3", "plain", "a=b"]
    frame = pd.DataFrame({"=name": names, "value": [-1.0] * len(names)})
    text = escaping.csv(frame)
    assert text.splitlines()[:2] == ["'=name,value", "'=1+2,-1.0"]
    found = pd.read_csv(io.StringIO(text))
    marked = list(found["'=name"])
    assert [one for one, name in zip(marked, names, strict=True) if one == name] == ["-1.5", "+2e-3", "plain", "a=b"]
    assert [escaping.from_csv(one) for one in marked] == names
    assert list(frame["=name"]) == names, "the table itself stays"


def test_cards_and_comparisons_are_text(tmp_path, utterance) -> None:
    evil = "x\n---\n# <img src=x> [a](http://b) `code`"
    ones = [utterance("eng", "a b", "[eng] A ```` B", dataset=evil, id="u```")]
    result = result_of(ones, run_id=evil, data={"name": evil, "splits": {"test": {"sha256": "a", "num_utterances": 1}}})
    card = model_card(result, run="run", training=result)
    head, body = card.removeprefix("---\n").split("\n---\n", 1)
    assert yaml.safe_load(head)["model-index"][0]["name"] == evil
    assert "\n---\n" not in body
    assert "<img" not in body.replace("\\<img", "")
    assert "[a]" not in body.replace("\\[a\\]", "")
    first, second = (
        finished_run(tmp_path / name, wrong=number, seed=number) for number, name in enumerate(("a[x]", "b"))
    )
    text = as_markdown(compare_runs(first, second))
    assert text.startswith("**Synthetic")
    assert "- A: a[x] (seed=0" in text
