"""SeamlessM4T's length adaptor, whose convolutions read the padding behind an utterance, made independent of it.

Letters: B batch, F frames, D feature size.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mlsuperb.adaptation.inplace import change_class


class MaskedInput(nn.Module):
    """A convolution (B, D, F) that reads zeros beyond the valid frames, as it does beyond the end of an utterance alone."""

    valid_BF: Tensor | None = None

    def forward(self, values_BDF: Tensor) -> Tensor:
        if self.valid_BF is not None:
            values_BDF = values_BDF.masked_fill(~self.valid_BF[:, None], 0)
        output: Tensor = super().forward(values_BDF)
        return output


class ExactAdaptor(nn.Module):
    """A `SeamlessM4TConformerAdapterLayer` (v1 or v2) whose convolutions are told the valid frames. In transformers, as in Meta's
    own code, the last frame of an utterance depends on what is behind it: zeros when it is alone, and in a batch what the
    layer norm makes of padding."""

    residual_conv: nn.Module
    self_attn_conv: nn.Module

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **named: Any) -> Any:
        for convolution in (self.residual_conv, self.self_attn_conv):
            convolution.valid_BF = None if attention_mask is None else attention_mask.bool()  # type: ignore[assignment]
        return super().forward(hidden_states, attention_mask=attention_mask, **named)


def make_exact(adaptor: nn.Module) -> None:
    """Change every layer of a `speech_encoder.adapter` in place."""
    layers: Any = adaptor.layers
    for layer in layers:
        change_class(layer, ExactAdaptor)
        for convolution in (layer.residual_conv, layer.self_attn_conv):
            change_class(convolution, MaskedInput)
