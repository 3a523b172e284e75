"""Two small jobs that are nothing like the benchmark: an adversarial model of two turns, and a masked language model, whose
batches have no audio. As a script:

    python toy_jobs.py FOLDER NAME KILL_AT          # ends by SIGKILL before that iteration
    torchrun --nproc-per-node 2 toy_jobs.py FOLDER  # all of `ON_TWO_RANKS`
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mlsuperb.runtime import ranks
from mlsuperb.training.progress import Progress
from mlsuperb.training.schedules import LinearDecay
from mlsuperb.training.trainable import Advice, Trainable
from mlsuperb.training.trainer import Trainer
from mlsuperb.types import Loss

VOCAB_SIZE = 12


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of token indices, of which those in `masked_BS` are to be guessed."""

    ids: tuple[str, ...]
    tokens_BS: Tensor
    masked_BS: Tensor
    share: float = 1.0

    @property
    def amount(self) -> float:
        return float(self.tokens_BS.numel())

    def to(self, device: torch.device | str) -> Rows:
        return replace(self, tokens_BS=self.tokens_BS.to(device), masked_BS=self.masked_BS.to(device))

    def describe(self) -> str:
        return f"{len(self.ids)} texts"


class Guesser(Trainable):
    """A masked language model: its loss is the mean over the masked tokens."""

    advice: ClassVar = Advice(memory="Give shorter texts")

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB_SIZE + 1, 8)
        self.encoder = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Dropout(dropout)) for _ in range(2))
        self.out = nn.Linear(8, VOCAB_SIZE)

    def forward(self, batch: Rows, turn: str = "") -> Loss:
        hidden_BSD = self.embed(batch.tokens_BS.masked_fill(batch.masked_BS, VOCAB_SIZE))
        hidden_BSD = hidden_BSD + hidden_BSD.roll(1, 1)
        for block in self.encoder:
            hidden_BSD = hidden_BSD + block(hidden_BSD)
        logits_NV, targets_N = self.out(hidden_BSD)[batch.masked_BS], batch.tokens_BS[batch.masked_BS]
        num = torch.tensor(len(targets_N))
        total = nn.functional.cross_entropy(logits_NV, targets_N, reduction="sum")
        right = (logits_NV.argmax(-1) == targets_N).sum()
        return Loss(total / num.clamp(min=1), {"num_masked": num}, weight=num, rates={"accuracy": (right, num)})

    def blocks(self) -> Iterable[nn.Module]:
        return self.encoder


class Uneven(Guesser):
    """Its blocks take turns, batch by batch."""

    uneven: ClassVar = True

    def forward(self, batch: Rows, turn: str = "") -> Loss:
        number = int(batch.ids[0].split("_")[1]) % 2
        both, self.encoder = self.encoder, self.encoder[number : number + 1]  # type: ignore[assignment]
        try:
            return super().forward(batch)
        finally:
            self.encoder = both


class Adversarial(Trainable):
    """A generator of vectors, and a discriminator that tells them from embedded tokens."""

    turns: ClassVar = ("discriminator", "generator")

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(4, 8), nn.Dropout(dropout), nn.Linear(8, 4))
        self.discriminator = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1))

    def trained(self, turn: str = "") -> Iterable[tuple[str, nn.Parameter]]:
        return ((name, one) for name, one in super().trained() if name.startswith(turn))

    def forward(self, batch: Rows, turn: str = "") -> Loss:
        real_BD, noise_BD = batch.tokens_BS[:, :4] / VOCAB_SIZE, batch.tokens_BS[:, 4:] / VOCAB_SIZE
        made_BD = self.generator(noise_BD)
        if turn == "generator":
            return Loss(nn.functional.softplus(-self.discriminator(made_BD)).mean())
        real_B, made_B = self.discriminator(real_BD), self.discriminator(made_BD.detach())
        loss = (nn.functional.softplus(-real_B) + nn.functional.softplus(made_B)).mean()
        found = (real_B > 0).sum() + (made_B < 0).sum()
        return Loss(loss, rates={"found": (found, torch.tensor(2 * len(real_B)))})


def whole_batch(iteration: int) -> Rows:
    """Five rows with 0 to 7 masked tokens, most of them in the last; every fourth batch has one row alone."""
    generator = torch.Generator().manual_seed(iteration)
    num = 1 if iteration % 4 == 3 else 5
    tokens_BS = torch.randint(VOCAB_SIZE, (num, 8), generator=generator)
    masked_BS = torch.rand(num, 8, generator=generator) < torch.linspace(0.9, 0.1, num)[:, None]
    return Rows(ids=tuple(f"text_{iteration}_{row}" for row in range(num)), tokens_BS=tokens_BS, masked_BS=masked_BS)


def stream(start: int) -> Iterator[Rows]:
    """What this rank computes of each batch: every other row of two ranks; the first again, which does not count, where
    there is none for it."""
    iteration = start
    while True:
        whole, iteration = whole_batch(iteration), iteration + 1
        rows = list(range(len(whole.ids)))[ranks.rank() :: ranks.world()]
        own = rows or [0]
        ids = tuple(whole.ids[row] for row in own)
        yield Rows(
            ids=ids,
            tokens_BS=whole.tokens_BS[own],
            masked_BS=whole.masked_BS[own],
            share=len(rows) / len(whole.ids),
        )


def dying(kill_at: int) -> Callable[[int], Iterator[Rows]]:
    def batches(start: int) -> Iterator[Rows]:
        for iteration, batch in enumerate(stream(start), start):
            if iteration == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    return batches


MODELS: dict[str, type[Trainable]] = {"text": Guesser, "uneven": Uneven, "adversarial": Adversarial}
ON_TWO_RANKS: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("text", {}),
    "text_accumulated": ("text", {"accumulate": 3}),
    "uneven": ("uneven", {"accumulate": 2}),
    "uneven_fsdp": ("uneven", {"accumulate": 2, "parallel": "fsdp"}),
    "text_fsdp": ("text", {"parallel": "fsdp"}),
    "adversarial": ("adversarial", {"unfreeze_after": {"discriminator": 3}, "learning_rates": {"generator": 2e-2}}),
    "adversarial_fsdp": ("adversarial", {"parallel": "fsdp"}),
}


def train(
    name: str,
    folder: Path,
    *,
    batches: Callable[[int], Iterator[Any]] = stream,
    dropout: float = 0.2,
    model: Trainable | None = None,
    **settings: Any,
) -> tuple[Trainable, Progress]:
    """Train one of `MODELS`, 24 iterations in 4 epochs, in `folder`."""
    torch.manual_seed(0)
    model = model or MODELS[name](dropout=dropout)  # type: ignore[call-arg]

    def validate() -> dict[str, float]:
        with torch.inference_mode():
            return {"valid_loss": float(model(whole_batch(1000), model.turns[-1]).loss)}

    defaults: dict[str, Any] = {
        "optimizer": partial(torch.optim.Adam, lr=1e-2),
        "schedule": LinearDecay(warmup=0.2),
        "iterations_per_epoch": 6,
        "max_epochs": 4,
        "keep": "last",
        "checkpoint_every": 4,
        "log_every": 2,
        "trackers": [],
        "device": "cpu",
    }
    progress = Trainer(**{**defaults, **settings}).fit(model, batches=batches, validate=validate, folder=folder)
    return model, progress


if __name__ == "__main__":
    root, *kill = sys.argv[1:]
    if kill:
        train(kill[0], Path(root), batches=dying(int(kill[1])), accumulate=2)
    with ranks.joined():
        for job, (kind, others) in ON_TWO_RANKS.items():
            train(kind, Path(root) / job, dropout=0.0, **others)
