"""Frames that CTC needs: one for every token, and a blank between two that are the same."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mlsuperb.layers.frontends import SHORTENING
from mlsuperb.objectives.ctc import min_frames
from mlsuperb.types import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from mlsuperb.benchmark.recogniser import Recogniser
    from mlsuperb.data.dataset import SpeechDataset

log = logging.getLogger(__name__)

FEW_FRAMES_HZ = 12.5  # OWSM 4, Parakeet: read speech of many languages has 12 to 15 letters per second
NUM_LOOKED_AT = 1000  # utterances
MOST_LOST, WORTH_SAYING = 0.5, 0.05  # share of utterances that CTC cannot align


def card_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """A front end that takes frames away where the upstream (`frame_rate_hz` of its card) leaves none to spare."""
    rate_hz = (config["upstream"].get("card") or {}).get("frame_rate_hz")
    frontend = config["head"].get("frontend", "linear")
    shortening = SHORTENING.get(frontend, 1)
    if isinstance(rate_hz, int | float) and rate_hz <= FEW_FRAMES_HZ and shortening > 1:
        yield (
            f"upstream={config['upstream']['name']} gives {rate_hz:g} frames per second, of which head.frontend={frontend} "
            f"leaves {rate_hz / shortening:g}: fewer than speech has letters in many languages (12 to 15 per second), and CTC "
            "needs a frame for each. Set head.frontend=linear"
        )


def check_frames(config: Mapping[str, Any], recogniser: Recogniser, train: SpeechDataset) -> None:
    """Refuse a training most of whose texts have more tokens than the model gives frames, and say it where some do.

    Raises:
        ValueError: CTC can align less than half of the utterances, or of `NUM_LOOKED_AT` of them.
    """
    if not recogniser.task.has_text or recogniser.model.objective.utterance_level:
        return
    indices = np.unique(np.linspace(0, len(train) - 1, NUM_LOOKED_AT).round().astype(int))
    samples_N = torch.from_numpy(train.durations_s[indices] * SAMPLE_RATE_HZ).round().long()
    frames_N = recogniser.model.head.num_frames(recogniser.model.upstream.num_frames(samples_N))
    targets = [torch.from_numpy(train.without_wave(index).target) for index in indices.tolist()]
    targets_NS = torch.nn.utils.rnn.pad_sequence(targets, batch_first=True)
    lost_N = frames_N < min_frames(targets_NS, torch.tensor([len(one) for one in targets]))
    share = lost_N.double().mean().item()
    if share < WORTH_SAYING:
        return
    frontend = config["head"].get("frontend", "linear")
    fewer = (
        f", of which head.frontend={frontend} leaves one in {SHORTENING[frontend]}"
        if SHORTENING.get(frontend, 1) > 1
        else ""
    )
    problem = (
        f"{int(lost_N.sum())} of {len(indices)} train utterances have more tokens than frames: upstream="
        f"{config['upstream']['name']} gives {recogniser.model.upstream.frame_rate_hz:g} per second{fewer}. CTC learns nothing "
        f"from these. {'Set head.frontend=linear' if fewer else 'Take an upstream with more frames per second'}"
    )
    if share > MOST_LOST:
        raise ValueError(problem)
    log.warning("%s", problem)
