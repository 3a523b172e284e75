"""Whisper's encoder, on audio of any length.

Letters: B batch, T samples, M mel frames, K mel filters, F encoder frames, D feature size, P pieces of at most 30 s,
X mel filters or features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mlsuperb.layers.dropout import Dropout
from mlsuperb.layers.masks import valid_mask
from mlsuperb.upstreams.base import ENCODER, Front, Stack, Upstream, size_and_type
from mlsuperb.upstreams.checkpoint import Kind, load, type_problems
from mlsuperb.upstreams.fbank import Fbank
from mlsuperb.upstreams.padding import pad_short
from mlsuperb.upstreams.published import Published

if TYPE_CHECKING:
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

_CLASSES = {"whisper": "models.whisper.modeling_whisper.WhisperEncoder"}


def config_problems(config: dict[str, Any]) -> list[str]:
    """Why a model of this config.json cannot be an upstream, a sentence each."""
    return type_problems(config, supported={"whisper": "Whisper"})


def features(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """How audio is prepared for a model of this config.json (`Kind.features`)."""
    return {
        "feature_size": config.get("num_mel_bins", 80), "n_fft": WhisperInput.n_fft, "hop_length": WhisperInput.hop_length,
    }  # fmt: skip


KIND = Kind(
    classes=_CLASSES,
    config_problems=config_problems,
    features=features,
    body=("conv1.", "conv2.", "embed_positions.", "layers.", "layer_norm."),
    unused=(),
    renamed={r"^(model\.)?encoder\.": ""},  # as it lies in a whole Whisper, with or without the head
    part=True,
)


class WhisperStack(Upstream):
    """A `WhisperEncoder` of transformers as an upstream, equal to it on 30 s.

    Layer 0 is the input of the first Transformer block, layer i the output of block i; the last one, of the last block,
    is after the final layer norm. 50 frames a second; audio under 10 ms is padded with zeros to 10 ms.

    Whisper was trained on audio padded to 30 s. Its positions are absolute, so that shorter audio needs only the first of
    them, at a small part of the cost; but silence after the speech is then missing that it has always seen. Audio beyond
    30 s has no positions: it is encoded in pieces of 30 s, one after another, that do not see each other. Their log-mels
    are those of the whole utterance, as openai/whisper's `transcribe` cuts them.

    Args:
        model: changed in place: its front goes to `self.front`.
        pad_to_30s: pad each utterance with zeros to the next 30 s, as in training, instead of encoding it as it is. Only the
            frames of the utterance itself come out.
        dropout_while_frozen: see `Upstream`. Published checkpoints have no dropout.
    """

    frame_rate_hz = 50.0
    stacks = {
        ENCODER: Stack(
            blocks="model.layers",
            front=("front",),
            attention="self_attn",
            ffn="fc2",
            ffn_dropout=None,  # a function, not a module
            attention_linears=tuple(f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")),
            ffn_linears=("fc1", "fc2"),
        )
    }

    def __init__(self, model: WhisperEncoder, *, pad_to_30s: bool = False, dropout_while_frozen: bool = False) -> None:
        super().__init__()
        from mlsuperb.upstreams.attention import use_faster_parts

        use_faster_parts(model)
        model.layerdrop = model.config.encoder_layerdrop = 0.0
        self.num_layers = len(model.layers) + 1
        self.layer_size = model.config.d_model
        self.dropout_while_frozen = dropout_while_frozen
        self.piece_size = 2 * model.config.max_source_positions  # mel frames: 3000, which are 30 s
        self.input = WhisperInput(
            num_mels=model.config.num_mel_bins, pad_to_frames=self.piece_size if pad_to_30s else None
        )
        self.front = WhisperFront(model)
        for name in ("conv1", "conv2", "embed_positions"):
            delattr(model, name)
        self.model = model

    def run_front(self, wave_BT: Tensor, lengths_B: Tensor) -> Front:
        """With `pad_to_30s` there are more frames than the utterances' own: those of the silence, which count in the blocks."""
        with torch.autocast(wave_BT.device.type, enabled=False):
            mels_BMK, mel_frames_B = self.input(wave_BT.float(), lengths_B)
        pieces = _cut(mels_BMK, mel_frames_B, size=self.piece_size)
        hidden_PFD = self.front(pieces.values, pieces.frames)
        return Front(_join(hidden_PFD, pieces, size=self.piece_size // 2), self.num_frames(lengths_B))

    def encode(self, hidden_BFD: Tensor, lengths_B: Tensor) -> list[Tensor]:
        size = self.piece_size // 2
        encoded_B = lengths_B
        if self.input.pad_to_frames:
            encoded_B = torch.div(lengths_B + size - 1, size, rounding_mode="floor") * size
        pieces = _cut(hidden_BFD, encoded_B, size=size)
        layers = (
            _join(layer_PFD, pieces, size=size) for layer_PFD in self._encode_pieces(pieces.values, pieces.frames)
        )
        longest = int(lengths_B.max())
        return [layer_BFD[:, :longest] for layer_BFD in layers]

    def _encode_pieces(self, hidden_PFD: Tensor, frames_P: Tensor) -> list[Tensor]:
        """The layers of pieces that do not see each other: the forward of `WhisperEncoder`, with a mask."""
        from transformers.masking_utils import create_bidirectional_mask

        valid_PF = valid_mask(frames_P, hidden_PFD.shape[1])
        mask = create_bidirectional_mask(
            config=self.model.config, inputs_embeds=hidden_PFD, attention_mask=valid_PF.long()
        )
        layers = [hidden_PFD]
        for block in self.model.layers:
            layers.append(block(layers[-1], mask))
        return [*layers[:-1], self.model.layer_norm(layers[-1])]

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return _halved(self.input.num_mel_frames(lengths_B))


class Whisper(Published, WhisperStack):
    """The encoder of a published Whisper, of any size; its decoder is not loaded.

    Args:
        checkpoint: an id on the hub (`openai/whisper-small`) or a folder written by `save_pretrained`.
        revision: branch, tag or commit on the hub; a folder has none.
        pad_to_30s, dropout_while_frozen: see `WhisperStack`.
    """

    kind = KIND

    def __init__(
        self, *, checkpoint: str, revision: str = "main", pad_to_30s: bool = False, dropout_while_frozen: bool = False
    ) -> None:
        loaded = load(checkpoint, revision=revision, kind=self.kind)
        model: Any = loaded.model
        super().__init__(model, pad_to_30s=pad_to_30s, dropout_while_frozen=dropout_while_frozen)
        self._record = {**loaded.record(), **size_and_type(self)}


class WhisperInput(nn.Module):
    """Log-mels as `WhisperFeatureExtractor` makes them, but batched: 25 ms windows every 10 ms, base 10, at most 8 below
    the loudest value of the utterance, then (x + 4) / 4. The last, incomplete frame is left out.

    Args:
        num_mels: 80, or 128 from large-v3 on.
        pad_to_frames: if given, each utterance is padded with zeros to the next multiple of so many frames.
    """

    n_fft, hop_length, dynamic_range = 400, 160, 8.0

    def __init__(self, *, num_mels: int, pad_to_frames: int | None) -> None:
        super().__init__()
        self.fbank = Fbank(n_fft=self.n_fft, hop_length=self.hop_length, num_mels=num_mels)
        self.pad_to_frames = pad_to_frames

    def forward(self, wave_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mels (B, M, K), zero beyond the frames that count, and their number."""
        wave_BT = wave_BT.masked_fill(~valid_mask(lengths_B, wave_BT.shape[1]), 0)
        wave_BT, lengths_B = pad_short(wave_BT, lengths_B, min_samples=self.hop_length)
        if self.pad_to_frames:
            unit = self.pad_to_frames * self.hop_length
            lengths_B = torch.div(lengths_B + unit - 1, unit, rounding_mode="floor") * unit
            wave_BT = nn.functional.pad(wave_BT, (0, int(lengths_B.max()) - wave_BT.shape[1]))
        frames_B = self.num_mel_frames(lengths_B)
        mels_BMK = self.fbank(wave_BT, lengths_B).layers[0][:, :-1] / math.log(10)
        padding_BM1 = ~valid_mask(frames_B, mels_BMK.shape[1])[..., None]
        loudest_B11 = mels_BMK.masked_fill(padding_BM1, -math.inf).amax((1, 2), keepdim=True)
        mels_BMK = (torch.maximum(mels_BMK, loudest_B11 - self.dynamic_range) + 4) / 4
        return mels_BMK.masked_fill(padding_BM1, 0), frames_B

    def num_mel_frames(self, lengths_B: Tensor) -> Tensor:
        """Frames of so many samples, padding to 30 s left out of account."""
        return torch.div(lengths_B, self.hop_length, rounding_mode="floor").clamp(min=1)


class WhisperFront(nn.Module):
    """The two convolutions of a `WhisperEncoder`, which see zeros beyond an utterance's end, and as many of its positions as
    are needed."""

    positions_FD: Tensor

    def __init__(self, model: WhisperEncoder) -> None:
        super().__init__()
        self.conv1 = model.conv1
        self.conv2 = model.conv2
        self.dropout = Dropout(model.dropout)
        # Sinusoids, which openai/whisper does not train either, so that no checkpoint needs them.
        self.register_buffer("positions_FD", model.embed_positions.weight.detach().clone(), persistent=False)

    def forward(self, mels_PMK: Tensor, mel_frames_P: Tensor) -> Tensor:
        hidden_PDM = nn.functional.gelu(self.conv1(mels_PMK.transpose(1, 2)))
        hidden_PDM = hidden_PDM * valid_mask(mel_frames_P, hidden_PDM.shape[-1])[:, None]
        hidden_PFD = nn.functional.gelu(self.conv2(hidden_PDM)).transpose(1, 2)
        dropped: Tensor = self.dropout(hidden_PFD + self.positions_FD[: hidden_PFD.shape[1]])
        return dropped


@dataclass(frozen=True, kw_only=True)
class _Pieces:
    """What is encoded at a time: `values` (P, frames, size) and `frames` (P,) of the pieces that hold something, in order;
    `holding` (B, pieces of the longest utterance) says where they are from, None if an utterance is a piece."""

    values: Tensor
    frames: Tensor
    holding: Tensor | None


def _cut(values_BFX: Tensor, frames_B: Tensor, *, size: int) -> _Pieces:
    num_pieces = math.ceil(values_BFX.shape[1] / size)
    if num_pieces == 1:
        return _Pieces(values=values_BFX, frames=frames_B, holding=None)
    values_BFX = nn.functional.pad(values_BFX, (0, 0, 0, num_pieces * size - values_BFX.shape[1]))
    starts = torch.arange(num_pieces, device=frames_B.device) * size
    frames_BP = (frames_B[:, None] - starts).clamp(min=0, max=size)
    holding_BP = frames_BP > 0
    return _Pieces(
        values=values_BFX.unflatten(1, (num_pieces, size))[holding_BP], frames=frames_BP[holding_BP], holding=holding_BP
    )


def _join(values_PFX: Tensor, pieces: _Pieces, *, size: int) -> Tensor:
    """Utterances from their pieces, of `size` frames each."""
    if pieces.holding is None:
        return values_PFX
    joined_BPFX = values_PFX.new_zeros(*pieces.holding.shape, size, values_PFX.shape[-1])
    joined_BPFX[pieces.holding] = values_PFX
    return joined_BPFX.flatten(1, 2)


def _halved(frames_B: Tensor) -> Tensor:
    return torch.div(frames_B + 1, 2, rounding_mode="floor")
