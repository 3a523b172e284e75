"""The rows of a manifest: the same utterances as went in, whatever the table's own storage."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from corpus_trees import utterance

from mlsuperb.data.manifest import to_frame
from mlsuperb.data.rows import Rows
from mlsuperb.types import Utterance

GIVEN = [
    utterance(f"/a/{n}.wav", id=f"é{n}", duration_s=1 + n / 3, start_s=n / 7, text="日本 nan" * (n % 3), language=code)
    for n, code in enumerate(["nan", "eng", "org_jpn", "nan", "swa", "eng"])
]


def frames() -> list[pd.DataFrame]:
    frame = to_frame(GIVEN)
    pieces = pd.concat([frame[:2], frame[2:]], ignore_index=True)  # several Arrow chunks
    return [frame, frame.astype({"id": object, "language": object}), pieces]


@pytest.mark.parametrize("frame", frames())
def test_rows_are_the_utterances_that_went_in(frame: pd.DataFrame) -> None:
    rows = Rows(frame, Utterance)
    assert [rows[index] for index in range(len(rows))] == GIVEN
    assert rows.values("duration_s").tolist() == [row.duration_s for row in GIVEN]
    assert rows.values("language").tolist() == [row.language for row in GIVEN]
    chosen = Rows(frame[frame["language"] == "eng"], Utterance)
    assert [chosen[index] for index in range(len(chosen))] == [GIVEN[1], GIVEN[5]]
    again = pickle.loads(pickle.dumps(rows))
    assert [again[np.int64(index)] for index in range(len(again))] == GIVEN
    assert again.values("language").tolist() == rows.values("language").tolist()
    assert again.values("duration_s").tolist() == rows.values("duration_s").tolist()


def test_a_manifest_without_rows() -> None:
    rows = Rows(to_frame([]), Utterance)
    assert (len(rows), rows.values("duration_s").shape, rows.values("language").shape) == (0, (0,), (0,))
