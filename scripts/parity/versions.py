"""Where the ESPnet that is installed keeps what is compared, and what it promises of padded batches."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from types import ModuleType

# Releases that count and mask the frames of every utterance of a padded batch by its own length (espnet PRs #6571, #6633, #6660)
SOUND_SINCE = 202611


def espnet_version() -> int:
    """The release as a number: 202511."""
    return int(version("espnet").split(".")[0])


def nets(name: str) -> ModuleType:
    """The module `espnet.nets.<name>`, which 202611 moved to `espnet2.legacy.nets`."""
    root = "espnet2.legacy.nets" if espnet_version() >= SOUND_SINCE else "espnet.nets"
    return importlib.import_module(f"{root}.{name}")
