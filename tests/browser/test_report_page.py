from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fake_runs import make_run

from mlsuperb.analysis.report.page import write_report
from mlsuperb.runs.store import find
from mlsuperb.scoring.result import BenchmarkResult

WIDTHS = (1280, 390)
PICTURE_HEIGHT = 3000


@dataclass
class Opened:
    """A page, and what it did on its own."""

    page: Any
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    runs = [
        make_run(folder / "a"),
        make_run(folder / "b", noise=0.1, seed=1, setting="lora"),
        make_run(folder / "c", noise=0.3, seed=2, setting="full"),
    ]
    results = find(runs, BenchmarkResult).runs
    one = write_report({runs[0]: results[runs[0]]})
    return {"one": one, "three": write_report(results, out=folder / "three" / "report.html")}


@pytest.fixture
def opened(browser, reports) -> Iterator[Callable[..., Opened]]:
    contexts = []

    def open_report(name: str, *, width: int = 1280, scheme: str = "light") -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        found = Opened(context.new_page())
        found.page.on("console", lambda message: found.messages.append(f"{message.type}: {message.text}"))
        found.page.on("pageerror", lambda error: found.messages.append(str(error)))
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.goto(reports[name].as_uri())
        return found

    yield open_report
    for context in contexts:
        context.close()


def column(page: Any, name: str, place: int) -> list[str]:
    cells = page.locator(f"#table-{name} tbody tr:not([hidden])").all()
    return [cell.locator("th, td").nth(place).locator("bdi").first.inner_text() for cell in cells]


