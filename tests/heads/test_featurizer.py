from __future__ import annotations

import pytest
import torch

from mlsuperb.heads.featurizer import LastLayer, OneLayer, WeightedSum, WeightedSumPerDimension, _BlockwiseSum
from mlsuperb.types import Features

SIZES = {"num_layers": 4, "layer_size": 5}


def make_features(*, dtype: torch.dtype = torch.float32, num_layers: int = 4) -> Features:
    layers = tuple(torch.randn(2, 3, 5).to(dtype) for _ in range(num_layers))
    return Features(layers, torch.tensor([3, 2]), 50.0)


def test_weighted_sum_starts_as_the_mean_and_follows_its_weights() -> None:
    features, featurizer = make_features(), WeightedSum(**SIZES)
    torch.testing.assert_close(featurizer(features), torch.stack(features.layers).mean(0))
    assert featurizer.weights.tolist() == [0.25] * 4
    assert LastLayer(**SIZES).weights is None
    with torch.no_grad():
        featurizer.logits_L.copy_(torch.tensor([0.0, 1.0, 2.0, -1.0]))
    shares = featurizer.logits_L.exp() / featurizer.logits_L.exp().sum()
    expected = sum(share * layer for share, layer in zip(shares, features.layers, strict=True))
    torch.testing.assert_close(featurizer(features), expected)
    torch.testing.assert_close(featurizer.weights, shares.detach())


@pytest.mark.parametrize("num_layers", [1, 4])
def test_weighted_sum_has_gradients(num_layers: int) -> None:
    featurizer = WeightedSum(num_layers=num_layers, layer_size=5)
    featurizer(make_features(num_layers=num_layers)).square().sum().backward()
    assert featurizer.logits_L.grad is not None
    assert bool(featurizer.logits_L.grad.any()) == (num_layers > 1)


def test_weighted_sum_of_bf16_layers_is_summed_in_fp32() -> None:
    features = make_features(dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        feats_BFD = WeightedSum(**SIZES)(features)
    assert feats_BFD.dtype == torch.float32
    torch.testing.assert_close(feats_BFD, torch.stack([layer.float() for layer in features.layers]).mean(0))


def test_a_bf16_stack_of_several_blocks_gives_the_gradient_of_its_fp32_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_BlockwiseSum, "BLOCK", 8)  # 30 features: three blocks and a part of one
    stack_LBFD, target_BFD = torch.randn(4, 2, 3, 5).bfloat16(), torch.randn(2, 3, 5)
    found = []
    for layers in (stack_LBFD, stack_LBFD.float()):
        featurizer = WeightedSum(**SIZES)
        with torch.no_grad():
            featurizer.logits_L.copy_(torch.tensor([0.0, 1.0, 2.0, -1.0]))
        feats_BFD = featurizer(Features(layers, torch.tensor([3, 2]), 50.0))
        (feats_BFD * target_BFD).sum().backward()
        found.append((feats_BFD.detach(), featurizer.logits_L.grad))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_weighted_sum_per_dimension(dtype: torch.dtype) -> None:
    featurizer, logits_LD = WeightedSumPerDimension(**SIZES), torch.randn(4, 5)
    stack_LBFD = torch.randn(4, 2, 3, 5).to(dtype)
    features = Features(stack_LBFD, torch.tensor([3, 2]), 50.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        feats_BFD = featurizer(features)
    torch.testing.assert_close(feats_BFD, stack_LBFD.float().mean(0))
    assert featurizer.weights.tolist() == [0.25] * 4
    with torch.no_grad():
        featurizer.logits_LD.copy_(logits_LD)
    shares_LD = logits_LD.exp() / logits_LD.exp().sum(0)
    target_BFD = torch.randn(2, 3, 5)
    feats_BFD = featurizer(features)
    torch.testing.assert_close(feats_BFD, torch.einsum("ld,lbfd->bfd", shares_LD, stack_LBFD.float()))
    torch.testing.assert_close(featurizer.weights, shares_LD.mean(1))
    (feats_BFD * target_BFD).sum().backward()
    reference_LD = logits_LD.requires_grad_()
    (torch.einsum("ld,lbfd->bfd", reference_LD.softmax(0), stack_LBFD.float()) * target_BFD).sum().backward()
    torch.testing.assert_close(featurizer.logits_LD.grad, reference_LD.grad)


def test_one_layer_and_last_layer() -> None:
    features = make_features()
    for index in (0, 2, -1):
        assert OneLayer(index, **SIZES)(features) is features.layers[index]
    assert LastLayer(**SIZES)(features) is features.layers[3]
    assert LastLayer(**SIZES).output_size == OneLayer(0, **SIZES).output_size == WeightedSum(**SIZES).output_size == 5


@pytest.mark.parametrize("layer", [4, -5])
def test_a_layer_that_is_not_there(layer: int) -> None:
    with pytest.raises(ValueError, match=rf"featurizer.layer is {layer}, but this upstream returns 4 layers.*0 to 3"):
        OneLayer(layer, **SIZES)
