"""The scripts that measure: stages of large corpora, on a small one; the arithmetic of the cache's hours; the harness."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from absent_gpu import GPU, AbsentGPU

from mlsuperb.data.manifest import read_manifest
from mlsuperb.units.codebook import Codebook
from scripts.bench import harness
from scripts.bench.cache_hours import Rates, hours, table
from scripts.bench.clustering import labeller
from scripts.bench.fine_tuning import show_one_gpu
from scripts.bench.harness import in_child, in_turns, median
from scripts.bench.scale_corpus import NUM_DATASETS, NUM_LANGUAGES, write_corpus
from scripts.bench.scale_stages import MANIFEST, MANY, MANY_STAGES, NUM_MANY, STAGES
from scripts.bench.scoring import align

RATES = Rates(cached_step_s=0.5, uncached_step_s=8.0, step_audio_s=48.0, fill_s=0.1)
BYTES_PER_S = 1e6  # 300 h take 1,080 GB


def test_every_stage_runs(tmp_path: Path) -> None:
    write_corpus(tmp_path, num_rows=900)
    (tmp_path / NUM_MANY).write_text("3000")
    for stage in (*STAGES.values(), *MANY_STAGES.values()):
        assert len(list(stage(tmp_path))) == 1
    frame = read_manifest(tmp_path / MANIFEST)
    assert len(frame) == 900
    assert frame["language"].nunique() == NUM_LANGUAGES
    assert frame["dataset"].nunique() == NUM_DATASETS
    assert len(read_manifest(tmp_path / MANY)) == 3000
    assert (tmp_path / "result.json").is_file()


def test_hours_lie_between_those_without_a_cache_and_those_with_a_whole_one() -> None:
    """600,000 steps of 8 x 6.3 s at 8 s for 48 s of audio are 1,405 h; half a cache is half of both steps."""
    none, half, whole, more = (
        hours(RATES, max_gb=max_gb, bytes_per_s=BYTES_PER_S) for max_gb in (0.0, 540.0, 1080.0, 5000.0)
    )
    assert none.train_h == pytest.approx(600_000 * 8 * (300 / 170_779) * 8.0 / 48.0)
    assert (none.share, none.fill_h, half.share, whole.share) == (0.0, 0.0, 0.5, 1.0)
    assert half.train_h == pytest.approx((none.train_h + whole.train_h) / 2)
    assert none.train_h / whole.train_h == pytest.approx(16.0)
    assert whole.fill_h == pytest.approx(30.0)
    assert whole == more
    assert whole.read_mb_per_s == pytest.approx(48.0 / 0.5)  # 48 MB for each step of half a second
    assert len(table(RATES, num_layers=13, size=768, max_gb=[0.0, 200.0, 1100.0])) == 3 + 2


def test_sides_take_turns_in_processes_of_their_own(capfd: pytest.CaptureFixture[str]) -> None:
    sides = {name: (align, Namespace(side=name, characters=3000)) for name in ("ours", "jiwer")}
    found = in_turns(sides, rounds=2)
    assert found["ours"]["errors"] >= found["jiwer"]["errors"] > 300
    assert found["ours"]["characters"] == found["jiwer"]["characters"] >= 3000 - 2 * found["ours"]["num"]
    assert all(row["peak_mb"] > 0 and len(row["seconds"]) == 2 for row in found.values())
    order = [line.split(":")[0].strip() for line in capfd.readouterr().err.splitlines()]
    assert order == ["ours", "jiwer", "ours", "jiwer"]


def test_what_was_measured_is_told_after_each_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "in_child", lambda *_, round, **__: {"s": round})
    told: list[dict[str, harness.Figures]] = []
    found = in_turns({name: (align, Namespace()) for name in ("ours", "jiwer")}, rounds=2, so_far=told.append)
    assert told[0] == {"ours": {"s": 0}}
    assert told[1] == {"ours": {"s": 0}, "jiwer": {"s": 0}}
    assert told[-1] == found == {"ours": {"s": 0.5}, "jiwer": {"s": 0.5}}


def test_the_commit_is_unknown_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert harness._git("describe") == "unknown"


@pytest.mark.parametrize(
    ("device", "visible", "name", "shown"),
    [
        ("cuda", None, "cuda", "0"),
        ("cuda:1", None, "cuda", "1"),
        ("cuda:1", "4,GPU-5f", "cuda", "GPU-5f"),
        ("auto", "2,3", "auto", "2"),
        ("auto", "", "auto", ""),
        ("cpu", "2,3", "cpu", "2,3"),
    ],
)
def test_the_other_trainer_sees_one_gpu(
    device: str, visible: str | None, name: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert show_one_gpu(device) == name
    assert os.environ["CUDA_VISIBLE_DEVICES"] == shown


def test_our_labels_are_found_on_the_gpu(tmp_path: Path) -> None:
    torch.manual_seed(0)
    book = Codebook(centroids_KP=torch.randn(70, 4), projection_DP=torch.randn(8, 4), rate_hz=50.0)
    (tmp_path / "ours").mkdir()
    book.save(tmp_path / "ours")
    frames_FD = torch.randn(9, 8)
    with AbsentGPU() as gpu:
        find = labeller("ours", Namespace(folder=tmp_path), GPU)
        moved = gpu.reads.total()  # the codebook, once
        np.testing.assert_array_equal(find(frames_FD.numpy()), book.assign(frames_FD).numpy())
        np.testing.assert_array_equal(find(frames_FD.to(GPU)), book.assign(frames_FD).numpy())
        assert gpu.reads.total() > moved, "labels that were computed there come back"


def test_a_side_that_fails_says_why() -> None:
    with pytest.raises(
        RuntimeError, match=r"align with .*\"side\": \"ours\".* ended with 1: [^$]*no attribute 'characters'"
    ):
        in_child(align, Namespace(side="ours"))


def test_medians_go_place_by_place() -> None:
    assert median([3, 1, 2]) == 2
    assert median([[1.0, 10.0], [3.0, 30.0], [2.0, 50.0]]) == [2.0, 30.0]
    assert median(["a", "b"]) == "a"
    assert median([None, None]) is None
