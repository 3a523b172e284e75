"""The Conformer head of the 2.0 recipe."""

from __future__ import annotations

from typing import Any

from pydantic import PositiveInt

from mlsuperb.heads.base import Rate
from mlsuperb.heads.encoder import EncoderHead, kernel_problems
from mlsuperb.heads.inputs import InputNorm
from mlsuperb.layers.attention import PositionKind
from mlsuperb.layers.conformer import ConformerBlock
from mlsuperb.layers.frontends import FrontendName


class ConformerHead(EncoderHead):
    """A Conformer encoder. The defaults are ESPnet's `egs2/ml_superb2/asr1/conf/tuning/train_mms_conformer.yaml`;
    `scripts/parity_espnet.py` checks them against ESPnet's own `ConformerEncoder`.

    Args:
        conv_kernel: frames that the convolution of a block looks at, odd.
        macaron: half a feed-forward network before and half a one after, in place of a whole one after.
        positions: `relative` (ESPnet's latest `rel_pos`), or `absolute`.

    The others are those of `TransformerHead`.

    Raises:
        ValueError: settings that do not go together.
    """

    def __init__(
        self,
        *,
        input_size: int,
        input_norm: InputNorm = "mean",
        projection: PositiveInt | None = 80,
        frontend: FrontendName = "conv2d2",
        num_blocks: PositiveInt = 12,
        size: PositiveInt = 512,
        num_heads: PositiveInt = 8,
        ffn_size: PositiveInt = 2048,
        conv_kernel: PositiveInt = 15,
        macaron: bool = True,
        positions: PositionKind = "relative",
        dropout: Rate = 0.1,
        position_dropout: Rate = 0.1,
        attention_dropout: Rate = 0.1,
    ) -> None:
        super().__init__(
            ConformerBlock,
            {"conv_kernel": conv_kernel, "macaron": macaron, "positions": positions},
            input_size=input_size,
            input_norm=input_norm,
            projection=projection,
            frontend=frontend,
            num_blocks=num_blocks,
            size=size,
            num_heads=num_heads,
            ffn_size=ffn_size,
            dropout=dropout,
            position_dropout=position_dropout,
            attention_dropout=attention_dropout,
        )

    @classmethod
    def problems(cls, *, conv_kernel: int = 15, **others: Any) -> list[str]:
        """Settings that do not go together, one sentence each."""
        return [*super().problems(**others), *kernel_problems(conv_kernel=conv_kernel)]
