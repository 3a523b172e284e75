"""Ways to find the units of a codebook among frames. Letters: F frames, D feature size, P projected size, K units."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import torch
from pydantic import Field, PositiveInt

from mlsuperb.runtime.messages import one_line
from mlsuperb.units.codebook import MAX_UNITS, Codebook
from mlsuperb.units.faiss_parts import (
    NUM_CODEWORDS,
    NUM_NEIGHBOURS,
    faiss_training,
    gpu_search,
    import_faiss,
    matrix_of,
    prepare_opq,
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
            seed: the same seed and features give the same codebook, whatever the number of threads.
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

    def fit(self, features_FD: np.ndarray, *, rate_hz: float, seed: int, record: Mapping[str, Any]) -> Codebook:
        faiss = import_faiss()
        features_FD = checked(features_FD, num_units=self.num_units, opq=self.projected_size is not None)
        parameters = faiss.ClusteringParameters()
        parameters.niter, parameters.seed = self.iterations, seed % 2**31
        parameters.max_points_per_centroid, parameters.min_points_per_centroid = self.max_points_per_unit, 1
        with faiss_training():
            projection_DP, points_FP = self._projected(features_FD)
            kmeans = faiss.Clustering(points_FP.shape[1], self.num_units, parameters)
            kmeans.train(points_FP, gpu_search(points_FP.shape[1]) or faiss.IndexFlatL2(points_FP.shape[1]))
        centroids_KP = torch.from_numpy(faiss.vector_to_array(kmeans.centroids).reshape(self.num_units, -1))
        book = Codebook(centroids_KP=centroids_KP, projection_DP=projection_DP, rate_hz=rate_hz, record=record)
        stats = kmeans.iteration_stats
        return recorded(
            book, features_FD, settings=self, library=f"faiss {faiss.__version__}",
            frames_used=min(len(features_FD), self.num_units * self.max_points_per_unit),
            objective=[stats.at(number).obj for number in range(stats.size())],
        )  # fmt: skip

    def _projected(self, features_FD: np.ndarray) -> tuple[torch.Tensor | None, np.ndarray]:
        """OPQ's projection (D, P), and the frames after it (F, P)."""
        if self.projected_size is None:
            return None, features_FD
        if self.projected_size % self.num_subspaces:
            raise ValueError(
                f"clustering.projected_size={self.projected_size} cannot be divided into clustering.num_subspaces="
                f"{self.num_subspaces} sub-spaces of one size. Give a multiple, such as {4 * self.num_subspaces}, or null"
            )
        rotation = import_faiss().OPQMatrix(features_FD.shape[1], self.num_subspaces, self.projected_size)
        rotation.niter = self.opq_iterations
        prepare_opq(rotation)
        rotation.train(features_FD)
        return matrix_of(rotation), rotation.apply(features_FD)


@dataclass(kw_only=True)
class FaissIndex:
    """mHuBERT-147's units: an index of faiss by its factory string, of which labels need the linear transform and the coarse
    centroids alone (`faiss_index_creation.py` of utter-project/mHuBERT-147-scripts).

    Args:
        num_units: K.
        factory: of the index; `{num_units}` stands for K.
        search: how the nearest centroid is looked for: in the graph of the index as there, which misses it for some frames
            in a hundred, or exactly.
    """

    num_units: NumUnits
    factory: str = "OPQ16_64,IVF{num_units}_HNSW32,PQ16x4fsr"
    search: Literal["exact", "hnsw"] = "hnsw"

    def fit(self, features_FD: np.ndarray, *, rate_hz: float, seed: int, record: Mapping[str, Any]) -> Codebook:
        faiss = import_faiss()
        features_FD = checked(features_FD, num_units=self.num_units, opq="OPQ" in self.factory)
        index, lists, transform = self._parts(features_FD.shape[1])
        lists.cp.seed, lists.cp.min_points_per_centroid = seed % 2**31, 1
        lists.clustering_index = on_gpu = gpu_search(lists.d)  # held here: the index does not keep it alive
        with faiss_training():
            index.train(features_FD)
        del on_gpu
        return recorded(
            Codebook(
                centroids_KP=torch.from_numpy(lists.quantizer.reconstruct_n(0, self.num_units)),
                projection_DP=None if transform is None else matrix_of(transform),
                rate_hz=rate_hz, record=record, search=self.search,
            ),
            features_FD, settings=self, library=f"faiss {faiss.__version__}",
            frames_used=min(len(features_FD), self.num_units * lists.cp.max_points_per_centroid),
        )  # fmt: skip

    def _parts(self, feature_size: int) -> tuple[Any, Any, Any | None]:
        """The index, its inverted lists, and the transform before them.

        Raises:
            ValueError: the factory string makes no such index.
        """
        faiss, text = import_faiss(), self.factory.replace("{num_units}", str(self.num_units))
        try:
            index = faiss.index_factory(feature_size, text)
            lists = faiss.extract_index_ivf(index)
        except RuntimeError as error:
            raise ValueError(
                f"clustering.factory={text} makes no index with inverted lists: {one_line(error)}"
            ) from error
        chain = index.chain if isinstance(index, faiss.IndexPreTransform) else None
        transforms = [faiss.downcast_VectorTransform(chain.at(at)) for at in range(chain.size())] if chain else []
        graph = getattr(faiss.downcast_index(lists.quantizer), "hnsw", None)
        if (
            len(transforms) > 1
            or any(not isinstance(one, faiss.LinearTransform) or one.have_bias for one in transforms)
            or lists.nlist != self.num_units
            or (self.search == "hnsw" and (graph is None or graph.nb_neighbors(1) != NUM_NEIGHBOURS))
        ):
            raise ValueError(
                f"clustering.factory={text} makes no codebook of {self.num_units} units with search={self.search}. It is at most "
                "one linear transform without a bias (OPQ16_64), then IVF{num_units}, with _HNSW32 if the search is hnsw"
            )
        transform = transforms[0] if transforms else None
        if isinstance(transform, faiss.OPQMatrix):
            prepare_opq(transform)
        return index, lists, transform


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
