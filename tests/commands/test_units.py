"""`mlsuperb units`: from labels and phones on disk to tables and figures."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from labelled_runs import made_phones, write_labels, write_tsv

from mlsuperb.__main__ import main as mlsuperb
from mlsuperb.commands.data import _units as data_units
from mlsuperb.commands.units import main
from mlsuperb.units.labels import Labels


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("units")
    phones = made_phones(12)
    write_tsv(folder / "phones.tsv", phones)
    for name, noise in (("good", 0.1), ("bad", 0.9)):
        write_labels(folder / name, phones, noise=noise)
    return folder


def test_runs_are_compared_and_drawn(made: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["quality", str(made / "good"), str(made / "bad" / "labels"), "--phones", str(made / "phones.tsv"), "--abx"]
    main([*words, "--format", "json", "--out", str(tmp_path)])
    good, bad = json.loads(capsys.readouterr().out)
    assert (good["run"], bad["run"]) == ("good", "bad")
    assert good["pnmi"] > 0.6 > 0.3 > bad["pnmi"]
    assert good["abx_within"] < bad["abx_within"]
    assert good["per"] < bad["per"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"units_{run}.{suffix}" for run in ("bad", "good") for suffix in ("csv", "png", "svg")
    ]
    main([*words, "--by", "language", "--format", "md"])
    rows = [line.split(" | ")[:2] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert rows[2:] == [[f"| {run}", one] for run in ("good", "bad") for one in ("deu", "swa", "all")]


def test_runs_are_shown_beside_published_rows(made: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["quality", str(made / "good"), "--phones", str(made / "phones.tsv"), "--beside", "discophon"]
    main([*words, "--by", "language", "--abx", "--format", "md", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    rows = [line for line in said.splitlines() if line.startswith("| ")]
    assert "| published | HuBERT VP-20, layer 11, continued on 10min | mean of 6 | 256 | 52.7 | 114.1 |" in said
    assert "| published | HuBERT VP-20, layer 11, continued on 10min | deu | 256 | 47.2 | n.a. |" in said
    assert [line.split(" | ")[2] for line in rows if "ours" in line] == ["**mean of 2**", "**deu**", "**swa**"]
    assert said.count("good: not comparable, ") == 3  # units, languages, split: their phones have silence
    assert "good: not comparable, it has 8 units, and DiscoPhon has 256" in said
    assert {path.stem for path in tmp_path.iterdir()} == {"units_good-deu", "units_good-swa", "units_good-all"}
    main([*words, "--format", "csv"])
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.startswith("row,run,language,num_units,pnmi,per,f1,r_value,")
    assert [line.split(",")[0] for line in lines] == ["published"] * 16 + ["ours"] * 2
    main(words)
    assert "Published: DiscoPhon, means over the test sets of cmn" in capsys.readouterr().out
    main([word for word in words if word not in ("--beside", "discophon")])
    assert "DiscoPhon" not in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*words[:-1], "libri"])
    assert "choose from" in capsys.readouterr().err


def test_without_a_common_utterance_three_ids_of_each_side_are_shown(made: Path, tmp_path: Path) -> None:
    other = write_tsv(
        tmp_path / "phones.tsv", {f"other{number}": rows for number, rows in enumerate(made_phones(5).values())}
    )
    with pytest.raises(ValueError, match="no utterance of") as error:
        main(["quality", str(made / "good"), "--phones", str(other)])
    assert "utt_deu_000, utt_swa_001, utt_deu_002, ..., and" in str(error.value)
    assert "other0, other1, other2, ...: give" in str(error.value)


def test_utterances_without_phones_are_counted(made: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    phones = dict(list(made_phones(12).items())[4:])
    main(["quality", str(made / "good"), "--phones", str(write_tsv(tmp_path / "phones.tsv", phones))])
    said = capsys.readouterr().out
    assert "good: 4 utterances have no phones and were left out" in said
    assert "PNMI %" in said


def test_a_folder_without_labels_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no labels"):
        main(["quality", str(tmp_path), "--phones", str(made / "phones.tsv")])


def test_the_manifest_of_labels_is_read_only_as_far_as_it_is_asked_for(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 25 million rows it takes gigabytes: to open labels needs durations alone."""
    whole, asked = Labels(made / "good" / "labels").manifest, []
    plain = pq.read_table
    monkeypatch.setattr(
        pq, "read_table", lambda *place, **given: asked.append(given.get("columns")) or plain(*place, **given)
    )
    labels = Labels(made / "good" / "labels")
    assert asked == [["duration_s"]]
    assert labels.rows("dev").equals(whole)
    assert labels.rows("train").empty
    asked.clear()
    units = data_units(made / "good")
    assert asked == [["duration_s"], ["split", "id"]]
    assert units.of(3).tolist() == labels[3].tolist()
    assert units.named["id"].tolist() == whole["id"].tolist()


def test_through_the_front_door(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        mlsuperb(["units", "quality", str(made / "good"), "--phones", str(made / "absent.tsv")])
    assert "there is no such file or folder" in f"{ended.value.code}{capsys.readouterr().err}"


@pytest.mark.parametrize(
    "words", [["quality", "RUN", "--phones", "P", "stray"], ["layers", "data=kaldi", "--phones", "P", "--nothing"]]
)
def test_stray_words_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert words[-1] in capsys.readouterr().err


def test_phones_and_layers_of_the_built_in_corpus(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The corpus makes its phones, which choose a layer: cepstra are told apart better than by chance."""
    pytest.importorskip("espeakng_loader")
    pytest.importorskip("babel")
    monkeypatch.chdir(tmp_path)
    data = ["data=synthetic", "data.languages=[fin]", "data.minutes=0.2", "data.test_minutes=0.3"]
    main(["phones", *data])
    (written,) = capsys.readouterr().out.splitlines()
    assert Path(written).name == "phones.tsv"
    words = [
        "layers",
        "upstream=mfcc",
        "--phones",
        written,
        "--num-units",
        "30",
        "--minutes",
        "1",
        *data,
        "--device",
        "cpu",
    ]
    main([*words, "--format", "csv", "--out", "figures"])
    header, row = capsys.readouterr().out.splitlines()
    figures = dict(zip(header.split(","), row.split(","), strict=True))
    assert figures["layer"] == "0"
    assert 0.3 < float(figures["pnmi"]) < 0.9
    assert float(figures["abx"]) < 0.45
    assert sorted(path.name for path in Path("figures").iterdir()) == [
        f"unit_layers.{suffix}" for suffix in ("csv", "png", "svg")
    ]
    main([*words, "--held-out", "0.5", "--no-abx"])
    said = capsys.readouterr().out
    assert "on 50% of utterances, held out" in said
    assert "best layer: 0 by PNMI; mHuBERT-147 took 6" in said


def test_phones_of_other_corpora_are_not_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give data=synthetic"):
        main(["phones", "data=table", f"data.test={write_tsv(tmp_path / 'some.csv', {})}"])


@pytest.mark.parametrize("command", ["phones", "layers"])
def test_settings_may_be_ones_own(command: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text(f"defaults: [audio_tree, _self_]\nname: mine\nroot: {tmp_path}\n")
    phones = [] if command == "phones" else ["--phones", str(tmp_path / "phones.tsv"), "upstream=mfcc"]
    with pytest.raises(ValueError, match=f"data.root={tmp_path} holds no folder"):
        main([command, "--config-dir", str(tmp_path), "data=mine", *phones])
