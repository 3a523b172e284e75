"""What is taken from faiss (arXiv 1702.08734): OPQ, exact search on a GPU, an HNSW graph. The library is an extra, and imported
when it is needed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from mlsuperb.runtime.device import device_in_use

INSTALL_HINT = "pip install 'mlsuperb[cpu]' (or 'mlsuperb[cuda]', which can train on a GPU)"
NUM_CODEWORDS = 256  # of each sub-space while OPQ trains: it needs as many frames at least
# mHuBERT-147's `IVF1000_HNSW32`, which leaves the two `ef` as faiss has them
NUM_NEIGHBOURS, EF_CONSTRUCTION, EF_SEARCH = 32, 40, 16


def import_faiss() -> Any:
    """The library.

    Raises:
        ValueError: it is not installed.
    """
    # it tells, with tracebacks, which builds it does not find
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    try:
        import faiss
    except ImportError as error:
        raise ValueError(f"this codebook needs faiss, which is not installed. Run: {INSTALL_HINT}") from error
    return faiss


def faiss_problems() -> list[str]:
    """Why faiss cannot be used, if so."""
    try:
        import_faiss()
    except ValueError as error:
        return [str(error)]
    return []


def gpu_resources() -> Any | None:
    """What the searches of a training share on the GPU that this process computes on, faiss' pool of 1.5 GiB; it is given back
    with the last reference. None where faiss knows of no GPU, or the process computes on none."""
    if device_in_use().type != "cuda" or not import_faiss().get_num_gpus():
        return None
    return import_faiss().StandardGpuResources()


def gpu_search(size: int, resources: Any | None) -> Any | None:
    """Exact search among points of this size on this process's GPU; None without `gpu_resources`."""
    if resources is None:
        return None
    faiss = import_faiss()
    return faiss.index_cpu_to_gpu(resources, device_in_use().index, faiss.IndexFlatL2(size))


@contextmanager
def lent(owner: Any, field: str, value: Any | None) -> Iterator[None]:
    """Inside, a pointer of faiss leads to an object of Python's, which would else be nobody's: Python gives up what it assigns
    to a pointer, and faiss does not free what it was lent."""
    if value is None:
        yield
        return
    setattr(owner, field, value)
    value.thisown = True
    try:
        yield
    finally:
        setattr(owner, field, None)


@contextmanager
def opq_training(rotation: Any, resources: Any | None) -> Iterator[None]:
    """Inside, an OPQ matrix trains with `gpu_resources` if there are any, and without a warning of faiss for each iteration and
    sub-space. For other transforms, and None, nothing changes."""
    faiss = import_faiss()
    if not isinstance(rotation, faiss.OPQMatrix):
        yield
        return
    # what it makes for itself, of 8 bits, which are 256 codewords
    quantiser = faiss.ProductQuantizer(rotation.d_out, rotation.M, 8)
    quantiser.cp.min_points_per_centroid = 1
    search = gpu_search(rotation.d_out // rotation.M, resources)
    with lent(quantiser, "assign_index", search), lent(rotation, "pq", quantiser):
        yield


def matrix_of(rotation: Any) -> torch.Tensor:
    """(D, P) fp32: what a trained linear transform multiplies frames with."""
    matrix_PD = import_faiss().vector_to_array(rotation.A).reshape(rotation.d_out, rotation.d_in)
    return torch.from_numpy(matrix_PD.T.copy())


def hnsw_graph(centroids_KP: np.ndarray) -> Any:
    """The graph over the centroids in which mHuBERT-147's index looks for the nearest one."""
    faiss = import_faiss()
    graph = faiss.IndexHNSWFlat(centroids_KP.shape[1], NUM_NEIGHBOURS)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = EF_CONSTRUCTION, EF_SEARCH
    with faiss_training():
        graph.add(np.ascontiguousarray(centroids_KP, dtype=np.float32))
    return graph


@contextmanager
def faiss_training() -> Iterator[None]:
    """What faiss trains in here depends on data and seed alone, not on the number of threads: it uses one. With more, sums
    round differently, which OPQ's iterations magnify, and points enter a graph in another order.

    Distances are computed by products of matrices from 20 points on, as up to faiss 1.7.4, with which mHuBERT-147 was made.
    Later versions do so from 128,000 points on, and OPQ takes ten times as long with that.
    """
    faiss = import_faiss()
    threads, threshold = faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold
    faiss.omp_set_num_threads(1)
    faiss.cvar.distance_compute_blas_threshold = 20
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
        faiss.cvar.distance_compute_blas_threshold = threshold
