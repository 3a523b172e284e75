"""The rows of a manifest as one block of Arrow memory: no Python object a row, so forked workers share it untouched."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from mlsuperb.data.arrow import text_array
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
            batch, sink = pa.record_batch(self._columns), pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as writer:
                writer.write_batch(batch)
            self._sent = torch.frombuffer(bytearray(sink.getvalue()), dtype=torch.uint8)
        return self._sent

    def __setstate__(self, sent: torch.Tensor) -> None:
        batch = pa.ipc.open_stream(pa.py_buffer(sent.numpy())).read_next_batch()
        self._columns, self._sent = dict(zip(batch.schema.names, batch.columns, strict=True)), sent

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


def _column(values: pd.Series) -> pa.Array:
    if values.name in SECONDS:
        return pa.array(values.to_numpy(dtype=float))
    array = text_array(values)
    return array.dictionary_encode() if values.name in _FEW_VALUES else array
