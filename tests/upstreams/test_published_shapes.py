"""Upstreams of the published shapes, built on the meta device, are what their cards say: layers, size, frame rate, parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    HubertConfig,
    HubertModel,
    ParakeetEncoderConfig,
    PreTrainedModel,
    SeamlessM4TConfig,
    SeamlessM4Tv2Config,
    VoxtralEncoderConfig,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
)
from transformers.models.parakeet.modeling_parakeet import ParakeetEncoder
from transformers.models.seamless_m4t.modeling_seamless_m4t import SeamlessM4TSpeechEncoder
from transformers.models.seamless_m4t_v2.modeling_seamless_m4t_v2 import SeamlessM4Tv2SpeechEncoder
from transformers.models.voxtral.modeling_voxtral import VoxtralEncoder
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from mlsuperb.config.build import instantiate
from mlsuperb.config.compose import compose
from mlsuperb.config.options import conf_dir, options
from mlsuperb.upstreams.base import Upstream, size_and_type
from mlsuperb.upstreams.parakeet import ParakeetStack
from mlsuperb.upstreams.seamless import SeamlessStack
from mlsuperb.upstreams.selfsupervised import SelfSupervised
from mlsuperb.upstreams.whisper import WhisperStack

LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
PRE_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}


def _hubert(**sizes: Any) -> PreTrainedModel:
    return HubertModel(HubertConfig(**sizes))


def _wav2vec2(**sizes: Any) -> PreTrainedModel:
    return Wav2Vec2Model(Wav2Vec2Config(**sizes))


def _xls_r(*, hidden_size: int, num_hidden_layers: int, **further: Any) -> PreTrainedModel:
    sizes = {"hidden_size": hidden_size, "intermediate_size": 4 * hidden_size, "num_hidden_layers": num_hidden_layers}
    return _wav2vec2(**{**LARGE, **sizes, **further}, **PRE_NORM, conv_bias=True)


def _wavlm(**sizes: Any) -> PreTrainedModel:
    return WavLMModel(WavLMConfig(**sizes))


def _whisper(size: int, blocks: int, heads: int, mels: int = 80) -> PreTrainedModel:
    config = WhisperConfig(
        d_model=size, encoder_layers=blocks, encoder_attention_heads=heads, encoder_ffn_dim=4 * size, num_mel_bins=mels
    )
    return WhisperEncoder(config)


BASE = (
    *("hubert_base", "hubert_base_cmn", "mhubert_base", "mhubert_147", "mhubert_147_iter2"),
    *("hubert_vp20", "hubert_mms_ulab", "afrihubert", "ssa_hubert"),
)


def _parakeet(blocks: int, *, mels: int, biases: bool = True) -> PreTrainedModel:
    config = ParakeetEncoderConfig(
        num_hidden_layers=blocks, num_mel_bins=mels, attention_bias=biases, convolution_bias=biases
    )
    return ParakeetEncoder(config)


XLS_R = ("xls_r_300m", "xlsr_53", "mms_300m", "wav2vec2_large", "wav2vec2_large_robust", "wav2vec2_large_23")
# On the meta device, what holds the weights; not what prepares log-mels
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    **dict.fromkeys(BASE, _hubert),
    **dict.fromkeys(("hubert_large", "hubert_large_cmn"), lambda: _hubert(**LARGE, **PRE_NORM, conv_bias=True)),
    **dict.fromkeys(("wav2vec2_base", "wav2vec2_base_23"), _wav2vec2),
    **dict.fromkeys(XLS_R, lambda: _xls_r(hidden_size=1024, num_hidden_layers=24)),
    **dict.fromkeys(("xls_r_1b", "mms_1b", "mms_lid_4017"), lambda: _xls_r(hidden_size=1280, num_hidden_layers=48)),
    "mms_1b_all": lambda: _xls_r(hidden_size=1280, num_hidden_layers=48, adapter_attn_dim=16),
    "xls_r_2b": lambda: _xls_r(hidden_size=1920, num_hidden_layers=48),
    **dict.fromkeys(("wavlm_base", "wavlm_base_plus"), _wavlm),
    "wavlm_large": lambda: _wavlm(**LARGE, **PRE_NORM),
    "w2v_bert_2": lambda: Wav2Vec2BertModel(Wav2Vec2BertConfig()),
    "whisper_tiny": lambda: _whisper(384, 4, 6),
    "whisper_base": lambda: _whisper(512, 6, 8),
    "whisper_small": lambda: _whisper(768, 12, 12),
    "whisper_medium": lambda: _whisper(1024, 24, 16),
    **dict.fromkeys(("whisper_large_v3", "whisper_large_v3_turbo"), lambda: _whisper(1280, 32, 20, mels=128)),
    **dict.fromkeys(("voxtral_mini", "voxtral_small"), lambda: VoxtralEncoder(VoxtralEncoderConfig())),
    "parakeet_tdt_0_6b_v3": lambda: _parakeet(24, mels=128, biases=False),
    "parakeet_rnnt_0_6b": lambda: _parakeet(24, mels=80),
    "parakeet_ctc_1_1b": lambda: _parakeet(42, mels=80),
    "canary_1b_v2": lambda: _parakeet(32, mels=128),
    "seamless_m4t_medium": lambda: SeamlessM4TSpeechEncoder(SeamlessM4TConfig(speech_encoder_layers=12)),
    "seamless_m4t_large": lambda: SeamlessM4TSpeechEncoder(SeamlessM4TConfig()),
    "seamless_m4t_v2_large": lambda: SeamlessM4Tv2SpeechEncoder(SeamlessM4Tv2Config()),
}
STACKS: dict[str, type[Upstream]] = {
    **dict.fromkeys(("whisper", "voxtral"), WhisperStack),
    "seamless": SeamlessStack,
    **dict.fromkeys(("parakeet", "canary"), ParakeetStack),
}
CARDS = {name: compose([f"upstream={name}"])["upstream"]["card"] for name in options("upstream", [conf_dir()])}
BUILT = ("fbank", "fbank_10ms", "mfcc", "kaldi_mfcc", "tiny", "mhubert_tiny", "hubert_new_tiny", "hubert_new")
OMNIASR = ("omniasr_w2v_300m", "omniasr_w2v_1b", "omniasr_w2v_3b", "omniasr_w2v_7b")
ESPNET = ("owsm_v3_1_medium", "owsm_v4_base", "owsm_v4_small", "owsm_v4_medium", "owsm_ctc_v4", "owsm_ctc_v3_1", "xeus")
# tests/upstreams/test_omniasr.py, test_owsm.py, test_owsm_ctc.py, test_xeus.py; tests/pretraining
ELSEWHERE = (*OMNIASR, *ESPNET, "phonetic_xeus", "hubert_new_large")


def test_no_card_claims_shapes_that_were_not_built() -> None:
    claimed = {name for name, card in CARDS.items() if card.get("checked_on") in ("real", "shapes")}
    assert claimed == {*MODELS, *BUILT, *ELSEWHERE}


@pytest.mark.parametrize("name", MODELS)
def test_card_of_a_published_model(name: str) -> None:
    with torch.device("meta"):
        model = MODELS[name]()
    stack = STACKS.get(name.partition("_")[0], SelfSupervised)
    check(stack(model), CARDS[name])


@pytest.mark.parametrize("name", BUILT)
def test_card_of_what_comes_with_the_package(name: str) -> None:
    check(instantiate(compose([f"upstream={name}"])["upstream"]), CARDS[name])


def check(upstream: Upstream, card: dict[str, Any]) -> None:
    told = (card["layers"], card["size"], card["frame_rate_hz"])
    assert (upstream.num_layers, upstream.layer_size, upstream.frame_rate_hz) == told
    count = sum(parameter.numel() for parameter in upstream.parameters())
    assert count / 1e6 == pytest.approx(card["params_m"], rel=0.001, abs=0.06)
    assert not count or size_and_type(upstream)["num_parameters"] == count
