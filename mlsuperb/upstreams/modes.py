"""Train and eval mode, part by part."""

from __future__ import annotations

from collections.abc import Collection

from mlsuperb.upstreams.base import Stacked, freeze_batch_norm, inside


def set_train_mode(model: Stacked, *, trained: Collection[str]) -> None:
    """Turn dropout on where something is trained, and nowhere else: each block and each module of a stack's front is in train
    mode if one of the parameters `trained` is in it, the rest of a stack if one outside its blocks is.

    With `model.dropout_while_frozen` everything is in train mode, as is a model without stacks if anything is trained. Batch
    norms never are: their statistics are the model's.
    """
    model.train(model.dropout_while_frozen or (bool(trained) and not model.stacks))
    for stack in () if model.dropout_while_frozen else model.stacks.values():
        own = [name for name in trained if inside(name, (stack.whole, *stack.front))]
        model.get_submodule(stack.whole).train(not all(inside(name, (stack.blocks,)) for name in own))
        blocks = (f"{stack.blocks}.{name}" for name, _ in model.get_submodule(stack.blocks).named_children())
        for part in (*stack.front, *blocks):
            model.get_submodule(part).train(any(inside(name, (part,)) for name in own))
    freeze_batch_norm(model)
