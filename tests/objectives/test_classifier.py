from __future__ import annotations

import torch
from torch import nn

from mlsuperb.decoding.argmax import Argmax
from mlsuperb.objectives.classifier import UtteranceClassifier
from mlsuperb.types import Encoded


def make_case() -> tuple[UtteranceClassifier, Encoded]:
    torch.manual_seed(0)
    return UtteranceClassifier(input_size=6, vocab_size=4), Encoded(torch.randn(3, 8, 6), torch.tensor([8, 5, 1]))


def test_mean_pooling_over_valid_frames_and_cross_entropy() -> None:
    objective, encoded = make_case()
    pooled = [values[:length].mean(0) for values, length in zip(encoded.values, (8, 5, 1), strict=True)]
    logits_BV = objective.out(torch.stack(pooled))
    log_probs = objective.log_probs(encoded)
    torch.testing.assert_close(log_probs.values, logits_BV.log_softmax(-1)[:, None])
    assert log_probs.lengths_B.tolist() == [1, 1, 1]
    targets_B = torch.tensor([0, 3, 2])
    result = objective(encoded, targets_B[:, None], torch.ones(3, dtype=torch.long))
    torch.testing.assert_close(result.loss, nn.functional.cross_entropy(logits_BV, targets_B))
    assert result.counts == {}


def test_unseen_classes_have_no_loss() -> None:
    objective, encoded = make_case()
    ones = torch.ones(3, dtype=torch.long)
    seen = Encoded(encoded.values[[0, 2]], encoded.lengths_B[[0, 2]])
    expected = objective(seen, torch.tensor([[1], [2]]), ones[:2]).loss
    torch.testing.assert_close(objective(encoded, torch.tensor([[1], [-1], [2]]), ones).loss, expected)
    nothing = objective(encoded, torch.tensor([[-1], [-1], [-1]]), ones).loss
    assert nothing.item() == 0


def test_gradients_and_argmax() -> None:
    objective, encoded = make_case()
    objective(encoded, torch.tensor([[1], [0], [3]]), torch.ones(3, dtype=torch.long)).loss.backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in objective.parameters())
    log_probs = objective.log_probs(encoded)
    decoded = Argmax()(log_probs.values, log_probs.lengths_B)
    assert [one.tokens for one in decoded] == [[int(row.argmax())] for row in log_probs.values[:, 0]]
    assert [one.score for one in decoded] == log_probs.values[:, 0].amax(-1).tolist()
    assert UtteranceClassifier.specials == ()
    first_and_last = torch.tensor([[[2.0, 0, 0, 0]], [[0, 0, 0, 2.0]]]).log_softmax(-1)
    assert [one.tokens for one in Argmax()(first_and_last, torch.ones(2))] == [[0], [3]]
