"""A model on several ranks: copies whose gradients are averaged (DDP), or shards of one (FSDP)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mlsuperb.runtime import ranks
from mlsuperb.training.trainable import Trainable

Parallel = Literal["ddp", "fsdp"]


def shard(model: Trainable) -> None:
    """Leave each rank a part of every parameter (FSDP2, `torch.distributed.fsdp.fully_shard`): each of the model's blocks is put
    together when it computes, all else for the whole step. A child of the model in which nothing is trained stays as it is, so
    that a rank can ask it for its output alone. To be called before an optimiser is made.

    Raises:
        ValueError: it has 4-bit weights.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    parameters = list(model.parameters())
    if any(hasattr(parameter, "quant_state") for parameter in parameters):
        raise ValueError("trainer.parallel=fsdp cannot share out 4-bit weights, give trainer.parallel=ddp")
    mesh = init_device_mesh(parameters[0].device.type, (ranks.world(),))
    idle = (part for part in model.children() if not any(one.requires_grad for one in part.parameters()))
    whole = {parameter for part in idle for parameter in part.parameters()}
    for block in model.blocks():
        if whole.isdisjoint(block.parameters()):
            fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh, reshard_after_forward=False, ignored_params=whole)
    for method in model.methods:
        register_fsdp_forward_method(model, method)


def replicate(model: nn.Module, *, some_wait: bool) -> nn.Module:
    """`model` with its gradients averaged over the ranks.

    Args:
        some_wait: whether there are steps in which some trained parameters get no gradient.
    """
    return nn.parallel.DistributedDataParallel(model, find_unused_parameters=some_wait)


def wrapped(accelerator: Any, model: nn.Module, *, some_wait: bool) -> nn.Module:
    """`model` as the steps call it: with the accelerator's autocast, and on several ranks with averaged gradients unless it is
    sharded. `some_wait`: see `replicate`."""
    prepared: nn.Module = accelerator.prepare_model(model, evaluation_mode=True)  # adds autocast, leaves the rest to us
    return replicate(prepared, some_wait=some_wait) if ranks.world() > 1 and not is_sharded(model) else prepared


@contextmanager
def unsynchronised(wrapped: nn.Module, held_back: bool) -> Iterator[None]:
    """Inside, if `held_back`, gradients are added up on each rank and not averaged: another backward pass will follow."""
    if not held_back:
        yield
    elif isinstance(wrapped, nn.parallel.DistributedDataParallel):
        with wrapped.no_sync():
            yield
    elif is_sharded(wrapped):
        wrapped.set_requires_gradient_sync(False)  # type: ignore[operator]
        yield
        wrapped.set_requires_gradient_sync(True)  # type: ignore[operator]
    else:
        yield


def is_sharded(model: nn.Module) -> bool:
    """Whether `shard` was called. Told by what it adds: to import the class takes every run of one process half a second."""
    return hasattr(model, "unshard")


@contextmanager
def whole(model: nn.Module) -> Iterator[None]:
    """Inside, each rank has all parameters of a sharded model, so that each can compute by itself."""
    put_together(model)
    try:
        yield
    finally:
        for module in _sharded(model):
            module.set_reshard_after_forward(module is not model, recurse=False)
            module.reshard()


def put_together(model: nn.Module) -> None:
    """Give each rank all parameters of a sharded model, to stay."""
    for module in _sharded(model):
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()


def _sharded(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if is_sharded(module)]


def full(tensor: Any) -> Any:
    """The whole of a sharded tensor, others (and None) as they are; all ranks have to call it."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor  # of a DTensor


def gathered(value: Any) -> Any:
    """`value` with every shard in it replaced by the whole tensor, on the host, on rank 0; by nothing (an empty tensor) on the
    others. All ranks have to call it. A device holds one whole tensor at a time: all weights and moments of a model that had
    to be sharded would not fit."""
    if isinstance(value, Mapping):
        return {key: gathered(one) for key, one in value.items()}
    if isinstance(value, list):
        return [gathered(one) for one in value]
    if not hasattr(value, "full_tensor"):
        return value
    whole = full(value)
    return whole.cpu() if ranks.is_main() else torch.empty(0)


def like(tensor: Tensor, parameter: Any) -> Tensor:
    """The part of the whole `tensor` that this rank keeps of `parameter`."""
    if not hasattr(parameter, "device_mesh") or tensor.shape != parameter.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    # every rank read the same file: nothing needs to be sent
    return distribute_tensor(
        tensor.to(parameter.device), parameter.device_mesh, parameter.placements, src_data_rank=None
    )


def load_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Set `optimizer` to what `gathered(optimizer.state_dict())` was on rank 0, on however many ranks."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments = {
        at: {key: like(value, parameters[at]) if isinstance(value, Tensor) else value for key, value in one.items()}
        for at, one in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": moments})


def seed_rank(seed: int, *, iteration: int) -> None:
    """Give each rank but the first random numbers of its own from here on. A checkpoint holds the state of the first alone: the
    others begin anew at each, so that a resumed run draws what one without a break does."""
    if not ranks.is_main():
        (own,) = np.random.SeedSequence([seed % 2**64, ranks.rank(), iteration]).generate_state(1)
        torch.manual_seed(int(own))
