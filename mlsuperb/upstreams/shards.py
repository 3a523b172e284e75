"""Of a checkpoint in several files (shards), the files that hold a part of its model: no other is fetched or opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlsuperb.runtime.files import write_json
from mlsuperb.upstreams.sources import CONFIG, REMEDY, optional_json

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@contextmanager
def needed_files(
    source: str | Path, revision: str, *, config: dict[str, Any], needed: Callable[[str], bool]
) -> Iterator[str]:
    """What `from_pretrained` is to read in place of `source`: a folder whose index names only the files that hold a needed
    weight, wherever these lie; `source` itself where every file does, or where there is no such index.

    Args:
        source: a folder, or an id on the hub, of which these files are fetched.
        revision: of the hub.
        config: the content of config.json.
        needed: whether a weight of that name, as it is in the file, belongs to the part.

    Raises:
        ValueError: such a file is not there.
        OSError: it cannot be fetched.
    """
    names, files = _names(source, revision), part_files(source, revision, needed=needed)
    if not files or set(files) == set(names.values()):
        yield str(source)
        return
    paths = {file: _path(source, revision, file) for file in files}
    with TemporaryDirectory() as folder:
        write_json(Path(folder) / CONFIG, config)
        # all weights of these files, so that those which nobody knows are seen
        kept = {name: str(paths[file]) for name, file in names.items() if file in paths}
        write_json(Path(folder) / INDEX, {"metadata": {}, "weight_map": kept})
        yield folder


def part_files(source: str | Path, revision: str, *, needed: Callable[[str], bool]) -> list[str]:
    """Names of the files that hold a needed weight; none where there is no index that says it."""
    return sorted({file for name, file in _names(source, revision).items() if needed(name)})


def _names(source: str | Path, revision: str) -> dict[str, str]:
    """Weight -> file, by the index; nothing where there is none, or transformers would not take it."""
    if isinstance(source, Path) and (source / WHOLE).is_file():
        return {}
    names = (optional_json(source, INDEX, revision) or {}).get("weight_map")
    well_formed = isinstance(names, dict) and all(isinstance(file, str) for file in names.values())
    return names if well_formed else {}  # type: ignore[return-value]  # what is not, transformers refuses


def _path(source: str | Path, revision: str, file: str) -> Path:
    if Path(file).name != file:
        raise ValueError(f"{source}: {INDEX} names {file!r}, which is no file beside it. {REMEDY}")
    if isinstance(source, Path):
        if not (source / file).is_file():
            raise ValueError(f"{source} has no {file}, which holds weights of the model by {INDEX}. {REMEDY}")
        return (source / file).resolve()
    from transformers.utils import cached_file

    return Path(str(cached_file(source, file, revision=revision))).resolve()
