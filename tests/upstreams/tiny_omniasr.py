"""A tiny checkpoint as Omnilingual ASR's encoders are published, under the names that fairseq2 0.8.1 gives them, and what such a
model computes in plain torch, worked out from fairseq2's `models/wav2vec2` and `models/transformer`: nothing of transformers."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

SIZE, INNER, NUM_BLOCKS, CHANNELS, NUM_HEADS, GROUPS, WIDTH = 32, 64, 4, 16, 16, 2, 16
CONVOLUTIONS = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))
FILE = "omniASR-W2V-tiny.pt"


def shapes() -> dict[str, tuple[int, ...]]:
    """Of every parameter of the encoder and of the mask embedding."""

    def layer(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}

    found = {}
    for number, (kernel, _) in enumerate(CONVOLUTIONS):
        place = f"encoder_frontend.feature_extractor.layers.{number}"
        found |= layer(f"{place}.conv", CHANNELS, CHANNELS if number else 1, kernel)
        found |= layer(f"{place}.layer_norm", CHANNELS)
    found |= layer("encoder_frontend.post_extract_layer_norm", CHANNELS)
    found |= layer("encoder_frontend.model_dim_proj", SIZE, CHANNELS)
    position = "encoder_frontend.pos_encoder.conv"
    found |= {f"{position}.bias": (SIZE,), f"{position}.weight_g": (1, 1, WIDTH)}
    found |= {f"{position}.weight_v": (SIZE, SIZE // GROUPS, WIDTH)}
    for number in range(NUM_BLOCKS):
        place = f"encoder.layers.{number}"
        for name in ("self_attn_layer_norm", "ffn_layer_norm"):
            found |= layer(f"{place}.{name}", SIZE)
        for name in ("q_proj", "k_proj", "v_proj", "output_proj"):
            found |= layer(f"{place}.self_attn.{name}", SIZE, SIZE)
        found |= layer(f"{place}.ffn.inner_proj", INNER, SIZE) | layer(f"{place}.ffn.output_proj", SIZE, INNER)
    return found | layer("encoder.layer_norm", SIZE) | {"masker.temporal_mask_embed": (SIZE,)}


def encoder() -> dict[str, Tensor]:
    """Seeded random weights at which every part does something."""
    generator = torch.Generator().manual_seed(1)
    found = {}
    for name, shape in shapes().items():
        noise = torch.randn(shape, generator=generator)
        if len(shape) > 1:  # what goes through keeps its size
            noise /= noise[0].numel() ** 0.5
            found[name] = noise.abs() if name.endswith("weight_g") else noise
        else:
            found[name] = 0.3 * noise + float("norm.weight" in name)
    return found


def weights() -> dict[str, Tensor]:
    """All that is in a file: the parts of pre-training, too."""
    training = {
        "quantizer.entries": (1, 6, 4),
        "quantizer.entry_proj.weight": (6, CHANNELS),
        "quantizer.entry_proj.bias": (6,),
        "final_proj.weight": (8, SIZE),
        "final_proj.bias": (8,),
        "final_target_proj.weight": (8, 8),
        "final_target_proj.bias": (8,),
    }
    return {
        **encoder(),
        **{name: torch.zeros(shape) for name, shape in training.items()},
        "quantizer.num_updates": torch.tensor(1000),
    }


def write_omniasr(folder: Path) -> Path:
    """A folder with one checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"model": weights()}, folder / FILE)
    return folder


def layers_of(wave_T: Tensor, named: dict[str, Tensor], *, num_heads: int = NUM_HEADS) -> list[Tensor]:
    """The input of the first block, the output of each, the last one normalised, (F, D) each, of one utterance."""

    def norm(values: Tensor, name: str) -> Tensor:
        return functional.layer_norm(values, values.shape[-1:], named[f"{name}.weight"], named[f"{name}.bias"], 1e-5)

    def linear(values: Tensor, name: str) -> Tensor:
        return values @ named[f"{name}.weight"].T + named[f"{name}.bias"]

    values_CF = ((wave_T - wave_T.mean()) / (wave_T.var(unbiased=False) + 1e-5).sqrt())[None]
    for number, (_, stride) in enumerate(CONVOLUTIONS):
        place = f"encoder_frontend.feature_extractor.layers.{number}"
        weight, bias = named[f"{place}.conv.weight"], named[f"{place}.conv.bias"]
        values_CF = functional.conv1d(values_CF[None], weight, bias, stride)[0]
        values_CF = functional.gelu(norm(values_CF.T, f"{place}.layer_norm")).T
    hidden_FD = norm(values_CF.T, "encoder_frontend.post_extract_layer_norm")
    hidden_FD = linear(hidden_FD, "encoder_frontend.model_dim_proj")
    position = "encoder_frontend.pos_encoder.conv"
    direction = named[f"{position}.weight_v"]
    weight = direction / direction.pow(2).sum((0, 1), keepdim=True).sqrt() * named[f"{position}.weight_g"]
    shifted = functional.conv1d(hidden_FD.T[None], weight, named[f"{position}.bias"], padding=WIDTH // 2, groups=GROUPS)
    layers = [hidden_FD + functional.gelu(shifted[0, :, :-1]).T]
    for number in range(NUM_BLOCKS):
        place, hidden_FD = f"encoder.layers.{number}", layers[-1]
        inputs_FD = norm(hidden_FD, f"{place}.self_attn_layer_norm")
        query, key, value = (
            linear(inputs_FD, f"{place}.self_attn.{name}_proj").unflatten(1, (num_heads, -1)).transpose(0, 1)
            for name in "qkv"
        )
        shares_HFF = (query @ key.transpose(1, 2) / (SIZE / num_heads) ** 0.5).softmax(-1)
        hidden_FD = hidden_FD + linear(
            (shares_HFF @ value).transpose(0, 1).flatten(1), f"{place}.self_attn.output_proj"
        )
        inner_FI = functional.gelu(linear(norm(hidden_FD, f"{place}.ffn_layer_norm"), f"{place}.ffn.inner_proj"))
        layers.append(hidden_FD + linear(inner_FI, f"{place}.ffn.output_proj"))
    return [*layers[:-1], norm(layers[-1], "encoder.layer_norm")]
