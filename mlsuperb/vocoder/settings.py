"""Settings of a unit vocoder and of its losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, NonNegativeFloat, PositiveInt

from mlsuperb.types import SAMPLE_RATE_HZ
from mlsuperb.vocoder.discriminators import FULL_SIZE
from mlsuperb.vocoder.generator import Shape


@dataclass(kw_only=True)
class VocoderSettings:
    """The defaults are the published ones: generator and segments of speech-resynthesis (`configs/*/`), losses and
    discriminators of HiFi-GAN (arXiv 2010.05646).

    Args:
        unit_size: of the embedding of units.
        speaker: learn an embedding of each speaker in the training set, `speaker_size` wide.
        language: learn an embedding of each language in the training set, `language_size` wide.
        initial_channels, upsample_rates, upsample_kernels, block_kernels, duration_kernel, duration_dropout: see `Shape`.
        block_dilations: of the convolutions of every residual block.
        discriminator_size: channels of the widest layers of the discriminators; the others in proportion.
        mel_weight: of the distance of log-mels in the generator's loss.
        feature_weight: of feature matching.
        duration_weight: of the duration predictor's loss.
        start: folder or hub id of a vocoder whose weights are taken where they fit: of a run of job=vocoder or of
            transformers' `SeamlessM4TCodeHifiGan`. An embedding of as many other units fits by its shape, but means nothing.
    """

    unit_size: PositiveInt = 128
    speaker: bool = False
    speaker_size: PositiveInt = 128
    language: bool = False
    language_size: PositiveInt = 128
    initial_channels: PositiveInt = 512
    upsample_rates: tuple[PositiveInt, ...] = (5, 4, 4, 2, 2)
    upsample_kernels: tuple[PositiveInt, ...] = (11, 8, 8, 4, 4)
    block_kernels: tuple[PositiveInt, ...] = (3, 7, 11)
    block_dilations: tuple[PositiveInt, ...] = (1, 3, 5)
    duration_kernel: PositiveInt = 3
    duration_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    discriminator_size: Annotated[int, Field(ge=64, multiple_of=64)] = FULL_SIZE
    mel_weight: NonNegativeFloat = 45.0
    feature_weight: NonNegativeFloat = 2.0
    duration_weight: NonNegativeFloat = 1.0
    start: str | None = None

    @classmethod
    def problems(
        cls, *, initial_channels: int, upsample_rates: Sequence[int], upsample_kernels: Sequence[int],
        block_kernels: Sequence[int], duration_kernel: int, **_: Any,
    ) -> list[str]:  # fmt: skip
        """Sizes that do not go together."""
        found = []
        rates, kernels = list(upsample_rates), list(upsample_kernels)
        odd = [kernel for kernel in (*block_kernels, duration_kernel) if kernel % 2 == 0]
        if (
            not rates
            or len(rates) != len(kernels)
            or any((k - r) % 2 or k < r for r, k in zip(rates, kernels, strict=False))
        ):
            found.append(
                f"vocoder.upsample_kernels={kernels} must have one kernel for each of vocoder.upsample_rates={rates}, as large "
                "as the rate or larger by an even number, so that each convolution makes exactly `rate` times as many samples"
            )
        if initial_channels % 2 ** len(rates):
            found.append(
                f"vocoder.initial_channels={initial_channels} is halved {len(rates)} times: give a multiple of {2 ** len(rates)}"
            )
        if odd or not block_kernels:
            found.append(
                f"vocoder.block_kernels={list(block_kernels)} and vocoder.duration_kernel={duration_kernel} must be odd "
                "numbers, one kernel at least, so that a convolution keeps the length"
            )
        return found

    def shape(self, *, num_units: int, rate_hz: float, num_speakers: int, num_languages: int) -> Shape:
        """Of the vocoder of a codebook.

        Raises:
            ValueError: the up-sampling does not fit the rate of the units.
        """
        rates = tuple(self.upsample_rates)
        if (hop := math.prod(rates)) * rate_hz != SAMPLE_RATE_HZ:
            raise ValueError(
                f"vocoder.upsample_rates={list(rates)} make {hop} samples of a unit, and the labels of targets.run have "
                f"{rate_hz:g} units per second, {SAMPLE_RATE_HZ / rate_hz:g} samples each at {SAMPLE_RATE_HZ} Hz. Give rates "
                "with that product, and a kernel for each, or labels of another rate"
            )
        return Shape(
            num_units=num_units, unit_size=self.unit_size, num_speakers=num_speakers, speaker_size=self.speaker_size,
            num_languages=num_languages, language_size=self.language_size, initial_channels=self.initial_channels,
            upsample_rates=rates, upsample_kernels=tuple(self.upsample_kernels), block_kernels=tuple(self.block_kernels),
            block_dilations=(tuple(self.block_dilations),) * len(self.block_kernels), duration_kernel=self.duration_kernel,
            duration_dropout=self.duration_dropout,
        )  # fmt: skip
