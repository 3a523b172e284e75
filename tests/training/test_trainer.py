"""The loop on a toy model: what it reaches, what it resumes to, what it says when something is wrong."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from mlsuperb.runtime.ending import Terminated, status_of, take_sigterm
from mlsuperb.training import checkpoint as checkpoint_module
from mlsuperb.training.loop import MODEL_FILE
from mlsuperb.training.progress import PROGRESS_FILE, Progress
from mlsuperb.training.schedules import Constant, LinearDecay, OneCycle
from mlsuperb.training.trainable import Trainable
from mlsuperb.training.trainer import Trainer
from mlsuperb.types import Batch, Loss


class Toy(Trainable):
    """A frozen layer, a dropout (so that the random state matters) and a trained layer."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(4, 8).requires_grad_(False)
        self.dropout = nn.Dropout(0.3)
        self.linear = nn.Linear(8, 1)
        self.norm = nn.BatchNorm1d(1)

    def forward(self, batch: Batch, turn: str = "") -> Loss:
        values = self.norm(self.linear(self.dropout(self.frozen(batch.wave_BT))))
        return Loss((values.squeeze(1) - batch.targets_BS.squeeze(1)).square().mean(), {"seen": torch.tensor(1)})


def stream(start: int, *, poison: int | None = None) -> Iterator[Batch]:
    iteration = start
    while True:
        generator = torch.Generator().manual_seed(iteration)
        wave_BT = torch.randn(6, 4, generator=generator)
        if iteration == poison:
            wave_BT[0, 0] = float("nan")
        yield Batch(
            ids=tuple(f"utt_{iteration}_{row}" for row in range(6)),
            languages=("eng",) * 6,
            wave_BT=wave_BT,
            lengths_B=torch.full((6,), 4),
            targets_BS=wave_BT.sum(1, keepdim=True),
            target_lengths_B=torch.ones(6),
        )
        iteration += 1


def toy_trainer(**settings: object) -> Trainer:
    defaults = {
        "optimizer": partial(torch.optim.Adam, lr=1e-2),
        "iterations_per_epoch": 6,
        "max_epochs": 4,
        "accumulate": 2,
        "schedule": OneCycle(),
        "keep_best": 2,
        "checkpoint_every": 4,
        "log_every": 2,
        "trackers": [],
        "device": "cpu",
    }
    return Trainer(**{**defaults, **settings})  # type: ignore[arg-type]


def validation(model: nn.Module) -> Callable[[], dict[str, float]]:
    def validate() -> dict[str, float]:
        assert not model.training
        with torch.inference_mode():
            return {"valid_loss": float(model(next(stream(10_000))).loss)}

    return validate


def fit(folder: Path, trainer: Trainer | None = None, **kwargs: object) -> tuple[Toy, Progress]:
    torch.manual_seed(0)
    model = Toy()
    arguments = {"batches": stream, "validate": validation(model), **kwargs}
    progress = (trainer or toy_trainer()).fit(model, folder=folder, **arguments)  # type: ignore[arg-type]
    return model, progress


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the trainer sees it."""


@pytest.mark.parametrize("after", [1, 3, 5, 8, 11, 14])
def test_a_killed_training_resumes_to_the_same_numbers(tmp_path: Path, after: int) -> None:
    whole, whole_progress = fit(tmp_path / "whole")

    def dying_stream(start: int) -> Iterator[Batch]:
        for number, batch in enumerate(stream(start)):
            if number == after:
                raise Killed
            yield batch

    with pytest.raises(Killed):
        fit(tmp_path / "killed", batches=dying_stream)
    resumed, progress = fit(tmp_path / "killed")
    assert progress.iteration == whole_progress.iteration == 24
    assert progress.history == whole_progress.history
    assert progress.best == whole_progress.best
    assert progress.counts == whole_progress.counts == {"seen": 24}
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_killed_in_a_validation(tmp_path: Path) -> None:
    calls = []

    def dying_validation() -> dict[str, float]:
        calls.append(1)
        if len(calls) == 2:
            raise Killed
        return {"valid_loss": 1.0}

    with pytest.raises(Killed):
        fit(tmp_path / "killed", validate=dying_validation)
    _, progress = fit(tmp_path / "killed", validate=lambda: {"valid_loss": 1.0})
    assert progress.epoch == 4
    assert progress.best == [1, 2], "a tie goes to the earlier epoch"


@pytest.fixture
def _own_signals() -> Iterator[None]:
    """As a program has them; pytest's worker processes ignore Ctrl-C."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    take_sigterm()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_own_signals")
