"""A listener in a real browser: from the name to the file of ratings."""

from __future__ import annotations

from pathlib import Path

from fake_judge import write_system

from mlsuperb.analysis.listening.page import listening_test
from mlsuperb.analysis.listening.scores import read_ratings


def test_a_listener_rates_and_downloads(browser, tmp_path: Path, screenshots: Path) -> None:
    folders = {name: write_system(tmp_path / name, level=0.1) for name in ("one", "two")}
    html, key = listening_test(folders, num=2, seed=0)
    path = tmp_path / "page.html"
    path.write_text(html, encoding="utf-8")
    context = browser.new_context(viewport={"width": 390, "height": 800}, accept_downloads=True)
    page, requests, messages = context.new_page(), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(path.as_uri())
    page.get_by_label("Your name").fill('Ann "B", 3')
    page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.querySelector('fieldset').disabled"), "a sample is heard before it is rated"
    for place in range(4):
        page.evaluate("document.activeElement.blur(); document.querySelector('audio').muted = true")
        page.keyboard.press("Space")
        # not wait_for_function: it polls by eval, which the page's content security policy forbids
        page.locator("fieldset:enabled").wait_for()
        page.keyboard.press(str(5 - place))
        page.screenshot(path=screenshots / f"listening-{place}.png")
        page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert page.get_by_label("4 Good").count() == 1
    assert page.get_by_label("3 Fair").is_checked(), "the rating of the third sample is still there"
    assert page.locator("#end").is_visible()
    assert "4 rated" in page.locator("#place").inner_text()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download ratings").click()
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    assert saved.name == "ratings-Ann_B_3.csv"
    ratings = read_ratings([saved], key)
    assert sorted(ratings["rating"]) == [2, 3, 4, 5]
    assert set(ratings["listener"]) == {'Ann "B", 3'}
    assert set(zip(ratings["system"], ratings["utterance"], strict=True)) == {
        (one["system"], one["utterance"]) for one in key["samples"].values()
    }
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    assert messages == []
    context.close()


def test_orders_differ_between_listeners(browser, tmp_path: Path) -> None:
    names = [f"utt{number}" for number in range(6)]
    folders = {name: write_system(tmp_path / name, names=names) for name in ("one", "two")}
    path = tmp_path / "page.html"
    path.write_text(listening_test(folders, num=6, seed=0)[0], encoding="utf-8")
    first = []
    for _ in range(8):
        context = browser.new_context()
        page = context.new_page()
        page.goto(path.as_uri())
        page.get_by_label("Your name").fill("Ann")
        page.get_by_role("button", name="Begin").click()
        first.append(page.evaluate("document.querySelector('audio').src"))
        context.close()
    assert len(set(first)) > 1, "twelve samples, six sounds: all eight alike once in 280,000 times"
