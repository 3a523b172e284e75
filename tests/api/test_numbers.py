from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from finished_runs import finished_run

import mlsuperb
import mlsuperb.api


def test_the_package_is_light_and_says_what_it_has() -> None:
    code = """import sys, mlsuperb
heavy = [name for name in ("torch", "numpy", "pandas", "transformers", "hydra", "yaml") if name in sys.modules]
print(heavy, [name for name in mlsuperb.__all__ if name in dir(mlsuperb)])
mlsuperb.score(["a"], ["A"], ["eng"])
print("torch" in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] ['load', 'results', 'score', 'upstream']\nFalse\n"


def test_the_types_say_what_there_is() -> None:
    package = Path(mlsuperb.__file__).parent
    stub = package.joinpath("__init__.pyi").read_text()
    for name in mlsuperb.__all__:
        assert f"from mlsuperb.api import {name} as {name}\n" in stub
        assert getattr(mlsuperb, name) is getattr(mlsuperb.api, name)
        assert getattr(mlsuperb, name).__doc__
    assert f"__all__ = {mlsuperb.__all__}".replace("'", '"') in stub
    assert (package / "py.typed").is_file()
    with pytest.raises(
        AttributeError, match="module 'mlsuperb' has no attribute 'lod'; it has load, results, score, upstream"
    ):
        _ = mlsuperb.lod


def test_runs_are_rows(tmp_path: Path) -> None:
    for name, wrong, lr in (("a", 3, 0.1), ("b", 6, 0.01)):
        finished_run(tmp_path / name, wrong=wrong, seed=0, lr=lr, cost={"hours": 0.5, "macs_per_s": {"head": 1}})
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "status.json").write_text('{"state": "failed"}')
    frame = mlsuperb.results(tmp_path)
    assert list(frame.index) == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert list(frame["run_id"]) == ["a", "b"]
    assert list(frame["trainer.optimizer.lr"]) == [0.1, 0.01]
    assert "seed" not in frame, "the same in all"
    assert list(frame["v1.test.all_lid_accuracy"]) == [75.0, 50.0]
    assert frame.loc[str(tmp_path / "a"), "v1.test.all_cer"] == pytest.approx(100 * 22 / 93)
    assert list(frame["cost.hours"]) == [0.5, 0.5]
    assert "cost.macs_per_s" not in frame
    assert frame.attrs["left_out"] == {str(tmp_path / "c"): "failed"}
    with pytest.raises(ValueError, match=r"no finished run: .*c: failed"):
        mlsuperb.results(tmp_path / "c")


def test_texts_are_scored_from_lists() -> None:
    found = mlsuperb.score(["Guten Tag!", "Bonjour."], ["GUTEN TAK", "BONJOUR"], ["deu", "fra"])
    assert set(found) == {"v1", "v2", "wer_cer"}
    assert found["v1"]["metrics"]["all_cer"] == pytest.approx(100 * 1 / 16)
    assert "all_lid_accuracy" not in found["v1"]["metrics"]
    assert found["v1"]["counts"]["unknown"]["deu"]["substitutions"] == 1
    assert found["v2"]["metrics"]["all_macro_cer"] == pytest.approx(100 * (1 / 9 + 0) / 2)
    assert found["v1"]["per_language"]["fra"] == {"cer": 0.0, "num_utterances": 1}
    assert found["v1"]["metrics"]["reserved_cer"] is None


def test_languages_are_scored_where_they_were_recognised() -> None:
    texts, languages = ["eins", "one", "uno"], ["deu", "eng", "spa"]
    named = mlsuperb.score(texts, ["EINS", "ONE", "UNO"], languages, predicted_languages=["deu", "fra", None])
    assert named["v1"]["metrics"]["all_lid_accuracy"] == pytest.approx(100 / 3)
    tokens = mlsuperb.score(texts, ["[deu] EINS", "[fra] ONE", "UNO"], languages)
    assert tokens == named
    alone = mlsuperb.score(texts, ["", "", ""], languages, predicted_languages=["deu", "fra", "spa"])
    assert alone["v1"]["metrics"] == {
        "trained_lid_accuracy": pytest.approx(200 / 3), "reserved_lid_accuracy": None, "all_lid_accuracy": pytest.approx(200 / 3)
    }  # fmt: skip
    asked = mlsuperb.score(
        texts, ["", "", ""], languages, predicted_languages=languages, task="asr_lid", protocols=["v1"]
    )
    assert set(asked) == {"v1"}
    assert asked["v1"]["metrics"]["all_cer"] == 100.0


def test_datasets_count_for_the_mean_over_them() -> None:
    found = mlsuperb.score(["ab", "abcd"], ["AB", "ABXX"], ["deu", "deu"], datasets=["mls", "fleurs"])
    assert found["v2"]["metrics"]["all_macro_cer"] == pytest.approx(25.0)
    assert set(found["v1"]["counts"]) == {"mls", "fleurs"}


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (
            (["a"], ["A", "B"], ["eng"]),
            {},
            "do not have the same length: 1 of reference, 2 of hypothesis, 1 of language",
        ),
        ((["a"], ["A"], ["eng"]), {"datasets": []}, "1 of language, 0 of dataset"),
        (([], [], []), {}, "there is no hypothesis to score"),
        ((["a"], [math.nan], ["eng"]), {}, "utterance 0: hypothesis is nan, expected str"),
        ((["a"], ["A"], ["[eng]"]), {}, r"utterance 0: language is '\[eng\]'; a language's code holds no bracket"),
        ((["a"], ["A"], ["eng"]), {"protocols": ["v9"]}, "there is no protocol 'v9'"),
        ((["a"], ["A"], ["eng"]), {"normaliser": "v7"}, "v7"),
        ((["a"], ["A"], ["eng"]), {"task": "asr_ldi"}, "there is no task 'asr_ldi'; known: asr, asr_lid, lid"),
    ],
)
def test_lists_that_cannot_be_scored_are_refused(columns: tuple, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mlsuperb.score(*columns, **options)
