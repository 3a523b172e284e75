"""Multiply-accumulates, by hand."""

from __future__ import annotations

import pytest

from mlsuperb.benchmark import build
from mlsuperb.benchmark.macs import AUDIO_S, macs_per_second
from mlsuperb.benchmark.model import SpeechModel
from mlsuperb.config.compose import compose

VOCAB_SIZE = 30
MELS, BINS, MEL_FRAMES = 80, 201, 1001  # of upstream=fbank_10ms, for 10 s


def model(*overrides: str) -> SpeechModel:
    return build.build_model(compose(["adaptation=frozen", *overrides]), vocab_size=VOCAB_SIZE)


def test_a_linear_head_on_mels() -> None:
    config = [
        "upstream=fbank",
        "upstream.n_fft=400",
        "upstream.win_length=400",
        "upstream.hop_length=160",
        "head=linear",
    ]
    counted = macs_per_second(model(*config, f"upstream.num_mels={MELS}", "head.size=null").train())
    by_hand = {"upstream": MEL_FRAMES * BINS * MELS, "head": MEL_FRAMES * MELS * VOCAB_SIZE}
    assert counted == {part: round(macs / AUDIO_S) for part, macs in by_hand.items()}


def test_an_upstream_of_convolutions_and_attention() -> None:
    speech = model("upstream=tiny", "head=linear")
    hubert = speech.upstream.model.config  # type: ignore[union-attr]
    frames, channels, size, by_hand = AUDIO_S * 16_000, 1, hubert.hidden_size, 0
    for out, kernel, stride in zip(hubert.conv_dim, hubert.conv_kernel, hubert.conv_stride, strict=True):
        frames = (frames - kernel) // stride + 1
        by_hand += frames * channels * out * kernel
        channels = out
    by_hand += frames * channels * size
    kernel = hubert.num_conv_pos_embeddings
    by_hand += (frames + (kernel % 2 == 0)) * size * (size // hubert.num_conv_pos_embedding_groups) * kernel
    products = 4 * size * size + 2 * size * hubert.intermediate_size
    # queries x keys, then values
    by_hand += hubert.num_hidden_layers * (frames * products + 2 * frames * frames * size)
    # 1 % more: the group norm's statistics come from products of the first convolution's input
    assert macs_per_second(speech)["upstream"] == pytest.approx(by_hand / AUDIO_S, rel=0.015)


def test_a_trained_upstream_is_counted_as_a_frozen_one_and_stays_trained() -> None:
    """Its weight norm gets trained parameters, which the counter wants to know the history of."""
    speech = model("upstream=tiny", "adaptation=full", "head=linear")
    trained = [name for name, parameter in speech.named_parameters() if parameter.requires_grad]
    assert macs_per_second(speech) == macs_per_second(model("upstream=tiny", "head=linear"))
    assert [name for name, parameter in speech.named_parameters() if parameter.requires_grad] == trained


def test_an_lstm_is_counted_step_by_step_and_the_mode_stays() -> None:
    speech = model("upstream=fbank_10ms", "head=bilstm", "head.size=16", "head.num_layers=2").train()
    step = 2 * 4 * 16 * (16 + 16) + 2 * 4 * 16 * (32 + 16)  # both directions, four gates, of input and state
    outside = speech.featurizer.output_size * 16 + 32 * VOCAB_SIZE
    assert macs_per_second(speech)["head"] == round(MEL_FRAMES * (step + outside) / AUDIO_S)
    assert speech.training
    assert not speech.upstream.training or speech.frozen


def test_a_front_end_is_counted_as_on_a_gpu_though_a_cpu_multiplies_less() -> None:
    speech = model("upstream=fbank_10ms", "head=bilstm", "head.size=16", "head.num_layers=2", "head.frontend=conv2d2")
    rows, columns = (MEL_FRAMES - 1) // 2, (speech.featurizer.output_size - 1) // 2
    frames = rows - 2
    front = rows * columns * 9 * 16 + frames * (columns - 2) * (9 * 16 * 16 + 16 * 16)
    step = 2 * 4 * 16 * (16 + 16) + 2 * 4 * 16 * (32 + 16)
    assert macs_per_second(speech)["head"] == round((front + frames * (step + 32 * VOCAB_SIZE)) / AUDIO_S)
    assert speech.head.frontend.fewer_products  # type: ignore[union-attr]
