from __future__ import annotations

import numpy as np
import pytest
import soundfile
from corpus_trees import write_wave

from mlsuperb.data.audio import load_audio
from mlsuperb.data.audio_file import audio_info


def test_a_16_khz_file_comes_out_as_it_is(tmp_path):
    samples = (np.arange(-8000, 8000) * 4).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    wave_T = load_audio(tmp_path / "a.wav")
    assert wave_T.dtype == np.float32
    np.testing.assert_array_equal(wave_T, samples.astype(np.float32) / 2**15)


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".mp3"])
def test_other_formats(tmp_path, suffix):
    path = write_wave(tmp_path / f"a{suffix}", duration_s=1.5)
    info = audio_info(path)
    assert info.rate_hz == 16_000
    assert abs(info.duration_s - 1.5) < 0.1
    assert len(load_audio(path)) == info.num_samples


def test_segments_are_slices_and_channels_are_averaged(tmp_path):
    path = write_wave(tmp_path / "a.wav", duration_s=2.0, num_channels=2)
    whole = soundfile.read(path, dtype="float32")[0].mean(axis=1)
    np.testing.assert_allclose(load_audio(path), whole, atol=1e-7)
    np.testing.assert_allclose(load_audio(path, start_s=0.5, duration_s=1.25), whole[8000:28_000], atol=1e-7)
    np.testing.assert_allclose(load_audio(path, start_s=1.5), whole[24_000:], atol=1e-7)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000])
def test_resampling_keeps_a_tone(tmp_path, rate_hz):
    time_s = np.arange(rate_hz) / rate_hz
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * time_s), rate_hz, subtype="FLOAT")
    wave_T = load_audio(tmp_path / "a.wav")
    assert wave_T.shape == (16_000,)
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(wave_T[500:-500], tone[500:-500], atol=5e-3)
    with pytest.raises(ValueError, match=rf"a\.wav has {rate_hz} samples a second.*data\.resample=true"):
        load_audio(tmp_path / "a.wav", resample=False)


def test_bad_files_are_named(tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "empty.flac").write_bytes(b"")
    (tmp_path / "headerless.raw").write_bytes(b"\0" * 100)
    for name in ("text.wav", "empty.flac", "headerless.raw"):
        with pytest.raises(ValueError, match=rf"{name}: cannot be read as audio"):
            load_audio(tmp_path / name)
        with pytest.raises(ValueError, match=rf"{name}: cannot be read as audio"):
            audio_info(tmp_path / name)
    with pytest.raises(ValueError, match=r"gone\.wav: there is no such audio file"):
        load_audio(tmp_path / "gone.wav")
    path = write_wave(tmp_path / "short.wav")
    with pytest.raises(ValueError, match=r"2\.00 s of audio were asked for.*only 1\.00 s"):
        load_audio(path, duration_s=2.0)
    for duration_s in (None, 0.05):
        with pytest.raises(ValueError, match=r"segment begins at 3\.00 s, behind the end of the file at 1\.00 s"):
            load_audio(path, start_s=3.0, duration_s=duration_s)
    whole = write_wave(tmp_path / "cut.flac", duration_s=3.0).read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.flac"):
        load_audio(tmp_path / "cut.flac")
    soundfile.write(tmp_path / "inf.wav", np.array([0.0, np.inf]), 16_000, subtype="FLOAT")
    with pytest.raises(ValueError, match="not finite"):
        load_audio(tmp_path / "inf.wav")
