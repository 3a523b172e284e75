"""The FastConformer encoder of NVIDIA's Parakeet and Canary (arXiv 2305.05084), in transformers' format: 12.5 frames a second.

Letters: B batch, T samples, M mel frames, K mel filters, F encoder frames, D feature size, Q frequencies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mlsuperb.layers.dropout import dropout
from mlsuperb.layers.masks import valid_mask
from mlsuperb.upstreams.base import ENCODER, SAMPLE_RATE_HZ, Front, Stack, Upstream, size_and_type
from mlsuperb.upstreams.checkpoint import Kind, load, type_problems
from mlsuperb.upstreams.padding import centre_frames, pad_short
from mlsuperb.upstreams.published import Published

if TYPE_CHECKING:
    from transformers.models.parakeet.modeling_parakeet import ParakeetEncoder

_ENCODER = "parakeet_encoder"
_NAMES = {
    **dict.fromkeys((_ENCODER, "parakeet_ctc", "parakeet_rnnt", "parakeet_tdt"), "Parakeet"),
    "canary": "Canary",
}


def encoder_config(config: Mapping[str, Any]) -> Any:
    """What a config.json says of the encoder: all of it, or an object of its own in that of a whole model."""
    return config.get("encoder_config") if config.get("model_type") != _ENCODER else config


def config_problems(config: dict[str, Any]) -> list[str]:
    """Why a model of this config.json cannot be an upstream, a sentence each."""
    if found := type_problems(config, supported=_NAMES):
        return found
    encoder = encoder_config(config)
    model_type = encoder.get("model_type") if isinstance(encoder, dict) else None
    if model_type == _ENCODER:
        return []
    return [
        f"The checkpoint's encoder is of the type {model_type!r} (config.json: encoder_config); only {_ENCODER} can be read. "
        "Choose a checkpoint with Parakeet's encoder, such as nvidia/parakeet-tdt-0.6b-v3."
    ]


def features(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """How audio is prepared for a model of this config.json (`Kind.features`)."""
    default = 128 if config["model_type"] == "canary" else 80  # the defaults of transformers' configurations
    return {
        "feature_size": encoder_config(config).get("num_mel_bins", default), "n_fft": ParakeetInput.n_fft,
        "win_length": ParakeetInput.win_length, "hop_length": ParakeetInput.hop_length, "preemphasis": ParakeetInput.preemphasis,
    }  # fmt: skip


KIND = Kind(
    classes=dict.fromkeys(_NAMES, "models.parakeet.modeling_parakeet.ParakeetEncoder"),
    config_problems=config_problems,
    features=features,
    body=("subsampling.", "layers."),
    unused=(),
    renamed={r"^(model\.)?encoder\.": ""},  # as it lies in a whole Parakeet or Canary
    part=True,
    other_format=(
        "NeMo's own files (.nemo) are not read: convert one with transformers' models/parakeet/convert_nemo_to_hf.py (Canary: "
        "models/canary/convert_canary_nemo_to_hf.py), or choose a checkpoint that is in both formats."
    ),
)


class ParakeetStack(Upstream):
    """A `ParakeetEncoder` of transformers as an upstream, equal to it on the frames that are valid.

    Layer 0 is the input of the first Conformer block, layer i the output of block i; each block ends with a layer norm of its
    own, and none follows the last one. 12.5 frames a second; audio under 20 ms is padded with zeros to that. Attention reaches
    over the whole utterance, and positions are relative: any length can be encoded.

    Layer drop is off: transformers' configurations have 0.1 by default, which NVIDIA did not train with. Blocks have batch norm
    (see `Upstream.train`).

    Args:
        model: changed in place.
        dropout_while_frozen: see `Upstream`.
    """

    has_final_norm = False
    stacks = {
        ENCODER: Stack(
            blocks="model.layers",
            front=("model.subsampling",),
            attention="self_attn",
            ffn="feed_forward2.linear2",
            ffn_dropout=None,  # there is none
            attention_linears=tuple(f"self_attn.{name}_proj" for name in ("q", "k", "v", "o")),
            ffn_linears=tuple(f"feed_forward{i}.linear{j}" for i in (1, 2) for j in (1, 2)),
        )
    }

    def __init__(self, model: ParakeetEncoder, *, dropout_while_frozen: bool = False) -> None:
        super().__init__()
        from mlsuperb.upstreams.attention import use_faster_parts

        use_faster_parts(model)
        model.layerdrop = model.config.layerdrop = 0.0
        self.num_layers = len(model.layers) + 1
        self.layer_size = model.config.hidden_size
        self.dropout_while_frozen = dropout_while_frozen
        self.input = ParakeetInput(num_mels=model.config.num_mel_bins)
        self.kernel, self.stride = model.subsampling.kernel_size, model.subsampling.stride
        self.num_strided = model.subsampling.num_layers
        self.frame_rate_hz = SAMPLE_RATE_HZ / self.input.hop_length / self.stride**self.num_strided
        self.model = model

    def run_front(self, wave_BT: Tensor, lengths_B: Tensor) -> Front:
        with torch.autocast(wave_BT.device.type, enabled=False):
            mels_BMK, mel_frames_B = self.input(wave_BT.float(), lengths_B)
        hidden_BFD = self.model.subsampling(mels_BMK, valid_mask(mel_frames_B, mels_BMK.shape[1]))
        return Front(hidden_BFD * self.model.input_scale, self.num_frames(lengths_B))

    def encode(self, hidden_BFD: Tensor, lengths_B: Tensor) -> list[Tensor]:
        """The forward of `ParakeetEncoder` behind its subsampling, with every block's output."""
        model = self.model

        def dropped(values: Tensor, rate: float) -> Tensor:
            return dropout(values, rate) if model.training else values

        positions_BPD = dropped(model.encode_positions(hidden_BFD), model.dropout_positions)
        valid_BF = valid_mask(lengths_B, hidden_BFD.shape[1])
        known = {
            "attention_mask": (valid_BF[:, :, None] & valid_BF[:, None])[:, None],
            "position_embeddings": positions_BPD,
        }
        layers = [dropped(hidden_BFD, model.dropout)]
        for block in model.layers:
            layers.append(block(layers[-1], **known))
        return layers

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        frames_B = self.input.num_frames(lengths_B)
        for _ in range(self.num_strided):  # `ParakeetEncoderSubsamplingConv2D`, padded by half a kernel
            padded_B = frames_B + 2 * ((self.kernel - 1) // 2)
            frames_B = torch.div(padded_B - self.kernel, self.stride, rounding_mode="floor") + 1
        return frames_B


class Parakeet(Published, ParakeetStack):
    """The encoder of a published Parakeet (CTC, RNN-T or TDT) or Canary in transformers' format; its decoder is not loaded.

    Args:
        checkpoint: an id on the hub (`nvidia/parakeet-tdt-0.6b-v3`) or a folder written by `save_pretrained`.
        revision: branch, tag or commit on the hub; a folder has none.
        dropout_while_frozen: see `Upstream`.
    """

    kind = KIND

    def __init__(self, *, checkpoint: str, revision: str = "main", dropout_while_frozen: bool = False) -> None:
        loaded = load(checkpoint, revision=revision, kind=KIND)
        model: Any = loaded.model
        super().__init__(model, dropout_while_frozen=dropout_while_frozen)
        self._record = {**loaded.record(), **size_and_type(self)}


class ParakeetInput(nn.Module):
    """Log-mels as `ParakeetFeatureExtractor` makes them, but batched: pre-emphasis 0.97, 512 points under a symmetric Hann window
    of 25 ms, every 10 ms, zeros around the utterance, Slaney's filters, log(x + 2^-24); then zero mean and unit deviation
    (n - 1, to which 1e-5 is added) per utterance and filter. The last frame, which is centred at the utterance's end or up to
    10 ms before it, is left out.

    Args:
        num_mels: K, 80 or 128.
    """

    window: Tensor  # (W,)
    filters: Tensor  # (Q, K)

    n_fft, win_length, hop_length, preemphasis = 512, 400, 160, 0.97
    log_guard, eps = 2.0**-24, 1e-5
    min_samples = 2 * hop_length  # two frames, of which there is a deviation

    def __init__(self, *, num_mels: int) -> None:
        super().__init__()
        from transformers.audio_utils import mel_filter_bank

        filters_QK = mel_filter_bank(
            num_frequency_bins=self.n_fft // 2 + 1,
            num_mel_filters=num_mels,
            min_frequency=0.0,
            max_frequency=SAMPLE_RATE_HZ / 2,
            sampling_rate=SAMPLE_RATE_HZ,
            norm="slaney",
            mel_scale="slaney",
        )
        self.register_buffer("filters", torch.from_numpy(filters_QK).float(), persistent=False)
        self.register_buffer("window", torch.hann_window(self.win_length, periodic=False), persistent=False)

    def forward(self, wave_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mels (B, M, K), zero beyond the valid frames, and their number."""
        wave_BT = wave_BT.masked_fill(~valid_mask(lengths_B, wave_BT.shape[1]), 0)
        wave_BT, lengths_B = pad_short(wave_BT, lengths_B, min_samples=self.min_samples)
        sharp_BT = torch.cat([wave_BT[:, :1], wave_BT[:, 1:] - self.preemphasis * wave_BT[:, :-1]], dim=1)
        sharp_BT = sharp_BT.masked_fill(~valid_mask(lengths_B, sharp_BT.shape[1]), 0)
        frames_B = self.num_frames(lengths_B)
        centred_BMK, variance_B1K = centre_frames(self._log_mels(sharp_BT)[:, :-1], frames_B)
        return centred_BMK / (variance_B1K.sqrt() + self.eps), frames_B

    def _log_mels(self, wave_BT: Tensor) -> Tensor:
        spectrum_BQM = torch.stft(
            wave_BT,
            self.n_fft,
            hop_length=self.hop_length,
            win_length=self.win_length,
            window=self.window,
            pad_mode="constant",
            return_complex=True,
        )
        power_BMQ = torch.view_as_real(spectrum_BQM).square().sum(-1).transpose(1, 2)
        return (power_BMQ @ self.filters + self.log_guard).log()

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return torch.div(lengths_B.clamp(min=self.min_samples), self.hop_length, rounding_mode="floor")
