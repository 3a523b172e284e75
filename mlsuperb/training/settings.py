"""Settings of a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch.optim import Optimizer

from mlsuperb.runtime.device import compile_problem, device_problem
from mlsuperb.training.distributed import Parallel
from mlsuperb.training.schedules import Constant, Schedule
from mlsuperb.training.trackers import PROJECT


@dataclass(kw_only=True)
class TrainingSettings:
    """How a model is trained.

    An iteration is one batch forward and backward; `accumulate` iterations make one update of the weights. An epoch is a
    fixed number of iterations, whatever the size of the corpus (ESPnet's `num_iters_per_epoch`); after each the model is
    validated, and the weights of the `keep_best` best epochs are averaged in the end. A model with several turns
    (`Trainable.turns`) has an optimiser and a schedule for each, all of these settings.

    Args:
        optimizer: builds the optimiser of each turn from the parameters it trains.
        iterations_per_epoch: a multiple of `accumulate`.
        max_epochs: at most so many.
        accumulate: iterations to an update; the loss of each counts 1 / accumulate.
        schedule: factor on every learning rate.
        learning_rates: rates of parts, by prefix of parameter names (`{upstream: 1e-5}`); the optimiser's for all others.
        unfreeze_after: parts that stay as they are for so many updates first, by prefix (`{upstream: 1000}`); in both, the
            longest prefix that fits a name counts.
        max_trainable_params: refuse to train more; None for no limit. ML-SUPERB 2.0 allows 100 million.
        grad_clip: largest L2 norm of the gradient (of each turn); None for no clipping.
        max_skipped_steps: updates without a finite loss and gradient that are skipped and counted (`skipped_steps`) before the
            training fails; buffers such as a batch norm's averages have seen their batches all the same. With 0 the first one
            is an error; with more the host waits for the device at every update.
        precision: `bf16` computes in bfloat16 where autocast allows, weights stay fp32.
        compile: compile the model's Transformer blocks (`torch.compile`), in what follows the training, too: pays in long
            trainings on a GPU, after a minute or more of compiling; dropout draws other numbers.
        device: `auto` takes a free CUDA device, else the CPU.
        parallel: what several processes do with a model: each has a copy (`ddp`), or a part of it and of the optimiser's state
            (`fsdp`, for models that are too large otherwise). The numbers are the same, and so are the checkpoints.
        keep: the weights to end with: the average of the best epochs (`best_mean`), the best epoch's (`best`) or the last
            epoch's (`last`).
        keep_best: epochs to average.
        select_by: the figure of the validation that says which epochs are best; lower is better (`select_misfits`).
        patience: stop after so many epochs without a better one; None for never.
        checkpoint_every: iterations between checkpoints inside an epoch (there is one at the end of each besides).
        log_every: iterations between points of the training curve.
        trackers: where curves go, with settings and a few texts: tensorboard, wandb.
        project: of wandb.
    """

    not_science: ClassVar = (
        "device", "parallel", "compile", "optimizer.fused", "max_trainable_params", "log_every", "checkpoint_every", "trackers",
        "project",
    )  # fmt: skip

    optimizer: Callable[..., Optimizer]
    iterations_per_epoch: PositiveInt
    max_epochs: PositiveInt
    accumulate: PositiveInt = 1
    schedule: Schedule = field(default_factory=Constant)
    learning_rates: dict[str, PositiveFloat] = field(default_factory=dict)
    unfreeze_after: dict[str, NonNegativeInt] = field(default_factory=dict)
    max_trainable_params: PositiveInt | None = None
    grad_clip: PositiveFloat | None = 5.0
    max_skipped_steps: NonNegativeInt = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    device: str = "auto"
    parallel: Parallel = "ddp"
    keep: Literal["best_mean", "best", "last"] = "best_mean"
    keep_best: Annotated[int, Field(ge=1)] = 5
    select_by: str = "valid_loss"
    patience: PositiveInt | None = None
    checkpoint_every: PositiveInt = 1000
    log_every: PositiveInt = 20
    trackers: list[Literal["tensorboard", "wandb"]] = field(default_factory=lambda: ["tensorboard"])
    project: str = PROJECT

    @classmethod
    def problems(
        cls, *, iterations_per_epoch: int, accumulate: int, device: str, compile: bool, trackers: list[str], **_: Any
    ) -> list[str]:
        """What can be seen without a model."""
        found = [problem] if (problem := device_problem(device)) else []
        if compile and (problem := compile_problem()):
            found.append(problem)
        if iterations_per_epoch % accumulate:
            found.append(
                f"trainer.iterations_per_epoch={iterations_per_epoch} must be a multiple of "
                f"trainer.accumulate={accumulate}, so that an epoch ends with an update"
            )
        if "wandb" in trackers:
            from importlib.util import find_spec

            if find_spec("wandb") is None:
                found.append("trainer.trackers has wandb, which is not installed: pip install 'mlsuperb[wandb]'")
        return found

    @property
    def num_iterations(self) -> int:
        """Iterations of the whole training."""
        return self.iterations_per_epoch * self.max_epochs

    @property
    def num_kept(self) -> int:
        """Epochs whose weights are kept."""
        return self.keep_best if self.keep == "best_mean" else 1


def select_misfits(config: Mapping[str, Any], groups: Sequence[str], *, figures: Sequence[str]) -> Iterator[str]:
    """See `Job.misfits`: epochs that are chosen by what is no figure of a job's validation, or by one of which more is better.

    Args:
        figures: those of which lower is better.
    """
    if "trainer" not in groups:
        return
    chosen = config["trainer"].get("select_by", TrainingSettings.select_by)
    if chosen not in figures:
        yield (
            f"trainer.select_by={chosen} is no figure of this validation of which lower is better; use one of "
            f"{', '.join(figures)}"
        )
