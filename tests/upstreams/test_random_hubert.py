from __future__ import annotations

import pytest
import torch

from mlsuperb.upstreams.random_hubert import RandomHubert


def test_the_seed_makes_the_weights_and_touches_nothing_else() -> None:
    before = torch.get_rng_state()
    first, again, other = RandomHubert(), RandomHubert(), RandomHubert(seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    weights = [
        upstream.state_dict()["model.encoder.layers.0.attention.q_proj.weight"] for upstream in (first, again, other)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_record_and_sizes() -> None:
    upstream = RandomHubert(num_blocks=2, hidden_size=48)
    assert (upstream.num_layers, upstream.layer_size, upstream.frame_rate_hz) == (3, 48, 50.0)
    assert upstream.record()["weights"] == "random"
    assert upstream.record()["seed"] == 0


def test_a_size_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        RandomHubert(hidden_size=50)
