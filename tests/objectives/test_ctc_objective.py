from __future__ import annotations

import itertools
import math

import pytest
import torch

from mlsuperb.objectives.ctc import CTC, min_frames
from mlsuperb.types import BLANK, Encoded


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(token for token, _ in itertools.groupby(path) if token != 0)


def make_objective(**settings: float) -> CTC:
    torch.manual_seed(0)
    return CTC(input_size=6, vocab_size=5, **settings).eval()


def test_the_loss_is_minus_the_log_probability_of_all_paths_over_the_batch_size() -> None:
    objective = make_objective()
    encoded = Encoded(torch.randn(3, 4, 6), torch.tensor([4, 3, 2]))
    targets, targets_BS = [(1, 2), (2, 2), (3,)], torch.tensor([[1, 2], [2, 2], [3, 0]])
    log_probs_BFV = objective.log_probs(encoded).values.detach()
    expected = 0.0
    for log_probs_FV, length, target in zip(log_probs_BFV, (4, 3, 2), targets, strict=True):
        paths = [path for path in itertools.product(range(5), repeat=length) if collapse(path) == target]
        assert paths
        scores = [sum(float(log_probs_FV[frame, token]) for frame, token in enumerate(path)) for path in paths]
        expected -= math.log(sum(map(math.exp, scores))) / 3
    result = objective(encoded, targets_BS, torch.tensor([2, 2, 1]))
    assert result.loss.item() == pytest.approx(expected, rel=1e-5)
    assert int(result.counts["num_unaligned"]) == 0


def test_padding_never_changes_a_loss() -> None:
    objective = make_objective()
    lengths, target_lengths = [9, 7, 4], [3, 2, 1]
    values_BFH, targets_BS = torch.randn(3, 12, 6), torch.randint(1, 4, (3, 6))
    together = objective(Encoded(values_BFH, torch.tensor(lengths)), targets_BS, torch.tensor(target_lengths)).loss
    alone = [
        objective(
            Encoded(values_BFH[row : row + 1, :length], torch.tensor([length])),
            targets_BS[row : row + 1, :size],
            torch.tensor([size]),
        ).loss
        for row, (length, size) in enumerate(zip(lengths, target_lengths, strict=True))
    ]
    torch.testing.assert_close(together, torch.stack(alone).mean())


def test_utterances_too_short_for_their_text_are_counted_and_weigh_nothing() -> None:
    objective = make_objective()
    values_BFH = torch.randn(3, 3, 6, requires_grad=True)
    targets_BS = torch.tensor([[1, 2, 3], [1, 1, 2], [1, 2, 2]])
    result = objective(Encoded(values_BFH, torch.tensor([3, 3, 2])), targets_BS, torch.tensor([3, 3, 2]))
    # the second; what follows the two tokens of the third does not count
    assert int(result.counts["num_unaligned"]) == 1
    result.loss.backward()
    assert values_BFH.grad is not None
    assert values_BFH.grad[[0, 2]].abs().sum(dim=(1, 2)).gt(0).all()
    assert not values_BFH.grad[1].any()
    assert result.loss.isfinite()


def test_fewest_frames() -> None:
    targets_BS = torch.tensor([[1, 1, 1, 2], [1, 2, 1, 2], [1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]])
    assert min_frames(targets_BS, torch.tensor([4, 4, 2, 1, 0])).tolist() == [6, 4, 3, 1, 0]


def test_log_probs_are_fp32_also_under_autocast() -> None:
    objective, encoded = make_objective(), Encoded(torch.randn(2, 4, 6).bfloat16(), torch.tensor([4, 2]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        log_probs = objective.log_probs(encoded)
    assert log_probs.values.dtype == torch.float32
    assert log_probs.lengths_B is encoded.lengths_B
    expected = torch.nn.functional.linear(encoded.values.float(), objective.out.weight, objective.out.bias)
    torch.testing.assert_close(log_probs.values, expected.log_softmax(-1))


def test_dropout_in_training_only() -> None:
    objective, encoded = make_objective(dropout=0.5), Encoded(torch.randn(1, 4, 6), torch.tensor([4]))
    assert torch.equal(objective.log_probs(encoded).values, objective.log_probs(encoded).values)
    objective.train()
    assert not torch.equal(objective.log_probs(encoded).values, objective.log_probs(encoded).values)


def test_what_the_vocabulary_needs_to_know() -> None:
    assert CTC.specials[BLANK] == "<blank>"
    assert CTC.specials == ("<blank>", "<unk>", "<sos/eos>")
    assert sum(parameter.numel() for parameter in CTC(input_size=256, vocab_size=100).parameters()) == 257 * 100
