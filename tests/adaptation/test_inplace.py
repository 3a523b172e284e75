from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from mlsuperb.adaptation.base import Adaptation
from mlsuperb.adaptation.bottleneck import Houlsby
from mlsuperb.adaptation.full import Full
from mlsuperb.adaptation.inplace import Checkpointed, WithBottleneck, change_class
from mlsuperb.adaptation.lora import LoRA
from mlsuperb.adaptation.partial import Partial
from mlsuperb.upstreams.random_hubert import RandomHubert


class Pair(nn.Module):
    """A module with a tuple for its output, as attention is."""

    def forward(self, values: Tensor, *, scale: float = 1.0) -> tuple[Tensor, str]:
        return scale * values, "weights"


def test_changes_add_up_and_the_class_stays_what_it_was() -> None:
    module = Pair()
    module.bottleneck = nn.Identity()
    change_class(module, WithBottleneck)
    change_class(module, Checkpointed)
    assert isinstance(module, Pair)
    assert type(module).original is Pair
    assert type(copy.deepcopy(module)) is type(module)
    values = torch.ones(2, requires_grad=True)
    output, rest = module(values, scale=3.0)
    assert (output.tolist(), rest) == ([6.0, 6.0], "weights")
    output.sum().backward()
    assert values.grad.tolist() == [6.0, 6.0]
    other = Pair()
    change_class(other, WithBottleneck)
    assert type(other) is not type(module)
    assert type(Pair()) is Pair


@pytest.mark.parametrize(
    ("adaptation", "left"),
    [
        (Full, 0.42),
        (partial(Partial, layers="bottom"), 0.7),
        (partial(LoRA, layers=[2, 3]), 0.7),  # nothing before them needs a gradient
        (partial(Houlsby, width=4, activation="gelu"), 0.7),
    ],
)
def test_checkpointing_gives_the_same_gradients_with_less_kept(
    adaptation: Callable[..., Adaptation], left: float
) -> None:
    gradients, kept = [], []
    for gradient_checkpointing in (False, True):
        upstream = RandomHubert(num_blocks=4)
        adaptation(gradient_checkpointing=gradient_checkpointing).apply(upstream)
        sizes: list[int] = []

        def keep(tensor: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(tensor.nbytes)
            return tensor

        torch.manual_seed(0)  # dropout is on
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            layers = upstream.train()(torch.randn(2, 8000), torch.tensor([8000, 5000])).layers
        sum(layer.square().sum() for layer in layers).backward()
        gradients.append({name: one.grad for name, one in upstream.named_parameters() if one.grad is not None})
        kept.append(sum(sizes))
    assert gradients[0].keys() == gradients[1].keys()
    assert len(gradients[0]) >= 8
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)
    assert kept[1] < left * kept[0]
