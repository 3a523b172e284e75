"""Elastic weight consolidation: weights that mattered for what a model has learnt before are held near their old values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

Examples = TypeVar("Examples")  # a batch


class WeightAnchor:
    """weight / 2 * sum F (theta - theta_0)^2 over the trained parameters (Kirkpatrick et al. 2017, arXiv 1612.00796, equation 3).

    Args:
        parameters: as they are now, theta_0.
        fisher: F, the diagonal of the Fisher information, by the same names.
        weight: lambda.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], fisher: Mapping[str, Tensor], *, weight: float) -> None:
        self._held = [(parameters[name], parameters[name].detach().clone(), of) for name, of in fisher.items()]
        self.weight = weight

    def __call__(self) -> Tensor:
        """The penalty, in fp32."""
        terms = [(of * (now.float() - before).square()).sum() for now, before, of in self._held]
        return 0.5 * self.weight * torch.stack(terms).sum()


def fisher_information(
    parameters: Mapping[str, nn.Parameter], batches: Iterable[Examples], *, loss: Callable[[Examples], Tensor], num: int
) -> dict[str, Tensor]:
    """The mean over utterances of the squared gradient of their loss: the diagonal of the empirical Fisher information, which
    takes the true labels where the definition draws them from the model.

    Args:
        parameters: by name.
        batches: of one utterance each, on the parameters' device; no more than `num` are taken.
        loss: of a batch; the model should be in evaluation mode.
        num: utterances.

    Returns:
        F in fp32, by the names of the parameters; 0 where the loss does not depend on one.
    """
    sums = {name: torch.zeros_like(one, dtype=torch.float32) for name, one in parameters.items()}
    for _, batch in zip(range(num), batches, strict=False):
        gradients = torch.autograd.grad(loss(batch), list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                sums[name] += gradient.detach().float().square() / num
    return sums
