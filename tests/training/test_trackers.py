"""What TensorBoard and wandb get of a training; wandb is a fake module that remembers what it is told."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_trainer import Toy, stream, toy_trainer, validation

from mlsuperb.training.loop import MODEL_FILE
from mlsuperb.training.progress import Progress
from mlsuperb.training.trackers import Sample, flat

CONFIG = {
    "run_id": "toy-s0/1",
    "seed": 0,
    "trainer": {"optimizer": {"lr": 0.01}, "trackers": ["wandb"], "patience": None},
}
SAMPLES = [Sample("utt_1", "NORTH WIND", "NORT <b>WIND</b>"), Sample("utt_2", "B", "")]


class Killed(BaseException):
    pass


class FakeRun:
    def __init__(self, **given: Any) -> None:
        self.given, self.points, self.finished = given, [], 0

    def log(self, values: dict[str, Any], *, step: int) -> None:
        assert not self.finished
        self.points.append((step, values))

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> list[FakeRun]:
    runs: list[FakeRun] = []
    module = ModuleType("wandb")
    module.init = lambda **given: runs.append(FakeRun(**given)) or runs[-1]  # type: ignore[attr-defined]
    module.Table = lambda *, columns, data: (columns, data)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    return runs


class Weighted(Toy):
    def curves(self) -> dict[str, float]:
        return {"layer_weights/00": float(self.linear.weight.detach().sum())}


def fit(folder: Path, trackers: list[str], *, kill_at: int | None = None, **options: Any) -> Progress:
    def batches(start: int):
        for number, batch in enumerate(stream(start), start):
            if number == kill_at:
                raise Killed
            yield replace(batch, audio_s=3.0)

    torch.manual_seed(0)
    model = Weighted()
    trainer = toy_trainer(trackers=trackers, **options)
    return trainer.fit(
        model, batches=batches, validate=validation(model), folder=folder, config=CONFIG, samples=lambda: SAMPLES
    )


def test_wandb_has_the_run_under_its_own_name_and_id(tmp_path, wandb) -> None:
    progress = fit(tmp_path, ["wandb"], project="mine")
    [run] = wandb
    assert run.given == {
        "project": "mine", "name": "toy-s0/1", "id": "toy-s0-1", "resume": "allow", "dir": str(tmp_path), "config": CONFIG,
    }  # fmt: skip
    assert run.finished == 1
    seen = {name: step for step, values in run.points for name in values}
    assert {
        "train/loss",
        "train/gradient_norm",
        "train/lr",
        "train/speed",
        "valid/loss",
        "layer_weights/00",
    } <= seen.keys()
    assert set(seen.values()) <= {24, 22}
    texts = [(step, values["valid/texts"]) for step, values in run.points if "valid/texts" in values]
    assert [step for step, _ in texts] == [6, 12, 18, 24]
    assert texts[0][1] == (
        ["id", "reference", "hypothesis"],
        [["utt_1", "NORTH WIND", "NORT <b>WIND</b>"], ["utt_2", "B", ""]],
    )
    losses = [values["valid/loss"] for _, values in run.points if "valid/loss" in values]
    assert losses == [entry["valid_loss"] for entry in progress.history]
    steps = [step for step, _ in run.points]
    assert steps == sorted(steps), "wandb drops what goes back"


def test_without_a_project_it_is_the_packages() -> None:
    assert toy_trainer().project == "mlsuperb"


def test_a_resumed_run_is_the_same_run_of_wandb_and_a_stopped_one_is_closed(tmp_path, wandb) -> None:
    with pytest.raises(Killed):
        fit(tmp_path, ["wandb"], kill_at=11)
    fit(tmp_path, ["wandb"])
    first, second = wandb
    assert first.finished == second.finished == 1
    assert first.given == second.given
    at_first = {step: values for step, values in first.points if "train/loss" in values}
    again = {step: values for step, values in second.points if "train/loss" in values}
    assert set(again) == set(range(10, 26, 2))
    assert at_first[10]["train/loss"] == again[10]["train/loss"], "what is drawn twice is the same"


def test_tensorboard_has_settings_and_texts_beside_the_curves(tmp_path) -> None:
    fit(tmp_path, ["tensorboard"])
    [file] = tmp_path.rglob("events.out.*")
    events = EventAccumulator(str(file.parent)).Reload()
    assert {"train/speed", "train/gradient_norm", "layer_weights/00", "valid/loss"} <= set(events.Tags()["scalars"])
    assert all(one.value > 0 for one in events.Scalars("train/speed"))
    assert [one.step for one in events.Scalars("layer_weights/00")] == [6, 12, 18, 24]
    assert events.Tags()["tensors"] == ["valid/texts/text_summary"]
    text = events.Tensors("valid/texts/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "    utt_1\n      ref  NORTH WIND\n      hyp  NORT <b>WIND</b>" in text
    start = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"trainer.optimizer.lr" in start


@pytest.mark.parametrize("kill_at", [3, 11])  # before the first checkpoint, after the second
def test_points_of_a_killed_run_are_dropped_from_the_last_checkpoint_on(kill_at: int, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        fit(tmp_path, ["tensorboard"], kill_at=kill_at)
    fit(tmp_path, ["tensorboard"])
    events = EventAccumulator(str(tmp_path / "curves")).Reload()
    assert [one.step for one in events.Scalars("train/loss")] == list(range(2, 26, 2))


def test_trackers_change_no_number_of_a_run(tmp_path, wandb) -> None:
    found = {}
    for name, trackers in (("none", []), ("both", ["tensorboard", "wandb"])):
        progress = fit(tmp_path / name, trackers)
        weights = load_file(tmp_path / name / MODEL_FILE)
        found[name] = (progress.history, {key: value.tolist() for key, value in weights.items()}, torch.rand(1).item())
    assert found["none"] == found["both"]
    assert len(wandb) == 1


def test_settings_are_flat_and_plain() -> None:
    found = {"run_id": "toy-s0/1", "seed": 0, "trainer.optimizer.lr": 0.01, "trainer.trackers": "['wandb']"}
    assert dict(flat(CONFIG)) == {**found, "trainer.patience": "None"}
