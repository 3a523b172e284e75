"""The E-Branchformer head of the 2.0 recipe."""

from __future__ import annotations

from typing import Any

from pydantic import PositiveInt

from mlsuperb.heads.base import Rate
from mlsuperb.heads.encoder import EncoderHead, kernel_problems
from mlsuperb.heads.inputs import InputNorm
from mlsuperb.layers.attention import PositionKind
from mlsuperb.layers.e_branchformer import EBranchformerBlock
from mlsuperb.layers.frontends import FrontendName


class EBranchformerHead(EncoderHead):
    """An E-Branchformer encoder. The defaults are ESPnet's
    `egs2/ml_superb2/asr1/conf/tuning/train_mms_e_branchformer.yaml`; `scripts/parity_espnet.py` checks them against
    ESPnet's own `EBranchformerEncoder`.

    Args:
        cgmlp_size: channels of the convolutional gate, even.
        cgmlp_kernel: frames that its convolution looks at, odd.
        merge_kernel: frames that the merging convolution looks at, odd.
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
        cgmlp_size: PositiveInt = 3072,
        cgmlp_kernel: PositiveInt = 31,
        merge_kernel: PositiveInt = 31,
        macaron: bool = False,
        positions: PositionKind = "relative",
        dropout: Rate = 0.1,
        position_dropout: Rate = 0.1,
        attention_dropout: Rate = 0.1,
    ) -> None:
        sizes = {"cgmlp_size": cgmlp_size, "cgmlp_kernel": cgmlp_kernel, "merge_kernel": merge_kernel}
        super().__init__(
            EBranchformerBlock,
            {**sizes, "macaron": macaron, "positions": positions},
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
    def problems(
        cls, *, cgmlp_size: int = 3072, cgmlp_kernel: int = 31, merge_kernel: int = 31, **others: Any
    ) -> list[str]:
        """Settings that do not go together, one sentence each."""
        found = super().problems(**others)
        if cgmlp_size % 2:
            found.append(f"head.cgmlp_size is {cgmlp_size}, but must be even: one half gates the other.")
        return [*found, *kernel_problems(cgmlp_kernel=cgmlp_kernel, merge_kernel=merge_kernel)]
