"""The head of the benchmark: a small Transformer encoder.

Letters: B batch, F frames, D feature size, H encoded size, N attention heads.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from mlsuperb.heads.base import Head
from mlsuperb.heads.inputs import InputNorm, UtteranceNorm, make_projection
from mlsuperb.layers.attention import Attention
from mlsuperb.layers.frontends import FrontendName, make_frontend
from mlsuperb.layers.norm import NORM_EPS
from mlsuperb.layers.positions import Positions
from mlsuperb.masks import valid_mask, zero_padding
from mlsuperb.types import Encoded

Rate = Annotated[float, Field(ge=0, lt=1)]


class TransformerHead(Head):
    """Utterance normalisation, projection, front end, positions, pre-norm Transformer blocks, final layer norm.

    The defaults are ML-SUPERB's frozen baseline (ESPnet `egs2/ml_superb/asr1/conf/tuning/train_asr_s3prl_*.yaml`);
    `scripts/parity_espnet.py` checks them against ESPnet's own classes.

    Args:
        input_size: D, given by the featurizer.
        input_norm: what each utterance is normalised to before anything else: `mean`, `mean_var`, or `none`.
        projection: size of the linear layer in front; None for none. Left out where `input_size` is that already.
        frontend: see `make_frontend`.
        num_blocks: Transformer blocks.
        size: H.
        num_heads: attention heads; must divide `size`.
        ffn_size: hidden size of the feed-forward layers (ReLU).
        dropout: after attention, inside and after the feed-forward layers.
        position_dropout: after the position codes.
        attention_dropout: on attention weights.

    Raises:
        ValueError: `num_heads` does not divide `size`, or `size` is odd.
    """

    def __init__(
        self,
        *,
        input_size: int,
        input_norm: InputNorm = "mean",
        projection: PositiveInt | None = 80,
        frontend: FrontendName = "conv2d2",
        num_blocks: PositiveInt = 2,
        size: PositiveInt = 256,
        num_heads: PositiveInt = 8,
        ffn_size: PositiveInt = 1024,
        dropout: Rate = 0.1,
        position_dropout: Rate = 0.1,
        attention_dropout: Rate = 0.1,
    ) -> None:
        super().__init__()
        if found := self.problems(size=size, num_heads=num_heads):
            raise ValueError(" ".join(found))
        self.output_size = size
        self.norm = UtteranceNorm(input_norm)
        self.projection, projected_size = make_projection(input_size, projection=projection)
        self.frontend = make_frontend(frontend, input_size=projected_size, output_size=size)
        self.positions = Positions(dropout=position_dropout)
        self.blocks = nn.ModuleList(
            Block(size, num_heads=num_heads, ffn_size=ffn_size, dropout=dropout, attention_dropout=attention_dropout)
            for _ in range(num_blocks)
        )
        self.final_norm = nn.LayerNorm(size, eps=NORM_EPS)

    @classmethod
    def problems(cls, *, size: int, num_heads: int, **_others: object) -> list[str]:
        """Settings that do not go together, a sentence each."""
        found = []
        if size % num_heads:
            found.append(
                f"head.size is {size} and head.num_heads {num_heads}: choose a number of heads that divides it."
            )
        if size % 2:
            found.append(f"head.size is {size}, but must be even: positions are pairs of a sine and a cosine.")
        return found

    def forward(self, feats_BFD: Tensor, lengths_B: Tensor) -> Encoded:
        feats_BFD = self.projection(self.norm(feats_BFD, lengths_B))
        values_BFH = self.positions(self.frontend(feats_BFD, lengths_B))
        frames_B = self.num_frames(lengths_B)
        keys_B11F = valid_mask(frames_B, values_BFH.shape[1])[:, None, None]
        for block in self.blocks:
            values_BFH = block(values_BFH, keys_B11F)
        return Encoded(zero_padding(self.final_norm(values_BFH), frames_B), frames_B)

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return self.frontend.num_frames(lengths_B)


class Block(nn.Module):
    """Self-attention and a feed-forward network, each behind a layer norm and beside a residual path."""

    def __init__(self, size: int, *, num_heads: int, ffn_size: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.attention = Attention(size, num_heads=num_heads, dropout=attention_dropout)
        self.ffn_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.ffn = nn.Sequential(nn.Linear(size, ffn_size), nn.ReLU(), nn.Dropout(dropout), nn.Linear(ffn_size, size))
        self.dropout = nn.Dropout(dropout)

    def forward(self, values_BFH: Tensor, keys_B11F: Tensor) -> Tensor:
        normed_BFH = self.attention_norm(values_BFH)
        values_BFH = values_BFH + self.dropout(self.attention(normed_BFH, normed_BFH, keys_B11F))
        return values_BFH + self.dropout(self.ffn(self.ffn_norm(values_BFH)))
