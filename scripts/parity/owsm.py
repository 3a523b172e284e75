"""Log-mels; the encoders of OWSM 3.1, OWSM 4 and OWSM-CTC, built and saved by ESPnet, read by our upstreams; unpadded input."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from mlsuperb.upstreams.base import Upstream
from mlsuperb.upstreams.fbank import Fbank
from mlsuperb.upstreams.owsm import Owsm
from mlsuperb.upstreams.owsm_ctc import OwsmCtc
from scripts.parity.report import Check, doubled, in_double, l2_errors, no_worse, same_size, shake

EACH_LAYER = 1e-5  # relative L2 of every single layer
FILTERS = 1e-5  # of the filters themselves: 4.6e-6 where there are 128
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


# egs2/owsm_v4/s2t1/conf/train_conv2d8_size1024_e18_d18_mel128.yaml, egs2/owsm_ctc_v3.1/s2t1/conf/
# train_s2t_multitask-ctc_ebf27_conv2d8_size1024.yaml, at a quarter of the width
V4: dict[str, Any] = {**ENCODER, "input_layer": "conv2d8", "attention_dropout_rate": 0.0}
CTC: dict[str, Any] = {
    **{name: value for name, value in V4.items() if name != "qk_norm"}, "interctc_layer_idx": [2, 3, 5],
    "interctc_use_conditioning": True, "use_cross_attention": [0, 0, 1, 0, 0, 1],
}  # fmt: skip
PROMPT: dict[str, Any] = {
    "output_size": 128, "attention_heads": 4, "linear_units": 512, "num_blocks": 4, "use_flash_attn": False,
}  # fmt: skip
TOKENS = [
    "<blank>",
    "<unk>",
    "<na>",
    "<nolang>",
    *(f"<l{n}>" for n in range(9)),
    "<asr>",
    *map(str, range(186)),
    "<sos>",
    "<eos>",
    "<sop>",
]


class EspnetOwsm(nn.Module):
    """The part of ESPnet's speech-to-text model that an upstream is; names as there."""

    def __init__(self, stats: Path, *, num_mels: int, conf: dict[str, Any]) -> None:
        super().__init__()
        from espnet2.asr.encoder.e_branchformer_encoder import EBranchformerEncoder
        from espnet2.asr.frontend.default import DefaultFrontend
        from espnet2.layers.global_mvn import GlobalMVN

        self.frontend = DefaultFrontend(fs=16000, n_mels=num_mels, **FRONTEND)
        self.normalize = GlobalMVN(stats)
        self.encoder = EBranchformerEncoder(input_size=num_mels, **conf)
        self.ctc = nn.Linear(256, 10)  # not an encoder's

    def forward(self, wave_BT: Tensor, lengths_B: Tensor) -> list[Tensor]:
        """The first block's input, every block's output, the normalised last one."""
        with recorded(self.encoder) as layers:
            feats_BFD, frames_B = self.normalize(*self.frontend(wave_BT, lengths_B))
            last_BFD, _, _ = self.encoder(feats_BFD, frames_B)
        return [*layers[:-1], last_BFD]


class EspnetOwsmCtc(nn.Module):
    """ESPnet's OWSM-CTC as its inference calls it (`Speech2TextGreedySearch`): language unknown, task ASR, no text before."""

    def __init__(self, stats: Path, *, num_mels: int, conf: dict[str, Any]) -> None:
        super().__init__()
        from espnet2.asr import ctc
        from espnet2.asr.encoder.e_branchformer_ctc_encoder import EBranchformerCTCEncoder
        from espnet2.asr.encoder.transformer_encoder import TransformerEncoder
        from espnet2.asr.frontend.default import DefaultFrontend
        from espnet2.layers.global_mvn import GlobalMVN
        from espnet2.s2t.espnet_ctc_model import ESPnetS2TCTCModel

        self.whole = ESPnetS2TCTCModel(
            vocab_size=len(TOKENS), token_list=TOKENS, frontend=DefaultFrontend(fs=16000, n_mels=num_mels, **FRONTEND),
            specaug=None, normalize=GlobalMVN(stats), encoder=EBranchformerCTCEncoder(input_size=num_mels, **conf),
            prompt_encoder=TransformerEncoder(input_size=PROMPT["output_size"], input_layer=None, **PROMPT),
            ctc=ctc.CTC(odim=len(TOKENS), encoder_output_size=conf["output_size"]), report_cer=False, report_wer=False,
        )  # fmt: skip
        self.encoder = self.whole.encoder

    def forward(self, wave_BT: Tensor, lengths_B: Tensor) -> list[Tensor]:
        """The first block's input, every block's output, the normalised last one, without the two tokens."""
        prefix, prompt = (
            torch.tensor([[TOKENS.index(one) for one in names]]) for names in (("<nolang>", "<asr>"), ("<na>",))
        )
        with recorded(self.encoder) as layers:
            (last_BFD, _), _ = self.whole.encode(
                wave_BT, lengths_B, prompt, torch.tensor([1]), prefix, torch.tensor([2])
            )
        return [layer[:, 2:] for layer in (*layers[:-1], last_BFD)]


