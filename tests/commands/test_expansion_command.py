"""`mlsuperb expansion`: gains and forgetting of systems, by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from runs_by_hand import hypothesis, make_run

from mlsuperb.commands.expansion import main
from mlsuperb.types import Hypothesis

LENGTH = 10


def said(language: str, number: int, errors: int) -> Hypothesis:
    """An utterance of ten characters, `errors` of which are wrong."""
    return Hypothesis(
        id=f"{language}_{number}", dataset="d", language=language, split="test", duration_s=1.0, audio="x.wav", start_s=0.0,
        reference="a" * LENGTH, hypothesis="b" * errors + "a" * (LENGTH - errors), predicted_language=None,
    )  # fmt: skip


def system(folder: Path, *, new: int, old: tuple[int, int]) -> Path:
    """A run that makes so many errors in each utterance of wol, and of deu and spa."""
    errors = {"wol": new, "deu": old[0], "spa": old[1]}
    return make_run(folder, [said(one, number, num) for one, num in errors.items() for number in range(6)])


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    base = system(tmp_path / "base", new=8, old=(2, 4))
    full = system(tmp_path / "full", new=4, old=(5, 7))
    joint = system(tmp_path / "joint", new=5, old=(2, 4))
    return [f"base={base}", f"full={full}", f"joint={joint}"]


def test_gain_forgetting_and_the_measures_of_cl_masr(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "reports" / "table.md"
    main([*runs, "--new", "wol", "--joint", "joint", "--out", str(out)])
    assert "against base" not in capsys.readouterr().err
    base, full, joint = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert (base["new"]["error_rate"], base["old"]["error_rate"]) == (80, 30)
    assert base["new"]["error_change"] is None
    assert full["new"]["error_change"]["value"] == -40
    assert full["old"]["error_change"]["value"] == 30
    assert full["bwt"] == -30, "three of ten characters of the old languages were forgotten"
    assert full["im"] == -10, "the joint model has one character more wrong in the new one"
    assert (joint["bwt"], joint["im"]) == (0, None)
    table = out.read_text(encoding="utf-8")
    assert "| full | 40.0 | -40.0 [-40.0, -40.0] * | 60.0 | +30.0 [+30.0, +30.0] * | -30.0 | -10.0 |" in table


def test_seeds_of_a_system_are_added_up(tmp_path: Path) -> None:
    base = system(tmp_path / "base", new=8, old=(2, 4))
    seeds = [system(tmp_path / f"one-{errors}", new=errors, old=(2, 4)) for errors in (4, 5, 6)]
    out = tmp_path / "table.md"
    main([f"base={base}", f"one={','.join(map(str, seeds))}", "--new", "wol", "--out", str(out)])
    _, one = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert (one["num_seeds"], one["new"]["error_rate"], one["new"]["spread"]) == (3, 50, 10)
    assert one["new"]["error_change"]["value"] == -30
    assert (one["old"]["error_rate"], one["old"]["spread"], one["bwt"]) == (30, 0, 0)
    text = out.read_text(encoding="utf-8")
    assert "mean and deviation of seeds" in text
    assert "| one | 50.0 ±10.0 | -30.0 [-30.0, -30.0] * | 30.0 ±0.0 | +0.0 [+0.0, +0.0] |" in text


def test_adapted_translators_show_their_cost_and_may_differ_in_training_data(tmp_path: Path) -> None:
    folders = [system(tmp_path / "zero_shot", new=8, old=(2, 4)), system(tmp_path / "pivot", new=6, old=(2, 4))]
    for place, folder in enumerate(folders):
        content = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        splits = content["data"]["splits"] | {"train": {"sha256": str(place) * 64, "num_utterances": 1}}
        content |= {"job": "translation", "train_on": ["speech"], "data": content["data"] | {"splits": splits}}
        content |= {"num_trainable": 1000 * place, "cost": {"train_wall_s": 60.0 * place, "peak_memory_gb": 1.5}}
        (folder / "result.json").write_text(json.dumps(content), encoding="utf-8")
    heading, zero_shot, pivot = heading_and_rows(folders, tmp_path / "table.md")
    assert heading.startswith(
        "| system | trained | training s | memory GB | CER new % ↓ | change [95 %] ↓ | relative % ↓ |"
    )
    assert zero_shot.startswith("| zero_shot | 0 | 0 | 1.5 | 80.0 | n.a. | n.a. |")
    assert pivot.startswith("| pivot | 1,000 | 60 | 1.5 | 60.0 | -20.0 [-20.0, -20.0] * | -25.0 | 30.0 |")


def translated(folder: Path, *, start: Path | None, num_trainable: int, train_s: float, **errors: Any) -> Path:
    """A run of job=translation that began with another."""
    system(folder, **errors)
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    config["start"] = start and {"run": str(start)}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    content = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    content |= {"job": "translation", "train_on": ["speech"], "num_trainable": num_trainable}
    content["cost"] = {"train_wall_s": train_s, "peak_memory_gb": train_s / 10}
    (folder / "result.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_what_a_system_went_on_from_is_part_of_its_cost(tmp_path: Path) -> None:
    """But not what the base began with, too."""
    errors: dict[str, Any] = {"new": 6, "old": (2, 4)}
    base = translated(tmp_path / "base", start=None, num_trainable=5000, train_s=900.0, **errors)
    zero_shot = translated(tmp_path / "zero_shot", start=base, num_trainable=0, train_s=0.0, **errors)
    text = translated(tmp_path / "text", start=base, num_trainable=300, train_s=30.0, **errors)
    both = translated(tmp_path / "text_then_asr", start=text, num_trainable=200, train_s=20.0, **errors)
    _, first, second = heading_and_rows([zero_shot, both], tmp_path / "table.md")
    assert first.startswith("| zero_shot | 0 | 0 | 0.0 |")
    assert second.startswith("| text_then_asr | 500 | 50 | 3.0 |")


def test_words_and_characters_after_one_normalisation(tmp_path: Path) -> None:
    """Ten letters are one word: any error makes it a wrong one."""
    folders = [system(tmp_path / "base", new=8, old=(0, 0)), system(tmp_path / "one", new=0, old=(0, 5))]
    for rate, row in (
        ("wer", "| one | 0.0 | -100.0 [-100.0, -100.0] * | 50.0 |"),
        ("cer", "| one | 0.0 | -80.0 [-80.0, -80.0] * | 25.0 |"),
    ):
        out = tmp_path / f"{rate}.md"
        main([*(f"{one.name}={one}" for one in folders), "--new", "wol", "--rate", rate, "--out", str(out)])
        text = out.read_text(encoding="utf-8")
        assert f"{rate.upper()} new % ↓" in text
        assert row in text


def heading_and_rows(folders: list[Path], out: Path) -> list[str]:
    main([*(f"{folder.name}={folder}" for folder in folders), "--new", "wol", "--out", str(out)])
    _, _, heading, _, *rows = out.read_text(encoding="utf-8").splitlines()
    return [heading, *rows]


@pytest.mark.parametrize("unit", ["CER", "PER", "WER"])
def test_the_error_rate_is_called_as_the_results_call_it(unit: str, tmp_path: Path) -> None:
    folders = [system(tmp_path / "base", new=8, old=(2, 4)), system(tmp_path / "one", new=4, old=(5, 7))]
    for folder in folders:
        content = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        content["task"]["unit_name"] = unit
        (folder / "result.json").write_text(json.dumps(content), encoding="utf-8")
    heading, *_ = heading_and_rows(folders, tmp_path / "table.md")
    assert heading == f"| system | {unit} new % ↓ | change [95 %] ↓ | {unit} old % ↓ | change [95 %] ↓ | BWT ↑ | IM ↓ |"


def test_a_task_without_text_has_no_error_rate_and_no_transfer_of_it(tmp_path: Path) -> None:
    folders = []
    for name, known in (("base", ["deu"]), ("one", ["deu", "wol"])):
        codes = {one: one if one in known else "eng" for one in ("wol", "deu", "spa")}
        outputs = [hypothesis(one, n, "a", f"[{said}]") for one, said in codes.items() for n in range(6)]
        folders.append(make_run(tmp_path / name, outputs, task="lid"))
    assert heading_and_rows(folders, tmp_path / "table.md") == [
        "| system | LID new % ↑ | change [95 %] ↑ | LID old % ↑ | change [95 %] ↑ |",
        "| base | 0.0 | n.a. | 50.0 | n.a. |",
        "| one | 100.0 | +100.0 [+100.0, +100.0] * | 50.0 | +0.0 [+0.0, +0.0] |",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--new", "eng"], r"tested on deu, spa, wol, and new are eng"),
        (["--new", "wol,deu,spa"], r"give the languages that were taught, and test on old ones, too"),
        (["--new", "wol", "--joint", "all"], r"--joint all is none of the systems: base, full, joint"),
    ],
)
def test_what_cannot_be_compared_is_said(runs: list[str], words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        main([*runs, *words])


def test_units_need_phones(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*runs, "--new", "wol", "--units", "base=labels"])
    assert "--units or --pooled-units and --phones go together" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["base=A", "one=B", "one=C", "--new", "wol"], "one is given twice"),
        (["base=A", "wol=B", "--sequence", "--alone", "wol=C", "wol=D"], "argument --alone: wol is given twice"),
        (["base=A", "--new", "wol", "--units", "base=C", "--units", "base=D"], "argument --units: base is given twice"),
        (
            ["base=A", "--new", "wol", "--pooled-units", "base=C", "base=D"],
            "argument --pooled-units: base is given twice",
        ),
        (
            ["base=A", "--new", "wol", "--out", "x.json"],
            r"x.json would be overwritten by what is written beside the table",
        ),
    ],
)
def test_names_given_twice_and_files_in_the_way_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert message in capsys.readouterr().err


def test_one_language_after_another(tmp_path: Path) -> None:
    """Old: deu. Then wol and spa are taught, one after the other."""
    stages = {"base": (8, (2, 9)), "wol": (4, (3, 8)), "spa": (5, (4, 3)), "all": (3, (2, 2)), "alone": (8, (3, 6))}
    at = {name: system(tmp_path / name, new=new, old=old) for name, (new, old) in stages.items()}
    out = tmp_path / "sequence.md"
    words = [f"{name}={at[name]}" for name in ("base", "wol", "spa", "all")]
    main([*words, "--sequence", "--joint", "all", "--alone", f"spa={at['alone']}", "--out", str(out)])
    base, wol, spa = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert [base[name] for name in ("awer", "bwt", "fwt", "im")] == [20, None, None, None]
    assert (wol["awer"], wol["bwt"], wol["im"]) == (35, -10, 10)
    assert (spa["awer"], spa["bwt"]) == (40, -15), "deu 20 to 40 and wol 40 to 50, the mean of -20 and -10"
    assert (spa["fwt"], spa["im"]) == (30, 10), "right after the base 60, now 30; 20 with all together"
    assert out.read_text(encoding="utf-8").splitlines()[4:] == [
        "| base | 20.0 | (80.0) | (90.0) | 20.0 | n.a. | n.a. | n.a. |",
        "| wol | 30.0 | 40.0 | (80.0) | 35.0 | -10.0 | n.a. | 10.0 |",
        "| spa | 40.0 | 50.0 | 30.0 | 40.0 | -15.0 | 30.0 | 10.0 |",
    ]


def test_a_picture_lies_beside_the_table(runs: list[str], tmp_path: Path) -> None:
    main([*runs, "--new", "wol", "--out", str(tmp_path / "table.md")])
    rows = pd.read_csv(tmp_path / "table.csv").set_index("system")
    assert rows.loc["full", ["new", "old"]].tolist() == [-40, 30]
    assert (tmp_path / "table.svg").is_file()


def test_one_utterance_has_no_interval_and_no_picture(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / name, [said("wol", 0, 3), said("deu", 0, 3)]) for name in ("base", "one")]
    _, *rows = heading_and_rows(folders, tmp_path / "table.md")
    assert rows[1] == "| one | 30.0 | n.a. | 30.0 | n.a. | 0.0 | n.a. |"
    assert not (tmp_path / "table.svg").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sequence", "--joint", "all"], r"--joint all is none of the systems: base, full, joint"),
        (
            ["--sequence"],
            r"full, joint: no test utterance; name each stage but the base by the language that it was taught",
        ),
    ],
)
def test_a_sequence_is_named_by_languages(runs: list[str], words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        main([*runs, *words])
