"""LoRA on blocks whose linear layers are kept in 4 bits (QLoRA, arXiv 2305.14314), through peft and bitsandbytes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import nn

from mlsuperb.adaptation.lora import LoRA, split
from mlsuperb.upstreams.adapter import QUANTISED
from mlsuperb.upstreams.base import Stack, Stacked

ComputeType = Literal["fp32", "bf16"]
_COMPUTE_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(kw_only=True)
class QLoRA(LoRA):
    """Every linear layer of every block in 4-bit NormalFloat, then LoRA on the chosen ones. What stands before the blocks,
    convolutions, norms and biases stay as they are. The weights are quantised where they are loaded, so that they are the
    same on every device.

    Args:
        compute_type: what the weights are unfolded to, and multiplied in.
        double_quantisation: quantise the scales of the blocks of 64 weights, too.
        others: see `LoRA`.
    """

    label = "QLoRA"

    compute_type: ComputeType = "bf16"
    double_quantisation: bool = True

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        found = super().problems(**settings)
        if find_spec("bitsandbytes") is None:
            found.append(
                "adaptation=qlora needs bitsandbytes, which is not installed: pip install 'mlsuperb[cuda]' (or "
                "'mlsuperb[cpu]'), or choose adaptation=lora."
            )
        return found

    def change(self, model: Stacked, stack: Stack, chosen: list[int]) -> Collection[str]:
        self.refuse(
            stack, "quantisation", "Choose adaptation=lora with adaptation.attention=[] and adaptation.ffn=true."
        )
        blocks = model.get_submodule(stack.blocks)
        linears = {name: module for name, module in blocks.named_modules() if type(module) is nn.Linear}
        for name, linear in linears.items():
            parent, _, last = name.rpartition(".")
            setattr(blocks.get_submodule(parent), last, self._quantised(linear))
        # peft's own mark: without it the layers are taken for ordinary ones, and DoRA reads the packed weights
        split(model, stack)[0].is_loaded_in_4bit = True  # type: ignore[assignment]
        return super().change(model, stack, chosen)

    def base_record(self, model: Stacked) -> dict[str, Any]:
        settings = {"compute_type": self.compute_type, "double_quantisation": self.double_quantisation}
        return {**super().base_record(model), QUANTISED: {"bits": 4, "type": "nf4", **settings}}

    def _quantised(self, linear: nn.Linear) -> nn.Linear:
        from bitsandbytes.nn import Linear4bit, Params4bit

        compute_type = _COMPUTE_TYPES[self.compute_type]
        quantised = Linear4bit(
            linear.in_features, linear.out_features, bias=False, compute_dtype=compute_type, device="meta"
        )
        weight = Params4bit(
            linear.weight.data,
            requires_grad=False,
            compress_statistics=self.double_quantisation,
            quant_type="nf4",
            module=quantised,
        )
        quantised.weight = weight.to(linear.weight.device)  # type: ignore[misc]  # quantises; on the meta device there is nothing to
        if linear.bias is not None:  # as bitsandbytes would make it in the first forward pass, in place
            quantised.bias = nn.Parameter(linear.bias.data.to(compute_type), requires_grad=False)
        # On CPUs with AVX512-BF16 bitsandbytes 0.50 repacks the weights in an evaluation, and the next training step
        # fails, or gets no gradient through layers without a bias.
        quantised.support_avx512bf16_for_cpu = False
        return quantised.train(linear.training)
