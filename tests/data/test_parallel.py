"""Parallel text: read from tables and from two files, checked, counted, stored and hashed as speech is."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlsuperb.config.build import instantiate
from mlsuperb.config.compose import compose
from mlsuperb.config.options import conf_dir, options
from mlsuperb.data.corpora.parallel import PairTable, TextCorpus, TwoFiles
from mlsuperb.data.manifest import read_manifest, records, split_hash, to_frame, validate
from mlsuperb.data.prepared import prepare
from mlsuperb.data.rows import Rows
from mlsuperb.types import TextPair

ROWS = [
    {"source": "guten Tag", "target": "good day", "source_language": "deu", "target_language": "eng", "quality": 1.5},
    {"source": ' "nan" ', "target": "日本 NA", "source_language": "nan", "target_language": "jpn", "quality": 1.0},
]
LINES = {"deu": ["eins", "zwei drei", "vier"], "eng": ["one", "two three", "four"]}


def write(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        lines = [list(rows[0]), *(map(str, row.values()) for row in rows)]
        path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")
    return path


def table_of(path: Path, **settings: Any) -> PairTable:
    return PairTable(**{"train": str(path), "dev": None, "test": None, **settings})


def of_pairs(tmp_path: Path, *pairs: tuple[str, str], **settings: Any) -> Any:
    """A prepared table of German and English pairs."""
    rows = [{"source": source, "target": target} for source, target in pairs]
    languages = {"source_language": "deu", "target_language": "eng"}
    return prepare(table_of(write(tmp_path / "t.jsonl", rows), **languages | settings), folder=None)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for language, lines in LINES.items():
        (tmp_path / f"train.{language}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return [str(tmp_path / f"train.{language}") for language in LINES]


def two_files(paths: list[str], **settings: Any) -> TwoFiles:
    given: dict[str, Any] = {"train": paths, "dev": None, "test": None, "source_language": "deu"}
    return TwoFiles(**given | {"target_language": "eng"} | settings)


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl", ".parquet"])
def test_a_table_of_pairs(tmp_path: Path, suffix: str) -> None:
    prepared = prepare(table_of(write(tmp_path / f"t{suffix}")), folder=None)
    first, second = records(prepared.manifest, TextPair)
    assert first == TextPair(
        id="t_000000", source="guten Tag", target="good day", source_language="deu", target_language="eng",
        dataset="text", split="train", quality=1.5,
    )  # fmt: skip
    assert (second.source, second.target, second.source_language) == ('"nan"', "日本 NA", "nan")
    assert prepared.skipped == {}


def test_two_files(files: list[str]) -> None:
    corpus = two_files(files, dataset="opus")
    pairs = records(prepare(corpus, folder=None).manifest, TextPair)
    assert [(pair.source, pair.target) for pair in pairs] == list(zip(*LINES.values(), strict=True))
    assert [pair.id for pair in pairs] == ["opus_00000001", "opus_00000002", "opus_00000003"]
    assert {(pair.source_language, pair.target_language, pair.split) for pair in pairs} == {("deu", "eng", "train")}


def test_only_a_line_feed_ends_a_line(files: list[str]) -> None:
    Path(files[0]).write_bytes("eins\rund\u2028mehr\r\nzwei\ndrei\n".encode())
    pairs = records(prepare(two_files(files), folder=None).manifest, TextPair)
    assert [pair.source for pair in pairs] == ["eins\rund\u2028mehr", "zwei", "drei"]


def test_files_of_different_length_are_one_error_with_both_numbers(files: list[str]) -> None:
    with open(files[1], "a") as file:
        file.write("five\n")
    with pytest.raises(ValueError, match=r"train\.deu has 3 lines and .*train\.eng has 4: they do not belong together"):
        prepare(two_files(files), folder=None)


def test_bad_utf8_is_named_by_file_and_line(files: list[str]) -> None:
    Path(files[1]).write_bytes(b"one\ntwo \xe9 three\nfour\n")
    with pytest.raises(ValueError, match=r"train\.eng, line 2: this is not UTF-8 text"):
        prepare(two_files(files), folder=None)


def test_what_is_skipped_is_counted_by_reason(tmp_path: Path) -> None:
    prepared = of_pairs(
        tmp_path,
        ("eins", "one"),
        ("", "nothing"),
        ("nichts", "  "),
        ("eins ", " one"),
        ("zwei  drei", "two three"),
        ("zwei drei", "two  three"),
        ("one", "eins"),
        ("a" * 31, "b" * 31),
        ("ab", "a sentence that is long"),
        ("eins", "another one"),
        max_letters=30,
    )
    pairs = records(prepared.manifest, TextPair)
    assert [(pair.source, pair.target) for pair in pairs] == [
        ("eins", "one"), ("zwei  drei", "two three"), ("eins", "another one"),
    ]  # fmt: skip
    assert {reason: entry["examples"] for reason, entry in prepared.skipped.items()} == {
        "empty source or target": ["t_000001", "t_000002"],
        "longer than max_letters": ["t_000007"],
        "lengths that differ by more than max_length_ratio": ["t_000008"],
        "pair that occurs before": ["t_000003", "t_000005"],
        "pair that occurs before with source and target swapped": ["t_000006"],
    }
    assert sum(entry["count"] for entry in prepared.skipped.values()) + len(pairs) == 10, (
        "nothing is dropped in silence"
    )


def test_test_pairs_are_filtered_by_nothing_but_emptiness_and_direction(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", [{"source": "a" * 50, "target": "b"}] * 2 + [{"source": "", "target": "b"}])
    corpus = table_of(path, test=str(path), source_language="deu", target_language="eng", max_letters=5)
    with pytest.raises(ValueError, match="nothing can be used"):
        prepare(replace(corpus, test=None), folder=None)
    prepared = prepare(corpus, folder=None)
    assert prepared.manifest["split"].tolist() == ["test", "test"]


def test_quality(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl")
    prepared = prepare(table_of(path, min_quality=1.2), folder=None)
    assert prepared.manifest["quality"].tolist() == [1.5]
    assert prepared.skipped["quality below min_quality"]["count"] == 1
    bare = write(tmp_path / "b.jsonl", [{"source": "eins", "target": "one"}])
    languages = {"source_language": "deu", "target_language": "eng"}
    with pytest.raises(ValueError, match=r"no column 'quality'.*'text\.columns="):
        prepare(table_of(bare, min_quality=1.2, **languages), folder=None)
    assert prepare(table_of(bare, **languages), folder=None).manifest["quality"].tolist() == [0.0]


def test_quality_by_label(tmp_path: Path) -> None:
    """Of training pairs those by people are kept, of test pairs all; dev has no such column."""
    labels = ["human", "machine", "human", ""]
    rows = [ROWS[0] | {"source": f"Tag {number}", "by": label} for number, label in enumerate(labels)]
    for row in rows:
        del row["quality"]
    train, test, dev = (write(tmp_path / f"{name}.tsv", rows) for name in ("train", "test", "dev"))
    settings: dict[str, Any] = {"test": str(test), "columns": {"quality": "by"}}
    prepared = prepare(table_of(train, **settings, keep_quality=["human"]), folder=None)
    of_train, of_test = (prepared.manifest[prepared.manifest["split"] == split] for split in ("train", "test"))
    assert of_train["source"].tolist() == ["Tag 0", "Tag 2"]
    assert of_train["quality"].tolist() == [1, 1]
    assert of_test["quality"].tolist() == [1, 0, 1, 0]
    assert prepared.skipped["quality not among keep_quality"]["count"] == 2
    with pytest.raises(ValueError, match=r"keep_quality=\['humn'\]: no pair of .* there are human, machine\. Correct"):
        prepare(table_of(train, **settings, keep_quality=["humn"]), folder=None)
    with pytest.raises(ValueError, match="'human' in quality is no number"):
        prepare(table_of(train, **settings), folder=None)
    with pytest.raises(ValueError, match=r"text\.keep_quality reads labels"):
        prepare(table_of(train, **settings, keep_quality=["human"], min_quality=1.0), folder=None)
    bare = [{name: value for name, value in row.items() if name != "by"} for row in rows]
    named = write(tmp_path / "named.tsv", [row | {"quality": row["by"]} for row in rows])
    whole = prepare(table_of(named, dev=str(write(dev, bare)), keep_quality=["machine"]), folder=None).manifest
    assert whole["split"].tolist() == ["train", *["dev"] * 4]


def test_one_language_on_both_sides(tmp_path: Path) -> None:
    rows = [*ROWS, ROWS[0] | {"target_language": "deu"}]
    prepared = prepare(table_of(write(tmp_path / "t.jsonl", rows)), folder=None)
    assert prepared.skipped["source and target in the same language"]["examples"] == ["t_000002"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source_language": "de"}, r"text\.source_language: 'de'.*'deu'.*text\.extra_languages=\[de\]"),
        ({"target_language": "deu"}, r"are both 'deu'"),
        ({"train": ["a.deu"]}, r"text\.train=\['a\.deu'\]: these are 1 files"),
        ({"train": ["a.deu", "b.eng"]}, r"there is no a\.deu and no b\.eng"),
        ({"train": None}, r"text\.train, text\.dev and text\.test are all null"),
        ({"min_quality": 1.0}, r"text\.min_quality is set"),
        ({"source_language": None}, r"text\.source_language is null"),
    ],
)
def test_problems_of_two_files(files: list[str], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prepare(two_files(files, **settings), folder=None)


@pytest.mark.parametrize("endings", [("deu", "eng"), ("de", "en")])
def test_swapped_files_are_told_by_their_names(tmp_path: Path, endings: tuple[str, str]) -> None:
    paths = [tmp_path / f"train.{ending}" for ending in endings]
    for path in paths:
        path.write_text("a\n")
    given = [str(path) for path in paths]
    assert not TwoFiles.problems(train=given, dev=None, test=None, source_language="deu", target_language="eng")
    (problem,) = TwoFiles.problems(train=given[::-1], dev=None, test=None, source_language="deu", target_language="eng")
    assert "by their names, the first file holds the target language" in problem


def test_a_row_with_an_unknown_language_or_a_repeated_id_stops(tmp_path: Path) -> None:
    bad = [*ROWS, ROWS[0] | {"target_language": "en"}]
    with pytest.raises(ValueError, match=r"target language of 't_000002': 'en'.*'eng'.*text\.extra_languages"):
        prepare(table_of(write(tmp_path / "t.jsonl", bad)), folder=None)
    twice = [row | {"id": "same"} for row in ROWS]
    with pytest.raises(
        ValueError, match=r"1 ids occur more than once in split train: same \(in text/deu/eng, text/nan/jpn"
    ):
        prepare(table_of(write(tmp_path / "t.jsonl", twice)), folder=None)


def test_manifest_rows_and_hash(tmp_path: Path) -> None:
    corpus = table_of(write(tmp_path / "t.jsonl"))
    stored = prepare(corpus, folder=tmp_path / "m")
    frame = read_manifest(tmp_path / "m" / "manifest.parquet", TextPair)
    pairs = records(frame, TextPair)
    assert (
        records(prepare(corpus, folder=tmp_path / "m").manifest, TextPair)
        == records(stored.manifest, TextPair)
        == pairs
    )
    rows = pickle.loads(pickle.dumps(Rows(frame, TextPair)))
    assert [rows[index] for index in range(len(rows))] == pairs
    assert rows.values("source_language").tolist() == ["deu", "nan"]
    assert rows.values("quality").tolist() == [1.5, 1.0]
    assert rows.num_characters("target").tolist() == [8, 5]
    lines = sorted([p.id, p.dataset, p.source_language, p.target_language, p.source, p.target] for p in pairs)
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    known = split_hash(frame, TextPair)
    assert known == f"1:{hashlib.sha256(text.encode()).hexdigest()}"
    assert split_hash(frame.assign(quality=0.0).iloc[::-1], TextPair) == known
    assert split_hash(frame.assign(target="x"), TextPair) != known
    with pytest.raises(ValueError, match="this table is no manifest: it lacks audio"):
        validate(frame)
    with pytest.raises(ValueError, match="split that is none of"):
        validate(to_frame([replace(pairs[0], split="x")], TextPair), TextPair)


@pytest.mark.parametrize("option", ["jsonl", "parquet", "tsv", "two_files"])
def test_every_yaml_of_files_composes_and_builds(option: str, files: list[str], tmp_path: Path) -> None:
    overrides = [f"+text={option}"]
    if option == "two_files":
        overrides += [f"text.train=[{','.join(files)}]", "text.source_language=deu", "text.target_language=eng"]
    else:
        overrides += [f"text.train={write(tmp_path / f't.{option}')}"]
    node = compose(overrides)["text"]
    assert node["name"] == option
    corpus: TextCorpus = instantiate(node)
    assert len(prepare(corpus, folder=None).manifest) == (3 if option == "two_files" else 2)


def test_there_are_five_kinds() -> None:
    assert options("text", [conf_dir()]) == ["jsonl", "parquet", "synthetic", "tsv", "two_files"]
    assert np.dtype(float) == to_frame([], TextPair)["quality"].dtype


def test_files_without_a_pair_are_named(tmp_path: Path) -> None:
    table = tmp_path / "empty.tsv"
    table.write_text("source\ttarget\n")
    with pytest.raises(ValueError, match=r"empty\.tsv: no pair of sentences"):
        prepare(
            PairTable(train=str(table), dev=None, test=None, source_language="eng", target_language="deu"), folder=None
        )
