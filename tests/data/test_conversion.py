"""Formats that libsndfile does not know. What decodes them is not a dependency: stand-ins here, the real ones where they are."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from mlsuperb.data import conversion
from mlsuperb.data.audio import load_audio
from mlsuperb.data.inputs import readable

TONE = np.sin(np.arange(32_000) / 16_000 * 2 * np.pi * 300).astype(np.float32) / 2
STEREO = torch.from_numpy(np.stack([0.5 * TONE, 1.5 * TONE]))
# A program that is called as ffmpeg is, and copies FLAC that stands behind 4 foreign bytes
FAKE_FFMPEG = """#!{python}
import sys
source, out = sys.argv[sys.argv.index("-i") + 1].removeprefix("file:"), sys.argv[-1]
content = open(source, "rb").read()
if content[:4] != b"m4a!":
    sys.exit("moov atom not found\\nInvalid data found when processing input")
open(out, "wb").write(content[4:])
"""


@pytest.fixture
def m4a(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "tone.flac", TONE, 16_000)
    (tmp_path / "tone.m4a").write_bytes(b"m4a!" + (tmp_path / "tone.flac").read_bytes())
    return tmp_path / "tone.m4a"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without torchcodec; the folder of its programs."""
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "out").mkdir()
    return tmp_path / "bin"


def test_without_a_decoder_there_is_one_sentence_with_the_remedy(m4a: Path, bare: Path) -> None:
    with pytest.raises(ValueError, match=r"tone.m4a: cannot be read as audio; .* install FFmpeg, or torchcodec"):
        readable(m4a, bare.parent / "out")


def test_the_program_ffmpeg_is_asked(m4a: Path, bare: Path) -> None:
    (bare / "ffmpeg").write_text(FAKE_FFMPEG.format(python=sys.executable))
    (bare / "ffmpeg").chmod(0o755)
    path, duration_s = readable(m4a, bare.parent / "out")
    assert (path.parent, duration_s) == (bare.parent / "out", 2.0)
    assert np.allclose(load_audio(path), TONE, atol=1e-4)
    bad = bare.parent / "bad.webm"
    bad.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"bad.webm: cannot be read as audio, not even by FFmpeg \(Invalid data found"):
        readable(bad, bare.parent / "out")


@pytest.mark.parametrize(
    ("length_s", "last"),
    [(2.0, (1.5, 2.0)), (2.05, (1.5, 2.05)), (None, (1.5, 2.25))],
    ids=["known", "about", "unknown"],
)
def test_torchcodec_is_asked_first_and_gives_a_part_at_a_time(
    length_s: float | None, last: tuple[float, float], m4a: Path, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Decoder:
        metadata = SimpleNamespace(begin_stream_seconds=0.0, duration_seconds=length_s)

        def __init__(self, path: str, *, sample_rate: int) -> None:
            assert (path, sample_rate) == (str(m4a), 16_000)

        def get_samples_played_in_range(self, start_s: float, stop_s: float) -> SimpleNamespace:
            asked.append((start_s, stop_s))
            return SimpleNamespace(data=STEREO[:, round(16_000 * start_s) : round(16_000 * stop_s)])

    module = ModuleType("torchcodec.decoders")
    module.AudioDecoder = Decoder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchcodec", ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", module)
    monkeypatch.setattr(conversion, "_BLOCK_S", 0.75)
    path, duration_s = readable(m4a, bare.parent / "out")
    assert asked == [(0.0, 0.75), (0.75, 1.5), last]
    assert duration_s == 2.0
    assert np.allclose(load_audio(path), TONE, atol=1e-4)


def test_torchcodec_without_the_libraries_of_ffmpeg_is_as_none(
    m4a: Path, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("torchcodec.decoders")

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("Could not load libtorchcodec. Likely causes: ...")

    module.AudioDecoder = refuse  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchcodec", ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", module)
    with pytest.raises(ValueError, match=r"tone.m4a: cannot be read as audio; .* install FFmpeg, or torchcodec"):
        readable(m4a, bare.parent / "out")


def test_what_libsndfile_reads_is_not_converted(tmp_path: Path, bare: Path) -> None:
    soundfile.write(tmp_path / "a.mp3", TONE, 16_000)
    assert readable(tmp_path / "a.mp3", bare.parent / "out")[0] == tmp_path / "a.mp3"
    assert list((bare.parent / "out").iterdir()) == []


@pytest.mark.parametrize("suffix", ["m4a", "webm", "mp4"])
@pytest.mark.parametrize("by", ["torchcodec", "ffmpeg"])
def test_the_real_decoders(suffix: str, by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stereo at 44.1 kHz."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("needs the program ffmpeg")
    tone_T = np.sin(np.arange(2 * 44_100) / 44_100 * 2 * np.pi * 300) / 2
    soundfile.write(tmp_path / "a.wav", np.stack([tone_T, 0.5 * tone_T], 1), 44_100)
    path = tmp_path / f"-a.{suffix}"
    subprocess.run([ffmpeg, "-v", "error", "-i", tmp_path / "a.wav", f"file:{path}"], check=True)
    if by == "ffmpeg":
        monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    elif conversion._torchcodec(path) is None:
        pytest.skip("needs torchcodec")
    monkeypatch.setattr(conversion, "_BLOCK_S", 0.7)
    (tmp_path / "out").mkdir()
    found, duration_s = readable(path, tmp_path / "out")
    assert abs(duration_s - 2) < 0.1
    wave_T = load_audio(found)
    power_F = np.abs(np.fft.rfft(wave_T[4_000:28_000] * np.hanning(24_000))) ** 2
    assert power_F.argmax() * 16_000 / 24_000 == pytest.approx(300, abs=1)
    # the times in a webm file are whole milliseconds, so that parts of it may slip by one
    assert power_F[400:500].sum() > 0.99 * power_F.sum(), "no click between the parts"
    assert np.abs(wave_T[4_000:28_000]).max() == pytest.approx(0.375, abs=0.03)
