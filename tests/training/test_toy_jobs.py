"""The loop trains models that are nothing like the benchmark's: two turns, and batches without audio."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import toy_jobs
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from toy_jobs import Adversarial, Guesser, Rows, stream, train, whole_batch

from mlsuperb.training.loop import MODEL_FILE
from mlsuperb.training.progress import PROGRESS_FILE, Progress
from mlsuperb.training.trainable import Trainable
from mlsuperb.types import Loss

SCRIPT = Path(toy_jobs.__file__)


def curves(folder: Path) -> dict[str, list[float]]:
    (found,) = folder.rglob("events.out.*")
    events = EventAccumulator(str(found.parent)).Reload()
    return {name: [one.value for one in events.Scalars(name)] for name in events.Tags()["scalars"]}


@pytest.mark.parametrize("name", toy_jobs.MODELS)
def test_what_sigkill_ended_resumes_to_the_same_bits(name: str, tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "killed"), name, "14"],
        capture_output=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert [path.name for path in (tmp_path / "killed" / "checkpoints").iterdir()] == ["00000012-0002"]
    _, progress = train(name, tmp_path / "killed", accumulate=2)
    _, expected = train(name, tmp_path / "whole", accumulate=2)
    assert (progress.history, progress.counts) == (expected.history, expected.counts)
    assert progress.num_utterances == expected.num_utterances == 24 * 4  # 5, 5, 5 and 1
    weights = [(tmp_path / one / MODEL_FILE).read_bytes() for one in ("killed", "whole")]
    assert weights[0] == weights[1]


@pytest.fixture(scope="module")
def on_two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("two")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, str(SCRIPT), str(root)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    # gloo's threads have aborted a rank as the interpreter ended, after all was written; nothing else is let pass
    all_written = all((root / job / PROGRESS_FILE).is_file() for job in toy_jobs.ON_TWO_RANKS)
    aborted_at_exit = all_written and "terminate called without an active exception" in done.stderr
    assert done.returncode == 0 or aborted_at_exit, done.stderr[-5000:]
    return root


@pytest.mark.parametrize("job", toy_jobs.ON_TWO_RANKS)
def test_two_ranks_give_what_one_gives(job: str, on_two_ranks: Path, tmp_path: Path) -> None:
    """Masked tokens are dealt out unevenly, and one rank is empty-handed at every fourth batch: only weights by masked tokens,
    not by rows, give the mean over the whole batch."""
    kind, settings = toy_jobs.ON_TWO_RANKS[job]
    model, progress = train(kind, tmp_path, dropout=0.0, **settings)
    found = Progress.load(on_two_ranks / job / PROGRESS_FILE)
    assert len(found.history) == 4
    for mine, its in zip(progress.history, found.history, strict=True):
        assert its == pytest.approx(mine, rel=1e-4)
    assert (found.counts, found.num_utterances) == (progress.counts, progress.num_utterances)
    start = type(model)(dropout=0.0).state_dict()
    both, _ = train(kind, on_two_ranks / job, dropout=0.0, **settings)  # loads what is there: the training has ended
    for name, tensor in model.state_dict().items():
        assert torch.allclose(both.state_dict()[name], tensor, rtol=1e-3, atol=1e-4), name
        assert not torch.allclose(start[name], tensor, rtol=1e-2, atol=1e-3), name


def test_each_turn_moves_its_own_and_has_curves_of_its_own(tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []

    class Watched(Adversarial):
        def forward(self, batch: Rows, turn: str = "") -> Loss:
            moving = {name.partition(".")[0] for name, one in self.named_parameters() if one.requires_grad}
            seen.append((batch.ids[0], turn))
            assert self.training is False or moving == {turn}
            return super().forward(batch, turn)

    _, progress = train("", tmp_path, model=Watched(), max_epochs=1, trackers=["tensorboard"])
    at_first = [("text_0_0", "discriminator"), ("text_0_0", "generator"), ("text_1_0", "discriminator")]
    assert seen[:3] == at_first
    names = {"train_loss_discriminator", "train_found_discriminator", "train_loss_generator"}
    assert set(progress.history[0]) == {"epoch", "valid_loss", *names}
    assert 0 < progress.history[0]["train_found_discriminator"] < 1
    found = curves(tmp_path)
    expected = {f"train/{one}/{turn}" for one in ("loss", "gradient_norm", "lr") for turn in Watched.turns}
    assert set(found) == {*expected, "train/found/discriminator", "train/speed", "valid/loss"}
    assert all(len(values) == 3 for name, values in found.items() if name not in ("valid/loss", "train/speed"))
    assert all(value > 0 for value in found["train/gradient_norm/generator"])


def test_a_turn_whose_part_waits_is_left_out_until_then(tmp_path: Path) -> None:
    model = Adversarial(dropout=0.0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    _, progress = train("", tmp_path, model=model, unfreeze_after={"generator": 23}, max_epochs=4)
    assert ["train_loss_generator" in epoch for epoch in progress.history] == [False, False, False, True]
    assert not torch.equal(before["discriminator.0.weight"], model.state_dict()["discriminator.0.weight"])


def test_rates_are_quotients_of_sums_over_an_epoch(tmp_path: Path) -> None:
    found = []

    class Listed(Guesser):
        def forward(self, batch: Rows, turn: str = "") -> Loss:
            loss = super().forward(batch, turn)
            if self.training:
                found.append([float(number) for number in loss.rates["accuracy"]])
            return loss

    _, progress = train("", tmp_path, model=Listed(), trackers=["tensorboard"])
    for epoch, entry in enumerate(progress.history):
        right, num = torch.tensor(found)[6 * epoch : 6 * epoch + 6].sum(0)
        assert entry["train_accuracy"] == pytest.approx(float(right / num))
    assert progress.counts["num_masked"] == sum(num for _, num in found)
    right, num = torch.tensor(found)[:2].sum(0)
    assert curves(tmp_path)["train/accuracy"][0] == pytest.approx(float(right / num))


def test_speed_is_counted_in_what_the_batch_says(tmp_path: Path) -> None:
    _, progress = train("text", tmp_path)
    warm = range(3, 24)  # updates; the first three warm up
    assert progress.timed_audio_s == sum(whole_batch(iteration).amount for iteration in warm)


def test_blocks_are_what_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda module, **_: compiled.append(module))
    model = Guesser()
    train("", tmp_path, model=model, compile=True, max_epochs=1)
    assert compiled == list(model.encoder)
    with pytest.raises(ValueError, match=r"this model has none: set trainer\.compile=false"):
        train("adversarial", tmp_path / "other", compile=True)


def test_messages_speak_of_the_model_in_its_own_words(tmp_path: Path) -> None:
    class Large(Guesser):
        def forward(self, batch: Rows, turn: str = "") -> Loss:
            raise torch.OutOfMemoryError("CUDA out of memory")

    class Deaf(Guesser):
        def blocks(self) -> list[nn.Module]:
            return []

        def forward(self, batch: Rows, turn: str = "") -> Loss:
            return Loss(self.out.weight.sum())

    cases: list[tuple[Trainable, str]] = [
        (Large(), r"it ran out on a batch of 5 texts \(.*\)\. Give shorter texts\. Checkpoints are intact"),
        (Deaf(), r"6 tensors .* no gradient .* embed\.weight, .*depends on them: do not train them"),
    ]
    for model, message in cases:
        with pytest.raises(ValueError, match=message):
            train("", tmp_path, model=model)


def test_an_update_without_a_finite_gradient_is_skipped_in_its_turn_alone(tmp_path: Path) -> None:
    class Spoilt(Adversarial):
        def forward(self, batch: Rows, turn: str = "") -> Loss:
            loss = super().forward(batch, turn)
            bad = turn == "generator" and batch.ids[0] == "text_5_0"
            return replace(loss, loss=loss.loss * torch.nan) if bad else loss

    _, progress = train("", tmp_path, model=Spoilt(), max_skipped_steps=1)
    assert progress.counts == {"skipped_steps": 1}
    assert all(value == value for epoch in progress.history for value in epoch.values())


def test_batches_are_drawn_once_for_all_turns(tmp_path: Path) -> None:
    drawn = []

    def counted(start: int) -> Iterator[Rows]:
        for batch in stream(start):
            drawn.append(batch.ids[0])
            yield batch

    train("adversarial", tmp_path, batches=counted, accumulate=3)
    assert drawn == [f"text_{iteration}_0" for iteration in range(24)]
