"""A tiny OWSM and OWSM-CTC as ESPnet packs them for the hub, and as a recipe leaves them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from mlsuperb.espnet.keys import HEADS
from mlsuperb.upstreams.owsm import OwsmEncoder
from mlsuperb.upstreams.owsm_ctc import OWSM_CTC, PromptEncoder
from mlsuperb.upstreams.owsm_files import OWSM, read_settings

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


# OWSM 4: egs2/owsm_v4/s2t1/conf/train_conv2d8_size384_e6_d6_mel128.yaml, only small
V4: dict[str, Any] = {
    **CONFIG,
    "frontend_conf": {**CONFIG["frontend_conf"], "n_mels": 128},
    "encoder_conf": {**CONFIG["encoder_conf"], "input_layer": "conv2d8", "gradient_checkpoint_layers": [0, 3]},
}
# OWSM-CTC: egs2/owsm_ctc_v3.1/s2t1/conf/train_s2t_multitask-ctc_ebf27_conv2d8_size1024.yaml, only small; conditioning behind
# blocks 1 and 3, attention to the prompt in 2 and 4.
TOKENS = [
    "<blank>",
    "<unk>",
    "<na>",
    "<nolang>",
    "<eng>",
    "<deu>",
    "<asr>",
    "<st_deu>",
    "a",
    "b",
    "c",
    "<sos>",
    "<eos>",
    "<sop>",
]
CTC: dict[str, Any] = {
    **V4,
    "frontend_conf": CONFIG["frontend_conf"],
    "encoder": "e_branchformer_ctc",
    "encoder_conf": {
        **{name: value for name, value in CONFIG["encoder_conf"].items() if name != "qk_norm"},
        "input_layer": "conv2d8",
        "interctc_layer_idx": [1, 3],
        "interctc_use_conditioning": True,
        "use_cross_attention": [0, 1, 0, 1],
    },
    "promptencoder": "transformer",
    "promptencoder_conf": {
        "output_size": 16, "attention_heads": 2, "linear_units": 24, "num_blocks": 2, "use_flash_attn": True,
    },
    "model": "espnet_ctc",
    "token_list": TOKENS,
}  # fmt: skip
del CTC["decoder"]


def weights(config: Mapping[str, Any] = CONFIG) -> dict[str, torch.Tensor]:
    """Seeded weights of the whole model, by ESPnet's names: encoder, and something of the rest."""
    ctc = config["encoder"] == "e_branchformer_ctc"
    settings = read_settings(config, kind=OWSM_CTC if ctc else OWSM)
    further = {"vocab_size": len(TOKENS)} if ctc else {}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        encoder = OwsmEncoder(input_size=settings.fbank["num_mels"], **settings.encoder, **further)
        with torch.no_grad():  # norms that do something, as in trained models
            for name, parameter in encoder.named_parameters():
                if "norm" in name:
                    parameter.add_(0.3 * torch.randn_like(parameter))
        found = {
            **{encoder.names.theirs(name): value.clone() for name, value in encoder.state_dict().items()},
            "frontend.logmel.melmat": torch.zeros(257, 80),
            **(_beside_the_encoder(config) if ctc else {"decoder.embed.0.weight": torch.zeros(5, 32)}),
        }
    return {"ctc.ctc_lo.bias": torch.zeros(5), **found}


def _beside_the_encoder(config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Of OWSM-CTC: embedding, prompt encoder, and the attention of blocks to its output."""
    size, small = config["encoder_conf"]["output_size"], config["promptencoder_conf"]["output_size"]
    prompt = PromptEncoder(
        size=small, num_heads=2, ffn_size=24, num_blocks=2, dropout=0.1, position_dropout=0.1, attention_dropout=0.0
    )
    names = {name: HEADS["transformer"].theirs(name) for name in prompt.state_dict()}
    found = {f"prompt_{names[name]}": value.clone() for name, value in prompt.state_dict().items()}
    found["embed.weight"] = torch.randn(len(TOKENS), small)
    for name, (rows, columns) in {"embed_proj": (size, small), "prompt_proj": (size, small)}.items():
        found |= {f"{name}.weight": torch.randn(rows, columns) / columns**0.5, f"{name}.bias": torch.randn(rows)}
    for number in (1, 3):
        block = f"encoder.encoders.{number}"
        found |= {f"{block}.norm_cross_attn.{kind}": torch.ones(size) for kind in ("weight", "bias")}
        for part in ("q", "k", "v", "out"):
            found[f"{block}.cross_attn.linear_{part}.weight"] = torch.randn(size, size) / size**0.5
            found[f"{block}.cross_attn.linear_{part}.bias"] = torch.randn(size)
    return found


def stats(path: Path, *, num_mels: int = 80) -> None:
    generator = np.random.default_rng(0)
    frames = generator.normal(-8.0, 3.0, (500, num_mels)).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, count=len(frames), sum=frames.sum(0), sum_square=(frames**2).sum(0))


def write_owsm(folder: Path, *, config: Mapping[str, Any] = CONFIG, like: Mapping[str, Any] | None = None) -> Path:
    """Packed, as `espnet/owsm_v3.1_ebf` lies on the hub; with the weights of the model `like` where `config` is of none."""
    model = folder / "exp" / "s2t_train"
    model.mkdir(parents=True)
    (model / "config.yaml").write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
    torch.save(weights(like or config), model / "valid.total_count.ave_5best.pth")
    stats(folder / STATS, num_mels=config["frontend_conf"].get("n_mels", 80))
    names = {
        "espnet": "202308",
        "files": {"s2t_model_file": "exp/s2t_train/valid.total_count.ave_5best.pth"},
        "yaml_files": {"s2t_train_config": "exp/s2t_train/config.yaml"},
    }
    (folder / "meta.yaml").write_text(yaml.safe_dump(names), encoding="utf-8")
    return folder
