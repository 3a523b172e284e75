"""Tables as spreadsheets, pandas and others leave them: read right, or refused with file, line and remedy."""

from __future__ import annotations

import csv
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_trees import write_wave

from mlsuperb.data.corpora.parallel import PairTable
from mlsuperb.data.corpora.table import Table
from mlsuperb.data.corpora.tables import read_columns, read_table
from mlsuperb.data.prepared import prepare

COLUMNS = {"audio": "path", "text": "sentence"}


@pytest.fixture
def folder(tmp_path):
    for name in "abc":
        write_wave(tmp_path / f"{name}.wav")
    return tmp_path


def table_of(folder, name, content, **settings):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Table(**{"train": str(path), "dev": None, "test": None, "columns": COLUMNS, "language": "eng", **settings})


def texts(corpus):
    prepared = prepare(corpus, folder=None)
    return prepared.manifest["text"].tolist(), {reason: one["count"] for reason, one in prepared.skipped.items()}


REFUSED = {
    # a comma too many, in every row: pandas would take the first field for an index
    "comma.csv": ("sentence,path\nwell, hello there,a.wav\nyes, bye,b.wav\n", r"comma\.csv, line 2: 3 fields.*has 2\. Put quot"),
    "comma_later.csv": ("path,sentence\na.wav,hi\n\nb.wav,yes, bye\n", r"line 4: 3 fields"),
    "short.csv": ("path,sentence\na.wav\n", r"line 2: 1 fields, where the heading \(line 1\) has 2"),
    "tab.tsv": ("path\tsentence\na.wav\thello\tthere\n", r"tab\.tsv, line 2: 3 fields.*Take tabs and line breaks out"),
    "broken_line.tsv": ("path\tsentence\na.wav\the said \"hi\nto me\"\n", r"line 3: 1 fields"),
    "twice.csv": ("path,sentence,sentence\na.wav,x,y\n", r"twice\.csv, line 1: more than one column is called sentence"),
    # a quotation mark that closes two rows later makes one row of three
    "open.csv": ('path,sentence\na.wav,"hello\nb.wav,well\nc.wav,bye"\n', r"lines 2 to 4: the quotation marks make one row"),
    "open_first.csv": ('sentence,path\n"hello,a.wav\nbye",b.wav\n', r"lines 2 to 3: the quotation marks make one row"),
    "never_closed.csv": ('path,sentence\na.wav,"hello\nb.wav,well\n', r"line 2: .*unexpected end of data.*Double the quot"),
    "inner.csv": ('path,sentence\na.wav,"he said "hi""\n', r"line 2: this is no sound row"),
    "empty.csv": ("", r"empty\.csv is no sound \.csv table \(it is empty\)"),
    "latin.csv": ("path,sentence\na.wav,höllo\n".encode("latin-1"), r"latin\.csv, line 2: this is not UTF-8.*iconv -f ITS_ENC"),
    "utf16.csv": ("path,sentence\na.wav,hällo\n".encode("utf-16"), r"utf16\.csv, line 1: this is not UTF-8.*iconv -f UTF-16 -t"),
    "bomless.csv": ("path,sentence\na.wav,hallo\n".encode("utf-16-le"), r"line 1: this is not UTF-8.*NUL"),
    "array.jsonl": ('[{"path": "a.wav", "sentence": "hello"}]', r"array\.jsonl, line 1: this is a list, not a JSON obj.*jq -c"),
    "pretty.jsonl": ('[\n {"path": "a.wav"}\n]', r"line 1: this is no JSON object.*one object per line.*jq -c"),
    "list.jsonl": ('{"path": "a.wav", "sentence": "x"}\n\n["a.wav", "x"]\n', r"line 3: this is a list, not a JSON object"),
    "text.jsonl": ('"a.wav"\n', r"line 1: this is a text, not"),
    "number.jsonl": ("7\n", r"line 1: this is a number, not"),
    "null.jsonl": ("null\n", r"line 1: this is null, not"),
    "deep.jsonl": ("[" * 100_000, r"line 1: this is no JSON object \(it is nested too deeply\)"),
    "double.jsonl": ('{"path": "a.wav", "sentence": "x", "sentence": "y"}\n', r"line 1: .*'sentence' occurs twice"),
    "words.jsonl": ('{"path": "a.wav", "sentence": ["a", "b"]}\n', r"words\.jsonl, line 1: sentence is a list, not text"),
    "object.jsonl": ('{"path": {"bytes": "x"}, "sentence": "a"}\n', r"line 1: path is an object, not text"),
    "truth.jsonl": ('{"path": "a.wav", "sentence": true}\n', r"line 1: sentence is a truth value, not text"),
    "emoji.jsonl": ('{"path": "a.wav", "sentence": "hello \\ud83d"}\n', r"line 1: sentence is 'hello \\ud83d', in which a half"),
    "nan.csv": ("path,sentence,start_s\na.wav,x,0\nb.wav,y,nan\n", r"nan\.csv, line 3: 'nan' in start_s is no number"),
    "inf.csv": ("path,sentence,duration_s\na.wav,x,inf\n", r"inf\.csv, line 2: 'inf' in duration_s is no number"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_file_line_and_remedy(folder, name):
    content, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as caught:
        prepare(table_of(folder, name, content), folder=None)
    assert str(caught.value).startswith(str(folder / name))
    assert "\n" not in str(caught.value)


def test_what_a_cell_may_hold(folder):
    content = 'path,sentence,\na.wav,"well, ""he"" said",\n"b.wav","one\ntwo, three",\nc.wav,5" wide,x\n'
    assert texts(table_of(folder, "t.csv", content)) == (['well, "he" said', "one\ntwo, three", '5" wide'], {})
    lines = [
        '{"path": "a.wav", "sentence": 7, "tokens": ["x"]}',
        '{"path": "b.wav", "sentence": null}',
        '{"path": "c.wav"}',
    ]
    assert texts(table_of(folder, "t.jsonl", "\n".join(lines))) == (["7"], {"empty text": 2}), "nobody asks for tokens"


def test_a_name_that_later_lines_bring(folder, monkeypatch):
    monkeypatch.setattr("mlsuperb.data.corpora.tables._PIECE", 2)
    rows = [{"a": 1}, {"a": 2}, {"a": 3, "b": "x"}, {"b": "y"}, {"a": 5}]
    (folder / "t.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    frame, names = read_columns(folder / "t.jsonl", None)
    assert frame.to_dict("list") == {"a": ["1", "2", "3", "", "5"], "b": ["", "", "x", "y", ""]}
    assert (frame.index.tolist(), frame.index.name, names) == ([1, 3, 5, 7, 9], "line", ["a", "b"])
    assert read_columns(folder / "t.jsonl", ["b", "z"])[0].to_dict("list") == {"b": ["", "", "x", "y", ""]}


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_a_tsv_as_pandas_writes_it(folder, quoting):
    said = ['he said "hi"', "one\nline", "plain"]
    frame = pd.DataFrame({"path": ["a.wav", "b.wav", "c.wav"], "sentence": said})
    frame.to_csv(folder / "t.tsv", sep="\t", index=False, quoting=quoting)
    assert read_table(folder / "t.tsv")["sentence"].tolist() == said
    assert texts(table_of(folder, "t.tsv", (folder / "t.tsv").read_bytes())) == (said, {})


@pytest.mark.parametrize("text", ['"Yes," he said', 'he said "hi"', '"Hello"', '"""', 'a "" b', '"'])
def test_bare_quotation_marks_of_a_tsv_are_text(folder, text):
    """As in Common Voice; one such cell says how the whole file was written."""
    content = f'path\tsentence\na.wav\t{text}\nb.wav\t"he ""said"" it"\n'
    assert texts(table_of(folder, "t.tsv", content))[0] == [text, '"he ""said"" it"']


def test_parquet_columns_that_hold_no_text(folder):
    audio = [{"bytes": b"RIFF", "path": "a.wav"}]
    cases = {
        r"the column 'path' holds the audio itself \(struct<bytes: binary, path: string>\).*Write the bytes": {
            "path": audio
        },
        r"the column 'sentence' holds list<.*string>, neither": {"path": ["a.wav"], "sentence": [["a", "b"]]},
        r"the column 'sentence' holds binary, neither": {"path": ["a.wav"], "sentence": [b"a"]},
        r"row 1: 'nan' in start_s": {"path": ["a.wav"], "sentence": ["a"], "start_s": ["nan"]},
    }
    for message, columns in cases.items():
        pq.write_table(pa.table({"sentence": ["a"], **columns}), folder / "t.parquet")
        with pytest.raises(ValueError, match=message) as caught:
            prepare(table_of(folder, "t.parquet", (folder / "t.parquet").read_bytes()), folder=None)
        assert str(folder / "t.parquet") in str(caught.value)
    other = {"path": ["a.wav", "b.wav"], "sentence": ["x", None], "tokens": [["x"], []], "audio": audio * 2}
    pq.write_table(pa.table(other), folder / "t.parquet")
    assert texts(table_of(folder, "t.parquet", (folder / "t.parquet").read_bytes())) == (["x"], {"empty text": 1})
    (folder / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"t\.parquet: this is no Parquet file that can be read"):
        read_table(folder / "t.parquet")


def test_parallel_text_is_read_by_the_same_rules(tmp_path):
    def pairs(name, content, **settings):
        (tmp_path / name).write_text(content, encoding="utf-8")
        languages = {"source_language": "deu", "target_language": "eng"}
        return prepare(
            PairTable(**{"train": str(tmp_path / name), "dev": None, "test": None, **languages, **settings}),
            folder=None,
        )

    cases = {
        ("t.tsv", "source\ttarget\nja\tyes\nnein\n"): r"t\.tsv, line 3: 1 fields",
        ("t.csv", "source,target\nja, ja,yes\n"): r"t\.csv, line 2: 3 fields",
        ("t.jsonl", '{"source": ["ja"], "target": "yes"}'): r"t\.jsonl, line 1: source is a list, not text",
        ("q.tsv", "source\ttarget\tquality\nja\tyes\tnan\n"): r"q\.tsv, line 2: 'nan' in quality is no number",
    }  # fmt: skip
    for (name, content), message in cases.items():
        with pytest.raises(ValueError, match=message):
            pairs(name, content)
    found = pairs("t.tsv", 'source\ttarget\n"er sagte ""ja"""\tyes\n').manifest
    assert found["source"].tolist() == ['er sagte "ja"']
