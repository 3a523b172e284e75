"""`mlsuperb data new`: each form is recognised, and the line that is printed reads it."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from corpus_trees import write_pair
from own_forms import FORMS, ROWS, hub_table, records_of, wave, write_hub, write_table, write_tables
from shar_folders import row, write_shar

from mlsuperb.commands import data as cli
from mlsuperb.commands.settings import configured
from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.data.corpora.recognise import recognise
from mlsuperb.data.skips import SkipReport

LINES = {"10min_train": ["d_nan_000001 1 a"], "10min_test": ["d_nan_000002 1 b"]}
Call = Callable[..., tuple[int, str]]


@pytest.fixture
def new(capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*arguments: object) -> tuple[int, str]:
        status = cli.main(["new", *map(str, arguments)])
        shown = capsys.readouterr()
        return status, shown.out + shown.err

    return call


def line_of(output: str) -> list[str]:
    """The settings on the line of `data describe`."""
    (found,) = [line for line in output.splitlines() if "mlsuperb data describe" in line]
    return shlex.split(found.partition("data describe ")[2])


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_recognised(form: str, tmp_path: Path, new: Call) -> None:
    write, reader, settings = FORMS[form]
    place = write(tmp_path / "my data")
    status, output = new(place)
    assert status == 0, output
    shown = [re.sub(r" \(by \d of them\)", "", line.strip()) for line in output.splitlines() if line.startswith("  ")]
    assert shown == [
        "train: 3 utterances, about 1.5 s; deu German, swa Swahili (macrolanguage)",
        "dev: 2 utterances, about 1.0 s; deu German, swa Swahili (macrolanguage)",
        "test: 2 utterances, about 1.0 s; deu German, swa Swahili (macrolanguage)",
    ]
    config, _ = configured(line_of(output), "data")
    assert config["data"]["name"] == reader
    assert [config["data"][name] for name in settings] == [str(place)]
    assert not (tmp_path / "data").exists()


def ml_superb(root: Path) -> Path:
    write_pair(root, "d", "nan", LINES)
    return root


def librispeech(root: Path) -> Path:
    for part in ("train-clean-5", "dev-clean", "test-clean"):
        wave(root / "LibriSpeech" / part / "1" / "2", "1-2-0000.flac")
        (root / "LibriSpeech" / part / "1" / "2" / "1-2.trans.txt").write_text("1-2-0000 A B\n")
    return root


def mls(root: Path) -> Path:
    for split in ("train", "dev", "test"):
        wave(root / "mls_german" / split / "audio" / "1" / "2", "1_2_3.flac")
        (root / "mls_german" / split / "transcripts.txt").write_text("1_2_3\twort\n")
    return root


def fleurs(root: Path) -> Path:
    for split in ("train", "dev", "test"):
        wave(root / "af_za" / "audio" / split, "1.wav")
        (root / "af_za" / f"{split}.tsv").write_text("1\t1.wav\tJa.\tja\tj a\t8000\tMALE\n")
    return root


def shar(root: Path) -> Path:
    for split in ("train", "dev", "test"):
        write_shar(root / split, [[row("a")]])
    return root


def voxlingua(root: Path) -> Path:
    for folder in ("de", "dev/de"):
        for number in range(50):
            wave(root / folder, f"v{number}__U__S.wav")
    return root


def audio_tree(root: Path) -> Path:
    return wave(root / "radio" / "deu" / "wav", "1.ogg").parents[3]


@pytest.mark.parametrize(
    ("write", "reader", "settings", "splits"),
    [
        (ml_superb, "ml_superb_10min", {}, {"train", "test"}),
        (librispeech, "librispeech", {"train": ["train-clean-5"]}, {"train", "dev", "test"}),
        (mls, "mls", {}, {"train", "dev", "test"}),
        (fleurs, "fleurs", {}, {"train", "dev", "test"}),
        (shar, "shar", {}, {"train", "dev", "test"}),
        (voxlingua, "voxlingua107", {}, {"train", "dev", "test"}),
        (audio_tree, "audio_tree", {}, {"train"}),
    ],
)
def test_published_trees_are_recognised(
    tmp_path: Path, new: Call, write: Callable[[Path], Path], reader: str, settings: dict[str, object], splits: set[str]
) -> None:
    status, output = new(write(tmp_path / "tree"))
    assert status == 0, output
    config, _ = configured(line_of(output), "data")
    assert config["data"]["name"] == reader
    assert {name: config["data"][name] for name in settings} == settings
    assert {line.strip().partition(":")[0] for line in output.splitlines() if " utterances, about" in line} == splits


@pytest.mark.parametrize("form", ["tables", "tree"])
def test_every_command_that_is_proposed_can_be_given(form: str, tmp_path: Path, new: Call) -> None:
    """Those for data without transcripts are of the job that needs none."""
    place = write_tables(tmp_path / "tables") if form == "tables" else audio_tree(tmp_path / "tree")
    status, output = new(place)
    assert status == 0, output
    proposed = [
        shlex.split(line.partition(": mlsuperb run ")[2]) for line in output.splitlines() if ": mlsuperb run " in line
    ]
    assert [words[0] for words in proposed] == (
        ["job=labels"] if form == "tree" else ["data=table", "+exp=real_speech"]
    )
    assert [find_problems(compose(words)) for words in proposed] == [[]] * len(proposed)


def test_files_alone(tmp_path: Path) -> None:
    records = records_of(tmp_path, {"train": ROWS["train"]}, audio="path", text="sentence", language="lang")["train"]
    table = write_table(tmp_path / "mine.tsv", records)
    cuts = FORMS["cuts"][0](tmp_path / "c") / "mine_cuts_train.jsonl.gz"
    hub = write_hub(tmp_path / "h") / "data" / "test-00000-of-00001.parquet"
    assert {name: (form.reader, form.settings) for name in (table, cuts, hub) if (form := recognise(name))} == {
        table: ("table", {"train": str(table), "held_out": "0.1"}),
        cuts: ("lhotse", {"train": str(cuts), "held_out": "0.1"}),
        hub: ("hf", {"path": str(hub), "held_out": "0.1"}),
    }


def test_what_is_missing_is_said_and_can_be_given(tmp_path: Path, new: Call) -> None:
    records = records_of(tmp_path / "w", {"train": ROWS["train"]}, audio="path", text="sentence")["train"]
    table = write_table(
        tmp_path / "w" / "train.csv", [{key: one[key] for key in ("path", "sentence")} for one in records]
    )
    status, output = new(table)
    assert status == 1
    assert "not yet: " in output
    assert "has no column 'language'" in output
    assert f"Then add the setting here: mlsuperb data new {table} data.SETTING=..." in output
    status, output = new(table, "data.language=deu", "data.held_out=0.3")
    assert status == 0, output
    assert "deu German" in output
    config, corpus = configured(line_of(output), "data")
    assert (config["data"]["language"], config["data"]["held_out"]) == ("deu", 0.3)
    assert {one.split for one in corpus.rows(SkipReport())} == {"train", "dev", "test"}
    assert "where a language has no dev or no test, 30% of its train becomes one" in output


def test_configurations_and_names_of_splits_are_found(tmp_path: Path, new: Call) -> None:
    for config in ("de_de", "sw_ke"):
        for split in ("train.clean", "validation.clean", "test.clean"):
            path = tmp_path / "w" / config / split / "0000.parquet"
            path.parent.mkdir(parents=True)
            pq.write_table(hub_table(tmp_path / "made", ROWS["test"], with_label=False), path)
    status, output = new(tmp_path / "w")
    assert status == 0, output
    assert line_of(output)[2:] == [
        "data.config=[de_de,sw_ke]", "data.train=train.clean", "data.dev=validation.clean", "data.test=test.clean",
    ]  # fmt: skip
    assert "train: 4 utterances" in output


def test_a_yaml_file_is_written(tmp_path: Path, new: Call) -> None:
    place = write_tables(tmp_path / "My data-2")
    status, output = new(place, "data.max_duration_s=9", "--out", tmp_path / "conf")
    assert status == 0, output
    written = tmp_path / "conf" / "data" / "my_data_2.yaml"
    assert f"mlsuperb run --config-dir {tmp_path / 'conf'} data=my_data_2 upstream=fbank" in output
    content = yaml.safe_load(written.read_text())
    assert content == {
        "defaults": ["table", "_self_"], "name": "my_data_2", "path": str(place), "max_duration_s": 9,
    }  # fmt: skip
    config = compose(["data=my_data_2"], config_dirs=[tmp_path / "conf"])
    assert config["data"] == {
        **compose(["data=table", f"data.path={place}", "data.max_duration_s=9"])["data"],
        "name": "my_data_2",
    }
    status, output = new(place, "--out", tmp_path / "conf")
    assert status == 2
    assert "my_data_2.yaml is there already. Remove it" in output


def test_unknown_forms_are_told_what_is_known(tmp_path: Path, new: Call) -> None:
    for name in ("speech.tar.gz", "more.zip"):
        (tmp_path / name).write_text("x")
    status, output = new(tmp_path)
    assert status == 2
    assert (
        "is in no form that is known here; it has more.zip, speech.tar.gz. It has archives: unpack them first. Known are"
        in output
    )
    (tmp_path / "flat").mkdir()
    wave(tmp_path / "flat", "a.wav")
    assert (
        "It has audio: put a table beside it, with the columns audio, text, language and split"
        in new(tmp_path / "flat")[1]
    )
    assert "there is no such file or folder" in new(tmp_path / "gone")[1]
    assert "give one file or folder: mlsuperb data new PATH" in new()[1]
    shutil.rmtree(tmp_path / "flat")
    (tmp_path / "flat").mkdir()
    assert "it has nothing. Known are" in new(tmp_path / "flat")[1]


def test_a_file_called_as_settings_begin_is_a_path(tmp_path: Path, new: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wave(tmp_path, "a.wav")
    Path("data.csv").write_text("audio,text\na.wav,ja\n")
    _, output = new("data.csv", "data.language=deu")
    assert f"{tmp_path / 'data.csv'}: " in output
