"""Compiled blocks: traced as they would be for the real compiler, which takes a minute, then run as they are."""

from __future__ import annotations

from functools import partialmethod
from pathlib import Path

import pytest
import torch
from torch import nn

from mlsuperb.adaptation.base import Adaptation
from mlsuperb.adaptation.full import Full
from mlsuperb.adaptation.lora import LoRA
from mlsuperb.runtime import device
from mlsuperb.training.checkpoint import trained_tensors
from mlsuperb.training.trainable import compile_blocks
from mlsuperb.upstreams.random_hubert import RandomHubert


@pytest.mark.parametrize("adaptation", [LoRA(), Full(gradient_checkpointing=True)])
def test_compiled_blocks_give_the_same_gradients_under_the_same_names(
    adaptation: Adaptation, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch._dynamo.reset()
    traced = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        traced.append(graph)
        return graph.forward

    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend=backend))
    upstream = RandomHubert(num_blocks=2)
    for module in upstream.modules():  # a compiler may draw other numbers
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):  # attention
            module.dropout = 0.0
    adaptation.apply(upstream)
    names, gradients = list(trained_tensors(upstream)), []
    for compiled in (False, True):
        if compiled:
            compile_blocks(upstream.stacked_blocks())
        upstream.zero_grad()
        for num_samples in (8000, 6000, 9000):
            torch.manual_seed(0)
            wave_BT, lengths_B = torch.randn(2, num_samples), torch.tensor([num_samples, 4000])
            sum(layer.square().sum() for layer in upstream.train()(wave_BT, lengths_B).layers).backward()
        gradients.append({name: one.grad.clone() for name, one in upstream.named_parameters() if one.grad is not None})
    assert list(trained_tensors(upstream)) == names == list(gradients[1])
    assert len(names) > 8
    assert 1 <= len(traced) <= 8  # not once for every length
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()))


def test_a_model_without_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"this model has none: set trainer\.compile=false"):
        compile_blocks([])


def test_no_compiler_is_said_before_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "a C++ compiler (no-such-compiler;" in str(device.compile_problem())
    monkeypatch.setattr(device.sysconfig, "get_path", lambda _: str(tmp_path))
    assert "Python's headers" in str(device.compile_problem())
