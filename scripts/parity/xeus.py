"""XEUS and PhoneticXeus, built and saved by ESPnet's classes, read by our upstreams; unpadded input."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn

from mlsuperb.upstreams.xeus import PhoneticXeus, Xeus
from scripts.parity.owsm import layer_checks, recorded
from scripts.parity.report import Check, same_size, shake

# model/config.yaml of espnet/xeus at a quarter of the width, 6 of 19 blocks
FRONTEND: dict[str, Any] = {
    "norm_mode": "layer_norm", "conv_mode": "standard", "bias": True, "normalize_audio": True, "normalize_output": False,
    "shapes": [[128, 10, 5], *[[128, 3, 2]] * 4, *[[128, 2, 2]] * 2],
}  # fmt: skip
ENCODER: dict[str, Any] = {
    "output_size": 256, "attention_heads": 2, "attention_layer_type": "selfattn", "pos_enc_layer_type": "conv",
    "rel_pos_type": "latest", "use_flash_attn": False, "cgmlp_linear_units": 1024, "cgmlp_conv_kernel": 31,
    "use_linear_after_conv": False, "gate_activation": "identity", "num_blocks": 6, "dropout_rate": 0.1,
    "positional_dropout_rate": 0.1, "attention_dropout_rate": 0.1, "input_layer": None, "layer_drop_rate": 0.0,
    "linear_units": 1024, "positionwise_layer_type": "linear", "use_ffn": True, "macaron_ffn": True,
    "merge_conv_kernel": 31,
}  # fmt: skip
CONFIG = {
    "frontend": "wav2vec_cnn", "frontend_conf": FRONTEND, "normalize": None, "preencoder": "linear",
    "preencoder_conf": {"output_size": 256}, "encoder": "e_branchformer", "encoder_conf": ENCODER,
}  # fmt: skip
CONDITIONED, PHONES = [2, 3, 5], 40


class EspnetXeus(nn.Module):
    """ESPnet's `ESPnetSSLModel` as its `ESPnetSSLFrontend` calls it, without losses."""

    def __init__(self) -> None:
        super().__init__()
        from espnet2.asr.encoder.e_branchformer_encoder import EBranchformerEncoder
        from espnet2.asr.frontend.cnn import CNNFrontend
        from espnet2.asr.preencoder.linear import LinearProjection
        from espnet2.ssl.espnet_model import ESPnetSSLModel
        from espnet2.ssl.utils.mask import Masking

        self.whole = ESPnetSSLModel(
            frontend=CNNFrontend(**FRONTEND), specaug=None, normalize=None, preencoder=LinearProjection(128, 256),
            encoder=EBranchformerEncoder(input_size=256, **ENCODER), losses=[], util_attributes={"mask"},
            required_inputs=set(), util_modules=nn.ModuleDict({"mask": Masking(256)}), token_list=["a"],
        )  # fmt: skip

    def forward(self, wave_BT: Tensor, lengths_B: Tensor) -> list[Tensor]:
        """The outputs of the blocks: what a weighted sum is made of there."""
        layers: list[Tensor] = self.whole.inference_encode(wave_BT, lengths_B)[1]
        return layers


class EspnetPhoneticXeus(nn.Module):
    """PhoneticXeus of ESPnet's classes, whose copies it has: CTC posteriors of some blocks go back into the encoder."""

    def __init__(self) -> None:
        super().__init__()
        from espnet2.asr.ctc import CTC
        from espnet2.asr.encoder.e_branchformer_encoder import EBranchformerEncoder
        from espnet2.asr.frontend.cnn import CNNFrontend
        from espnet2.asr.preencoder.linear import LinearProjection

        self.frontend, self.preencoder = CNNFrontend(**FRONTEND), LinearProjection(128, 256)
        conditioning = {"interctc_layer_idx": CONDITIONED, "interctc_use_conditioning": True}
        self.encoder = EBranchformerEncoder(input_size=256, **ENCODER, **conditioning)
        self.encoder.conditioning_layer = nn.Linear(PHONES, 256)
        self.ctc = CTC(odim=PHONES, encoder_output_size=256)

    def forward(self, wave_BT: Tensor, lengths_B: Tensor) -> list[Tensor]:
        """The first block's input, every block's output, the normalised last one."""
        with recorded(self.encoder) as layers:
            (last_BFD, _), _, _ = self.encoder(*self.preencoder(*self.frontend(wave_BT, lengths_B)), ctc=self.ctc)
        return [*layers[:-1], last_BFD]


def xeus_checks() -> Iterator[Check]:
    """Parameters, and all layers on utterances of several lengths."""
    torch.manual_seed(0)
    theirs = EspnetXeus().eval()
    shake(theirs.whole, "norm", by=0.3)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
        torch.save(theirs.whole.state_dict(), Path(folder) / "valid.loss.ave.pth")
        ours = Xeus(checkpoint=folder, input_layer=False, final_norm=False).eval()
        whole = Xeus(checkpoint=folder, regularisation="mask_embedding")
    yield same_size("XEUS, parameters", [whole], theirs.whole)
    yield from layer_checks("XEUS", ours, theirs)
    theirs = EspnetPhoneticXeus().eval()
    shake(theirs, "norm", by=0.3)
    shake(theirs, "ctc_lo", by=0.3)  # posteriors that have their favourites
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "xeus_config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
        about = {"model_type": "phoneticxeus", "config_yaml": "xeus_config.yaml", "interctc_layer_idx": CONDITIONED}
        (Path(folder) / "config.json").write_text(json.dumps(about), encoding="utf-8")
        weights = {f"model.{name}": value.contiguous() for name, value in theirs.state_dict().items()}
        save_file(weights, Path(folder) / "model.safetensors")
        ours = PhoneticXeus(checkpoint=folder).eval()
    yield same_size("PhoneticXeus, parameters", [ours], theirs)
    yield from layer_checks("PhoneticXeus", ours, theirs)
