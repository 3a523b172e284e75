"""Which parameters a training moves: how many they are, at which rate they learn, from when on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from mlsuperb.runtime.messages import describe_trained
from mlsuperb.training.trainable import Advice

Parameters = Mapping[str, nn.Parameter]  # by name


def num_parameters(parameters: Iterable[Tensor]) -> int:
    """How many numbers `parameters` stand for: 4-bit weights (bitsandbytes) lie two to a byte."""
    return sum(_logical_size(parameter) for parameter in parameters)


def _logical_size(parameter: Tensor) -> int:
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else int(state.shape.numel())


def count_trained(model: nn.Module) -> dict[str, int]:
    """Trained parameters of each part of `model` that has any, largest first; a part is a child module."""
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = name.partition(".")[0]
            counts[part] = counts.get(part, 0) + parameter.numel()
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def check_cap(counts: Mapping[str, int], cap: int | None, advice: Advice) -> None:
    """Refuse to train more parameters than `trainer.max_trainable_params` allows.

    Raises:
        ValueError: there are more.
    """
    if cap is not None and sum(counts.values()) > cap:
        raise ValueError(
            f"{describe_trained(counts)} are above trainer.max_trainable_params={cap:,}. {advice.parameters}"
        )


def check_gradients(model: nn.Module, advice: Advice) -> None:
    """Check, between a backward pass and an update, that every parameter that requires a gradient has one.

    Raises:
        ValueError: one has none.
    """
    missing = [name for name, one in model.named_parameters() if one.requires_grad and one.grad is None]
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise ValueError(
            f"{len(missing)} tensors that are to be trained get no gradient from the loss, so they would be trained without "
            f"effect: {shown}. Nothing that comes out of the model depends on them: {advice.gradients}"
        )


def parameter_groups(trained: Parameters, learning_rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """The trained parameters as an optimiser takes them: one group for each prefix of `learning_rates`, with its own rate,
    and one for all others. A parameter belongs to the longest prefix that fits.

    Raises:
        ValueError: a prefix fits no trained parameter.
    """
    groups = _by_prefix(trained, learning_rates, setting="learning_rates")
    rates = {prefix: {"lr": rate} for prefix, rate in learning_rates.items()}
    return [
        {"params": parameters, **rates.get(prefix, {}), "prefix": prefix}
        for prefix, parameters in groups.items()
        if parameters
    ]


def groups_of(groups: Iterable[dict[str, Any]], moved: Parameters) -> list[dict[str, Any]]:
    """`groups` without the parameters that are not in `moved`."""
    wanted = set(map(id, moved.values()))
    kept = ({**group, "params": [one for one in group["params"] if id(one) in wanted]} for group in groups)
    return [group for group in kept if group["params"]]


class Unfreezing:
    """Parts that stay as they are for the first updates of a training.

    Args:
        trained: all trained parameters by name.
        unfreeze_after: prefix of parameter names -> updates before they move; the longest prefix that fits a name counts.
        num_updates: of the whole training.

    Raises:
        ValueError: a prefix fits no trained parameter, nothing is left to train at the start, or a part would never move.
    """

    def __init__(self, trained: Parameters, unfreeze_after: Mapping[str, int], *, num_updates: int) -> None:
        groups = _by_prefix(trained, unfreeze_after, setting="unfreeze_after")
        self._held = [(after, groups[prefix]) for prefix, after in unfreeze_after.items()]
        if never := [prefix for prefix, after in unfreeze_after.items() if after >= num_updates]:
            raise ValueError(
                f"trainer.unfreeze_after={dict(unfreeze_after)} would never train {', '.join(never)}: the whole training has "
                f"{num_updates:,} updates (iterations / trainer.accumulate). Give fewer, or do not train it at all"
            )
        waiting = sum(len(found) for after, found in self._held if after)
        if 0 < sum(map(len, groups.values())) == waiting:
            raise ValueError(
                f"trainer.unfreeze_after={dict(unfreeze_after)} holds everything that is trained; leave a part out of it"
            )

    @contextmanager
    def held(self, update: int, others: Iterable[nn.Parameter] = ()) -> Iterator[None]:
        """Inside, what has to wait at `update` (from 0), and `others`, require no gradient, so that none is computed."""
        waiting = [*others, *(parameter for after, found in self._held if update < after for parameter in found)]
        for parameter in waiting:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in waiting:
                parameter.requires_grad_(True)


def _by_prefix(trained: Parameters, prefixes: Iterable[str], *, setting: str) -> dict[str, list[nn.Parameter]]:
    """The trained parameters of each prefix, and of none (""): a parameter belongs to the longest prefix that fits."""
    groups: dict[str, list[nn.Parameter]] = {prefix: [] for prefix in ("", *prefixes)}
    for name, parameter in trained.items():
        groups[max((prefix for prefix in groups if _fits(name, prefix)), key=len)].append(parameter)
    for prefix in prefixes:
        if not groups[prefix]:
            raise ValueError(_nothing_there(setting, prefix, trained))
    return groups


def _fits(name: str, prefix: str) -> bool:
    return not prefix or name == prefix or name.startswith(f"{prefix}.")


def _nothing_there(setting: str, prefix: str, trained: Parameters) -> str:
    parts = ", ".join(dict.fromkeys(name.partition(".")[0] for name in trained)) or "none"
    deepest = max(trained, key=lambda name: name.count("."), default="").rpartition(".")[0]
    return (
        f"trainer.{setting} names '{prefix}', where nothing is trained. Parts with trained parameters: {parts}"
        f"{f'; a longer prefix ({deepest}) is fine, too' if deepest else ''}"
    )
