"""What the E-Branchformer encoders of ESPnet share that are upstreams: the blocks, and how weights get into them.

Letters: B batch, F frames, D feature size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mlsuperb.espnet.folder import CONFIG
from mlsuperb.espnet.keys import Names
from mlsuperb.layers.e_branchformer import EBranchformerBlock
from mlsuperb.layers.norm import NORM_EPS
from mlsuperb.layers.self_conditioning import SelfConditioning
from mlsuperb.runtime.messages import listed
from mlsuperb.upstreams.base import Stack

E_BRANCHFORMER = Stack(
    blocks="model.blocks",
    front=("model.frontend",),
    attention="attention",
    ffn="ffn.3",
    ffn_dropout=None,  # one module for every branch of a block
    attention_linears=tuple(f"attention.{name}" for name in ("query", "key", "value", "out")),
    ffn_linears=("macaron.0", "macaron.3", "ffn.0", "ffn.3"),
)


class EspnetEncoder(nn.Module):
    """ESPnet's `EBranchformerEncoder` with absolute positions and two feed-forward networks per block. A subclass makes what
    stands before the blocks, and then the blocks by `add_blocks`.

    Attributes:
        names: what ESPnet calls the parameters.
        prefixes: how ESPnet's names of this encoder's parameters begin; what begins otherwise belongs to other parts of the
            model, such as a decoder or losses.
    """

    names: Names
    prefixes: ClassVar[tuple[str, ...]] = ("encoder.",)

    def add_blocks(
        self,
        size: int,
        *,
        num_blocks: int,
        final_norm: bool = True,
        vocab_size: int = 0,
        conditioned_after: Sequence[int] = (),
        **block: Any,
    ) -> None:
        """Make what follows the front.

        Args:
            size: D.
            num_blocks: how many.
            final_norm: whether there is a layer norm behind the last.
            vocab_size, conditioned_after: see `SelfConditioning`; without such blocks there is none.
            block: the other settings of `EBranchformerBlock`.
        """
        self.blocks = nn.ModuleList(
            EBranchformerBlock(size, positions="absolute", macaron=True, **block) for _ in range(num_blocks)
        )
        self.final_norm = nn.LayerNorm(size, eps=NORM_EPS) if final_norm else None
        self.conditioning = (
            SelfConditioning(size, vocab_size=vocab_size, blocks=conditioned_after) if conditioned_after else None
        )
        self.size = size

    def run_blocks(self, hidden_BFD: Tensor, valid_BF: Tensor) -> list[Tensor]:
        """The input of the first block, given, and the output of each, the last one normalised where there is a norm: (B, F, D),
        garbage beyond the valid frames. Self-conditioning goes into the next block, not into a layer."""
        layers = [hidden_BFD]
        for number, block in enumerate(self.blocks, start=1):
            hidden_BFD = block(hidden_BFD, valid_BF)
            layers.append(hidden_BFD)
            if self.conditioning is not None and number in self.conditioning.after and number < len(self.blocks):
                hidden_BFD = self.conditioning(hidden_BFD)
        return layers if self.final_norm is None else [*layers[:-1], self.final_norm(layers[-1])]

    def misfits(self, weights: Mapping[str, Tensor]) -> dict[str, list[str]]:
        """What of ESPnet's `weights` does not fit, by ESPnet's names."""
        shapes = {self.names.theirs(name): value.shape for name, value in self.state_dict().items()}
        own = {name for name in weights if name.startswith(self.prefixes)}
        both = shapes.keys() & weights.keys()
        return {
            "missing": sorted(shapes.keys() - weights.keys()),
            "unknown": sorted(own - shapes.keys()),
            "of another shape": sorted(name for name in both if weights[name].shape != shapes[name]),
        }

    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Copies of ESPnet's weights in place of its own, which may be on the meta device."""
        copies = {name: weights[self.names.theirs(name)].to(torch.float32, copy=True) for name in self.state_dict()}
        self.load_state_dict(copies, assign=True)


def fill(encoder: EspnetEncoder, weights: Mapping[str, Tensor], *, checkpoint: str, file: Path) -> None:
    """Put the weights of a `file` of `checkpoint` into `encoder`.

    Raises:
        ValueError: they do not fit it.
    """
    if any((wrong := encoder.misfits(weights)).values()):
        raise ValueError(
            f"upstream.checkpoint={checkpoint}: {file.name} does not fit its {CONFIG}: {listed(wrong)}. "
            "Parts of the encoder would be random. Give weights and configuration of one and the same model."
        )
    encoder.take(weights)
