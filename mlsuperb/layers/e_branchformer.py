"""The E-Branchformer block (Kim et al. 2022, arXiv 2210.00077).

Letters: B batch, F frames, H encoded size, R relative positions (2F - 1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mlsuperb.layers.attention import PositionKind, attend, make_self_attention
from mlsuperb.layers.convolution import ConvolutionalGating, convolve, depthwise_conv
from mlsuperb.layers.feed_forward import feed_forward
from mlsuperb.layers.norm import NORM_EPS


class EBranchformerBlock(nn.Module):
    """Self-attention beside a convolutional gate, merged by a depthwise convolution and a linear layer, then a
    feed-forward network and a layer norm (ESPnet's `EBranchformerEncoderLayer` with `use_ffn`).

    Args:
        size: H.
        num_heads: attention heads; must divide `size`.
        ffn_size: hidden size of the feed-forward networks (swish).
        cgmlp_size: channels of the convolutional gate, even.
        cgmlp_kernel: frames its convolution looks at, odd.
        merge_kernel: frames the merging convolution looks at, odd.
        dropout: inside and after every branch.
        attention_dropout: on attention weights.
        macaron: a second feed-forward network in front; both then count half.
        positions: `relative` attends to the distances that it is given codes of.
    """

    def __init__(
        self,
        size: int,
        *,
        num_heads: int,
        ffn_size: int,
        cgmlp_size: int,
        cgmlp_kernel: int,
        merge_kernel: int,
        dropout: float,
        attention_dropout: float,
        macaron: bool,
        positions: PositionKind,
    ) -> None:
        super().__init__()
        self.ffn_scale = 0.5 if macaron else 1.0
        self.macaron_norm = nn.LayerNorm(size, eps=NORM_EPS) if macaron else None
        self.macaron = feed_forward(size, ffn_size, dropout=dropout, activation="swish") if macaron else None
        self.attention_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.attention = make_self_attention(positions, size, num_heads=num_heads, dropout=attention_dropout)
        self.cgmlp_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.cgmlp = ConvolutionalGating(size, hidden_size=cgmlp_size, kernel=cgmlp_kernel, dropout=dropout)
        self.merge_conv = depthwise_conv(2 * size, kernel=merge_kernel)
        self.merge = nn.Linear(2 * size, size)
        self.ffn_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.ffn = feed_forward(size, ffn_size, dropout=dropout, activation="swish")
        self.final_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, values_BFH: Tensor, valid_BF: Tensor, codes_RH: Tensor | None = None) -> Tensor:
        """`codes_RH`, for relative positions alone: see `RelativePositions.codes`. Garbage beyond the valid frames."""
        if self.macaron is not None and self.macaron_norm is not None:
            values_BFH = values_BFH + self.ffn_scale * self.dropout(self.macaron(self.macaron_norm(values_BFH)))
        attended_BFH = self.dropout(attend(self.attention, self.attention_norm(values_BFH), valid_BF, codes_RH))
        gated_BFH = self.dropout(self.cgmlp(self.cgmlp_norm(values_BFH), valid_BF))
        both_BFC = torch.cat([attended_BFH, gated_BFH], dim=-1)
        both_BFC = both_BFC + convolve(self.merge_conv, both_BFC, valid_BF)
        values_BFH = values_BFH + self.dropout(self.merge(both_BFC))
        values_BFH = values_BFH + self.ffn_scale * self.dropout(self.ffn(self.ffn_norm(values_BFH)))
        normed_BFH: Tensor = self.final_norm(values_BFH)
        return normed_BFH
