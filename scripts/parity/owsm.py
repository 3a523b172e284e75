"""Log-mels; OWSM's global normalisation and encoder, built and saved by ESPnet, read by our upstream; unpadded input."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from mlsuperb.upstreams.fbank import Fbank
from mlsuperb.upstreams.owsm import Owsm
from scripts.parity.report import Check, doubled, in_double, no_worse, same_size, shake

MEL_FLOOR = 2e-6  # our filters are torchaudio's, computed in fp32, theirs librosa's, in float64: 1.0e-6
STATS = "exp/s2t_stats/train/feats_stats.npz"
FRONTEND: dict[str, Any] = {"n_fft": 512, "win_length": 400, "hop_length": 160}
# egs2/owsm_v3.1/s2t1/conf/train_s2t_ebf_conv2d_size1024_e18_d18_*.yaml at a quarter of the width, 6 of 18 blocks
ENCODER: dict[str, Any] = {
    "output_size": 256, "attention_heads": 4, "attention_layer_type": "selfattn", "pos_enc_layer_type": "abs_pos",
    "rel_pos_type": "latest", "qk_norm": False, "use_flash_attn": False, "cgmlp_linear_units": 1024,
    "cgmlp_conv_kernel": 31, "use_linear_after_conv": False, "gate_activation": "identity", "num_blocks": 6,
    "dropout_rate": 0.1, "positional_dropout_rate": 0.1, "attention_dropout_rate": 0.1, "input_layer": "conv2d",
    "layer_drop_rate": 0.0, "linear_units": 1024, "positionwise_layer_type": "linear", "use_ffn": True,
    "macaron_ffn": True, "merge_conv_kernel": 31,
}  # fmt: skip


class EspnetOwsm(nn.Module):
    """The part of ESPnet's speech-to-text model that an upstream is; names as there."""

    def __init__(self, stats: Path) -> None:
        super().__init__()
        from espnet2.asr.encoder.e_branchformer_encoder import EBranchformerEncoder
        from espnet2.asr.frontend.default import DefaultFrontend
        from espnet2.layers.global_mvn import GlobalMVN

        self.frontend = DefaultFrontend(fs=16000, **FRONTEND)
        self.normalize = GlobalMVN(stats)
        self.encoder = EBranchformerEncoder(input_size=80, **ENCODER)
        self.ctc = nn.Linear(256, 10)  # not an encoder's

    def forward(self, wave_BT: Tensor, lengths_B: Tensor) -> list[Tensor]:
        """The first block's input, every block's output, the normalised last one."""
        first: list[Tensor] = []
        handle = self.encoder.encoders[0].register_forward_pre_hook(
            lambda _, inputs: first.append(inputs[0][0] if isinstance(inputs[0], tuple) else inputs[0])
        )
        feats_BFD, frames_B = self.normalize(*self.frontend(wave_BT, lengths_B))
        (last_BFD, blocks), _, _ = self.encoder(feats_BFD, frames_B, return_all_hs=True)
        handle.remove()
        return [*first, *blocks[:-1], last_BFD]


def save(folder: Path) -> EspnetOwsm:
    """A model as a recipe leaves it: `exp/.../config.yaml`, weights by `torch.save`, sums of the features."""
    frames = np.random.default_rng(0).normal(-8.0, 3.0, (5000, 80)).astype(np.float32)
    stats = folder / STATS
    stats.parent.mkdir(parents=True)
    np.savez(stats, count=np.array(len(frames)), sum=frames.sum(0), sum_square=np.square(frames).sum(0))
    model = EspnetOwsm(stats).eval()
    shake(model.encoder, "norm", by=0.3)
    experiment = folder / "exp" / "s2t_train"
    experiment.mkdir(parents=True)
    torch.save(model.state_dict(), experiment / "valid.total_count.ave_5best.pth")
    config = {
        "frontend": "default", "frontend_conf": {**FRONTEND, "fs": "16k"}, "normalize": "global_mvn",
        "normalize_conf": {"stats_file": STATS}, "encoder": "e_branchformer", "encoder_conf": ENCODER,
    }  # fmt: skip
    (experiment / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return model


def owsm_checks() -> Iterator[Check]:
    """Parameters, and all layers on utterances of several lengths."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        theirs = save(Path(folder))
        ours = Owsm(checkpoint=folder).eval()
    yield same_size("OWSM encoder, parameters", [ours], theirs.encoder)
    for num_samples in (1_200, 16_000, 50_001, 480_000):
        wave_BT, lengths_B = 0.1 * torch.randn(1, num_samples), torch.tensor([num_samples])
        with torch.no_grad():
            expected, found = theirs(wave_BT, lengths_B), ours(wave_BT, lengths_B).layers
            with doubled():
                exact = in_double(theirs)(wave_BT.double(), lengths_B)
        title = f"OWSM encoder, {num_samples / 16000:.2f} s"
        yield no_worse(f"{title}, all {len(found)} layers", *map(torch.stack, (found, expected, exact)))
        yield no_worse(f"{title}, output", found[-1], expected[-1], exact[-1])


def fbank_checks() -> Iterator[Check]:
    """Log-mels against ESPnet's `DefaultFrontend` with ML-SUPERB's settings."""
    from espnet2.asr.frontend.default import DefaultFrontend

    frontend = DefaultFrontend(fs=16000, n_fft=1024, hop_length=320)
    wave_BT, lengths_B = 0.1 * torch.randn(1, 32000), torch.tensor([32000])
    theirs, _ = frontend(wave_BT, lengths_B)
    with doubled():
        exact, _ = in_double(frontend)(wave_BT.double(), lengths_B)
    yield no_worse("log-mels, 2 s", Fbank()(wave_BT, lengths_B).layers[0], theirs, exact, floor=MEL_FLOOR)
