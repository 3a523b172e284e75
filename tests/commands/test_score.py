"""The command line: score again without torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml
from finished_runs import finished_run

from mlsuperb import tasks
from mlsuperb.api.numbers import score
from mlsuperb.commands import score as command
from mlsuperb.runs.hypotheses import write_hypotheses
from mlsuperb.types import Hypothesis


def hypothesis(id, reference, text, *, language="eng", split="test"):
    return Hypothesis(
        id=id, dataset="fleurs", language=language, split=split, audio="a.wav", start_s=0.0, duration_s=1.0,
        reference=reference, hypothesis=text, predicted_language=None,
    )  # fmt: skip


@pytest.fixture
def jsonl(tmp_path):
    path = tmp_path / "hypotheses.jsonl"
    write_hypotheses(
        path,
        [
            hypothesis("fleurs_eng_000001", "abcd", "[eng] ABCX"),
            hypothesis("fleurs_nan_000001", "abcd", "[nan] ABCD", language="nan"),
        ],
    )
    return path


def test_neither_torch_nor_hydra_is_imported(jsonl):
    code = (
        "import sys; from mlsuperb.commands.score import main; main(sys.argv[1:]); "
        "heavy = {'torch', 'hydra', 'omegaconf', 'transformers', 'torchaudio', 'pandas'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(jsonl), "--examples", "2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "trained_cer ↓" in done.stdout
    assert "ABC{X}" in done.stdout


def test_json_has_everything(jsonl, tmp_path, capsys):
    out = tmp_path / "scores.json"
    command.main([str(jsonl), "--protocol", "v2", "--protocol", "v1", "--json", str(out)])
    found = json.loads(out.read_text(encoding="utf-8"))
    assert (found["task"], found["normaliser"], found["units"]) == ("asr_lid", "v1", "char")
    assert found["protocols"].keys() == {"v2", "v1", "not_applicable"}
    assert found["protocols"]["v2"]["metrics"]["test"]["all_macro_cer"]["value"] == pytest.approx(10.0)
    assert "Protocol v2" in capsys.readouterr().out


def test_a_run_folder_says_how_it_is_scored(jsonl, tmp_path, capsys):
    config = {"task": {"name": "asr", "normaliser": "v1_mono", "units": "char"}, "data": {"name": "synthetic"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command.main([str(tmp_path)])
    shown = capsys.readouterr().out
    assert "task asr, normaliser v1_mono" in shown
    assert "Synthetic data" in shown
    assert "Protocol challenge was left out" in shown
    command.main([str(tmp_path), "--task", "asr_lid", "--normaliser", "v1"])
    assert "task asr_lid, normaliser v1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("texts", "task"),
    [(["X", ""], "asr"), (["[eng]", ""], "lid"), (["[eng]", "[eng] X"], "asr_lid"), (["", ""], "asr")],
)
def test_task_is_inferred(texts, task):
    ones = [hypothesis(str(number), "x", text) for number, text in enumerate(texts)]
    assert command.infer_task(ones) == tasks.known()[task]().facts


def test_codes_of_any_form_are_found_and_strange_tokens_are_told(tmp_path, capsys):
    path = tmp_path / "hypotheses.jsonl"
    said = [("en", "[en] AB"), ("zh-CN", "[zh-CN] AB"), ("zh-CN", "[fil_ph] AB")]
    write_hypotheses(path, [hypothesis(str(n), "ab", text, language=code) for n, (code, text) in enumerate(said)])
    command.main([str(path), "--protocol", "v1"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "task asr_lid" in shown
    assert "1 hypotheses begin with [fil_ph] or the like, which is the language of no reference" in shown
    assert "all_lid_accuracy ↑ │ 66.7" in shown
    write_hypotheses(path, [hypothesis("a", "ab", "[zh-CN] AB", language="zh-CN")])
    command.main([str(path), "--protocol", "v1"])
    assert "begin with" not in capsys.readouterr().out


def test_words_are_no_phones(tmp_path):
    path = tmp_path / "o.jsonl"
    for reference, text, side in (("guten tag", "ɡ uː", "references"), ("ɡ uː", "guten tag", "hypotheses")):
        write_hypotheses(path, [hypothesis("a", reference, text)])
        with pytest.raises(ValueError, match=f"the {side} are words and no phones .'guten', 4.0 letters"):
            command.main([str(path), "--units", "phone"])
        with pytest.raises(ValueError, match=f"the {side} are words and no phones"):
            score([reference], [text], ["deu"], units="phone")
    command.main([str(path), "--units", "char"])


def test_another_script_is_told(tmp_path, capsys):
    """By the tokens of a run, of its evaluations, too; of other files by what is in the hypotheses."""
    ones = [hypothesis("a", "добрый day", "HELLO DAY"), hypothesis("b", "day", "day")]
    run, elsewhere = tmp_path / "run", tmp_path / "o.jsonl"
    other = run / "evaluations" / "x"
    other.mkdir(parents=True)
    (run / "tokens.txt").write_text("<blank>\n<space>\n" + "".join(f"{one}\n" for one in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    for folder in (run, other):
        write_hypotheses(folder / "hypotheses.jsonl", ones)
        command.main([str(folder), "--task", "asr", "--normaliser", "v1", "--units", "char"])
        said = " ".join(capsys.readouterr().out.split())
        assert (
            "6 of 9 characters of the references, 50.0 % of all (Д, О, Б, Р, Ы, ...) are no tokens of the model" in said
        )
    write_hypotheses(elsewhere, [*ones, hypothesis("c", "добрый", "")])
    command.main([str(elsewhere)])
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "66.7 % of all (Д, О, Б, Р, Ы, ...) occur in no hypothesis: are references and hypotheses in one script" in said
    )
    write_hypotheses(elsewhere, [hypothesis("a", "hello day", "HELLO DAY"), hypothesis("b", "xyz", "")])
    command.main([str(elsewhere)])
    assert "occur in no" not in capsys.readouterr().out


def test_a_finished_run_says_how_it_is_scored_and_how_much_it_trained(tmp_path, capsys):
    run = finished_run(tmp_path / "run", wrong=1, seed=0, num_trainable=200_000_000)
    command.main([str(run / "hypotheses.jsonl")])
    shown = capsys.readouterr().out
    assert "task asr_lid, normaliser v1, units char" in shown
    assert "trained parameters (above 100 M), the limit of ML-SUPERB 2.0" in shown
    assert "Synthetic data" in shown
    with pytest.raises(ValueError, match="challenge was asked for, but does not apply to task asr; is it another task"):
        command.main([str(run), "--task", "asr", "--protocol", "challenge"])


def test_mistakes_are_one_sentence_and_no_traceback(tmp_path, jsonl):
    with pytest.raises(ValueError, match="there is no file"):
        command.main([str(tmp_path / "nowhere.jsonl")])
    for config in ("seed: 0", "task: {name: tts, normaliser: v1, units: char}", "task: {_target_: no.Task}"):
        (tmp_path / "config.yaml").write_text(config, encoding="utf-8")
        with pytest.raises(ValueError, match=r"config\.yaml does not say task\.name"):
            command.main([str(tmp_path)])
    with pytest.raises(ValueError, match="there is no protocol 'v3'"):
        command.main([str(jsonl), "--task", "asr", "--normaliser", "v1", "--units", "char", "--protocol", "v3"])


def others(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_output_of_another_program_needs_four_fields(tmp_path, capsys):
    rows = [
        {"id": "a", "language": "eng", "reference": "Abcd.", "hypothesis": "ABCX"},
        {"id": "b", "language": "deu", "reference": "ef", "hypothesis": "EF"},
    ]
    out = tmp_path / "scores.json"
    command.main([str(others(tmp_path / "theirs.jsonl", *rows)), "--json", str(out)])
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["task"] == "asr"
    assert found["protocols"]["v1"]["metrics"]["test"]["all_cer"]["value"] == pytest.approx(100 / 6)
    assert found["protocols"]["v1"]["counts"]["test"]["unknown"]["eng"]["substitutions"] == 1
    named = [row | {"predicted_language": language} for row, language in zip(rows, ("eng", None), strict=True)]
    command.main([str(others(tmp_path / "theirs.jsonl", *named)), "--json", str(out)])
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["task"] == "asr_lid"
    assert found["protocols"]["v1"]["metrics"]["test"]["all_lid_accuracy"]["value"] == 50.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hypothesis": None}, "line 1: hypothesis is None, expected str"),
        ({"wer": 3}, "line 1: unknown wer; a hypothesis has the fields id, dataset"),
        ({"predicted_language": 3}, "line 1: predicted_language is 3, expected str . null"),
    ],
)
def test_what_is_wrong_in_the_output_of_another_program_is_named(tmp_path, change, message):
    row = {"id": "a", "language": "eng", "reference": "a", "hypothesis": "A"}
    with pytest.raises(ValueError, match=message):
        command.main([str(others(tmp_path / "theirs.jsonl", row | change))])
    del row["language"]
    with pytest.raises(
        ValueError, match=r"line 1: missing language; .* the fields id, language, reference, hypothesis$"
    ):
        command.main([str(others(tmp_path / "theirs.jsonl", row))])
