"""What the Transformer and its kin share: everything but the block.

Letters: B batch, F frames, D feature size, H encoded size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from mlsuperb.heads.base import Head
from mlsuperb.heads.inputs import InputNorm, UtteranceNorm, make_projection
from mlsuperb.layers.frontends import FrontendName, make_frontend, too_narrow
from mlsuperb.layers.masks import valid_mask, zero_padding
from mlsuperb.layers.norm import NORM_EPS
from mlsuperb.layers.positions import Positions, RelativePositions
from mlsuperb.types import Encoded, Taps


class EncoderHead(Head):
    """Utterance normalisation, projection, front end, positions, blocks, final layer norm.

    Args:
        make_block: gives one block each time, from the settings that all blocks have: `make_block(size, num_heads=...,
            ffn_size=..., dropout=..., attention_dropout=...)`, and those of `block`. The block is called as
            `block(values_BFH, valid_BF, codes_RH)`.
        block: settings of this kind of block alone; `positions` among them are `absolute` where it has none.

    The others are explained where they are settings: `mlsuperb.heads.transformer`.

    Raises:
        ValueError: settings that do not go together.
    """

    def __init__(
        self,
        make_block: Callable[..., nn.Module],
        block: Mapping[str, Any],
        *,
        input_size: int,
        input_norm: InputNorm,
        projection: int | None,
        frontend: FrontendName,
        num_blocks: int,
        size: int,
        num_heads: int,
        ffn_size: int,
        dropout: float,
        position_dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        if found := self.problems(size=size, num_heads=num_heads, frontend=frontend, projection=projection, **block):
            raise ValueError(" ".join(found))
        self.output_size = size
        self.norm = UtteranceNorm(input_norm)
        self.projection, projected_size = make_projection(input_size, projection=projection)
        self.frontend = make_frontend(frontend, input_size=projected_size, output_size=size)
        make_positions = RelativePositions if block.get("positions") == "relative" else Positions
        self.positions = make_positions(dropout=position_dropout)
        shared = {
            "num_heads": num_heads,
            "ffn_size": ffn_size,
            "dropout": dropout,
            "attention_dropout": attention_dropout,
        }
        self.blocks = nn.ModuleList(make_block(size, **shared, **block) for _ in range(num_blocks))
        self.final_norm = nn.LayerNorm(size, eps=NORM_EPS)

    @classmethod
    def problems(
        cls, *, size: int, num_heads: int, frontend: str = "linear", projection: int | None = None, **_others: Any
    ) -> list[str]:
        """Settings that do not go together, one sentence each."""
        found = []
        if size % num_heads:
            found.append(
                f"head.size is {size} and head.num_heads {num_heads}: choose a number of heads that divides it."
            )
        if size % 2:
            found.append(f"head.size is {size}, but must be even: positions are pairs of a sine and a cosine.")
        if projection is not None and (problem := too_narrow(frontend, projection)):
            found.append(problem)
        return found

    @property
    def stages(self) -> dict[str, nn.Module]:
        """The front end, then every block before the final layer norm."""
        return {"front end": self.frontend, **{f"block {n}": block for n, block in enumerate(self.blocks, start=1)}}

    def forward(self, feats_BFD: Tensor, lengths_B: Tensor, taps: Taps | None = None) -> Encoded:
        feats_BFD = self.projection(self.norm(feats_BFD, lengths_B))
        values_BFH = self.positions(self.frontend(feats_BFD, lengths_B))
        codes_RH = self.positions.codes(values_BFH) if isinstance(self.positions, RelativePositions) else None
        frames_B = self.num_frames(lengths_B)
        valid_BF = valid_mask(frames_B, values_BFH.shape[1])
        inner: dict[int, Tensor] = {}
        for number, block in enumerate(self.blocks, start=1):
            values_BFH = block(values_BFH, valid_BF, codes_RH)
            if taps is not None and number in taps.blocks:
                inner[number] = zero_padding(self.final_norm(values_BFH), frames_B)
                if (added_BFH := taps.conditioning(inner[number])) is not None:
                    values_BFH = values_BFH + added_BFH
        return Encoded(zero_padding(self.final_norm(values_BFH), frames_B), frames_B, inner)

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return self.frontend.num_frames(lengths_B)


def kernel_problems(**kernels: int) -> list[str]:
    """A sentence for each kernel, by the name of its setting, that has no middle."""
    return [
        f"head.{name} is {kernel}, but must be odd: a frame looks equally far to both sides."
        for name, kernel in kernels.items()
        if kernel % 2 == 0
    ]
