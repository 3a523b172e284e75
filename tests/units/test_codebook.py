"""A codebook's labels against distances in float64; its file; what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from mlsuperb.units.codebook import CODEBOOK_FILE, Codebook


def make(num_units: int = 70, *, size: int = 24, projected: int | None = None, seed: int = 0) -> Codebook:
    generator = torch.Generator().manual_seed(seed)
    return Codebook(
        centroids_KP=torch.randn(num_units, projected or size, generator=generator) + 3,
        projection_DP=torch.randn(size, projected, generator=generator) if projected else None,
        rate_hz=50.0,
        record={"features": {"name": "mfcc", "layer": 6}},
    )


def frames(num: int, size: int = 24, *, seed: int = 1) -> Tensor:
    return torch.randn(num, size, generator=torch.Generator().manual_seed(seed)) * 2 + 3


def by_hand(book: Codebook, features_FD: Tensor) -> Tensor:
    """The nearest centroid by all distances in float64."""
    frames_FP = features_FD.double()
    if book.projection_DP is not None:
        frames_FP = frames_FP @ book.projection_DP.double()
    return torch.cdist(frames_FP, book.centroids_KP.double(), compute_mode="donot_use_mm_for_euclid_dist").argmin(1)


@pytest.mark.parametrize("num_units", [2, 63, 64, 65, 1000])
@pytest.mark.parametrize("projected", [None, 8, 40])
def test_labels_are_the_nearest_centroids(num_units: int, projected: int | None) -> None:
    book = make(num_units, projected=projected)
    for num in (0, 1, 767, 769, 3000):
        labels_F = book.assign(frames(num))
        assert labels_F.dtype == torch.int64
        assert labels_F.shape == (num,)
        assert torch.equal(labels_F, by_hand(book, frames(num)))


def test_centroids_are_their_own_units_and_of_equal_ones_the_first_is_taken() -> None:
    book = make(1000)
    assert torch.equal(book.assign(book.centroids_KP), torch.arange(1000))
    twice = replace(book, centroids_KP=book.centroids_KP.repeat(2, 1))
    assert torch.equal(twice.assign(book.centroids_KP), torch.arange(1000))


def test_precision_around_does_not_matter_and_half_floats_are_read() -> None:
    book, features_FD = make(1000, projected=16), frames(2000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(book.assign(features_FD), by_hand(book, features_FD))
    half_FD = features_FD.half()
    assert torch.equal(book.assign(half_FD), by_hand(book, half_FD))


def test_labels_of_a_frame_do_not_depend_on_the_others() -> None:
    book, features_FD = make(300, projected=8), frames(600)
    assert torch.equal(torch.cat([book.assign(one) for one in features_FD.split(37)]), book.assign(features_FD))


@pytest.mark.parametrize("search", ["exact", "hnsw"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_frames_that_are_no_numbers_get_no_unit(search: Any, bad: float) -> None:
    features_FD = frames(1000)
    features_FD[[3, 700], 5] = bad
    book = replace(make(), search=search)
    with pytest.raises(ValueError, match="2 of 1000 frames hold NaN or infinity"):
        book.assign(features_FD)


def test_features_of_another_size_are_refused_with_what_the_codebook_is_for() -> None:
    message = r"size 24 \(mfcc, layer 6, 50 Hz, 70 units\), and these have 39"
    for book in (make(), make(projected=8)):
        with pytest.raises(ValueError, match=message):
            book.assign(torch.zeros(3, 39))


def test_the_graph_finds_most_but_not_all_of_the_nearest() -> None:
    book = make(1000, size=64)
    exact_F, found_F = book.assign(frames(4000, 64)), replace(book, search="hnsw").assign(frames(4000, 64))
    assert 0.5 < (exact_F == found_F).float().mean() < 1
    assert torch.equal(found_F, replace(book, search="hnsw").assign(frames(4000, 64))), "the graph is always the same"


def test_the_hash_is_of_what_decides_labels() -> None:
    book = Codebook(centroids_KP=torch.arange(6.0).reshape(3, 2), rate_hz=50.0)
    # stands in the labels.json of every folder of labels, so it must not change
    assert book.sha256 == "f9bb5151175e77959e1507d0102e33c73bea473dcf65f520bfebd41e7cc2f9b7"
    changed = [
        replace(book, rate_hz=100.0),
        replace(book, search="hnsw"),
        replace(book, centroids_KP=book.centroids_KP.flip(0)),
        replace(book, centroids_KP=book.centroids_KP.reshape(2, 3)),
        replace(book, projection_DP=torch.eye(2)),
    ]
    assert len({one.sha256 for one in (book, *changed)}) == 6
    assert replace(book, record={"features": {"name": "fbank"}}).sha256 == book.sha256


@pytest.mark.parametrize("projected", [None, 8])
@pytest.mark.parametrize("search", ["exact", "hnsw"])
def test_what_is_saved_is_loaded(tmp_path: Path, projected: int | None, search: Any) -> None:
    book = replace(make(projected=projected), search=search)
    book.save(tmp_path)
    loaded = Codebook.load(tmp_path)
    assert torch.equal(loaded.centroids_KP, book.centroids_KP)
    assert (loaded.projection_DP is None) == (projected is None)
    assert (loaded.num_units, loaded.feature_size, loaded.rate_hz) == (70, 24, 50.0)
    assert (loaded.record, loaded.search, loaded.sha256) == (book.record, search, book.sha256)
    assert torch.equal(loaded.assign(frames(500)), book.assign(frames(500)))
    assert [path.name for path in tmp_path.iterdir()] == [CODEBOOK_FILE]


def test_a_folder_without_a_codebook(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no codebook"):
        Codebook.load(tmp_path)


def test_damaged_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / CODEBOOK_FILE
    make().save(tmp_path)
    content = path.read_bytes()
    flipped = content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]  # a bit of the last centroid
    for damaged in (content[:-100], b"", b"not a codebook"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="cannot be read as a codebook"):
            Codebook.load(tmp_path)
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match="is damaged: its centroids are not those it was written with"):
        Codebook.load(tmp_path)
    save_file({"centroids": torch.zeros(3, 2)}, path)  # somebody else's
    with pytest.raises(ValueError, match="cannot be read as a codebook"):
        Codebook.load(tmp_path)
