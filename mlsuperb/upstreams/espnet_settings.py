"""What of an ESPnet configuration makes an E-Branchformer encoder and its log-mels. Names and defaults are ESPnet 202511's:
`espnet2/asr/encoder/e_branchformer_encoder.py`, `espnet2/asr/frontend/default.py`, `espnet2/layers/global_mvn.py`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlsuperb.upstreams.base import SAMPLE_RATE_HZ

# ESPnet's name -> (ours, ESPnet's default)
_FBANK = {
    "n_fft": ("n_fft", 512),
    "win_length": ("win_length", None),
    "hop_length": ("hop_length", 128),
    "n_mels": ("num_mels", 80),
    "fmin": ("f_min", None),
    "fmax": ("f_max", None),
    "window": ("window", "hann"),
}
_ENCODER = {
    "output_size": ("size", 256),
    "num_blocks": ("num_blocks", 12),
    "attention_heads": ("num_heads", 4),
    "linear_units": ("ffn_size", 2048),
    "cgmlp_linear_units": ("cgmlp_size", 2048),
    "cgmlp_conv_kernel": ("cgmlp_kernel", 31),
    "merge_conv_kernel": ("merge_kernel", 3),
    "dropout_rate": ("dropout", 0.1),
    "positional_dropout_rate": ("position_dropout", 0.1),
    "attention_dropout_rate": ("attention_dropout", 0.0),
}
# ESPnet's name -> ESPnet's default, and the values under which it computes what we do
_FBANK_FIXED: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "fs": (16000, (SAMPLE_RATE_HZ, str(SAMPLE_RATE_HZ), "16k")),
    "center": (True, (True,)),
    "normalized": (False, (False,)),
    "onesided": (True, (True,)),
    "htk": (False, (False,)),
    "apply_stft": (True, (True,)),
}
_ENCODER_FIXED: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "attention_layer_type": ("rel_selfattn", ("selfattn",)),
    "pos_enc_layer_type": ("rel_pos", ("abs_pos",)),
    "input_layer": ("conv2d", ("conv2d",)),
    "use_ffn": (False, (True,)),
    "macaron_ffn": (False, (True,)),
    "ffn_activation_type": ("swish", ("swish",)),
    "positionwise_layer_type": ("linear", ("linear",)),
    "use_linear_after_conv": (False, (False,)),
    "gate_activation": ("identity", ("identity",)),
    "qk_norm": (False, (False,)),
    "interctc_layer_idx": (None, (None, [])),
    "interctc_use_conditioning": (False, (False,)),
}
_WHOLE: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "frontend": ("default", ("default",)),
    "normalize": ("utterance_mvn", ("global_mvn",)),
    "preencoder": (None, (None,)),
    "encoder": (None, ("e_branchformer",)),
    "postencoder": (None, (None,)),
}
_MVN_FIXED: dict[str, tuple[Any, tuple[Any, ...]]] = {"norm_means": (True, (True,)), "norm_vars": (True, (True,))}
# Without effect on the output of the encoder
_FBANK_IGNORED = ("frontend_conf",)  # speech enhancement; its switches are read below
_ENCODER_IGNORED = (
    "rel_pos_type", "zero_triu", "padding_idx", "layer_drop_rate", "max_pos_emb_len", "use_flash_attn",
    "gradient_checkpoint_layers",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """Of `OwsmEncoder`; see `EBranchformerBlock`."""

    size: int
    num_blocks: int
    num_heads: int
    ffn_size: int
    cgmlp_size: int
    cgmlp_kernel: int
    merge_kernel: int
    dropout: float
    position_dropout: float
    attention_dropout: float

    def block(self) -> dict[str, Any]:
        """What a block is given beside its size."""
        outside = ("size", "num_blocks", "position_dropout")
        return {"macaron": True, **{name: value for name, value in vars(self).items() if name not in outside}}


@dataclass(frozen=True, kw_only=True)
class EspnetSettings:
    """What was read: arguments of `Fbank`, those of the encoder, the file of means as the configuration names it, and why
    such a model cannot be an upstream, a sentence each."""

    fbank: dict[str, Any]
    encoder: EncoderSettings
    stats_file: str | None
    problems: list[str]


def read_settings(config: Mapping[str, Any]) -> EspnetSettings:
    """The settings in an ESPnet `config.yaml`, be it a recogniser's (asr) or an OWSM's (s2t)."""
    frontend, encoder, normalize = (_mapping(config, f"{group}_conf") for group in ("frontend", "encoder", "normalize"))
    fbank = {ours: frontend.get(theirs, default) for theirs, (ours, default) in _FBANK.items()}
    fbank["f_min"] = fbank["f_min"] or 0.0
    fbank["f_max"] = fbank["f_max"] or SAMPLE_RATE_HZ / 2
    enhancement = _mapping(frontend, "frontend_conf")
    wrong = [
        *_mismatches(config, _WHOLE, path=""),
        *_mismatches(frontend, _FBANK_FIXED, path="frontend_conf."),
        *(
            f"frontend_conf.frontend_conf.{name}=true"
            for name in ("use_wpe", "use_beamformer")
            if enhancement.get(name)
        ),
        *_unknown(frontend, {*_FBANK, *_FBANK_FIXED, *_FBANK_IGNORED}, path="frontend_conf."),
        *_mismatches(normalize, _MVN_FIXED, path="normalize_conf."),
    ]
    if config.get("encoder") == "e_branchformer":  # another one's settings say nothing here
        wrong += _mismatches(encoder, _ENCODER_FIXED, path="encoder_conf.")
        wrong += _unknown(encoder, {*_ENCODER, *_ENCODER_FIXED, *_ENCODER_IGNORED}, path="encoder_conf.")
    problem = (
        f"Its config.yaml has {'; '.join(wrong)}. Only OWSM 3.1's kind of encoder can be read: an E-Branchformer with "
        "absolute positions on globally normalised log-mels. Choose a checkpoint of OWSM 3.1 (base, small, medium)."
    )
    stats = normalize.get("stats_file")
    return EspnetSettings(
        fbank=fbank,
        encoder=EncoderSettings(**{ours: encoder.get(theirs, default) for theirs, (ours, default) in _ENCODER.items()}),
        stats_file=stats if isinstance(stats, str) else None,
        problems=[problem] if wrong else [],
    )


def _mapping(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = settings.get(name)
    return found if isinstance(found, Mapping) else {}


def _mismatches(
    settings: Mapping[str, Any], fixed: Mapping[str, tuple[Any, tuple[Any, ...]]], *, path: str
) -> Iterator[str]:
    for name, (default, allowed) in fixed.items():
        if (value := settings.get(name, default)) not in allowed:
            yield f"{path}{name}={value!r} (supported: {' or '.join(map(repr, allowed))})"


def _unknown(settings: Mapping[str, Any], known: Collection[str], *, path: str) -> Iterator[str]:
    yield from (f"{path}{name}={value!r} (unknown here)" for name, value in settings.items() if name not in known)
