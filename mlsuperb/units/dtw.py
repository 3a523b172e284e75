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
    total_XYP = np.empty_like(costs_XYP)
    cells_XYP = np.empty((num_x, num_y, num_pairs), np.int32)
    total_XYP[0] = costs_XYP[0].cumsum(0)
    total_XYP[:, 0] = costs_XYP[:, 0].cumsum(0)
    cells_XYP[0] = np.arange(1, num_y + 1)[:, None]
    cells_XYP[:, 0] = np.arange(1, num_x + 1)[:, None]
    for x in range(1, num_x):
        for y in range(1, num_y):
            diagonal_P, left_P, up_P = total_XYP[x - 1, y - 1], total_XYP[x, y - 1], total_XYP[x - 1, y]
            side_P = np.minimum(left_P, up_P)
            total_XYP[x, y] = costs_XYP[x, y] + np.minimum(diagonal_P, side_P)
            side_cells_P = np.where(left_P <= up_P, cells_XYP[x, y - 1], cells_XYP[x - 1, y])
            cells_XYP[x, y] = np.where(diagonal_P <= side_P, cells_XYP[x - 1, y - 1], side_cells_P) + 1
    ends = x_lengths_P - 1, y_lengths_P - 1, np.arange(num_pairs)
    mean_P: np.ndarray = total_XYP[ends] / cells_XYP[ends].astype(np.float32)
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
