"""A HuBERT that has learnt nothing yet, for pre-training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveInt

from mlsuperb.upstreams.base import Regularisation, size_and_type
from mlsuperb.upstreams.selfsupervised import SelfSupervised

Share = Annotated[float, Field(ge=0, lt=1)]


class NewHubert(SelfSupervised):
    """A HuBERT of any size with random weights, which follow from `seed` alone. The defaults are HuBERT base's, as fairseq
    trained it (`examples/hubert/config/pretrain/hubert_base_librispeech.yaml`), with normalised waves as mHuBERT-147 has them.

    Args:
        num_blocks: Transformer blocks; one layer more comes out.
        hidden_size: feature size, a multiple of `num_heads` and of `position_groups`.
        num_heads: of attention, in each block.
        ffn_size: inner size of the feed-forward networks.
        conv_channels, conv_kernels, conv_strides: of the convolutions on the wave; the product of the strides is the hop.
        conv_norm: `group` normalises the first convolution over time (base), `layer` every one over channels (large).
        conv_bias: whether the convolutions have a bias (in fairseq's HuBERTs they have none).
        position_kernel, position_groups: of the convolution that gives positions.
        pre_norm: layer norms before attention and feed-forward network (large), not after them (base).
        normalise: bring each wave to zero mean and unit variance.
        dropout: behind projection, positions, attention and feed-forward network.
        attention_dropout: of attention's weights.
        activation_dropout: inside the feed-forward network, behind its activation.
        seed: of the weights; the global random state is left as it was.
        regularisation: see `SelfSupervised`.
    """

    def __init__(
        self,
        *,
        num_blocks: PositiveInt = 12,
        hidden_size: PositiveInt = 768,
        num_heads: PositiveInt = 12,
        ffn_size: PositiveInt = 3072,
        conv_channels: Sequence[PositiveInt] = (512,) * 7,
        conv_kernels: Sequence[PositiveInt] = (10, 3, 3, 3, 3, 2, 2),
        conv_strides: Sequence[PositiveInt] = (5, 2, 2, 2, 2, 2, 2),
        conv_norm: Literal["group", "layer"] = "group",
        conv_bias: bool = False,
        position_kernel: PositiveInt = 128,
        position_groups: PositiveInt = 16,
        pre_norm: bool = False,
        normalise: bool = True,
        dropout: Share = 0.1,
        attention_dropout: Share = 0.1,
        activation_dropout: Share = 0.0,
        seed: NonNegativeInt = 0,
        regularisation: Regularisation = "mask_embedding",
    ) -> None:
        from transformers import HubertConfig, HubertModel

        config = HubertConfig(
            num_hidden_layers=num_blocks, hidden_size=hidden_size, num_attention_heads=num_heads, intermediate_size=ffn_size,
            conv_dim=list(conv_channels), conv_kernel=list(conv_kernels), conv_stride=list(conv_strides), conv_bias=conv_bias,
            feat_extract_norm=conv_norm, do_stable_layer_norm=pre_norm, num_conv_pos_embeddings=position_kernel,
            num_conv_pos_embedding_groups=position_groups, hidden_dropout=dropout, feat_proj_dropout=dropout,
            attention_dropout=attention_dropout, activation_dropout=activation_dropout,
        )  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the accelerators too
            model = HubertModel(config)
        super().__init__(model, normalise=normalise, regularisation=regularisation)
        self._record = {"weights": "random", "seed": seed, **size_and_type(self)}

    @classmethod
    def problems(
        cls,
        *,
        hidden_size: int,
        num_heads: int,
        position_groups: int,
        conv_channels: Sequence[int],
        conv_kernels: Sequence[int],
        conv_strides: Sequence[int],
        **_others: object,
    ) -> list[str]:
        """Sizes that do not go together, a sentence each."""
        found = [
            f"upstream.hidden_size={hidden_size} must be a multiple of upstream.{name}={parts}"
            for name, parts in (("num_heads", num_heads), ("position_groups", position_groups))
            if hidden_size % parts
        ]
        if len({len(conv_channels), len(conv_kernels), len(conv_strides)}) > 1:
            found.append("upstream.conv_channels, conv_kernels and conv_strides must have a value for each convolution")
        return found

    @classmethod
    def depth(cls, settings: Mapping[str, Any]) -> int | None:
        return int(settings["num_blocks"])
