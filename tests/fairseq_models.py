"""Tiny HuBERTs with the modules of fairseq, whose parameters therefore have fairseq's names, and files as fairseq saves them.

Modules after fairseq 0.12.2, `models/hubert/hubert.py` and `models/wav2vec/wav2vec2.py`; they have no `forward`, but all that
`torchaudio.models.wav2vec2.utils.import_fairseq_model` reads.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

SIZE, FFN, HEADS, BLOCKS, CHANNELS, FINAL_DIM, NUM_UNITS = 32, 48, 4, 3, 16, 24, 7
CONVOLUTIONS = f"[({CHANNELS},10,5)] + [({CHANNELS},3,2)] * 4 + [({CHANNELS},2,2)] * 2"
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
SYMBOLS = [*SPECIAL, *map(str, range(NUM_UNITS))]
# extractor_mode, layer_norm_first, conv_bias, normalize
KINDS = {
    "base": ("default", False, False, False),
    "base_conv_bias": ("default", False, True, True),
    "large": ("layer_norm", True, False, True),
    "large_conv_bias": ("layer_norm", True, True, True),
    "layer_norm_front": ("layer_norm", False, False, True),
}


class Dictionary:
    """As fairseq's: the symbols, their counts and their rows."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.bos_word, self.pad_word, self.eos_word, self.unk_word = SPECIAL
        self.bos_index, self.pad_index, self.eos_index, self.unk_index = range(4)
        self.symbols, self.count = list(symbols), [1] * len(symbols)
        self.indices = {symbol: row for row, symbol in enumerate(symbols)}
        self.nspecial = 4

    def __len__(self) -> int:
        return len(self.symbols)


Dictionary.__module__ = "fairseq.data.dictionary"


@contextmanager
def fairseq_installed() -> Iterator[None]:
    """Have `fairseq.data.dictionary.Dictionary` importable, and gone afterwards."""
    names = ("fairseq", "fairseq.data", "fairseq.data.dictionary")
    for name in names:
        assert name not in sys.modules
        sys.modules[name] = ModuleType(name)
    sys.modules[names[-1]].Dictionary = Dictionary  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


class ConvFeatureExtractionModel(nn.Module):
    def __init__(self, mode: str, *, bias: bool) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList()
        channels = 1
        for index, (size, kernel, stride) in enumerate(eval(CONVOLUTIONS)):
            parts: list[nn.Module] = [nn.Conv1d(channels, size, kernel, stride, bias=bias), nn.Dropout(0.0)]
            if mode == "layer_norm":
                parts.append(nn.Sequential(nn.Identity(), nn.LayerNorm(size), nn.Identity()))
            elif index == 0:
                parts.append(nn.GroupNorm(size, size))
            self.conv_layers.append(nn.Sequential(*parts, nn.GELU()))
            channels = size


class MultiheadAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.dropout_module = HEADS, nn.Dropout(0.1)
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            setattr(self, name, nn.Linear(SIZE, SIZE))


class TransformerSentenceEncoderLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.self_attn, self.self_attn_layer_norm = MultiheadAttention(), nn.LayerNorm(SIZE)
        self.fc1, self.fc2, self.final_layer_norm = nn.Linear(SIZE, FFN), nn.Linear(FFN, SIZE), nn.LayerNorm(SIZE)
        self.dropout2, self.dropout3 = nn.Dropout(0.0), nn.Dropout(0.1)


