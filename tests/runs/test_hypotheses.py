from __future__ import annotations

import errno
import json
import math
import os
from dataclasses import asdict, replace

import pytest

from mlsuperb.runs.hypotheses import read_hypotheses, write_hypotheses


def lines(path, *rows):
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_round_trip_keeps_scripts_raw_spaces_and_nan(tmp_path, utterance):
    written = [
        utterance("nan", "  Âng-kó͘\u3000", "[nan]  ÂNG  <unk>"),
        utterance("eng", "", ""),
        utterance("amh", "ሰላም", "ሰ"),
    ]
    path = tmp_path / "hypotheses.jsonl"
    write_hypotheses(path, iter(written))
    assert read_hypotheses(path) == written
    assert "ሰላም" in path.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_keeps_the_earlier_file(tmp_path, utterance, monkeypatch):
    path = tmp_path / "hypotheses.jsonl"
    one = utterance("eng", "a", "a")
    write_hypotheses(path, [one])
    before = path.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        OSError, match=r"could not write .*hypotheses\.jsonl: No space left on device.*untouched"
    ) as caught:
        write_hypotheses(path, [one, utterance("eng", "b", "b")])
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        write_hypotheses(path, [replace(one, duration_s=math.nan)])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_wrong_is_named_with_file_and_line(tmp_path, utterance):
    good = asdict(utterance("eng", "a", "a", id="x_eng_000001"))
    without = {key: value for key, value in good.items() if key not in ("reference", "split")}
    path = tmp_path / "h.jsonl"
    cases = [
        ((), "holds no hypothesis"),
        (("\n",), "holds no hypothesis"),
        ((good, '{"id": "b", "data'), r"h\.jsonl, line 2: not a JSON object"),
        (("[1]\n",), r"line 1: not a JSON object; a hypothesis has the fields id, dataset"),
        ((good, without), r"line 2: missing split, reference"),
        (({**good, "text": "a"},), r"line 1: unknown text"),
        (
            (good, {**good, "audio": "b.wav"}),
            r"line 2: utterance 'x_eng_000001' of split 'test' stands already in line 1",
        ),
        ((json.dumps({**good, "language": math.nan}) + "\n",), r"line 1: .*NaN is not JSON.*`nan`, quote it"),
        (({**good, "language": None},), r"line 1: language is None, expected str"),
        (({**good, "language": "[eng]"},), r"line 1: language is '\[eng\]'; a language's code holds no bracket"),
        (({**good, "predicted_language": "e n"},), r"line 1: predicted_language is 'e n'; .* no white space"),
        (({**good, "start_s": "0"},), r"line 1: start_s is '0', expected float"),
        ((good, json.dumps(good)[:-1] + ', "hypothesis": "b"}\n'), r"line 2: .*'hypothesis' occurs twice"),
        (
            (good, {**good, "hypothesis": "a \ud83d"}),
            r"line 2: hypothesis is 'a \\ud83d', in which a half of a surrogate",
        ),
        (({**good, "hypothesis": ["a"]},), r"line 1: hypothesis is \['a'\], expected str"),
        ((json.dumps(good).replace("1.0", "1e999") + "\n",), r"line 1: \w+ is not a finite number of seconds"),
        (("[" * 100_000,), r"line 1: not a JSON object \(it is nested too deeply\)"),
        (("7\n",), r"line 1: not a JSON object; a hypothesis has"),
    ]
    for rows, message in cases:
        with pytest.raises(ValueError, match=message):
            read_hypotheses(lines(path, *rows))
    with pytest.raises(ValueError, match="there is no file"):
        read_hypotheses(tmp_path / "none.jsonl")


@pytest.mark.parametrize(("encoding", "remedy"), [("latin-1", "iconv -f ITS_ENCODING"), ("utf-16", "iconv -f UTF-16")])
def test_another_encoding_is_named_with_its_line(tmp_path, utterance, encoding, remedy):
    path = tmp_path / "h.jsonl"
    path.write_bytes(json.dumps(asdict(utterance("eng", "é", "é")), ensure_ascii=False).encode(encoding))
    with pytest.raises(ValueError, match=rf"h\.jsonl, line 1: this is not UTF-8 text .*{remedy}"):
        read_hypotheses(path)


def test_one_id_may_stand_in_two_splits(tmp_path, utterance):
    one = utterance("eng", "a", "a")
    path = tmp_path / "h.jsonl"
    write_hypotheses(path, [one, replace(one, split="dev_dialect")])
    assert len(read_hypotheses(path)) == 2
