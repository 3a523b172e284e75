"""HiFi-GAN's discriminators (arXiv 2010.05646, section 2.3; `models.py` of its code). Letters: B batch, T samples, C channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from mlsuperb.vocoder.generator import SLOPE

PERIODS = (2, 3, 5, 7, 11)
NUM_SCALES = 3
FULL_SIZE = 1024  # channels of the widest layers as published
_PERIOD_CHANNELS = (32, 128, 512, 1024, 1024)
_SCALE_LAYERS = (  # channels, kernel, stride, groups
    (128, 15, 1, 1), (128, 41, 2, 4), (256, 41, 2, 16), (512, 41, 4, 16), (1024, 41, 4, 16), (1024, 41, 1, 16),
    (1024, 5, 1, 1),
)  # fmt: skip
_GROUP_CHANNELS = (
    8  # read by each group at least: the fewest as published; fewer take a CPU longer than no groups at all
)


class Discriminator(nn.Module):
    """Convolutions whose outputs are compared, and a last one that judges every place."""

    def __init__(self, convolutions: Sequence[nn.Module], last: nn.Module) -> None:
        super().__init__()
        self.convolutions, self.last = nn.ModuleList(convolutions), last

    def forward(self, x: Tensor) -> list[Tensor]:
        """Outputs of all layers; the last one's is the judgement."""
        found = []
        for convolution in self.convolutions:
            x = leaky_relu(convolution(x), SLOPE)
            found.append(x)
        return [*found, self.last(x)]


class PeriodDiscriminator(Discriminator):
    """Looks at the samples of every `period`-th place together."""

    def __init__(self, period: int, size: int) -> None:
        channels = (1, *(one * size // FULL_SIZE for one in _PERIOD_CHANNELS))
        strides = (3, 3, 3, 3, 1)
        convolutions = [
            weight_norm(nn.Conv2d(before, after, (5, 1), (stride, 1), padding=(2, 0)))
            for before, after, stride in zip(channels, channels[1:], strides, strict=False)
        ]
        super().__init__(convolutions, weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0))))
        self.period = period

    def forward(self, x: Tensor) -> list[Tensor]:
        """Of waves (B, 1, T)."""
        x = pad(x, (0, -x.shape[-1] % self.period), "reflect")
        return super().forward(x.unflatten(-1, (-1, self.period)))


class ScaleDiscriminator(Discriminator):
    """Looks at the wave itself."""

    def __init__(self, size: int, *, spectral: bool) -> None:
        norm = spectral_norm if spectral else weight_norm
        convolutions, before = [], 1
        for channels, kernel, stride, groups in _SCALE_LAYERS:
            after = channels * size // FULL_SIZE
            groups = min(groups, max(1, before // _GROUP_CHANNELS))
            convolutions.append(
                norm(nn.Conv1d(before, after, kernel, stride, groups=groups, padding=(kernel - 1) // 2))
            )
            before = after
        super().__init__(convolutions, norm(nn.Conv1d(before, 1, 3, padding=1)))


class Discriminators(nn.Module):
    """One for each period, and one for the wave, for its average over two samples and for the average of that.

    Args:
        size: channels of the widest layers; the others in proportion. 1024 is published.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.periods = nn.ModuleList(PeriodDiscriminator(period, size) for period in PERIODS)
        self.scales = nn.ModuleList(ScaleDiscriminator(size, spectral=number == 0) for number in range(NUM_SCALES))
        self.halved = nn.AvgPool1d(4, 2, padding=2)

    def forward(self, wave_BT: Tensor) -> list[list[Tensor]]:
        """For each discriminator the outputs of its layers; the last one's is the judgement."""
        x_B1T = wave_BT[:, None]
        found = [one(x_B1T) for one in self.periods]
        for number, one in enumerate(self.scales):
            x_B1T = self.halved(x_B1T) if number else x_B1T
            found.append(one(x_B1T))
        return found


def discriminator_loss(real: Sequence[Sequence[Tensor]], made: Sequence[Sequence[Tensor]]) -> Tensor:
    """Least squares (LSGAN): recordings are to be judged 1, what was made 0."""
    return torch.stack(
        [(1 - one[-1]).square().mean() + other[-1].square().mean() for one, other in zip(real, made, strict=True)]
    ).sum()


def adversarial_loss(made: Sequence[Sequence[Tensor]]) -> Tensor:
    """Least squares: what was made is to be judged 1."""
    return torch.stack([(1 - one[-1]).square().mean() for one in made]).sum()


def feature_loss(real: Sequence[Sequence[Tensor]], made: Sequence[Sequence[Tensor]]) -> Tensor:
    """Feature matching: mean distance of each layer's outputs, the judgements included, added up over layers."""
    pairs = [pair for one, other in zip(real, made, strict=True) for pair in zip(one, other, strict=True)]
    return torch.stack([(one.detach() - other).abs().mean() for one, other in pairs]).sum()
