"""espeak-ng, words and recording conditions behind the built-in corpus."""

from __future__ import annotations

import random
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pycountry
import pytest

pytest.importorskip("espeakng_loader")
pytest.importorskip("babel")

from mlsuperb.data.synthesis.espeak import SAMPLE_RATE_HZ, Synthesiser
from mlsuperb.data.synthesis.languages import LANGUAGES, MAX_WORDS, MIN_WORDS, language_problem, vocabulary
from mlsuperb.data.synthesis.recording import _HALF_WIDTH, CONDITIONS, _filter, _resample, record
from mlsuperb.data.synthesis.utterances import DEV_VARIANTS, TEST_VARIANTS, speak
from mlsuperb.types import SAMPLE_RATE_HZ as OUTPUT_RATE_HZ


@pytest.fixture(scope="module")
def synthesiser():
    return Synthesiser()


def test_at_least_sixty_languages_each_with_a_valid_code():
    assert len(LANGUAGES) >= 60
    assert [code for code in LANGUAGES if pycountry.languages.get(alpha_3=code) is None] == []
    assert len({language.voice for language in LANGUAGES.values()}) == len(LANGUAGES)


def test_every_language_has_words_that_its_voice_reads(synthesiser):
    sizes = {code: len(vocabulary(LANGUAGES[code], synthesiser)) for code in LANGUAGES}
    assert len(sizes) >= 60
    assert min(sizes.values()) >= MIN_WORDS
    assert max(sizes.values()) <= MAX_WORDS


def test_words_of_a_language_do_not_depend_on_what_was_loaded_before(synthesiser):
    from babel import localedata

    codes = ["fin", "que", "cmn", "ara"]
    before = {code: vocabulary(LANGUAGES[code], synthesiser) for code in codes}
    localedata._cache.clear()
    for code in ("spa", "guj", "lat"):
        vocabulary(LANGUAGES[code], synthesiser)
    assert {code: vocabulary(LANGUAGES[code], synthesiser) for code in reversed(codes)} == before


@pytest.mark.parametrize("code", ["fin", "kat", "ara", "jpn", "tur"])
def test_words_are_single_plain_and_of_one_script(code, synthesiser):
    scripts = {"fin": "LATIN", "kat": "GEORGIAN", "ara": "ARABIC", "jpn": "KATAKANA", "tur": "LATIN"}
    texts = [word.text for word in vocabulary(LANGUAGES[code], synthesiser)]
    assert len({text.casefold() for text in texts}) == len(texts) > 0
    letters = {letter for text in texts for letter in text}
    named = {
        unicodedata.name(letter).split()[0] for letter in letters if unicodedata.category(letter) in ("Ll", "Lu", "Lo")
    }
    assert named == {scripts[code]}
    spoken = synthesiser.phonemes(texts, voice=LANGUAGES[code].voice)
    assert not any("(" in said or not said.strip() for said in spoken)


def test_unknown_language_is_answered_with_near_ones():
    assert language_problem("fin", setting="data.languages") is None
    assert "no language 'fim'. Nearest: fin" in (language_problem("fim", setting="data.languages") or "")


def test_the_same_call_gives_the_same_samples_after_any_other(synthesiser):
    calls = [
        (text, f"{voice}+{variant}", rate)
        for voice, text in (("fi", "tammikuu helsinki kolme"), ("sw", "januari machi tatu"), ("cmn", "德国 一月"))
        for variant in ("f2", "m3", "Mike", "shelby", "f3")
        for rate in (150, 180)
    ]
    once = {call: synthesiser.speak(call[0], voice=call[1], rate_wpm=call[2], pitch=50).tobytes() for call in calls}
    again = random.Random(1).sample(calls, len(calls))
    assert len(once) == len(calls) == 30
    other = Synthesiser()
    for call in again:
        assert other.speak(call[0], voice=call[1], rate_wpm=call[2], pitch=50).tobytes() == once[call]


def test_rate_and_pitch_change_the_speech(synthesiser):
    def say(**changes):
        settings = {"voice": "de+m3", "rate_wpm": 160, "pitch": 50} | changes
        return synthesiser.speak("eins zwei drei vier", **settings)

    assert len(say(rate_wpm=220)) < 0.85 * len(say())
    assert say(pitch=90).tobytes() != say().tobytes()
    assert say(voice="de+f2").tobytes() != say().tobytes()


