"""Convolutions over time that see zeros beyond an utterance's end.

Letters: B batch, F frames, C channels, H encoded size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mlsuperb.layers.dropout import Dropout
from mlsuperb.layers.norm import NORM_EPS
from mlsuperb.layers.over_ranks import total


def depthwise_conv(size: int, *, kernel: int) -> nn.Conv1d:
    """A filter of odd length for each channel; the number of frames stays."""
    return nn.Conv1d(size, size, kernel, padding=kernel // 2, groups=size)


def convolve(conv: nn.Conv1d, values_BFC: Tensor, valid_BF: Tensor) -> Tensor:
    """`conv` over frames, those that are not valid taken as zero."""
    values_BFC = values_BFC.masked_fill(~valid_BF[..., None], 0)
    convolved_BCF: Tensor = conv(values_BFC.transpose(1, 2))
    return convolved_BCF.transpose(1, 2)


class ConvolutionalGating(nn.Module):
    """cgMLP (arXiv 2207.02971, after arXiv 2105.08050): half of the channels, normalised and convolved, gate the others;
    ESPnet's `ConvolutionalGatingMLP` without a linear layer after the convolution and with an identity gate.

    Args:
        size: H.
        hidden_size: channels before the gate; even.
        kernel: frames that the gate looks at; odd.
        dropout: after the gate.
    """

    def __init__(self, size: int, *, hidden_size: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(size, hidden_size)
        self.gate_norm = nn.LayerNorm(hidden_size // 2, eps=NORM_EPS)
        self.gate_conv = depthwise_conv(hidden_size // 2, kernel=kernel)
        self.dropout = Dropout(dropout)
        self.shrink = nn.Linear(hidden_size // 2, size)

    def forward(self, values_BFH: Tensor, valid_BF: Tensor) -> Tensor:
        passed_BFC, gate_BFC = nn.functional.gelu(self.expand(values_BFH)).chunk(2, dim=-1)
        gate_BFC = convolve(self.gate_conv, self.gate_norm(gate_BFC), valid_BF)
        gated_BFH: Tensor = self.shrink(self.dropout(passed_BFC * gate_BFC))
        return gated_BFH


def masked_batch_norm(norm: nn.BatchNorm1d, values_BFC: Tensor, valid_BF: Tensor) -> Tensor:
    """`norm`, in training with the statistics of the valid frames alone (torch and ESPnet count padding, too), of all ranks
    where a batch is dealt out. In fp32.

    Running statistics are updated as torch does: variance with count - 1 in the running one, with count in the other."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    values_BFC = values_BFC.float()
    mean_C, variance_C = norm.running_mean, norm.running_var
    if norm.training:
        values_BFC = values_BFC.masked_fill(~valid_BF[..., None], 0)
        count = total(valid_BF.sum()).clamp(min=1)
        mean_C = total(values_BFC.sum((0, 1))) / count
        centred_BFC = (values_BFC - mean_C).masked_fill(~valid_BF[..., None], 0)
        variance_C = total(centred_BFC.square().sum((0, 1))) / count
        with torch.no_grad():
            norm.num_batches_tracked += 1
            norm.running_mean.lerp_(mean_C, norm.momentum)
            norm.running_var.lerp_(variance_C * (count / (count - 1).clamp(min=1)), norm.momentum)
    return (values_BFC - mean_C) * torch.rsqrt(variance_C + norm.eps) * norm.weight + norm.bias
