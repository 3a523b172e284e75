from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlsuperb.runs.identity import not_science, science, signature
from mlsuperb.runs.run import Run
from mlsuperb.training.trainer import Trainer

TRAINER = "mlsuperb.training.trainer.Trainer"


def config(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "upstream": {"name": "fbank", "_target_": "x.Fbank", "hop_length": 320, "card": {"verified": False}},
        "trainer": {"_target_": TRAINER, "device": "cpu", "log_every": 20, "max_epochs": 3},
        "loading": {"num_workers": 0},
        "seed": 0,
        "output_root": str(tmp_path),
        "run_id": "test-1",
    }
    return settings | changes


def test_the_signature_is_made_of_what_changes_the_science(tmp_path: Path) -> None:
    one = config(tmp_path)
    assert signature(one) == signature(config(tmp_path / "elsewhere"))
    assert signature(one) == signature(config(tmp_path, trainer={**one["trainer"], "device": "cuda", "log_every": 1}))
    assert signature(one) == signature(config(tmp_path, upstream=one["upstream"] | {"name": "other", "card": {}}))
    assert signature(one) != signature(config(tmp_path, seed=1))
    assert signature(one) != signature(config(tmp_path, upstream=one["upstream"] | {"hop_length": 160}))
    assert signature(one) != signature(config(tmp_path, trainer={**one["trainer"], "max_epochs": 4}))
    assert "device" not in science(one)["trainer"]
    of_trainer = tuple(f"trainer.{name}" for name in Trainer.not_science)
    assert not_science(one)[-len(of_trainer) :] == of_trainer


def test_a_run_leaves_its_state_and_its_record(tmp_path: Path) -> None:
    with Run(config(tmp_path)) as run:
        run.begin()
        run.status(iteration=3)
        assert json.loads((run.folder / "status.json").read_text())["state"] == "running"
    status = json.loads((run.folder / "status.json").read_text())
    assert (status["state"], status["iteration"]) == ("finished", 3)
    (environment,) = json.loads((run.folder / "environment.json").read_text())
    assert {"python", "packages", "code", "command", "gpus"} <= environment.keys()
    with Run(config(tmp_path)) as run:
        run.begin()
    assert len(json.loads((run.folder / "environment.json").read_text())) == 2, "one record a start"


def test_every_random_generator_begins_at_the_seed(tmp_path: Path) -> None:
    drawn = []
    for number, seed in enumerate((3, 3, 4)):
        with Run(config(tmp_path / str(number), seed=seed)) as run:
            run.begin()
        drawn.append((random.random(), np.random.rand(), float(torch.rand(1))))
    assert drawn[0] == drawn[1]
    assert not set(drawn[0]) & set(drawn[2])


def test_each_run_measures_memory_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU; a sweep makes several in one process."""
    begun: list[int] = []
    monkeypatch.setattr("mlsuperb.runs.run.begin_peak_memory", lambda: begun.append(1))
    for name in ("one", "two"):
        with Run(config(tmp_path / name)) as run:
            run.begin()
    assert begun == [1, 1]


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no audio"), Run(config(tmp_path)) as run:
        raise ValueError("no audio")
    status = json.loads((run.folder / "status.json").read_text())
    assert status["state"] == "failed"
    assert status["error"] == "ValueError: no audio"


def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    with Run(config(tmp_path)) as run:
        run.begin()
    with pytest.raises(ValueError, match="holds a run with other settings"), Run(config(tmp_path, seed=5)) as run:
        run.begin()


def test_changed_data_are_refused(tmp_path: Path) -> None:
    with Run(config(tmp_path)) as run:
        run.pin("data", {"train": "abc"})
        run.pin("data", {"train": "abc"})
        with pytest.raises(ValueError, match="the data of this run changed since it was started"):
            run.pin("data", {"train": "xyz"})


def test_two_processes_do_not_share_a_run(tmp_path: Path) -> None:
    with (
        Run(config(tmp_path)),
        pytest.raises(ValueError, match="another process is at work in"),
        Run(config(tmp_path)),
    ):
        raise AssertionError("the second run must not start")
