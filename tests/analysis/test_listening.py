"""Blind listening tests: the page hides what it must, and scores are those worked by hand."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from fake_judge import TEXTS, tone, write_system

from mlsuperb.analysis.listening.page import LEVEL_DBFS, listening_test, sound
from mlsuperb.analysis.listening.scores import opinion_scores, read_key, read_ratings, score_remarks, score_table
from mlsuperb.commands.listen import main

SYSTEMS = ("secret_base", "secret_expanded")


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return {name: write_system(tmp_path / name, level=0.02 * (1 + number)) for number, name in enumerate(SYSTEMS)}


class Strict(HTMLParser):
    """Every tag that is opened is closed, in order."""

    empty = frozenset({"meta", "link", "input", "br", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in self.empty:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def data_of(html: str) -> dict[str, dict[str, str]]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html)
    assert found is not None
    data: dict[str, dict[str, str]] = json.loads(found[1])
    return data


def test_the_page_is_whole_and_names_nothing(folders: dict[str, Path]) -> None:
    html, key = listening_test(folders, num=3, seed=0)
    parser = Strict()
    parser.feed(html)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    assert not re.search(r"https?://|url\(|@import|src=\"(?!data:)", html)
    for hidden in (*SYSTEMS, *TEXTS, *map(str, folders.values())):
        assert hidden not in html
    data = data_of(html)
    assert list(data["sounds"]) == sorted(key["samples"]), "in an order that says nothing"
    assert data["page"] == key["page"]
    pairs = {(one["system"], one["utterance"]) for one in key["samples"].values()}
    assert len(pairs) == 6
    assert {system for system, _ in pairs} == set(SYSTEMS)
    for name in ("Excellent", "Good", "Fair", "Poor", "Bad"):
        assert html.count(f"</b> {name}</label>") == 1


def test_the_seed_chooses_utterances_and_names_are_new(folders: dict[str, Path]) -> None:
    keys = [listening_test(folders, num=2, seed=seed)[1] for seed in (1, 1, 2, 3, 4)]
    chosen = [{one["utterance"] for one in key["samples"].values()} for key in keys]
    assert chosen[0] == chosen[1]
    assert len({frozenset(one) for one in chosen}) > 1
    assert not set(keys[0]["samples"]) & set(keys[1]["samples"])
    assert keys[0]["page"] != keys[1]["page"]


def test_samples_are_lossless_and_of_one_level() -> None:
    for level in (0.002, 0.1):
        uri = sound(tone("utt1", level=level))
        wave_T, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(uri.removeprefix("data:audio/flac;base64,"))))
        assert (len(wave_T), rate_hz) == (6400, 16000)
        assert 20 * np.log10(np.sqrt(np.mean(wave_T**2))) == pytest.approx(LEVEL_DBFS, abs=0.05)
    click_T = np.zeros(16000, np.float32)
    click_T[0] = 0.5
    wave_T, _ = soundfile.read(io.BytesIO(base64.b64decode(sound(click_T).partition(",")[2])))
    assert wave_T.max() == pytest.approx(1, abs=1e-3), "peaks are not cut"


def test_what_makes_no_test_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give two or more as NAME=FOLDER"):
        listening_test({"one": tmp_path / SYSTEMS[0]}, num=1, seed=0)
    with pytest.raises(ValueError, match=r"4 utterances are in all systems .* give --num 4 or fewer"):
        listening_test(folders, num=5, seed=0)
    with pytest.raises(ValueError, match="there is no folder other="):
        listening_test({**folders, "other": tmp_path / "none"}, num=1, seed=0)
    with pytest.raises(ValueError, match="--num is 0"):
        listening_test(folders, num=0, seed=0)


KEY = {
    "page": "p1",
    "systems": ["a", "b", "c"],
    "samples": {f"s{system}{utt}": {"system": system, "utterance": utt} for system in "ab" for utt in "uv"},
}


def write_ratings(path: Path, listener: str, ratings: dict[str, object], *, page: str = "p1") -> Path:
    lines = [
        f'"{page}","{listener}","{place}","{name}","{value}"' for place, (name, value) in enumerate(ratings.items())
    ]
    path.write_text("\r\n".join(['"page","listener","place","sample","rating"', *lines]) + "\r\n", encoding="utf-8")
    return path


def test_scores_by_hand(tmp_path: Path) -> None:
    paths = [
        write_ratings(tmp_path / "one.csv", "Ann", {"sau": 5, "sav": 4, "sbu": 2, "sbv": 1}),
        write_ratings(tmp_path / "two.csv", "Bo", {"sau": 3, "sav": 4, "sbu": 2}),
    ]
    ratings = read_ratings(paths, KEY)
    first, second = opinion_scores(ratings, KEY["systems"])
    assert (first.system, first.mos.value, first.num_listeners, first.num_utterances) == ("a", 4, 2, 2)
    assert second.mos.value == pytest.approx(5 / 3)
    assert second.counts == {5: 0, 4: 0, 3: 0, 2: 2, 1: 1}
    assert first.mos.low <= 3.5 < 4.5 <= first.mos.high
    said = "\n".join(score_remarks(ratings, [first, second], KEY))
    assert "not all samples were rated: Bo 3 of 4" in said
    assert "not rated by anybody: c" in said
    assert score_table([first, second]).rows[0][:2] == ("a", f"4.00 [{first.mos.low:.2f}, {first.mos.high:.2f}]")


def test_intervals_are_those_of_drawing_listeners_and_utterances() -> None:
    """Against a plain loop over draws. Listeners who differ make the interval wider than Student's t over votes."""
    generator = np.random.default_rng(0)
    ratings_LU = np.clip(np.round(3 + generator.normal(size=(8, 1)) + 0.5 * generator.normal(size=(8, 12))), 1, 5)
    rows = [
        {"system": "a", "utterance": f"u{u}", "listener": f"l{one}", "rating": int(ratings_LU[one, u])}
        for one in range(8)
        for u in range(12)
        if (one, u) != (2, 3)
    ]
    (score,) = opinion_scores(pd.DataFrame(rows), ["a"])
    ratings_LU[2, 3] = np.nan
    means = [
        np.nanmean(ratings_LU[generator.integers(8, size=8)][:, generator.integers(12, size=12)]) for _ in range(4000)
    ]
    assert (score.mos.low, score.mos.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.05)
    half_width = 1.985 * np.nanstd(ratings_LU, ddof=1) / np.sqrt(95)  # Student's t of 94 degrees of freedom
    assert score.mos.high - score.mos.low > 1.5 * 2 * half_width


