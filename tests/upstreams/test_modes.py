"""Dropout where something is trained, and nowhere else; batch norms never move."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mlsuperb.adaptation.bottleneck import Pfeiffer
from mlsuperb.adaptation.full import Full
from mlsuperb.adaptation.partial import Partial
from mlsuperb.types import Features
from mlsuperb.upstreams.base import Stack, Upstream
from mlsuperb.upstreams.modes import set_train_mode
from mlsuperb.upstreams.random_hubert import RandomHubert

PARTS = {"feature_extractor", "feature_projection", "encoder.pos_conv_embed", "encoder.dropout", "encoder.layer_norm"}
BLOCKS = {f"encoder.layers.{block}" for block in range(3)}


def in_train_mode(upstream: RandomHubert) -> set[str]:
    found = set()
    for part in PARTS | BLOCKS:
        modes = {module.training for module in upstream.model.get_submodule(part).modules()}
        assert len(modes) == 1, part
        found |= {part} if modes == {True} else set()
    return found


@pytest.mark.parametrize(
    ("adaptation", "expected"),
    [
        (Full(), PARTS | BLOCKS),
        (Full(convolutions=False), BLOCKS | {"encoder.dropout", "encoder.layer_norm"}),
        (Partial(layers=2), {"encoder.layers.1"}),
        (Partial(layers="3", convolutions=True), PARTS | {"encoder.layers.2"}),
        (Pfeiffer(width=2, activation="relu", layers="1-2"), {"encoder.layers.0", "encoder.layers.1"}),
    ],
)
def test_parts_follow_what_is_trained_in_them(adaptation: Full | Partial | Pfeiffer, expected: set[str]) -> None:
    upstream = RandomHubert(num_blocks=3)
    trained = adaptation.apply(upstream)
    set_train_mode(upstream.eval(), trained=trained)
    assert in_train_mode(upstream) == expected
    set_train_mode(upstream, trained=[])
    assert in_train_mode(upstream) == set()
    upstream.dropout_while_frozen = True
    set_train_mode(upstream, trained=trained)
    assert in_train_mode(upstream) == PARTS | BLOCKS


def test_no_graph_is_built_below_the_first_trained_parameter() -> None:
    upstream = RandomHubert(num_blocks=3)
    trained = Partial(layers=3).apply(upstream)
    set_train_mode(upstream, trained=trained)
    layers = upstream(torch.randn(1, 4000), torch.tensor([4000])).layers
    assert [layer.requires_grad for layer in layers] == [False, False, False, True]


class WithBatchNorm(Upstream):
    """Two blocks with a batch norm each, as in SeamlessM4T's encoder."""

    num_layers, layer_size, frame_rate_hz = 2, 4, 50.0
    stacks = {
        "encoder": Stack(
            blocks="blocks",
            front=("front",),
            attention="0",
            ffn="0",
            ffn_dropout=None,
            attention_linears=("0", "0", "0", "0"),
            ffn_linears=("0",),
        )
    }

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Linear(1, 4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)) for _ in range(2))

    def forward(self, wave_BT: Tensor, lengths_B: Tensor) -> Features:
        hidden_BD = self.front(wave_BT[:, :1])
        layers = [hidden_BD := block(hidden_BD) for block in self.blocks]
        return Features(tuple(layers), lengths_B, self.frame_rate_hz)

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return lengths_B


@pytest.mark.parametrize("adaptation", [Full(), Partial(layers=2), Pfeiffer(width=2, activation="relu")])
def test_batch_norms_keep_their_statistics(adaptation: Full | Partial | Pfeiffer) -> None:
    upstream = WithBatchNorm()
    trained = adaptation.apply(upstream)
    before = {name: buffer.clone() for name, buffer in upstream.named_buffers()}
    assert len(before) == 6
    for dropout_while_frozen in (False, True):
        upstream.dropout_while_frozen = dropout_while_frozen
        set_train_mode(upstream, trained=trained)
        upstream(torch.randn(5, 3), torch.ones(5)).layers[-1].sum().backward()
        assert all(torch.equal(buffer, before[name]) for name, buffer in upstream.named_buffers())
