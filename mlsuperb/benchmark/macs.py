"""How many multiply-accumulates a model spends on a second of audio."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mlsuperb.benchmark.model import SpeechModel
from mlsuperb.layers.frontends import StridedConv2d
from mlsuperb.upstreams.base import SAMPLE_RATE_HZ

AUDIO_S = 10  # attention takes the more for a second, the longer the audio is, so that one length must be agreed on


def macs_per_second(model: SpeechModel) -> dict[str, int]:
    """Multiply-accumulates for a second of audio, of `upstream` and of everything that follows to the posteriors (`head`), as
    a forward pass of 10 s of noise in eval mode does them, by itself. An attention decoder is not among them.

    They are those of matrix products, convolutions and attention: half of the FLOPs that `torch.utils.flop_counter` counts.
    Fourier transforms, norms, activations and the weighted sum of layers as far as it is no product are left out, as usual.
    """
    from torch.utils.flop_counter import FlopCounterMode

    parameter = next(model.parameters())
    mode = model.training
    model.eval()
    wave_BT = torch.randn(1, AUDIO_S * SAMPLE_RATE_HZ, generator=torch.Generator().manual_seed(0)).to(parameter.device)
    lengths_B = torch.tensor([wave_BT.shape[1]], device=parameter.device)
    with torch.inference_mode(), _untrained(model):
        with _unfused(model.upstream), FlopCounterMode(display=False) as upstream:
            features = model.upstream(wave_BT, lengths_B)
        with _unfused(model.head), FlopCounterMode(display=False) as head:
            encoded = model.after_featurizer(model.featurizer(features), features.lengths_B)
            model.objective.log_probs(encoded)
    model.train(mode)
    counted = {"upstream": upstream.get_total_flops(), "head": head.get_total_flops()}
    return {name: round(flops / 2 / AUDIO_S) for name, flops in counted.items()}


@contextmanager
def _untrained(model: nn.Module) -> Iterator[None]:
    """The counter asks for the history of every trained parameter that a module is given, such as those of a weight norm."""
    with ExitStack() as stack:
        for parameter in model.parameters():
            stack.callback(parameter.requires_grad_, parameter.requires_grad)
            parameter.requires_grad_(False)
        yield


@contextmanager
def _unfused(module: nn.Module) -> Iterator[None]:
    """The same count on every device, where what is fused would not be counted on some: attention runs as two products here,
    an LSTM as one at each step, a front end's convolution directly, as a GPU's library is counted."""
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if any(isinstance(part, nn.RNNBase) for part in module.modules()):
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        for part in module.modules():
            if isinstance(part, StridedConv2d):
                stack.callback(setattr, part, "fewer_products", part.fewer_products)
                part.fewer_products = False
        yield
