"""Counting parameters, and the check that those to train are reached by the loss."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


def num_parameters(parameters: Iterable[Tensor]) -> int:
    """How many numbers `parameters` stand for: 4-bit weights (bitsandbytes) lie two to a byte."""
    return sum(_logical_size(parameter) for parameter in parameters)


def _logical_size(parameter: Tensor) -> int:
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else int(state.shape.numel())


def check_gradients(model: nn.Module) -> None:
    """To be called between the first backward pass and the first update.

    Raises:
        ValueError: a parameter that is to be trained got no gradient.
    """
    missing = [name for name, one in model.named_parameters() if one.requires_grad and one.grad is None]
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise ValueError(
            f"{len(missing)} tensors that are to be trained get no gradient from the loss, so they would be trained without "
            f"effect: {shown}. Nothing that comes out of the model depends on them: choose other adaptation.layers or another "
            "adaptation, or a featurizer that reads all layers (featurizer=weighted_sum)"
        )
