from __future__ import annotations

import torch

from mlsuperb.adaptation.frozen import Frozen
from mlsuperb.upstreams.fbank import Fbank
from mlsuperb.upstreams.random_hubert import RandomHubert


def test_nothing_is_trained() -> None:
    upstream = RandomHubert(num_blocks=1)
    assert all(parameter.requires_grad for parameter in upstream.parameters())
    assert Frozen().apply(upstream) == []
    assert not any(parameter.requires_grad for parameter in upstream.parameters())
    features = upstream.train()(torch.randn(1, 1600), torch.tensor([1600]))
    assert not any(layer.requires_grad for layer in features.layers)


def test_an_upstream_without_parameters() -> None:
    assert Frozen().apply(Fbank()) == []
