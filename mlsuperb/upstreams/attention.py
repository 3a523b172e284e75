"""Faster parts for transformers' models: fused attention (SDPA), with masks that are made without waiting for the device, and
dropout that does not hold up a CPU.

Letters: B batch, F frames, D feature size, H heads.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

from mlsuperb.layers.dropout import scaled_dot_product_attention, use_faster_dropout

NAME = "sdpa_without_waiting"  # an attention implementation, as transformers names them


def use_faster_parts(model: PreTrainedModel) -> None:
    """Every model that can gets torch's fused attention; one that was built with another (`eager`) keeps that. All get
    `mlsuperb.layers.dropout`."""
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, padding_mask)
    if model.config._attn_implementation == "sdpa":
        model.config._attn_implementation = NAME
    for module in model.modules():
        if type(module) is WavLMAttention:
            module.__class__ = FusedWavLMAttention
    use_faster_dropout(model)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    """transformers' `sdpa_attention_forward`, but for dropout in an encoder, of which a CPU has no fused kernel."""
    grouped = getattr(module, "num_key_value_groups", 1) > 1
    causal = getattr(module, "is_causal", True) or options.get("is_causal")
    if not dropout or grouped or causal or options.get("cache") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout=dropout, **options)
    mask, bias = attention_mask, options.get("position_bias")
    if bias is not None and mask is not None:
        mask = bias.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else bias + mask
    elif bias is not None:
        mask = bias
    found_BHFD = scaled_dot_product_attention(
        query, key, value, attn_mask=mask, dropout_p=dropout, scale=options.get("scaling")
    )
    return found_BHFD.transpose(1, 2).contiguous(), None


def padding_mask(*, attention_mask: Tensor | None = None, **known: Any) -> Tensor | None:
    """transformers' `sdpa_mask` looks whether the mask is all true, for which the host waits for a GPU. There a mask of padding
    is used as it is, (B, 1, 1, F); on a CPU, where looking is free, a batch without padding has none."""
    if attention_mask is None or attention_mask.device.type == "cpu":
        return sdpa_mask(attention_mask=attention_mask, **known)
    return attention_mask[:, None, None].bool()


class FusedWavLMAttention(WavLMAttention):
    """WavLM's attention with the fused kernel: transformers asks torch for the attention weights, which nobody reads and which
    rule that kernel out."""

    def torch_multi_head_self_attention(  # type: ignore[override]
        self, hidden_BFD: Tensor, attention_mask_BF: Tensor | None, gated_position_bias: Tensor
    ) -> tuple[Tensor, None]:
        def heads(projection: nn.Linear) -> Tensor:
            projected_BFD = nn.functional.linear(hidden_BFD, projection.weight, projection.bias)
            return projected_BFD.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

        query, key, value = heads(self.q_proj), heads(self.k_proj), heads(self.v_proj)
        bias_BHFF = gated_position_bias.unflatten(0, (len(hidden_BFD), self.num_heads)).to(query.dtype)
        if attention_mask_BF is not None:
            bias_BHFF = bias_BHFF.masked_fill(attention_mask_BF[:, None, None].ne(1), -torch.inf)
        dropout = self.dropout if self.training else 0.0
        found_BHFD = scaled_dot_product_attention(query, key, value, attn_mask=bias_BHFF, dropout_p=dropout)
        found_BFD = found_BHFD.transpose(1, 2).flatten(2)
        return nn.functional.linear(found_BFD, self.out_proj.weight, self.out_proj.bias), None
