from collections.abc import Iterator

import pytest
import torch

from mlsuperb.runtime import products
from mlsuperb.runtime.device import describe_device, prepare_process

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def measured_anew() -> Iterator[None]:
    """Nothing is remembered from other tests, and nothing stays."""
    products._onednn_is_better.cache_clear()
    yield
    products._onednn_is_better.cache_clear()
    torch.set_float32_matmul_precision("highest")


def say(monkeypatch: pytest.MonkeyPatch, *, mkl_s: float, onednn_s: float, error: float = 1e-7) -> None:
    """A processor on which the two take so long."""
    monkeypatch.setattr(products, "thread_seconds", lambda _: {"MKL": mkl_s, "oneDNN": onednn_s})
    monkeypatch.setattr(products, "_error", lambda _: error)


@pytest.mark.parametrize(("mkl_s", "onednn_s", "chosen"), [(2.0, 1.0, "oneDNN"), (1.0, 1.0, "MKL"), (1.0, 2.0, "MKL")])
def test_the_faster_library_is_used(
    mkl_s: float, onednn_s: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(monkeypatch, mkl_s=mkl_s, onednn_s=onednn_s)
    prepare_process(CPU)
    assert describe_device(CPU).endswith(", oneDNN)") == (chosen == "oneDNN")


def test_one_that_rounds_to_bf16_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, mkl_s=2.0, onednn_s=1.0, error=2e-3)
    products.use_faster_library()
    assert not products.onednn_in_use()


def test_beside_a_gpu_torchs_setting_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, mkl_s=2.0, onednn_s=1.0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    products.use_faster_library()
    assert not products.onednn_in_use()


def test_inputs_rounded_to_bf16_are_told_from_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    assert products._error(products.SMALL) < products.FP32_ERROR
    multiply = torch.Tensor.__matmul__

    def rounding(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        if left.dtype == torch.float64:
            return multiply(left, right)
        return multiply(left.bfloat16().float(), right.bfloat16().float())

    monkeypatch.setattr(torch.Tensor, "__matmul__", rounding)
    assert products._error(products.SMALL) > 10 * products.FP32_ERROR


def test_products_are_those_of_fp32_here() -> None:
    prepare_process(CPU)
    torch.manual_seed(0)
    left, right = torch.randn(300, 768), torch.randn(768, 200)
    exact = left.double() @ right.double()
    torch.testing.assert_close((left @ right).double(), exact, rtol=0, atol=2e-6 * float(exact.abs().max()))


def test_the_measurement_leaves_no_trace() -> None:
    torch.set_num_threads(threads := torch.get_num_threads())
    before = torch.random.get_rng_state()
    products.use_faster_library()
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), before)
