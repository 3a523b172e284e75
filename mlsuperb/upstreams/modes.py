"""Train and eval mode, part by part."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mlsuperb.upstreams.base import Upstream


def set_train_mode(upstream: Upstream, *, trained: Collection[str]) -> None:
    """Dropout where something is trained, and nowhere else: each block and each module of the front is in train mode if
    one of the parameters `trained` is in it, what lies between them if one outside the blocks is.

    With `upstream.dropout_while_frozen` all is in train mode. Batch norms never are: their statistics are the upstream's.
    """
    anatomy = upstream.anatomy
    if upstream.dropout_while_frozen or anatomy is None:
        upstream.train(upstream.dropout_while_frozen or bool(trained))
    else:
        upstream.train(not all(name.startswith(f"{anatomy.blocks}.") for name in trained))
        blocks: nn.Module = upstream.get_submodule(anatomy.blocks)
        names = [f"{anatomy.blocks}.{name}" for name, _ in blocks.named_children()]
        for part in (*anatomy.front, *names):
            upstream.get_submodule(part).train(any(name.startswith(f"{part}.") for name in trained))
    for module in upstream.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
