"""The data of the utterance browser, and what its script makes of them."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest
from fake_runs import make_run

from mlsuperb.analysis.report import browser as module
from mlsuperb.analysis.report.alignment import stretches
from mlsuperb.analysis.report.browser import browser
from mlsuperb.analysis.report.sound import SoundBox
from mlsuperb.analysis.runs import LoadedRun, load_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    folder = tmp_path_factory.mktemp("browser")
    return load_run(make_run(folder / "run", languages=("eng", "ara", "tha"), per_language=6, audio=False))


def data(run: LoadedRun, root: Path | None = None) -> dict:
    sounds = SoundBox(max_num=0, roots=[root or run.folder.parent / "audio"])
    return json.loads(browser(run, sounds=sounds).data)


def sides(texts: list) -> tuple[str, str]:
    pairs = [(one, one) if isinstance(one, str) else (one[0], one[1]) for one in texts]
    return "".join(one for one, _ in pairs), "".join(other for _, other in pairs)


def test_every_utterance_is_there_with_its_texts_and_its_file(run) -> None:
    found = data(run)
    assert len(found["rows"]) == 18
    assert found["files"] == ["*.wav"], "named as they lie in the data, and no folder of this machine"
    for row, one in zip(found["rows"], run.hypotheses, strict=True):
        assert (row[0], found["languages"][row[1]], found["datasets"][row[2]]) == (one.id, one.language, one.dataset)
        reference, hypothesis = sides(row[7])
        assert reference.split() == one.reference.upper().split()
        assert hypothesis.split() == one.hypothesis.split("]")[1].upper().split()
    assert {row[6] for row in found["rows"] if row[0].split("_")[1] == "ara"} == {3}, "right to left, joined"
    assert data(run, root=Path("/elsewhere"))["files"] == ["*.wav"], "outside of the data its bare name"


def test_a_page_keeps_its_size_and_each_language_its_best_and_its_worst(run, monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1500)
    shown = browser(run, sounds=SoundBox(max_num=0, roots=[]))
    rows = json.loads(shown.data)["rows"]
    assert 6 <= len(rows) < 18
    assert f"{len(rows)} of the 18 utterances" in shown.title
    assert "evenly spread from its best to its worst" in shown.note
    by_language = [[row[4] for row in rows if row[1] == place] for place in {row[1] for row in rows}]
    assert len({len(rates) for rates in by_language}) == 1
    scores = run.table[run.table["language"] == "eng"]["score"].round(1)
    assert {scores.min(), scores.max()} <= {row[4] for row in rows if row[0].split("_")[1] == "eng"}


def test_long_insertions_of_joined_scripts_say_how_much_is_left_out() -> None:
    texts = stretches("باد", "باد" + "شمال " * 40)
    assert texts[0] == "باد"
    assert texts[1][2] == 200 - 20
    assert stretches("p a t", "p a2 t", units="phoneme") == ["p ", ["a ", "a2 "], "t "]


def in_node(expression: str) -> object:
    if shutil.which("node") is None:
        pytest.skip("needs node")
    script = files("mlsuperb.analysis.report").joinpath("browser.js").read_text(encoding="utf-8")
    code = f"{script}\nprocess.stdout.write(JSON.stringify({expression}))"
    done = subprocess.run(["node", "-"], input=code, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_script_chooses_and_sorts(run) -> None:
    rows = data(run)["rows"]

    def chosen(**wish: str) -> list[str]:
        ids = f"module.exports.choose({json.dumps(rows)}, {json.dumps(wish)}).map((row) => row[0])"
        return in_node(ids)  # type: ignore[return-value]

    table = run.table
    worst = chosen(order="worst")
    assert len(worst) == 18
    assert [table.set_index("id")["score"][one] for one in worst] == sorted(table["score"], reverse=True)
    english = str(sorted({*table["language"], *table["named"]}).index("eng"))
    assert set(chosen(language=english)) == set(table["id"][table["language"] == "eng"])
    assert set(chosen(named="wrong")) == set(table["id"][table["language"] != table["named"]])
    assert set(chosen(**{"from": "10", "to": "30"})) == set(table["id"][table["score"].round(1).between(10, 30)])
    assert set(chosen(words="WIND and")) <= set(table["id"][table["language"] == "eng"])
    assert chosen(words="WIND and")


def test_the_script_keeps_words_whole_and_lines_short() -> None:
    texts = ["THE NO", ["RT", "R"], "H ", ["W", "VV"], "IND", ["", "X" * 30]]
    words = in_node(f"module.exports.words({json.dumps(texts)})")
    assert ["".join(piece[0] for piece in word) for word in words][:2] == ["THE ", "NORTH "]
    assert "".join(piece[0] for word in words for piece in word) == "THE NORTH WIND"
    assert "".join(piece[1] for word in words for piece in word) == "THE NORH VVIND" + "X" * 30
    assert [piece[2] for piece in words[1]] == ["equal", "substituted", "equal"]
    assert max(len(piece[1]) for word in words for piece in word) <= 12
    whole = in_node(f"module.exports.words({json.dumps(texts)}, true)")
    assert max(len(piece[1]) for word in whole for piece in word) == 30, "letters that join are not parted"


def test_the_scripts_are_sound() -> None:
    if shutil.which("node") is None:
        pytest.skip("needs node")
    for room in ("mlsuperb.scoring.page/script.js", "mlsuperb.analysis.report/browser.js"):
        code = files(room.split("/")[0]).joinpath(room.split("/")[1]).read_text(encoding="utf-8")
        done = subprocess.run(["node", "--check", "-"], input=code, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
