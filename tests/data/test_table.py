from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_trees import write_wave

from mlsuperb.data.corpora.table import Table
from mlsuperb.data.corpora.tables import read_table
from mlsuperb.data.manifest import records
from mlsuperb.data.prepared import prepare
from mlsuperb.types import Utterance

ROWS = [
    {"path": "a.wav", "sentence": "NA", "client_id": "s1", "locale": "nan"},
    {"path": "sub/b.flac", "sentence": 'he said "no"', "client_id": "", "locale": "eng"},
]
COLUMNS = {"audio": "path", "text": "sentence", "speaker": "client_id", "language": "locale"}


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
        ({"columns": {}}, r"has no column 'audio' for audio; it has path.*data\.columns=\{audio: ITS_NAME\}"),
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
