"""A 3 x 3 convolution with less than half the multiplications: Winograd's F(2 x 2, 3 x 3) (Lavin and Gray, arXiv 1509.09308,
section 4.1). A CPU spends most of a training step on a frozen upstream in one such convolution, which oneDNN computes directly
at the full speed of the processor; only fewer multiplications make it faster. (cuDNN chooses such algorithms by itself.)

Each tile of 2 x 2 outputs is made from 4 x 4 inputs d and the 3 x 3 weights g: A'[(G g G') * (B' d B)]A, where the product of
all tiles in each of the 16 places is one matrix product over the channels. The transforms are sums of a few maps, in the type of
the maps: in bfloat16 the rounding error is 2 to 3 times that of the direct way. They are done for some rows of tiles at a time,
which bounds the memory.

Letters: N maps, H rows, W columns, C channels in, K channels out; X rows of tiles, Y tiles in a row, P the 16 places in a tile.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mlsuperb.runtime.measure import thread_seconds

log = logging.getLogger(__name__)

HEIGHT, WIDTH = 20, 38  # of outputs that are measured: 0.5 s of audio behind a projection to 80
MIN_CHANNELS = 256  # of fewer the convolution is a small part of a step
SLOWER = 1.5  # times as slow it has to be not to be used, so that a run that is resumed decides as before
ROWS = 80  # of tiles at a time: of 19 tiles with 256 channels, 25 MB in fp32
G = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))


@cache
def is_worth_it(channels: int, dtype: torch.dtype) -> bool:
    """Whether a CPU should compute convolutions of so many channels this way: unless torch's own are clearly faster here, as
    where the processor multiplies matrices so fast (AMX) that the transforms cost more than they save. Measured once per
    process, on a short piece, which favours torch's."""
    if channels < MIN_CHANNELS:
        return True
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        maps_NHWC = torch.ones(1, HEIGHT + 2, WIDTH + 2, channels, dtype=dtype, requires_grad=True)
        weight_KC33 = torch.ones(channels, channels, 3, 3, requires_grad=True)
        bias_K = torch.zeros(channels, requires_grad=True)

        def ours() -> None:
            conv3x3(maps_NHWC, weight_KC33, bias_K, height=HEIGHT, width=WIDTH).sum().backward()

        def torchs() -> None:
            weights = (weight_KC33.to(dtype), bias_K.to(dtype))
            torch.nn.functional.conv2d(maps_NHWC.permute(0, 3, 1, 2), *weights).sum().backward()

        taken_s = thread_seconds({"Winograd's": ours, "torch's": torchs})
    worth_it = taken_s["Winograd's"] < SLOWER * taken_s["torch's"]
    shown = ", ".join(f"{name} algorithm {1000 * one_s:.0f} ms" for name, one_s in taken_s.items())
    log.info("3 x 3 convolutions by %s algorithm (%s)", "Winograd's" if worth_it else "torch's", shown)
    return worth_it


def conv3x3(maps_NHWC: Tensor, weight_KC33: Tensor, bias_K: Tensor, *, height: int, width: int) -> Tensor:
    """(N, height, width, K): the first outputs of a convolution without padding. `maps_NHWC` has 2 rows and columns more than
    these, rounded up to even numbers. Weights are used in the type of the maps."""
    values: Tensor = _Conv3x3.apply(maps_NHWC, weight_KC33, bias_K, height, width)
    return values


class _Conv3x3(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps_NHWC: Tensor, weight_KC33: Tensor, bias_K: Tensor, height: int, width: int) -> Tensor:
        out_NHWK = maps_NHWC.new_empty(len(maps_NHWC), height, width, len(weight_KC33))
        with torch.autocast("cpu", enabled=False):
            weight_PCK = _weight_to_places(weight_KC33).to(maps_NHWC.dtype)
            ctx.save_for_backward(maps_NHWC, weight_PCK)
            ctx.weight_dtype = weight_KC33.dtype
            for maps, rows, tiles_PNXYC in _blocks(maps_NHWC):
                made_PNXYK = _product(tiles_PNXYC, weight_PCK)
                made_PNXYK[5] += bias_K  # the one place that goes once into each of the four outputs
                _from_places(made_PNXYK, out_NHWK[maps, rows])
        return out_NHWK

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NHWK: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        maps_NHWC, weight_PCK = ctx.saved_tensors
        grad_maps_NHWC = torch.zeros_like(maps_NHWC)
        grad_weight_PCK = torch.zeros(weight_PCK.shape)
        grad_bias_K = torch.zeros(weight_PCK.shape[2])
        for maps, rows, tiles_PNXYC in _blocks(maps_NHWC):
            grad_PNXYK = _to_places(grad_NHWK[maps, rows], like_PNXYC=tiles_PNXYC)
            _add_from_tiles(
                _product(grad_PNXYK, weight_PCK.transpose(1, 2)), grad_maps_NHWC[maps, rows.start : rows.stop + 2]
            )
            grad_bias_K += grad_PNXYK[5].float().sum((0, 1, 2))  # as in `forward`
            grad_weight_PCK += torch.bmm(tiles_PNXYC.flatten(1, 3).transpose(1, 2), grad_PNXYK.flatten(1, 3))
        g = torch.tensor(G)
        grad_weight_KC33 = torch.einsum("ia,jb,ijck->kcab", g, g, grad_weight_PCK.unflatten(0, (4, 4)))
        return grad_maps_NHWC, grad_weight_KC33.to(ctx.weight_dtype), grad_bias_K, None, None