@contextmanager
def recorded(encoder: nn.Module) -> Iterator[list[Tensor]]:
    """The first block's input and every block's output, as ESPnet's encoder runs: asked for all of them itself
    (`return_all_hs`), it leaves self-conditioning out."""
    blocks, layers = list(encoder.encoders), []  # type: ignore[arg-type]
    hooks = [
        blocks[0].register_forward_pre_hook(lambda _, inputs: layers.append(_values(inputs[0]))),
        *(block.register_forward_hook(lambda _, __, outputs: layers.append(_values(outputs[0]))) for block in blocks),
    ]
    yield layers
    for hook in hooks:
        hook.remove()


def _values(found: Any) -> Tensor:
    values: Tensor = found[0] if isinstance(found, tuple) else found
    return values


def save(folder: Path, kind: str, *, num_mels: int, conf: dict[str, Any]) -> nn.Module:
    """A model as a recipe leaves it: `exp/.../config.yaml`, weights by `torch.save`, sums of the features."""
    frames = np.random.default_rng(0).normal(-8.0, 3.0, (5000, num_mels)).astype(np.float32)
    stats = folder / STATS
    stats.parent.mkdir(parents=True)
    np.savez(stats, count=np.array(len(frames)), sum=frames.sum(0), sum_square=np.square(frames).sum(0))
    made = EspnetOwsmCtc if kind == "e_branchformer_ctc" else EspnetOwsm
    model = made(stats, num_mels=num_mels, conf=conf).eval()
    shake(model, "norm", by=0.3)
    shake(model, "ctc_lo", by=0.3)  # posteriors that have their favourites
    experiment = folder / "exp" / "s2t_train"
    experiment.mkdir(parents=True)
    saved = model.whole if isinstance(model, EspnetOwsmCtc) else model
    torch.save(saved.state_dict(), experiment / "valid.total_count.ave_5best.pth")
    config = {
        "frontend": "default", "frontend_conf": {**FRONTEND, "fs": "16k", "n_mels": num_mels}, "normalize": "global_mvn",
        "normalize_conf": {"stats_file": STATS}, "encoder": kind, "encoder_conf": conf, "token_list": TOKENS,
        "promptencoder": "transformer", "promptencoder_conf": PROMPT,
    }  # fmt: skip
    (experiment / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return model


def owsm_checks() -> Iterator[Check]:
    """Parameters, and all layers on utterances of several lengths."""
    kinds = {
        "OWSM 3.1": (Owsm, "e_branchformer", 80, ENCODER),
        "OWSM 4": (Owsm, "e_branchformer", 128, V4),
        "OWSM-CTC": (OwsmCtc, "e_branchformer_ctc", 80, CTC),
    }
    for title, (reader, kind, num_mels, conf) in kinds.items():
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            theirs = save(Path(folder), kind, num_mels=num_mels, conf=conf)
            ours = reader(checkpoint=folder).eval()
        if reader is Owsm:  # of OWSM-CTC, what only a prompt or a language needs is not kept
            yield same_size(f"{title} encoder, parameters", [ours], theirs.encoder)
        yield one_set_of_filters(title, ours, theirs)
        yield from layer_checks(f"{title} encoder", ours, theirs)


@torch.no_grad()
def one_set_of_filters(title: str, ours: Owsm | OwsmCtc, theirs: nn.Module) -> Check:
    """Mel filters beside each other; from then on theirs are ours, whose rounding would hide that of the encoders."""
    own = ours.fbank.filters
    found = [module.melmat for module in theirs.modules() if isinstance(getattr(module, "melmat", None), Tensor)]
    apart = max(float((one - own).norm() / one.norm()) for one in found)
    for one in found:
        one.copy_(own)
    return Check(f"{title}, mel filters", f"relative L2 {apart:.1e}", apart < FILTERS)


def layer_checks(title: str, ours: Upstream, theirs: nn.Module) -> Iterator[Check]:
    """All layers of two encoders on utterances of several lengths."""
    for num_samples in (2_400, 16_000, 50_001, 480_000):
        wave_BT, lengths_B = 0.1 * torch.randn(1, num_samples), torch.tensor([num_samples])
        with torch.no_grad():
            expected, found = theirs(wave_BT, lengths_B), ours(wave_BT, lengths_B).layers
            with doubled():
                exact = in_double(theirs)(wave_BT.double(), lengths_B)
        name = f"{title}, {num_samples / 16000:.2f} s"
        yield no_worse(f"{name}, all {len(found)} layers", *map(torch.stack, (found, expected, exact)))
        yield no_worse(f"{name}, output", found[-1], expected[-1], exact[-1])
        worst = max(l2_errors(*each).ours for each in zip(found, expected, exact, strict=True))
        yield Check(f"{name}, worst layer", f"relative L2 {worst:.1e}", worst < EACH_LAYER)


def fbank_checks() -> Iterator[Check]:
    """Log-mels against ESPnet's `DefaultFrontend` with ML-SUPERB's settings."""
    from espnet2.asr.frontend.default import DefaultFrontend

    frontend = DefaultFrontend(fs=16000, n_fft=1024, hop_length=320)
    wave_BT, lengths_B = 0.1 * torch.randn(1, 32000), torch.tensor([32000])
    theirs, _ = frontend(wave_BT, lengths_B)
    with doubled():
        exact, _ = in_double(frontend)(wave_BT.double(), lengths_B)
    yield no_worse("log-mels, 2 s", Fbank()(wave_BT, lengths_B).layers[0], theirs, exact, floor=MEL_FLOOR)
