"""Checkpoints and kept weights on disk: what is written, left alone and refused."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from absent_gpu import AbsentGPU, OnGPU
from safetensors.torch import load_file
from torch import Tensor

from mlsuperb.runtime import ranks
from mlsuperb.training.checkpoint import WEIGHTS, CheckpointFolder, KeptEpochs, save_weights
from mlsuperb.training.distributed import gathered

PROGRESS = {"progress": {}}


def save(folder: Path, iteration: int, *, value: float = 0.0) -> Path:
    """A checkpoint of one number."""
    CheckpointFolder(folder).save(iteration, num_epochs=0, weights={"a": torch.tensor([value])}, state=PROGRESS)
    return folder / f"{iteration:08d}-0000"


def test_a_checkpoint_that_is_there_stays(tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 2, value=1.0)
    save(tmp_path, 2, value=2.0)
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.name]
    assert load_file(checkpoint / WEIGHTS)["a"] == 1


def test_a_damaged_checkpoint_of_the_same_iteration_is_replaced(tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 2, value=1.0)
    (checkpoint / WEIGHTS).write_bytes(b"")
    save(tmp_path, 2, value=2.0)
    assert load_file(checkpoint / WEIGHTS)["a"] == 2


def test_older_checkpoints_are_dropped_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".00000001-0000.tmp").mkdir()
    save(tmp_path, 2)
    (tmp_path / ".DS_Store").write_text("")
    (tmp_path / "2-copy").mkdir()
    newest = save(tmp_path, 4)
    assert {path.name for path in tmp_path.iterdir()} == {newest.name, ".DS_Store", "2-copy"}
    assert CheckpointFolder(tmp_path).latest() == newest


def test_weights_of_an_epoch_that_are_damaged_are_one_sentence(tmp_path: Path) -> None:
    kept = KeptEpochs(tmp_path)
    for epoch in (1, 2):
        kept.save(epoch, {"a": torch.full((2,), float(epoch))})
    assert kept.mean([1, 2])["a"].tolist() == [1.5, 1.5]
    damaged = tmp_path / "epoch_0002.safetensors"
    damaged.write_bytes(b"")
    with pytest.raises(ValueError, match=rf"{damaged} cannot be read as safetensors weights .*restore a copy"):
        kept.mean([1, 2])


def test_weights_are_on_the_disk_before_they_take_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut would otherwise leave an empty file under a name that stands for a whole one."""
    synced = []
    monkeypatch.setattr("os.fsync", lambda _: synced.append((tmp_path / "weights.safetensors").exists()))
    save_weights({"a": torch.zeros(2)}, tmp_path / "weights.safetensors")
    assert synced == [False]


@pytest.mark.parametrize("main", [True, False])
def test_a_gpu_holds_one_whole_tensor_at_a_time_for_a_checkpoint(monkeypatch: pytest.MonkeyPatch, main: bool) -> None:
    """Of all weights and moments; rank 0 has them on the host in the end, the others nothing."""
    monkeypatch.setattr(ranks, "is_main", lambda: main)
    there: list[weakref.ref[Tensor]] = []

    def full_tensor() -> Tensor:
        gc.collect()
        assert not [one for one in there if one() is not None], "the one before is still there"
        whole = torch.ones(1000).to("cuda")
        there.append(weakref.ref(whole))
        return whole

    shard = SimpleNamespace(full_tensor=full_tensor)
    with AbsentGPU():
        state = gathered(
            {"state": {0: {"exp_avg": shard, "exp_avg_sq": shard, "step": torch.ones(())}}, "groups": [shard]}
        )
    first = state["state"][0]
    for tensor in (first["exp_avg"], first["exp_avg_sq"], *state["groups"]):
        assert not isinstance(tensor, OnGPU)
        assert len(tensor) == (1000 if main else 0)
    assert first["step"] == 1
