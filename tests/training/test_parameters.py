"""What is trained, how much of it, at which rate, from when on."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from test_trainer import Toy, fit, toy_trainer
from torch import nn

from mlsuperb.runtime.messages import describe_trained
from mlsuperb.training.parameters import (
    Unfreezing,
    check_cap,
    check_gradients,
    count_trained,
    num_parameters,
    parameter_groups,
)
from mlsuperb.training.schedules import Warmup
from mlsuperb.training.trainable import Advice, Trainable


class TwoParts(Toy):
    """The toy with its frozen layer trained, too."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen.requires_grad_(True)


def train(model: Trainable, folder: Path, **settings: object) -> Trainable:
    from test_trainer import stream, validation

    torch.manual_seed(0)
    trainer = toy_trainer(trackers=["tensorboard"], **settings)
    trainer.fit(model, batches=stream, validate=validation(model), folder=folder)
    return model


def test_trained_parameters_are_counted_by_part() -> None:
    counts = count_trained(Toy())
    assert counts == {"linear": 9, "norm": 2}
    assert describe_trained(counts) == "11 trained parameters (linear 9, norm 2)"


def test_more_than_the_cap_is_refused_before_training(tmp_path: Path) -> None:
    check_cap({"head": 10}, 10, Advice())
    with pytest.raises(ValueError, match=r"11 trained parameters \(linear 9, norm 2\) are above .*=10.*null"):
        fit(tmp_path, toy_trainer(max_trainable_params=10))
    assert not (tmp_path / "checkpoints").exists()


def test_each_part_learns_at_its_own_rate() -> None:
    groups = parameter_groups(dict(TwoParts().trained()), {"frozen": 1e-3, "frozen.bias": 1e-4})
    assert [(group["prefix"], group.get("lr"), len(group["params"])) for group in groups] == [
        ("", None, 4),
        ("frozen", 1e-3, 1),
        ("frozen.bias", 1e-4, 1),
    ]


def test_a_rate_of_zero_effect_is_seen_in_the_weights(tmp_path: Path) -> None:
    start = TwoParts().frozen.weight.shape
    torch.manual_seed(3)
    model = TwoParts()
    before = model.frozen.weight.detach().clone(), model.linear.weight.detach().clone()
    sgd = partial(torch.optim.SGD, lr=1e-2)
    train(model, tmp_path, learning_rates={"frozen": 1e-12}, optimizer=sgd)
    assert start == before[0].shape
    assert torch.allclose(model.frozen.weight, before[0], atol=1e-9)
    assert (model.linear.weight - before[1]).abs().max() > 1e-3


def test_a_part_waits_for_its_update(tmp_path: Path) -> None:
    """12 updates in all; an averaged weight hides nothing where nothing moved."""
    moved = {}
    for after in (0, 3, 11):
        torch.manual_seed(3)
        model = TwoParts()
        before = model.frozen.weight.detach().clone()
        train(model, tmp_path / str(after), unfreeze_after={"frozen": after}, keep_best=1, select_by="valid_loss")
        moved[after] = (model.frozen.weight.detach() - before).abs().max().item()
        assert all(parameter.requires_grad for parameter in model.parameters())
    assert moved[11] < moved[3] / 10 < moved[0]  # at 11 the last update alone, at the end of the cycle


def test_what_waits_gets_no_gradient() -> None:
    model = TwoParts()
    unfreezing = Unfreezing(dict(model.trained()), {"frozen": 5}, num_updates=12)
    for update, expected in ((4, False), (5, True)):
        with unfreezing.held(update):
            assert model.frozen.weight.requires_grad is expected
            assert model.linear.weight.requires_grad
        assert model.frozen.weight.requires_grad


def test_a_part_of_a_part_waits_for_an_update_of_its_own() -> None:
    """As with `learning_rates`, the longest prefix counts; and nothing is counted twice."""
    model = nn.ModuleDict({"upstream": nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)]), "head": nn.Linear(1, 1)})
    late, early = model["upstream"]
    for after in (0, 10):
        unfreezing = Unfreezing(dict(model.named_parameters()), {"upstream": 5, "upstream.1": after}, num_updates=12)
        seen = []
        for update in (0, 4, 5, 10):
            with unfreezing.held(update):
                seen.append((late.weight.requires_grad, early.weight.requires_grad))
        assert [one for one, _ in seen] == [False, False, True, True]
        assert [one for _, one in seen] == [update >= after for update in (0, 4, 5, 10)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"learning_rates": {"upstream": 1e-5}},
            "learning_rates names 'upstream', where nothing is trained.*linear, norm",
        ),
        ({"unfreeze_after": {"frozen": 5}}, "unfreeze_after names 'frozen', where nothing is trained"),
        ({"unfreeze_after": {"linear": 5, "norm": 2}}, "holds everything that is trained"),
        ({"unfreeze_after": {"norm": 12}}, "would never train norm: the whole training has 12 updates"),
        ({"unfreeze_after": {"": 5}}, "holds everything that is trained"),
    ],
)
def test_settings_that_fit_nothing_are_refused(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(tmp_path, toy_trainer(**settings))


def test_warmup_is_espnets() -> None:
    """`WarmupLR` of ESPnet with 25,000 steps: lr * w^0.5 * min(step^-0.5, step * w^-1.5), step from 1."""
    factor = Warmup(updates=25_000)
    assert factor(0, 1) == pytest.approx(1 / 25_000)
    assert factor(12_499, 1) == pytest.approx(0.5)
    assert factor(24_999, 1) == pytest.approx(1)
    assert factor(99_999, 1) == pytest.approx(0.5)


def test_parameters_that_the_loss_does_not_reach_are_named() -> None:
    model = nn.ModuleDict({"used": nn.Linear(2, 2), "forgotten": nn.Linear(2, 2), "frozen": nn.Linear(2, 2)})
    model["frozen"].requires_grad_(False)
    model["used"](torch.ones(1, 2)).sum().backward()
    with pytest.raises(ValueError, match=r"2 tensors .* get no gradient .*: forgotten\.weight, forgotten\.bias\."):
        check_gradients(model, Advice())
    model["forgotten"].requires_grad_(False)
    check_gradients(model, Advice())


def test_many_are_cut_short() -> None:
    with pytest.raises(ValueError, match=r"6 tensors .*0\.weight, 0\.bias, 1\.weight, 1\.bias, 2\.weight, \.\.\.\."):
        check_gradients(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1)), Advice())


def test_a_gradient_of_zero_is_one() -> None:
    model = nn.Linear(2, 2)
    (0 * model(torch.ones(1, 2))).sum().backward()
    check_gradients(model, Advice())


def test_counting() -> None:
    assert num_parameters(nn.Linear(3, 4).parameters()) == 16
    assert num_parameters([]) == 0
