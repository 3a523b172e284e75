"""What scripts/gpu/ does with what a GPU gives it; scripts/gpu/check.sh --dry-run tries the scripts themselves."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.autograd import DeviceType

from mlsuperb.config.compose import compose
from scripts.gpu import losses, profile_step, runs

CHECK = Path(runs.__file__).with_name("check.sh")


def row(key: str, kind: DeviceType, *, device_us: float, cpu_us: float = 0.0, named: bool = False) -> Any:
    """One of the profiler's `key_averages()`."""
    return SimpleNamespace(
        key=key,
        device_type=kind,
        self_device_time_total=device_us,
        self_cpu_time_total=cpu_us,
        is_user_annotation=named,
    )


def test_a_kernel_counts_once() -> None:
    rows = [
        row("aten::mm", DeviceType.CPU, device_us=2000, cpu_us=50),
        row("gemm", DeviceType.CUDA, device_us=2000),
        row("range", DeviceType.CUDA, device_us=2000, named=True),
    ]
    assert profile_step.own_ms(rows, gpu=True) == {"gemm": 2.0}
    assert profile_step.own_ms(rows, gpu=False) == {"aten::mm": 0.05}


def test_a_profiled_cpu_has_operators() -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        torch.ones(4, 4) @ torch.ones(4, 4)
    assert "aten::mm" in profile_step.own_ms(found.key_averages(), gpu=False)
    assert profile_step.own_ms(found.key_averages(), gpu=True) == {}


def test_a_loss_that_is_no_number_is_no_small_difference() -> None:
    assert losses.furthest([2.0, 2.0], [2.0, 1.0]) == 0.5
    assert losses.furthest([2.0, 2.0], [2.0, math.nan]) == math.inf


@pytest.mark.parametrize(("num_gpus", "num_ranks"), [(1, 1), (2, 2), (8, 2)])
def test_shards_lie_on_two_ranks(num_gpus: int, num_ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
    assert runs.num_ranks("cuda") == num_ranks
    assert runs.num_ranks("cpu") == 2


def test_one_gpu_shares_nothing_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(sys, "argv", [str(CHECK.with_name("runs.py")), "fsdp"])
    monkeypatch.setattr(runs.subprocess, "run", lambda *_, **__: pytest.fail("a run was started"))
    assert runs.main() == 0
    assert "fsdp: not tried" in capsys.readouterr().out


def test_equal_losses_are_asked_for_before_rounding_grows() -> None:
    one = {"losses": [5.0, 3.0], "first_losses": [5.0, 4.0]}
    later, at_once = one | {"losses": [5.0, 2.9]}, one | {"first_losses": [5.0, 4.01]}
    options = Namespace(part="cache", quick=False)
    assert runs.as_expected({"every step": one, "in memory": later}, options)
    assert not runs.as_expected({"every step": one, "in memory": at_once}, options)


def test_what_two_ranks_train_draws_no_random_numbers() -> None:
    config = compose(runs.FULL)
    assert {value for name, value in config["head"].items() if "dropout" in name} == {0}
    assert config["specaug"] == compose(["specaug=none"])["specaug"]
    upstream = json.loads((CHECK.parents[2] / "models/mhubert_tiny/config.json").read_text(encoding="utf-8"))
    assert {upstream[f"{part}_dropout"] for part in ("hidden", "attention", "activation", "feat_proj")} == {0}


def test_results_are_written_after_each_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run never ends."""
    metrics = {"all_cer": {"value": 1.0}, "all_lid_accuracy": {"value": 2.0}}
    result = {
        "protocols": {"v1": {"metrics": {"test": metrics}}},
        "cost": {"train_wall_s": 1.0, "decode_wall_s": 1.0, "peak_memory_gb": 1.0},
        "training": {"history": [{"train_loss": 3.0, "valid_loss": 2.0}]},
    }
    found = iter([result])
    monkeypatch.setattr(runs, "run", lambda *_: next(found))
    monkeypatch.setattr(sys, "argv", [str(CHECK.with_name("runs.py"))])
    with pytest.raises(StopIteration):
        runs.run_all(runs.PARTS["cache"], Namespace(part="cache", json=tmp_path / "cache.json"))
    text = (tmp_path / "cache.json").read_text(encoding="utf-8")
    assert '"every step"' in text
    assert "Cut off before its end" in text


def test_limits_add_up_to_what_the_head_says() -> None:
    text = CHECK.read_text(encoding="utf-8")
    limits = {name: int(most) for name, most in re.findall(r"^part (\w+) (\d+) ", text, re.MULTILINE)}
    assert f"the limits add up to {sum(limits.values())} seconds" in text
    calls = re.findall(r"--parts (\S+) .*\((\d+) s at most\)", text)
    assert {",".join(limits)} == {",".join(names for names, _ in calls)}
    assert [sum(limits[name] for name in names.split(",")) for names, _ in calls] == [int(most) for _, most in calls]


def test_a_part_that_is_cut_off_shows_what_it_had(tmp_path: Path) -> None:
    """Instead of Python, a program that prints a row and then fails."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho '| made | 1 |'\nexit 124\n", encoding="utf-8")
    python.chmod(0o755)
    (tmp_path / "demo.json").write_text("of an earlier call", encoding="utf-8")
    given = {**os.environ, "PYTHON": str(python), "OUT": str(tmp_path)}
    words = ["bash", str(CHECK), "--dry-run", "--parts", "demo"]
    done = subprocess.run(words, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "| made | 1 |" in done.stdout
    assert "failed: demo" in done.stdout
    assert not (tmp_path / "demo.json").exists()
