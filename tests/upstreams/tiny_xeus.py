"""A tiny XEUS as it lies on the hub, and a tiny PhoneticXeus."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

from mlsuperb.upstreams.xeus import XeusEncoder
from mlsuperb.upstreams.xeus_files import read_settings

PHONES = 9
# model/config.yaml of espnet/xeus, which changelinglab/PhoneticXeus has beside its code, only small. 256 features: with fewer
# than 16 channels a group, oneDNN's bf16 convolution is wrong on CPUs with AMX (see random_hubert.py).
CONFIG: dict[str, Any] = {
    "frontend": "wav2vec_cnn",
    "frontend_conf": {
        "norm_mode": "layer_norm", "conv_mode": "standard", "bias": True, "normalize_audio": True,
        "normalize_output": False, "fs": "16k",
        "shapes": [[16, 10, 5], [16, 3, 2], [16, 3, 2], [16, 3, 2], [16, 3, 2], [16, 2, 2], [16, 2, 2]],
    },
    "specaug": None,
    "normalize": None,
    "preencoder": "linear",
    "preencoder_conf": {"output_size": 256},
    "encoder": "e_branchformer",
    "encoder_conf": {
        "output_size": 256, "attention_heads": 4, "attention_layer_type": "selfattn", "pos_enc_layer_type": "conv",
        "rel_pos_type": "latest", "cgmlp_linear_units": 64, "cgmlp_conv_kernel": 7, "use_linear_after_conv": False,
        "gate_activation": "identity", "num_blocks": 4, "dropout_rate": 0.1, "positional_dropout_rate": 0.1,
        "attention_dropout_rate": 0.1, "input_layer": None, "layer_drop_rate": 0.5, "linear_units": 64,
        "positionwise_layer_type": "linear", "use_ffn": True, "macaron_ffn": True, "merge_conv_kernel": 7,
    },
    "loss": [{"name": "hubert", "conf": {"num_classes": 8}}],
}  # fmt: skip


def weights(*, phonetic: bool = False) -> dict[str, torch.Tensor]:
    """Seeded weights of the whole model, by ESPnet's names."""
    further = {"conditioned_after": [1, 3], "vocab_size": PHONES} if phonetic else {"mask_embedding": True}
    with torch.random.fork_rng():
        torch.manual_seed(2)
        encoder = XeusEncoder(**read_settings(CONFIG).encoder, **further)
        with torch.no_grad():  # norms that do something, as in trained models
            for name, parameter in encoder.named_parameters():
                if "norm" in name:
                    parameter.add_(0.3 * torch.randn_like(parameter))
    found = {encoder.names.theirs(name): value.clone() for name, value in encoder.state_dict().items()}
    beside = {"losses.0.final_proj.weight": torch.zeros(3, 256), "global_step": torch.tensor([7])}
    return found if phonetic else {**found, **beside}


def write_xeus(folder: Path, *, config: Mapping[str, Any] = CONFIG) -> Path:
    """As `espnet/xeus` lies on the hub, with the file of older names beside the one that is read."""
    model = folder / "model"
    model.mkdir(parents=True)
    (model / "config.yaml").write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
    torch.save(weights(), model / "xeus_checkpoint_new.pth")
    torch.save({"older": torch.zeros(1)}, model / "xeus_checkpoint_old.pth")
    return folder


def write_phonetic_xeus(folder: Path) -> Path:
    """As `changelinglab/PhoneticXeus` does: weights by the name of the wrapper's attribute, the configuration in its package."""
    resources = folder / "pxeus" / "model" / "xeusphoneme" / "resources"
    resources.mkdir(parents=True)
    (resources / "xeus_config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    about = {
        "model_type": "phoneticxeus", "config_yaml": "pxeus/model/xeusphoneme/resources/xeus_config.yaml",
        "interctc_layer_idx": [1, 3], "interctc_use_conditioning": True,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(about), encoding="utf-8")
    save_file({f"model.{name}": value for name, value in weights(phonetic=True).items()}, folder / "model.safetensors")
    return folder
