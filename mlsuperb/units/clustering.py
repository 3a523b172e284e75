"""Ways to cluster frames of features into the units of a codebook. Letters: F frames, D feature size, P projected size, K units."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Protocol

import numpy as np
import torch
from pydantic import Field, PositiveInt

from mlsuperb.units.codebook import MAX_UNITS, Codebook

log = logging.getLogger(__name__)

NumUnits = Annotated[int, Field(ge=2, le=MAX_UNITS)]
MIN_POINTS_PER_UNIT = 39  # below this faiss warns (`ClusteringParameters.min_points_per_centroid`)
OPQ_POINTS = 256  # codewords of each sub-space while OPQ trains: it needs as many frames
INSTALL_HINT = "pip install 'mlsuperb[cpu]' (or 'mlsuperb[cuda]', which also trains on GPUs)"
_PIECE = 2**16  # frames that are checked at a time


class Clustering(Protocol):
    """A way to find the centroids of a codebook; a dataclass of its settings."""

    num_units: int

    def fit(self, features_FD: np.ndarray, *, rate_hz: float, seed: int, record: Mapping[str, Any]) -> Codebook:
        """A codebook of `num_units` units. Its record is `record` and, under `clustering`, how it was made.

        Args:
            features_FD: float32.
            rate_hz: frames per second.
            seed: the same seed and features give the same codebook.
            record: what the features are.

        Raises:
            ValueError: the features cannot be clustered like this, or a library is not installed.
        """
        ...


@dataclass(kw_only=True)
class FaissKMeans:
    """k-means after OPQ's projection, both trained by faiss (arXiv 1702.08734) as mHuBERT-147's index trains them
    (`OPQ16_64,IVF1000_...`), with exact search in place of its HNSW graph.

    Args:
        num_units: K.
        projected_size: features are rotated and projected to this size by optimised product quantisation (Ge et al. 2013;
            on 65,536 frames at most, as faiss has it); null: k-means in the space of the features.
        num_subspaces: of OPQ; `projected_size` is a multiple of it.
        opq_iterations: of OPQ (50 in faiss), which take most of the time of the training.
        iterations: of k-means (10, as faiss' IVF indices have it).
        max_points_per_unit: k-means looks at this many frames for each unit at most, drawn at random.
    """

    num_units: NumUnits
    projected_size: PositiveInt | None = 64
    num_subspaces: PositiveInt = 16
    opq_iterations: PositiveInt = 50
    iterations: PositiveInt = 10
    max_points_per_unit: PositiveInt = 256

    def fit(self, features_FD: np.ndarray, *, rate_hz: float, seed: int, record: Mapping[str, Any]) -> Codebook:
        faiss = import_faiss()
        if self.projected_size is not None and self.projected_size % self.num_subspaces:
            raise ValueError(
                f"clustering.projected_size={self.projected_size} cannot be divided into clustering.num_subspaces="
                f"{self.num_subspaces} sub-spaces of one size. Give a multiple, such as {4 * self.num_subspaces}, or null"
            )
        needed = self.num_units if self.projected_size is None else max(self.num_units, OPQ_POINTS)
        features_FD = checked(features_FD, num_units=self.num_units, at_least=needed)
        rotation, points_FP = None, features_FD
        if self.projected_size is not None:
            rotation = self._rotation(features_FD)
            points_FP = rotation.apply(features_FD)
        parameters = faiss.ClusteringParameters()
        parameters.niter, parameters.seed = self.iterations, seed % 2**31
        parameters.max_points_per_centroid = self.max_points_per_unit
        kmeans = faiss.Clustering(points_FP.shape[1], self.num_units, parameters)
        kmeans.train(points_FP, assigner(points_FP.shape[1]))
        stats = [kmeans.iteration_stats.at(number) for number in range(kmeans.iteration_stats.size())]
        return _with_record(
            Codebook(
                centroids_KP=torch.from_numpy(
                    faiss.vector_to_array(kmeans.centroids).reshape(self.num_units, -1).copy()
                ),
                projection_DP=None if rotation is None else matrix_of(rotation),
                rate_hz=rate_hz,
            ),
            features_FD,
            record,
            settings=self,
            library=f"faiss {faiss.__version__}",
            frames_used=min(len(features_FD), self.num_units * self.max_points_per_unit),
            objective=[one.obj for one in stats],
        )

    def _rotation(self, features_FD: np.ndarray) -> Any:
        """OPQ's transform, trained."""
        faiss = import_faiss()
        rotation = faiss.OPQMatrix(features_FD.shape[1], self.num_subspaces, self.projected_size)
        rotation.niter = self.opq_iterations
        quantiser = faiss.ProductQuantizer(self.projected_size, self.num_subspaces, 8)
        quantiser.cp.min_points_per_centroid = 1  # it would warn in each iteration and sub-space
        rotation.pq = quantiser
        rotation.train(features_FD)
        return rotation


@dataclass(kw_only=True)
class MiniBatchKMeans:
    """scikit-learn's mini-batch k-means with the settings of fairseq's `learn_kmeans.py`, by which HuBERT's units were
    found; the search for labels is exact.

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
        from sklearn.cluster import MiniBatchKMeans as SklearnKMeans

        features_FD = checked(features_FD, num_units=self.num_units, at_least=self.num_units)
        kmeans = SklearnKMeans(
            n_clusters=self.num_units, init="k-means++", max_iter=self.max_iterations, batch_size=self.batch_size,
            tol=0.0, max_no_improvement=self.max_no_improvement, n_init=self.num_starts, reassignment_ratio=0.0,
            compute_labels=False, random_state=seed % 2**32,
        ).fit(features_FD)  # fmt: skip
        return _with_record(
            Codebook(centroids_KP=torch.from_numpy(np.float32(kmeans.cluster_centers_)), rate_hz=rate_hz),
            features_FD,
            record,
            settings=self,
            library=f"scikit-learn {sklearn.__version__}",
            frames_used=len(features_FD),
            steps=int(kmeans.n_steps_),
        )


def import_faiss() -> Any:
    """The library.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ValueError(f"this clustering needs faiss, which is not installed. Run: {INSTALL_HINT}") from error
    return faiss


def assigner(size: int) -> Any:
    """What finds the nearest centroids while k-means trains: exact search, on all GPUs if faiss knows of any."""
    faiss = import_faiss()
    index = faiss.IndexFlatL2(size)
    return faiss.index_cpu_to_all_gpus(index) if faiss.get_num_gpus() else index


def matrix_of(rotation: Any) -> torch.Tensor:
    """(D, P) fp32 of one of faiss' linear transforms."""
    faiss = import_faiss()
    matrix_PD = faiss.vector_to_array(rotation.A)[: rotation.d_out * rotation.d_in].reshape(
        rotation.d_out, rotation.d_in
    )
    return torch.from_numpy(matrix_PD.T.copy())


def checked(features_FD: np.ndarray, *, num_units: int, at_least: int) -> np.ndarray:
    """The features as faiss wants them: float32, row after row.

    Raises:
        ValueError: they are no frames of finite numbers, or there are fewer than `at_least`.
    """
    if features_FD.ndim != 2 or not features_FD.size or features_FD.dtype.kind != "f":
        raise ValueError(
            f"features to cluster are frames x size, of floating point numbers; these are {features_FD.dtype} of shape "
            f"{features_FD.shape}. Concatenate the frames of all utterances"
        )
    num = len(features_FD)
    if num < at_least:
        raise ValueError(
            f"{num:,} frames cannot be clustered into {num_units:,} units: at least {at_least:,} are needed, and "
            f"{MIN_POINTS_PER_UNIT * num_units:,} make sense. Encode more speech, or lower clustering.num_units"
        )
    for start in range(0, num, _PIECE):
        finite_F = np.isfinite(features_FD[start : start + _PIECE]).all(1)
        if not finite_F.all():
            raise ValueError(
                f"frame {start + int(finite_F.argmin()):,} of {num:,} holds NaN or infinity, so nothing can be clustered. The "
                "upstream gave it: try fp32 (fp16 overflows), and look for damaged audio"
            )
    if num < MIN_POINTS_PER_UNIT * num_units:
        log.warning(
            "%s frames are few for %s units: faiss asks for at least %s (%s for each). Many units will stand for single frames",
            f"{num:,}", f"{num_units:,}", f"{MIN_POINTS_PER_UNIT * num_units:,}", MIN_POINTS_PER_UNIT,
        )  # fmt: skip
    return np.ascontiguousarray(features_FD, dtype=np.float32)


def _with_record(
    book: Codebook, features_FD: np.ndarray, record: Mapping[str, Any], *, settings: Any, library: str, **facts: Any
) -> Codebook:
    """The codebook with how it was made, and how many of its units no frame falls to."""
    labels_F = book.assign(torch.from_numpy(features_FD))
    empty = int((torch.bincount(labels_F, minlength=book.num_units) == 0).sum())
    about = {
        "class": type(settings).__name__,
        "settings": asdict(settings),
        "library": library,
        "frames": len(features_FD),
    }
    return Codebook(
        centroids_KP=book.centroids_KP,
        projection_DP=book.projection_DP,
        rate_hz=book.rate_hz,
        record={**record, "clustering": about | facts | {"empty_units": empty}},
    )
