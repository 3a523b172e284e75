"""Columns of a manifest as Arrow arrays, for what would be slow or large with a Python object per row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from json.encoder import encode_basestring

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

_PIECE = 2**17  # rows that are turned into other text at a time
_ESCAPED = '[\\x00-\\x1f"\\\\]'  # what JSON writes in another way (`json.encoder.ESCAPE`)


def text_array(values: pd.Series) -> pa.LargeStringArray:
    """A column of text; pandas' own memory, if that is of one piece."""
    array = pa.array(values.astype("str"))
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()  # the latter copies
    return array


def repeated(frame: pd.DataFrame) -> pd.Series:
    """Which rows have the split and id of another row. Hashes of the ids tell where to look: a table of all ids, which
    pandas would make, is larger than the manifest."""
    pieces = (frame["id"].iloc[first : first + _PIECE] for first in range(0, len(frame), _PIECE))
    hashes = [pd.util.hash_array(piece.to_numpy(dtype=object), categorize=False) for piece in pieces]
    hash_of = np.concatenate([np.empty(0, np.uint64), *hashes])
    in_order = np.sort(hash_of)
    suspects = np.isin(hash_of, in_order[1:][in_order[1:] == in_order[:-1]])
    suspects[suspects] = frame.loc[suspects, ["split", "id"]].duplicated(keep=False)
    return pd.Series(suspects, index=frame.index)


def same_rows(frame: pd.DataFrame, among: pd.DataFrame) -> np.ndarray:
    """The place (N,) in `among` of the row with the split and id of each row of `frame`, or -1; neither has two such rows.
    Only `frame` is put into a hash table: it may be a small part of `among`."""
    place_N = np.full(len(frame), -1)
    for split in frame["split"].unique():
        here, there = (np.flatnonzero(one["split"] == split) for one in (frame, among))
        found = pc.index_in(text_array(among["id"].iloc[there]), value_set=text_array(frame["id"].iloc[here]))
        known = found.is_valid().to_numpy(zero_copy_only=False)
        place_N[here[found.drop_null().to_numpy()]] = there[known]
    return place_N


def sorted_rows_digest(columns: list[pa.LargeStringArray]) -> str:
    """sha256 over the sorted rows, each as the line that `json.dumps(row, ensure_ascii=False)` makes."""
    digest = hashlib.sha256()
    for lines in _sorted_lines(pa.table(columns, names=[str(number) for number in range(len(columns))])):
        _, offsets, letters = lines.buffers()
        start, *_, end = np.frombuffer(offsets, np.int64)[lines.offset :][: len(lines) + 1]
        digest.update(memoryview(letters)[start:end])
    return digest.hexdigest()


def _sorted_lines(table: pa.Table) -> Iterator[pa.LargeStringArray]:
    """In the order of Python's tuples of text: UTF-8 bytes sort as code points do."""
    order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in table.column_names])
    for first in range(0, len(order), _PIECE):
        piece = table.take(order[first : first + _PIECE])
        escaped = [_escaped(column.combine_chunks()) for column in piece.columns]
        inner = pc.binary_join_element_wise(*escaped, _literal('", "'))
        yield pc.binary_join_element_wise(_literal('["'), inner, _literal('"]\n'), _literal(""))


def _escaped(column: pa.LargeStringArray) -> pa.LargeStringArray:
    special = pc.match_substring_regex(column, _ESCAPED)
    rewritten = [encode_basestring(text)[1:-1] for text in column.filter(special).to_pylist()]
    return pc.replace_with_mask(column, special, pa.array(rewritten, column.type)) if rewritten else column


def _literal(text: str) -> pa.Scalar:
    return pa.scalar(text, pa.large_string())
