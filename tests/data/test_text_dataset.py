"""From a manifest of pairs to batches of tokens, through the same loader as speech."""

from __future__ import annotations

import itertools
from dataclasses import fields

import numpy as np
import pytest
import torch

from mlsuperb.data.batching import BucketedBatches
from mlsuperb.data.loading import Loading
from mlsuperb.data.manifest import to_frame
from mlsuperb.data.sampling import Draw, TwoLevel
from mlsuperb.data.text_dataset import TextBatch, TextDataset
from mlsuperb.types import TextPair


def tokenise(pair: TextPair) -> tuple[np.ndarray, np.ndarray]:
    """Code points, and words by their number of letters."""
    return np.array([ord(letter) for letter in pair.source]), np.array([len(word) for word in pair.target.split()])


def dataset(num: int = 40) -> TextDataset:
    pairs = [
        TextPair(
            id=f"p{n}", source="ab" * (1 + n % 5), target="one two" * (1 + n % 3), source_language="deu" if n % 4 else "nan",
            target_language="eng", dataset="d", split="train",
        )
        for n in range(num)
    ]  # fmt: skip
    return TextDataset(to_frame(pairs, TextPair), tokenise=tokenise, pad=9)


def test_a_batch_is_padded_and_knows_its_size() -> None:
    data = dataset()
    batch = data.collate([data[0], data[Draw(1)]])
    assert (batch.ids, batch.directions) == (("p0", "p1"), ("nan-eng", "deu-eng"))
    assert batch.source_BS.tolist() == [[97, 98, 9, 9], [97, 98, 97, 98]]
    assert batch.target_BT.tolist() == [[3, 3, 9], [3, 6, 3]]
    assert (batch.source_lengths_B.tolist(), batch.target_lengths_B.tolist()) == ([2, 4], [2, 3])
    assert (batch.source_BS.dtype, batch.target_BT.dtype) == (torch.int64, torch.int64)
    assert (batch.amount, batch.share) == (11.0, 1.0)
    assert batch.describe() == "2 pairs, the longest of 4 and 3 tokens (14 tokens with padding)"
    moved = batch.to("meta")
    assert all(
        getattr(moved, name).is_meta for name in ("source_BS", "target_BT", "source_lengths_B", "target_lengths_B")
    )
    assert moved.ids == batch.ids


def test_what_sampling_and_batching_look_at() -> None:
    data = dataset(6)
    assert data.amounts.tolist() == [7, 14, 21, 8, 14, 21]
    assert data.languages.tolist() == ["nan-eng", "deu-eng", "deu-eng", "deu-eng", "nan-eng", "deu-eng"]
    assert data.datasets.tolist() == ["d"] * 6
    with pytest.raises(ValueError, match="a part of a text was drawn"):
        data[Draw(0, 1.0)]


def same(one: TextBatch, other: TextBatch) -> bool:
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(TextBatch)]
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def test_the_loader_of_speech_loads_text_and_resumes() -> None:
    found = []
    for num_workers in (0, 1):
        loading = Loading(train=BucketedBatches(max_batch_s=100.0), eval_batch_s=100.0, num_workers=num_workers)
        loading.sampling = TwoLevel(alpha=0.3, beta=1.0)
        training = loading.training(dataset(), seed=0)
        found.append([*itertools.islice(training(0), 25), *loading.inference(dataset())])
        assert all(map(same, itertools.islice(training(7), 18), found[-1][7:25]))
    assert all(map(same, *found))
    assert sorted(name for batch in found[0][25:] for name in batch.ids) == sorted(f"p{n}" for n in range(40))
    seen = [name for batch in found[0][:25] for name in batch.directions]
    assert 0.25 < seen.count("nan-eng") / len(seen) < 0.6, "a quarter of the pairs, and more of the batches"
