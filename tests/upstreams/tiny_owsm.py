"""A tiny OWSM as ESPnet packs it for the hub, and as a recipe leaves it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from mlsuperb.upstreams.owsm import OwsmEncoder, espnet_name
from mlsuperb.upstreams.owsm_files import read_settings

STATS = "exp/s2t_stats_raw_bpe50000/train/feats_stats.npz"
# As ESPnet writes it: egs2/owsm_v3.1/s2t1/conf/train_s2t_ebf_conv2d_size1024_e18_d18_*.yaml, only small, with the defaults
# that ESPnet adds.
CONFIG: dict[str, Any] = {
    "frontend": "default",
    "frontend_conf": {"n_fft": 512, "win_length": 400, "hop_length": 160, "fs": "16k"},
    "specaug": "specaug",
    "normalize": "global_mvn",
    "normalize_conf": {"stats_file": STATS},
    "preencoder": None,
    "encoder": "e_branchformer",
    "encoder_conf": {
        "output_size": 32,
        "attention_heads": 4,
        "attention_layer_type": "selfattn",
        "pos_enc_layer_type": "abs_pos",
        "rel_pos_type": "latest",
        "qk_norm": False,
        "use_flash_attn": True,
        "cgmlp_linear_units": 64,
        "cgmlp_conv_kernel": 7,
        "use_linear_after_conv": False,
        "gate_activation": "identity",
        "num_blocks": 4,
        "dropout_rate": 0.1,
        "positional_dropout_rate": 0.1,
        "attention_dropout_rate": 0.1,
        "input_layer": "conv2d",
        "layer_drop_rate": 0.5,
        "linear_units": 64,
        "positionwise_layer_type": "linear",
        "use_ffn": True,
        "macaron_ffn": True,
        "merge_conv_kernel": 7,
    },
    "postencoder": None,
    "decoder": "transformer",
    "preprocessor": "s2t",
    "preprocessor_conf": {"fs": 16000, "speech_length": 30},
}


def weights() -> dict[str, torch.Tensor]:
    """Seeded weights of the whole model, by ESPnet's names: encoder, and something of the rest."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        encoder = OwsmEncoder(input_size=80, **read_settings(CONFIG).encoder)
        with torch.no_grad():  # norms that do something, as in trained models
            for name, parameter in encoder.named_parameters():
                if "norm" in name:
                    parameter.add_(0.3 * torch.randn_like(parameter))
    return {
        **{f"encoder.{espnet_name(name)}": value.clone() for name, value in encoder.state_dict().items()},
        "frontend.logmel.melmat": torch.zeros(257, 80),
        "decoder.embed.0.weight": torch.zeros(5, 32),
        "ctc.ctc_lo.bias": torch.zeros(5),
    }


def stats(path: Path) -> None:
    generator = np.random.default_rng(0)
    frames = generator.normal(-8.0, 3.0, (500, 80)).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, count=len(frames), sum=frames.sum(0), sum_square=(frames**2).sum(0))


def write_owsm(folder: Path, *, config: Mapping[str, Any] = CONFIG) -> Path:
    """Packed, as `espnet/owsm_v3.1_ebf` lies on the hub."""
    model = folder / "exp" / "s2t_train"
    model.mkdir(parents=True)
    (model / "config.yaml").write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
    torch.save(weights(), model / "valid.total_count.ave_5best.pth")
    stats(folder / STATS)
    names = {
        "espnet": "202308",
        "files": {"s2t_model_file": "exp/s2t_train/valid.total_count.ave_5best.pth"},
        "yaml_files": {"s2t_train_config": "exp/s2t_train/config.yaml"},
    }
    (folder / "meta.yaml").write_text(yaml.safe_dump(names), encoding="utf-8")
    return folder
