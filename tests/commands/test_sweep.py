"""What a sweep makes around its runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from mlsuperb.commands import sweep


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"output_root=.*file cannot be written \(.*\): give a folder that can"):
        sweep.SweepTable().on_multirun_start(OmegaConf.create({"output_root": f"{tmp_path}/file"}))


def test_a_table_that_fails_ends_no_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise UnicodeEncodeError("latin-1", "↓", 0, 1, "ordinal not in range")

    (tmp_path / "list.txt").write_text("exp/a\n", encoding="utf-8")
    monkeypatch.setenv(sweep.SWEEP, str(tmp_path / "list.txt"))
    monkeypatch.setattr(sweep, "show_runs", fail)
    sweep.end_sweep()
    assert "no table: 'latin-1' codec can't encode" in caplog.text