@pytest.mark.parametrize(("told", "by"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_told_to_end_the_update_is_completed_and_saved(told: int, by: type[BaseException], tmp_path: Path) -> None:
    """No checkpoint was due: without it the training would begin anew."""
    rare = toy_trainer(checkpoint_every=1000)
    whole, whole_progress = fit(tmp_path / "whole", rare)

    def told_stream(start: int) -> Iterator[Batch]:
        for number, batch in enumerate(stream(start)):
            if number == 2:  # the first iteration of the second update
                os.kill(os.getpid(), told)
            yield batch

    with pytest.raises(by) as ended:
        fit(tmp_path / "told", rare, batches=told_stream)
    assert type(ended.value) is by
    assert status_of(ended.value) == 128 + told
    assert [path.name for path in (tmp_path / "told/checkpoints").iterdir()] == ["00000004-0000"]
    resumed, progress = fit(tmp_path / "told", rare)
    assert torch.equal(whole.linear.weight, resumed.linear.weight)
    assert whole_progress.history == progress.history


@pytest.mark.usefixtures("_own_signals")
def test_told_twice_it_ends_at_once(tmp_path: Path) -> None:
    def told_stream(start: int) -> Iterator[Batch]:
        for number, batch in enumerate(stream(start)):
            if number == 2:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)
            yield batch

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, toy_trainer(checkpoint_every=1000), batches=told_stream)
    assert not (tmp_path / "checkpoints").exists()


def test_told_to_end_in_a_validation_what_was_trained_is_saved(tmp_path: Path) -> None:
    rare = toy_trainer(checkpoint_every=1000)
    whole, _ = fit(tmp_path / "whole", rare)

    def told() -> dict[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "told", rare, validate=told)
    resumed, _ = fit(tmp_path / "told", rare)
    assert torch.equal(whole.linear.weight, resumed.linear.weight)
    assert json.loads((tmp_path / "told" / PROGRESS_FILE).read_text())["num_utterances"] == 24 * 6


@pytest.mark.parametrize("every", [3, 1000])  # the last update of an epoch leaves a checkpoint, or none
def test_told_to_end_in_the_same_validation_again_and_again(every: int, tmp_path: Path) -> None:
    trainer = toy_trainer(checkpoint_every=every, iterations_per_epoch=6)
    whole, _ = fit(tmp_path / "whole", trainer)

    def told() -> dict[str, float]:
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / "told", trainer, validate=told)
        assert [path.name for path in (tmp_path / "told/checkpoints").iterdir()] == ["00000006-0000"]
    resumed, _ = fit(tmp_path / "told", trainer)
    assert torch.equal(whole.linear.weight, resumed.linear.weight)


def test_killed_while_the_checkpoint_of_an_epochs_end_replaces_one_of_the_same_iteration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = fit(tmp_path / "whole", toy_trainer(checkpoint_every=6))
    renamed = []

    def dying_replace(source: Path, target: Path) -> None:
        renamed.append(target)
        if len([path for path in renamed if "checkpoints" in str(path) and path.suffix == ""]) == 2:
            raise Killed
        os.rename(source, target)

    monkeypatch.setattr(checkpoint_module.os, "replace", dying_replace)
    with pytest.raises(Killed):
        fit(tmp_path / "killed", toy_trainer(checkpoint_every=6))
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "killed" / "checkpoints").glob("[0-9]*")] == ["00000006-0000"]
    resumed, _ = fit(tmp_path / "killed", toy_trainer(checkpoint_every=6))
    assert torch.equal(whole.linear.weight, resumed.linear.weight)


