from __future__ import annotations

import io
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from mlsuperb.data.batching import SortedBatches
from mlsuperb.data.loading import Loading
from mlsuperb.runs.decoding import Transcriber
from mlsuperb.runs.transcription import each_transcript, transcribe_files
from mlsuperb.runs.transcripts import Piece
from mlsuperb.runs.windows import Window, Windowing


def no_model() -> Transcriber:
    raise AssertionError("files are checked before a model is loaded")


def test_all_files_that_cannot_be_read_are_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(ValueError, match=r"gone\.wav: there is no such file; .*text\.wav: cannot be read as audio"):
        transcribe_files([tmp_path / "gone.wav", tmp_path / "text.wav"], no_model)


def damaged_flac(path: Path) -> Path:
    """A file with a sound header and half of its frames."""
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


class Taker:
    """A model that takes up to a second, and writes the samples that it is given."""

    loading = Loading(train=SortedBatches(batch_size=1), num_workers=0)
    whole_s = math.inf
    aligns = False

    def check(self, rows):
        if (rows["duration_s"] > 1).any():
            raise ValueError(f"{rows['id'].iloc[0]} is too long for this model")

    def encode(self, batch):
        return batch.lengths_B.tolist()

    def pieces(self, encoded: list[int], windows: Sequence[Window]) -> list[Piece]:
        return [Piece(text=str(number), language=None, languages={}, tokens=None) for number in encoded]


def wave(path: Path, seconds: float) -> Path:
    soundfile.write(path, np.full(round(16_000 * seconds), 0.1), 16_000)
    return path


def test_one_bad_file_does_not_take_the_others_along(tmp_path: Path) -> None:
    for name, seconds in (("good", 0.5), ("long", 2.0), ("other", 1.0)):
        wave(tmp_path / f"{name}.wav", seconds)
    names = ["good.wav", "gone.wav", "cut.flac", "long.wav", "other.wav", "good.wav"]
    damaged_flac(tmp_path / "cut.flac")
    bad: list[str] = []
    found = transcribe_files([tmp_path / name for name in names], Taker, on_bad=bad.append)
    assert [one.audio for one in found] == [str(tmp_path / name) for name in ("good.wav", "other.wav", "good.wav")]
    assert [one.text for one in found] == ["8000", "16000", "8000"]
    assert [problem.partition(":")[0].split()[0] for problem in bad] == [
        str(tmp_path / name) for name in ("gone.wav", "cut.flac", "long.wav")
    ]
    with pytest.raises(ValueError, match=r"cut\.flac"):
        transcribe_files([tmp_path / "good.wav", tmp_path / "cut.flac"], no_model)
    assert transcribe_files([tmp_path / "cut.flac"], no_model, on_bad=bad.append) == []


def test_of_a_file_that_was_cut_short_what_is_there_is_transcribed_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wave(tmp_path / "cut.wav", 1.0)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:16_044])  # of 32,044: half a second is left
    (found,) = transcribe_files([tmp_path / "cut.wav"], Taker)
    assert (found.text, found.duration_s) == ("8000", 0.5)
    assert "cut.wav: the file ends before its audio does (0.5 s are missing)" in caplog.text


def test_windows_make_what_is_too_long_short_enough(tmp_path: Path) -> None:
    (found,) = transcribe_files(
        [wave(tmp_path / "a.wav", 1.6)], Taker, windowing=Windowing(length_s=0.8, overlap_s=0.0)
    )
    assert (found.text, found.duration_s) == ("12800 12800", 1.6)


def test_a_folder_is_all_audio_in_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "b").mkdir()
    for name, seconds in (("z.wav", 0.3), ("b/a.FLAC", 0.2), ("b/c.wav", 0.1)):
        wave(tmp_path / name, seconds)
    for name in ("notes.txt", "b/list.csv"):
        (tmp_path / name).write_text("")
    with caplog.at_level(logging.WARNING):
        found = transcribe_files([tmp_path, tmp_path / "z.wav"], Taker)
    assert [one.audio for one in found] == [str(tmp_path / name) for name in ("b/a.FLAC", "b/c.wav", "z.wav", "z.wav")]
    assert caplog.messages == [f"{tmp_path}: 2 of 5 files are no audio (b/list.csv, notes.txt)"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: none of its 0 files has the extension of an audio format"):
        transcribe_files([tmp_path / "empty"], no_model)


def test_standard_input_is_an_audio_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = wave(tmp_path / "a.ogg", 0.5).read_bytes()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    (found,) = transcribe_files([Path("-")], Taker)
    assert (found.audio, found.text) == ("-", "8000")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"a.wav\nb.wav\n")))
    with pytest.raises(ValueError, match=r"^standard input: cannot be read as audio"):
        transcribe_files([Path("-")], no_model)
    with pytest.raises(ValueError, match="standard input, which can be read once"):
        transcribe_files([Path("-"), Path("-")], no_model)


def test_a_file_without_a_sample_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a.wav: the file holds no audio"):
        transcribe_files([wave(tmp_path / "a.wav", 0.0)], no_model)


def test_each_transcript_comes_when_it_is_there(tmp_path: Path) -> None:
    paths = [wave(tmp_path / f"{number}.wav", seconds) for number, seconds in enumerate([0.1, 0.9, 0.4])]
    assert [place for place, _ in each_transcript(paths, Taker)] == [1, 2, 0]
