"""Several low-rank updates of each linear layer, mixed anew for every frame.

Letters: E experts, I and O input and output size of a linear layer.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from mlsuperb.adaptation.inplace import WithExperts, change_class
from mlsuperb.adaptation.lora import LowRank
from mlsuperb.upstreams.base import Stack, Stacked


class Experts(nn.Module):
    """scale * sum_e g_e(x) B_e A_e x, where the gates g(x) are the softmax of a linear layer over E experts. B starts at zero,
    A as `nn.Linear` does, the router at zero: at first every expert has the same gate."""

    def __init__(self, linear: nn.Linear, *, num_experts: int, rank: int, scale: float) -> None:
        super().__init__()
        device = linear.weight.device
        self.rank, self.scale = rank, scale
        self.router = nn.Linear(linear.in_features, num_experts, bias=False, device=device)
        nn.init.zeros_(self.router.weight)
        # A of all, stacked
        self.down = nn.Parameter(torch.empty(num_experts * rank, linear.in_features, device=device))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        self.up = nn.Parameter(torch.zeros(linear.out_features, num_experts * rank, device=device))  # B of all

    def gates(self, values: Tensor) -> Tensor:
        """(..., E) the weight of each expert in every frame."""
        gates: Tensor = self.router(values).softmax(-1)
        return gates

    def forward(self, values: Tensor) -> Tensor:
        """(..., I) -> (..., O)."""
        inner = nn.functional.linear(values, self.down)
        weighted = inner * self.gates(values).to(inner.dtype).repeat_interleave(self.rank, dim=-1)
        return self.scale * nn.functional.linear(weighted, self.up)


@dataclass(kw_only=True)
class LoRAMixture(LowRank):
    """A soft mixture of LoRA experts (MoLORA, Zadouri et al. 2023, arXiv 2309.05444): for related languages to share updates and
    others to have their own. The router sees the frame and no label, so that no language is given away; it can learn to tell
    languages apart, as the routers of Lamer-SSL (arXiv 2602.12746) do, which send a frame to two experts and balance their loads.
    Every expert is computed for every frame here, and nothing has to be balanced.

    It cannot be merged into the weights or opened by peft; the run's own weights have it.

    Args:
        num_experts: E. Parameters are those of E LoRAs, and E * I more for every layer.
        rank, alpha, attention, ffn: of each expert; see `LowRank`.
        layers, gradient_checkpointing, stack: see `BlockAdaptation`.
    """

    label = "A mixture of LoRA"
    adds_modules = True

    num_experts: PositiveInt = 4

    @classmethod
    def problems(cls, *, num_experts: int = 4, **settings: Any) -> list[str]:
        """See `BlockAdaptation.problems`; one expert leaves its router nothing to choose."""
        found = super().problems(**settings)
        if num_experts == 1:
            found.append(
                "adaptation.num_experts=1 is a plain LoRA with a router that chooses nothing: use adaptation=lora with the same "
                "rank and alpha, or give 2 or more experts."
            )
        return found

    def change(self, model: Stacked, stack: Stack, chosen: list[int]) -> Collection[str]:
        """Adds experts to the linear layers; see `BlockAdaptation.change`."""
        return list(self._insert(model, stack, chosen))

    def _insert(self, model: Stacked, stack: Stack, chosen: list[int]) -> Iterator[str]:
        linears = self.linears(model, stack)
        for index in chosen:
            for place in linears:
                name = f"{stack.blocks}.{index}.{place}"
                linear: Any = model.get_submodule(name)
                scale = self.alpha / self.rank
                linear.experts = Experts(linear, num_experts=self.num_experts, rank=self.rank, scale=scale)
                change_class(linear, WithExperts)
                yield from (f"{name}.experts.{inner}" for inner, _ in linear.experts.named_parameters())
