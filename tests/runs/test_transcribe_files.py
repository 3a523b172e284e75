from __future__ import annotations

from pathlib import Path

import pytest

from mlsuperb.runs.decoding import Transcriber, transcribe_files


def no_model() -> Transcriber:
    raise AssertionError("files are checked before a model is loaded")


def test_all_files_that_cannot_be_read_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(
        ValueError, match=r"gone\.wav: there is no such file; .*a folder; give .*/\*; .*text\.wav: no audio"
    ):
        transcribe_files([tmp_path / "gone.wav", tmp_path, tmp_path / "text.wav"], no_model)
