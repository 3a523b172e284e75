"""A log on a full disk."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from mlsuperb.runtime.logfile import LogFile

FULL = Path("/dev/full")  # Linux: every write finds the disk full


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_lost_lines_are_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    handler = LogFile(FULL)
    for number in range(3):
        handler.handle(logging.LogRecord("a", logging.INFO, "a.py", 1, f"line {number}", None, None))
    assert capfd.readouterr().err == f"lines of {FULL} are lost: No space left on device\n"
    handler.close()


def test_lines_are_written_and_bugs_stay_visible(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    handler = LogFile(tmp_path / "run.log")
    handler.handle(logging.LogRecord("a", logging.INFO, "a.py", 1, "one", None, None))
    handler.handle(logging.LogRecord("a", logging.INFO, "a.py", 1, "%d", ("no number",), None))
    handler.close()
    assert (tmp_path / "run.log").read_text().endswith(" INFO a: one\n")
    assert "--- Logging error ---" in capfd.readouterr().err
