"""The rows of a manifest as one block of Arrow memory: no Python object per row, so forked workers share it untouched."""

from __future__ import annotations

from typing import Any, Generic

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch

from mlsuperb.data.manifest import Record, columns, number_columns


class Rows(Generic[Record]):
    """The rows of a manifest. Python strings would be copied into every worker process, for reading one changes its count
    of references; Arrow's are not. The text of `manifest` is shared with it, not copied.

    Args:
        manifest: rows with the columns of `record`.
        record: what a row is: `Utterance`, `TextPair`, or another frozen dataclass of text and numbers that names its
            `few_values`, the columns that are kept as numbers of their values.
    """

    def __init__(self, manifest: pd.DataFrame, record: type[Record]) -> None:
        self._record = record
        self._columns = {name: _column(manifest[name], record) for name in columns(record)}
        self._sent: torch.Tensor | None = None

    def __getstate__(self) -> tuple[type[Record], torch.Tensor]:
        """What a worker process is sent where processes are not forked (macOS; Python 3.14 on Linux): a tensor, for torch
        sends each of them the same memory."""
        if self._sent is None:
            table, sink = pa.table(self._columns), pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
            self._sent = torch.frombuffer(bytearray(sink.getvalue()), dtype=torch.uint8)
        return self._record, self._sent

    def __setstate__(self, state: tuple[type[Record], torch.Tensor]) -> None:
        self._record, self._sent = state
        table = pa.ipc.open_stream(pa.py_buffer(self._sent.numpy())).read_all()
        whole = {*number_columns(self._record), *self._record.few_values}
        self._columns = {
            name: table[name].combine_chunks() if name in whole else table[name] for name in table.column_names
        }

    def __len__(self) -> int:
        return len(self._columns["id"])

    def __getitem__(self, index: int) -> Record:
        return self._record(**{name: column[index].as_py() for name, column in self._columns.items()})

    def values(self, name: str) -> np.ndarray:
        """A column of numbers, not to be written to; or one of few values, as references to one text for each value."""
        column: Any = self._columns[name]
        if name in number_columns(self._record):
            return column.to_numpy()
        return np.array(column.dictionary.to_pylist(), dtype=object)[column.indices.to_numpy()]

    def matched(self, name: str, pattern: str) -> tuple[np.ndarray, list[str]]:
        """The first group of a pattern in each text of a column: as numbers (N,) of the texts in the list beside them, -1 where
        the pattern does not fit."""
        found = pc.struct_field(pc.extract_regex(self._columns[name], pattern), 0).dictionary_encode()
        whole = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
        return pc.fill_null(whole.indices, -1).to_numpy(), whole.dictionary.to_pylist()

    def num_characters(self, name: str) -> np.ndarray:
        """How many characters the texts of a column have."""
        return pc.utf8_length(self._columns[name]).to_numpy().astype(np.int64)


def _column(values: pd.Series, record: type[Any]) -> pa.Array | pa.ChunkedArray:
    if values.name in number_columns(record):
        return pa.array(values.to_numpy(dtype=float))
    text = pa.array(values.astype("str"))
    if isinstance(text, pa.Array):
        text = pa.chunked_array([text])  # in pieces it stays in pieces: to join them is to copy them
    return text.dictionary_encode().combine_chunks() if values.name in record.few_values else text