def test_foreign_and_repeated_ratings_are_refused(tmp_path: Path) -> None:
    good = write_ratings(tmp_path / "good.csv", "Ann", {"sau": 5})
    for given, message in (
        ({"ratings": {"sau": 5}, "page": "p2"}, "ratings of another page; the key is that of page p1"),
        ({"ratings": {"szz": 5}}, "rates samples that the page does not have"),
        ({"ratings": {"sav": 6}}, "has ratings that are none of 1, 2, 3, 4, 5"),
        ({"ratings": {}}, "holds no rating"),
        ({"ratings": {"sav": 1}, "listener": " "}, "without the name of a listener"),
    ):
        bad = write_ratings(
            tmp_path / "bad.csv", given.get("listener", "Bo"), given["ratings"], page=given.get("page", "p1")
        )
        with pytest.raises(ValueError, match=rf"bad\.csv: .*{message}"):
            read_ratings([good, bad], KEY)
    again = write_ratings(tmp_path / "again.csv", "Ann", {"sau": 4, "sav": 3})
    with pytest.raises(ValueError, match=r"Ann rated 1 samples twice, in .*again\.csv, .*good\.csv; keep one file"):
        read_ratings([good, again], KEY)
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"other\.csv: no ratings: these have the columns page, .*none\.csv: there is no"
    ):
        read_ratings([other, tmp_path / "none.csv"], KEY)
    good.write_text(good.read_text(encoding="utf-8").replace('"Ann"', "Ann, Bo"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"good\.csv, line 2: \d fields, where the heading .*none\.csv: there is no"):
        read_ratings([good, tmp_path / "none.csv"], KEY)


def test_keys(tmp_path: Path) -> None:
    for text, message in (("{", "is no JSON"), ("[]", "is no key of a listening test")):
        (tmp_path / "key.json").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            read_key(tmp_path / "key.json")
    with pytest.raises(ValueError, match="there is no file"):
        read_key(tmp_path / "none.json")


def test_from_folders_to_scores(folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"{name}={path}" for name, path in folders.items()]
    out = tmp_path / "test" / "page.html"
    main(["page", *words, "--out", str(out), "--num", "4"])
    said = capsys.readouterr().out
    assert "8 samples, for listeners" in said
    key = read_key(out.with_name("page.key.json"))
    with pytest.raises(ValueError, match=r"page\.html exists, and ratings of it would be lost"):
        main(["page", *words, "--out", str(out)])
    better = {name: 5 if one["system"] == "secret_expanded" else 2 for name, one in key["samples"].items()}
    ratings = write_ratings(tmp_path / "ratings-Ann.csv", "Ann", better, page=key["page"])
    main(["scores", str(out.with_name("page.key.json")), str(ratings), "--format", "json"])
    first, second = json.loads(capsys.readouterr().out)
    assert (first["system"], first["mos"], first["num_excellent"]) == ("secret_expanded", 5, 4)
    assert (second["system"], second["mos_low"], second["mos_high"]) == ("secret_base", 2, 2)
