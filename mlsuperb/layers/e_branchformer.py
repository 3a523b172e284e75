"""The E-Branchformer block (Kim et al. 2022, arXiv 2210.00077).

Letters: B batch, F frames, C channels, H encoded size, R relative positions (2F - 1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mlsuperb.layers.attention import attend
from mlsuperb.layers.convolution import ConvolutionalGating, convolve, depthwise_conv
from mlsuperb.layers.macaron import MacaronBlock
from mlsuperb.layers.norm import NORM_EPS


class EBranchformerBlock(MacaronBlock):
    """Self-attention beside a convolutional gate (`cgmlp_size` channels, even; `cgmlp_kernel` frames, odd), merged by a
    depthwise convolution (`merge_kernel` frames, odd) and a linear layer (ESPnet's `EBranchformerEncoderLayer` with
    `use_ffn`); see `MacaronBlock`."""

    def add_mixing(  # type: ignore[override]
        self, size: int, *, dropout: float, cgmlp_size: int, cgmlp_kernel: int, merge_kernel: int
    ) -> None:
        self.cgmlp_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.cgmlp = ConvolutionalGating(size, hidden_size=cgmlp_size, kernel=cgmlp_kernel, dropout=dropout)
        self.merge_conv = depthwise_conv(2 * size, kernel=merge_kernel)
        self.merge = nn.Linear(2 * size, size)

    def mix(self, values_BFH: Tensor, valid_BF: Tensor, codes_RH: Tensor | None) -> Tensor:
        attended_BFH = self.dropout(attend(self.attention, self.attention_norm(values_BFH), valid_BF, codes_RH))
        gated_BFH = self.dropout(self.cgmlp(self.cgmlp_norm(values_BFH), valid_BF))
        both_BFC = torch.cat([attended_BFH, gated_BFH], dim=-1)
        both_BFC = both_BFC + convolve(self.merge_conv, both_BFC, valid_BF)
        mixed_BFH: Tensor = values_BFH + self.dropout(self.merge(both_BFC))
        return mixed_BFH
