"""The files of an ESPnet model: its configuration, weights and tokens, as a recipe leaves them or as a hub packs them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import yaml
from torch import Tensor

CONFIG, PACKED = "config.yaml", "meta.yaml"
NOT_WEIGHTS = ("checkpoint.pth",)  # optimiser and scheduler too: what ESPnet resumes from


@dataclass(frozen=True, kw_only=True)
class EspnetFolder:
    """What was found in a folder: `config`, the path of the weights, the tokens in the order of their indices."""

    config: Mapping[str, Any]
    config_path: Path
    weights_path: Path
    tokens: list[str]


def open_folder(folder: Path, *, weights: str | None = None) -> EspnetFolder:
    """Find and read the configuration and the tokens of `folder`; find its weights, or take the file called `weights`.

    Raises:
        ValueError: something is missing, cannot be read, or could be meant in more than one way.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: give the one with ESPnet's {CONFIG} and *.pth in it")
    config_path, packed_weights = _packed(folder) if not (folder / CONFIG).is_file() else (folder / CONFIG, None)
    config = _read_yaml(config_path)
    weights_path = _weights(config_path.parent, weights) if weights or not packed_weights else packed_weights
    return EspnetFolder(
        config=config, config_path=config_path, weights_path=weights_path, tokens=_tokens(config, folder, config_path)
    )


def _packed(folder: Path) -> tuple[Path, Path]:
    """Configuration and weights of a folder packed by ESPnet (`espnet2.main_funcs.pack_funcs`), as a hub holds it."""
    if not (folder / PACKED).is_file():
        raise ValueError(
            f"{folder} holds neither {CONFIG} nor {PACKED}: give the folder of a trained ESPnet model "
            "(exp/asr_...), or one that was packed for a hub"
        )
    listed = _read_yaml(folder / PACKED)
    try:
        paths = folder / listed["yaml_files"]["asr_train_config"], folder / listed["files"]["asr_model_file"]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{folder / PACKED} names no asr_train_config and asr_model_file: it is no recogniser's"
        ) from error
    if missing := [str(path) for path in paths if not path.is_file()]:
        raise ValueError(f"{folder / PACKED} names {', '.join(missing)}, which is not there; download it whole")
    return paths


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as plain YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no settings; give ESPnet's own file")
    return found


def _weights(folder: Path, name: str | None) -> Path:
    if name is not None:
        if not (folder / name).is_file():
            raise ValueError(f"--weights {name}: there is no such file in {folder}")
        return folder / name
    found = sorted(path for path in folder.glob("*.pth") if path.name not in NOT_WEIGHTS)
    # ESPnet decodes with the average of the best epochs (`asr.sh`: inference_asr_model=valid.acc.ave.pth)
    averaged = [path for path in found if ".ave" in path.name]
    choices = averaged or found
    if len({path.resolve() for path in choices}) == 1:
        return choices[0]
    if not choices:
        raise ValueError(f"{folder} holds no weights (*.pth); ESPnet leaves them beside {CONFIG}")
    listed = ", ".join(path.name for path in choices)
    raise ValueError(f"{folder} holds more than one file of weights ({listed}): choose with --weights NAME")


def _tokens(config: Mapping[str, Any], folder: Path, config_path: Path) -> list[str]:
    """ESPnet writes the tokens themselves into its configuration (`ASRTask.build_model`); older ones name a file."""
    listed = config.get("token_list")
    if isinstance(listed, list) and listed and all(isinstance(token, str) for token in listed):
        return listed
    names = [listed] if isinstance(listed, str) else []
    candidates = [
        root / name for root in (folder, config_path.parent) for name in (*names, *(Path(n).name for n in names))
    ]
    for path in (*candidates, config_path.parent / "tokens.txt"):
        if path.is_file():
            return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    raise ValueError(
        f"{config_path} holds no list of tokens (token_list is {listed!r}): put it as tokens.txt, one token a line, "
        f"beside {config_path.name}"
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of an ESPnet checkpoint, by ESPnet's names. No code in the file is ever run.

    Raises:
        ValueError: the file is no checkpoint, is cut short, or holds more than tensors.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (UnpicklingError, EOFError, RuntimeError) as error:  # torch would advise to switch the safety off
        raise ValueError(
            f"{path} cannot be read ({' '.join(str(error).split())[:90]} ...). The file is cut short, or a git-lfs "
            "pointer, or a pickle with more in it than tensors, which is never loaded"
        ) from error
    if isinstance(found, dict) and isinstance(found.get("module"), dict):  # DeepSpeed's
        found = found["module"]
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError(f"{path} holds no plain dictionary of tensors: give the weights of one model (valid.*.pth)")
    return found
