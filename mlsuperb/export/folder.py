"""Folders that an export makes: whole or not at all, and nobody else's is ever touched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlsuperb.upstreams.huggingface import EXPORT_FILE


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill; it becomes `folder` when all went well. An earlier export there makes way for it.

    Raises:
        ValueError: `folder` holds something that no export wrote.
    """
    if folder.exists() and not (folder / EXPORT_FILE).is_file() and not _is_empty(folder):
        raise ValueError(
            f"{folder} is there already and holds no {EXPORT_FILE}, so this command did not make it and will not "
            "overwrite it: give another folder, or remove it yourself"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        yield unfinished
        assert (unfinished / EXPORT_FILE).is_file(), "else the folder could not be written a second time"
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())
