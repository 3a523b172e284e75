"""fairseq's checkpoint files (`*.pt`), read and written without fairseq and without running anything that is in them.

Sources: fairseq 0.12.2, `trainer.py` (`Trainer.state_dict`), `checkpoint_utils.py` (`load_checkpoint_to_cpu`,
`_upgrade_state_dict`), `data/dictionary.py`, `tasks/hubert_pretraining.py`.
"""

from __future__ import annotations

import math
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from mlsuperb.runtime.files import disk_errors_named, replaced
from mlsuperb.runtime.messages import some

# The rows that every dictionary of fairseq begins with (bos, pad, eos, unk); the first unit is the row after them.
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
DICTIONARY = "fairseq.data.dictionary.Dictionary"
# Whatever else a file of fairseq may name beside tensors: old ones hold their settings as objects of these
_SETTINGS = (
    "argparse.Namespace",
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    *(f"omegaconf.nodes.{kind}Node" for kind in ("Any", "String", "Integer", "Float", "Boolean")),
    "typing.Any",
    "collections.defaultdict",
    *(f"builtins.{kind}" for kind in ("dict", "list", "tuple", "str", "int", "float", "bool")),
)


class _Stored:
    """Stands in for an object of another class: holds the attributes that were stored, and can do nothing."""

    def __init__(self, *_: object) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class FairseqCheckpoint:
    """What a file holds.

    Args:
        path: the file.
        cfg: all settings, as JSON can write them: {"model": {...}, "task": {...}, ...}, or one flat dictionary (old files).
        tensors: the model's, under fairseq's names, in the type that they were saved in.
        dictionaries: the symbols of each set of labels, in the order of their rows; none where the file has no dictionary.
        updates: how many updates the model was trained for; None where the file does not say.
    """

    path: Path
    cfg: dict[str, Any]
    tensors: Mapping[str, Tensor]
    dictionaries: tuple[tuple[str, ...], ...]
    updates: int | None

    @property
    def model(self) -> dict[str, Any]:
        """The settings of the model."""
        return self._section("model")

    @property
    def task(self) -> dict[str, Any]:
        """The settings of the task (labels, audio)."""
        return self._section("task")

    @property
    def kind(self) -> str:
        """The name under which fairseq registered the model: hubert, wav2vec2, hubert_ctc, ..."""
        return str(self.model.get("_name") or self.model.get("arch"))

    def _section(self, name: str) -> dict[str, Any]:
        found = self.cfg.get(name)
        return found if isinstance(found, dict) else self.cfg


def read_checkpoint(path: Path) -> FairseqCheckpoint:
    """Read a checkpoint that fairseq wrote. Tensors stay on the disk until they are used, where the file's format allows it.

    Raises:
        ValueError: there is no such file, it is damaged, is not fairseq's, or names a class that such a file has no need of.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not a file. Give a checkpoint that fairseq wrote (checkpoint_best.pt)")
    state = _load(path)
    settings = (state.get("cfg") or state.get("args")) if isinstance(state, dict) else None
    tensors = state.get("model") if isinstance(settings, (dict, _Stored)) else None
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        held = f"the keys {some(sorted(map(str, state)))}" if isinstance(state, dict) else type(state).__name__
        raise ValueError(
            f"{path} is no checkpoint of fairseq: it holds {held}, and fairseq's hold `model` (tensors by name) and `cfg` or "
            "`args` (settings). Checkpoints of transformers are used as they are, as upstream.checkpoint"
        )
    return FairseqCheckpoint(
        path=path,
        cfg=_plain(settings),
        tensors=tensors,
        dictionaries=tuple(_symbols(state)),
        updates=_updates(state),
    )


def _load(path: Path) -> Any:
    known: list[Any] = [(_Stored, name) for name in (DICTIONARY, *_SETTINGS)]
    try:
        with torch.serialization.safe_globals(known):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # damaged bytes can make torch raise anything, and its message advises to load unsafely
        if isinstance(error, OSError) and error.filename:  # it cannot be opened; an OSError without a name is torch's
            raise
        if named := re.search(r"GLOBAL (\S+)", str(error)):
            raise ValueError(
                f"{path} holds a {named[1]}, which no checkpoint of fairseq needs: nothing but tensors, settings and fairseq's "
                "Dictionary is read, since other objects can run code as they are loaded. If the file is yours, save it again "
                "without that object"
            ) from error
        raise ValueError(
            f"{path} cannot be read as a checkpoint of PyTorch: it is cut short, a git-lfs pointer, or another kind of file. "
            "Fetch it again"
        ) from error


def _plain(value: Any) -> Any:
    """Settings as dictionaries, lists, strings, numbers and None, whichever class they were objects of."""
    if isinstance(value, _Stored):  # a node of omegaconf has its value or its content, a Namespace its attributes
        inside = vars(value)
        return _plain(inside["_val"] if "_val" in inside else inside.get("_content", inside))
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    known = value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value))
    return value if known else str(value)


def _symbols(state: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The symbols of each dictionary; there can be None in the place of one (`HubertModel.__init__`)."""
    stored = state.get("task_state")
    listed = stored.get("dictionaries") if isinstance(stored, dict) else None
    for one in listed if isinstance(listed, list) else ():
        symbols = vars(one).get("symbols") if isinstance(one, _Stored) else None
        if isinstance(symbols, list):
            yield tuple(map(str, symbols))


