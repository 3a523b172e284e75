"""Runs on the Hugging Face hub (`mlsuperb export hub`), by their ids."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlsuperb.runs.store import read_config
from mlsuperb.runtime.messages import one_line, some

_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[\w.-]+)(@(?P<revision>[\w./-]+))?")
# of what `mlsuperb export hub` writes; never a pickle, whatever else lies there
PATTERNS = ("*.json", "*.yaml", "*.txt", "*.md", "*.safetensors")


def run_folder(name: str | Path) -> Path:
    """The folder of a run: `name` itself, or a copy of what the hub has by the id OWNER/NAME or OWNER/NAME@REVISION, where no
    folder here is meant.

    Raises:
        ValueError: the hub does not have it or cannot be asked, or its config.yaml names places of a machine.
    """
    if (found := hub_id(name)) is None:
        return Path(name)
    folder = _download(*found)
    config = read_config(folder)
    if places := list(_places(config)):
        raise ValueError(
            f"{name} on the hub is refused: its config.yaml names files of a machine ({some(places, at_most=3)}), which what "
            "mlsuperb export hub writes never does"
        )
    return folder


def hub_id(name: str | Path) -> tuple[str, str | None] | None:
    """Repository and revision that a name stands for; None where it is, or can only be meant as, a folder here."""
    match = _ID.fullmatch(str(name))
    if match is None or Path(name).exists() or Path(str(name).partition("/")[0]).is_dir():
        return None
    return match["repo"], match["revision"]


def results_folder(name: str | Path, run: Path) -> Path:
    """Where results of a run are written: in its folder; of a run on the hub, whose copy is the cache's, in
    `exp/hub/OWNER--NAME-COMMIT`."""
    if (found := hub_id(name)) is None:
        return run
    return Path("exp", "hub", f"{found[0].replace('/', '--')}-{run.name[:8]}")


def _download(repo: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(PATTERNS)))
    except (OSError, ValueError) as error:
        at = f" at {revision}" if revision else ""
        raise ValueError(
            f"there is no folder {repo}, and no run{at} by this id can be had from the hub: {one_line(error)[:200]}. Without a "
            f"network, fetch it elsewhere (hf download {repo}) and give its folder"
        ) from error


def _places(node: Any, path: str = "") -> Iterator[str]:
    """Settings that name an absolute path, or one outside of where they are read."""
    if isinstance(node, Mapping | list):
        items = node.items() if isinstance(node, Mapping) else enumerate(node)
        for key, value in items:
            yield from _places(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, str) and (node.startswith(("/", "~", "\\")) or ".." in re.split(r"[/\\]", node)):
        yield f"{path}={node}"
