from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from mlsuperb.runs import decoding
from mlsuperb.runs.decoding import Transcriber, transcribe_files


def no_model() -> Transcriber:
    raise AssertionError("files are checked before a model is loaded")


def test_all_files_that_cannot_be_read_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(
        ValueError, match=r"gone\.wav: there is no such file; .*a folder; give .*/\*; .*text\.wav: no audio"
    ):
        transcribe_files([tmp_path / "gone.wav", tmp_path, tmp_path / "text.wav"], no_model)


def damaged_flac(path: Path) -> Path:
    """A file with a sound header and half of its frames."""
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


class Taker:
    """A model that takes up to a second."""

    loading = SimpleNamespace(dataset=lambda rows, **_: rows)

    def check(self, rows):
        if (rows["duration_s"] > 1).any():
            raise ValueError(f"{rows['id'].iloc[0]} is too long for this model")


def test_one_bad_file_does_not_take_the_others_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("good", 0.5), ("long", 2.0), ("other", 1.0)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(round(16_000 * seconds), 0.1), 16_000)
    names = ["good.wav", "gone.wav", "cut.flac", "long.wav", "other.wav", "good.wav"]
    damaged_flac(tmp_path / "cut.flac")
    monkeypatch.setattr(decoding, "decode", lambda rows, *_: SimpleNamespace(hypotheses=list(rows["id"])))
    bad: list[str] = []
    found = transcribe_files([tmp_path / name for name in names], Taker, on_bad=bad.append)
    assert found == [str(tmp_path / name) for name in ("good.wav", "other.wav", "good.wav")]
    assert [problem.partition(":")[0].split()[0] for problem in bad] == [
        str(tmp_path / name) for name in ("gone.wav", "cut.flac", "long.wav")
    ]
    with pytest.raises(ValueError, match=r"cut\.flac"):
        transcribe_files([tmp_path / "good.wav", tmp_path / "cut.flac"], no_model)
    assert transcribe_files([tmp_path / "cut.flac"], no_model, on_bad=bad.append) == []


def test_of_a_file_that_was_cut_short_what_is_there_is_transcribed_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    soundfile.write(tmp_path / "cut.wav", np.full(16_000, 0.1), 16_000)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:16_044])  # of 32,044: half a second is left
    monkeypatch.setattr(decoding, "decode", lambda rows, *_: SimpleNamespace(hypotheses=list(rows["duration_s"])))
    assert transcribe_files([tmp_path / "cut.wav"], Taker) == [0.5]
    assert "cut.wav: the file ends before its audio does (0.5 s are missing)" in caplog.text
