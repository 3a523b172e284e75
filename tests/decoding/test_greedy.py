from __future__ import annotations

import itertools

import pytest
import torch

from mlsuperb.decoding.greedy import Greedy


def spikes(path: list[int], *, vocab_size: int = 6) -> torch.Tensor:
    logits_FV = torch.zeros(len(path), vocab_size)
    logits_FV[torch.arange(len(path)), path] = 5
    return logits_FV.log_softmax(-1)


@pytest.mark.parametrize(
    ("path", "tokens"),
    [
        ([0, 1, 1, 0, 1, 2, 2, 3, 0], [1, 1, 2, 3]),
        ([4, 4, 4], [4]),
        ([0, 0], []),
        ([1, 0, 1, 0], [1, 1]),
    ],
)
def test_repetitions_merge_and_blanks_go(path: list[int], tokens: list[int]) -> None:
    log_probs_FV = spikes(path)
    (decoded,) = Greedy()(log_probs_FV[None], torch.tensor([len(path)]))
    assert decoded.tokens == tokens
    assert decoded.score == pytest.approx(float(log_probs_FV.max(-1).values.sum()), rel=1e-5)


def test_the_end_symbol_is_never_chosen() -> None:
    log_probs_FV = spikes([5, 2, 5])
    log_probs_FV[[0, 2], 0] += 1  # the next best
    (decoded,) = Greedy()(log_probs_FV[None], torch.tensor([3]))
    assert decoded.tokens == [2]


def test_batches_and_padding() -> None:
    torch.manual_seed(0)
    lengths_B = torch.tensor([30, 1, 17, 0, 8])
    log_probs_BFV = torch.randn(5, 35, 6).log_softmax(-1)
    decoded = Greedy()(log_probs_BFV, lengths_B)
    for row, length in enumerate(lengths_B.tolist()):
        best = log_probs_BFV[row, :length, :-1].argmax(-1).tolist()
        assert decoded[row].tokens == [token for token, _ in itertools.groupby(best) if token]
    assert len(decoded) == 5
    assert decoded[3].tokens == []
    assert decoded[3].score == 0
