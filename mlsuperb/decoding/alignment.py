"""When each token of an output is said, found in the posteriors.

Letters: F frames, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from mlsuperb.types import BLANK


@dataclass(frozen=True)
class Span:
    """The frames from `start` to before `end` that a token takes, and the geometric mean of its posteriors there."""

    start: int
    end: int
    confidence: float


def align(log_probs_FV: Tensor, tokens: Sequence[int]) -> list[Span] | None:
    """The spans of tokens (no blanks) on the most probable CTC path that spells them, by
    `torchaudio.functional.forced_align`; None where the frames are too few for them: one for each token, and one for a blank
    between two equal ones."""
    num_repeats = sum(one == other for one, other in pairwise(tokens))
    if len(tokens) + num_repeats > len(log_probs_FV):
        return None
    if not tokens:
        return []
    from torchaudio.functional import forced_align, merge_tokens

    needed = [BLANK, *dict.fromkeys(tokens)]  # all that a path can pass through: no more of V has to leave the device
    log_probs_FN = log_probs_FV[:, torch.tensor(needed, device=log_probs_FV.device)].float().cpu()
    numbers = {token: number for number, token in enumerate(needed)}
    targets_1S = torch.tensor([[numbers[token] for token in tokens]])
    path_1F, scores_1F = forced_align(log_probs_FN[None], targets_1S, blank=0)
    spans = merge_tokens(path_1F[0], scores_1F[0].exp(), blank=0)
    return [Span(one.start, one.end, one.score) for one in spans]
