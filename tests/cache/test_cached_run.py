"""Whole runs with and without the feature cache."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from mlsuperb.cache import store as store_module
from mlsuperb.config.compose import compose
from mlsuperb.run import run_experiment

SETTINGS = [
    "+exp=v1/asr_lid", "data=synthetic", "data.languages=[deu,swa]", "data.minutes=0.3", "data.test_minutes=0.1",
    "upstream=tiny", "upstream.hidden_size=32", "upstream.num_blocks=2", "head=transformer_conv1d", "head.size=32",
    "head.ffn_size=32", "trainer=debug", "trainer.iterations_per_epoch=6", "trainer.trackers=[]", "decoding=greedy",
]  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def run(root: Path, *overrides: str) -> dict[str, Any]:
    """Weights, losses and figures, hypotheses, cost."""
    places = [f"data.root={root}/synthetic", f"manifests={root}/manifests", f"output_root={root}/exp"]
    config = compose([*SETTINGS, *places, *overrides])
    run_experiment(config)
    folder = Path(config["output_root"]) / config["run_id"]
    return {
        "weights": (folder / "model.safetensors").read_bytes(),
        "history": json.loads((folder / "training.json").read_text())["history"],
        "hypotheses": (folder / "hypotheses.jsonl").read_bytes(),
        "cost": json.loads((folder / "result.json").read_text())["cost"],
    }


def test_an_fp32_cache_gives_the_identical_run(root: Path) -> None:
    plain, cached = run(root, "cache=off"), run(root, "cache=fp32")
    assert len(plain["history"]) == 2
    assert cached["weights"] == plain["weights"]
    assert cached["history"] == plain["history"]
    assert cached["hypotheses"] == plain["hypotheses"]
    again = run(root, "cache=fp32", "run_name=again")  # all from files of the run before
    assert again["history"] == plain["history"]
    assert again["hypotheses"] == plain["hypotheses"]
    shares = [one["cost"]["cached_share"] for one in (plain, cached, again)]
    assert shares == [0, 0, 1]


def test_no_bit_depends_on_when_and_where_features_were_computed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of batches that change from pass to pass: with features computed in order, by runs of other numbers of workers, and in
    a run that is stopped, loses all that it kept and resumes."""
    size = ["upstream.hidden_size=64", "upstream.conv_channels=32"]  # where a batch has other bits than one alone
    settings = [*size, "cache=fp32", "loading=bucketed", "loading.train.max_batch_s=12"]
    whole = run(root, *settings, "run_name=whole", f"cache.folder={root}/whole")
    workers = run(root, *settings, "run_name=workers", f"cache.folder={root}/workers", "loading.num_workers=2")
    step, left = torch.optim.AdamW.step, 5

    def stopped(self: torch.optim.AdamW, *arguments: Any, **keywords: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        return step(self, *arguments, **keywords)

    again = ["run_name=again", f"cache.folder={root}/again", "trainer.checkpoint_every=2"]
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(root, *settings, *again)
    assert list((root / "again").glob("*/*/*.safetensors"))
    shutil.rmtree(root / "again")
    resumed = run(root, *settings, *again)
    for one in (workers, resumed):
        assert one["weights"] == whole["weights"]
        assert one["history"] == whole["history"]
        assert one["hypotheses"] == whole["hypotheses"]


def test_bf16_and_int8_give_nearly_the_same(root: Path) -> None:
    plain = run(root, "cache=off")
    for dtype, tolerance in (("int16", 1e-5), ("bf16", 1e-3), ("int8", 1e-2)):
        rounded = run(root, f"cache={dtype}")
        assert rounded["history"] != plain["history"]
        for epoch, wanted in zip(rounded["history"], plain["history"], strict=True):
            assert epoch["train_loss"] == pytest.approx(wanted["train_loss"], rel=tolerance)


def test_a_full_disk_ends_the_cache_and_not_the_run(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    plain = run(root, "cache=off")
    monkeypatch.setattr(store_module, "save_file", fail)
    full = run(root, "cache=fp32", "run_name=full", f"cache.folder={root}/full")
    assert caplog.text.count("the disk is full") == 1
    assert full["history"] == plain["history"]
    assert full["hypotheses"] == plain["hypotheses"]
