from __future__ import annotations

from pathlib import Path

import pytest
from tiny_checkpoints import FAMILIES, SUPERVISED, write_checkpoint
from tiny_owsm import write_owsm


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of a tiny checkpoint of every family."""
    folders = {family: write_checkpoint(tmp_path_factory.mktemp(family), family) for family in (*FAMILIES, *SUPERVISED)}
    return {**folders, "owsm": write_owsm(tmp_path_factory.mktemp("owsm"))}