class TransformerEncoder(nn.Module):
    def __init__(self, *, layer_norm_first: bool) -> None:
        super().__init__()
        convolution = nn.Conv1d(SIZE, SIZE, kernel_size=16, padding=8, groups=2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch has a newer one, with other names
            normed = nn.utils.weight_norm(convolution, name="weight", dim=2)
        self.pos_conv = nn.Sequential(normed, nn.Identity(), nn.GELU())
        self.layers = nn.ModuleList(TransformerSentenceEncoderLayer() for _ in range(BLOCKS))
        self.layer_norm, self.layer_norm_first, self.layerdrop = nn.LayerNorm(SIZE), layer_norm_first, 0.05


class HubertModel(nn.Module):  # torchaudio looks at the name
    def __init__(self, kind: str, *, seed: int = 0) -> None:
        super().__init__()
        mode, layer_norm_first, conv_bias, _ = KINDS[kind]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.feature_extractor = ConvFeatureExtractionModel(mode, bias=conv_bias)
            self.post_extract_proj, self.dropout_input = nn.Linear(CHANNELS, SIZE), nn.Dropout(0.1)
            self.mask_emb = nn.Parameter(torch.rand(SIZE))
            self.encoder = TransformerEncoder(layer_norm_first=layer_norm_first)
            self.layer_norm = nn.LayerNorm(CHANNELS)
            self.final_proj = nn.Linear(SIZE, FINAL_DIM)
            self.label_embs_concat = nn.Parameter(torch.rand(len(SYMBOLS), FINAL_DIM))
            with torch.no_grad():  # norms, too, are to have weights that can be told from each other
                for parameter in self.parameters():
                    parameter.add_(0.1 * torch.randn_like(parameter))
        self.eval()


def settings(kind: str, **model: Any) -> dict[str, Any]:
    """fairseq's, of which `model` changes some of the section of that name."""
    mode, layer_norm_first, conv_bias, normalize = KINDS[kind]
    return {
        "common": {"fp16": True, "seed": 1337, "tensorboard_logdir": None},
        "task": {
            "_name": "hubert_pretraining", "data": "/data", "labels": ["km"], "label_dir": "/labels", "label_rate": 50,
            "sample_rate": 16_000, "normalize": normalize, "max_sample_size": 250_000,
        },
        "model": {
            "_name": "hubert", "label_rate": 50, "extractor_mode": mode, "encoder_layers": BLOCKS, "encoder_embed_dim": SIZE,
            "encoder_ffn_embed_dim": FFN, "encoder_attention_heads": HEADS, "activation_fn": "gelu", "dropout": 0.1,
            "attention_dropout": 0.2, "activation_dropout": 0.0, "encoder_layerdrop": 0.05, "dropout_input": 0.3,
            "dropout_features": 0.1, "final_dim": FINAL_DIM, "untie_final_proj": True, "layer_norm_first": layer_norm_first,
            "conv_feature_layers": CONVOLUTIONS, "conv_bias": conv_bias, "logit_temp": 0.1, "feature_grad_mult": 0.1,
            "mask_length": 10, "mask_prob": 0.8, "conv_pos": 16, "conv_pos_groups": 2, **model,
        },
    }  # fmt: skip


def flat(cfg: dict[str, Any]) -> argparse.Namespace:
    """The settings as old files have them."""
    return argparse.Namespace(**cfg["task"] | cfg["model"] | {"task": "hubert_pretraining", "arch": "hubert"})


def state(kind: str = "base", *, symbols: Sequence[Sequence[str]] = (SYMBOLS,), **changes: Any) -> dict[str, Any]:
    """What fairseq's trainer saves, with other entries or more."""
    return {
        "args": None,
        "cfg": settings(kind),
        "model": HubertModel(kind).state_dict(),
        "criterion": None,
        "optimizer_history": [{"criterion_name": "HubertCriterion", "lr_scheduler_state": {}, "num_updates": 1234}],
        "task_state": {"dictionaries": [Dictionary(one) for one in symbols]},
        "extra_state": {"train_iterator": {"epoch": 2, "iterations_in_epoch": 5}, "val_loss": 3.5},
        "last_optimizer_state": {
            "state": {0: {"step": 1234, "exp_avg": torch.zeros(3)}},
            "param_groups": [{"lr": 5e-4}],
        },
        **changes,
    }


def save(path: Path, content: Any, *, legacy: bool = False) -> Path:
    """As fairseq does."""
    with fairseq_installed():
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path
