from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_trees import write_wave

from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.data.corpora.fleurs import NO_SPLIT, NO_TEXT, REPEATED, STRAY, Fleurs, languages
from mlsuperb.data.corpora.ml_superb_release import published_pairs
from mlsuperb.data.languages import is_language
from mlsuperb.data.manifest import records
from mlsuperb.data.prepared import prepare
from mlsuperb.types import Utterance

# (sentence, file, raw, normalised)
ROWS = {
    ("af_za", "train"): [
        (1, "10.wav", 'Dit is "nuus".', "dit is nuus"),
        (1, "11.wav", 'Dit is "nuus".', "dit is nuus"),
        (2, "12.wav", "", ""),
    ],
    ("af_za", "dev"): [(3, "13.wav", "Ja!", "ja")],
    ("af_za", "test"): [(4, "14.wav", "Nee.", "nee")],
    ("yue_hant_hk", "train"): [(1, "10.wav", "一二。", "一 二")],
    ("yue_hant_hk", "test"): [(2, "20.wav", "三。", "三")],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Tables and archives as they are downloaded, unpacked but for the archives themselves."""
    for (code, split), rows in ROWS.items():
        folder = tmp_path / "fleurs" / "data" / code
        lines = []
        for sentence, name, raw, text in rows:
            write_wave(folder / "audio" / split / name)
            lines.append("\t".join([str(sentence), name, raw, text, " ".join(text), "16000", "MALE"]))
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        with tarfile.open(folder / "audio" / f"{split}.tar.gz", "w:gz") as archive:
            archive.add(folder / "audio" / split, arcname=split)
    (tmp_path / "fleurs" / "data" / "README.md").write_text("about")
    return tmp_path / "fleurs"


EXPECTED = [
    ("train", "af_za_10", "afr", "dit is nuus"),
    ("train", "af_za_11", "afr", "dit is nuus"),
    ("dev", "af_za_13", "afr", "ja"),
    ("test", "af_za_14", "afr", "nee"),
    ("train", "yue_hant_hk_10", "yue", "一 二"),
    ("test", "yue_hant_hk_20", "yue", "三"),
]


def found(corpus: Fleurs) -> list[tuple[str, str, str, str]]:
    rows = records(prepare(corpus, folder=None).manifest, Utterance)
    assert {(row.dataset, row.duration_s) for row in rows} == {("fleurs", 1.0)}
    return [(row.split, row.id, row.language, row.text) for row in rows]


def test_tables_as_they_are_downloaded(root: Path) -> None:
    prepared = prepare(Fleurs(root=str(root)), folder=None)
    assert found(Fleurs(root=str(root))) == EXPECTED == found(Fleurs(root=str(root / "data")))
    assert {reason: entry["examples"] for reason, entry in prepared.skipped.items()} == {
        STRAY: ["README.md"],
        NO_TEXT: ["af_za_12"],
        NO_SPLIT: ["yue_hant_hk/dev"],
    }
    assert found(Fleurs(root=str(root), languages=["yue"])) == EXPECTED[4:]
    raw = found(Fleurs(root=str(root), transcript="raw"))
    assert [text for *_, text in raw] == ['Dit is "nuus".', 'Dit is "nuus".', "Ja!", "Nee.", "一二。", "三。"]
    optional = prepare(Fleurs(root=str(root), text="optional"), folder=None)
    assert "af_za_12" in optional.manifest["id"].tolist()


def test_a_file_that_a_table_names_twice_is_taken_once(root: Path) -> None:
    table = root / "data" / "af_za" / "dev.tsv"
    table.write_text(table.read_text() * 2)
    prepared = prepare(Fleurs(root=str(root)), folder=None)
    assert (prepared.manifest["id"] == "af_za_13").sum() == 1
    assert prepared.skipped[REPEATED]["examples"] == ["af_za_13"]


def test_mistakes_are_explained(root: Path, tmp_path: Path) -> None:
    folder = root / "data" / "af_za"
    (folder / "audio" / "train").rename(tmp_path / "train")
    with pytest.raises(
        ValueError, match=r"af_za/audio/train\.tar\.gz is not unpacked\. Unpack this.*for one in .*/\*/audio"
    ):
        prepare(Fleurs(root=str(root)), folder=None)
    (tmp_path / "train").rename(folder / "audio" / "train")
    (folder / "dev.tsv").write_text("3\t13.wav\tJa!\tja\n")
    with pytest.raises(ValueError, match=r"dev\.tsv, line 1: 4 fields, where FLEURS has 7"):
        prepare(Fleurs(root=str(root)), folder=None)
    with pytest.raises(ValueError, match=r"holds no folder of a language, such as af_za"):
        prepare(Fleurs(root=str(tmp_path)), folder=None)
    with pytest.raises(ValueError, match=r"gone: there is no such folder"):
        prepare(Fleurs(root=str(tmp_path / "gone")), folder=None)


def write_shard(path: Path, rows: list[tuple[Any, ...]], audio: Path) -> None:
    table = [
        {
            "id": sentence, "path": f"/somewhere/{name}", "audio": {"bytes": (audio / name).read_bytes(), "path": name},
            "transcription": text, "raw_transcription": raw, "gender": 0,
        }
        for sentence, name, raw, text in rows
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(table), path)


SHARDS = {  # the hub's conversion, before and after it had a folder for each split
    "files": {"train": "fleurs-train-00000-of-00002", "dev": "fleurs-validation", "test": "fleurs-test"},
    "folders": {"train": "train/0000", "dev": "validation/0000", "test": "test/0000"},
}


@pytest.mark.parametrize("form", SHARDS)
def test_parquet_files_with_the_audio_inside(root: Path, tmp_path: Path, form: str) -> None:
    for (code, split), rows in ROWS.items():
        shard = tmp_path / "hub" / code / f"{SHARDS[form][split]}.parquet"
        write_shard(shard, rows, root / "data" / code / "audio" / split)
    more = (
        tmp_path
        / "hub"
        / "af_za"
        / f"{SHARDS[form]['train'].replace('00000', '00001').replace('0000', '0001')}.parquet"
    )
    write_shard(more, ROWS["af_za", "train"][:1], root / "data" / "af_za" / "audio" / "train")
    corpus = Fleurs(root=str(tmp_path / "hub"), audio_folder=str(tmp_path / "written"))
    prepared = prepare(corpus, folder=tmp_path / "m")
    assert found(corpus) == EXPECTED
    assert prepared.skipped[REPEATED]["count"] == 1
    for row in records(prepared.manifest, Utterance):
        original = root / "data" / row.id.rpartition("_")[0] / "audio" / row.split / Path(row.audio).name
        assert Path(row.audio).read_bytes() == original.read_bytes()
    first = (tmp_path / "m" / "manifest.parquet").stat().st_mtime_ns
    prepare(corpus, folder=tmp_path / "m")
    assert (tmp_path / "m" / "manifest.parquet").stat().st_mtime_ns == first, "what was written is not written again"


def test_a_parquet_file_without_names_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(
        [{"audio": {"bytes": b"x", "path": None}, "transcription": "x", "raw_transcription": "x"}]
    )
    (tmp_path / "af_za").mkdir()
    pq.write_table(table, tmp_path / "af_za" / "test.parquet")
    with pytest.raises(ValueError, match=r"rows without audio\.path"):
        prepare(Fleurs(root=str(tmp_path), audio_folder=str(tmp_path / "a")), folder=None)


def test_a_row_without_audio_is_counted(root: Path, tmp_path: Path) -> None:
    shard = tmp_path / "hub" / "af_za" / "fleurs-dev.parquet"
    write_shard(shard, ROWS["af_za", "train"][:2], root / "data" / "af_za" / "audio" / "train")
    rows, schema = pq.read_table(shard).to_pylist(), pq.read_schema(shard)
    rows = [{**rows[0], "audio": None}, rows[1], {**rows[0], "audio": {"bytes": None, "path": "gone.wav"}}]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), shard)
    prepared = prepare(Fleurs(root=str(tmp_path / "hub"), audio_folder=str(tmp_path / "written")), folder=None)
    assert prepared.manifest["id"].tolist() == ["af_za_11"]
    assert prepared.skipped["missing audio file"]["examples"] == ["fleurs-dev.parquet, row 1", "af_za_gone"]


def test_the_102_languages_are_known_and_distinct() -> None:
    assert len(languages()) == 102
    assert len(set(languages().values())) == 102
    assert all(is_language(code) for code in languages().values())
    assert set(languages().values()) == {
        language for language, dataset in published_pairs("8th") if dataset == "fleurs"
    }
    some = {"cmn_hans_cn": "cmn", "yue_hant_hk": "yue", "es_419": "spa", "sr_rs": "srp", "pa_in": "pan", "nb_no": "nob",
            "fil_ph": "fil", "ckb_iq": "ckb", "or_in": "ori", "ar_eg": "ara", "ff_sn": "ful"}  # fmt: skip
    assert {code: languages()[code] for code in some} == some


def test_experiments_are_a_model_for_each_language_and_one_for_all(root: Path) -> None:
    config = compose(["+exp=fleurs/asr", f"data.root={root}", "data.languages=[swa]", "upstream=tiny"])
    assert find_problems(config) == []
    assert (config["task"]["name"], config["task"]["monolingual"], config["data"]["languages"]) == (
        "asr",
        True,
        ["swa"],
    )
    assert [config[group]["name"] for group in ("adaptation", "featurizer", "head", "objective", "decoding")] == [
        "full", "last_layer", "linear", "ctc", "greedy"
    ]  # fmt: skip
    assert "-swa-" in config["run_name"]
    config = compose(["+exp=fleurs/lid", f"data.root={root}", "upstream=tiny"])
    assert find_problems(config) == []
    assert (config["task"]["name"], config["task"]["monolingual"], config["data"]["languages"]) == ("lid", False, None)
    assert json.dumps(config["benchmark"]) == "null", "no published table has these settings"
