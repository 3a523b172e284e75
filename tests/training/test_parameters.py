from __future__ import annotations

import pytest
import torch
from torch import nn

from mlsuperb.training.parameters import check_gradients, num_parameters


def test_parameters_that_the_loss_does_not_reach_are_named() -> None:
    model = nn.ModuleDict({"used": nn.Linear(2, 2), "forgotten": nn.Linear(2, 2), "frozen": nn.Linear(2, 2)})
    model["frozen"].requires_grad_(False)
    model["used"](torch.ones(1, 2)).sum().backward()
    with pytest.raises(ValueError, match=r"2 tensors .* get no gradient .*: forgotten\.weight, forgotten\.bias\."):
        check_gradients(model)
    model["forgotten"].requires_grad_(False)
    check_gradients(model)


def test_many_are_cut_short() -> None:
    with pytest.raises(ValueError, match=r"6 tensors .*0\.weight, 0\.bias, 1\.weight, 1\.bias, 2\.weight, \.\.\.\."):
        check_gradients(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1)))


def test_a_gradient_of_zero_is_one() -> None:
    model = nn.Linear(2, 2)
    (0 * model(torch.ones(1, 2))).sum().backward()
    check_gradients(model)


def test_counting() -> None:
    assert num_parameters(nn.Linear(3, 4).parameters()) == 16
    assert num_parameters([]) == 0
