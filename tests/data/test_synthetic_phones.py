"""Where the phones of the built-in corpus are spoken."""

from __future__ import annotations

import wave
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("espeakng_loader")
pytest.importorskip("babel")

from mlsuperb.data.corpora.synthetic import Synthetic
from mlsuperb.data.prepared import prepare
from mlsuperb.data.synthesis.espeak import Synthesiser
from mlsuperb.data.synthesis.languages import LANGUAGES
from mlsuperb.data.synthesis.phones import PAUSE
from mlsuperb.data.synthesis.recording import CONDITIONS
from mlsuperb.data.synthesis.utterances import place_of
from mlsuperb.types import SAMPLE_RATE_HZ as OUTPUT_RATE_HZ


@pytest.fixture(scope="module")
def synthesiser():
    return Synthesiser()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic")
    pairs = [["deu", "studio"], ["cmn", "phone"], ["hin", "room"]]
    corpus = Synthetic(root=str(root), minutes=0.3, test_minutes=0.2, pairs=pairs)
    prepare(corpus, folder=None)
    corpus.write_phones()
    return corpus


def rows(corpus: Synthetic) -> dict[str, list[tuple[float, float, str]]]:
    found: dict[str, list[tuple[float, float, str]]] = {}
    for path in corpus.write_phones():
        header, *lines = path.read_text(encoding="utf-8").splitlines()
        assert header.split("\t") == ["id", "start_s", "end_s", "phone"]
        for line in lines:
            name, start_s, end_s, phone = line.split("\t")
            found.setdefault(name, []).append((float(start_s), float(end_s), phone))
    return found


def read(path: str) -> np.ndarray:
    with wave.open(path) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)


@pytest.mark.parametrize("code", ["deu", "cmn", "hin", "amh", "fra"])
def test_asking_for_phonemes_changes_no_sample(code, synthesiser):
    text = {"deu": "zwölf Kirchen", "cmn": "十二 德国", "hin": "जनवरी भारत", "amh": "ጥር ኢትዮጵያ", "fra": "quatre-vingts"}[
        code
    ]
    settings = {"voice": f"{LANGUAGES[code].voice}+m3", "rate_wpm": 160, "pitch": 45, "seed": 7}
    samples_T, phonemes = synthesiser.speak_phonemes(text, **settings)
    assert samples_T.tobytes() == synthesiser.speak(text, **settings).tobytes()
    assert len(phonemes) > 5
    starts = [one.start for one in phonemes]
    assert starts[0] == 0
    assert starts == sorted(starts)
    assert starts[-1] <= len(samples_T)


def test_phonemes_are_those_that_the_voice_reads(synthesiser):
    _, phonemes = synthesiser.speak_phonemes("Kirche Mond", voice="de+m3", rate_wpm=160, pitch=50)
    spoken = "".join(one.name for one in phonemes)
    assert [one.name for one in phonemes if one.name][:2] == ["k", "ˈɪ"]
    # the two outputs of espeak-ng differ in how they write an r that is tapped
    assert spoken.replace("ɾ", "r") == synthesiser.phonemes(["Kirche Mond"], voice="de+m3")[0].replace(" ", "").replace(
        "ɾ", "r"
    )


def test_a_faster_reading_moves_the_phonemes_with_the_samples(synthesiser):
    slow, fast = (
        synthesiser.speak_phonemes("mamama", voice="de+m3", rate_wpm=rate_wpm, pitch=50) for rate_wpm in (120, 240)
    )
    assert [one.name for one in slow[1]] == [one.name for one in fast[1]]
    shares = [np.array([one.start for one in phonemes]) / len(samples) for samples, phonemes in (slow, fast)]
    assert len(fast[0]) < 0.7 * len(slow[0])
    assert np.abs(shares[0] - shares[1])[:-2].max() < 0.15


def test_phones_cover_the_recording_without_gaps(corpus):
    manifest = prepare(corpus, folder=None).manifest
    found = rows(corpus)
    assert set(manifest["id"]) == set(found)
    for name, audio in zip(manifest["id"], manifest["audio"], strict=True):
        phones = found[name]
        assert phones[0][0] == 0
        assert all(one[1] == other[0] for one, other in pairwise(phones))
        assert phones[-1][1] == pytest.approx(len(read(audio)) / OUTPUT_RATE_HZ, abs=1e-3)


def test_times_fit_the_recorded_audio(corpus):
    """Just behind the start of the last pause there is nothing but hiss (and the echo of a few voices), just before it speech: a
    delay of some milliseconds would show."""
    manifest = prepare(corpus, folder=None).manifest
    found = rows(corpus)
    before, after = [], []
    for name, audio, dataset in zip(manifest["id"], manifest["audio"], manifest["dataset"], strict=True):
        wave_T, (start_s, end_s, phone) = read(audio), found[name][-1]
        if phone == PAUSE and end_s - start_s > 0.1 and found[name][-2][2] != PAUSE:
            start, ms, hiss = round(start_s * OUTPUT_RATE_HZ), OUTPUT_RATE_HZ // 1000, CONDITIONS[dataset].noise
            before.append(wave_T[start - 6 * ms : start - ms].std() / hiss)
            after.append(wave_T[start + ms : start + 6 * ms].std() / hiss)
    assert len(after) > 10
    assert np.median(after) < 1.5
    assert np.median(before) > 5


def test_vowels_are_louder_than_pauses_and_stop_closures(corpus):
    manifest = prepare(corpus, folder=None).manifest
    found = rows(corpus)
    loud: dict[str, list[float]] = {"a": [], PAUSE: []}
    for name, audio in zip(manifest["id"], manifest["audio"], strict=True):
        wave_T = read(audio)
        for start_s, end_s, phone in found[name]:
            kind = PAUSE if phone == PAUSE else "a" if set(phone) & set("aɑo") else None
            if kind and end_s - start_s > 0.04:
                middle = wave_T[round((start_s + 0.01) * OUTPUT_RATE_HZ) : round((end_s - 0.01) * OUTPUT_RATE_HZ)]
                loud[kind].append(float(np.sqrt(np.mean(middle**2))))
    assert len(loud["a"]) > 30
    assert np.median(loud["a"]) > 8 * np.median(loud[PAUSE])


def test_the_manifest_does_not_change_with_the_phones(tmp_path):
    corpus = Synthetic(root=str(tmp_path / "tree"), minutes=0.1, test_minutes=0.1, pairs=[["fin", "studio"]])
    before = prepare(corpus, folder=tmp_path / "manifest").manifest
    written = corpus.write_phones()
    assert [path.name for path in written] == ["phones.tsv"]
    first = written[0].read_bytes()
    assert prepare(corpus, folder=tmp_path / "manifest").manifest.equals(before)
    written[0].unlink()
    assert corpus.write_phones()[0].read_bytes() == first


def test_a_corpus_that_is_not_there_is_refused(tmp_path):
    corpus = Synthetic(root=str(tmp_path), minutes=0.1, test_minutes=0.1, pairs=[["fin", "studio"]])
    with pytest.raises(ValueError, match="mlsuperb data prepare"):
        corpus.write_phones()


def test_an_id_says_its_split_and_number():
    assert place_of("studio_deu_000017") == ("train", 17)
    assert place_of("phone_cmn_800000") == ("dev", 0)
    assert place_of("room_hin_900123") == ("test", 123)
