"""The feed-forward network of every kind of block."""

from __future__ import annotations

from typing import Literal

from torch import nn

from mlsuperb.layers.dropout import Dropout

Activation = Literal["relu", "swish"]


def feed_forward(size: int, hidden_size: int, *, dropout: float, activation: Activation) -> nn.Sequential:
    """Wide layer, activation, dropout, narrow layer (ESPnet's `PositionwiseFeedForward`)."""
    activate = nn.ReLU() if activation == "relu" else nn.SiLU()
    return nn.Sequential(nn.Linear(size, hidden_size), activate, Dropout(dropout), nn.Linear(hidden_size, size))
