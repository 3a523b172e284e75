"""What every upstream promises, whatever is inside."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_checkpoints import READERS
from torch import Tensor

from mlsuperb.types import Features
from mlsuperb.upstreams.base import SAMPLE_RATE_HZ, Front, Upstream
from mlsuperb.upstreams.bundled import Bundled
from mlsuperb.upstreams.fbank import Fbank
from mlsuperb.upstreams.kaldi_mfcc import KaldiMFCC
from mlsuperb.upstreams.mfcc import MFCC
from mlsuperb.upstreams.new_hubert import NewHubert
from mlsuperb.upstreams.random_hubert import RandomHubert
from mlsuperb.upstreams.s3prl import S3prl

LENGTHS = [16000, 4321, 9999, 801, 400, 12345]


BUILDERS = {
    "mfcc": MFCC,
    "fbank": Fbank,
    "fbank_10ms": lambda: Fbank(n_fft=512, win_length=400, hop_length=160, f_min=20.0, window="hamming", num_mels=40),
    "tiny": RandomHubert,
    "kaldi_mfcc": KaldiMFCC,
    "mhubert_tiny": lambda **further: Bundled(model="mhubert_tiny", revision="", **further),
    "hubert_new": lambda **further: NewHubert(
        num_blocks=2,
        hidden_size=32,
        num_heads=2,
        ffn_size=64,
        conv_channels=[16] * 7,
        **{"position_kernel": 16, "position_groups": 2, "regularisation": "off", **further},
    ),
}


ALL = [*READERS, *BUILDERS, "s3prl"]
WITH_CONVOLUTIONS = {
    "hubert_base",
    "hubert_large",
    "wav2vec2_base",
    "xls_r",
    "mms",
    "omniasr",
    "wavlm_base",
    "wavlm_large",
    "tiny",
    "hubert_new",
    "mhubert_tiny",
    "xeus",
    "phonetic_xeus",
}
# Regularisation of the models themselves: these have an embedding of masked frames
MASKED = [*sorted(WITH_CONVOLUTIONS - {"phonetic_xeus"}), "w2v_bert"]


def build(name: str, checkpoints: dict[str, Path], **further: object) -> Upstream:
    if name in BUILDERS:
        return BUILDERS[name](**further).eval()
    family, reader, settings = READERS.get(name, ("xls_r", S3prl, {}))
    return reader(checkpoint=str(checkpoints[family]), **settings, **further).eval()


@pytest.fixture(params=ALL)
def upstream(request: pytest.FixtureRequest, checkpoints: dict[str, Path]) -> Upstream:
    return build(request.param, checkpoints)


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
        # at most a window less a hop and what is left of a hop: 2.5 frames of Kaldi's 25 ms every 10 ms
        assert abs(frames - samples / SAMPLE_RATE_HZ * upstream.frame_rate_hz) <= 2.5


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


@pytest.mark.parametrize("layer", [0, 1])
def test_layers_stay_when_blocks_above_are_cut_off(upstream: Upstream, layer: int) -> None:
    wave_BT, lengths_B = waves(LENGTHS)
    before = run(upstream, wave_BT, lengths_B).layers
    upstream.cut_above(layer)
    after = run(upstream, wave_BT, lengths_B).layers
    first = upstream.has_input_layer
    kept = max(layer + (not first) + upstream.has_final_norm, 1) + first if upstream.stacks else len(before)
    assert len(after) == upstream.num_layers == min(len(before), kept)
    for one, other in zip(after[: layer + 1], before, strict=False):
        assert torch.equal(one, other)


def test_a_last_layer_without_a_norm_of_its_own_needs_no_block_above_it(checkpoints: dict[str, Path]) -> None:
    """HuBERT base normalises within its blocks, HuBERT large once more behind the last of them."""
    for name, expected in (("hubert_base", 2), ("hubert_large", 3)):
        upstream = build(name, checkpoints)
        assert upstream.num_layers > 3
        upstream.cut_above(1)
        assert upstream.num_layers == expected, name


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


def in_one_piece(upstream: Upstream) -> bool:
    """Whether it cannot be split into its halves; then it says so."""
    if getattr(upstream, "s3prl", None) is None:
        return False
    with pytest.raises(
        ValueError, match=rf"the upstream {type(upstream).__name__} cannot be split .* such as upstream=hf"
    ):
        upstream.run_front(*waves([4000]))
    return True


def test_all_but_s3prl_can_be_split(checkpoints: dict[str, Path]) -> None:
    names = (*READERS, "tiny", "fbank", "s3prl")
    expected = ["hubert_base_as_s3prl", "mms_as_s3prl_hf", "s3prl"]
    assert [name for name in names if in_one_piece(build(name, checkpoints))] == expected


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("training", [False, True])
def test_the_halves_are_the_whole(name: str, training: bool, checkpoints: dict[str, Path]) -> None:
    upstream = build(name, checkpoints).train(training)
    if in_one_piece(upstream):
        return
    torch.manual_seed(3)
    whole = upstream(*waves(LENGTHS))
    torch.manual_seed(3)
    front = upstream.run_front(*waves(LENGTHS))
    before = front.hidden_BFD.clone()
    layers = upstream.run_blocks(front.hidden_BFD, front.lengths_B)
    assert torch.equal(front.hidden_BFD, before)
    assert torch.equal(front.lengths_B, whole.lengths_B)
    assert len(layers) == upstream.num_layers
    assert all(torch.equal(found, expected) for found, expected in zip(layers, whole.layers, strict=True))


@torch.no_grad()
@pytest.mark.parametrize("name", ALL)
def test_padding_never_changes_the_front(name: str, checkpoints: dict[str, Path]) -> None:
    upstream = build(name, checkpoints)
    if in_one_piece(upstream):
        return
    wave_BT, lengths_B = waves(LENGTHS)
    together = upstream.run_front(wave_BT, lengths_B)
    assert (together.conv_BFC is not None) == (name in WITH_CONVOLUTIONS)
    for row, length in enumerate(LENGTHS):
        alone = upstream.run_front(wave_BT[row : row + 1, :length], lengths_B[row : row + 1])
        frames = int(alone.lengths_B)
        assert frames == together.lengths_B[row] <= alone.hidden_BFD.shape[1]
        for found, expected in zip(_tensors(together), _tensors(alone), strict=True):
            assert relative_error(found[row, :frames], expected[0, :frames]) < 1e-4


def _tensors(front: Front) -> list[Tensor]:
    return [front.hidden_BFD, *([] if front.conv_BFC is None else [front.conv_BFC])]


@pytest.mark.parametrize("name", ALL)
def test_gradients_flow_through_both_halves(name: str, checkpoints: dict[str, Path]) -> None:
    upstream = build(name, checkpoints).train()
    if in_one_piece(upstream) or not list(upstream.parameters()):  # log-mels and the like
        return
    front = upstream.run_front(*waves(LENGTHS))
    seen: list[Tensor] = []
    if front.conv_BFC is not None:  # as one scales the convolutions' gradient, or adds a penalty
        front.conv_BFC.register_hook(seen.append)
    layers = upstream.run_blocks(front.hidden_BFD, front.lengths_B)
    sum(layer.square().sum() for layer in layers).backward()
    assert all(
        one.grad is not None and one.grad.abs().max() > 0 for one in next(upstream.stacked_blocks()).parameters()
    )
    assert all(parameter.grad is not None for parameter in upstream.parameters())
    assert [one.abs().max() > 0 for one in seen] == [True] * (name in WITH_CONVOLUTIONS)


@pytest.mark.parametrize("name", MASKED)
def test_the_mask_embedding_stays_where_it_is_asked_for(name: str, checkpoints: dict[str, Path]) -> None:
    plain, kept = build(name, checkpoints), build(name, checkpoints, regularisation="mask_embedding")
    assert plain.mask_embedding_D is None
    own = "model.mask_embedding" if name == "xeus" else "model.masked_spec_embed"
    assert set(dict(kept.named_parameters())) - set(dict(plain.named_parameters())) == {own}
    features, others = (run(one.train(), *waves(LENGTHS)) for one in (plain, kept))
    assert len(features.layers) == len(others.layers) == kept.num_layers  # neither drops layers
    expected = run(plain.eval(), *waves(LENGTHS))
    assert all(
        torch.equal(a, b) for a, b in zip(run(kept.eval(), *waves(LENGTHS)).layers, expected.layers, strict=True)
    )
    front = kept.run_front(*waves(LENGTHS))
    masked_BF = torch.zeros(front.hidden_BFD.shape[:2], dtype=torch.bool)
    masked_BF[0, 3:9] = True
    hidden_BFD = torch.where(masked_BF[..., None], kept.mask_embedding_D, front.hidden_BFD)
    layers = kept.run_blocks(hidden_BFD, front.lengths_B)
    assert not torch.allclose(layers[-1][0], expected.layers[-1][0])
    torch.testing.assert_close(layers[-1][1:], expected.layers[-1][1:], rtol=1e-4, atol=1e-5)  # the others' rows
    layers[-1].sum().backward()
    assert kept.mask_embedding_D.grad.abs().max() > 0


def test_the_stack_names_what_is_there(upstream: Upstream) -> None:
    """Adapters, low-rank updates and partial training are put where it says."""
    if not upstream.stacks:
        assert not list(upstream.parameters())
        return
    (stack,) = upstream.stacks.values()
    blocks = list(upstream.stacked_blocks())
    assert len(blocks) == upstream.num_layers - upstream.has_input_layer
    for block in blocks:
        for name in (*stack.attention_linears, *stack.ffn_linears):
            assert isinstance(block.get_submodule(name), torch.nn.Linear)
        assert block.get_submodule(stack.ffn) is block.get_submodule(stack.ffn_linears[-1])
        assert block.get_submodule(stack.ffn).out_features == upstream.layer_size
        assert stack.ffn_dropout is None or isinstance(block.get_submodule(stack.ffn_dropout), torch.nn.Dropout)
        # The attention's output, or its first element, goes to the stream.
        shapes = []
        block.get_submodule(stack.attention).register_forward_hook(
            lambda _, __, out, shapes=shapes: shapes.append((out[0] if isinstance(out, tuple) else out).shape)
        )
        run(upstream, *waves([9600]))
        assert shapes[0][2] == upstream.layer_size
    for name in stack.front:
        assert list(upstream.get_submodule(name).parameters())
