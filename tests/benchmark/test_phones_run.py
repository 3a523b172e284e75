"""Runs that recognise phones: made, evaluated on other data, scored again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

pytest.importorskip("espeakng_loader")
pytest.importorskip("babel")

from mlsuperb.commands.evaluate import evaluate
from mlsuperb.commands.score import main
from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.run import run_experiment
from mlsuperb.runs.hypotheses import read_hypotheses

TINY = [
    "+exp=phones/asr_lid", "data.languages=[deu,swa]", "data.minutes=0.1", "data.test_minutes=0.05", "trainer=debug",
    "trainer.iterations_per_epoch=1", "head.size=32", "head.ffn_size=32", "cache=off",
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run's folder, and where its corpus lies."""
    root = tmp_path_factory.mktemp("phones")
    places = [f"data.root={root}/synthetic", f"manifests={root}/manifests"]
    config = compose([*TINY, *places, f"output_root={root}"])
    run_experiment(config)
    return root / config["run_id"], places


def test_a_run_recognises_phones_and_languages(
    made: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = made
    tokens = (folder / "tokens.txt").read_text(encoding="utf-8").split("\n")
    assert {"[deu]", "[swa]", "a", "ɡ", "ʃ"} <= set(tokens)
    assert not {"<space>", "ˈ"} & set("".join(tokens)) | {"<space>"} & set(tokens)
    assert max(map(len, tokens)) < 15
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert {name: result["task"][name] for name in ("units", "unit_name")} == {"units": "phone", "unit_name": "PER"}
    assert result["normaliser"]["name"] == "raw"
    assert result["protocols"].keys() == {"per_pfer", "v1", "not_applicable"}
    hypotheses = read_hypotheses(folder / "hypotheses.jsonl")
    assert all(len(one.reference.split()) > 10 and "ˈ" not in one.reference for one in hypotheses)
    main([str(folder), "--protocol", "per_pfer"])
    said = capsys.readouterr().out
    assert "units phone" in said
    assert "macro_pfer" in said


def test_other_data_need_phones_too(made: tuple[Path, list[str]]) -> None:
    folder, (root, _) = made
    words = ["data=synthetic", root, "data.languages=[deu,swa]", "data.minutes=0.1", "data.test_minutes=0.05"]
    with pytest.raises(ValueError, match=r"the texts of the data are words and no phones .*\+data/phones=espeak"):
        evaluate(folder, words, device="cpu")
    found = json.loads((evaluate(folder, [*words, "+data/phones=espeak"], device="cpu") / "result.json").read_text())
    own = json.loads((folder / "result.json").read_text())
    assert found["data"]["splits"]["test"] == own["data"]["splits"]["test"]


@pytest.fixture
def marks(made: tuple[Path, list[str]], tmp_path: Path) -> Path:
    """Of all its utterances, in another set of phones."""
    path = tmp_path / "phones.tsv"
    names = [one.id for one in read_hypotheses(made[0] / "hypotheses.jsonl")]
    lines = [
        f"{name}\t{at / 10}\t{(at + 1) / 10}\t{phone}\n" for name in names for at, phone in enumerate(("ll", "a", "tt"))
    ]
    path.write_text("".join(lines))
    return path


def test_another_set_of_phones_is_told(
    made: tuple[Path, list[str]], marks: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, (root, _) = made
    other = ["data=synthetic", root, "data.languages=[deu,swa]", "data.minutes=0.1", "data.test_minutes=0.05"]
    evaluate(folder, [*other, "+data/phones=marks", f"data.phones.path={marks}"], device="cpu")
    told = "2 of 3 phones of the references, 66.7 % of all (ll, tt) are no tokens of the model"
    assert caplog.text.count(told) == 1
    (marks.parent / "map.tsv").write_text("ll\tl\ntt\tt\n")
    caplog.clear()
    of_map = [f"data.phones.path={marks}", f"data.phones.map={marks.parent / 'map.tsv'}"]
    evaluate(folder, [*other, "+data/phones=marks", *of_map], device="cpu")
    assert "no tokens of the model" not in caplog.text


def test_a_lexicon_that_leaves_nothing_is_named(made: tuple[Path, list[str]], marks: Path, tmp_path: Path) -> None:
    """Marks of the test set alone, too."""
    root = [*made[1][:1], f"manifests={tmp_path}", f"output_root={tmp_path}", "data.languages=[deu]"]
    with pytest.raises(
        ValueError,
        match=rf"no train utterance after filtering \(skipped: \d+ x without phone marks\); look at data.*{marks}",
    ):
        run_experiment(compose([*TINY, *root, "data/phones=marks", f"data.phones.path={marks}"]))


def test_phones_of_no_use_are_told(made: tuple[Path, list[str]], caplog: pytest.LogCaptureFixture) -> None:
    config = compose([*TINY, *made[1], "task=lid", f"output_root={made[0].parent / 'lid'}"])
    run_experiment(config)
    assert caplog.text.count("task=lid recognises no text: data.phones does nothing but leave out") == 1


def test_a_run_on_words_is_refused(tmp_path: Path) -> None:
    root = [f"data.root={tmp_path}", f"manifests={tmp_path}", f"output_root={tmp_path}"]
    with pytest.raises(ValueError, match=r"words and no phones"):
        run_experiment(compose([*TINY, *root, "~data.phones", "data.languages=[deu]"]))


def test_what_does_not_go_together_is_refused_before() -> None:
    (text,) = find_problems(compose(["+exp=phones/asr", "task.units=char"]))
    assert "data.phones makes phones of the transcripts, and task.units=char would take them for text" in text
    (normalised,) = find_problems(compose(["+exp=phones/asr", "task.normaliser=v1"]), groups=("task",))
    assert "set task.normaliser=raw" in normalised
    nothing = find_problems(compose(["+exp=phones/asr", "scoring=default", "scoring.protocols=[v2]"]))
    assert any("v2 counts characters, this task has phones" in one for one in nothing)
    assert find_problems(compose(["+exp=phones/asr", "task=lid", "task.units=char", "task.normaliser=v1"])) == []
    assert yaml.safe_load(yaml.safe_dump(compose(["+exp=phones/asr"])["data"]["phones"])).keys() == {"name", "_target_"}
