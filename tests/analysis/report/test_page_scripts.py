"""The scripts of a page at work, in node with a document of our own (`small_dom.js`); `tests/browser` has a real browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fake_runs import make_run

from mlsuperb.analysis.chart import Chart
from mlsuperb.analysis.report.page import write_report
from mlsuperb.runs.store import find
from mlsuperb.scoring.result import BenchmarkResult

VOID = ("meta", "link", "input", "br", "hr", "img")
BROWSER = """
    const box = document.querySelector(".browser");
    const list = box.querySelector("ol");
    const more = box.querySelector("button.plain");
    const told = () => box.querySelector(".shown").textContent;
    const dirOf = (one) => one.querySelector(".words").getAttribute("dir");
    const options = box.querySelectorAll("[name=language] option");
    const valueOf = (text) => options.find((one) => one.textContent.startsWith(text)).value;
    const pick = (name, value) => {
      const one = box.querySelector(`[name=${name}]`);
      one.value = value;
      one.fire("input");
    };
"""
TABLE = """
    const box = document.querySelector("#table-languages").closest(".table");
    const button = box.querySelector("button.plain");
"""
pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")


class Tree(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.stack: list[list[Any]] = [["root", {}, []]]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node: list[Any] = [tag, {name: value or "" for name, value in attrs}, []]
        self.stack[-1][2].append(node)
        if tag not in VOID:
            self.stack.append(node)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID and tag in [node[0] for node in self.stack]:
            while self.stack.pop()[0] != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.stack[-1][2].append(data)


def opened(page: Path, *steps: str) -> list[Any]:
    """What the expressions `steps` give, one after the other, once the page's script has run."""
    tree = Tree()
    tree.feed(page.read_text(encoding="utf-8"))
    whole = tree.stack[0]
    script = next(_found(whole, "script"))[2][0]
    dom = Path(__file__).with_name("small_dom.js").read_text(encoding="utf-8")
    asked = ", ".join(f"(() => {{ {step} }})()" for step in steps)
    code = f"{dom}\nopen({json.dumps(whole)});\n{script}\nprocess.stdout.write(JSON.stringify([{asked}]));"
    done = subprocess.run(["node", "-"], input=code, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def _found(node: list[Any], tag: str):
    for one in node[2]:
        if not isinstance(one, str):
            if one[0] == tag:
                yield one
            yield from _found(one, tag)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("scripts")
    runs = [make_run(folder / name, seed=seed, setting=name, noise=0.1 + 0.1 * seed) for seed, name in enumerate("abc")]
    results = find(runs, BenchmarkResult).runs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chart, "save", lambda chart, folder: [])
        one = write_report({runs[0]: results[runs[0]]}, max_audio=6)
        return {"one": one, "three": write_report(results, out=folder / "three.html", max_audio=4)}


def test_utterances_are_listed_filtered_and_sorted(pages) -> None:
    first, rates, more, status, one, spoken, texts = opened(
        pages["one"],
        BROWSER + "return [box.hidden, list.children.length, told()];",
        BROWSER + "return list.children.map((one) => parseInt(one.querySelector('strong').textContent));",
        BROWSER + "more.fire('click'); return [list.children.length, Node_.focused === list.children[20]];",
        BROWSER + "pick('language', valueOf('ara')); return [list.children.length, told(), more.hidden];",
        BROWSER + "return [dirOf(list.children[0]), list.children[0].querySelectorAll('.joined').length > 0];",
        BROWSER + "pick('language', ''); return list.children.filter((one) => one.querySelector('audio')).length;",
        BROWSER + "return list.children[0].querySelectorAll('.caption').map((one) => one.textContent);",
    )
    assert first == [False, 20, "120 utterances, 20 shown"]
    assert rates == sorted(rates, reverse=True)
    assert more == [40, True], "the keyboard goes on where the new ones begin"
    assert status == [4, "4 of 120 utterances, 4 shown", True]
    assert one == ["rtl", True]
    assert spoken >= 1, "sound that is in the page can be played here, too"
    assert all(".wav, " in text for text in texts)


def test_long_tables_are_folded_and_found_in_full(pages) -> None:
    rows = "[...box.querySelector('tbody').rows].filter((one) => !one.hidden).length"
    before, after, found = opened(
        pages["one"],
        TABLE + "return [box.classList.contains('folded'), button.textContent, button.getAttribute('aria-expanded')];",
        TABLE + "button.fire('click'); return [box.classList.contains('folded'), button.textContent];",
        TABLE + "const input = box.querySelector('.filter input'); input.value = 'min nan'; input.fire('input');"
        f"return [{rows}, box.classList.contains('filtered'), box.querySelector('.shown').textContent];",
    )
    assert before == [True, "Show all 30 languages", "false"]
    assert after == [False, "Show fewer"]
    assert found == [1, True, "1 of 30 languages"]


def test_columns_sort_and_the_contents_say_where_one_is(pages) -> None:
    sort = "const head = document.querySelectorAll('#table-languages thead th')[1]; head.querySelector('button').fire('click');"
    rates, here, sound = opened(
        pages["one"],
        sort + "return [head.getAttribute('aria-sort'), [...document.querySelector('#table-languages tbody').rows]"
        ".map((row) => Number(row.cells[1].dataset.value))];",
        "document.querySelectorAll('section').forEach((one, place) => { one.top = 1000 * (place - 3); }); window.scrollY = 5;"
        "document.fire('scroll'); return document.querySelectorAll('nav a').filter((one) => one.hasAttribute('aria-current'))"
        ".map((one) => one.hash);",
        "return document.querySelectorAll('[data-sound]').length - document.querySelectorAll('.examples .caption').length <= 0;",
    )
    assert rates[0] == "descending"
    assert rates[1] == sorted(rates[1], reverse=True)
    assert len(rates[1]) == 30
    assert here == ["#languages"]
    assert sound


def test_another_run_can_be_compared_with(pages) -> None:
    shown = (
        "const shown = () => document.querySelectorAll('.choice .option').filter((one) => !one.hidden)"
        ".map((one) => one.getAttribute('data-option'));"
    )
    before, after, tables = opened(
        pages["three"],
        shown + "return shown();",
        shown + "const one = document.querySelectorAll('.choice select')[1]; one.value = '2'; one.fire('change');"
        "return [shown(), document.querySelectorAll('.choice select').map((one) => one.value)];",
        "return document.querySelectorAll('.choice h3').map((one) => one.textContent);",
    )
    assert before == ["0", "0", "0"]
    assert after == [["2", "2", "2"], ["2", "2", "2"]]
    assert [f"Differences to {name}, all utterances" in tables for name in ("a-s0", "b-s1", "c-s2")] == [True] * 3
    assert "a-s0 and c-s2 differ most" in tables
    assert "c-s2 and a-s0 differ most" in tables
