"""What every upstream promises, whatever is inside."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_checkpoints import READERS
from torch import Tensor

from mlsuperb.types import Features
from mlsuperb.upstreams.base import SAMPLE_RATE_HZ, Upstream
from mlsuperb.upstreams.fbank import Fbank
from mlsuperb.upstreams.mfcc import MFCC
from mlsuperb.upstreams.random_hubert import RandomHubert
from mlsuperb.upstreams.s3prl import S3prl

LENGTHS = [16000, 4321, 9999, 801, 400, 12345]


BUILDERS = {
    "mfcc": MFCC,
    "fbank": Fbank,
    "fbank_10ms": lambda: Fbank(n_fft=512, win_length=400, hop_length=160, f_min=20.0, window="hamming", num_mels=40),
    "tiny": RandomHubert,
}


@pytest.fixture(params=[*READERS, *BUILDERS, "s3prl"])
def upstream(request: pytest.FixtureRequest, checkpoints: dict[str, Path]) -> Upstream:
    if request.param in BUILDERS:
        return BUILDERS[request.param]().eval()
    family, reader, settings = READERS.get(request.param, ("xls_r", S3prl, {}))
    return reader(checkpoint=str(checkpoints[family]), **settings).eval()


def waves(lengths: list[int], *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noise with an offset and a level of its own for each utterance, and garbage nowhere: zero-padded."""
    generator = torch.Generator().manual_seed(seed)
    wave_BT = torch.zeros(len(lengths), max(lengths))
    for row, length in enumerate(lengths):
        level = 0.02 + 0.2 * torch.rand((), generator=generator)
        wave_BT[row, :length] = level * torch.randn(length, generator=generator) + 0.05 * row
    return wave_BT, torch.tensor(lengths)


def relative_error(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm().clamp(min=1e-9)).item()


@torch.no_grad()
def run(upstream: Upstream, wave_BT: Tensor, lengths_B: Tensor) -> Features:
    return upstream(wave_BT, lengths_B)


def test_shapes_are_what_the_attributes_say(upstream: Upstream) -> None:
    features = run(upstream, *waves(LENGTHS))
    assert len(features.layers) == upstream.num_layers
    frames = {layer.shape for layer in features.layers}
    assert frames == {(len(LENGTHS), int(features.lengths_B.max()), upstream.layer_size)}
    assert features.frame_rate_hz == upstream.frame_rate_hz


def test_same_layers_in_train_mode(upstream: Upstream) -> None:
    assert len(upstream.train()(*waves(LENGTHS)).layers) == upstream.num_layers


def test_lengths_agree_with_num_frames_and_rate(upstream: Upstream) -> None:
    features = run(upstream, *waves(LENGTHS))
    assert features.lengths_B.tolist() == upstream.num_frames(torch.tensor(LENGTHS)).tolist()
    for samples, frames in zip(LENGTHS, features.lengths_B.tolist(), strict=True):
        assert frames >= 1
        assert abs(frames - samples / SAMPLE_RATE_HZ * upstream.frame_rate_hz) <= 2


def test_padding_never_changes_a_result(upstream: Upstream) -> None:
    wave_BT, lengths_B = waves(LENGTHS)
    together = run(upstream, wave_BT, lengths_B)
    seen = 0
    for row, length in enumerate(LENGTHS):
        alone = run(upstream, wave_BT[row : row + 1, :length], lengths_B[row : row + 1])
        frames = int(alone.lengths_B)
        assert frames == together.lengths_B[row]
        for layer, expected in zip(together.layers, alone.layers, strict=True):
            assert relative_error(layer[row, :frames], expected[0, :frames]) < 1e-4
            seen += 1
    assert seen == len(LENGTHS) * upstream.num_layers


def test_samples_beyond_the_length_are_not_looked_at(upstream: Upstream) -> None:
    wave_BT, lengths_B = waves(LENGTHS)
    expected = run(upstream, wave_BT, lengths_B)
    for row, length in enumerate(LENGTHS):
        wave_BT[row, length:] = 7.0
    found = run(upstream, wave_BT, lengths_B)
    assert all(relative_error(a, b) < 1e-5 for a, b in zip(found.layers, expected.layers, strict=True))


def test_zero_beyond_the_length(upstream: Upstream) -> None:
    features = run(upstream, *waves(LENGTHS))
    for layer in features.layers:
        for row, frames in enumerate(features.lengths_B.tolist()):
            assert layer[row, frames:].abs().sum() == 0
            assert layer[row, frames - 1].abs().sum() > 0


def test_eval_is_deterministic(upstream: Upstream) -> None:
    first, second = (run(upstream, *waves(LENGTHS)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.layers, second.layers, strict=True))


@pytest.mark.parametrize("num_samples", [1, 100, 800])
def test_very_short_audio_goes_forward_and_backward(upstream: Upstream, num_samples: int) -> None:
    features = upstream.train()(*waves([num_samples]))
    assert features.lengths_B.tolist() == [max(1, features.layers[0].shape[1])]
    assert all(layer.isfinite().all() for layer in features.layers)
    if parameters := list(upstream.parameters()):
        sum(layer.square().sum() for layer in features.layers).backward()
        assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in parameters)


def test_bfloat16_autocast_leaves_the_front_alone(upstream: Upstream) -> None:
    expected = run(upstream, *waves(LENGTHS))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = run(upstream, *waves(LENGTHS))
    assert all(relative_error(a.float(), b) < 0.05 for a, b in zip(found.layers, expected.layers, strict=True))


def test_the_anatomy_names_what_is_there(upstream: Upstream) -> None:
    """Adapters, low-rank updates and partial training are put where it says."""
    anatomy = upstream.anatomy
    if anatomy is None:
        assert not list(upstream.parameters())
        return
    blocks = upstream.get_submodule(anatomy.blocks)
    assert len(blocks) == upstream.num_layers - 1
    for block in blocks:
        for name in (*anatomy.attention_linears, *anatomy.ffn_linears):
            assert isinstance(block.get_submodule(name), torch.nn.Linear)
        assert block.get_submodule(anatomy.ffn) is block.get_submodule(anatomy.ffn_linears[-1])
        assert anatomy.ffn_dropout is None or isinstance(block.get_submodule(anatomy.ffn_dropout), torch.nn.Dropout)
        # The attention's output, or its first element, goes to the stream.
        shapes = []
        block.get_submodule(anatomy.attention).register_forward_hook(
            lambda _, __, out, shapes=shapes: shapes.append((out[0] if isinstance(out, tuple) else out).shape)
        )
        run(upstream, *waves([9600]))
        assert shapes[0][2] == upstream.layer_size
    for name in anatomy.front:
        assert list(upstream.get_submodule(name).parameters())
