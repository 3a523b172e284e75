"""Features on a disk: one file per utterance, shared by all processes, whole or not there.

    <root>/<upstream>-<12 hex>/about.json                what the 12 digits stand for
    <root>/<upstream>-<12 hex>/ab/ab01...ef.safetensors  the features of the audio with this hash

A file is written under another name and renamed, so that a kill leaves none that is half written; it carries a checksum and
what it is of, which are looked at when a process first reads it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mlsuperb.cache.budget import Budget
from mlsuperb.cache.codec import Kept
from mlsuperb.runtime.files import replaced, write_atomic
from mlsuperb.runtime.refusals import number_of

log = logging.getLogger(__name__)

KEY_BYTES = 16
FORMAT = 2  # raise it when the same upstream and audio would give other files
HEADER_BYTES = 512  # a little more than a file takes beside the features
LEFTOVER_S = 3600.0
_FULL = (errno.ENOSPC, errno.EDQUOT)


def audio_key(wave_T: np.ndarray) -> str:
    """Of the samples as an upstream gets them: the same audio has the same key wherever it lies."""
    return hashlib.blake2b(np.ascontiguousarray(wave_T).data, digest_size=KEY_BYTES).hexdigest()


class Store:
    """The features of one upstream in one dtype.

    Args:
        root: folder of all features.
        name: of the upstream, for people.
        identity: all that the features depend on beside the audio.
        max_bytes: of everything below `root`.
    """

    def __init__(self, root: Path, *, name: str, identity: Mapping[str, Any], max_bytes: float) -> None:
        about = {"format": FORMAT, **identity}
        text = json.dumps(about, sort_keys=True, default=str)
        self.identity = hashlib.sha256(text.encode()).hexdigest()
        self.folder = root / f"{name}-{self.identity[:12]}"
        self._budget = Budget(root, self.folder, max_bytes=max_bytes)
        with self._budget.alone():  # ranks and runs that start together would take each other's temporary file
            write_atomic(self.folder / "about.json", [json.dumps(about, indent=2, default=str), "\n"])
        _remove_leftovers(self.folder)
        self._refused: str | None = None  # why nothing more is written

    @property
    def used_bytes(self) -> int:
        """What the features of all upstreams take."""
        return self._budget.used_bytes

    def path(self, key: str) -> Path:
        """The file of an audio."""
        return self.folder / key[:2] / f"{key}.safetensors"

    def read(self, key: str, *, trusted: bool = False) -> Kept | None:
        """Features, mapped into memory rather than copied; None where there are none. A file that is damaged, or of something
        else, is removed with a message; one that is `trusted` was found sound before."""
        path = self.path(key)
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except FileNotFoundError:  # evicted a moment ago
            return None
        except SafetensorError as error:
            self._discard(path, "damaged", str(error))
            return None
        except OSError as error:  # nothing is wrong with the file: rights, too many files, a network drive
            log.error("%s cannot be read (%s): its features are computed again", path, error)
            return None
        if not trusted:
            if about.get("identity") != self.identity or about.get("key") != key:
                self._discard(path, "stale", "it is of another upstream or other audio")
                return None
            if about.get("crc32") != _checksum(tensors):
                self._discard(path, "damaged", "its checksum differs")
                return None
        return Kept(**tensors)

    def write(self, key: str, kept: Kept) -> None:
        """Keep features (contiguous tensors), if there is room; log once when there is none left."""
        path = self.path(key)
        if self._refused or path.exists():
            return
        try:
            reason = self._budget.reserve(kept.num_bytes + HEADER_BYTES)
            if reason is None:
                self._save(path, kept, key=key)
        except (OSError, SafetensorError) as error:
            full = number_of(error) in _FULL
            reason = "the disk is full" if full else f"it could not be written ({error})"
        if reason:
            self._refused = reason
            log.warning(
                "no more features are kept in %s: %s. Those of other audio are computed each time; the numbers stay the same",
                self.folder.parent,
                reason,
            )

    def _save(self, path: Path, kept: Kept, *, key: str) -> None:
        """Write what room was reserved for; give it back if that fails."""
        tensors = {name: tensor.cpu() for name, tensor in kept.tensors.items()}
        about = {"identity": self.identity, "key": key, "crc32": _checksum(tensors)}
        try:
            path.parent.mkdir(exist_ok=True)
            with replaced(path) as temporary:
                save_file(tensors, temporary, metadata=about)
        except (OSError, SafetensorError):
            self._budget.release(kept.num_bytes + HEADER_BYTES)
            raise

    def close(self) -> None:
        """Say that this process is done with the folder."""
        self._budget.close()

    def _discard(self, path: Path, kind: str, why: str) -> None:
        # an error, and no warning, since of several ranks only the first says warnings
        log.error("%s is %s (%s): it is removed and its features are computed again", path, kind, why)
        try:
            size = path.stat().st_size
            path.unlink()
            self._budget.release(size)
        except FileNotFoundError:  # by another process
            return
        except OSError as error:
            log.error("%s cannot be removed (%s): remove it, or give another cache.folder", path, error)


def _remove_leftovers(folder: Path) -> None:
    """What killed processes had begun to write; not what a process may be writing now."""
    for path in folder.glob("*/.*"):
        try:
            if path.stat().st_mtime < time.time() - LEFTOVER_S:
                path.unlink()
        except FileNotFoundError:  # another process has just given it its name
            continue


def _checksum(tensors: Mapping[str, torch.Tensor]) -> str:
    total = 0
    for name in sorted(tensors):
        total = zlib.crc32(tensors[name].view(torch.uint8).numpy().data, total)
    return f"{total:08x}"
