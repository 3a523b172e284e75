"""Audio as programs give it: files and waves, one or many. Letters: T samples."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

Found = TypeVar("Found")
_EXPECTED = "give a file, a wave (one-dimensional array or tensor of floats) with rate=, or a list of these"


def one_or_all(audio: Any, rate: int | None, compute: Callable[[list[Path]], list[Found]]) -> Any:
    """What `compute` makes of the files of `audio`: of one of them, or a list where `audio` is one."""
    many = isinstance(audio, list | tuple)
    given = list(audio) if many else [audio]
    if not given:
        return []
    with _files(given, rate) as paths:
        found = compute(paths)
    return found if many else found[0]


@contextmanager
def _files(given: Sequence[Any], rate: int | None) -> Iterator[list[Path]]:
    """The files among `given`, and files of float32 in which the waves lie for as long as this lasts: so both are read in one
    way.

    Raises:
        ValueError: something is neither, or a wave has no rate.
    """
    import soundfile

    if rate is not None and all(isinstance(one, str | os.PathLike) for one in given):
        raise ValueError(
            f"rate={rate} is for waves, and only files were given, which say their rate themselves: leave it out"
        )
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, one in enumerate(given):
            if isinstance(one, str | os.PathLike):
                paths.append(Path(one))
                continue
            paths.append(Path(folder) / f"wave_{number}.wav")
            wave_T = _wave(one, place=f"audio {number}")
            if not isinstance(rate, int) or rate <= 0:
                raise ValueError(
                    f"rate={rate}: give the samples per second of a wave as a whole number, such as rate=16000"
                )
            soundfile.write(paths[-1], wave_T, rate, subtype="FLOAT")
        yield paths


def _wave(one: Any, *, place: str) -> np.ndarray:
    """A wave as float32 (T,).

    Raises:
        ValueError: it is none.
    """
    if not hasattr(one, "shape"):
        raise ValueError(f"{place} is {type(one).__name__}: {_EXPECTED}")
    values = np.asarray(one.detach().cpu().float() if hasattr(one, "detach") else one)
    if values.ndim != 1 or not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"{place} is an array of {values.dtype} of the shape {values.shape}: {_EXPECTED}")
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"{place} is {'empty' if not len(values) else 'not finite'}: {_EXPECTED}")
    return values.astype(np.float32)