def test_the_first_checkpoint_of_a_resume_is_above_zero(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with pytest.raises(Killed):
        fit(tmp_path, validate=lambda: (_ for _ in ()).throw(Killed))
    fit(tmp_path)
    assert "resuming from iteration 4" in caplog.text


def test_the_estimate_counts_no_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """Six updates between validations, of which one lies among those that are timed: 2 s for each update, 1,000 for that."""
    now = [0.0]
    monkeypatch.setattr("mlsuperb.training.loop.time.perf_counter", lambda: now[0])

    def slow_stream(start: int) -> Iterator[Batch]:
        for batch in stream(start):
            now[0] += 1.0
            yield batch

    def slow_validation() -> dict[str, float]:
        now[0] += 1000.0
        return {"valid_loss": 1.0}

    caplog.set_level("INFO")
    trainer = toy_trainer(iterations_per_epoch=12, checkpoint_every=1000)
    _, progress = fit(tmp_path, trainer, batches=slow_stream, validate=slow_validation)
    assert "1.00 s per iteration: about 18 s for the 18 that are left, validation not counted" in caplog.text
    assert progress.wall_s == 4 * (12 + 1000)


def test_a_peak_of_memory_is_that_of_all_starts(tmp_path: Path) -> None:
    _, progress = fit(tmp_path)
    here_gb = progress.peak_gb(torch.device("cpu"))
    assert here_gb >= progress.memory_gb > 0
    assert replace(progress, memory_gb=here_gb + 50).peak_gb(torch.device("cpu")) == here_gb + 50


def test_a_batch_that_does_not_fit_on_the_device_is_one_sentence(tmp_path: Path) -> None:
    def too_large(start: int) -> Iterator[Batch]:
        for batch in stream(start):
            object.__setattr__(batch, "to", refuse)
            yield batch

    def refuse(device: torch.device) -> Batch:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(ValueError, match="the memory is too small: it ran out on a batch of 6 utterances"):
        fit(tmp_path, batches=too_large)


def test_only_what_is_trained_is_saved_and_moved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = Toy().state_dict()
    model, _ = fit(tmp_path)
    assert not model.training
    saved = load_file(tmp_path / MODEL_FILE)
    expected = {"linear.weight", "linear.bias", "norm.weight", "norm.bias"}
    expected |= {f"norm.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert set(saved) == expected
    assert torch.equal(before["frozen.weight"], model.frozen.weight)
    assert not torch.equal(before["linear.weight"], model.linear.weight)


def test_the_best_epochs_are_averaged(tmp_path: Path) -> None:
    losses = iter([3.0, 1.0, 2.0, 4.0])
    model, progress = fit(tmp_path, validate=lambda: {"valid_loss": next(losses)})
    assert progress.best == [2, 3]
    kept = sorted((tmp_path / "best").iterdir())
    assert [path.name for path in kept] == ["epoch_0002.safetensors", "epoch_0003.safetensors"]
    first, second = map(load_file, kept)
    assert torch.equal(model.linear.weight, torch.stack([first["linear.weight"], second["linear.weight"]]).mean(0))
    counted = "norm.num_batches_tracked"
    assert first[counted] != second[counted]
    assert model.norm.num_batches_tracked == first[counted], "of whole numbers there is no mean"


@pytest.mark.parametrize(("keep", "epoch"), [("best", 2), ("last", 4)])
def test_the_best_epoch_or_the_last_is_kept(tmp_path: Path, keep: str, epoch: int) -> None:
    losses, weights = iter([3.0, 1.0, 2.0, 4.0]), []
    torch.manual_seed(0)
    model = Toy()

    def validate() -> dict[str, float]:
        weights.append(model.linear.weight.detach().clone())
        return {"valid_loss": next(losses)}

    progress = toy_trainer(keep=keep).fit(model, batches=stream, validate=validate, folder=tmp_path)
    assert progress.best == [epoch]
    assert [path.name for path in (tmp_path / "best").iterdir()] == [f"epoch_{epoch:04d}.safetensors"]
    assert torch.equal(model.linear.weight, weights[epoch - 1])
    assert len({tuple(one.flatten().tolist()) for one in weights}) == 4


@pytest.mark.parametrize("keep", ["best_mean", "last"])
def test_patience_stops_early(tmp_path: Path, keep: str) -> None:
    losses = iter([1.0, 2.0, 3.0, 0.5])
    _, progress = fit(tmp_path, toy_trainer(patience=2, keep=keep), validate=lambda: {"valid_loss": next(losses)})
    assert progress.epoch == 3


def test_a_non_finite_loss_names_its_batch_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"the loss or its gradient became nan at iteration 8, on the examples utt_7_0, .*lower trainer",
    ):
        fit(tmp_path, batches=partial(stream, poison=7))
    (kept,) = (tmp_path / "checkpoints").iterdir()
    assert kept.name == "00000006-0001"
    assert all(torch.isfinite(tensor).all() for tensor in load_file(kept / "weights.safetensors").values())


def poisoned(*iterations: int) -> Callable[[int], Iterator[Batch]]:
    def batches(start: int) -> Iterator[Batch]:
        for iteration, batch in enumerate(stream(start), start):
            yield replace(batch, targets_BS=batch.targets_BS * torch.nan) if iteration in iterations else batch

    return batches


def test_updates_that_are_not_finite_are_skipped_and_counted_up_to_a_limit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two iterations make an update; the bad one's loss is in no mean, and its weights are those of before."""
    trainer, weights = toy_trainer(max_skipped_steps=2), []

    def batches(start: int) -> Iterator[Batch]:
        for batch in poisoned(3, 12)(start):
            weights.append(model.linear.weight.detach().clone())
            yield batch

    torch.manual_seed(0)
    model = Toy()
    progress = trainer.fit(model, batches=batches, validate=validation(model), folder=tmp_path)
    assert progress.counts == {"seen": 20, "skipped_steps": 2}
    assert progress.num_utterances == 24 * 6
    assert all(map(math.isfinite, (value for epoch in progress.history for value in epoch.values())))
    assert [torch.equal(weights[at], weights[at + 2]) for at in (0, 2, 4, 12)] == [False, True, False, True]
    assert "skipped update 1 of at most 2 without a finite loss and gradient: after iteration 2, on the" in caplog.text
    with pytest.raises(
        ValueError, match=r"in 3 updates, more than .*=2 allows, the last .* after iteration 18, .*utt_18_0"
    ):
        fit(tmp_path / "more", trainer, batches=poisoned(3, 12, 19))


def test_skipped_updates_are_counted_over_all_starts(tmp_path: Path) -> None:
    trainer = toy_trainer(max_skipped_steps=1, checkpoint_every=2)
    with pytest.raises(Killed):
        fit(tmp_path, trainer, batches=lambda start: _killed_after(poisoned(1)(start), 8))
    with pytest.raises(ValueError, match=r"in 2 updates.*max_skipped_steps=1"):
        fit(tmp_path, trainer, batches=poisoned(13))


def _killed_after(batches: Iterator[Batch], num: int) -> Iterator[Batch]:
    yield from islice(batches, num)
    raise Killed


def test_the_gradient_norm_is_a_curve(tmp_path: Path) -> None:
    fit(tmp_path, toy_trainer(trackers=["tensorboard"], grad_clip=None))
    (file,) = tmp_path.rglob("events.out.*")
    events = EventAccumulator(str(file.parent)).Reload()
    assert {"train/loss", "train/gradient_norm", "train/lr"} <= set(events.Tags()["scalars"])
    norms = [(one.step, one.value) for one in events.Scalars("train/gradient_norm")]
    assert [step for step, _ in norms] == list(range(2, 26, 2))
    assert norms[0][1] == pytest.approx(first_gradient_norm())


def first_gradient_norm() -> float:
    """Of the first update of a toy, by hand."""
    torch.manual_seed(0)
    model, batches = Toy(), stream(0)
    for _ in range(2):
        (model(next(batches)).loss / 2).backward()
    return float(torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None]).norm())


