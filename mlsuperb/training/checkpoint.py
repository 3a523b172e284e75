"""Checkpoints: what was trained, and all it takes to go on to the same numbers. Every write is atomic."""

from __future__ import annotations

import logging
import os
import random
import re
import shutil
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mlsuperb.runtime import ranks
from mlsuperb.runtime.files import disk_errors_named, replaced
from mlsuperb.runtime.messages import one_line
from mlsuperb.training.distributed import gathered, like

log = logging.getLogger(__name__)

WEIGHTS, STATE = "weights.safetensors", "state.pt"
NAME = re.compile(r"\d{8,}-\d{4,}")  # of a checkpoint: iteration, epochs
FORMER_ADAPTER = re.compile(r"(\.lora_\w+)\.default\.")  # peft's own name; now they have that of their stack


def trained_tensors(model: nn.Module) -> dict[str, Tensor]:
    """What a checkpoint holds: trained parameters, and persistent buffers of modules that own no frozen parameter. Of a
    sharded model, whose ranks have to call this together, rank 0 gets them whole, on the host, and the others empty ones."""
    tensors: dict[str, Tensor] = gathered(_trained(model))
    return tensors


def _trained(model: nn.Module) -> dict[str, Tensor]:
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for prefix, module in model.named_modules():
        if all(parameter.requires_grad for parameter in module.parameters(recurse=False)):
            names |= {f"{prefix}.{name}".lstrip(".") for name, _ in module.named_buffers(recurse=False)}
    return {name: tensor.detach() for name, tensor in model.state_dict().items() if name in names}


def load_trained(model: nn.Module, path: Path) -> None:
    """Put the tensors of `path` into `model`.

    Raises:
        ValueError: `path` cannot be read, or holds other tensors than this model trains.
    """
    own, tensors = _trained(model), _read(path)
    missing, unexpected = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    shapes = [n for n in own.keys() & tensors.keys() if own[n].shape != tensors[n].shape]
    if missing or unexpected or shapes:
        raise ValueError(
            f"{path} does not belong to this model: {len(missing)} tensors are missing {missing[:3]}, "
            f"{len(unexpected)} are unknown {unexpected[:3]}, {len(shapes)} have another shape {sorted(shapes)[:3]}. "
            "Use the settings the weights were trained with, or start in another folder (run_name=...)"
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(like(tensors[name], tensor))


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by the names that they have today.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read as safetensors weights ({error}); restore a copy, or start in another folder (run_name=...)"
        ) from error
    return {FORMER_ADAPTER.sub(r"\1.encoder.", name): tensor for name, tensor in tensors.items()}


def save_weights(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write `tensors` to `path`, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors_named(path), replaced(path) as temporary:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())


def average(paths: list[Path]) -> dict[str, Tensor]:
    """Mean of the floating-point tensors of several weight files; others are taken from the first.

    Raises:
        ValueError: one of them cannot be read.
    """
    loaded = [_read(path) for path in paths]
    return {
        name: torch.stack([weights[name] for weights in loaded]).mean(0) if first.is_floating_point() else first
        for name, first in loaded[0].items()
    }


class KeptEpochs:
    """The weights of the best epochs, one file per epoch. Rank 0 writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _file(self, epoch: int) -> Path:
        return self.folder / f"epoch_{epoch:04d}.safetensors"

    def save(self, epoch: int, weights: Mapping[str, Tensor]) -> None:
        """Write the weights of an epoch."""
        if ranks.is_main():
            save_weights(weights, self._file(epoch))

    def drop_all_but(self, epochs: Collection[int]) -> None:
        """Remove the files of all other epochs."""
        for path in self.folder.glob("epoch_*.safetensors"):
            if ranks.is_main() and path not in {self._file(epoch) for epoch in epochs}:
                path.unlink()

    def mean(self, epochs: Collection[int]) -> dict[str, Tensor]:
        """The average of the weights of `epochs`."""
        return average([self._file(epoch) for epoch in sorted(epochs)])


def disk_forecast(model: nn.Module, folder: Path, *, keep_best: int) -> str:
    """What a training will need of the disk: weights and two optimiser moments, twice while a checkpoint is replaced; the
    best epochs, one more, and their average."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = sum(tensor.nbytes for tensor in _trained(model).values())
    needed_gb, free_gb = weights * (6 + keep_best + 2) / 1e9, shutil.disk_usage(folder).free / 1e9
    remark = "" if needed_gb < free_gb else ": too little, it will stop when the disk is full"
    return f"checkpoints take up to {needed_gb:.2f} GB in {folder}, where {free_gb:.0f} GB are free{remark}"


