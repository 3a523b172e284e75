"""ASR models of transformers as judges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_asr
import torch

from mlsuperb.analysis.judging.asr import Recogniser, load_recogniser

CPU = torch.device("cpu")


def waves(*seconds: float) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.normal(size=round(16000 * one)).astype(np.float32) * 0.1 for one in seconds]


def load(folder: Path, *, batch_size: int = 4) -> Recogniser:
    return load_recogniser(str(folder), batch_size=batch_size, device=CPU)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Recogniser:
    return load(tiny_asr.whisper(tmp_path_factory.mktemp("asr") / "whisper"), batch_size=2)


def test_whisper_is_given_the_language(whisper: Recogniser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlsuperb.analysis.judging.asr._MAX_TOKENS", 6)
    german = whisper.texts(waves(0.5), language="deu")
    assert german == whisper.texts(waves(0.5), language="deu")
    assert whisper.problem("jav") is None, "Whisper calls Javanese jw"
    prompt = whisper.tokenizer.convert_ids_to_tokens(whisper._prompt("deu"))  # type: ignore[attr-defined]
    assert prompt == ["<|startoftranscript|>", "<|de|>", "<|transcribe|>", "<|notimestamps|>"]
    problem = whisper.problem("swh")
    assert problem is not None
    assert "no token <|sw|>; its languages are de, jw" in problem


def test_whisper_is_what_transformers_generates(whisper: Recogniser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a loop that computes everything anew for every token."""
    monkeypatch.setattr("mlsuperb.analysis.judging.asr._MAX_TOKENS", 5)
    model, tokenizer = whisper.model, whisper.tokenizer  # type: ignore[attr-defined]
    (wave_T,) = waves(1.3)
    mels = whisper.features(wave_T, sampling_rate=16000, return_tensors="pt").input_features  # type: ignore[attr-defined]
    tokens = whisper._prompt("deu")  # type: ignore[attr-defined]
    with torch.inference_mode():
        for _ in range(5):
            logits = model(input_features=mels, decoder_input_ids=torch.tensor([tokens])).logits[0, -1]
            logits[model.generation_config.suppress_tokens] = -torch.inf
            tokens.append(int(logits.argmax()))
    assert whisper.texts([wave_T], language="deu") == [tokenizer.decode(tokens[4:]).strip()]


def test_whisper_takes_long_audio_in_parts(whisper: Recogniser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlsuperb.analysis.judging.asr._MAX_TOKENS", 4)
    short_T, long_T, other_T = waves(1, 70, 2)
    texts = whisper.texts([short_T, long_T, other_T], language="deu")
    parts = [whisper.texts([part_T], language="deu")[0] for part_T in np.array_split(long_T, 3)]
    assert texts == [
        whisper.texts([short_T], language="deu")[0],
        " ".join(parts),
        whisper.texts([other_T], language="deu")[0],
    ]


def test_an_english_whisper_judges_english_alone(tmp_path: Path) -> None:
    model = load(tiny_asr.whisper(tmp_path / "en", multilingual=False))
    assert model.problem("eng") is None
    assert "for English alone" in (model.problem("deu") or "")
    assert len(model._prompt("eng")) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("masked", [True, False])
def test_ctc_does_not_depend_on_its_neighbours(tmp_path: Path, masked: bool) -> None:
    model = load(tiny_asr.ctc(tmp_path / "ctc", masked=masked))
    assert model.batch_size == (4 if masked else 1)
    given = waves(0.4, 1.1, 0.7)
    alone = [model.texts([one], language="deu")[0] for one in given]
    assert all(alone)
    assert len(set(alone)) == 3
    if masked:
        assert model.texts(given, language="deu") == alone


def test_a_model_of_log_mels_does_not_decode_padding(tmp_path: Path) -> None:
    model = load(tiny_asr.w2v_bert(tmp_path / "w2v_bert"))
    given = waves(0.4, 3, 0.71)
    alone = [model.texts([one], language="deu")[0] for one in given]
    assert len(set(alone)) == 3
    assert model.texts(given, language="deu") == alone


def test_a_model_with_adapters_takes_that_of_the_language(tmp_path: Path) -> None:
    model = load(tiny_asr.ctc(tmp_path / "mms", adapters=("deu", "swh")))
    (wave_T,) = waves(1)
    german = model.texts([wave_T], language="deu")
    swahili = model.texts([wave_T], language="swh")
    assert german != swahili
    assert model.texts([wave_T], language="deu") == german
    assert model.problem("swh") is None
    assert model.problem("rus") == "it has no adapter for rus; it has deu, swh"


def test_what_is_no_judge_is_refused(tmp_path: Path) -> None:
    from transformers import ParakeetCTCConfig, Wav2Vec2Config, Wav2Vec2Model, WhisperConfig
    from transformers.models.bert import BertConfig

    with pytest.raises(ValueError, match=r"could not be read: .* Give the id of a model"):
        load(tmp_path / "absent")
    BertConfig().save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match=r"model of type 'bert'; a judge can be one of CTC models"):
        load(tmp_path / "bert")
    ParakeetCTCConfig().save_pretrained(tmp_path / "parakeet")
    with pytest.raises(ValueError, match=r"model of type 'parakeet_ctc'; a judge can be one of CTC models"):
        load(tmp_path / "parakeet")
    whole = tiny_asr.ctc(tmp_path / "whole")
    config = Wav2Vec2Config.from_pretrained(whole)
    Wav2Vec2Model(config).save_pretrained(whole)
    with pytest.raises(ValueError, match=r"lacks 2 weights \(lm_head\.bias, lm_head\.weight\), which would be random"):
        load(whole)
    WhisperConfig().save_pretrained(tmp_path / "empty")
    with pytest.raises(ValueError, match="could not be read"):
        load(tmp_path / "empty")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("adapter_config.json", '{"peft_type": "LORA"}', "also holds an adapter"),
        ("config.json", "[1]", r"could not be read(:| \(\w+)"),
        ("config.json", '{"model_type": "wav2vec2", "hidden_size": "32"}', r"could not be read(:| \(\w+)"),
        ("tokenizer.json", "junk", r"could not be read(:| \(\w+)"),
        ("preprocessor_config.json", "[]", r"could not be read(:| \(\w+)"),
        ("model.safetensors", "version https://git-lfs", r"could not be read(:| \(\w+)"),
    ],
)
def test_files_that_are_junk_are_one_sentence(name: str, content: str, message: str, tmp_path: Path) -> None:
    folder = tiny_asr.whisper(tmp_path / "whisper")
    for path in folder.glob("processor_config.json"):  # where transformers 5 writes the feature extractor
        path.unlink()
    (folder / name).write_text(content)
    with pytest.raises(ValueError, match=rf"--asr.*{folder} {message}"):
        load(folder)


def test_adapters_of_languages_are_recorded(tmp_path: Path) -> None:
    folder = tiny_asr.whisper(tmp_path / "whisper")
    (folder / "adapter.deu.safetensors").write_bytes(b"deu")
    assert set(load(folder).record["sha256"]) == {"model.safetensors", "adapter.deu.safetensors"}
