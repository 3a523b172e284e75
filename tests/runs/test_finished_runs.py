"""A run that has finished stays finished: whatever is removed, asked anew, or goes wrong afterwards."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mlsuperb.benchmark import card, result
from mlsuperb.commands import transcribe
from mlsuperb.commands.evaluate import evaluate
from mlsuperb.config.compose import compose
from mlsuperb.run import run_experiment
from mlsuperb.runs.hypotheses import HYPOTHESES_FILE, read_hypotheses
from mlsuperb.runtime.messages import printable
from mlsuperb.scoring import scored_run

HEAD = ("head=transformer_light", "head.num_blocks=1", "head.size=16", "head.ffn_size=16", "head.num_heads=2")
TINY = (*HEAD, "decoding=greedy", "trainer=debug", "trainer.trackers=[]", "loading.num_workers=0", "cache=off")


def write_table(folder: Path, split: str, texts: list[str]) -> str:
    rows = []
    for number, text in enumerate(texts):
        path = folder / f"{split}{number}.wav"
        if not path.exists():
            soundfile.write(path, np.random.default_rng(number).normal(0, 0.1, 8_000), 16_000)
        rows.append(json.dumps({"id": f"{split}{number}", "audio": str(path), "text": text}) + "\n")
    (folder / f"{split}.jsonl").write_text("".join(rows), encoding="utf-8")
    return f"data.{split}={folder}/{split}.jsonl"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("data")
    tables = {"train": ["ab ba", "ba"], "dev": ["ab"], "test": ["ab ba", "ba", "ab"]}
    splits = [write_table(folder, split, texts) for split, texts in tables.items()]
    return ("data=table", "data.language=deu", *splits, f"manifests={folder}/manifests")


@pytest.fixture(scope="module")
def finished(data: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = compose([*data, *TINY, f"output_root={tmp_path_factory.mktemp('exp')}"])
    run_experiment(config)
    return Path(config["output_root"]) / config["run_id"]


@pytest.fixture
def again(finished: Path, data: tuple[str, ...], tmp_path: Path) -> Callable[..., Path]:
    """Starts a copy of the finished run once more, without what is named: `again("tokens.txt", settings=["..."])`."""

    def start(*removed: str, settings: tuple[str, ...] = ()) -> Path:
        folder = tmp_path / finished.name
        if not folder.exists():
            shutil.copytree(finished, folder)
        for name in removed:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        run_experiment(compose([*data, *TINY, *settings, f"output_root={tmp_path}"]))
        return folder

    return start


def content(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return found


def test_it_is_told_where_the_data_have_changed_since(
    again: Callable[..., Path], data: tuple[str, ...], finished: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (table,) = (Path(word.partition("=")[2]) for word in data if word.startswith("data.test="))
    before = table.read_text(encoding="utf-8")
    caplog.set_level(logging.INFO)
    again()
    assert "have changed" not in caplog.text
    table.write_text("".join(before.splitlines(keepends=True)[:-1]), encoding="utf-8")
    try:
        folder = again()
    finally:
        table.write_text(before, encoding="utf-8")
    assert "its data have changed since (test), and its scores are of those of then: run_name=..." in caplog.text
    assert content(folder) == content(finished)


def test_removed_hypotheses_are_decoded_again_from_the_weights(
    again: Callable[..., Path], finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = again(HYPOTHESES_FILE, "checkpoints", "best")
    assert (folder / HYPOTHESES_FILE).read_bytes() == (finished / HYPOTHESES_FILE).read_bytes()
    assert content(folder) == content(finished), (
        "the same hypotheses have the same scores, and the training is not repeated"
    )
    assert not (folder / "checkpoints").exists()
    assert f"Everything is in {folder}" in capsys.readouterr().out.replace("\n", "")


def test_what_was_removed_is_told_and_the_scores_are_shown(
    again: Callable[..., Path], finished: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = again("model.safetensors", "tokens.txt", "config.yaml", HYPOTHESES_FILE)
    assert (
        "removed since this run has ended: config.yaml, tokens.txt, model.safetensors. Its result stands" in caplog.text
    )
    assert not (folder / HYPOTHESES_FILE).exists()
    out = " ".join(capsys.readouterr().out.split())
    assert "Protocol v1, split test" in out
    assert "is not there any more: no examples can be shown" in out
    assert content(folder) == content(finished)


def test_hypotheses_are_not_decoded_again_from_other_data(
    again: Callable[..., Path], finished: Path, data: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    table = Path(data[4].partition("=")[2])
    before = table.read_text(encoding="utf-8")
    table.write_text(before.replace("ab ba", "abba"), encoding="utf-8")
    try:
        folder = again(HYPOTHESES_FILE)
    finally:
        table.write_text(before, encoding="utf-8")
    assert "the data have changed since" in caplog.text
    assert "(test), so they are not decoded again" in caplog.text
    assert not (folder / HYPOTHESES_FILE).exists()
    assert content(folder) == content(finished)


def test_other_protocols_are_scored_at_a_second_start(
    again: Callable[..., Path], finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = again(settings=("scoring.protocols=[v2]",))
    assert content(folder)["protocols"].keys() == {"v2", "not_applicable"}
    assert "Protocol v2, split test" in capsys.readouterr().out
    assert content(folder)["config"]["scoring"]["protocols"] == ["v2"]
    counted = content(finished)["protocols"]["v2"]["counts"]
    assert content(folder)["protocols"]["v2"]["counts"] == counted
    assert content(folder)["cost"] == content(finished)["cost"]
    again()
    assert content(folder)["protocols"] == content(finished)["protocols"], "and back"


def test_unknown_protocols_are_refused_at_a_second_start(again: Callable[..., Path], finished: Path) -> None:
    with pytest.raises(ValueError, match=r"scoring.protocols: .*v9"):
        again(settings=("scoring.protocols=[v9]",))


def fail(*_: object, **__: object) -> None:
    raise UnicodeEncodeError("latin-1", "↓", 0, 1, "ordinal not in range")


@pytest.mark.parametrize(
    ("place", "name"), [(scored_run, "section_tables"), (result, "write_card"), (card, "model_card")]
)
def test_a_table_or_card_that_fails_is_a_warning(
    place: Any, name: str, data: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(place, name, fail)
    config = compose(
        [*data, *TINY, "trainer.max_epochs=1", "trainer.iterations_per_epoch=1", f"output_root={tmp_path}"]
    )
    run_experiment(config)
    folder = tmp_path / config["run_id"]
    assert json.loads((folder / "status.json").read_text(encoding="utf-8"))["state"] == "finished"
    assert content(folder)["status"] == "finished"
    assert "ordinal not in range" in caplog.text


def test_whatever_fails_after_the_result_is_a_warning(
    data: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mlsuperb.benchmark.result.save_card", fail)  # what a job of one's own may do after its result
    config = compose(
        [*data, *TINY, "trainer.max_epochs=1", "trainer.iterations_per_epoch=1", f"output_root={tmp_path}"]
    )
    run_experiment(config)
    folder = tmp_path / config["run_id"]
    assert json.loads((folder / "status.json").read_text(encoding="utf-8"))["state"] == "finished"
    assert "the result is complete, but something went wrong after it" in caplog.text
    assert "Traceback" in (folder / "run.log").read_text(encoding="utf-8")


def test_an_evaluation_of_changed_data_is_made_anew(finished: Path, data: tuple[str, ...], tmp_path: Path) -> None:
    run = tmp_path / finished.name
    shutil.copytree(finished, run)
    given = ["data=table", "data.language=deu", write_table(tmp_path, "test", ["ab ba", "ba", "ab"])]
    given += [f"manifests={tmp_path}/manifests"]
    first = evaluate(run, given, device="cpu")
    before = content(first)
    assert before["hypotheses"]["num_utterances"] == {"test": 3}
    write_table(tmp_path, "test", ["etwas anderes", "ba"])
    assert evaluate(run, given, device="cpu") == first
    assert content(first)["hypotheses"]["num_utterances"] == {"test": 2}
    assert content(first)["data"]["splits"]["test"]["sha256"] != before["data"]["splits"]["test"]["sha256"]
    assert [one.reference for one in read_hypotheses(first / HYPOTHESES_FILE)] == ["etwas anderes", "ba"]


def test_a_decoding_that_was_cut_off_is_not_mixed_with_other_data(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / finished.name
    shutil.copytree(finished, run)
    given = ["data=table", "data.language=deu", write_table(tmp_path, "test", ["ab ba", "ba", "ab"])]
    given += [f"manifests={tmp_path}/manifests"]
    folder = evaluate(run, given, device="cpu")
    (folder / "result.json").unlink()
    (folder / HYPOTHESES_FILE).rename(folder / f"{HYPOTHESES_FILE}.partial")
    write_table(tmp_path, "test", ["etwas anderes", "ba", "ab"])
    assert evaluate(run, given, device="cpu") == folder
    assert [one.reference for one in read_hypotheses(folder / HYPOTHESES_FILE)] == ["etwas anderes", "ba", "ab"]


def test_a_finished_run_is_shown_from_a_folder_that_cannot_be_written(
    again: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("mlsuperb.runs.run.held", refuse)
    again()
    assert "Protocol v1, split test" in capsys.readouterr().out


def test_the_output_folder_must_be_one_that_can_be_written(data: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    config = compose([*data, *TINY, f"output_root={tmp_path}/file"])
    message = rf"the run's folder {tmp_path}/file/.* cannot be written \(.*\): give output_root=..., a folder that can"
    with pytest.raises(OSError, match=message):
        run_experiment(config)


def test_names_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from mlsuperb.commands import errors

    before = logging.getLogRecordFactory()
    try:
        errors.prepare_terminal()
        logging.getLogger("x").warning("bad \x1b[31mname%s", "\x07")
    finally:
        logging.setLogRecordFactory(before)
    assert printable("a\x1b]0;t\x07\x9b\u2028b\n\tç 数据") == "a\\x1b]0;t\\x07\\x9b\\u2028b\n\tç 数据"
    with pytest.raises(SystemExit) as raised:
        errors.end(lambda: "\x1b[2Jgone")
    assert raised.value.code == "\\x1b[2Jgone"


LATIN = """
import sys
from mlsuperb.commands import compare, score, table
from mlsuperb.commands.errors import end
run = sys.argv[1]
for main, words in ((score, [run]), (table, [run]), (compare, [run, run])):
    try:
        end(lambda: main.main(words))
    except SystemExit as ended:
        assert not ended.code, ended.code
"""


def test_a_terminal_without_unicode_gets_what_it_can_show(finished: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    words = [sys.executable, "-c", LATIN, str(finished)]
    done = subprocess.run(words, capture_output=True, encoding="latin-1", env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "CER % ?" in done.stdout, "the arrow of a heading"
    assert "Both runs have the same counts in every row." in done.stdout, "the last line of the last command"


def test_transcribe_names_the_bad_file_after_the_good_ones(
    finished: Path, data: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = [str(Path(data[2].partition("=")[2]).parent / f"test{number}.wav") for number in (0, 1)]
    (tmp_path / "bad.wav").write_bytes(b"RIFF, and nothing more")
    with pytest.raises(ValueError, match=r"^.*/bad\.wav: cannot be read as audio"):
        transcribe.main([str(finished), good[0], str(tmp_path / "bad.wav"), good[1], "--device", "cpu"])
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == good
