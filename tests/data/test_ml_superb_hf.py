from __future__ import annotations

import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_trees import write_wave

from mlsuperb.data.corpora import ml_superb_hf
from mlsuperb.data.corpora.ml_superb_hf import MLSuperbHF, mend_label
from mlsuperb.data.manifest import records
from mlsuperb.data.prepared import prepare
from mlsuperb.types import Utterance

SHARDS = {
    "train-00000-of-00002": [
        ("cv_jpn_000001", "org_jpn", "[org_jpn] これ"),
        ("fleurs_lug_000001", "lga", "[lga] a [b] c"),
    ],
    "train-00001-of-00002": [("cv_nan_000001", "nan", "[nan] x"), ("NST_nor_000001", "nor", "[nor] y")],
    "dev-00000-of-00001": [("cv_ory_000002", "ory", "[ory] z"), ("cv_nno_000002", "nno", "[nno] z")],
    "dev_dialect-00000-of-00001": [
        ("ms_speech_tam_000001", "hin", "[hin] w"),
        ("ms_speech_xxx_000002", "hin", "[hin] v"),
        ("other_arb_000001", "arb", "[arb] u"),
    ],
}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "hf" / "data").mkdir(parents=True)
    for shard, rows in SHARDS.items():
        records = []
        for utterance_id, language, text in rows:
            content = write_wave(tmp_path / "made" / f"{utterance_id}.wav").read_bytes()
            audio = {"bytes": content, "path": f"{utterance_id}.wav"}
            records.append({"id": utterance_id, "language": language, "text": text, "audio": audio})
        pq.write_table(pa.Table.from_pylist(records), tmp_path / "hf" / "data" / f"{shard}.parquet")
    return tmp_path / "hf"


def corpus_of(root, **settings):
    return MLSuperbHF(root=str(root), audio_folder=str(root.parent / "audio"), **settings)


def test_cleaned_labels(root):
    prepared = prepare(corpus_of(root), folder=None)
    found = [(row.split, row.id, row.language, row.dataset, row.text) for row in records(prepared.manifest, Utterance)]
    assert found == [
        ("train", "cv_jpn_000001", "jpn", "commonvoice", "これ"),
        ("train", "fleurs_lug_000001", "lug", "fleurs", "a [b] c"),
        ("train", "cv_nan_000001", "nan", "commonvoice", "x"),
        ("dev", "cv_ory_000002", "ori", "commonvoice", "z"),
        ("dev_dialect", "ms_speech_tam_000001", "tam", "ms_speech", "w"),
        ("dev_dialect", "ms_speech_xxx_000002", "hin", "ms_speech", "v"),
        ("dev_dialect", "other_arb_000001", "ara", "other", "u"),
    ]
    (entry,) = prepared.skipped.values()
    assert (entry["count"], entry["splits"]) == (2, {"train": 1, "dev": 1})
    for row in records(prepared.manifest, Utterance):
        with open(row.audio, "rb") as file:
            assert file.read() == (root.parent / "made" / f"{row.id}.wav").read_bytes()


def test_raw_labels(root):
    prepared = prepare(corpus_of(root, labels="raw"), folder=None)
    languages = prepared.manifest["language"].tolist()
    assert languages == ["jpn", "lga", "nan", "nor", "ory", "nno", "tam", "hin", "arb"]
    assert prepared.skipped == {}


def test_labels_outside_the_public_splits_stay():
    assert mend_label("nor", split="dev_dialect", utterance_id="x_nor_1", labels="cleaned") == "nor"
    assert mend_label(" [org_jpn] ", split="train", utterance_id="cv_jpn_1", labels="raw") == "jpn"


def test_evaluation_splits_have_honest_names(root):
    assert corpus_of(root).evaluation_splits() == ("dev", "dev_dialect")
    assert corpus_of(root, test_from="none").evaluation_splits() == ("dev_dialect",)


def test_audio_is_written_once_and_a_killed_run_goes_on(root, tmp_path):
    def mtimes():
        return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "audio").rglob("*.wav")}

    folder = tmp_path / "manifest"
    first = prepare(corpus_of(root), folder=folder)
    written = mtimes()
    assert len(written) == 9
    assert len(list((tmp_path / "audio").rglob("*.completed"))) == 4
    again = prepare(corpus_of(root), folder=folder)
    assert again.manifest.equals(first.manifest)
    assert mtimes() == written
    # killed while the first shard was being written: one file is cut, one absent, no marker
    train = tmp_path / "audio" / "train"
    (train / "train-00000-of-00002.completed").unlink()
    (train / "cv_jpn_000001.wav").write_bytes(b"half")
    (train / "fleurs_lug_000001.wav").unlink()
    assert prepare(corpus_of(root), folder=folder).manifest.equals(first.manifest)
    changed = {name for name, time in mtimes().items() if written[name] != time}
    assert changed == {"cv_jpn_000001.wav", "fleurs_lug_000001.wav"}


def test_what_was_written_and_is_gone_is_written_again(root, tmp_path):
    first = prepare(corpus_of(root), folder=tmp_path / "m")
    (tmp_path / "audio" / "train" / "cv_jpn_000001.wav").unlink()
    again = prepare(corpus_of(root), folder=tmp_path / "m")
    assert again.manifest.equals(first.manifest)
    assert again.skipped == first.skipped


def test_a_new_shard_is_read_again(root, tmp_path):
    prepare(corpus_of(root), folder=tmp_path / "m")
    shard = root / "data" / "dev-00000-of-00001.parquet"
    os.utime(shard, (1, 1))
    table = pq.read_table(shard)
    pq.write_table(table.slice(0, 1), shard)
    assert (prepare(corpus_of(root), folder=tmp_path / "m").manifest["split"] == "dev").sum() == 1


