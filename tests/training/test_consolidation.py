"""Elastic weight consolidation against a computation by hand."""

from __future__ import annotations

import pytest
import torch

from mlsuperb.training.consolidation import WeightAnchor, fisher_information


def test_the_penalty_of_consolidation_by_hand() -> None:
    """lambda / 2 * sum F (theta - theta_0)^2 and its gradient lambda F (theta - theta_0)."""
    one, other = torch.nn.Parameter(torch.tensor([1.0, 2.0])), torch.nn.Parameter(torch.tensor([3.0]))
    fisher = {"one": torch.tensor([2.0, 0.0]), "other": torch.tensor([1.0])}
    anchor = WeightAnchor({"one": one, "other": other}, fisher, weight=10)
    assert anchor().item() == 0
    with torch.no_grad():
        one += torch.tensor([0.5, 7.0])
        other -= 1
    assert anchor().item() == pytest.approx(10 / 2 * (2 * 0.25 + 1))
    anchor().backward()
    assert one.grad is not None
    assert other.grad is not None
    assert one.grad.tolist() == [10.0, 0.0]
    assert other.grad.tolist() == [-10.0]


def test_fisher_information_by_hand() -> None:
    """Of the loss (w x)^2 / 2 the gradient is w x^2: its square, a mean over the first two examples of many."""
    weight, unused = torch.nn.Parameter(torch.tensor([2.0])), torch.nn.Parameter(torch.ones(3))
    examples = (torch.tensor(value) for value in (1.0, 2.0, 5.0))
    found = fisher_information(
        {"weight": weight, "unused": unused}, examples, loss=lambda x: 0.5 * (weight * x).square().sum(), num=2
    )
    assert found["weight"].tolist() == [(2.0**2 + 8.0**2) / 2]
    assert found["unused"].tolist() == [0, 0, 0]
    assert next(examples).item() == 5, "no more is loaded than counts"
    assert weight.grad is None
