"""The generator of the unit vocoder: HiFi-GAN (Kong et al. 2020, arXiv 2010.05646) that reads units in place of a spectrogram
(Polyak et al. 2021, arXiv 2104.00355; github.com/facebookresearch/speech-resynthesis), and its duration predictor.

Modules and parameters have the names of transformers' `SeamlessM4TCodeHifiGan`.

Letters: B batch, F frames (one unit each), S units without repetitions, C channels, T samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu
from torch.nn.utils.parametrizations import weight_norm

from mlsuperb.layers.masks import valid_mask

SLOPE = 0.1  # of every leaky ReLU but the last one, which has torch's 0.01 in the published code, too


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a `UnitVocoder`; no speakers or no languages: it has no embedding of them.

    Args:
        num_units: of the codebook.
        upsample_rates: of each transposed convolution; their product is the number of samples of a unit.
        upsample_kernels: of the same.
        initial_channels: channels before them; each halves the number.
        block_kernels: kernel of each residual block that follows a transposed convolution; the blocks' outputs are averaged.
        block_dilations: of the convolutions of each residual block.
        duration_kernel: of both convolutions of the duration predictor.
        duration_dropout: behind each of them.
    """

    num_units: int
    unit_size: int
    num_speakers: int
    speaker_size: int
    num_languages: int
    language_size: int
    initial_channels: int
    upsample_rates: tuple[int, ...]
    upsample_kernels: tuple[int, ...]
    block_kernels: tuple[int, ...]
    block_dilations: tuple[tuple[int, ...], ...]
    duration_kernel: int
    duration_dropout: float

    @property
    def hop(self) -> int:
        """Samples of a unit."""
        return math.prod(self.upsample_rates)

    @property
    def input_size(self) -> int:
        """Channels of the embeddings together."""
        speaker = self.speaker_size if self.num_speakers else 0
        return self.unit_size + speaker + (self.language_size if self.num_languages else 0)


def valid(x_BCT: Tensor, mask_B1T: Tensor | None) -> Tensor:
    """`x_BCT` with zeros beyond each length: what a convolution sees beyond the end of an utterance that is alone."""
    return x_BCT if mask_B1T is None else x_BCT * mask_B1T