@pytest.mark.parametrize("clip", [0.01, None])
def test_an_update_is_as_long_as_its_clipped_gradient(tmp_path: Path, clip: float | None) -> None:
    torch.manual_seed(0)
    before = dict(Toy().named_parameters())
    trainer = toy_trainer(
        optimizer=partial(torch.optim.SGD, lr=1.0),
        schedule=Constant(),
        iterations_per_epoch=2,
        max_epochs=1,
        grad_clip=clip,
    )
    model, _ = fit(tmp_path, trainer)
    moved = torch.cat([(one - before[name]).detach().flatten() for name, one in model.named_parameters()]).norm()
    assert float(moved) == pytest.approx(clip or first_gradient_norm(), rel=1e-4)


def test_a_non_finite_gradient_is_found_although_the_loss_is_finite(tmp_path: Path) -> None:
    class Root(Toy):
        def forward(self, batch: Batch, turn: str = "") -> Loss:
            root = (self.linear.weight * 0).abs().sum().sqrt()  # 0, with the gradient 0 * inf
            return Loss(root + 0 * super().forward(batch).loss)

    with pytest.raises(ValueError, match="the loss or its gradient became nan at iteration 2"):
        toy_trainer().fit(Root(), batches=stream, validate=lambda: {"valid_loss": 1.0}, folder=tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_a_full_disk_is_one_clear_error_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = []

    def full_disk(*arguments: object) -> None:
        writes.append(arguments)
        if len(writes) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        save_file(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(checkpoint_module, "save_file", full_disk)
    with pytest.raises(OSError, match=r"no space left on the disk while writing .*checkpoints.*free some space"):
        fit(tmp_path)
    monkeypatch.undo()
    assert (tmp_path / "checkpoints" / "00000004-0000" / "state.pt").is_file()
    _, progress = fit(tmp_path)
    assert progress.iteration == 24


def test_a_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    fit(tmp_path)
    (folder,) = (tmp_path / "checkpoints").iterdir()
    save_file({"other.weight": torch.zeros(2)}, folder / "weights.safetensors")
    with pytest.raises(ValueError, match=r"does not belong to this model: 7 tensors are missing.*1 are unknown"):
        fit(tmp_path)
    (folder / "weights.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(ValueError, match="cannot be read as safetensors weights"):
        fit(tmp_path)


def test_bf16_keeps_weights_in_fp32(tmp_path: Path) -> None:
    model, progress = fit(tmp_path, toy_trainer(precision="bf16"))
    assert model.linear.weight.dtype == torch.float32
    assert progress.epoch == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iterations_per_epoch": 10, "accumulate": 4}, "must be a multiple of trainer.accumulate=4"),
        ({"device": "cuda:99x"}, "trainer.device=cuda:99x is no device"),
        pytest.param(
            {"device": "cuda"},
            "sees no CUDA device here; give auto or cpu",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
        ),
    ],
)
def test_problems_are_seen_before_training(settings: dict[str, object], message: str) -> None:
    asked = {
        "iterations_per_epoch": 8,
        "accumulate": 4,
        "device": "cpu",
        "compile": False,
        "trackers": [],
        **settings,
    }
    (problem,) = Trainer.problems(**asked)  # type: ignore[arg-type]
    assert message in problem


def test_one_cycle_rises_and_falls() -> None:
    schedule = OneCycle(warmup=0.1, final=0.01)
    factors = [schedule(update, 100) for update in range(100)]
    assert factors.index(max(factors)) in (9, 10)
    assert factors[0] == pytest.approx(0.1)
    assert factors[-1] == pytest.approx(0.01, abs=1e-3)


def test_linear_decay_is_fairseqs() -> None:
    """`polynomial_decay` with `warmup_updates` 8, `total_num_update` 100 and `power` 1, after each number of updates."""
    schedule = LinearDecay(warmup=0.08)
    factors = [schedule(update, 100) for update in range(101)]
    assert factors[:9] == pytest.approx([update / 8 for update in range(9)])
    assert factors[8:] == pytest.approx([(100 - update) / 92 for update in range(8, 101)])
    assert LinearDecay(warmup=0, final=0.5)(0, 10) == 1
    assert LinearDecay(warmup=0, final=0.5)(10, 10) == 0.5


ACCELERATES = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "3",
    "ACCELERATE_DYNAMO_BACKEND": "EAGER",
    "ACCELERATE_USE_DEEPSPEED": "true",
    "ACCELERATE_USE_MEGATRON_LM": "true",
    "ACCELERATE_USE_FSDP": "true",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "true",
    "ACCELERATE_MIXED_PRECISION": "bf16",
    "ACCELERATE_TORCH_DEVICE": "meta",
}


