"""Files whose headers lie: true lengths, cuts, joins, damage."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus_trees import ListCorpus, utterance

from mlsuperb.data import audio, containers
from mlsuperb.data.audio import load_audio, load_part
from mlsuperb.data.audio_file import (
    CUT_AUDIO,
    DAMAGED_AUDIO,
    JOINED_AUDIO,
    UNREADABLE_AUDIO,
    WRONG_LEVEL,
    AudioError,
    audio_info,
    member,
    open_audio,
    read_samples,
)
from mlsuperb.data.checks import BEYOND_END
from mlsuperb.data.prepared import prepare

FILES = Path(__file__).parent / "files"
CODINGS = {
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
SAYS_ITS_END = {
    "au": ("AU", "PCM_16"), "w64": ("W64", "PCM_16"), "caf": ("CAF", "PCM_16"), "sph": ("NIST", "PCM_16"),
    "rf64": ("RF64", "FLOAT"),
}  # fmt: skip
PLAIN = {"wav": ("WAV", "PCM_16"), "aiff": ("AIFF", "PCM_16"), **SAYS_ITS_END}


def encoded(kind: str, *, seconds: float = 3.0, rate_hz: int = 16_000, channels: int = 1, seed: int = 0) -> bytes:
    """A file of quiet noise."""
    noise_TC = 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * rate_hz), channels))
    coding, subtype = (CODINGS | PLAIN)[kind]
    buffer = io.BytesIO()
    soundfile.write(buffer, noise_TC.astype(np.float32), rate_hz, format=coding, subtype=subtype)
    return buffer.getvalue()


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def fault_of(path: Path) -> str:
    """What a corpus counts the file as, read as a whole."""
    good = written(path.with_name("good.wav"), encoded("wav", seconds=1.0))
    corpus = ListCorpus(given=[utterance(path, id="bad"), utterance(good, id="good")], files=[])
    prepared = prepare(corpus, folder=None)
    assert list(prepared.manifest["id"]) in (["good"], ["bad", "good"])
    return next(iter(prepared.skipped), "")


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 24_000, 44_100, 48_000])
def test_the_frames_of_an_mp3_give_the_length_that_libsndfile_reads(rate_hz, channels):
    content = encoded("mp3", rate_hz=rate_hz, channels=channels)
    stream = containers.mpeg_stream(content)
    assert stream.num_samples == len(soundfile.read(io.BytesIO(content))[0])
    assert (stream.num_missing, stream.is_joined) == (0, False)


def test_an_mp3_without_the_number_of_its_frames_is_read_to_its_end():
    path = FILES / "mp3_vbr_no_xing_reads_short.mp3"
    believed = soundfile.read(path, dtype="float32")[0]
    assert len(believed) / 16_000 == pytest.approx(2.52, abs=0.01)  # what libsndfile takes it for
    assert audio_info(path).duration_s == pytest.approx(10.0, abs=0.06)  # the encoder's delay and its last frame
    wave_T = load_audio(path)
    assert len(wave_T) == audio_info(path).num_samples
    np.testing.assert_array_equal(wave_T[: len(believed) - 529], believed[529:])  # the decoder's own delay is left out
    np.testing.assert_allclose(load_audio(path, start_s=8.0, duration_s=1.5), wave_T[128_000:152_000], atol=1e-6)
    audio_info(path, decode=True)


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 24_000, 44_100])
def test_a_segment_of_an_mp3_is_a_slice_of_it(tmp_path, rate_hz):
    """The first frame behind a seek takes bits from those before it."""
    path = written(tmp_path / "a.mp3", encoded("mp3", rate_hz=rate_hz))
    whole_TC = soundfile.read(path, dtype="float32", always_2d=True)[0]
    for start in (0, 500, rate_hz + 77, 2 * rate_hz):
        with open_audio(path) as file:
            part_TC = read_samples(path, file, 8000, start=start)
        np.testing.assert_allclose(part_TC, whole_TC[start : start + 8000], atol=1e-6)


def test_pictures_and_tags_around_an_mp3_are_no_frames():
    content = encoded("mp3")
    picture = b"ID3\4\0\0\0\0\x1f\x76" + b"\xff\xfb\x90\x44" * 1000 + bytes(14)
    stream, bare = containers.mpeg_stream(picture + content + b"TAG" + bytes(125)), containers.mpeg_stream(content)
    assert (stream.num_samples, stream.is_joined) == (bare.num_samples, False)
    assert containers.mpeg_stream(np.random.default_rng(0).bytes(50_000)) is None


def test_a_flac_that_does_not_say_its_length_is_read_to_its_end():
    path = FILES / "flac_unknown_length.flac"
    assert audio_info(path).num_samples == 9600
    assert len(load_audio(path)) == 9600
    np.testing.assert_array_equal(load_audio(path, start_s=0.3, duration_s=0.2), load_audio(path)[4800:8000])
    part = load_part(path, start_s=0.0, duration_s=0.6, first_s=0.1, length_s=0.2)
    np.testing.assert_array_equal(part, load_audio(path)[1600:4800])


@pytest.mark.parametrize("name", ["flac_unknown_length.flac", "mp3_vbr_no_xing_reads_short.mp3"])
def test_a_part_is_read_from_a_file_that_is_opened_once(name, monkeypatch):
    opened = []
    monkeypatch.setattr(audio, "open_audio", lambda path: opened.append(path) or open_audio(path))
    load_part(FILES / name, start_s=0.0, duration_s=0.5, first_s=0.1, length_s=0.2)
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("num", "rate_hz", "channels"), [(1, 8000, 1), (4097, 44_100, 2), (100_001, 96_000, 2), (70_000, 16_001, 1)]
)
def test_the_last_frame_of_a_flac_says_where_it_ends(num, rate_hz, channels):
    content = encoded("flac", seconds=num / rate_hz, rate_hz=rate_hz, channels=channels)
    assert containers.flac_num_samples(content) == num
    assert containers.flac_with_length(content, num) == content


@pytest.mark.parametrize("kind", [*CODINGS, *PLAIN])
def test_a_file_that_was_cut_is_counted(tmp_path, kind):
    content = encoded(kind)
    path = written(tmp_path / f"a.{kind}", content)
    assert fault_of(path) == ""
    written(path, content[: len(content) * 2 // 3])
    # libsndfile does not open such a CAF file
    assert fault_of(path) == {"flac": DAMAGED_AUDIO, "caf": UNREADABLE_AUDIO}.get(kind, CUT_AUDIO)


@pytest.mark.parametrize("kind", [*CODINGS, *SAYS_ITS_END])
def test_recordings_that_were_put_into_one_file_are_counted(tmp_path, kind):
    path = written(tmp_path / f"a.{kind}", encoded(kind) + encoded(kind, seed=1))
    assert fault_of(path) == JOINED_AUDIO


@pytest.mark.parametrize("kind", ["flac", "ogg", "opus"])
def test_a_file_that_is_damaged_inside_is_counted(tmp_path, kind):
    content = bytearray(encoded(kind))
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    assert fault_of(written(tmp_path / f"a.{kind}", bytes(content))) == DAMAGED_AUDIO


def test_damage_is_found_by_decoding_alone(tmp_path):
    bad = utterance(FILES / "flac_damaged_inside.flac", id="bad")
    good = utterance(written(tmp_path / "good.wav", encoded("wav")), id="good")
    unseen = prepare(ListCorpus(given=[bad, good], files=[], decode=False), folder=None)
    assert list(unseen.manifest["id"]) == ["bad", "good"]
    with pytest.raises(
        ValueError, match=r"1 utterances.*'bad'.*damaged audio file.*flac_damaged_inside\.flac.*data\.on_bad=skip"
    ):
        prepare(ListCorpus(given=[bad, good], files=[], on_bad="error"), folder=None)


def test_segments_before_the_fault_are_kept(tmp_path):
    content = encoded("wav")
    path = written(tmp_path / "a.wav", content[: len(content) * 2 // 3])  # 2 of 3 s
    rows = [
        utterance(path, id="before", start_s=0.5, duration_s=1.0),
        utterance(path, id="beyond", start_s=1.5, duration_s=1.5),
        utterance(path, id="whole"),
    ]
    prepared = prepare(ListCorpus(given=rows, files=[]), folder=None)
    assert list(prepared.manifest["id"]) == ["before"]
    assert prepared.skipped[CUT_AUDIO]["examples"] == ["beyond", "whole"]
    rows = [utterance(written(tmp_path / "b.wav", content), id="beyond", start_s=2.5, duration_s=1.0), rows[0]]
    assert prepare(ListCorpus(given=rows, files=[]), folder=None).skipped[BEYOND_END]["examples"] == ["beyond"]


@pytest.mark.parametrize("claimed", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000])
def test_a_length_that_stands_for_none_is_no_cut(tmp_path, claimed):
    """Who writes a WAV to a pipe cannot know its length."""
    content = bytearray(encoded("wav"))
    at = content.index(b"data")
    content[at + 4 : at + 8] = struct.pack("<I", claimed)
    path = written(tmp_path / "a.wav", bytes(content))
    assert audio_info(path).num_samples == 48_000
    assert fault_of(path) == ""


@pytest.mark.parametrize(
    ("sample", "fault"), [(np.nan, DAMAGED_AUDIO), (np.inf, DAMAGED_AUDIO), (3e38, WRONG_LEVEL), (17_519, WRONG_LEVEL)]
)
def test_floats_that_are_no_sound_are_counted(tmp_path, sample, fault):
    wave_T = np.zeros(12_000, np.float32)
    wave_T[5000] = sample
    soundfile.write(tmp_path / "a.wav", wave_T, 8_000, subtype="FLOAT")
    assert fault_of(tmp_path / "a.wav") == fault
    with pytest.raises(AudioError, match=r"a\.wav: the audio"):
        load_audio(tmp_path / "a.wav")
    soundfile.write(tmp_path / "loud.wav", np.full(8000, 1.9, np.float32), 16_000, subtype="FLOAT")
    assert load_audio(tmp_path / "loud.wav").max() == np.float32(1.9)  # clipped by nobody


@pytest.mark.parametrize("rate_hz", [16_001, 15_999, 22_254, 44_056, 47_999])
def test_any_rate_is_resampled_in_bounds(tmp_path, rate_hz):
    time_T = np.arange(rate_hz) / rate_hz
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * time_T), rate_hz, subtype="FLOAT")
    wave_T = load_audio(tmp_path / "a.wav")  # 42 s and 4.8 GB by the exact ratio
    assert abs(len(wave_T) - 16_000) <= 1
    tone_T = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(wave_T)) / 16_000)
    np.testing.assert_allclose(wave_T[500:2000], tone_T[500:2000], atol=2e-2)


@pytest.mark.parametrize("rate_hz", [1, 1_000, 2_000_000_000])
def test_what_is_no_rate_of_a_recording_is_refused(tmp_path, rate_hz):
    content = bytearray(encoded("wav"))
    content[24:28] = struct.pack("<I", rate_hz)
    path = written(tmp_path / "a.wav", bytes(content))
    with pytest.raises(AudioError, match=r"samples a second are not the rate of a recording"):
        audio_info(path)
    assert fault_of(path) == UNREADABLE_AUDIO


def test_a_member_beyond_the_end_of_its_archive_is_counted(tmp_path):
    content = encoded("wav", seconds=1.0)
    archive = written(tmp_path / "a.tar", content)
    rows = [utterance(member(archive, offset=0, size=len(content) + extra), id=f"u{extra}") for extra in (0, 7)]
    prepared = prepare(ListCorpus(given=rows, files=[]), folder=None)
    assert list(prepared.manifest["id"]) == ["u0"]
    assert prepared.skipped[UNREADABLE_AUDIO]["examples"] == ["u7"]
