"""What the blocks of Conformer and E-Branchformer share.

Letters: B batch, F frames, H encoded size, R relative positions (2F - 1).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from mlsuperb.layers.attention import PositionKind, make_self_attention
from mlsuperb.layers.dropout import Dropout
from mlsuperb.layers.feed_forward import feed_forward
from mlsuperb.layers.norm import NORM_EPS


class MacaronBlock(nn.Module, ABC):
    """Half a feed-forward network, self-attention and what else mixes frames, the other half, a layer norm (as ESPnet's
    layers, pre-norm, swish).

    Args:
        size: H.
        num_heads: attention heads; must divide `size`.
        ffn_size: hidden size of the feed-forward networks.
        dropout: inside and after every part.
        attention_dropout: on attention weights.
        macaron: without it there is one feed-forward network, the last, which then counts in full.
        positions: `relative` attends to the distances that it is given codes of.
        mixing: settings of `add_mixing`.
    """

    def __init__(
        self,
        size: int,
        *,
        num_heads: int,
        ffn_size: int,
        dropout: float,
        attention_dropout: float,
        macaron: bool,
        positions: PositionKind,
        **mixing: int,
    ) -> None:
        super().__init__()
        self.ffn_scale = 0.5 if macaron else 1.0
        self.macaron_norm = nn.LayerNorm(size, eps=NORM_EPS) if macaron else None
        self.macaron = feed_forward(size, ffn_size, dropout=dropout, activation="swish") if macaron else None
        self.attention_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.attention = make_self_attention(positions, size, num_heads=num_heads, dropout=attention_dropout)
        self.add_mixing(size, dropout=dropout, **mixing)  # here, so that weights are drawn in ESPnet's order
        self.ffn_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.ffn = feed_forward(size, ffn_size, dropout=dropout, activation="swish")
        self.final_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.dropout = Dropout(dropout)

    @abstractmethod
    def add_mixing(self, size: int, *, dropout: float, **settings: int) -> None:
        """Makes the layers that `mix` has besides the attention."""

    @abstractmethod
    def mix(self, values_BFH: Tensor, valid_BF: Tensor, codes_RH: Tensor | None) -> Tensor:
        """What stands between the feed-forward networks, residual paths included."""

    def forward(self, values_BFH: Tensor, valid_BF: Tensor, codes_RH: Tensor | None = None) -> Tensor:
        """`codes_RH`, for relative positions alone: see `RelativePositions.codes`. Garbage beyond the valid frames."""
        if self.macaron is not None and self.macaron_norm is not None:
            values_BFH = values_BFH + self.ffn_scale * self.dropout(self.macaron(self.macaron_norm(values_BFH)))
        values_BFH = self.mix(values_BFH, valid_BF, codes_RH)
        values_BFH = values_BFH + self.ffn_scale * self.dropout(self.ffn(self.ffn_norm(values_BFH)))
        final_BFH: Tensor = self.final_norm(values_BFH)
        return final_BFH
