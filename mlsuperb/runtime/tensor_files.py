"""Files of tensors: safetensors whose bytes follow from what is in them, and pickles that are read without running anything."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsuperb.runtime.messages import one_line

if TYPE_CHECKING:
    from torch import Tensor


def save_tensors(tensors: Mapping[str, Tensor], path: Path, *, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file. Its own writer puts the metadata into an order of chance, so that the same tensors have other
    bytes each time; here they are in that of their names.

    Raises:
        OSError, SafetensorError: it cannot be written.
    """
    from safetensors.torch import save_file

    save_file(dict(tensors), path, metadata=dict(metadata))
    # https://github.com/huggingface/safetensors#format: length of the header, header, tensors
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        ordered = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        assert len(ordered) <= length, "the header says the same, and is padded with spaces"
        file.seek(8)
        file.write(ordered.ljust(length))


def read_pickle(path: Path) -> Any:
    """What `torch.save` has written. Tensors stay on the disk until they are used, where the file's format allows it.

    Raises:
        ValueError: the file is damaged, or names a class that is no tensor's; none is ever loaded.
        OSError: the file cannot be opened.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except MemoryError:
        raise
    except Exception as error:  # damaged bytes can make torch raise anything, with the advice to switch the safety off
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        if foreign:
            raise ValueError(
                f"{path} cannot be read: it holds a {foreign[1]}, and a pickle with more in it than tensors is never loaded"
            ) from error
        raise ValueError(
            f"{path} cannot be read ({one_line(error)[:90]} ...). The file is cut short, a git-lfs pointer, or no file of torch"
        ) from error
