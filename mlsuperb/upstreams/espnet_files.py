"""The files of an ESPnet model: found in a folder or on the hub, read without running anything in them."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from mlsuperb.upstreams.checkpoint import cache_problems, local_folder, one_line, sha256
from mlsuperb.upstreams.espnet_settings import read_settings

CONFIG, PACKED, STATS = "config.yaml", "meta.yaml", "feats_stats.npz"
_REMEDY = (
    f"Give the id of a model on the Hugging Face hub (espnet/owsm_v3.1_ebf), or a folder with ESPnet's {CONFIG}, weights "
    f"(*.pth) and {STATS}. On a machine without network, fetch it elsewhere with `hf download <owner/name>`, and either set "
    "HF_HOME to that cache or give the downloaded folder as upstream.checkpoint."
)


@dataclass(frozen=True, kw_only=True)
class EspnetFiles:
    """Configuration, weights, sums over the training corpus; the hub's commit, None for a folder."""

    config: Path
    weights: Path
    stats: Path
    commit: str | None

    def record(self, checkpoint: str, revision: str) -> dict[str, object]:
        """What a result should say of the weights."""
        hashes = None if self.commit else {path.name: sha256(path) for path in (self.weights, self.stats)}
        return {"checkpoint": checkpoint, "revision": revision, "commit": self.commit, "sha256": hashes}


def espnet_problems(checkpoint: str, *, revision: str) -> list[str]:
    """Why `checkpoint` cannot be read, as far as can be said without network or weights."""
    if local_folder(checkpoint) is None:
        return cache_problems(checkpoint, revision, file=PACKED)
    try:
        settings = read_settings(read_config(find_files(checkpoint, revision=revision).config))
    except ValueError as error:
        return [str(error)]
    return [f"upstream.checkpoint={checkpoint}: {problem}" for problem in settings.problems]


def find_files(checkpoint: str, *, revision: str) -> EspnetFiles:
    """The files of a folder or of a hub id, which is downloaded.

    Raises:
        ValueError: something is missing, or could be meant in more than one way.
    """
    folder, commit = local_folder(checkpoint), None
    if folder is None:
        folder = _download(checkpoint, revision)
        commit = folder.name  # a snapshot's folder is called by its commit
    if not folder.is_dir():
        raise ValueError(f"upstream.checkpoint={checkpoint} is not a folder. {_REMEDY}")
    config, weights = _packed(folder) if (folder / PACKED).is_file() else _loose(folder)
    return EspnetFiles(config=config, weights=weights, stats=_stats(folder, config), commit=commit)


def _download(checkpoint: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download

    wanted = [PACKED, f"*{CONFIG}", "*.pth", "*.npz"]
    try:
        return Path(snapshot_download(checkpoint, revision=revision, allow_patterns=wanted))
    except (OSError, ValueError) as error:  # ValueError: no such id can be
        raise ValueError(
            f"upstream.checkpoint={checkpoint} ({revision}) could not be read: {one_line(error)} {_REMEDY}"
        ) from error


def _packed(folder: Path) -> tuple[Path, Path]:
    """Configuration and weights of a folder packed by ESPnet (`espnet2.main_funcs.pack_funcs`), as a hub holds it."""
    listed = read_config(folder / PACKED)
    names = [
        next((str(path) for key, path in dict(listed.get(group) or {}).items() if key.endswith(ending)), None)
        for group, ending in (("yaml_files", "_train_config"), ("files", "_model_file"))
    ]
    paths = [folder / name for name in names if name]
    if len(paths) < 2 or not all(path.is_file() for path in paths):
        raise ValueError(
            f"{folder / PACKED} names {names[0]} as configuration and {names[1]} as weights, which are not both there. "
            f"Download the model whole. {_REMEDY}"
        )
    return paths[0], paths[1]


def _loose(folder: Path) -> tuple[Path, Path]:
    """Configuration and weights of a folder that has one of each somewhere, side by side."""
    config = _only(sorted(folder.rglob(CONFIG)), folder, what=CONFIG)
    found = sorted(path for path in config.parent.glob("*.pth") if path.name != "checkpoint.pth")  # the optimiser's
    distinct = {path.resolve(): path for path in reversed(found)}  # ESPnet links its averages under shorter names
    return config, _only(list(distinct.values()), config.parent, what="weights (*.pth)")


def _stats(folder: Path, config: Path) -> Path:
    name = read_settings(read_config(config)).stats_file
    if name and (folder / name).is_file():
        return folder / name
    return _only(sorted(folder.rglob(STATS)), folder, what=f"means and variances ({STATS})")


def _only(found: list[Path], folder: Path, *, what: str) -> Path:
    if len(found) == 1:
        return found[0]
    if not found:
        raise ValueError(f"{folder} holds no {what}. {_REMEDY}")
    listed = ", ".join(sorted(str(path.relative_to(folder)) for path in found)[:5])
    raise ValueError(f"{folder} holds {len(found)} files of {what} ({listed}): leave one of them there, or {PACKED}.")


def read_config(path: Path) -> dict[str, Any]:
    """The settings in a YAML file of ESPnet's.

    Raises:
        ValueError: it is none.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as plain YAML: {one_line(error)[:200]}. {_REMEDY}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no settings. {_REMEDY}")
    return found


def read_weights(path: Path, *, prefix: str) -> dict[str, Tensor]:
    """The tensors of an ESPnet checkpoint whose names begin with `prefix`, without it. No code in the file is ever run.

    Raises:
        ValueError: the file is no checkpoint, is cut short, or holds more than tensors.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (UnpicklingError, EOFError, RuntimeError) as error:  # torch would advise to switch the safety off
        raise ValueError(
            f"{path}: its weights cannot be read ({one_line(error)[:90]} ...). The file is cut short, or a git-lfs pointer, "
            f"or a pickle with more in it than tensors, which is never loaded. {_REMEDY}"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError(f"{path} holds no plain dictionary of tensors: give the weights of one model (valid.*.pth).")
    kept = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
    # Tables of sines that old versions of ESPnet saved (`espnet.nets.pytorch_backend.transformer.embedding`)
    return {name: value for name, value in kept.items() if not name.endswith(".pe")}


def read_stats(path: Path, *, num_mels: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (K) of each log-mel filter, from the sums that ESPnet collects before training; the floor
    of the variance is that of `espnet2.layers.global_mvn`.

    Raises:
        ValueError: the file does not hold them.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            count, total, squares = (stored[name] for name in ("count", "sum", "sum_square"))
            mean, square = total / count, squares / count
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} does not hold ESPnet's count, sum and sum_square ({one_line(error)[:90]}). {_REMEDY}"
        ) from error
    if mean.shape != (num_mels,) or square.shape != (num_mels,):
        raise ValueError(f"{path} is of {mean.shape} features, but the encoder reads {num_mels} log-mels. {_REMEDY}")
    std = np.sqrt(np.maximum(square - mean * mean, 1e-20))
    return torch.from_numpy(mean).float(), torch.from_numpy(std).float()
