"""The rows of a manifest as one block of Arrow memory: no Python object a row, so forked workers share it untouched."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

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
    array = pa.array(values.astype("str"))
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()  # the latter copies
    return array.dictionary_encode() if values.name in _FEW_VALUES else array
