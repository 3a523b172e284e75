"""What `make parity` is judged by, without ESPnet: our own head stands in for it, and a copy of it is broken on purpose."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from mlsuperb.espnet.keys import CTC_LAYER, HEADS
from mlsuperb.heads.encoder import EncoderHead
from mlsuperb.objectives.ctc import CTC
from mlsuperb.types import Encoded
from scripts.parity.heads import MOST_FRAMES_IN_FP32, Utterances, compare, make_ours
from scripts.parity.padding import against_alone
from scripts.parity.report import Check, Errors, judged, no_worse, report

NAME, SIZE = "transformer", 80


class StandIn(nn.Module):
    """Our head and output layer with the interface and the names of `EspnetHead`, and oneDNN's convolution as there."""

    def __init__(self, head: EncoderHead, objective: CTC) -> None:
        super().__init__()
        self.head, self.objective = copy.deepcopy((head, objective))
        self.head.frontend.fewer_products = False

    def named_parameters(self, *args: object, **kwargs: object) -> Iterator[tuple[str, nn.Parameter]]:  # type: ignore[override]
        yield from ((HEADS[NAME].theirs(name), one) for name, one in self.head.named_parameters())
        yield from ((CTC_LAYER.theirs(name), one) for name, one in self.objective.named_parameters())

    def forward(self, feats_BFD: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        encoded = self.head(feats_BFD, lengths_B)
        return encoded.values, encoded.lengths_B

    def ctc(self, values_BFH: Tensor, lengths_B: Tensor, targets_BS: Tensor, target_lengths_B: Tensor) -> Tensor:
        return self.objective(Encoded(values_BFH, lengths_B), targets_BS, target_lengths_B).loss


def nothing(head: EncoderHead) -> None:
    """A good tree."""


def a_weight(head: EncoderHead) -> None:
    """0.1 % of one of the head's matrices."""
    with torch.no_grad():
        head.blocks[1].ffn[0].weight.mul_(1.001)


def an_epsilon(head: EncoderHead) -> None:
    """1e-6 in the layer norms, in place of ESPnet's 1e-12: lost in the rounding of fp32, and seen in float64."""
    for norm in head.modules():
        if isinstance(norm, nn.LayerNorm):
            assert norm.eps == 1e-12
            norm.eps = 1e-6


def a_gradient(head: EncoderHead) -> None:
    """1 % of the gradient of one parameter; outputs and losses are right."""
    head.frontend.conv1.bias.register_hook(lambda gradient: 1.01 * gradient)


def not_a_number(head: EncoderHead) -> None:
    """One weight."""
    with torch.no_grad():
        head.blocks[0].ffn[0].bias[0] = torch.nan


GRADIENT, FLOAT64 = "gradient, worst parameter", "the same in float64"
PARTS = ("output", "frames", "CTC loss", GRADIENT, FLOAT64)


@pytest.mark.parametrize(
    ("breaking", "failed"),
    [
        (nothing, []),
        (a_weight, ["output", "CTC loss", GRADIENT, FLOAT64]),
        (an_epsilon, [FLOAT64]),
        (a_gradient, [GRADIENT]),
        (not_a_number, ["output", "CTC loss", GRADIENT, FLOAT64]),
    ],
)
def test_a_small_fault_is_seen_and_rounding_is_none(breaking: Callable[[EncoderHead], None], failed: list[str]) -> None:
    torch.manual_seed(0)
    head, objective = make_ours(NAME, SIZE)
    espnet = StandIn(head, objective)
    breaking(head)
    batches = [Utterances.random(head, num_frames=[MOST_FRAMES_IN_FP32], input_size=SIZE) for _ in range(3)]
    checks = list(compare("{}", NAME, head, objective, espnet, batches))
    assert [check.name for check in checks] == [f"{NAME}: {part}" for part in PARTS]
    assert [check.name.partition(": ")[2] for check in checks if not check.passed] == failed, [
        check.found for check in checks
    ]


class LeakyNorm(nn.Module):
    """The mean of all frames of a batch that is padded."""

    def forward(self, feats_BFD: Tensor, lengths_B: Tensor) -> Tensor:
        return feats_BFD - feats_BFD.mean(1, keepdim=True)


@pytest.mark.parametrize("leaky", [None, "ours", "ESPnet's"])
def test_what_depends_on_padding_is_seen_on_either_side(leaky: str | None) -> None:
    torch.manual_seed(0)
    head, objective = make_ours(NAME, SIZE)
    espnet = StandIn(head, objective)
    if leaky:
        (head if leaky == "ours" else espnet.head).norm = LeakyNorm()
    one = Utterances.random(head, num_frames=(12, 8, 9), input_size=SIZE)
    assert one.target_lengths_B.tolist() == [1, 1, 1]
    of_both, *of_each = against_alone("x", head, espnet, one, sound=True)
    assert of_both.passed is (leaky != "ours"), "an utterance alone has no padding"
    assert [check.passed for check in of_each] == [leaky != "ours", leaky != "ESPnet's"]
    if leaky is None:
        assert all(check.passed is not False for check in compare("{}", NAME, head, objective, espnet, [one]))
        *_, shown = against_alone("x", head, espnet, one, sound=False)
        assert shown.passed is None, "an older release is not judged by it"


def test_ours_may_be_three_times_as_far_from_float64_as_espnet() -> None:
    exact = torch.tensor([3.0, 4.0], dtype=torch.float64)
    theirs = exact + torch.tensor([0.0, 1e-4])
    for scale in (1.0, 1e4, 1e-4):  # no size of the numbers matters
        for away, passed in ((2.9e-4, True), (3.1e-4, False)):
            ours = exact + torch.tensor([away, 0.0])
            check = no_worse("x", scale * ours, scale * theirs, scale * exact)
            assert check.passed is passed
    assert check.found == "relative L2 6.2e-05, ESPnet's own 2.0e-05"
    assert no_worse("x", exact + 1e-7, exact, exact).passed, "ESPnet may be exact by chance"
    assert no_worse("x", exact[:1], exact, exact) == Check("x", "shapes (1,) and (2,)", False)


def test_one_relu_at_zero_is_no_fault_and_the_median_is_judged() -> None:
    rounding, flipped = Errors(2e-6, 2e-6), Errors(1.4e-3, 2e-6)
    assert judged("x", [rounding, flipped, rounding]).passed
    assert not judged("x", [flipped, rounding, flipped]).passed
    assert not judged("x", [rounding, Errors(float("nan"), 2e-6), rounding]).passed


def test_the_report_counts_failures_and_does_not_take_nothing_for_success(capsys: pytest.CaptureFixture[str]) -> None:
    good, shown, bad = Check("a", "equal", True), Check("b", "by design", None), Check("c", "differs", False)
    assert report({"one": lambda: iter([good, shown])}) == 0
    assert capsys.readouterr().out.endswith("all checks passed\n")
    assert report({"one": lambda: iter([good, bad]), "two": lambda: iter([bad])}) == 2
    assert "FAIL c" in capsys.readouterr().out
    assert report({"one": lambda: iter([good]), "two": lambda: iter([shown])}) == 1
    assert "FAIL two: nothing was compared" in capsys.readouterr().out
