"""The Transformer encoder block, pre-norm.

Letters: B batch, F frames, H encoded size, R relative positions (2F - 1).
"""

from __future__ import annotations

from torch import Tensor, nn

from mlsuperb.layers.attention import attend, make_self_attention
from mlsuperb.layers.dropout import Dropout
from mlsuperb.layers.feed_forward import feed_forward
from mlsuperb.layers.norm import NORM_EPS


class TransformerBlock(nn.Module):
    """Self-attention and a feed-forward network (ReLU), each behind a layer norm and beside a residual path."""

    def __init__(self, size: int, *, num_heads: int, ffn_size: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.attention = make_self_attention("absolute", size, num_heads=num_heads, dropout=attention_dropout)
        self.ffn_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.ffn = feed_forward(size, ffn_size, dropout=dropout, activation="relu")
        self.dropout = Dropout(dropout)

    def forward(self, values_BFH: Tensor, valid_BF: Tensor, codes_RH: Tensor | None = None) -> Tensor:
        """Garbage beyond the valid frames."""
        normed_BFH = self.attention_norm(values_BFH)
        values_BFH = values_BFH + self.dropout(attend(self.attention, normed_BFH, valid_BF, codes_RH))
        return values_BFH + self.dropout(self.ffn(self.ffn_norm(values_BFH)))