class ResidualBlock(nn.Module):
    """HiFi-GAN's `ResBlock1`: pairs of convolutions, the first of each dilated."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int]) -> None:
        super().__init__()

        def convolution(dilation: int) -> nn.Conv1d:
            return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=(kernel - 1) * dilation // 2)

        self.convs1 = nn.ModuleList(map(convolution, dilations))
        self.convs2 = nn.ModuleList(convolution(1) for _ in dilations)

    def forward(self, x_BCT: Tensor, mask_B1T: Tensor | None) -> Tensor:
        """The same shape; correct where the mask is 1."""
        for first, second in zip(self.convs1, self.convs2, strict=True):
            inner_BCT = first(valid(leaky_relu(x_BCT, SLOPE), mask_B1T))
            x_BCT = x_BCT + second(valid(leaky_relu(inner_BCT, SLOPE), mask_B1T))
        return x_BCT


class HifiGan(nn.Module):
    """Frames of embeddings to a wave."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self._rates, channels = shape.upsample_rates, shape.initial_channels
        self.conv_pre = nn.Conv1d(shape.input_size, channels, 7, padding=3)
        self.upsampler, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in zip(shape.upsample_rates, shape.upsample_kernels, strict=True):
            self.upsampler.append(
                nn.ConvTranspose1d(channels, channels // 2, kernel, stride=rate, padding=(kernel - rate) // 2)
            )
            channels //= 2
            for size, dilations in zip(shape.block_kernels, shape.block_dilations, strict=True):
                self.resblocks.append(ResidualBlock(channels, size, dilations))
        self.conv_post = nn.Conv1d(channels, 1, 7, padding=3)

    def forward(self, x_BCF: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """The wave (B, T) in -1 to 1; zeros beyond each of `lengths_B` frames, which does not depend on what is there."""

        def mask(length: int, rate: int) -> Tensor | None:
            return None if lengths_B is None else valid_mask(lengths_B * rate, length)[:, None].to(x_BCF.dtype)

        rate, num_blocks = 1, len(self.resblocks) // len(self.upsampler)
        mask_B1T = mask(x_BCF.shape[2], rate)
        x_BCT = self.conv_pre(valid(x_BCF, mask_B1T))
        for number, upsample in enumerate(self.upsampler):
            x_BCT = upsample(valid(leaky_relu(x_BCT, SLOPE), mask_B1T))
            rate *= self._rates[number]
            mask_B1T = mask(x_BCT.shape[2], rate)
            blocks = self.resblocks[number * num_blocks : (number + 1) * num_blocks]
            x_BCT = reduce(torch.add, (block(x_BCT, mask_B1T) for block in blocks)) / num_blocks
        wave_B1T = torch.tanh(self.conv_post(valid(leaky_relu(x_BCT), mask_B1T)))
        return valid(wave_B1T, mask_B1T)[:, 0]


class DurationPredictor(nn.Module):
    """FastSpeech 2's variance predictor (arXiv 2006.04558): log(1 + frames) of each unit without repetitions."""

    def __init__(self, size: int, *, kernel: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(size, size, kernel, padding=(kernel - 1) // 2)
        self.ln1 = nn.LayerNorm(size)
        self.conv2 = nn.Conv1d(size, size, kernel, padding=(kernel - 1) // 2)
        self.ln2 = nn.LayerNorm(size)
        self.dropout = nn.Dropout(dropout)
        self.proj = nn.Linear(size, 1)

    def forward(self, x_BSC: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """(B, S); correct within each of `lengths_B`."""
        mask_B1S = None if lengths_B is None else valid_mask(lengths_B, x_BSC.shape[1])[:, None].to(x_BSC.dtype)
        for convolution, norm in ((self.conv1, self.ln1), (self.conv2, self.ln2)):
            x_BCS = torch.relu(convolution(valid(x_BSC.transpose(1, 2), mask_B1S)))
            x_BSC = self.dropout(norm(x_BCS.transpose(1, 2)))
        return self.proj(x_BSC)[..., 0]


class UnitVocoder(nn.Module):
    """Embeddings, duration predictor and generator: all that synthesis needs."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.dur_predictor = DurationPredictor(
            shape.unit_size, kernel=shape.duration_kernel, dropout=shape.duration_dropout
        )
        self.unit_embedding = nn.Embedding(shape.num_units, shape.unit_size)
        if shape.num_speakers:
            self.speaker_embedding = nn.Embedding(shape.num_speakers, shape.speaker_size)
        if shape.num_languages:
            self.language_embedding = nn.Embedding(shape.num_languages, shape.language_size)
        self.hifi_gan = HifiGan(shape)

    def forward(
        self, units_BF: Tensor, *, speaker_B: Tensor, language_B: Tensor, lengths_B: Tensor | None = None
    ) -> Tensor:
        """The wave (B, T) of a unit for each frame.

        Args:
            speaker_B: number of each speaker; not looked at without embedding of speakers. `language_B`: likewise.
            lengths_B: frames of each; None: all have F, so that nothing has to be masked.
        """
        parts_BFC = [self.unit_embedding(units_BF)]
        if self.shape.num_speakers:
            parts_BFC.append(self.speaker_embedding(speaker_B)[:, None].expand(-1, units_BF.shape[1], -1))
        if self.shape.num_languages:
            parts_BFC.insert(0, self.language_embedding(language_B)[:, None].expand(-1, units_BF.shape[1], -1))
        wave_BT: Tensor = self.hifi_gan(torch.cat(parts_BFC, -1).transpose(1, 2), lengths_B)
        return wave_BT

    def log_durations(self, units_BS: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """log(1 + frames), predicted for units (B, S) without repetitions."""
        found: Tensor = self.dur_predictor(self.unit_embedding(units_BS), lengths_B)
        return found

    def durations(self, units_S: Tensor) -> Tensor:
        """Frames (S,) predicted for the units of an utterance, at least one each."""
        return self.log_durations(units_S[None])[0].expm1().round().long().clamp(min=1)

    def add_weight_norm(self) -> UnitVocoder:
        """Split the weights of the generator's convolutions into length and direction, as they are trained."""
        for module in list(self.hifi_gan.modules()):
            if isinstance(module, (nn.Conv1d, nn.ConvTranspose1d)):
                weight_norm(module)
        return self


def without_weight_norm(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a state whose weights are whole, whichever of torch's two ways of weight norm they were saved in."""
    ways = (("parametrizations.weight.original0", "parametrizations.weight.original1"), ("weight_g", "weight_v"))
    whole = dict(tensors)
    for length, direction in ways:
        for name in [one for one in tensors if one.endswith(length)]:
            stem = name.removesuffix(length)
            g, v = whole.pop(name), whole.pop(stem + direction)
            whole[f"{stem}weight"] = torch._weight_norm(v, g, 0)
    return whole
