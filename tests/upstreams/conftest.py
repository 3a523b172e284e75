from __future__ import annotations

from pathlib import Path

import pytest
from tiny_checkpoints import READERS, write_checkpoint


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of a tiny checkpoint of every family."""
    families = {family for family, _, _ in READERS.values()}
    return {family: write_checkpoint(tmp_path_factory.mktemp(family), family) for family in sorted(families)}