def _updates(state: Mapping[str, Any]) -> int | None:
    history = state.get("optimizer_history")
    last = history[-1] if isinstance(history, list) and history else None
    return last.get("num_updates") if isinstance(last, dict) else None


def write_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], *, cfg: Mapping[str, Any], num_units: int | None, updates: int
) -> None:
    """Write a checkpoint that fairseq can load, with no state of an optimiser.

    Args:
        path: the file.
        tensors: the model's, under fairseq's names.
        cfg: {"model": {...}, "task": {...}}.
        num_units: units of the dictionary, which are called "0", "1", ...; None writes no dictionary, and then the file
            names no class at all, but fairseq can only fine-tune from it.
        updates: how many updates the model was trained for.

    Raises:
        OSError: the disk is full.
    """
    dictionary_class = type("Dictionary", (), {"__module__": DICTIONARY.rpartition(".")[0]})
    dictionary = None
    if num_units is not None:
        dictionary = dictionary_class()
        vars(dictionary).update(_dictionary((*SPECIAL, *map(str, range(num_units)))))
    state = {
        "args": None,
        "cfg": dict(cfg),
        "model": dict(tensors),
        "criterion": None,
        "optimizer_history": [
            {
                "criterion_name": "HubertCriterion",
                "optimizer_name": "FairseqAdam",
                "lr_scheduler_state": {},
                "num_updates": updates,
            }
        ],
        "task_state": {"dictionaries": [dictionary]},
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
    }
    with disk_errors_named(path), replaced(path) as temporary, _importable(dictionary_class):
        torch.save(state, temporary)


def _dictionary(symbols: Sequence[str]) -> dict[str, Any]:
    """The attributes of a `fairseq.data.dictionary.Dictionary` with these symbols, each counted once."""
    names = dict(zip(("bos", "pad", "eos", "unk"), SPECIAL, strict=True))
    return {
        **{f"{name}_word": symbol for name, symbol in names.items()},
        **{f"{name}_index": index for index, name in enumerate(names)},
        "symbols": list(symbols),
        "count": [1] * len(symbols),
        "indices": {symbol: index for index, symbol in enumerate(symbols)},
        "nspecial": len(SPECIAL),
    }


@contextmanager
def _importable(written: type) -> Iterator[None]:
    """Have a class found under the name that it is to be written with: pickle writes no class that it cannot import."""
    parts = written.__module__.split(".")
    modules = {name: ModuleType(name) for name in (".".join(parts[: end + 1]) for end in range(len(parts)))}
    setattr(modules[written.__module__], written.__name__, written)
    before = {name: sys.modules[name] for name in modules if name in sys.modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]
        sys.modules.update(before)
