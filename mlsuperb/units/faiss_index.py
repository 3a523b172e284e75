"""mHuBERT-147's units, by an index of faiss. Letters: F frames, D feature size, P projected size, K units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from mlsuperb.runtime.messages import one_line
from mlsuperb.units.clustering import NumUnits, checked, recorded, refuse_problems
from mlsuperb.units.codebook import Codebook
from mlsuperb.units.faiss_parts import (
    NUM_NEIGHBOURS,
    faiss_problems,
    faiss_training,
    gpu_resources,
    gpu_search,
    import_faiss,
    lent,
    matrix_of,
    opq_training,
)


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

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        """What can be seen without features: a string that makes no such index, a library that is not installed."""
        if found := faiss_problems():
            return found
        try:
            cls(**settings)._parts(768)
        except ValueError as error:
            return [str(error)]
        return []

    def fit(self, features_FD: np.ndarray, *, rate_hz: float, seed: int, record: Mapping[str, Any]) -> Codebook:
        refuse_problems(self)
        faiss = import_faiss()
        features_FD = checked(features_FD, num_units=self.num_units, opq="OPQ" in self.factory)
        index, lists, transform = self._parts(features_FD.shape[1])
        lists.cp.seed, lists.cp.min_points_per_centroid = seed % 2**31, 1
        resources = gpu_resources()
        search = gpu_search(lists.d, resources)
        with faiss_training(), opq_training(transform, resources), lent(lists, "clustering_index", search):
            index.train(features_FD)
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
        return index, lists, transforms[0] if transforms else None
