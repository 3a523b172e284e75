"""Self-conditioned CTC (Nozaki and Komatsu 2021, arXiv 2104.02724).

Letters: B batch, F frames, H encoded size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class SelfConditioning(nn.Module):
    """Self-conditioned CTC: behind some blocks, the CTC posteriors of their output are
    projected and added to the input of the next one (ESPnet's `conditioning_layer`, with the CTC layer itself).

    Args:
        size: H.
        vocab_size: V.
        blocks: behind which, counted from 1.
    """

    def __init__(self, size: int, *, vocab_size: int, blocks: Sequence[int]) -> None:
        super().__init__()
        self.after = frozenset(blocks)
        self.posteriors = nn.Linear(size, vocab_size)
        self.back = nn.Linear(vocab_size, size)

    def forward(self, values_BFH: Tensor) -> Tensor:
        """The input of the next block, from the output of one of `blocks`."""
        conditioned_BFH: Tensor = values_BFH + self.back(self.posteriors(values_BFH).softmax(-1))
        return conditioned_BFH
