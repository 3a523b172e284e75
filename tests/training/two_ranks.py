"""What `torchrun` starts in `test_distributed.py`: several runs one after the other, so that torch is imported once.

    torchrun --nproc-per-node 2 two_ranks.py RUNS.json

RUNS.json: a list of keyword arguments of `run`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mlsuperb.config.compose import compose
from mlsuperb.decoding.base import Decoded
from mlsuperb.decoding.greedy import Greedy
from mlsuperb.run import run_experiment
from mlsuperb.runtime import ranks
from mlsuperb.training.loop import Batches, Loop
from mlsuperb.types import Batch

plain_run, plain_greedy = Loop.run, Greedy.__call__


def talkative(decoder: Greedy, log_probs_BFV: Tensor, lengths_B: Tensor, *others: Any) -> list[Decoded]:
    """Greedy decoding that hears a token in every frame: after so few steps the blank is always likeliest."""
    without_blank_BFV = log_probs_BFV.clone()
    without_blank_BFV[..., 0] = -torch.inf
    return plain_greedy(decoder, without_blank_BFV, lengths_B, *others)


def run(
    overrides: list[str], *, dropout: bool = False, stop_at: int | None = None, poison: bool = False, lone: bool = False
) -> None:
    """One run.

    Args:
        dropout: else there is none.
        stop_at: as if someone had pressed Ctrl-C before this iteration.
        poison: the last rank gets a wave that is no number; all say what comes of it on stderr.
        lone: the last rank cannot read a file, and the job ends.
    """

    def prepared(loop: Loop, batches: Batches) -> None:
        for module in [] if dropout else loop.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            elif isinstance(getattr(module, "dropout", None), float):  # attention of transformers
                module.dropout = 0.0
        plain_run(loop, lambda start: spoilt(batches(start), stop_at, start, poison=poison, lone=lone))

    Loop.run, Greedy.__call__ = prepared, talkative  # type: ignore[method-assign]
    try:
        run_experiment(compose(overrides))
    except KeyboardInterrupt:
        assert stop_at is not None
    except ValueError as error:
        if not poison:
            raise
        sys.stderr.write(f"\nrank {ranks.rank()} says: {error}\n")  # at once: two ranks write to one terminal
    finally:
        Loop.run, Greedy.__call__ = plain_run, plain_greedy  # type: ignore[method-assign]


def spoilt(batches: Iterator[Batch], stop_at: int | None, start: int, *, poison: bool, lone: bool) -> Iterator[Batch]:
    last = ranks.rank() == ranks.world() - 1
    for iteration, batch in enumerate(batches, start):
        if iteration == stop_at:
            raise KeyboardInterrupt
        if lone and last:
            raise ValueError("one.wav cannot be read")
        yield replace(batch, wave_BT=batch.wave_BT * torch.nan) if poison and last else batch


if __name__ == "__main__":
    with ranks.joined():
        for arguments in json.loads(Path(sys.argv[1]).read_text()):
            run(**arguments)
