"""The rows of a manifest as one block of Arrow memory: no Python object a row, so forked workers share it untouched."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from mlsuperb.data.manifest import COLUMNS, SECONDS
from mlsuperb.types import Utterance

_FEW_VALUES = ("language", "dataset", "split", "speaker")  # kept as numbers of their values


class Rows:
    """The rows of a manifest. Python strings would be copied into every worker process, for reading one changes its count
    of references; Arrow's are not. The text of `manifest` is shared with it, not copied.

    Args:
        manifest: rows with the columns of `Utterance`.
    """

    def __init__(self, manifest: pd.DataFrame) -> None:
        self._columns = {name: _column(manifest[name]) for name in COLUMNS}
        self._sent: torch.Tensor | None = None

    def __getstate__(self) -> torch.Tensor:
        """What a worker process is sent where processes are not forked (macOS; Python 3.14 on Linux): a tensor, for torch
        sends each of them the same memory."""
        if self._sent is None:
            table, sink = pa.table(self._columns), pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
            self._sent = torch.frombuffer(bytearray(sink.getvalue()), dtype=torch.uint8)
        return self._sent

    def __setstate__(self, sent: torch.Tensor) -> None:
        table = pa.ipc.open_stream(pa.py_buffer(sent.numpy())).read_all()
        whole = {name for name in COLUMNS if name in SECONDS or name in _FEW_VALUES}
        self._columns = {name: table[name].combine_chunks() if name in whole else table[name] for name in COLUMNS}
        self._sent = sent

    def __len__(self) -> int:
        return len(self._columns["id"])

    def utterance(self, index: int) -> Utterance:
        """The row at `index`."""
        return Utterance(**{name: column[index].as_py() for name, column in self._columns.items()})

    @property
    def durations_s(self) -> np.ndarray:
        """Seconds of each utterance; not to be written to."""
        return self._columns["duration_s"].to_numpy()

    @property
    def languages(self) -> np.ndarray:
        """The language of each utterance: references to one text a language."""
        column = self._columns["language"]
        return np.array(column.dictionary.to_pylist(), dtype=object)[column.indices.to_numpy()]


def _column(values: pd.Series) -> pa.Array | pa.ChunkedArray:
    if values.name in SECONDS:
        return pa.array(values.to_numpy(dtype=float))
    text = pa.array(values.astype("str"))
    if isinstance(text, pa.Array):
        text = pa.chunked_array([text])  # in pieces it stays in pieces: to join them is to copy them
    return text.dictionary_encode().combine_chunks() if values.name in _FEW_VALUES else text
