"""Ways to find the units of a codebook among frames. Letters: F frames, D feature size, P projected size, K units."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Protocol

import numpy as np
import torch
from pydantic import Field, PositiveInt

from mlsuperb.units.codebook import MAX_UNITS, Codebook
from mlsuperb.units.faiss_parts import (
    NUM_CODEWORDS,
    faiss_problems,
    faiss_training,
    gpu_resources,
    gpu_search,
    import_faiss,
    matrix_of,
    opq_training,
)

log = logging.getLogger(__name__)

NumUnits = Annotated[int, Field(ge=2, le=MAX_UNITS)]
MIN_POINTS_PER_UNIT = 39  # below this faiss warns (`ClusteringParameters.min_points_per_centroid`)
_PIECE = 2**16  # frames that are checked at a time


class Clustering(Protocol):
    """A way to find the centroids of a codebook; a dataclass of its settings."""

    num_units: int

    def fit(self, features_FD: np.ndarray, *, rate_hz: float, seed: int, record: Mapping[str, Any]) -> Codebook:
        """A codebook of `num_units` units. Its record is `record` and, under `clustering`, how it was made.

        Args:
            features_FD: float32.
            rate_hz: frames per second.
            seed: the same seed and features give the same codebook, with faiss whatever the number of threads.
            record: what the features are.

        Raises:
            ValueError: the features cannot be clustered like this, or a library is not installed.
        """
        ...


@dataclass(kw_only=True)
class FaissKMeans:
    """k-means after OPQ's projection, both trained by faiss as in mHuBERT-147's index (`FaissIndex`), with exact search in
    place of its graph.

    Args:
        num_units: K.
        projected_size: features are rotated and projected to this size by optimised product quantisation (Ge et al. 2013;
            on 65,536 frames at most, as faiss has it); null: k-means in the space of the features.
        num_subspaces: of OPQ; `projected_size` is a multiple of it.
        opq_iterations: of OPQ (50 in faiss), which take most of the time of the training.
        iterations: of k-means (10 in faiss' IVF indices).
        max_points_per_unit: k-means looks at this many frames for each unit at most, drawn at random.
    """

    num_units: NumUnits
    projected_size: PositiveInt | None = 64
    num_subspaces: PositiveInt = 16
    opq_iterations: PositiveInt = 50
    iterations: PositiveInt = 10
    max_points_per_unit: PositiveInt = 256

    @classmethod
    def problems(cls, *, projected_size: int | None, num_subspaces: int, **_: Any) -> list[str]:
        """What can be seen without features: a projection that OPQ cannot make, a library that is not installed."""
        found = faiss_problems()
        if projected_size is not None and projected_size % num_subspaces:
            found.append(
                f"clustering.projected_size={projected_size} cannot be divided into clustering.num_subspaces={num_subspaces} "
                f"sub-spaces of one size. Give a multiple, such as {4 * num_subspaces}, or null"
            )
        return found

    def fit(self, features_FD: np.ndarray, *, rate_hz: float, seed: int, record: Mapping[str, Any]) -> Codebook:
        refuse_problems(self)
        faiss = import_faiss()
        features_FD = checked(features_FD, num_units=self.num_units, opq=self.projected_size is not None)
        parameters = faiss.ClusteringParameters()
        parameters.niter, parameters.seed = self.iterations, seed % 2**31
        parameters.max_points_per_centroid, parameters.min_points_per_centroid = self.max_points_per_unit, 1
        resources = gpu_resources()
        with faiss_training():
            projection_DP, points_FP = self._projected(features_FD, resources)
            size = points_FP.shape[1]
            kmeans = faiss.Clustering(size, self.num_units, parameters)
            kmeans.train(points_FP, gpu_search(size, resources) or faiss.IndexFlatL2(size))
        centroids_KP = torch.from_numpy(faiss.vector_to_array(kmeans.centroids).reshape(self.num_units, -1))
        book = Codebook(centroids_KP=centroids_KP, projection_DP=projection_DP, rate_hz=rate_hz, record=record)
        stats = kmeans.iteration_stats
        return recorded(
            book, features_FD, settings=self, library=f"faiss {faiss.__version__}",
            frames_used=min(len(features_FD), self.num_units * self.max_points_per_unit),
            objective=[stats.at(number).obj for number in range(stats.size())],
        )  # fmt: skip

    def _projected(self, features_FD: np.ndarray, resources: Any | None) -> tuple[torch.Tensor | None, np.ndarray]:
        """OPQ's projection (D, P), and the frames after it (F, P)."""
        if self.projected_size is None:
            return None, features_FD
        rotation = import_faiss().OPQMatrix(features_FD.shape[1], self.num_subspaces, self.projected_size)
        rotation.niter = self.opq_iterations
        with opq_training(rotation, resources):
            rotation.train(features_FD)
        return matrix_of(rotation), rotation.apply(features_FD)


@dataclass(kw_only=True)
class MiniBatchKMeans:
    """scikit-learn's mini-batch k-means with the settings of fairseq's `learn_kmeans.py`, by which HuBERT's units were found;
    the search for labels is exact.

    Args:
        num_units: K.
        max_iterations: passes over the frames at most.
        batch_size: frames in a step.
        num_starts: beginnings by k-means++, of which the best is taken.
        max_no_improvement: stop after this many steps in which the smoothed inertia did not fall.
    """

    num_units: NumUnits
    max_iterations: PositiveInt = 100
    batch_size: PositiveInt = 10_000
    num_starts: PositiveInt = 20
    max_no_improvement: PositiveInt = 100

    def fit(self, features_FD: np.ndarray, *, rate_hz: float, seed: int, record: Mapping[str, Any]) -> Codebook:
        import sklearn
        from sklearn import cluster

        features_FD = checked(features_FD, num_units=self.num_units, opq=False)
        kmeans = cluster.MiniBatchKMeans(
            n_clusters=self.num_units, init="k-means++", max_iter=self.max_iterations, batch_size=self.batch_size,
            tol=0.0, max_no_improvement=self.max_no_improvement, n_init=self.num_starts, reassignment_ratio=0.0,
            compute_labels=False, random_state=seed % 2**32,
        ).fit(features_FD)  # fmt: skip
        book = Codebook(
            centroids_KP=torch.from_numpy(np.float32(kmeans.cluster_centers_)), rate_hz=rate_hz, record=record
        )
        return recorded(
            book, features_FD, settings=self, library=f"scikit-learn {sklearn.__version__}",
            frames_used=len(features_FD), steps=int(kmeans.n_steps_), objective=[float(kmeans.inertia_)],
        )  # fmt: skip


def refuse_problems(clustering: Any) -> None:
    """Check the settings of a clustering once more, where no configuration was checked.

    Raises:
        ValueError: they cannot be used.
    """
    if found := clustering.problems(**asdict(clustering)):
        raise ValueError("; ".join(found))


def checked(features_FD: np.ndarray, *, num_units: int, opq: bool) -> np.ndarray:
    """The features as faiss wants them: float32, row after row.

    Raises:
        ValueError: they are no frames of finite numbers, or too few.
    """
    if features_FD.ndim != 2 or not features_FD.shape[1] or features_FD.dtype.kind != "f":
        raise ValueError(
            f"features to cluster are frames x size, of floating point numbers; these are {features_FD.dtype} of shape "
            f"{features_FD.shape}. Concatenate the frames of all utterances"
        )
    num, sensible = len(features_FD), MIN_POINTS_PER_UNIT * num_units
    if num < (needed := max(num_units, NUM_CODEWORDS if opq else 0)):
        raise ValueError(
            f"{num:,} frames cannot be clustered into {num_units:,} units{' after OPQ' if opq else ''}: at least {needed:,} are "
            f"needed, and {sensible:,} make sense. Encode more speech, or lower clustering.num_units"
        )
    for start in range(0, num, _PIECE):
        finite_F = np.isfinite(features_FD[start : start + _PIECE]).all(1)
        if not finite_F.all():
            raise ValueError(
                f"frame {start + int(finite_F.argmin()):,} of {num:,} holds NaN or infinity, so nothing can be clustered. The "
                "upstream gave it: compute it in fp32 or bf16 (fp16 overflows), and look for damaged audio"
            )
    if num < sensible:
        log.warning(
            "%s frames are few for %s units: faiss asks for %s at least, %d for each. Expect units that stand for a few frames",
            f"{num:,}", f"{num_units:,}", f"{sensible:,}", MIN_POINTS_PER_UNIT,
        )  # fmt: skip
    return np.ascontiguousarray(features_FD, dtype=np.float32)


def recorded(book: Codebook, features_FD: np.ndarray, *, settings: Any, library: str, **facts: Any) -> Codebook:
    """The codebook with how it was made in its record, and how many of its units stand for none of the frames."""
    labels_F = book.assign(torch.from_numpy(features_FD))
    empty = int((torch.bincount(labels_F, minlength=book.num_units) == 0).sum())
    made = {
        "class": type(settings).__name__,
        "settings": asdict(settings),
        "library": library,
        "frames": len(features_FD),
    }
    return replace(book, record={**book.record, "clustering": made | facts | {"empty_units": empty}})