@pytest.mark.parametrize("given", [*({name: value} for name, value in ACCELERATES.items()), ACCELERATES])
def test_the_environment_of_accelerate_trains_nothing(
    given: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected, _ = fit(tmp_path / "without")
    assert "in the environment" not in caplog.text
    monkeypatch.setenv("ACCELERATE_DYNAMO_MODE", "default")  # as `accelerate launch` sets it unasked
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found, _ = fit(tmp_path / "with")
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, found.state_dict()[name]), name
    listed = ", ".join(f"{name}={value}" for name, value in sorted(given.items()))
    assert f"{listed} in the environment has no effect here" in caplog.text


@pytest.mark.parametrize("figure", ["valid_loss", "valid_other"])
def test_a_validation_that_is_not_finite_ends_the_training_at_once(figure: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"the validation has no finite result: {figure} is nan\. Look"):
        fit(tmp_path, validate=lambda: {"valid_loss": 1.0, "valid_other": 2.0, figure: math.nan})
    assert not (tmp_path / MODEL_FILE).exists()


def _interrupted(folder: Path, *, after: int = 14) -> Path:
    """The checkpoint of a training that was killed at an iteration."""

    def dying_stream(start: int) -> Iterator[Batch]:
        yield from islice(stream(start), after - start)
        raise Killed

    with pytest.raises(Killed):
        fit(folder, batches=partial(dying_stream))
    (checkpoint,) = (folder / "checkpoints").iterdir()
    return checkpoint


