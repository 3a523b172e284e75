"""Clusterings against faiss used as mHuBERT-147's scripts use it, and against clusters that are known."""

from __future__ import annotations

import gc
import logging
import sys
import weakref
from contextlib import AbstractContextManager
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import faiss
import numpy as np
import pytest
import torch
import yaml
from hydra.utils import get_object

from mlsuperb.config.options import conf_dir
from mlsuperb.units import faiss_index, faiss_parts
from mlsuperb.units.clustering import FaissKMeans, MiniBatchKMeans
from mlsuperb.units.faiss_index import FaissIndex
from mlsuperb.units.faiss_parts import faiss_training

RECORD = {"features": {"name": "hubert", "layer": 6}}
CONF = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((conf_dir() / "clustering").glob("*.yaml"))}


def blobs(
    num: int, *, size: int = 24, centres: int = 12, spread: float = 0.05, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Frames around some centres, and the centre of each."""
    rng = np.random.default_rng(seed)
    which_F = np.arange(num) % centres
    centres_KD = np.random.default_rng(99).normal(size=(centres, size)) + 2
    return (centres_KD[which_F] + spread * rng.normal(size=(num, size))).astype(np.float32), which_F


def fit(clustering: Any, features_FD: np.ndarray, *, seed: int = 0) -> Any:
    return clustering.fit(features_FD, rate_hz=50.0, seed=seed, record=RECORD)


def plain(num_units: int = 12, **changes: Any) -> FaissKMeans:
    return FaissKMeans(num_units=num_units, projected_size=None, **changes)


def few_starts(num_units: int = 12) -> MiniBatchKMeans:
    return MiniBatchKMeans(num_units=num_units, num_starts=2, max_iterations=5)


@pytest.fixture
def short_opq(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two iterations of OPQ in an index of faiss, too, in place of fifty."""

    def short(rotation: Any, resources: Any) -> AbstractContextManager[None]:
        if isinstance(rotation, faiss.OPQMatrix):
            rotation.niter = 2
        return faiss_parts.opq_training(rotation, resources)

    monkeypatch.setattr(faiss_index, "opq_training", short)


# units


@pytest.mark.parametrize("clustering", [plain(20), FaissKMeans(num_units=20, opq_iterations=2), few_starts()])
def test_units_do_not_mix_clusters_that_lie_apart(clustering: Any) -> None:
    features_FD, _ = blobs(2400)
    book = fit(clustering, features_FD)
    fresh_FD, which_F = blobs(1200, seed=5)
    labels_F = book.assign(torch.from_numpy(fresh_FD)).numpy()
    mixed = [unit for unit in set(labels_F) if len(set(which_F[labels_F == unit])) > 1]
    assert len(set(labels_F)) >= 8
    assert len(mixed) <= 3, "k-means with one random start may leave two clusters together, but few"


def test_k_means_is_as_good_as_an_independent_one() -> None:
    from sklearn.cluster import KMeans

    features_FD, _ = blobs(3000, centres=300, spread=0.5)
    book = fit(plain(40, iterations=25), features_FD)
    ours = float(torch.cdist(torch.from_numpy(features_FD), book.centroids_KP).min(1).values.square().sum())
    theirs = KMeans(40, init="random", n_init=1, max_iter=25, random_state=0).fit(features_FD).inertia_
    assert ours == pytest.approx(theirs, rel=0.02)
    objective = book.record["clustering"]["objective"]
    assert len(objective) == 25
    assert all(after <= before for before, after in pairwise(objective))
    assert objective[-1] == pytest.approx(ours, rel=0.02)


# faiss as published


@pytest.mark.usefixtures("short_opq")
@pytest.mark.parametrize("size", [39, 768])
def test_the_default_and_the_published_index_are_the_steps_of_the_published_scripts(size: int) -> None:
    """`faiss_index_creation.py` of mHuBERT-147-scripts, with faiss' seed; ours differ in the search alone."""
    features_FD, _ = blobs(900, size=size, centres=60, spread=0.8)
    ours = fit(FaissKMeans(num_units=30, opq_iterations=2), features_FD, seed=1234)
    published = fit(FaissIndex(num_units=30), features_FD, seed=1234)
    with faiss_training():
        index = faiss.index_factory(size, "OPQ16_64,IVF30_HNSW32,PQ16x4fsr")
        rotation = faiss.downcast_VectorTransform(index.chain.at(0))
        rotation.niter = 2
        index.train(features_FD)
    matrix_PD = faiss.vector_to_array(rotation.A).reshape(64, size)
    lists = faiss.extract_index_ivf(index)
    for book in (ours, published):
        assert np.array_equal(book.projection_DP.numpy(), matrix_PD.T)
        assert np.array_equal(book.centroids_KP.numpy(), lists.quantizer.reconstruct_n(0, 30))
    fresh_FD, _ = blobs(500, size=size, centres=60, spread=0.8, seed=1)
    labels_F = lists.quantizer.search(rotation.apply_py(fresh_FD), 1)[1][:, 0]
    assert published.search == "hnsw"
    assert np.array_equal(published.assign(torch.from_numpy(fresh_FD)).numpy(), labels_F)
    exact = fit(FaissIndex(num_units=30, search="exact"), features_FD, seed=1234)
    assert exact.sha256 == ours.sha256


@pytest.mark.parametrize(("size", "short"), [(39, "columns"), (768, "rows")])
def test_opq_is_an_isometry_of_small_features_and_an_orthonormal_projection_of_large_ones(
    size: int, short: str
) -> None:
    features_FD, _ = blobs(600, size=size, spread=0.8)
    projection_DP = fit(FaissKMeans(num_units=12, opq_iterations=2), features_FD).projection_DP.double()
    assert projection_DP.shape == (size, 64)
    product = projection_DP @ projection_DP.T if short == "columns" else projection_DP.T @ projection_DP
    assert torch.allclose(product, torch.eye(min(size, 64), dtype=torch.float64), atol=1e-5)


@pytest.mark.usefixtures("short_opq")
@pytest.mark.parametrize("clustering", [plain(), FaissKMeans(num_units=12, opq_iterations=3), FaissIndex(num_units=12)])
def test_threads_do_not_matter_and_seeds_do(clustering: Any) -> None:
    features_FD, _ = blobs(700, size=96, spread=1.0)
    hashes = []
    for threads, seed in ((1, 0), (2, 0), (1, 1)):
        faiss.omp_set_num_threads(threads)
        hashes.append(fit(clustering, features_FD, seed=seed).sha256)
        assert faiss.omp_get_max_threads() == threads, "left as it was"
    faiss.omp_set_num_threads(1)
    assert hashes[0] == hashes[1] != hashes[2]


def test_settings_of_faiss_are_given_back_after_an_error() -> None:
    before = faiss.cvar.distance_compute_blas_threshold, faiss.omp_get_max_threads()

    def fail() -> None:
        with faiss_training():
            assert faiss.cvar.distance_compute_blas_threshold == 20
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (faiss.cvar.distance_compute_blas_threshold, faiss.omp_get_max_threads()) == before


@pytest.mark.usefixtures("short_opq")
def test_a_gpu_is_used_where_faiss_knows_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU's index stands in for it: same codebook, so what is given to it is right."""
    features_FD, _ = blobs(600, size=96, spread=1.0)
    clusterings = [FaissKMeans(num_units=12, opq_iterations=2), FaissIndex(num_units=12)]
    expected = [fit(one, features_FD) for one in clusterings]
    sizes: list[int] = []
    alive: list[weakref.ref[Any]] = []

    class Resources:
        def __init__(self) -> None:
            alive.append(weakref.ref(self))

    def to_gpu(resources: Any, device: int, index: Any) -> Any:
        assert (resources, device) == (alive[0](), 1), "the GPU of this process"
        sizes.append(index.d)
        alive.append(weakref.ref(index))
        return index

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    monkeypatch.setattr(faiss, "StandardGpuResources", Resources, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", to_gpu, raising=False)
    fit(clusterings[1], features_FD)
    assert not alive, "this process computes on the CPU"
    monkeypatch.setattr(faiss_parts, "device_in_use", lambda: torch.device("cuda", 1))
    for clustering, book in zip(clusterings, expected, strict=True):
        assert not clustering.problems(**asdict(clustering))
        assert not alive, "a look at the settings takes nothing"
        assert torch.allclose(fit(clustering, features_FD).centroids_KP, book.centroids_KP, atol=1e-4)
        gc.collect()
        assert [one() for one in alive] == [None, None, None], "one pool, two searches, all given back"
        alive.clear()
    assert sorted(set(sizes)) == [4, 64], "sub-spaces of OPQ, and projected frames"


# the record


def test_the_record_tells_how_the_codebook_was_made() -> None:
    features_FD, _ = blobs(600)
    about = fit(plain(10, max_points_per_unit=50, iterations=3), features_FD).record
    assert about["features"] == RECORD["features"]
    assert "clustering" not in RECORD
    made = about["clustering"]
    assert made["class"] == "FaissKMeans"
    assert made["settings"]["max_points_per_unit"] == 50
    assert made["library"] == f"faiss {faiss.__version__}"
    assert (made["frames"], made["frames_used"], made["empty_units"], len(made["objective"])) == (600, 500, 0, 3)
    made = fit(few_starts(), features_FD).record["clustering"]
    assert made["library"].startswith("scikit-learn")
    assert made["frames_used"] == 600
    repeated_FD = np.repeat(features_FD[:5], 100, axis=0)  # five different frames for ten units
    assert fit(plain(10), repeated_FD).record["clustering"]["empty_units"] >= 5


# what is refused


@pytest.mark.parametrize(
    ("clustering", "shape", "message"),
    [
        (plain(50), (49, 8), "49 frames cannot be clustered into 50 units: at least 50 are needed, and 1,950 make sense"),
        (few_starts(50), (49, 8), "49 frames cannot be clustered into 50 units"),
        (FaissKMeans(num_units=50), (200, 8), "into 50 units after OPQ: at least 256 are needed"),
        (FaissIndex(num_units=50), (200, 8), "into 50 units after OPQ: at least 256 are needed"),
        (plain(50), (0, 8), "0 frames cannot be clustered"),
        (plain(), (100, 8, 2), r"frames x size.*float32 of shape \(100, 8, 2\)"),
        (plain(), (100,), r"frames x size.*shape \(100,\)"),
        (plain(), (100, 0), r"frames x size.*shape \(100, 0\)"),
    ],
)  # fmt: skip
def test_too_few_frames_and_other_shapes_are_refused(clustering: Any, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(clustering, np.zeros(shape, np.float32))


def test_numbers_that_are_no_features_are_refused() -> None:
    with pytest.raises(ValueError, match="int64 of shape"):
        fit(plain(), np.zeros((100, 8), int))
    for bad in (np.nan, np.inf):
        features_FD, _ = blobs(70_000, size=4)
        features_FD[66_000, 2] = bad
        for clustering in (plain(), few_starts(), FaissKMeans(num_units=12), FaissIndex(num_units=12)):
            with pytest.raises(ValueError, match="frame 66,000 of 70,000 holds NaN or infinity"):
                fit(clustering, features_FD)


def test_few_frames_are_told_with_both_numbers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    fit(plain(), blobs(39 * 12)[0])
    assert not caplog.records
    fit(plain(), blobs(39 * 12 - 1)[0])
    assert "467 frames are few for 12 units: faiss asks for 468" in caplog.text


@pytest.mark.parametrize(
    ("factory", "search"),
    [
        ("OPQ16_64,PQ16x4fsr", "exact"),  # no lists
        ("OPQ16_64,IVF13_HNSW32,Flat", "exact"),  # another number of units
        ("OPQ16_64,IVF{num_units},Flat", "hnsw"),  # no graph
        ("OPQ16_64,IVF{num_units}_HNSW16,Flat", "hnsw"),  # another graph than codebooks search
        ("PCA64,IVF{num_units}_HNSW32,Flat", "exact"),  # a transform with a bias
        ("PCAR64,OPQ16_64,IVF{num_units}_HNSW32,Flat", "exact"),  # two
        ("L2norm,IVF{num_units},Flat", "exact"),  # none that is linear
        ("OPQ16_64,IVF{num_units}_HNSW32,PQ16x4fsr,", "exact"),
        ("nonsense", "exact"),
    ],
)
def test_factory_strings_that_make_no_codebook_are_refused(factory: str, search: Any) -> None:
    clustering = FaissIndex(num_units=12, factory=factory, search=search)
    with pytest.raises(ValueError, match=r"clustering\.factory="):
        fit(clustering, blobs(600)[0])
    assert len(FaissIndex.problems(num_units=12, factory=factory, search=search)) == 1, (
        "found before anything is encoded"
    )


@pytest.mark.usefixtures("short_opq")
def test_other_factory_strings_are_welcome() -> None:
    features_FD, _ = blobs(600)
    for factory in ("IVF{num_units},Flat", "OPQ4_8,IVF12_HNSW16,PQ4x4", "RR8,IVF12,Flat"):
        book = fit(FaissIndex(num_units=12, factory=factory, search="exact"), features_FD)
        assert book.centroids_KP.shape == (12, 24 if factory.startswith("IVF") else 8)


def test_sub_spaces_that_do_not_divide_are_refused() -> None:
    message = "clustering.projected_size=50 cannot be divided into clustering.num_subspaces=16"
    with pytest.raises(ValueError, match=message):
        fit(FaissKMeans(num_units=12, projected_size=50), blobs(600)[0])


def test_without_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    for clustering in (plain(), FaissIndex(num_units=12)):
        with pytest.raises(
            ValueError, match=r"needs faiss, which is not installed. Run: pip install 'mlsuperb\[cpu\]'"
        ):
            fit(clustering, blobs(600)[0])
    assert fit(few_starts(), blobs(600)[0]).num_units == 12


# conf/


@pytest.mark.parametrize("option", CONF)
def test_options_say_what_they_are_and_state_the_defaults(option: str) -> None:
    text = (conf_dir() / f"clustering/{option}.yaml").read_text()
    assert text.startswith("# ")
    node: dict[str, Any] = dict(CONF[option])
    assert node.pop("name") == option
    if option == "kmeans":
        assert node == {"defaults": ["faiss", "_self_"], "projected_size": None}
        return
    target = get_object(node.pop("_target_"))
    assert node == vars(target(num_units=1000))
