"""The Conformer block (Gulati et al. 2020, arXiv 2005.08100).

Letters: B batch, F frames, C channels, H encoded size, R relative positions (2F - 1).
"""

from __future__ import annotations

from torch import Tensor, nn

from mlsuperb.layers.attention import attend
from mlsuperb.layers.convolution import convolve, depthwise_conv, masked_batch_norm
from mlsuperb.layers.macaron import MacaronBlock
from mlsuperb.layers.norm import NORM_EPS


class ConformerBlock(MacaronBlock):
    """Self-attention, then a convolution over `conv_kernel` frames, an odd number (ESPnet's
    `espnet.nets.pytorch_backend.conformer.encoder_layer.EncoderLayer`); see `MacaronBlock`."""

    def add_mixing(self, size: int, *, dropout: float, conv_kernel: int) -> None:  # type: ignore[override]
        self.conv_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.conv = ConvolutionModule(size, kernel=conv_kernel)

    def mix(self, values_BFH: Tensor, valid_BF: Tensor, codes_RH: Tensor | None) -> Tensor:
        normed_BFH = self.attention_norm(values_BFH)
        values_BFH = values_BFH + self.dropout(attend(self.attention, normed_BFH, valid_BF, codes_RH))
        return values_BFH + self.dropout(self.conv(self.conv_norm(values_BFH), valid_BF))


class ConvolutionModule(nn.Module):
    """Gated linear unit, depthwise convolution, batch norm, swish, linear layer (ESPnet's `ConvolutionModule`)."""

    def __init__(self, size: int, *, kernel: int) -> None:
        super().__init__()
        self.expand = nn.Conv1d(size, 2 * size, kernel_size=1)
        self.depthwise = depthwise_conv(size, kernel=kernel)
        self.norm = nn.BatchNorm1d(size)
        self.shrink = nn.Conv1d(size, size, kernel_size=1)

    def forward(self, values_BFH: Tensor, valid_BF: Tensor) -> Tensor:
        gated_BCF = nn.functional.glu(self.expand(values_BFH.transpose(1, 2)), dim=1)
        convolved_BFC = convolve(self.depthwise, gated_BCF.transpose(1, 2), valid_BF)
        activated_BFC = nn.functional.silu(masked_batch_norm(self.norm, convolved_BFC, valid_BF))
        shrunk_BHF: Tensor = self.shrink(activated_BFC.transpose(1, 2))
        return shrunk_BHF.transpose(1, 2)
