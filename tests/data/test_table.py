from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_trees import write_wave

from mlsuperb.config.compose import compose
from mlsuperb.data.corpora.table import OTHER_SPLIT, Table
from mlsuperb.data.corpora.tables import read_table
from mlsuperb.data.manifest import records
from mlsuperb.data.prepared import prepare
from mlsuperb.types import Utterance

ROWS = [
    {"path": "a.wav", "sentence": "NA", "client_id": "s1", "locale": "nan"},
    {"path": "sub/b.flac", "sentence": 'he said "no"', "client_id": "", "locale": "eng"},
]
COLUMNS = {"audio": "path", "text": "sentence", "speaker": "client_id", "language": "locale"}

EARLIER = {
    "data=table data.train=t.csv data.language=eng": "fbank-frozen-transformer-asr_lid-table-s0-a88c3b1e",
    "data=table data.train=t.csv data.columns={audio:path,text:sentence,language:locale}":
        "fbank-frozen-transformer-asr_lid-table-s0-fcbc7369",
    "data=kaldi data.root=x": "fbank-frozen-transformer-asr_lid-kaldi-s0-8d64675a",
}  # fmt: skip


@pytest.fixture
def clips(tmp_path):
    write_wave(tmp_path / "clips" / "a.wav", duration_s=2.0)
    write_wave(tmp_path / "clips" / "sub" / "b.flac")
    return tmp_path / "clips"


def write(path, rows=ROWS):
    if path.suffix == ".jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    else:
        separator = "," if path.suffix == ".csv" else "\t"
        quote = (lambda cell: '"' + cell.replace('"', '""') + '"') if path.suffix == ".csv" else str
        lines = [list(rows[0]), *([quote(cell) for cell in row.values()] for row in rows)]
        text = "".join(separator.join(line) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")
    return path


def corpus_of(path, **settings):
    given = {"train": str(path), "dev": None, "test": None, "columns": COLUMNS, "dataset": "mine"}
    return Table(**{**given, **settings})


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_rows(clips, suffix):
    path = write(clips / f"train{suffix}")
    rows = records(prepare(corpus_of(path), folder=None).manifest, Utterance)
    assert [(row.id, row.text, row.language, row.speaker, row.dataset) for row in rows] == [
        ("train_000000", "NA", "nan", "s1", "mine"),
        ("train_000001", 'he said "no"', "eng", "", "mine"),
    ]
    assert [row.audio for row in rows] == [str(clips / "a.wav"), str(clips / "sub" / "b.flac")]
    assert [row.duration_s for row in rows] == [2.0, 1.0]


def test_other_root_constants_and_splits(clips, tmp_path):
    path, test = write(tmp_path / "train.csv"), write(tmp_path / "test.jsonl")
    columns = {name: column for name, column in COLUMNS.items() if name != "language"}
    corpus = corpus_of(path, test=str(test), columns=columns, language="nan", audio_root=str(clips))
    rows = records(prepare(corpus, folder=None).manifest, Utterance)
    assert [(row.split, row.language) for row in rows] == [("train", "nan")] * 2 + [("test", "nan")] * 2


def test_segments_and_numbers(clips):
    rows = [
        {"id": 7, "audio": "a.wav", "text": "x", "start_s": 0.5, "duration_s": 1.0},
        {"id": 8, "audio": "a.wav", "text": "y", "start_s": 1.5},
    ]
    corpus = corpus_of(write(clips / "t.jsonl", rows), columns={}, language="eng")
    found = records(prepare(corpus, folder=None).manifest, Utterance)
    assert [(row.id, row.start_s, row.duration_s) for row in found] == [("7", 0.5, 1.0), ("8", 1.5, 0.5)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"columns": {"audio": "wav"}},
            r"has no column 'wav' for audio; it has path.*data\.columns=\{audio: ITS_NAME\}",
        ),
        ({"columns": {**COLUMNS, "language": "lang"}}, r"no column 'lang' for language.*or set data\.language"),
        ({"columns": {**COLUMNS, "id": "uuid"}}, r"no column 'uuid' for id"),
        ({"columns": {**COLUMNS, "words": "x"}}, r"data\.columns: there is no words"),
        ({"train": "gone.csv"}, r"data\.train=gone\.csv: there is no such file"),
        ({"train": None}, "all null"),
        ({"language": "zh"}, r"data\.language: 'zh'.*'zho'"),
    ],
)
def test_problems(clips, settings, message):
    with pytest.raises(ValueError, match=message):
        prepare(corpus_of(write(clips / "t.csv"), **settings), folder=None)


def test_usual_names_of_columns_are_found(clips):
    """Where audio, text or language is under none of our names; the table is read as before where all are."""
    corpus = corpus_of(write(clips / "t.csv"), columns={})
    rows = records(prepare(corpus, folder=None).manifest, Utterance)
    assert [(row.text, row.speaker, row.language) for row in rows] == [("NA", "s1", "nan"), ('he said "no"', "", "eng")]
    given = [{"audio": "a.wav", "text": "x", "language": "eng", "client_id": "s1", "duration": 0.5, "offset": 0.1}]
    (row,) = records(prepare(corpus_of(write(clips / "u.jsonl", given), columns={}), folder=None).manifest, Utterance)
    assert (row.speaker, row.start_s, row.duration_s) == ("", 0.0, 2.0)


