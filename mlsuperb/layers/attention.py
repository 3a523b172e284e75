"""Multi-head attention.

Letters: B batch, Q queries, F frames looked at, H size, N attention heads, K size of one (H / N), R relative positions
(2F - 1).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from mlsuperb.layers.dropout import scaled_dot_product_attention

AT_ONCE = 2048  # frames of an utterance: more than those of training have (20 to 30 s), whose bits stay what they are
PIECE = 512

PositionKind = Literal["absolute", "relative"]


class _Projections(nn.Module):
    """Query, key and value are three layers, not one wide one, so that their initial weights are drawn as ESPnet's
    (`espnet.nets.pytorch_backend.transformer.attention.MultiHeadedAttention`)."""

    def __init__(self, size: int, *, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size)
        self.out = nn.Linear(size, size)

    def _split(self, values_BFH: Tensor) -> Tensor:
        return values_BFH.unflatten(2, (self.num_heads, -1)).transpose(1, 2)

    def _mix(self, query_BNQK: Tensor, key_BNFK: Tensor, value_BNFK: Tensor, mask: Tensor) -> Tensor:
        context_BNQK = scaled_dot_product_attention(
            query_BNQK, key_BNFK, value_BNFK, attn_mask=mask, dropout_p=self.dropout if self.training else 0.0
        )
        mixed_BQH: Tensor = self.out(context_BNQK.transpose(1, 2).flatten(2))
        return mixed_BQH


class Attention(_Projections):
    """Multi-head attention, of a sequence to itself or to another."""

    def forward(self, values_BQH: Tensor, memory_BFH: Tensor, mask: Tensor) -> Tensor:
        """What each query finds in `memory_BFH` where `mask`, broadcast to (B, N, Q, F), is true."""
        return self.look_up(values_BQH, *self.keys_and_values(memory_BFH), mask)

    def keys_and_values(self, memory_BFH: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, F, K) each: all that queries see of a memory, for callers that keep it from step to step."""
        return self._split(self.key(memory_BFH)), self._split(self.value(memory_BFH))

    def look_up(self, values_BQH: Tensor, key_BNFK: Tensor, value_BNFK: Tensor, mask: Tensor) -> Tensor:
        """What each query finds among `keys_and_values` where `mask` is true."""
        return self._mix(self._split(self.query(values_BQH)), key_BNFK, value_BNFK, mask)


class RelativeAttention(_Projections):
    """Self-attention to contents and to distances (Transformer-XL, arXiv 1901.02860, section 3.3), with the query's two
    biases u (`content_bias_NK`) and v (`position_bias_NK`); ESPnet's `RelPositionMultiHeadedAttention`, the "latest" one.
    """

    def __init__(self, size: int, *, num_heads: int, dropout: float) -> None:
        super().__init__(size, num_heads=num_heads, dropout=dropout)
        self.position = nn.Linear(size, size, bias=False)
        self.content_bias_NK = nn.Parameter(nn.init.xavier_uniform_(torch.empty(num_heads, size // num_heads)))
        self.position_bias_NK = nn.Parameter(nn.init.xavier_uniform_(torch.empty(num_heads, size // num_heads)))

    def forward(self, values_BFH: Tensor, mask: Tensor, codes_RH: Tensor) -> Tensor:
        """What each frame finds where `mask` (B, 1, 1, F) is true; `codes_RH` are those of `RelativePositions.codes`.

        The scores of all pairs of frames are there at once only up to `AT_ONCE` frames. Beyond, queries are taken `PIECE` at a
        time, so that memory grows with the length and not with its square (600 s: 1 GB in place of 15)."""
        query_BNFK, key_BNFK, value_BNFK = (
            self._split(layer(values_BFH)) for layer in (self.query, self.key, self.value)
        )
        codes_1NRK = self._split(self.position(codes_RH)[None])
        num = values_BFH.shape[1]
        step = num if num <= AT_ONCE else PIECE
        parts = []
        for first in range(0, num, step):
            # of the distances to these queries
            near_1NRK = codes_1NRK[:, :, max(num - first - step, 0) : 2 * num - 1 - first]
            parts.append(self._look(query_BNFK[:, :, first : first + step], key_BNFK, value_BNFK, near_1NRK, mask))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _look(
        self, query_BNQK: Tensor, key_BNFK: Tensor, value_BNFK: Tensor, codes_1NRK: Tensor, mask: Tensor
    ) -> Tensor:
        """What some neighbouring queries find; `codes_1NRK` are those of the distances from the first key to the last of the
        queries down to that from the last key to the first of them."""
        scores_BNQR = (query_BNQK + self._bias(self.position_bias_NK, query_BNQK)) @ codes_1NRK.transpose(2, 3)
        scores_BNQF = shift(scores_BNQR) / math.sqrt(query_BNQK.shape[-1])
        scores_BNQF = scores_BNQF.masked_fill(~mask, float("-inf")).to(query_BNQK.dtype)
        return self._mix(query_BNQK + self._bias(self.content_bias_NK, query_BNQK), key_BNFK, value_BNFK, scores_BNQF)

    @staticmethod
    def _bias(bias_NK: Tensor, query_BNFK: Tensor) -> Tensor:
        return bias_NK[:, None].to(query_BNFK.dtype)


def shift(scores_BNQR: Tensor) -> Tensor:
    """(B, N, Q, F): of each of Q queries the scores of the distances to all F keys, R = Q + F - 1 distances in all. Query i needs
    those at Q - 1 - i onwards, each one place before its predecessor's, so in rows that are one shorter they stand in line;
    nothing is copied."""
    num_queries, num_distances = scores_BNQR.shape[2:]
    if num_queries == 1:
        return scores_BNQR
    rows = scores_BNQR.flatten(2)[..., num_queries - 1 : -1].unflatten(2, (num_queries, num_distances - 1))
    return rows[..., : num_distances - num_queries + 1]


def make_self_attention(
    kind: PositionKind, size: int, *, num_heads: int, dropout: float
) -> Attention | RelativeAttention:
    """The attention that goes with a kind of positions."""
    make = RelativeAttention if kind == "relative" else Attention
    return make(size, num_heads=num_heads, dropout=dropout)


def attend(
    attention: Attention | RelativeAttention, values_BFH: Tensor, valid_BF: Tensor, codes_RH: Tensor | None
) -> Tensor:
    """Self-attention of either kind to the valid frames."""
    mask_B11F = valid_BF[:, None, None]
    if isinstance(attention, RelativeAttention):
        assert codes_RH is not None, "relative attention reads position codes"
        relative_BFH: Tensor = attention(values_BFH, mask_B11F, codes_RH)
        return relative_BFH
    absolute_BFH: Tensor = attention(values_BFH, values_BFH, mask_B11F)
    return absolute_BFH
