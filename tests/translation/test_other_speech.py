"""`mlsuperb evaluate` and `mlsuperb transcribe` with a run of job=translation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny_runs
from tiny_speech import write_speech
from tiny_translators import write_seamless, write_whisper

from mlsuperb.commands import evaluate, transcribe
from mlsuperb.runs.hypotheses import read_hypotheses
from mlsuperb.runs.store import read
from mlsuperb.runs.windows import Windowing
from mlsuperb.scoring.result import TranslationResult

FEW = ("trainer.iterations_per_epoch=2", "trainer.max_epochs=1", "search.num_beams=1")


def finished(place: Path, model: str, *words: str) -> Path:
    return tiny_runs.run(tiny_runs.words_of(place / model, place / "deu", place, *FEW, *words))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("other_speech")
    write_seamless(folder / "seamless")
    write_whisper(folder / "whisper")
    write_speech(folder / "deu", ("deu",))
    write_speech(folder / "wol", ("wol",))
    soundfile.write(folder / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(8000), 8000)
    soundfile.write(folder / "long.wav", np.zeros(16000 * 3), 16000)
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    """Trained with a language of its own beside its adapters."""
    return finished(place, "seamless", "adaptation.width=4", "+model.new_languages.bem=swh")


@pytest.fixture(scope="module")
def whisper(place: Path) -> Path:
    return finished(place, "whisper", "model=whisper_base", "model.window_s=2", "train_on=[]", "adaptation=frozen")


def words(place: Path, language: str) -> list[str]:
    return ["data=ml_superb_10min", f"data.root={place / language}", "data.few_shot=all"]


def test_other_data_are_decoded_in_their_language_or_in_one_that_is_given(run: Path, place: Path) -> None:
    own = evaluate.evaluate(run, words(place, "deu"), device="cpu")
    result = read(own, TranslationResult)
    assert (result.language, result.data.splits["test"].num_utterances) == (None, 2)
    assert [one.hypothesis for one in read_hypotheses(own / "hypotheses.jsonl")] == [
        one.hypothesis for one in read_hypotheses(run / "hypotheses.jsonl")
    ]
    other = evaluate.evaluate(run, words(place, "wol"), device="cpu", language="bem")
    assert read(other, TranslationResult).language == "bem"
    assert {one.language for one in read_hypotheses(other / "hypotheses.jsonl")} == {"wol"}
    assert evaluate.evaluate(run, words(place, "wol"), device="cpu", language="deu") != other
    searched = evaluate.evaluate(run, [*words(place, "deu"), "search=greedy", "search.max_tokens=2"], device="cpu")
    assert read(searched, TranslationResult).config["search"]["max_tokens"] == 2


def test_a_checkpoint_that_has_changed_since_the_training_is_refused(whisper: Path, place: Path) -> None:
    file = place / "whisper" / "model.safetensors"
    own = file.read_bytes()
    file.write_bytes(own[:-4] + b"\0\0\1\0")
    try:
        with pytest.raises(ValueError, match=r"has changed since training \(sha256 .* then, .* now\).*model\.revision"):
            evaluate.evaluate(whisper, [*words(place, "deu"), "data.max_duration_s=9"], device="cpu")
    finally:
        file.write_bytes(own)


@pytest.mark.parametrize(
    ("words_of", "language", "message"),
    [
        ("wol", None, r"the model has no language 'wol'; it has bem, deu"),
        ("deu", "kat", r"the model has no language 'kat'"),
    ],
)
def test_a_language_that_the_model_does_not_have_is_refused(
    words_of: str, language: str | None, message: str, run: Path, place: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate.evaluate(run, words(place, words_of), device="cpu", language=language)


def test_settings_of_the_model_are_refused(run: Path, place: Path) -> None:
    with pytest.raises(
        ValueError, match=r"decoding cannot be changed .* give settings of data, search, scoring, loading"
    ):
        evaluate.evaluate(run, [*words(place, "deu"), "decoding=greedy"], device="cpu")


def test_files_are_written_in_the_language_that_is_given(
    run: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transcribe.main([str(run), str(place / "a.wav"), "--language", "bem", "--device", "cpu", "--json"])
    assert set(json.loads(capsys.readouterr().out)) == {"audio", "language", "text"}
    with pytest.raises(ValueError, match=r"give it by --language CODE, one of bem, deu, eng"):
        transcribe.transcribe(run, [place / "a.wav"], device="cpu")
    with pytest.raises(ValueError, match="the model has no language 'german'"):
        transcribe.transcribe(run, [place / "a.wav"], device="cpu", language="german")


def test_what_is_too_long_is_named(whisper: Path, place: Path) -> None:
    files = [place / "a.wav", place / "long.wav"]
    with pytest.raises(ValueError, match=r"1 of 2 .* window of 2 s \(model.window_s.*long.wav \(3.0 s\). Cut them"):
        transcribe.transcribe(whisper, files, device="cpu", language="deu", windowing=Windowing(length_s=5.0))
    assert len(transcribe.transcribe(whisper, files[:1], device="cpu", language="deu")) == 1
    evaluate.evaluate(whisper, words(place, "deu"), device="cpu")


def test_what_is_too_long_is_cut_into_windows(whisper: Path, place: Path) -> None:
    """A translator gives no times: the texts of its windows are joined."""
    (long,) = transcribe.transcribe(whisper, [place / "long.wav"], device="cpu", language="deu")
    assert (long.duration_s, long.words, long.languages) == (3.0, None, {})
    with pytest.raises(ValueError, match="--format srt needs the time of each word, which this model does not give"):
        transcribe.main([str(whisper), str(place / "a.wav"), "--language", "deu", "--device", "cpu", "--format", "srt"])


def test_an_output_longer_than_the_decoder_is_refused(whisper: Path, place: Path) -> None:
    with pytest.raises(ValueError, match=r"search.max_tokens=62: the decoder has 64 places.* Give at most 61"):
        evaluate.evaluate(whisper, [*words(place, "deu"), "search=greedy", "search.max_tokens=62"], device="cpu")
    evaluate.evaluate(whisper, [*words(place, "deu"), "search=greedy", "search.max_tokens=61"], device="cpu")
