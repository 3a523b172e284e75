"""A tiny SeamlessM4T, version 1."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_translators import write_seamless


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_seamless(tmp_path_factory.mktemp("checkpoint"))
