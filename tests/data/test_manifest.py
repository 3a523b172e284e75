from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_trees import ListCorpus, utterance, write_wave

from mlsuperb.data import manifest as module
from mlsuperb.data.corpora.base import Corpus
from mlsuperb.data.fingerprint import MANIFEST_VERSION, fingerprint
from mlsuperb.data.manifest import (
    each_record,
    read_columns,
    read_manifest,
    read_split,
    records,
    split_hash,
    summary,
    to_frame,
    validate,
    write_manifest,
)
from mlsuperb.data.prepared import prepare
from mlsuperb.data.skips import SkipReport
from mlsuperb.runtime.files import replaced
from mlsuperb.types import Utterance


def corpus_of(*rows, files=(), **settings):
    return ListCorpus(given=list(rows), files=list(files), **settings)


@pytest.fixture
def rows(tmp_path):
    texts = ["nan", "None \u2028 x", "日本 \u0085 語"]
    return [
        utterance(
            write_wave(tmp_path / f"u{n}.wav", duration_s=1 + n / 4), text=text, language="nan", duration_s=1 + n / 4
        )
        for n, text in enumerate(texts)
    ]


def test_round_trip_keeps_nan_a_language(tmp_path, rows):
    write_manifest(to_frame(rows), tmp_path / "m.parquet")
    frame = read_manifest(tmp_path / "m.parquet")
    assert records(frame, Utterance) == rows
    assert frame["language"].tolist() == ["nan"] * 3
    assert sorted(path.name for path in tmp_path.glob("*m.parquet*")) == ["m.parquet"], "no scratch file is left"


def test_a_split_and_some_columns_are_those_of_the_whole(tmp_path, rows, monkeypatch):
    monkeypatch.setattr(module, "_ROW_GROUP", 2)
    mixed = [
        replace(row, id=f"{row.id}{copy}", split=split)
        for copy, split in enumerate(("train", "dev", "train", "train"))
        for row in rows
    ]
    frame, path = to_frame(mixed), tmp_path / "split=dev" / "m.parquet"  # no value of a column
    path.parent.mkdir()
    write_manifest(frame, path)
    whole = read_manifest(path)
    for split in ("train", "dev", "test"):
        pd.testing.assert_frame_equal(read_split(path, split), whole[whole["split"] == split])
    pd.testing.assert_frame_equal(read_columns([path], ["id", "duration_s"]), whole[["id", "duration_s"]])
    twice = read_columns([path, path], ["split"])
    assert twice["split"].tolist() == [*frame["split"], *frame["split"]]
    assert list(read_columns([], ["id"]).columns) == ["id"]
    with pytest.raises(ValueError, match="no such manifest"):
        read_split(tmp_path / "none.parquet", "dev")


@pytest.mark.parametrize("piece", [1, 2, 100])
def test_records_one_after_the_other_are_all_records(rows, monkeypatch, piece):
    monkeypatch.setattr(module, "_PIECE", piece)
    assert list(each_record(to_frame(rows), Utterance)) == rows


def test_nodes_whose_processes_have_the_same_id_do_not_share_a_temporary_file(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 7)
    path = tmp_path / "m.json"
    with replaced(path) as one:
        one.write_text("one")
        with replaced(path) as other:
            other.write_text("other")
        assert path.read_text() == "other"
        assert one.read_text() == "one"
    assert path.read_text() == "one"
    assert [found.name for found in tmp_path.iterdir()] == ["m.json"]


