"""Features of a frozen upstream: the same bits in whatever company."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils._python_dispatch import TorchDispatchMode

from mlsuperb.types import Features
from mlsuperb.upstreams.frozen import frozen_features
from mlsuperb.upstreams.random_hubert import RandomHubert

LENGTHS = (300, 9_001, 16_000, 24_567, 31_000)  # samples; the first has less than a frame


@pytest.fixture(scope="module")
def upstream() -> RandomHubert:
    return RandomHubert(num_blocks=2, hidden_size=64, conv_channels=32).eval()


@pytest.fixture(scope="module")
def waves() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [0.1 * torch.randn(length, generator=generator) for length in LENGTHS]


@torch.no_grad()
def features(upstream: RandomHubert, waves: list[Tensor]) -> Features:
    return frozen_features(upstream, pad_sequence(waves, batch_first=True), torch.tensor([len(one) for one in waves]))


def same(one: Features, row: int, other: Features, other_row: int) -> bool:
    num = int(one.lengths_B[row])
    return num == int(other.lengths_B[other_row]) and all(
        torch.equal(layer[row, :num], others[other_row, :num])
        for layer, others in zip(one.layers, other.layers, strict=True)
    )


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_an_utterance_has_the_same_bits_in_any_company(
    upstream: RandomHubert, waves: list[Tensor], dtype: torch.dtype | None
) -> None:
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        whole, alone = features(upstream, waves), [features(upstream, [wave]) for wave in waves]
        backwards = features(upstream, waves[::-1])
        pair = features(upstream, [waves[1], waves[2]])
        with torch.no_grad():
            batch = upstream(pad_sequence(waves, batch_first=True), torch.tensor(LENGTHS))
    rows = range(len(waves))
    assert all(same(whole, row, alone[row], 0) for row in rows)
    assert all(same(whole, row, backwards, len(waves) - 1 - row) for row in rows)
    assert all(same(pair, row, whole, row + 1) for row in (0, 1))
    assert not all(same(whole, row, batch, row) for row in rows)  # a batch has other bits, or this would show nothing
    assert torch.equal(whole.lengths_B, batch.lengths_B)
    for layer, wanted in zip(whole.layers, batch.layers, strict=True):
        torch.testing.assert_close(layer, wanted, rtol=0, atol=1e-4 if dtype is None else 0.1)
        assert layer.dtype == wanted.dtype
        assert not layer[0, int(whole.lengths_B[0]) :].any()


def test_a_batch_is_encoded_at_once_where_dropout_is_on(waves: list[Tensor]) -> None:
    """It draws for the whole batch."""
    wave_BT, lengths_B = pad_sequence(waves, batch_first=True), torch.tensor(LENGTHS)
    dropping = RandomHubert(num_blocks=1, hidden_size=32, conv_channels=16, dropout_while_frozen=True).train()
    torch.manual_seed(0)
    found = frozen_features(dropping, wave_BT, lengths_B)
    torch.manual_seed(0)
    wanted = dropping(wave_BT, lengths_B)
    assert all(map(torch.equal, found.layers, wanted.layers))


class OfWeights(TorchDispatchMode):
    """Counts what is computed from weights under weight norm, and the casts of those of linear layers."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self._linear = {one.weight.data_ptr() for one in model.modules() if isinstance(one, torch.nn.Linear)}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.removesuffix(".default")
        if name == "_weight_norm_interface" or (name == "_to_copy" and args[0].data_ptr() in self._linear):
            self.calls[name] += 1
        return func(*args, **(kwargs or {}))


def test_what_comes_of_weights_alone_is_computed_once_for_a_batch(upstream: RandomHubert, waves: list[Tensor]) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        plain = upstream(waves[3][None], torch.tensor(LENGTHS[3:4]))
        assert all(map(torch.equal, features(upstream, waves[3:4]).layers, plain.layers))
    counts = []
    for chosen in (waves[:1], waves):
        with torch.autocast("cpu", dtype=torch.bfloat16), OfWeights(upstream) as counting:
            features(upstream, chosen)
        counts.append(counting.calls)
    assert counts[0] == counts[1]
    num_linear = sum(isinstance(one, torch.nn.Linear) for one in upstream.modules())
    assert counts[0] == {"_to_copy": num_linear, "_weight_norm_interface": 1}


def test_a_frozen_upstream_stays_frozen(upstream: RandomHubert, waves: list[Tensor]) -> None:
    frozen = RandomHubert(num_blocks=1, hidden_size=32, conv_channels=16).eval().requires_grad_(False)
    found = features(frozen, waves[:2])
    broken = [torch.zeros(2, 3, 4)]  # no wave
    with pytest.raises(RuntimeError):
        features(frozen, broken)
    assert not any(one.requires_grad for one in [*frozen.parameters(), *found.layers])
