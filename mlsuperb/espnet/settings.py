"""What ESPnet's settings mean: which say how an output is computed, and so must be matched, and which concern training alone.

Names and defaults are those of the classes that `espnet2/tasks/asr.py` builds, in ESPnet 202511 and in 202611, which added
`use_sdpa` and `text_length_warning_thres` and changed no default (`scripts/parity/settings.py` compares them). What stands around
these groups is in `mlsuperb.espnet.whole`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlsuperb.espnet.keys import EncoderKind

REQUIRED = object()  # a default: the setting must be there


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """How one group of ESPnet's settings is read.

    Args:
        renamed: ESPnet's name -> (our name, ESPnet's default).
        fixed: ESPnet's name -> the values under which it computes what we do.
        unsaid: ESPnet's defaults that are none of these.
        ignored: what does not change an output.
    """

    renamed: Mapping[str, tuple[str, Any]] = field(default_factory=dict)
    fixed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    unsaid: Mapping[str, Any] = field(default_factory=dict)
    ignored: Collection[str] = ()

    def read(self, settings: object, *, group: str) -> tuple[dict[str, Any], list[str]]:
        """Our settings, and what cannot be matched, a phrase each with name and value. None says nothing."""
        if settings is not None and not isinstance(settings, Mapping):
            found, problems = self.read(None, group=group)
            return found, [f"{group}={settings!r} (settings are expected)", *problems]
        settings = settings or {}
        found = {ours: settings.get(theirs, default) for theirs, (ours, default) in self.renamed.items()}
        problems = [
            f"{group}.{theirs} is missing" for theirs in self.renamed if found[self.renamed[theirs][0]] is REQUIRED
        ]
        return found, problems + list(self._problems(settings, group))

    def fixing(self, values: Mapping[str, tuple[Any, ...]], *, ignored: Collection[str] = ()) -> Meaning:
        """The same, but for what has to have these values, and what then does not matter any more."""
        outside = {*values, *ignored}
        return Meaning(
            renamed={name: ours for name, ours in self.renamed.items() if name not in outside},
            fixed={name: own for name, own in self.fixed.items() if name not in outside} | dict(values),
            unsaid=dict(self.unsaid) | {name: self.renamed[name][1] for name in values if name in self.renamed},
            ignored={*self.ignored, *ignored},
        )

    def _problems(self, settings: Mapping[str, Any], group: str) -> Iterator[str]:
        for name, value in (dict(self.unsaid) | dict(settings)).items():
            if name in self.fixed:
                if value not in self.fixed[name]:
                    allowed = " or ".join(map(repr, self.fixed[name]))
                    default = "" if name in settings else ", ESPnet's default"
                    yield f"{group}.{name}={value!r}{default} (supported: {allowed})"
            elif name not in self.renamed and name not in self.ignored:
                yield f"{group}.{name}={value!r} (unknown here)"


FBANK = Meaning(
    renamed={
        "n_fft": ("n_fft", 512),
        "win_length": ("win_length", None),
        "hop_length": ("hop_length", 128),
        "window": ("window", "hann"),
        "n_mels": ("num_mels", 80),
        "fmin": ("f_min", None),
        "fmax": ("f_max", None),
    },
    fixed={
        "fs": (16000, "16000", "16k"),
        "center": (True,),
        "normalized": (False,),
        "onesided": (True,),
        "htk": (False,),
        "apply_stft": (True,),
    },
    ignored=("frontend_conf",),  # read below: enhancement that is off by default
)
ENHANCEMENT = Meaning(
    fixed={"use_wpe": (False,), "use_beamformer": (False,)},
    ignored=(
        "wtype", "wlayers", "wunits", "wprojs", "wdropout_rate", "taps", "delay", "use_dnn_mask_for_wpe", "btype", "blayers",
        "bunits", "bprojs", "bnmask", "badim", "ref_channel", "bdropout_rate",
    ),
)  # fmt: skip


def read_log_mels(conf: object) -> tuple[dict[str, Any], list[str]]:
    """Settings of our log-mels for the `frontend_conf` of ESPnet's `default`, and what cannot be matched."""
    found, problems = FBANK.read(conf, group="frontend_conf")
    inner_conf = conf.get("frontend_conf") if isinstance(conf, Mapping) else None
    problems += ENHANCEMENT.read(inner_conf, group="frontend_conf.frontend_conf")[1]
    if found["window"] not in ("hann", "hamming"):
        problems.append(f"frontend_conf.window={found['window']!r} (supported: 'hann' or 'hamming')")
    f_min, f_max = found["f_min"] or 0.0, found["f_max"] or 8000.0
    return found | {"f_min": float(f_min), "f_max": float(f_max)}, problems


S3PRL = Meaning(
    renamed={"multilayer_feature": ("multilayer_feature", False), "layer": ("layer", -1)},
    fixed={"fs": (16000, "16000", "16k")},
    ignored=("download_dir", "frontend_conf"),
)
S3PRL_UPSTREAM = Meaning(
    renamed={"upstream": ("upstream", REQUIRED), "path_or_url": ("path_or_url", None)},
    fixed={"normalize": (False,), "extra_conf": (None, {}), "tile_factor": (1,)},
)
UTTERANCE_MVN = Meaning(fixed={"norm_means": (True,)}, renamed={"norm_vars": ("norm_vars", False)}, ignored=("eps",))
LINEAR = Meaning(renamed={"output_size": ("output_size", REQUIRED)}, ignored=("input_size", "dropout"))
CTC = Meaning(
    renamed={"dropout_rate": ("dropout", 0.0)},
    ignored=(
        "ctc_type", "reduce", "ignore_nan_grad", "zero_infinity", "brctc_risk_strategy", "brctc_group_strategy",
        "brctc_risk_factor",
    ),
)  # fmt: skip
MODEL = Meaning(
    renamed={"ctc_weight": ("ctc_weight", 0.5), "lsm_weight": ("label_smoothing", 0.0)},
    fixed={
        "sym_blank": ("<blank>",),
        "sym_sos": ("<sos/eos>",),
        "sym_eos": ("<sos/eos>",),
        "lang_token_id": (-1,),
        "aux_ctc": (None, {}),
    },
    ignored=(
        "interctc_weight", "ignore_id", "length_normalized_loss", "report_cer", "report_wer", "sym_space",
        "autocast_frontend", "extract_feats_in_collect_stats", "transducer_multi_blank_durations",
        "transducer_multi_blank_sigma",
    ),
)  # fmt: skip