def test_two_nodes_prepare_a_manifest_at_once(tmp_path, rows, monkeypatch):
    """The second begins and ends while the first has its file open."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    path, frame = tmp_path / "m.parquet", to_frame(rows)
    opened, plain = [], pq.ParquetWriter

    def writer(where, schema):
        opened.append(where)
        if len(opened) == 1:
            write_manifest(frame, path)
        return plain(where, schema)

    monkeypatch.setattr(pq, "ParquetWriter", writer)
    write_manifest(frame, path)
    assert len(set(opened)) == 2
    assert records(read_manifest(path), Utterance) == rows


def test_no_manifest(tmp_path):
    with pytest.raises(ValueError, match="no such manifest"):
        read_manifest(tmp_path / "m.parquet")
    (tmp_path / "m.parquet").write_text("x")
    with pytest.raises(ValueError, match="no Parquet file"):
        read_manifest(tmp_path / "m.parquet")


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [("text", [1, 2, 3], "text"), ("text", [["a"]] * 3, "text"), ("duration_s", ["1", "2", "3"], "numbers")],
)
def test_a_manifest_of_others_with_other_values_is_refused(tmp_path, rows, name, values, kind):
    table = pa.Table.from_pandas(to_frame(rows).drop(columns=name)).append_column(name, pa.array(values))
    pq.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(ValueError, match=rf"m\.parquet has other values than {kind} in {name}"):
        read_manifest(tmp_path / "m.parquet")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "valid"}, "split that is none of train, dev, test"),
        ({"duration_s": 0.0}, "no positive duration"),
        ({"duration_s": float("nan")}, "empty cell"),
        ({"start_s": -1.0}, "starts before"),
        ({"id": "u1"}, "id of another row"),
    ],
)
def test_validate(rows, changes, message):
    validate(to_frame(rows))
    with pytest.raises(ValueError, match=message):
        validate(to_frame([replace(rows[0], **changes), *rows[1:]]))
    with pytest.raises(ValueError, match="lacks audio"):
        validate(to_frame(rows).drop(columns="audio"))


def test_split_hash_sees_what_matters_and_nothing_else(rows):
    frame = to_frame(rows)
    known = split_hash(frame)
    lines = sorted([row.id, row.dataset, row.language, f"{row.duration_s:.2f}", row.text] for row in rows)
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    assert known == f"1:{hashlib.sha256(text.encode()).hexdigest()}"
    assert split_hash(frame.iloc[::-1]) == known
    assert split_hash(frame.assign(audio="elsewhere", speaker="x", start_s=3.0)) == known
    assert split_hash(frame.assign(duration_s=frame["duration_s"] + 0.001)) == known
    for column, value in {"id": "u", "dataset": "x", "language": "x", "duration_s": 9.0, "text": "x"}.items():
        changed = frame.copy()
        changed.loc[0, column] = value
        assert split_hash(changed) != known, column


def test_summary_adds_up(tmp_path):
    frame = to_frame(
        utterance("a", id=str(n), duration_s=float(n), language=language, split=split)
        for n, (language, split) in enumerate(
            [("eng", "train"), ("eng", "train"), ("nan", "train"), ("nan", "test")], 1
        )
    )
    sizes = summary(frame)
    assert sizes["splits"]["train"] == {"num_utterances": 3, "hours": 6 / 3600, "num_languages": 2, "num_datasets": 1}
    assert sum(cell["minutes"] for cell in sizes["cells"]) == pytest.approx(10 / 60)
    assert json.loads(json.dumps(sizes)) == sizes


def test_what_cannot_be_used_is_counted_by_reason_and_split(tmp_path):
    wave = write_wave(tmp_path / "good.wav", duration_s=2.0)
    (tmp_path / "bad.wav").write_text("no audio")
    none = write_wave(tmp_path / "none.wav", duration_s=0.0)
    long = write_wave(tmp_path / "long.wav", duration_s=21.0)
    short = write_wave(tmp_path / "short.wav", duration_s=0.1)
    segments = {
        "over": (1.0, 1.2),
        "behind": (2.0, 1.0),
        "rounded": (1.0, 1.05),
        "empty": (1.0, 0.0),
        "early": (-1.0, 1.0),
    }
    corpus = corpus_of(
        utterance(wave, id="first"),
        utterance(tmp_path / "gone.wav"),
        utterance(tmp_path / "bad.wav", split="test"),
        utterance(wave, id="silent", text="  "),
        utterance(none),
        *(utterance(wave, id=name, start_s=start, duration_s=length) for name, (start, length) in segments.items()),
        *(utterance(long, split=split) for split in ("train", "dev", "test")),
        *(utterance(short, split=split) for split in ("train", "dev", "test")),
    )
    prepared = prepare(corpus, folder=None)
    kept = [(row.split, row.id, round(row.duration_s, 6)) for row in records(prepared.manifest, Utterance)]
    assert kept == [("train", "first", 2.0), ("train", "rounded", 1.0), ("test", "long", 21.0), ("test", "short", 0.1)]
    assert {
        reason: (entry["count"], entry["splits"], entry["examples"]) for reason, entry in prepared.skipped.items()
    } == {
        "empty text": (1, {"train": 1}, ["silent"]),
        "missing audio file": (1, {"train": 1}, ["gone"]),
        "unreadable audio file": (1, {"test": 1}, ["bad"]),
        "zero duration": (2, {"train": 2}, ["none", "empty"]),
        "segment beyond the end of its file": (3, {"train": 3}, ["over", "behind", "early"]),
        "longer than max_duration_s": (2, {"train": 1, "dev": 1}, ["long", "long"]),
        "not longer than min_duration_s": (2, {"train": 1, "dev": 1}, ["short", "short"]),
    }
    num_skipped = sum(entry["count"] for entry in prepared.skipped.values())
    assert num_skipped + len(kept) == len(corpus.given), "nothing is dropped in silence"
    assert "2 x zero duration [train 2]: none, empty" in str(SkipReport(prepared.skipped))


def test_what_lies_at_the_limits_is_not_trained_on_but_is_of_the_vocabulary(tmp_path):
    """ESPnet cuts what is above 20 s, lists the tokens, and then keeps what lies between 0.1 and 20 s, both excluded."""
    wave = write_wave(tmp_path / "long.wav", duration_s=22.0)
    durations = {"a": 0.1, "b": 0.11, "c": 19.99, "d": 20.0, "e": 20.01}
    rows = [
        utterance(wave, id=name, split=split, duration_s=length, text=f"text {name}", language=language)
        for split, language in (("train", "eng"), ("dev", "eng"), ("test", "deu"))
        for name, length in durations.items()
    ]
    for _ in range(2):  # read, and stored
        prepared = prepare(corpus_of(*rows), folder=tmp_path / "m")
        assert prepared.manifest.groupby("split")["id"].agg("".join).to_dict() == {
            "train": "bc",
            "dev": "bc",
            "test": "abcde",
        }
        assert prepared.texts == [("eng", "d", "text a"), ("eng", "d", "text d")]
        assert {reason: entry["count"] for reason, entry in prepared.skipped.items()} == {
            "longer than max_duration_s": 2,
            "as long as max_duration_s": 2,
            "not longer than min_duration_s": 2,
        }
    assert prepare(corpus_of(*rows, text="optional"), folder=None).texts == []
    # which hours are taken, is not known there
    assert prepare(corpus_of(*rows, max_train_hours=1.0), folder=None).texts == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"audio": "/gone.wav"}, r"first is 'x'.*missing audio file: /gone\.wav.*data\.on_bad=skip"),
        ({"start_s": 9.0}, "segment beyond the end"),
    ],
)
def test_on_bad_error_stops(tmp_path, row, message):
    wave = write_wave(tmp_path / "a.wav")
    with pytest.raises(ValueError, match=message):
        prepare(corpus_of(utterance(wave), replace(utterance(wave, id="x"), **row), on_bad="error"), folder=None)


def test_errors(tmp_path):
    wave, other = write_wave(tmp_path / "a.wav"), write_wave(tmp_path / "b.wav", rate_hz=8000)
    twice = [utterance(wave), utterance(wave, language="deu"), *[utterance(other, split="dev")] * 2]
    with pytest.raises(ValueError, match=r"2 ids occur .* in split train, dev: a, b \(in d/eng, d/deu"):
        prepare(corpus_of(*twice), folder=None)
    with pytest.raises(ValueError, match=r"language of 'a': 'de' is not an ISO.*'deu'.*data\.extra_languages=\[de\]"):
        prepare(corpus_of(utterance(wave, language="de")), folder=None)
    assert len(prepare(corpus_of(utterance(wave, language="de"), extra_languages=["de"]), folder=None).manifest) == 1
    for bad in ("[de]", "d e"):
        with pytest.raises(ValueError, match=r"data\.extra_languages: .* cannot be a language code.*another code\.$"):
            prepare(corpus_of(utterance(wave, language=bad), extra_languages=[bad]), folder=None)
        with pytest.raises(ValueError, match=r"^language of 'a': .* cannot be a language code"):
            prepare(corpus_of(utterance(wave, language=bad)), folder=None)
    with pytest.raises(ValueError, match=r"b\.wav has 8000.*\(1 files"):
        prepare(corpus_of(utterance(wave), utterance(other), resample=False), folder=None)
    with pytest.raises(
        ValueError, match=r"data\.languages=deu\. The corpus has the datasets d and the languages eng\."
    ):
        prepare(corpus_of(utterance(wave), languages=["eng", "deu"]), folder=None)
    with pytest.raises(ValueError, match=r"any of its utterances.*1 x missing audio file \[train 1\]: gone"):
        prepare(corpus_of(utterance(tmp_path / "gone.wav")), folder=None)
    with pytest.raises(ValueError, match="any of its utterances"):
        prepare(corpus_of(), folder=None)
    with pytest.raises(ValueError, match=r"data\.languages: 'no'"):
        prepare(corpus_of(utterance(wave), languages=["no"]), folder=None)


def test_selection(tmp_path):
    wave = write_wave(tmp_path / "a.wav")
    places = [("eng", "d"), ("deu", "d"), ("eng", "e"), ("nan", "e")]
    rows = [
        utterance(wave, id=f"{language}{dataset}", language=language, dataset=dataset) for language, dataset in places
    ]

    def ids(**settings):
        return prepare(corpus_of(*rows, **settings), folder=None).manifest["id"].tolist()

    assert ids() == ["engd", "deud", "enge", "nane"]
    assert ids(languages=["eng", "nan"]) == ["engd", "enge", "nane"]
    assert ids(datasets=["e"]) == ["enge", "nane"]
    assert ids(pairs=[["nan", "e"], ["eng", "d"]]) == ["engd", "nane"]
    assert ids(languages=["eng"], datasets=["e"]) == ["enge"]
    assert ids(pairs=[["nan", "e"], ["eng", "d"]], languages=["eng"]) == ["engd"]  # the other pair is not asked for
    with pytest.raises(ValueError, match=r"data\.pairs=\('eng', 'x'\)\."):
        ids(pairs=[["nan", "x"], ["eng", "x"], ["eng", "d"]], languages=["eng"])


def test_max_train_hours_takes_the_first_of_every_pair(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for number in range(200):
        start_s, duration_s = 0.0, float(rng.uniform(0.2, 3.0))
        language, split = str(rng.choice(["eng", "deu"])), str(rng.choice(["train", "train", "dev", "test"]))
        row = utterance("x", id=str(number), start_s=start_s, duration_s=duration_s, language=language, split=split)
        rows.append(replace(row, audio=str(tmp_path / "a.wav")))
    write_wave(tmp_path / "a.wav", duration_s=3.0)
    limit_s = 60.0
    kept, spent_s, open_pairs = [], {"eng": 0.0, "deu": 0.0}, {"eng", "deu"}
    for row in rows:  # brute force
        if row.split == "train":
            spent_s[row.language] += row.duration_s
            if spent_s[row.language] > limit_s:
                open_pairs.discard(row.language)
            if row.language not in open_pairs:
                continue
        kept.append(row.id)
    prepared = prepare(corpus_of(*rows, max_train_hours=limit_s / 3600), folder=None)
    assert prepared.manifest["id"].tolist() == kept
    assert prepared.skipped["beyond max_train_hours"]["count"] == 200 - len(kept) > 0
    assert prepared.skipped["beyond max_train_hours"]["splits"].keys() == {"train"}


def test_hours_are_drawn_by_a_seed(tmp_path):
    """Others than the first, the same for the same seed; less of them is a part of more; dev and test stay whole."""
    rows = [
        replace(utterance("x", id=f"{split}{number}", duration_s=3.0, split=split), audio=str(tmp_path / "a.wav"))
        for split in ("train", "dev", "test")
        for number in range(40)
    ]
    write_wave(tmp_path / "a.wav", duration_s=3.0)

    def drawn(num, **settings):
        kept = prepare(corpus_of(*rows, max_train_hours=3 * num / 3600, **settings), folder=None).manifest
        assert (kept["split"] != "train").sum() == 80
        assert kept["id"].tolist() == [row.id for row in rows if row.id in set(kept["id"])], "in corpus order"
        return set(kept["id"][kept["split"] == "train"])

    few, more = drawn(10, hours_seed=0), drawn(20, hours_seed=0)
    assert (len(few), len(more)) == (10, 20)
    assert few < more
    assert drawn(10, hours_seed=0) == few != drawn(10, hours_seed=1)
    assert drawn(10) == {f"train{number}" for number in range(10)} != few
    others = [replace(row, id=f"{row.id}-other", language="fra") for row in rows]
    limits = {"max_train_hours": 30 / 3600, "hours_seed": 0}
    both = prepare(corpus_of(*others, *rows, **limits), folder=None).manifest
    assert few < set(both["id"]), "a language's hours do not depend on other languages"
    with pytest.raises(ValueError, match=r"data\.hours_seed draws what data\.max_train_hours takes, which is not set"):
        prepare(corpus_of(*rows, hours_seed=0), folder=None)


def test_a_stored_manifest_is_used_until_something_changes(tmp_path, monkeypatch):
    listing = tmp_path / "list.txt"
    listing.write_text("1")
    row = utterance(write_wave(tmp_path / "a.wav"))
    opened = []
    original = Corpus.usable
    monkeypatch.setattr(Corpus, "usable", lambda *args, **given: opened.append(1) or original(*args, **given))

    def again(*rows, **settings):
        opened.clear()
        prepared = prepare(corpus_of(*rows, files=[listing], **settings), folder=tmp_path / "m")
        pd.testing.assert_frame_equal(prepared.manifest, read_manifest(tmp_path / "m" / "manifest.parquet"))
        return prepared, bool(opened)

    first, read = again(row, utterance(tmp_path / "gone.wav"))
    assert read
    second, read = again(row, utterance(tmp_path / "gone.wav"))
    assert not read
    assert second.skipped == first.skipped
    assert second.skipped["missing audio file"]["count"] == 1
    pd.testing.assert_frame_equal(first.manifest, second.manifest)
    assert again(row, utterance(tmp_path / "gone.wav"), max_duration_s=5.0)[1], "other settings"
    os.utime(listing, (1, 1))
    assert again(row, utterance(tmp_path / "gone.wav"), max_duration_s=5.0)[1], "a touched source"
    listing.unlink()
    assert again(row, utterance(tmp_path / "gone.wav"), max_duration_s=5.0)[1], "a source that is gone"
    (tmp_path / "m" / "skipped.json").write_text("{")
    assert again(row, utterance(tmp_path / "gone.wav"), max_duration_s=5.0)[1], "a damaged store"
    assert not again(row, utterance(tmp_path / "gone.wav"), max_duration_s=5.0)[1]
    files = sorted(path.name for path in (tmp_path / "m").iterdir())
    assert files == ["audio.parquet", "manifest.parquet", "skipped.json"]


def test_skip_report():
    report = SkipReport()
    assert str(report) == "nothing was skipped"
    for number in range(7):
        report.add("odd", f"n{number}", split="train" if number else "")
    assert report.to_dict() == {"odd": {"count": 7, "splits": {"train": 6}, "examples": ["n0", "n1", "n2", "n3", "n4"]}}
    assert str(report) == "7 x odd [train 6]: n0, n1, n2, n3, n4, ..."


def test_rows_dropped_later_are_added_to_the_report() -> None:
    rows = pd.DataFrame({"id": ["a", "b", "c"], "split": ["train"] * 3})
    skipped: dict[str, dict] = {}
    assert SkipReport(skipped).drop(rows, np.array([False, True, True]), "no text")["id"].tolist() == ["a"]
    assert skipped == {"no text": {"count": 2, "splits": {"train": 2}, "examples": ["b", "c"]}}


def test_speech_without_transcripts_makes_a_manifest_where_text_is_optional(tmp_path):
    wave = write_wave(tmp_path / "a.wav")
    rows = [utterance(wave, id="said"), utterance(wave, id="unsaid", text=" ")]
    optional = prepare(corpus_of(*rows, text="optional"), folder=None)
    assert optional.manifest["id"].tolist() == ["said", "unsaid"]
    assert optional.skipped == {}
    required = prepare(corpus_of(*rows), folder=None)
    assert required.manifest["id"].tolist() == ["said"]
    assert required.skipped["empty text"]["count"] == 1


def test_a_setting_that_old_manifests_lack_leaves_their_fingerprint(tmp_path):
    """Known from the commit before there was a choice of text."""
    settings = {"given": [], "files": [], "languages": ["eng"], "max_duration_s": 5.0}
    old = {
        "languages": ["eng"], "datasets": None, "pairs": None, "max_train_hours": None, "max_duration_s": 5.0,
        "min_duration_s": 0.1, "resample": True, "extra_languages": [], "on_bad": "skip", "given": [], "files": [],
    }  # fmt: skip
    reader = f"{ListCorpus.__module__}.{ListCorpus.__qualname__}"
    text = json.dumps([MANIFEST_VERSION, {"reader": reader, **old}, []], sort_keys=True)
    assert fingerprint(ListCorpus(**settings)) == hashlib.sha256(text.encode()).hexdigest()
    assert fingerprint(ListCorpus(**settings, text="optional")) != fingerprint(ListCorpus(**settings))
