from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO

import pytest
from corpus_trees import write_pair
from rich.console import Console

from mlsuperb.commands import data as cli
from mlsuperb.data.corpora.ml_superb import MLSuperb
from mlsuperb.data.manifest import read_manifest

LINES = {"10min_train": ["d_nan_000001 1 a"], "10min_dev": ["d_nan_000002 1 b"], "10min_test": ["d_nan_000003 1 c"]}


@pytest.fixture
def corpus(tmp_path):
    write_pair(tmp_path / "tree", "d", "nan", LINES, duration_s=6.0)
    write_pair(tmp_path / "tree", "e", "eng", {"10min_train": ["e_eng_000001 1 x"]}, duration_s=12.0)
    (tmp_path / "tree" / "e" / "eng" / "wav" / "e_eng_000002.wav").write_text("unused")
    return MLSuperb(root=str(tmp_path / "tree"), size="10min")


@pytest.fixture
def run(corpus, tmp_path, monkeypatch, capsys):
    """The command line with a given corpus; returns (exit status, output)."""
    config = {"data": {"name": "made"}, "manifests": str(tmp_path)}
    monkeypatch.setattr(cli, "configured", lambda overrides, *groups, config_dirs: (config, corpus))

    def call(*arguments):
        status = cli.main(arguments)
        return status, capsys.readouterr().out

    return call


def test_prepare_writes_the_manifest_and_says_where(run, tmp_path):
    status, output = run("prepare", "data=x")
    assert status == 0
    (written,) = tmp_path.glob("made-*/manifest.parquet")
    assert str(written) in output
    assert len(read_manifest(written)) == 4


def test_describe_shows_sizes_and_skips(run):
    status, output = run("describe", "data=x")
    assert status == 0
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in output.splitlines() if "│" in line]
    assert ["nan Min Nan Chinese", "0.3", "", "0.3"] in rows
    assert ["eng English", "", "0.2", "0.2"] in rows
    assert "2 x missing transcript file [dev 1, test 1]" in output
    _, output = run("describe", "data=x", "--split", "dev")
    assert "eng English" not in output


def test_describe_as_json(run):
    status, output = run("describe", "--json", "data=x")
    found = json.loads(output)
    assert status == 0
    assert found["splits"]["train"]["num_utterances"] == 2
    assert len(found["cells"]) == 4
    assert found["skipped"]["missing transcript file"]["count"] == 2


def test_check_tells_a_part_from_the_whole(run, corpus):
    status, output = run("check", "data=x")
    assert status == 1
    assert "2 (language, dataset) pairs; nearest release: the 8th archive" in output
    assert "269 missing: ALFFA/amh" in output
    assert "NOT WHOLE" in output
    status, output = run("check", "data=x", "--json")
    found = json.loads(output)
    assert (status, found["whole"], found["release"]["whole"]) == (1, False, False)


def test_check_of_another_corpus_looks_at_its_audio(corpus):
    class Other(MLSuperb):
        pass

    def check():
        console = Console(file=StringIO(), width=100)
        whole = cli.is_whole(Other(root=corpus.root, size="10min"), console=console, as_json=False)
        return whole, console.file.getvalue()

    assert check()[0]
    with open(f"{corpus.root}/d/nan/wav/d_nan_000003.wav", "w") as file:
        file.write("no audio")
    whole, output = check()
    assert not whole
    assert "1 x unreadable audio file [test 1]: d_nan_000003" in output


def test_user_mistakes_are_one_paragraph(run, corpus, capsys):
    corpus.languages = ["no"]
    assert cli.main(["prepare", "data=x"]) == 2
    error = capsys.readouterr().err
    assert "'nor'" in error
    assert "Traceback" not in error


def test_a_reader_of_ones_own_is_read(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    table = tmp_path / "train.csv"
    table.write_text("path,text\na.wav,words\n")
    own = tmp_path / "data" / "mine.yaml"
    own.write_text(f"defaults: [table, _self_]\nname: mine\npath: {tmp_path}\n")
    assert cli.main(["describe", "--config-dir", str(tmp_path), "data=mine"]) == 2
    assert "train.csv has no column 'language'" in capsys.readouterr().err
    assert cli.main(["describe", "--config-dir", str(tmp_path / "none"), "data=mine"]) == 2
    assert "none: there is no such folder" in capsys.readouterr().err
    assert cli.main(["new", "--config-dir", str(tmp_path), str(table)]) == 2
    assert "takes no --config-dir" in capsys.readouterr().err


def test_help():
    finished = subprocess.run(
        [sys.executable, "-m", "mlsuperb", "data", "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "prepare" in finished.stdout