def _blocks(maps_NHWC: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """About `ROWS` rows of tiles at a time: their maps, their rows of outputs, their transformed inputs."""
    num_maps, num_tile_rows = len(maps_NHWC), maps_NHWC.shape[1] // 2 - 1
    maps_at_once = max(1, ROWS // num_tile_rows)
    for first in range(0, num_maps, maps_at_once):
        maps = slice(first, first + maps_at_once)
        for first_row in range(0, num_tile_rows, ROWS):
            rows = slice(2 * first_row, 2 * min(first_row + ROWS, num_tile_rows))
            yield maps, rows, _to_tiles(maps_NHWC[maps, rows.start : rows.stop + 2])


def _product(tiles_PNXYC: Tensor, weight_PCK: Tensor) -> Tensor:
    return torch.bmm(tiles_PNXYC.flatten(1, 3), weight_PCK).unflatten(1, tiles_PNXYC.shape[1:4])


def _weight_to_places(weight_KC33: Tensor) -> Tensor:
    """G g G' (P, C, K), in fp32."""
    g = torch.tensor(G)
    return torch.einsum("ia,jb,kcab->ijck", g, g, weight_KC33.float()).flatten(0, 1)


def _to_tiles(maps_NHWC: Tensor) -> Tensor:
    """B' d B (P, N, X, Y, C) of overlapping tiles."""
    num_maps, height, width, channels = maps_NHWC.shape
    num_rows, num_columns = height // 2 - 1, width // 2 - 1
    tiles = maps_NHWC.new_empty(4, 4, num_maps, num_rows, num_columns, channels)
    d0, d1, d2, d3 = (maps_NHWC[:, i : i + 2 * num_rows : 2] for i in range(4))
    for out, part in zip(tiles, (d0 - d2, d1 + d2, d2 - d1, d1 - d3), strict=True):
        d0, d1, d2, d3 = (part[:, :, i : i + 2 * num_columns : 2] for i in range(4))
        torch.sub(d0, d2, out=out[0])
        torch.add(d1, d2, out=out[1])
        torch.sub(d2, d1, out=out[2])
        torch.sub(d1, d3, out=out[3])
    return tiles.flatten(0, 1)


def _from_places(made_PNXYK: Tensor, out_NHWK: Tensor) -> None:
    """A' m A, as far as there is room in `out_NHWK`."""
    m0, m1, m2, m3 = made_PNXYK.unflatten(0, (4, 4))
    for i, (s0, s1, s2, s3) in enumerate(((m0 + m1).add_(m2), (m1 - m2).sub_(m3))):
        for j, (first, second, third, sign) in enumerate(((s0, s1, s2, 1), (s1, s2, s3, -1))):
            out = out_NHWK[:, i::2, j::2]
            rows, columns = out.shape[1:3]
            torch.add(first[:, :rows, :columns], second[:, :rows, :columns], alpha=sign, out=out)
            out.add_(third[:, :rows, :columns], alpha=sign)


def _to_places(grad_NHWK: Tensor, *, like_PNXYC: Tensor) -> Tensor:
    """A d A' (P, N, X, Y, K): the adjoint of `_from_places`, of outputs that are zero where there was no room."""
    num_maps, num_rows, num_columns = like_PNXYC.shape[1:4]
    height, width, size = grad_NHWK.shape[1:]
    if (height, width) != (2 * num_rows, 2 * num_columns):
        grad_NHWK = torch.nn.functional.pad(grad_NHWK, (0, 0, 0, 2 * num_columns - width, 0, 2 * num_rows - height))
    places = grad_NHWK.new_empty(4, 4, num_maps, num_rows, num_columns, size)
    even, odd = grad_NHWK[:, 0::2], grad_NHWK[:, 1::2]
    for out, part in zip(places, (even, even + odd, even - odd, -odd), strict=True):
        left, right = part[:, :, 0::2], part[:, :, 1::2]
        out[0] = left
        torch.add(left, right, out=out[1])
        torch.sub(left, right, out=out[2])
        torch.neg(right, out=out[3])
    return places.flatten(0, 1)


def _add_from_tiles(grad_PNXYC: Tensor, grad_maps_NHWC: Tensor) -> None:
    """Adds B d B' to `grad_maps_NHWC`: the adjoint of `_to_tiles`."""
    num_maps, num_rows, num_columns, channels = grad_PNXYC.shape[1:]
    d0, d1, d2, d3 = grad_PNXYC.unflatten(0, (4, 4)).unbind(1)
    columns = grad_PNXYC.new_empty(4, num_maps, num_rows, 2 * num_columns + 2, channels)
    columns[..., -2:, :] = 0
    every_second = [columns[..., i : i + 2 * num_columns : 2, :] for i in range(4)]
    every_second[0].copy_(d0)
    torch.sub(d1, d2, out=every_second[1]).add_(d3)
    every_second[2].add_((d1 + d2).sub_(d0))
    every_second[3].sub_(d3)
    p0, p1, p2, p3 = columns
    rows = [grad_maps_NHWC[:, i : i + 2 * num_rows : 2] for i in range(4)]
    rows[0].add_(p0)
    rows[1].add_((p1 - p2).add_(p3))
    rows[2].add_((p1 + p2).sub_(p0))
    rows[3].sub_(p3)
