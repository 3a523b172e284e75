"""What the posteriors of a window say: text, language, when each token is said.

Letters: B windows, F frames, V vocabulary, C languages.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mlsuperb.decoding.alignment import align
from mlsuperb.layers.masks import valid_mask
from mlsuperb.runs.transcripts import Timed
from mlsuperb.runs.windows import Window
from mlsuperb.types import BLANK, Encoded


def cut(encoded: Encoded, windows: Sequence[Window]) -> Encoded:
    """The frames that are kept of each window."""
    lengths = encoded.lengths_B.tolist()
    kept = [window.kept_frames(length) for window, length in zip(windows, lengths, strict=True)]
    if kept == [(0, length) for length in lengths]:
        return encoded
    rows = [values[first:last] for values, (first, last) in zip(encoded.values, kept, strict=True)]
    numbers_B = torch.tensor([last - first for first, last in kept], device=encoded.values.device)
    return Encoded(pad_sequence(rows, batch_first=True), numbers_B)


def language_probabilities(posteriors: Encoded, languages: dict[int, str]) -> list[dict[str, float]]:
    """For each utterance, language -> the probability that the output begins with its token, by CTC (or of that class, in the one
    frame of a classifier), as a share of all languages.

    Args:
        languages: index of the token -> language.
    """
    indices = torch.tensor(list(languages), device=posteriors.values.device)
    log_probs_BFC = posteriors.values[..., indices].float()
    blank_BF = posteriors.values[..., BLANK].float()  # the first token follows blanks alone
    before_BF = torch.nn.functional.pad(blank_BF.cumsum(1)[:, :-1], (1, 0))
    valid_BF = valid_mask(posteriors.lengths_B, blank_BF.shape[1])
    paths_BFC = (log_probs_BFC + before_BF[..., None]).masked_fill(~valid_BF[..., None], -torch.inf)
    shares_BC = paths_BFC.logsumexp(1).softmax(-1).nan_to_num()
    return [dict(zip(languages.values(), row, strict=True)) for row in shares_BC.tolist()]


def timed(
    log_probs_FV: Tensor, tokens: Sequence[int], texts: Sequence[str], window: Window, num_frames: int
) -> list[Timed]:
    """When tokens are said, in seconds of the recording. Where the frames are too few for them, as can happen to what an
    attention decoder writes, each has the whole stretch for its time and no confidence.

    Args:
        log_probs_FV: of the frames that are kept of the window.
        texts: of the tokens.
        num_frames: of the whole window.
    """
    spans = align(log_probs_FV, tokens)
    if spans is None:
        return [Timed(text, window.from_s, window.to_s, 0.0) for text in texts]
    first, _ = window.kept_frames(num_frames)
    return [
        Timed(
            text,
            window.time_s(first + span.start, num_frames),
            window.time_s(first + span.end, num_frames),
            span.confidence,
        )
        for text, span in zip(texts, spans, strict=True)
    ]