def take_pictures(page: Any, path: Path) -> None:
    """`path`-1.png and so on, each of a part of the page: Chromium cannot always capture one picture of 20,000 pixels."""
    page.set_viewport_size({"width": page.viewport_size["width"], "height": PICTURE_HEIGHT})
    height = page.evaluate("document.documentElement.scrollHeight")
    for number, top in enumerate(range(0, height, PICTURE_HEIGHT), start=1):
        page.evaluate("(top) => window.scrollTo(0, top)", top)
        page.screenshot(path=path.with_name(f"{path.name}-{number}.png"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["one", "three"])
def test_a_page_fits_and_asks_the_network_for_nothing(opened, reports, screenshots, name, width, scheme) -> None:
    found = opened(name, width=width, scheme=scheme)
    page = found.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    take_pictures(page, screenshots / f"{name}-{width}-{scheme}")
    outside = [url for url in found.requests if not url.startswith("data:")]
    assert outside == [reports[name].as_uri()]
    assert found.messages == []


def test_the_policy_forbids_the_network(opened) -> None:
    page = opened("one").page
    answer = page.evaluate("fetch('https://example.org/').then(() => 'sent', (error) => String(error))")
    assert "TypeError" in answer
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img id=x src=https://example.org/x.png>')")
    blocked = (
        "new Promise((done) => { const x = document.getElementById('x'); x.onerror = () => done(true); x.src += '?'; })"
    )
    assert page.evaluate(blocked)
    page.evaluate("const s = document.createElement('script'); s.text = 'window.hacked = 1'; document.body.append(s);")
    assert page.evaluate("window.hacked") is None


def test_languages_sort_by_button_and_keyboard(opened) -> None:
    page = opened("one").page
    head = page.locator("#table-languages thead th")
    rates = [float(text) for text in column(page, "languages", 1)]
    assert len(rates) == 30
    button = head.nth(1).get_by_role("button")
    button.click()
    assert head.nth(1).get_attribute("aria-sort") == "descending"
    assert [float(text) for text in column(page, "languages", 1)] == sorted(rates, reverse=True)
    button.focus()
    page.keyboard.press("Enter")
    assert head.nth(1).get_attribute("aria-sort") == "ascending"
    assert [float(text) for text in column(page, "languages", 1)] == sorted(rates)
    head.nth(0).get_by_role("button").click()
    codes = column(page, "languages", 0)
    assert codes == sorted(codes)
    assert head.nth(1).get_attribute("aria-sort") is None


def test_languages_are_filtered(opened) -> None:
    page = opened("three").page
    box = page.locator("#filter-languages")
    box.fill("min nan")
    assert column(page, "languages", 0) == ["nan"]
    assert page.locator("#filter-languages ~ .shown").inner_text() == "1 of 30 languages"
    box.fill("")
    assert len(column(page, "languages", 0)) == 30


def test_audio_plays(opened) -> None:
    page = opened("one").page
    embedded = "new Set([...document.querySelectorAll('audio')].map((one) => one.src)).size"
    assert page.evaluate(embedded) == 20
    played = page.evaluate(
        "async () => { const [a, b] = document.querySelectorAll('audio'); a.muted = b.muted = true; await a.play();"
        " await b.play(); return [a.paused, b.paused, b.readyState, b.duration, b.error]; }"
    )
    assert played[0] is True, "only one plays at a time"
    assert played[1] is False or played[3] < 1
    assert played[2] >= 2
    assert played[3] > 0.5
    assert played[4] is None


def test_utterances_are_found(opened) -> None:
    page = opened("one").page
    items = page.locator(".browser ol > li")
    assert items.count() == 20
    page.get_by_label("Sorted by").select_option("best")
    rates = [int(text.split()[0]) for text in page.locator(".browser .head strong").all_inner_texts()]
    assert rates == sorted(rates)
    page.locator("#browser-words").fill("wind")
    page.locator(".browser .shown", has_text=" of 120 utterances").wait_for()
    assert 0 < items.count() < 20
    page.locator("#browser-words").fill("")
    page.get_by_role("button", name="Show 20 more").click()
    assert items.count() == 40
    first = "document.activeElement === document.querySelectorAll('.browser ol > li')[20]"
    assert page.evaluate(first), "whoever uses the keyboard goes on with the first of the new ones"


def test_long_tables_are_folded_and_print_in_full(opened) -> None:
    page = opened("one").page
    rows = page.locator("#table-languages tbody tr")
    assert sum(row.is_visible() for row in rows.all()) == 15
    page.get_by_role("button", name="Show all 30 languages").click()
    assert sum(row.is_visible() for row in rows.all()) == 30
    page.get_by_role("button", name="Show fewer").click()
    page.emulate_media(media="print")
    assert sum(row.is_visible() for row in rows.all()) == 30


def test_the_contents_say_where_one_is(opened) -> None:
    page = opened("one").page
    page.locator("#training").scroll_into_view_if_needed()
    page.evaluate("document.querySelector('#training').scrollIntoView()")
    page.locator("nav a[aria-current]", has_text="Training").wait_for()
    assert page.locator("nav a[aria-current]").count() == 1


def test_runs_are_compared_with_any_of_them(opened) -> None:
    page = opened("three").page
    page.get_by_label("Compare with").first.select_option(label="lora-s1")
    assert page.locator("#title-differences-2").is_visible()
    assert not page.locator("#title-differences").is_visible()
    assert page.locator("#table-languages-2").is_visible()


def test_scripts_are_shown_properly(opened) -> None:
    page = opened("one").page
    for code, direction in (("heb", "rtl"), ("hin", "ltr")):
        lines = page.locator(f"li:has-text('_{code}_') .words")
        for line in lines.all():
            assert line.get_attribute("dir") == direction
    split = page.evaluate(
        r"[...document.querySelectorAll('.word:not(.joined) b')].filter((one) => /^\p{M}/u.test(one.textContent)).length"
    )
    marks = page.evaluate(r"/\p{M}/u.test(document.querySelector('#utterances').textContent)")
    assert marks
    assert split <= 5, "a mark stands alone only where the model wrote it alone"


def test_the_keyboard_finds_the_way(opened) -> None:
    page = opened("one").page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.wait_for_url("**/report.html#main")  # page.url follows the browser a moment later
    controls = "[...document.querySelectorAll('button, input, audio')]"
    unnamed = ".filter((one) => !one.textContent && !one.ariaLabel && !one.labels?.length).length"
    assert page.evaluate(controls + unnamed) == 0
    links = page.evaluate("[...document.querySelectorAll('nav a')].every((one) => document.querySelector(one.hash))")
    assert links
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))
