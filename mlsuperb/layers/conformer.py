"""The Conformer block (Gulati et al. 2020, arXiv 2005.08100).

Letters: B batch, F frames, C channels, H encoded size, R relative positions (2F - 1).
"""

from __future__ import annotations

from torch import Tensor, nn

from mlsuperb.layers.attention import PositionKind, attend, make_self_attention
from mlsuperb.layers.convolution import convolve, depthwise_conv, masked_batch_norm
from mlsuperb.layers.feed_forward import feed_forward
from mlsuperb.layers.norm import NORM_EPS


class ConformerBlock(nn.Module):
    """Half a feed-forward network, self-attention, convolution, the other half, a layer norm (ESPnet's
    `espnet.nets.pytorch_backend.conformer.encoder_layer.EncoderLayer`, pre-norm, swish).

    Args:
        size: H.
        num_heads: attention heads; must divide `size`.
        ffn_size: hidden size of the feed-forward networks.
        conv_kernel: frames the convolution looks at, odd.
        dropout: inside and after every part.
        attention_dropout: on attention weights.
        macaron: without it there is one feed-forward network, the last, which then counts in full.
        positions: `relative` attends to the distances that it is given codes of.
    """

    def __init__(
        self,
        size: int,
        *,
        num_heads: int,
        ffn_size: int,
        conv_kernel: int,
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
        self.conv_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.conv = ConvolutionModule(size, kernel=conv_kernel)
        self.ffn_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.ffn = feed_forward(size, ffn_size, dropout=dropout, activation="swish")
        self.final_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, values_BFH: Tensor, valid_BF: Tensor, codes_RH: Tensor | None = None) -> Tensor:
        """`codes_RH`, for relative positions alone: see `RelativePositions.codes`. Garbage beyond the valid frames."""
        if self.macaron is not None and self.macaron_norm is not None:
            values_BFH = values_BFH + self.ffn_scale * self.dropout(self.macaron(self.macaron_norm(values_BFH)))
        normed_BFH = self.attention_norm(values_BFH)
        values_BFH = values_BFH + self.dropout(attend(self.attention, normed_BFH, valid_BF, codes_RH))
        values_BFH = values_BFH + self.dropout(self.conv(self.conv_norm(values_BFH), valid_BF))
        values_BFH = values_BFH + self.ffn_scale * self.dropout(self.ffn(self.ffn_norm(values_BFH)))
        final_BFH: Tensor = self.final_norm(values_BFH)
        return final_BFH


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
