"""The head of the benchmark: a Transformer encoder, small or deep."""

from __future__ import annotations

from pydantic import PositiveInt

from mlsuperb.heads.base import Rate
from mlsuperb.heads.encoder import EncoderHead
from mlsuperb.heads.inputs import InputNorm
from mlsuperb.layers.frontends import FrontendName
from mlsuperb.layers.transformer import TransformerBlock


class TransformerHead(EncoderHead):
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
        ValueError: settings that do not go together.
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
        super().__init__(
            TransformerBlock,
            {},
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