def test_unknown_voice_is_refused(synthesiser):
    with pytest.raises(ValueError, match="no voice 'zz'"):
        synthesiser.speak("a", voice="zz", rate_wpm=160, pitch=50)


def test_absent_extra_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ValueError, match=r'pip install "mlsuperb\[synthetic\]"'):
        Synthesiser()


def test_held_out_speakers_train_nowhere():
    trained = {variant for condition in CONDITIONS.values() for variant in condition.variants}
    dev, test = set(DEV_VARIANTS), set(TEST_VARIANTS)
    assert not trained & dev
    assert not trained & test
    assert not dev & test
    import espeakng_loader

    known = {path.name for path in (Path(espeakng_loader.get_data_path()) / "voices" / "!v").iterdir()}
    assert trained | dev | test <= known
    assert all(len(set(condition.variants)) >= 12 for condition in CONDITIONS.values())


@pytest.mark.parametrize("frequency_hz", [500.0, 1000.0, 3000.0])
def test_resampling_keeps_a_tone(frequency_hz):
    """Against the tone itself, sampled at 16 kHz."""
    seconds = 0.5
    source = np.round(
        9000 * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ)
    )
    got = _resample(source.astype("<i2"), low_hz=0.0, high_hz=7300.0)
    expected = 9000 * np.sin(2 * np.pi * frequency_hz * np.arange(len(got)) / OUTPUT_RATE_HZ)
    assert len(got) == int(seconds * OUTPUT_RATE_HZ)
    assert np.abs(got - expected)[300:-300].max() < 9000 * 0.01


@pytest.mark.parametrize(("frequency_hz", "passes"), [(100.0, False), (1000.0, True), (5000.0, False), (9500.0, False)])
def test_phone_band(frequency_hz, passes):
    source = 9000 * np.sin(2 * np.pi * frequency_hz * np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ)
    phone = CONDITIONS["phone"]
    got = _resample(np.round(source).astype("<i2"), low_hz=phone.low_hz, high_hz=phone.high_hz)[400:-400]
    level_db = 20 * np.log10(max(np.sqrt(np.mean(got.astype(float) ** 2)), 1e-9) / (9000 / np.sqrt(2)))
    assert abs(level_db) < 0.2 if passes else level_db < -35


def test_recording_has_the_level_and_noise_of_its_condition():
    rng = np.random.default_rng(0)
    voice = np.round(3000 * rng.standard_normal(2 * SAMPLE_RATE_HZ)).astype("<i2")
    room = CONDITIONS["room"]
    got = record(voice, room, loudness=1.0, seed=3).astype(float)
    assert got.std() == pytest.approx(np.hypot(room.level, room.noise), rel=0.02)
    silence = record(np.zeros(SAMPLE_RATE_HZ, "<i2"), room, loudness=1.0, seed=3).astype(float)
    assert silence.std() == pytest.approx(room.noise, rel=0.03)
    assert abs(silence.mean()) < 3


def test_utterances_are_a_few_seconds_long_and_unclipped(synthesiser):
    language, condition = LANGUAGES["fin"], CONDITIONS["studio"]
    words = vocabulary(language, synthesiser)
    lengths = []
    for index in range(24):
        part = speak(index, synthesiser, seed=0, condition=condition, language=language, split="train", words=words)
        audio = np.frombuffer(part.audio, "<i2")
        lengths.append(len(audio) / OUTPUT_RATE_HZ)
        assert np.abs(audio.astype(int)).max() < 2**15 - 1
        assert 3 <= len(part.text.split()) <= 8 or len(part.text) > 40
    assert min(lengths) > 1.2
    assert max(lengths) < 9
    assert 2.5 < np.mean(lengths) < 5


def test_resampling_in_parts_equals_the_whole_filter():
    rng = np.random.default_rng(0)
    for num_samples in (2, 440, 441, 9000, 40_000):
        samples = rng.integers(-(2**15), 2**15, num_samples).astype("<i2")
        got = _resample(samples, low_hz=80.0, high_hz=6000.0)
        kernel, half = _filter(80.0, 6000.0), _HALF_WIDTH
        num_blocks = num_samples // 441 + 1
        padded = np.zeros(num_blocks * 441 + 2 * half)
        padded[half : half + num_samples] = samples
        blocks = [padded[441 * block : 441 * block + 441 + 2 * half] @ kernel for block in range(num_blocks)]
        expected = np.floor(np.concatenate(blocks)[: len(got)] / 2**15 + 0.5)
        assert len(got) == num_samples * 320 // 441
        assert np.array_equal(got, expected)