DECODER = Meaning(
    renamed={
        "attention_heads": ("num_heads", 4),
        "linear_units": ("ffn_size", 2048),
        "num_blocks": ("num_blocks", 6),
        "dropout_rate": ("dropout", 0.1),
        "positional_dropout_rate": ("position_dropout", 0.1),
        "self_attention_dropout_rate": ("attention_dropout", 0.0),
    },
    fixed={
        "input_layer": ("embed",),
        "use_output_layer": (True,),
        "normalize_before": (True,),
        "concat_after": (False,),
        "qk_norm": (False,),
    },
    ignored=(
        "src_attention_dropout_rate",
        "layer_drop_rate",
        "use_flash_attn",
        "use_sdpa",
        "gradient_checkpoint_layers",
    ),
)
PREPROCESSOR = Meaning(
    fixed={
        "unk_symbol": ("<unk>",),
        "space_symbol": ("<space>",),
        "delimiter": (None,),
        "nonsplit_symbol": (None, []),
        "min_sample_size": (-1,),
        "whisper_language": (None,),
        "whisper_task": (None,),
    },
    ignored=(
        "fs", "force_single_channel", "speech_name", "text_name", "data_aug_effects", "data_aug_num", "data_aug_prob",
        "audio_pad_value", "text_length_warning_thres",
    ),
)  # fmt: skip
ADAPTER = Meaning(renamed={"bottleneck": ("width", 32), "target_layers": ("layers", [])})

_ENCODER = {
    "output_size": ("size", 256),
    "attention_heads": ("num_heads", 4),
    "linear_units": ("ffn_size", 2048),
    "num_blocks": ("num_blocks", 6),
    "dropout_rate": ("dropout", 0.1),
    "positional_dropout_rate": ("position_dropout", 0.1),
    "attention_dropout_rate": ("attention_dropout", 0.0),
    "input_layer": ("frontend", "conv2d"),
}
_ENCODER_FIXED = {
    "normalize_before": (True,),
    "concat_after": (False,),
    "positionwise_layer_type": ("linear",),
    "interctc_layer_idx": ([], None),
    "interctc_use_conditioning": (False,),
    "qk_norm": (False,),
}
_ENCODER_IGNORED = ("padding_idx", "layer_drop_rate", "use_flash_attn", "use_sdpa", "positionwise_conv_kernel_size")

_SWISH, _MACARON = ("swish",), ("macaron", False)

# ESPnet's encoder -> how its settings are read
ENCODERS: dict[EncoderKind, Meaning] = {
    "transformer": Meaning(
        renamed=_ENCODER, fixed=_ENCODER_FIXED | {"pos_enc_layer_type": ("abs_pos",)}, ignored=_ENCODER_IGNORED
    ),
    "conformer": Meaning(
        renamed=_ENCODER
        | {
            "macaron_style": _MACARON,
            "cnn_module_kernel": ("conv_kernel", 31),
            "rel_pos_type": ("rel_pos_type", "legacy"),
            "pos_enc_layer_type": ("codes", "rel_pos"),
            "selfattention_layer_type": ("attention", "rel_selfattn"),
        },
        fixed=_ENCODER_FIXED
        | {"activation_type": _SWISH, "use_cnn_module": (True,), "zero_triu": (False,), "ctc_trim": (False,)},
        ignored=(*_ENCODER_IGNORED, "stochastic_depth_rate", "max_pos_emb_len"),
    ),
    "e_branchformer": Meaning(
        renamed=_ENCODER
        | {
            "num_blocks": ("num_blocks", 12),
            "macaron_ffn": _MACARON,
            "cgmlp_linear_units": ("cgmlp_size", 2048),
            "cgmlp_conv_kernel": ("cgmlp_kernel", 31),
            "merge_conv_kernel": ("merge_kernel", 3),
            "rel_pos_type": ("rel_pos_type", "latest"),
            "pos_enc_layer_type": ("codes", "rel_pos"),
            "attention_layer_type": ("attention", "rel_selfattn"),
        },
        fixed={
            name: values for name, values in _ENCODER_FIXED.items() if name not in ("normalize_before", "concat_after")
        }
        | {
            "use_ffn": (True,),
            "ffn_activation_type": _SWISH,
            "gate_activation": ("identity",),
            "use_linear_after_conv": (False,),
            "zero_triu": (False,),
        },
        unsaid={"use_ffn": False},
        ignored=(*_ENCODER_IGNORED, "max_pos_emb_len", "gradient_checkpoint_layers"),
    ),
}
# ESPnet's pos_enc_layer_type, attention layer and rel_pos_type -> our positions
POSITIONS = {
    ("rel_pos", "rel_selfattn", "latest"): "relative",
    ("abs_pos", "selfattn", "latest"): "absolute",
    ("abs_pos", "selfattn", "legacy"): "absolute",
}
FRONTENDS = ("conv2d2", "conv2d")  # ESPnet's input_layer and our front end of the same name
