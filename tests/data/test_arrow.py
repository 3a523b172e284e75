"""Columns of a manifest in Arrow memory: the same lines and the same repeated rows as Python finds."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from mlsuperb.data import arrow as module
from mlsuperb.data.arrow import repeated, same_rows, sorted_rows_digest, text_array

LETTERS = ["a", '"', "\\", "\n", "\t", "\x00", "\x1f", "\x7f", "é", "\u2028", "\uffff", "😀", "日", " ", "]", ", "]


@pytest.mark.parametrize("piece", [1, 7, 10_000])
@pytest.mark.parametrize("size", [0, 1, 200])
def test_digest_is_that_of_sorted_json_lines(monkeypatch: pytest.MonkeyPatch, size: int, piece: int) -> None:
    monkeypatch.setattr(module, "_PIECE", piece)
    rng = np.random.default_rng(size)
    columns = [["".join(rng.choice(LETTERS, rng.integers(0, 4))) for _ in range(size)] for _ in range(3)]
    digest = hashlib.sha256()
    for row in sorted(zip(*columns, strict=True)):
        digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    given = [text_array(pd.Series(column, dtype="str")) for column in columns]
    assert sorted_rows_digest(given) == digest.hexdigest()


@pytest.mark.parametrize("piece", [3, 10_000])
def test_rows_of_one_split_and_id_are_found(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(module, "_PIECE", piece)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"split": rng.choice(["train", "dev"], 100), "id": rng.integers(0, 150, 100).astype(str)})
    found = repeated(frame)
    assert found.tolist() == frame.duplicated(["split", "id"], keep=False).tolist()
    assert 0 < found.sum() < 100
    assert found[frame["id"].duplicated(keep=False)].sum() < frame["id"].duplicated(keep=False).sum()  # both splits
    assert repeated(frame[~found]).sum() == repeated(frame[:0]).sum() == 0


@pytest.mark.parametrize(("num", "num_among"), [(0, 50), (20, 200), (200, 20), (50, 0)])
def test_the_same_rows_are_found_by_split_and_id(num: int, num_among: int) -> None:
    rng = np.random.default_rng(num)
    every = pd.DataFrame({"split": ["train", "dev"] * 150, "id": [str(number // 2) for number in range(300)]})
    frame, among = (every.iloc[rng.permutation(300)[:size]] for size in (num, num_among))
    place_of = {pair: place for place, pair in enumerate(zip(among["split"], among["id"], strict=True))}
    expected = [place_of.get(pair, -1) for pair in zip(frame["split"], frame["id"], strict=True)]
    assert same_rows(frame, among).tolist() == expected


def test_text_in_several_pieces_or_as_objects_is_one_array() -> None:
    series = pd.concat([pd.Series(["a", "b"]), pd.Series(["c"])])
    for given in (series, series.astype(object), pd.Series(["x", "a", "b", "c"])[1:]):
        assert text_array(given).to_pylist() == ["a", "b", "c"]