def test_a_manifest_of_nemo(clips):
    """A duration counts where there is an offset; else the file knows it better."""
    rows = [
        {"audio_filepath": "a.wav", "text": "x", "lang": "de", "offset": 0.5, "duration": 1.25},
        {"audio_filepath": "a.wav", "text": "y", "lang": "de", "duration": 1.99},
    ]
    path = write(clips / "train_manifest.jsonl", rows).rename(clips / "train_manifest.json")
    found = records(prepare(corpus_of(path, columns={}), folder=None).manifest, Utterance)
    assert [(row.language, row.start_s, row.duration_s) for row in found] == [("deu", 0.5, 1.25), ("deu", 0.0, 1.99)]
    path = write(clips / "u.jsonl", [{"audio_filepath": "a.wav", "text": "y", "lang": "de", "duration": 1.5}])
    (row,) = records(prepare(corpus_of(path, columns={}), folder=None).manifest, Utterance)
    assert row.duration_s == 2.0


def test_two_usual_names_are_refused(clips):
    rows = [{"path": "a.wav", "sentence": "x", "transcript": "y", "lang": "deu"}]
    message = (
        r"t\.csv has the columns sentence and transcript, each of which may be text.*'data\.columns=\{text: sentence\}'"
    )
    with pytest.raises(ValueError, match=message):
        prepare(corpus_of(write(clips / "t.csv", rows), columns={}), folder=None)
    prepared = prepare(corpus_of(clips / "t.csv", columns={"text": "transcript"}), folder=None)
    assert prepared.manifest["text"].tolist() == ["y"]


def path_corpus(path, **settings):
    return Table(**{"path": str(path), "train": None, "dev": None, "test": None, **settings})


def test_a_table_with_a_column_of_splits(clips):
    rows = [
        {"file": "a.wav", "transcription": text, "lang": "de", "split": split}
        for text, split in (("x", "train"), ("y", "Valid"), ("z", "eval"), ("w", "invalidated"))
    ]
    prepared = prepare(path_corpus(write(clips / "t.csv", rows)), folder=None)
    assert prepared.manifest[["id", "split", "text"]].to_numpy().tolist() == [
        ["t_000000", "train", "x"], ["t_000001", "dev", "y"], ["t_000002", "test", "z"],
    ]  # fmt: skip
    assert prepared.skipped == {OTHER_SPLIT: {"count": 1, "splits": {}, "examples": ["t_000003"]}}
    folds = [{"fold": row.pop("split"), **row} for row in rows]
    corpus = path_corpus(write(clips / "u.csv", folds), columns={"split": "fold"})
    assert prepare(corpus, folder=None).manifest["split"].tolist() == ["train", "dev", "test"]
    with pytest.raises(ValueError, match=r"u\.csv has no column 'split'; it has fold"):
        prepare(path_corpus(clips / "u.csv"), folder=None)


def test_a_folder_of_tables(clips, tmp_path):
    for name in ("train.tsv", "my-validation.jsonl", "test_2.csv"):
        write(clips / name)
    write(tmp_path / "other.csv")
    prepared = prepare(path_corpus(clips), folder=None)
    assert prepared.manifest["split"].tolist() == ["train"] * 2 + ["dev"] * 2 + ["test"] * 2
    write(clips / "dev.csv")
    cases = {
        clips: r"dev\.csv and my-validation\.jsonl, each of which may be the dev set\. Give data\.dev=FILE",
        tmp_path / "gone": "there is no such file or folder",
        tmp_path / "clips" / "sub": "holds no table whose name tells a split, such as train.csv",
    }
    for path, message in cases.items():
        with pytest.raises(ValueError, match=message):
            prepare(path_corpus(path), folder=None)
    with pytest.raises(ValueError, match=r"data\.path and data\.train, dev or test are given"):
        prepare(path_corpus(clips, train=str(tmp_path / "other.csv")), folder=None)


def test_later_settings_leave_the_ids_of_earlier_runs():
    """Those of a version that had no data.path, data.codes, data.held_out and columns.split."""
    ids = {line: compose(line.split())["run_id"] for line in EARLIER}
    assert ids == EARLIER
    changed = compose([*next(iter(EARLIER)).split(), "data.held_out=0.1"])["run_id"]
    assert changed not in ids.values()


def test_broken_tables_are_named(clips):
    for name, content in {"t.jsonl": "{", "t.csv": 'a,b\n1,2,3,"\n', "e.csv": "", "s.xlsx": "x"}.items():
        (clips / name).write_text(content)
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            prepare(corpus_of(clips / name), folder=None)
    rows = [{"audio": "a.wav", "text": "x", "start_s": "soon"}]
    with pytest.raises(ValueError, match=r"'soon' in start_s"):
        prepare(corpus_of(write(clips / "n.jsonl", rows), columns={}, language="eng"), folder=None)


def test_cells_stay_text(tmp_path):
    (tmp_path / "t.csv").write_text("id,n\n007,nan\n1.50,\n")
    assert read_table(tmp_path / "t.csv").to_numpy().tolist() == [["007", "nan"], ["1.50", ""]]


def test_a_table_needs_no_text_where_it_is_optional(clips):
    path = write(clips / "t.jsonl", [{"audio": "a.wav"}])
    with pytest.raises(ValueError, match="no column 'text'"):
        prepare(corpus_of(path, columns={}, language="eng"), folder=None)
    rows = records(
        prepare(corpus_of(path, columns={}, language="eng", text="optional"), folder=None).manifest, Utterance
    )
    assert [(row.id, row.text, row.duration_s) for row in rows] == [("t_000000", "", 2.0)]


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".jsonl"])
def test_a_table_that_is_not_utf8_is_named_with_its_line(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    path.write_bytes(b"id\nsound\n" + "é\n".encode("latin-1") if suffix != ".jsonl" else b'{}\n{}\n{"\xe9": 1}\n')
    with pytest.raises(ValueError, match=rf"t\{suffix}, line 3: this is not UTF-8 text"):
        read_table(path)
