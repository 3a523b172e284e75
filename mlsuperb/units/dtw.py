"""Distances of sequences of frames along the path of dynamic time warping, many pairs at a time. Letters: P pairs, X and Y frames
of the two sequences of a pair, S frames of the longer one, F all frames, D feature size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

Distance = Literal["angular", "euclidean", "identical"]
_VALUES_AT_A_TIME = 2**23  # features of one side of the pairs that are compared at a time: 32 MB


def sequence_distances(
    frames_FD: np.ndarray,
    *,
    starts_P: tuple[np.ndarray, np.ndarray],
    lengths_P: tuple[np.ndarray, np.ndarray],
    distance: Distance,
) -> np.ndarray:
    """The distance (P,) of each pair of sequences: the mean distance of their frames along the warping path.

    Args:
        frames_FD: in which the sequences are found; (F,) for units.
        starts_P: the first frames of the first and of the second sequences.
        lengths_P: how many frames each of them has, at least one.
        distance: of two frames: `angular`, the angle over pi, from 0 to 1 (0.5 from a frame of zeros to any other one);
            `euclidean`; `identical`, 0 for the same unit and 1 for others.
    """
    frames_FD, of_frames = _prepared(frames_FD, distance)
    size = frames_FD.shape[1] if frames_FD.ndim == 2 else 1
    order = np.lexsort((lengths_P[1], lengths_P[0]))  # pairs of like lengths together: less padding
    found_P = np.zeros(len(order), np.float32)
    done = 0
    while done < len(order):
        longest = max(int(lengths.max()) for lengths in (lengths_P[0][order[done:]], lengths_P[1][order[done:]]))
        chunk = order[done : done + max(1, _VALUES_AT_A_TIME // (longest * max(size, longest)))]
        sequences = (
            frames_FD[starts[chunk][:, None] + np.minimum(np.arange(lengths[chunk].max()), lengths[chunk][:, None] - 1)]
            for starts, lengths in zip(starts_P, lengths_P, strict=True)
        )
        found_P[chunk] = warped(of_frames(*sequences), lengths_P[0][chunk], lengths_P[1][chunk])
        done += len(chunk)
    return found_P


def warped(costs_PXY: np.ndarray, x_lengths_P: np.ndarray, y_lengths_P: np.ndarray) -> np.ndarray:
    """The mean cost (P,) along the cheapest path from the first frames of two sequences to their last ones.

    A step goes on in one sequence or in both. The total cost is divided by the number of cells on the path that is found by
    going back from the end; of equally cheap predecessors it takes the diagonal one, then the one before in y, as in
    libri-light's `dtw.pyx` and in fastabx. The length of that path is carried along with the costs here.
    """
    costs_XYP = np.ascontiguousarray(costs_PXY.transpose(1, 2, 0), np.float32)
    num_x, num_y, num_pairs = costs_XYP.shape
    ends_P = x_lengths_P + y_lengths_P - 2  # the diagonals on which the pairs end
    mean_P = np.empty(num_pairs, np.float32)
    # Row x + 1 of a diagonal d is the cell (x, d - x); rows of cells outside the table stay infinite
    before, last, current = (
        (np.full((num_x + 1, num_pairs), np.inf, np.float32), np.zeros((num_x + 1, num_pairs), np.int32))
        for _ in range(3)
    )
    before[0][0] = 0  # from which the first cell is entered
    for d in range(num_x + num_y - 1):
        low, high = max(0, d - num_y + 1), min(num_x, d + 1)
        x, here = np.arange(low, high), slice(low + 1, high + 1)
        (diagonal, left, up), (diagonal_cells, left_cells, up_cells) = (
            (before[kind][low:high], last[kind][here], last[kind][low:high]) for kind in (0, 1)
        )
        side = np.minimum(left, up)
        np.add(costs_XYP[x, d - x], np.minimum(diagonal, side), out=current[0][here])
        side_cells = np.where(left <= up, left_cells, up_cells)
        np.add(np.where(diagonal <= side, diagonal_cells, side_cells), 1, out=current[1][here])
        before[0][0] = np.inf
        ending = np.flatnonzero(ends_P == d)
        total, cells = (values[x_lengths_P[ending], ending] for values in current)
        mean_P[ending] = total / cells.astype(np.float32)
        before, last, current = last, current, before
    return mean_P


def _prepared(frames_FD: np.ndarray, distance: Distance) -> tuple[np.ndarray, Callable[..., np.ndarray]]:
    """The frames as a distance needs them, and the distance of all frames of pairs: (P, X, D), (P, Y, D) -> (P, X, Y)."""
    if distance == "identical":
        return frames_FD, lambda x_PX, y_PY: (x_PX[:, :, None] != y_PY[:, None]).astype(np.float32)
    if distance == "euclidean":
        return frames_FD.astype(np.float64), _euclidean
    frames_FD = frames_FD.astype(np.float32)
    norms_F1 = np.linalg.norm(frames_FD, axis=1, keepdims=True)
    return frames_FD / np.where(norms_F1 > 0, norms_F1, 1), _angular


def _angular(x_PXD: np.ndarray, y_PYD: np.ndarray) -> np.ndarray:
    return np.arccos(np.clip(x_PXD @ y_PYD.swapaxes(1, 2), -1, 1)) / np.float32(np.pi)


def _euclidean(x_PXD: np.ndarray, y_PYD: np.ndarray) -> np.ndarray:
    squares_PXY = np.square(x_PXD).sum(2)[:, :, None] + np.square(y_PYD).sum(2)[:, None]
    return np.sqrt(np.clip(squares_PXY - 2 * x_PXD @ y_PYD.swapaxes(1, 2), 0, None))