class CheckpointFolder:
    """Numbered checkpoints `<folder>/<iteration>-<epochs>/`, of which the latest is kept.

    A checkpoint is written under a temporary name and renamed when whole, so a kill at any moment leaves the one before.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def latest(self) -> Path | None:
        """The newest whole checkpoint; None where there is none at all. A damaged one is passed over, with a warning.

        Raises:
            ValueError: all that there are are damaged.
        """
        found = sorted((path for path in self.folder.glob("*") if NAME.fullmatch(path.name)), reverse=True)
        whole = next((path for path in found if not _damage(path)), None)
        if damaged := [path for path in found if whole is None or path > whole]:
            what = f"the checkpoint {damaged[0]} is damaged ({_damage(damaged[0])})"
            if whole is None:
                raise ValueError(
                    f"{what}, and there is no older one. Restore a copy, or remove {self.folder} to train anew"
                )
            log.warning("%s and is passed over: the training goes on from %s", what, whole)
        return whole

    def save(self, iteration: int, *, num_epochs: int, weights: Mapping[str, Tensor], state: dict[str, Any]) -> None:
        """Write the checkpoint of `iteration` with `num_epochs` validated, unless it is there, then drop the older ones."""
        # numbered by epoch too: an epoch's end may follow a checkpoint of the same iteration, which must not be touched
        name = f"{iteration:08d}-{num_epochs:04d}"
        target, temporary = self.folder / name, self.folder / f".{name}.tmp"
        if target.exists():
            if not _damage(target):  # the same numbers, as when a training is told to end in a validation again
                return
            shutil.rmtree(target)
        with disk_errors_named(target):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            save_weights(weights, temporary / WEIGHTS)
            with (temporary / STATE).open("wb") as file:  # to a path torch writes without telling why it failed
                torch.save({**state, "rng": rng_state()}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        for old in self.folder.iterdir():
            if old != target and NAME.fullmatch(old.name.removeprefix(".").removesuffix(".tmp")):
                shutil.rmtree(old)

    def load(self, checkpoint: Path, *, model: nn.Module) -> dict[str, Any]:
        """Put the weights into `model` and return the rest of the state; random states are set by `restore_rng`.

        Raises:
            ValueError: it is damaged, or belongs to another model.
        """
        load_trained(model, checkpoint / WEIGHTS)
        try:
            with zipfile.ZipFile(checkpoint / STATE) as parts:
                # torch compares no checksum: it would go on with other numbers
                if bad := parts.testzip():
                    raise ValueError(f"{bad} in it is damaged")
            state = torch.load(checkpoint / STATE, map_location="cpu", weights_only=True)
            if not isinstance(state, dict) or not {"progress", "rng"} <= state.keys():
                raise ValueError("it holds no state of a training")
        except Exception as error:  # damaged bytes can make torch raise anything
            raise ValueError(
                f"{checkpoint / STATE} cannot be read ({one_line(error)[:90]}). Remove {self.folder} to train anew, or restore a "
                "copy"
            ) from error
        return state


def _damage(checkpoint: Path) -> str:
    """What is cut short or missing in a checkpoint, as far as can be told without reading all of it; empty where it is whole."""
    if not zipfile.is_zipfile(checkpoint / STATE):  # its table of contents is the end of the file
        return f"{STATE} is cut short" if (checkpoint / STATE).exists() else f"{STATE} is missing"
    try:
        with safe_open(checkpoint / WEIGHTS, "pt"):
            return ""
    except (SafetensorError, OSError) as error:
        return f"{WEIGHTS} cannot be read as safetensors weights: {error}"


def rng_state() -> dict[str, Any]:
    """The state of every global random generator."""
    version, internal, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "python": (version, internal, gauss),
        "numpy": (torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached),
    }


def restore_rng(state: dict[str, Any]) -> None:
    """Set every global random generator to what `rng_state` returned."""
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
    random.setstate(state["python"])
    keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state(("MT19937", keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))
