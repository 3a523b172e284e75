import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mlsuperb.layers.dropout import LEVELS, Dropout, dropout, scaled_dot_product_attention, use_faster_dropout

RATE = 0.3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5, 0.9])
def test_drops_its_share_and_keeps_the_mean(rate: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    size = 400_000
    dropped = dropout(torch.ones(4, size // 4, dtype=dtype), rate)
    assert dropped.dtype == dtype
    share = float((dropped == 0).double().mean())
    assert share == pytest.approx(rate, abs=5 * math.sqrt(rate * (1 - rate) / size) + 1 / LEVELS)
    (kept,) = dropped[dropped != 0].double().unique()
    assert kept == pytest.approx(1 / (1 - rate), rel=1e-3 if dtype != torch.bfloat16 else 4e-3)


def test_places_are_dropped_independently() -> None:
    """Also those whose bits are of one number of the generator, and in masks after each other."""
    torch.manual_seed(0)
    masks = torch.stack([dropout(torch.ones(200_000), 0.5) == 0 for _ in range(2)]).double()
    for shift in (1, 2, 3, 4, 8, 64):
        both = (masks[0, shift:] * masks[0, :-shift]).mean()
        assert float(both) == pytest.approx(0.25, abs=0.005)
    assert float((masks[0] * masks[1]).mean()) == pytest.approx(0.25, abs=0.005)


def test_the_gradient_goes_where_values_went() -> None:
    values = torch.randn(50, 7, requires_grad=True)
    torch.manual_seed(1)
    dropped = dropout(values, RATE)
    dropped.backward(grad := torch.randn(50, 7))
    factor = (dropped / values).detach()
    torch.testing.assert_close(values.grad, grad * factor)


def test_the_seed_of_torch_decides() -> None:
    def draw(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.stack([dropout(torch.ones(1000), RATE) for _ in range(2)])

    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))
    assert not torch.equal(*draw(0))


def test_a_block_that_is_computed_again_finds_the_same_mask() -> None:
    """Gradient checkpointing restores torch's generator alone."""
    layer = nn.Sequential(nn.Linear(16, 16), Dropout(0.5), nn.Linear(16, 16))
    given = torch.randn(8, 16)

    def gradient(*, again: bool) -> Tensor:
        torch.manual_seed(3)
        layer.zero_grad()
        (checkpoint(layer, given, use_reentrant=False) if again else layer(given)).square().sum().backward()
        return layer[0].weight.grad

    torch.testing.assert_close(gradient(again=True), gradient(again=False))


def test_nothing_is_dropped_in_eval_mode_or_at_rate_zero() -> None:
    values = torch.randn(20, 5)
    assert Dropout(RATE).eval()(values) is values
    assert torch.equal(Dropout(0.0)(values), values)
    assert torch.equal(Dropout(1.0)(values), torch.zeros_like(values))


def test_any_strides_and_no_values() -> None:
    turned = torch.randn(6, 9, 4).permute(2, 0, 1)
    torch.manual_seed(0)
    dropped = dropout(turned, RATE)
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], turned[kept] / (1 - round(RATE * LEVELS) / LEVELS))
    assert dropout(torch.empty(0, 3), RATE).shape == (0, 3)


def test_modules_of_other_libraries_are_changed_in_place() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(RATE), nn.Dropout2d(RATE))
    keys = list(model.state_dict())
    use_faster_dropout(model)
    assert [type(module) for module in model] == [nn.Linear, Dropout, nn.Dropout2d]
    assert list(model.state_dict()) == keys


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["none", "bool", "scores"])
def test_attention_without_what_is_dropped_is_torchs(
    kind: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own path, with masks that drop nothing."""
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 9, 16).to(dtype)
    mask = {
        "none": None,
        "bool": torch.arange(9) < torch.tensor([9, 5])[:, None, None, None],
        "scores": torch.randn(2, 4, 9, 9).to(dtype),
    }[kind]
    options = {"attn_mask": mask, "scale": 0.2}
    expected = nn.functional.scaled_dot_product_attention(query, key, value, **options)
    monkeypatch.setattr("mlsuperb.layers.dropout._draw", lambda size, _: torch.ones(size, dtype=torch.uint8))
    found = scaled_dot_product_attention(query, key, value, **options, dropout_p=RATE)
    assert found.dtype == dtype
    scale = LEVELS / (LEVELS - round(RATE * LEVELS))
    tolerance = {"rtol": 2e-2, "atol": 2e-2} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(found, expected * scale, **tolerance)


def test_attention_weights_are_dropped_in_the_mean_of_torchs() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 1, 2, 6, 8)
    found = torch.stack([scaled_dot_product_attention(query, key, value, dropout_p=RATE) for _ in range(4000)])
    expected = nn.functional.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(found.mean(0), expected, rtol=0, atol=0.06)
    assert found.std(0).min() > 0.05


def test_compiled_code_has_torchs_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlsuperb.layers.dropout._draw", lambda *_: pytest.fail("traced"))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert (dropout(torch.ones(1000), RATE) == 0).any()
    assert scaled_dot_product_attention(*torch.randn(3, 1, 1, 4, 8), dropout_p=RATE).shape == (1, 1, 4, 8)
