"""Which of torch's two libraries multiplies matrices in fp32 on a CPU.

torch has MKL do it, which gives processors of other makers than Intel its AVX2 kernels: on an EPYC with AVX-512 half the speed
of oneDNN's. torch offers oneDNN for fp32 only with the leave to round what it multiplies to bf16 ("medium" precision). oneDNN
takes that leave on processors with AMX and computes in fp32 on all others, so what is measured here, once per process, is both
speed and error. Where there is a GPU torch's setting stays, since the same one would have other programs' products rounded there.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor

from mlsuperb.runtime.measure import thread_seconds

Library = Literal["MKL", "oneDNN"]

SIZE, SMALL = 512, 64  # of a matrix; products of 512 are 2.7e8 operations, 1 to 3 ms
FASTER = 1.2  # times, or all stays as torch has it
FP32_ERROR = 1e-5  # of the largest value of a product; fp32's is about 1e-6, that of inputs rounded to bf16 2e-3


def use_faster_library() -> None:
    """Have torch multiply by the faster one from now on, as long as its errors are those of fp32."""
    _use("oneDNN" if _onednn_is_better() else "MKL")


def onednn_in_use() -> bool:
    """Whether it is oneDNN now."""
    return torch.get_float32_matmul_precision() == "medium"


@cache
def _onednn_is_better() -> bool:
    there = torch.backends.mkldnn.is_available() and torch.backends.mkl.is_available()
    if torch.cuda.is_available() or not there:
        return False
    _use("oneDNN")
    if max(_error(SIZE), _error(SMALL)) > FP32_ERROR:
        return False
    square = torch.ones(SIZE, SIZE)
    taken_s = thread_seconds({"MKL": lambda: _product(square, "MKL"), "oneDNN": lambda: _product(square, "oneDNN")})
    return FASTER * taken_s["oneDNN"] < taken_s["MKL"]


def _use(library: Library) -> None:
    torch.set_float32_matmul_precision("medium" if library == "oneDNN" else "highest")


def _product(square: Tensor, library: Library) -> Tensor:
    _use(library)
    return square @ square


def _error(size: int) -> float:
    left, right = torch.randn(2, size, size, generator=torch.Generator().manual_seed(0))
    exact = left.double() @ right.double()
    return float((left @ right - exact).abs().max() / exact.abs().max())