def test_what_is_missing_is_named(root, tmp_path):
    (root / "data" / "dev_dialect-00000-of-00001.parquet").unlink()
    with pytest.raises(ValueError, match=r"dev_dialect-\*\.parquet.*found are 3"):
        prepare(corpus_of(root), folder=None)
    with pytest.raises(ValueError, match=r"data\.root=.*gone: there is no such folder"):
        prepare(corpus_of(tmp_path / "gone"), folder=None)
    with pytest.raises(ValueError, match=r"data\.revision=main: a commit of 40"):
        prepare(MLSuperbHF(revision="main"), folder=None)


def test_an_id_cannot_leave_its_folder(root):
    table = pa.Table.from_pylist(
        [{"id": "../x", "language": "eng", "text": "[eng] x", "audio": {"bytes": b"x", "path": None}}]
    )
    pq.write_table(table, root / "data" / "train-00000-of-00002.parquet")
    with pytest.raises(ValueError, match=r"'\.\./x' cannot be a file name"):
        prepare(corpus_of(root), folder=None)


def rewrite(shard, change):
    """Change each row of a Parquet file."""
    schema, rows = pq.read_schema(shard), pq.read_table(shard).to_pylist()
    pq.write_table(pa.Table.from_pylist([change(number, row) for number, row in enumerate(rows)], schema=schema), shard)


def test_null_audio_is_counted_as_a_null_text_is(root):
    rewrite(
        root / "data" / "train-00000-of-00002.parquet",
        lambda number, row: {**row, **({"audio": None} if number else {})},
    )
    rewrite(
        root / "data" / "train-00001-of-00002.parquet",
        lambda number, row: {**row, "audio": {"bytes": None, "path": "gone.wav"}, **({"text": None} if number else {})},
    )
    prepared = prepare(corpus_of(root, labels="raw"), folder=None)
    assert prepared.manifest["id"][prepared.manifest["split"] == "train"].tolist() == ["cv_jpn_000001"]
    found = {reason: entry["examples"] for reason, entry in prepared.skipped.items()}
    assert found == {"empty text": ["NST_nor_000001"], "missing audio file": ["fleurs_lug_000001", "cv_nan_000001"]}


def test_bytes_that_are_null_with_a_path_are_the_file_there(root):
    """`datasets` leaves them out where the file lies beside; what was written of an earlier file with this id is not taken."""
    shard = root / "data" / "dev-00000-of-00001.parquet"
    prepare(corpus_of(root), folder=None)
    write_wave(root / "data" / "clips" / "z.flac", duration_s=2.5)
    rewrite(
        shard, lambda _, row: {**row, "audio": {"bytes": None, "path": f"clips/{'zy'[row['language'] == 'nno']}.flac"}}
    )
    shutil.copy(root / "data" / "clips" / "z.flac", root.parent / "audio" / "dev" / "cv_ory_000002.flac")
    prepared = prepare(corpus_of(root, labels="raw"), folder=None)
    (row,) = records(prepared.manifest[prepared.manifest["split"] == "dev"], Utterance)
    assert (row.id, row.audio, row.duration_s) == ("cv_ory_000002", str(root / "data" / "clips" / "z.flac"), 2.5)
    assert prepared.skipped["missing audio file"]["examples"] == ["cv_nno_000002"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda shard: shard.write_bytes(b"PAR1 and no more"), "this is no Parquet file that can be read"),
        (lambda shard: shard.write_bytes(shard.read_bytes()[:-100]), "this is no Parquet file that can be read"),
        (
            lambda shard: rewrite(shard, lambda _, row: {**row, "language": None}),
            r"row 1: 'cv_jpn_000001' has no language",
        ),
        (
            lambda shard: rewrite(shard, lambda _, row: {**row, "id": None}),
            r"row 1: utterance id None cannot be a file name",
        ),
        (
            lambda shard: pq.write_table(pq.read_table(shard).drop_columns("text"), shard),
            "has no column 'text'; it has id, language, audio",
        ),
        (
            lambda shard: pq.write_table(
                pa.table({"id": [1], "language": ["x"], "text": ["x"], "audio": ["x"]}), shard
            ),
            "the column 'id' holds int64, not text",
        ),
    ],
)
def test_damaged_files_are_named(root, change, message):
    shard = root / "data" / "train-00000-of-00002.parquet"
    change(shard)
    with pytest.raises(ValueError, match=message) as caught:
        prepare(corpus_of(root), folder=None)
    assert str(caught.value).startswith(str(shard))


def test_its_release_is_the_challenge(root, monkeypatch):
    found = corpus_of(root).release()
    assert (found["name"], found["whole"], found["labels"]) == ("challenge", False, "cleaned")
    assert "rows {'train': 4, 'dev': 2, 'dev_dialect': 3}, published {'train': 122890" in found["why"]
    monkeypatch.setattr(ml_superb_hf, "PUBLISHED_ROWS", {"train": 4, "dev": 2, "dev_dialect": 3})
    assert corpus_of(root).release()["whole"]
    assert "data.languages=['jpn']" in corpus_of(root, languages=["jpn"]).release()["why"]
    assert not corpus_of(root, max_train_hours=1.0).release()["whole"]
    assert MLSuperbHF().release() == {
        "name": "challenge",
        "whole": True,
        "why": "cleaned labels, test_from=dev, every row",
        "revision": MLSuperbHF.revision,
        "labels": "cleaned",
    }
    assert not MLSuperbHF(revision="0" * 40).release()["whole"]
