"""What commands make of the settings on their line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsuperb.config.options import refuse_unknown

if TYPE_CHECKING:
    from mlsuperb.data.corpora.base import Corpus


def configured(overrides: Sequence[str], *groups: str) -> tuple[dict[str, Any], Corpus]:
    """The configuration, of which `groups` are checked, and its corpus.

    Raises:
        ValueError: a setting is unknown or wrong.
    """
    refuse_unknown(overrides)  # before the packages are loaded that take a second
    from mlsuperb.benchmark.build import build_corpus
    from mlsuperb.config.check import check
    from mlsuperb.config.compose import compose

    config = compose(overrides)
    check(config, groups)
    return config, build_corpus(config)


def named_folders(text: str) -> tuple[str, list[Path]]:
    """NAME=FOLDER[,FOLDER], for argparse."""
    name, equals, folders = text.partition("=")
    if not (name and equals and folders):
        raise argparse.ArgumentTypeError(f"{text} is not NAME=FOLDER")
    return name, [Path(folder) for folder in folders.split(",") if folder]


def named_path(text: str) -> tuple[str, Path]:
    """NAME=PATH, for argparse."""
    name, (path, *others) = named_folders(text)
    if others:
        raise argparse.ArgumentTypeError(f"{text}: give one after {name}=")
    return name, path
