"""Front ends: they shorten the stream and bring it to the size of a head.

Letters: B batch, F frames, D feature size, H encoded size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from mlsuperb.layers.masks import zero_padding
from mlsuperb.layers.winograd import conv3x3, is_worth_it

FrontendName = Literal["conv2d2", "conv2d", "conv1d4", "conv1d2", "linear"]
# frames in for each frame out
SHORTENING: dict[FrontendName, int] = {"conv2d2": 2, "conv2d": 4, "conv1d4": 4, "conv1d2": 2, "linear": 1}
MIN_CONV2D = 7  # frames and features that two 3 x 3 convolutions, the first with stride 2, need
MIN_CONV2D8 = 15  # that three of them need, each with stride 2
Size = TypeVar("Size", int, Tensor)


def make_frontend(name: FrontendName, *, input_size: int, output_size: int) -> Frontend:
    """The front end called `name`: `conv2d2` halves the frame rate (ML-SUPERB's), `conv2d` quarters it (OWSM's),
    `conv1d2` halves and `conv1d4` quarters it at a small part of the cost, `linear` keeps it."""
    if problem := too_narrow(name, input_size):
        raise ValueError(problem)
    if name in ("conv2d2", "conv2d"):
        return StridedConv2d(input_size, output_size, num_halvings=1 if name == "conv2d2" else 2)
    if name == "linear":
        return LinearFrontend(input_size, output_size)
    if name in ("conv1d2", "conv1d4"):
        return StridedConv1d(input_size, output_size, num_layers={"conv1d2": 1, "conv1d4": 2}[name])
    raise ValueError(f"head.frontend is {name!r}; choose one of {', '.join(get_args(FrontendName))}.")


def too_narrow(name: str, input_size: int) -> str | None:
    """What is wrong with frames of `input_size` features in front of a two-dimensional convolution."""
    if name not in ("conv2d2", "conv2d") or input_size >= MIN_CONV2D:
        return None
    return (
        f"head.frontend={name} needs at least {MIN_CONV2D} features per frame, but gets {input_size}: raise head.projection, "
        "or take another front end (conv1d2, linear)."
    )


class Frontend(nn.Module, ABC):
    """`forward` may be given anything beyond a length; it never reads it."""

    @abstractmethod
    def forward(self, feats_BFD: Tensor, lengths_B: Tensor) -> Tensor:
        """(B, F', H), of which `num_frames(lengths_B)` frames are valid."""

    @abstractmethod
    def num_frames(self, lengths_B: Tensor) -> Tensor:
        """Valid frames out for so many in; never less than one."""


class StridedConv2d(Frontend):
    """3 x 3 convolutions over time and features, and a linear layer. `num_halvings` of them have stride 2, and there are at
    least two: with 1 this is ESPnet's `Conv2dSubsampling2`, F frames become floor((F - 3) / 2) + 1 - 2; with 2 its
    `Conv2dSubsampling`; with 3 its `Conv2dSubsampling8`.

    Fewer than 7 frames (15 with three convolutions), which ESPnet refuses, are padded with zeros to as many and give one
    frame. Inside a batch ESPnet up to 202511 counts up to three more frames for all but the longest utterances, which look
    at padding; here, and there from 202611 on (PR #6633), the number is the same alone and in any batch.
    """

    def __init__(self, input_size: int, output_size: int, *, num_halvings: Literal[1, 2, 3]) -> None:
        super().__init__()
        self.second_stride = 1 if num_halvings == 1 else 2
        self.shortening = 2**num_halvings
        self.fewer_products = True  # by Winograd's algorithm, on a CPU
        self.conv1 = nn.Conv2d(1, output_size, kernel_size=3, stride=2)
        self.conv2 = nn.Conv2d(output_size, output_size, kernel_size=3, stride=self.second_stride)
        self.conv3 = nn.Conv2d(output_size, output_size, kernel_size=3, stride=2) if num_halvings == 3 else None
        self.min_frames = MIN_CONV2D if self.conv3 is None else MIN_CONV2D8
        self.out = nn.Linear(output_size * self._outputs(input_size), output_size)

    def forward(self, feats_BFD: Tensor, lengths_B: Tensor) -> Tensor:
        feats_BFD = zero_padding(feats_BFD, lengths_B)
        missing = self.min_frames - feats_BFD.shape[1]
        if missing > 0:
            feats_BFD = nn.functional.pad(feats_BFD, (0, 0, 0, missing))
        maps_BFDH = self._maps(feats_BFD).relu_()  # in place: maps are large, and a convolution keeps its input alone
        if self.conv3 is not None:
            maps_BFDH = self.conv3(maps_BFDH.permute(0, 3, 1, 2)).relu_().permute(0, 2, 3, 1)
        return nn.functional.linear(maps_BFDH.flatten(2), self._out_weight(), self.out.bias)

    def _maps(self, feats_BFD: Tensor) -> Tensor:
        """The first two convolutions. Channels last from the strides of the input on: what oneDNN and tensor cores like best,
        and no copy before the linear layer."""
        fast = self.fewer_products and feats_BFD.device.type == "cpu" and self.second_stride == 1
        fast = fast and is_worth_it(self.conv1.out_channels, _product_dtype(feats_BFD))
        height, width = ((size - 1) // 2 for size in feats_BFD.shape[1:])
        if fast:  # wants an even number of rows and columns; what they are made from does not matter
            wanted = [2 * (size + size % 2) + 1 for size in (height, width)]
            missing_frames, missing_features = (n - size for n, size in zip(wanted, feats_BFD.shape[1:], strict=True))
            feats_BFD = nn.functional.pad(feats_BFD, (0, missing_features, 0, missing_frames))
        maps_BHFD = self.conv1(feats_BFD[..., None].permute(0, 3, 1, 2)).relu_()
        if not fast:
            convolved_BHFD: Tensor = self.conv2(maps_BHFD)
            return convolved_BHFD.permute(0, 2, 3, 1)
        assert self.conv2.bias is not None, "made with one"
        maps_BFDH = maps_BHFD.permute(0, 2, 3, 1)
        return conv3x3(maps_BFDH, self.conv2.weight, self.conv2.bias, height=height - 2, width=width - 2)

    def _out_weight(self) -> Tensor:
        """The weight of `out` for maps in channels-last order. The parameter itself is ordered as ESPnet's, channels first."""
        return self.out.weight.unflatten(1, (self.conv2.out_channels, -1)).transpose(1, 2).flatten(1)

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return self._outputs(lengths_B.clamp(min=self.min_frames))

    def _outputs(self, inputs: Size) -> Size:
        """What the convolutions leave of so many frames or features."""
        outputs = ((inputs - 3) // 2 - 2) // self.second_stride + 1
        return outputs if self.conv3 is None else (outputs - 1) // 2


class StridedConv1d(Frontend):
    """`num_layers` convolutions over time, kernel 3, stride 2, a ReLU after each: every one halves the frames, rounding
    up. Padding is set to zero before each, so an utterance sees the same zeros at its end alone and in a batch."""

    def __init__(self, input_size: int, output_size: int, *, num_layers: int) -> None:
        super().__init__()
        sizes = [input_size] + [output_size] * num_layers
        self.convs = nn.ModuleList(
            nn.Conv1d(size_in, size_out, kernel_size=3, stride=2, padding=1) for size_in, size_out in pairwise(sizes)
        )

    def forward(self, feats_BFD: Tensor, lengths_B: Tensor) -> Tensor:
        for conv in self.convs:
            feats_BFD = conv(zero_padding(feats_BFD, lengths_B).transpose(1, 2)).relu().transpose(1, 2)
            lengths_B = _halved(lengths_B)
        return feats_BFD

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        for _ in self.convs:
            lengths_B = _halved(lengths_B)
        return lengths_B.clamp(min=1)


class LinearFrontend(Frontend):
    """A linear layer; the frame rate stays."""

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.out = nn.Linear(input_size, output_size)

    def forward(self, feats_BFD: Tensor, lengths_B: Tensor) -> Tensor:
        values_BFH: Tensor = self.out(feats_BFD)
        return values_BFH

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return lengths_B.clamp(min=1)


def _product_dtype(values: Tensor) -> torch.dtype:
    """What a convolution on a CPU computes `values` in."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else values.dtype


def _halved(lengths_B: Tensor) -> Tensor:
    return (lengths_B + 1) // 2