@pytest.mark.parametrize("name", ["state.pt", "weights.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_checkpoint_that_was_cut_is_one_sentence(name: str, share: float, tmp_path: Path) -> None:
    newest = _interrupted(tmp_path)
    content = (newest / name).read_bytes()
    (newest / name).write_bytes(content[: round(len(content) * share)])
    message = rf"the checkpoint {newest} is damaged \({name}.*\), and there is no older one.*remove {newest.parent}"
    with pytest.raises(ValueError, match=message):
        fit(tmp_path)
    (newest / name).unlink()
    with pytest.raises(ValueError, match=rf"the checkpoint {newest} is damaged"):
        fit(tmp_path)


@pytest.mark.parametrize("name", ["state.pt", "weights.safetensors"])
def test_an_older_whole_checkpoint_is_taken(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole, expected = fit(tmp_path / "whole")
    older = _interrupted(tmp_path / "killed", after=7)
    kept = Path(shutil.copytree(older, tmp_path / "kept"))
    newest = _interrupted(tmp_path / "killed")
    shutil.copytree(kept, older)
    (newest / name).write_bytes((newest / name).read_bytes()[:100])
    found, progress = fit(tmp_path / "killed")
    assert f"the checkpoint {newest} is damaged" in caplog.text
    assert f"is passed over: the training goes on from {older}" in caplog.text
    assert progress.history == expected.history
    for key, tensor in whole.state_dict().items():
        assert torch.equal(tensor, found.state_dict()[key]), key


def test_a_state_with_another_byte_is_never_gone_on_from(tmp_path: Path) -> None:
    newest = _interrupted(tmp_path)
    content = (newest / "state.pt").read_bytes()
    name, key = b"data.pkl", b"train_loss"
    for place in (content.index(key) + 2, len(content) // 2, content.index(name) + len(name) + 80):
        spoilt = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        (newest / "state.pt").write_bytes(spoilt)
        with pytest.raises(ValueError, match=rf"{newest / 'state.pt'} cannot be read \("):
            fit(tmp_path)
    (newest / "state.pt").write_bytes(content)
    fit(tmp_path)


@pytest.mark.parametrize("content", [[1], {"progress": {}}, torch.zeros(3)])
def test_a_state_that_is_none_is_one_sentence(content: object, tmp_path: Path) -> None:
    newest = _interrupted(tmp_path)
    torch.save(content, newest / "state.pt")
    with pytest.raises(ValueError, match=rf"{newest / 'state.pt'} cannot be read \(it holds no state of a training\)"):
        fit(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"iteration": 1, "who": 2}', "{"])
def test_a_record_of_a_training_that_is_damaged_is_one_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text(content)
    with pytest.raises(ValueError, match=r"training\.json (is not JSON|holds no JSON|does not hold what it should)"):
        Progress.load(tmp_path / "training.json")
