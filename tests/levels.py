"""A model whose output can be worked out by hand: every 10 ms of constant level k / 10 is the token k."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from mlsuperb.benchmark.recogniser import Recogniser
from mlsuperb.data.batching import SortedBatches
from mlsuperb.data.loading import Loading
from mlsuperb.data.vocabulary import Vocabulary
from mlsuperb.decoding.greedy import Greedy
from mlsuperb.tasks.asr_lid import ASRLID
from mlsuperb.types import Batch, Encoded, Loss

TOKENS = ["<blank>", "<unk>", "<space>", "[deu]", "[eng]", "A", "B", "C", "<sos/eos>"]
FRAME = 160


class Levels(nn.Module):
    """Encoder and objective in one; the loss of an utterance is the number of its tokens."""

    rates = ("silly",)
    utterance_level = False

    def __init__(self) -> None:
        super().__init__()
        self.objective = self

    def encode(self, batch: Batch) -> Encoded:
        wave_BT, lengths_B = batch.wave_BT, batch.lengths_B
        num_frames = wave_BT.shape[1] // FRAME
        frames_BFT = wave_BT[:, : num_frames * FRAME].reshape(len(wave_BT), num_frames, FRAME)
        return Encoded((10 * frames_BFT.mean(-1)).round().long(), lengths_B // FRAME)

    def forward(
        self, encoded: Encoded, targets_BS: Tensor, target_lengths_B: Tensor, languages: Sequence[str] = ()
    ) -> Loss:
        counts = {"num_silly_errors": len(targets_BS), "num_silly_tokens": target_lengths_B.sum()}
        return Loss(target_lengths_B.float().mean(), counts)

    def attention(self, encoded: Encoded) -> None:
        return None

    def log_probs(self, encoded: Encoded) -> Encoded:
        posteriors = nn.functional.one_hot(encoded.values, len(TOKENS)).float()
        return Encoded((9 * posteriors).log_softmax(-1), encoded.lengths_B)


def recogniser(
    *, task: Any = None, tokens: list[str] = TOKENS, decoder: Any = None, batch_s: float = 0.5
) -> Recogniser:
    return Recogniser(
        model=Levels(),  # type: ignore[arg-type]
        task=task or ASRLID(),
        vocabulary=Vocabulary(tokens),
        decoder=decoder or Greedy(),
        loading=Loading(train=SortedBatches(batch_size=2), eval_batch_s=batch_s, num_workers=0),
        device=torch.device("cpu"),
        precision="fp32",
    )


def say(path: Path, said: Sequence[tuple[str, float]]) -> Path:
    """An audio file of (token, seconds)."""
    levels = [np.full(round(100 * seconds) * FRAME, TOKENS.index(token) / 10) for token, seconds in said]
    soundfile.write(path, np.concatenate(levels), 16_000)
    return path
