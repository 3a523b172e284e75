"""A small HuBERT that knows nothing, for tests and debugging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from mlsuperb.upstreams.base import Regularisation, size_and_type
from mlsuperb.upstreams.selfsupervised import SelfSupervised


class RandomHubert(SelfSupervised):
    """HuBERT-base's architecture (group norm, 50 Hz), only small, with random weights that follow from `seed` alone.

    Args:
        num_blocks: Transformer blocks; one layer more comes out.
        hidden_size: feature size, a multiple of 16.
        conv_channels: channels of the seven convolutions.
        initializer_range: standard deviation of the linear layers' weights. HuBERT's 0.02 goes with 768 features; with so
            few, blocks hardly change what goes through them, and 1 / sqrt(hidden_size) makes blocks that can be adapted.
        seed: of the weights; the global random state is left as it was.
        dropout_while_frozen: see `Upstream`.
        regularisation: see `SelfSupervised`.
    """

    def __init__(
        self,
        *,
        num_blocks: PositiveInt = 3,
        hidden_size: PositiveInt = 64,
        conv_channels: PositiveInt = 32,
        initializer_range: PositiveFloat = 0.02,
        seed: NonNegativeInt = 0,
        dropout_while_frozen: bool = False,
        regularisation: Regularisation = "off",
    ) -> None:
        if hidden_size % 16:
            raise ValueError(f"upstream.hidden_size is {hidden_size}, but must be a multiple of 16.")
        from transformers import HubertConfig, HubertModel

        config = HubertConfig(
            num_hidden_layers=num_blocks,
            hidden_size=hidden_size,
            intermediate_size=4 * hidden_size,
            num_attention_heads=4,
            conv_dim=[conv_channels] * 7,
            initializer_range=initializer_range,
            # 16 channels a group: with fewer, oneDNN's bf16 convolution is wrong on CPUs with AMX (torch 2.14, error 1.05).
            num_conv_pos_embedding_groups=hidden_size // 16,
        )
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the accelerators too
            model = HubertModel(config)
        super().__init__(model, dropout_while_frozen=dropout_while_frozen, regularisation=regularisation)
        self._record = {"weights": "random", "seed": seed, **size_and_type(self)}

    @classmethod
    def depth(cls, settings: Mapping[str, Any]) -> int | None:
        return int(settings["num_blocks"])
