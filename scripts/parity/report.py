"""What a comparison with ESPnet reports, and by what it is judged.

Values and gradients are judged by their relative L2 error against ESPnet in float64: ours may be `FACTOR` times ESPnet's own in
fp32, so that a difference that fp32 does not explain is seen whatever the size of the numbers. A ReLU whose input is zero but for
rounding may fall to either side, in ESPnet as well as here, and one of 1.4 million moves a gradient by 1e-3: gradients are
compared on several inputs, of which the medians are judged, and with both sides in float64, where none is so near to zero.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar
from unittest.mock import patch

import torch
from torch import Tensor, nn

FACTOR = 3.0
FLOOR = 1e-6  # relative L2: what is nearer is not told apart; an error of ESPnet's own may be zero by chance
FLOAT64 = 1e-9  # the same of two sides that are both in float64: found are 1e-14 to 1e-12
TOLERANCE = 2e-6  # relative, of single numbers
NO_GRADIENT = (
    1e-6  # of the largest gradient of a parameter: what is smaller is rounding alone, as of a bias before a softmax
)
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Check:
    """One line of the report. `passed` None: shown, not judged."""

    name: str
    found: str
    passed: bool | None


@dataclass(frozen=True)
class Errors:
    """Relative L2 errors against float64: ours, and ESPnet's own."""

    ours: float
    theirs: float


def l2_errors(ours: Tensor, theirs: Tensor, exact: Tensor) -> Errors:
    """Of one tensor.

    Raises:
        ValueError: the shapes differ.
    """
    if not ours.shape == theirs.shape == exact.shape:
        raise ValueError(f"shapes {tuple(ours.shape)} and {tuple(theirs.shape)}")
    wanted = exact.detach().double()
    return Errors(*(float((one.detach().double() - wanted).norm() / wanted.norm()) for one in (ours, theirs)))


def worst_errors(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], exact: Mapping[str, Tensor]) -> Errors:
    """Of the worst parameter of each side, of gradients by ESPnet's names.

    Raises:
        ValueError: names or shapes differ.
    """
    if not ours.keys() == theirs.keys() == exact.keys():
        raise ValueError(f"parameters {sorted(ours.keys() ^ exact.keys())} have a gradient on one side alone")
    largest = max(float(one.norm()) for one in exact.values())
    counted = [name for name, one in exact.items() if float(one.norm()) > NO_GRADIENT * largest]
    each = [l2_errors(ours[name], theirs[name], exact[name]) for name in counted]
    return Errors(_largest([one.ours for one in each]), _largest([one.theirs for one in each]))


def _largest(values: Sequence[float]) -> float:
    return float(torch.tensor(values, dtype=torch.float64).max())  # not a number stays one, unlike in `max`


def judged(name: str, errors: Sequence[Errors], *, floor: float = FLOOR) -> Check:
    """The median over several inputs, ours beside ESPnet's; up to `floor` nothing is said against it."""
    ours, theirs = (statistics.median(getattr(one, side) for one in errors) for side in ("ours", "theirs"))
    finite = all(torch.tensor([one.ours, one.theirs]).isfinite().all() for one in errors)
    found = f"relative L2 {ours:.1e}, ESPnet's own {theirs:.1e}"
    return Check(name, found, finite and ours <= max(FACTOR * theirs, floor))


def no_worse(name: str, ours: Tensor, theirs: Tensor, exact: Tensor, *, floor: float = FLOOR) -> Check:
    """`judged` of one tensor on one input."""
    try:
        return judged(name, [l2_errors(ours, theirs, exact)], floor=floor)
    except ValueError as error:
        return Check(name, str(error), False)


def in_double(model: Model) -> Model:
    """A copy in float64, to be run inside `doubled`."""
    for module in model.modules():
        # ESPnet's attention remembers its last run, graph and all
        if isinstance(getattr(module, "attn", None), Tensor):
            module.attn = None
    double = copy.deepcopy(model).double()
    for module in double.modules():
        if isinstance(module, nn.Linear):  # a table of positions stays in fp32
            module.register_forward_pre_hook(lambda one, given: (given[0].to(one.weight.dtype),))
    return double


@contextmanager
def doubled() -> Iterator[None]:
    """Inside, what would be turned to fp32 whatever surrounds it (`Tensor.float`) is float64."""
    with patch.object(Tensor, "float", Tensor.double):
        yield


def relatively_close(name: str, ours: Tensor, theirs: Tensor, *, tolerance: float = TOLERANCE) -> Check:
    """The difference of two numbers over the greater: of losses."""
    difference = float((ours - theirs).detach().abs().max() / theirs.detach().abs().max())
    return Check(name, f"max relative difference {difference:.1e}", difference <= tolerance)


def same_size(name: str, ours: list[nn.Module], theirs: nn.Module) -> Check:
    """Numbers of parameters."""
    counts = [sum(one.numel() for part in side for one in part.parameters()) for side in (ours, [theirs])]
    return Check(name, f"{counts[0]:,} and {counts[1]:,}", counts[0] == counts[1])


def report(parts: Mapping[str, Callable[[], Iterator[Check]]]) -> int:
    """Print the checks of all parts; how many failed. A part that judges nothing has failed."""
    failed = 0
    for name, checks in parts.items():
        judged_any = False
        for check in checks():
            verdict = {True: "ok  ", False: "FAIL", None: "    "}[check.passed]
            print(f"{verdict} {check.name:62} {check.found}", flush=True)
            failed += check.passed is False
            judged_any |= check.passed is not None
        if not judged_any:
            print(f"FAIL {name}: nothing was compared", flush=True)
            failed += 1
    print(f"{failed} checks failed" if failed else "all checks passed")
    return failed


@torch.no_grad()
def shake(model: nn.Module, *words: str, by: float) -> None:
    """Norms and the like that do something, as in trained models: noise on the parameters whose names hold one of `words`."""
    for name, parameter in model.named_parameters():
        if any(word in name for word in words):
            parameter.add_(by * torch.randn_like(parameter))
