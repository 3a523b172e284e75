"""Multi-head attention.

Letters: B batch, Q queries, F frames looked at, H size, N attention heads.
"""

from __future__ import annotations

from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention, of a sequence to itself or to another.

    Query, key and value are three layers, not one wide one, so that their initial weights are drawn as ESPnet's
    (`espnet.nets.pytorch_backend.transformer.attention.MultiHeadedAttention`).
    """

    def __init__(self, size: int, *, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size)
        self.out = nn.Linear(size, size)

    def forward(self, values_BQH: Tensor, memory_BFH: Tensor, mask: Tensor) -> Tensor:
        """What each query finds in `memory_BFH` where `mask`, broadcast to (B, N, Q, F), is true."""
        query_BNQH, key_BNFH, value_BNFH = (
            self._split(layer(source))
            for layer, source in ((self.query, values_BQH), (self.key, memory_BFH), (self.value, memory_BFH))
        )
        context_BNQH = nn.functional.scaled_dot_product_attention(
            query_BNQH, key_BNFH, value_BNFH, attn_mask=mask, dropout_p=self.dropout if self.training else 0.0
        )
        mixed_BQH: Tensor = self.out(context_BNQH.transpose(1, 2).flatten(2))
        return mixed_BQH

    def _split(self, values_BFH: Tensor) -> Tensor:
        return values_BFH.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
