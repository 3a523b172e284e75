"""The files of an ESPnet model, as a recipe leaves them or as a hub packs them; read without running anything in them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from mlsuperb.espnet.keys import older_names
from mlsuperb.runtime.messages import one_line
from mlsuperb.runtime.tensor_files import read_pickle

CONFIG, PACKED = "config.yaml", "meta.yaml"
CHECKPOINTS = ("*.pth", "*.ckpt")  # the second: Lightning's, of espnet3, where there is none of the first
NOT_WEIGHTS = ("checkpoint.pth",)  # optimiser and scheduler too: what ESPnet resumes from
# Tensors that follow from the settings: filters, and the position codes that old versions saved
CONSTANTS = re.compile(r"frontend\.logmel\.melmat|.*\.pe")


@dataclass(frozen=True, kw_only=True)
class EspnetFolder:
    """What was found in `folder`: configuration, and weights, which are one file or the choice that there is."""

    folder: Path
    config: Mapping[str, Any]
    config_path: Path
    weights: Sequence[Path]


def open_folder(folder: Path) -> EspnetFolder:
    """Find and read the configuration of `folder`; find its weights. meta.yaml says where they are; without it, the
    configuration is in the folder, or is the only one somewhere below, and the weights lie beside it.

    Raises:
        ValueError: something is missing, cannot be read, or could be meant in more than one way.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: give the one with ESPnet's {CONFIG} and *.pth in it")
    config_path, weights = (_packed(folder) if (folder / PACKED).is_file() else None) or _loose(folder)
    return EspnetFolder(folder=folder, config=read_yaml(config_path), config_path=config_path, weights=weights)


def _packed(folder: Path) -> tuple[Path, list[Path]] | None:
    """As packed by ESPnet (`espnet2.main_funcs.pack_funcs`), under the name of the task: asr_model_file beside
    asr_train_config, s2t_model_file beside s2t_train_config. None for what espnet3 packs (`espnet3.utils.publication_utils`):
    it names the recipe's settings, and copies the folder of the experiment as it is."""
    listed = read_yaml(folder / PACKED)
    files, configs = (found if isinstance(found := listed.get(name), dict) else {} for name in ("files", "yaml_files"))
    if "training_config" in configs:
        return None
    key = next((key for key in map(str, files) if key.endswith("_model_file")), "_model_file")
    names = configs.get(key.replace("_model_file", "_train_config")), files.get(key)
    paths = [path for name in names if name and (path := inside(folder, folder / str(name)))]
    if len(paths) < 2 or not all(path.is_file() for path in paths):
        raise ValueError(
            f"{folder / PACKED} names {names[0]} as configuration and {names[1]} as weights, which are not both there: "
            "download the model whole"
        )
    return paths[0], paths[1:]


def inside(folder: Path, path: Path) -> Path | None:
    """A path that a model's own file names, if it is in the model's folder: others are none of a stranger's business."""
    path = Path(os.path.abspath(path))
    return path if path.is_relative_to(os.path.abspath(folder)) else None


def _loose(folder: Path) -> tuple[Path, list[Path]]:
    own = [folder / CONFIG] if (folder / CONFIG).is_file() else sorted(folder.rglob(CONFIG))
    own = [path for path in own if _weights_in(path.parent)] or own  # a recipe has other files of this name
    if not own:
        if (folder / "config.json").is_file():
            raise ValueError(
                f"{folder} holds a config.json, as models of transformers do, and no {CONFIG} of ESPnet: as an upstream it is "
                "upstream=hf, or the one of its family (`mlsuperb upstreams`)"
            )
        raise ValueError(
            f"{folder} holds neither {CONFIG} nor {PACKED}: give the folder of a trained ESPnet model (exp/asr_...), or "
            "one that was packed for a hub"
        )
    config = only(own, folder, what=CONFIG)
    return config, _weights_in(config.parent)


def _weights_in(folder: Path) -> list[Path]:
    found = (sorted(path for path in folder.glob(kind) if path.name not in NOT_WEIGHTS) for kind in CHECKPOINTS)
    return next(filter(None, found), [])


def only(found: Sequence[Path], folder: Path, *, what: str, remedy: str = f"leave one there, or {PACKED}") -> Path:
    """The one file of `found`; links to one and the same count once.

    Raises:
        ValueError: there is none, or there are several.
    """
    distinct = {path.resolve(): path for path in reversed(found)}  # ESPnet links its averages under shorter names
    if not distinct:
        raise ValueError(f"{folder} holds no {what}: give the folder of an ESPnet model, whole")
    if len(distinct) > 1:
        listed = ", ".join(sorted(str(path.relative_to(folder)) for path in distinct.values())[:5])
        raise ValueError(f"{folder} holds {len(distinct)} files of {what} ({listed}): {remedy}")
    return next(iter(distinct.values()))


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a file of an ESPnet model, by libyaml where it is there: lists of 50,000 tokens are common.

    Raises:
        ValueError: it cannot be read, or is no plain YAML.
    """
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as plain YAML: {one_line(error)[:200]}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no settings; give ESPnet's own file")
    return found


def choose_weights(espnet: EspnetFolder, name: str | None) -> Path:
    """The file called `name`; if None, what ESPnet decodes with: the average of the best epochs (`asr.sh`:
    inference_asr_model=valid.acc.ave.pth).

    Raises:
        ValueError: it is not there, or there are several.
    """
    folder = espnet.config_path.parent
    if name is None:
        averaged = [path for path in espnet.weights if ".ave" in path.name]
        return only(
            averaged or espnet.weights, folder, what="weights (*.pth, or a *.ckpt)", remedy="choose with --weights NAME"
        )
    if not (folder / name).is_file():
        raise ValueError(f"--weights {name}: there is no such file in {folder}")
    return folder / name


def read_tokens(espnet: EspnetFolder) -> list[str]:
    """In the order of their indices. ESPnet writes the tokens themselves into its configuration (`ASRTask.build_model`);
    older ones and espnet3 name a file.

    Raises:
        ValueError: there are none.
    """
    listed, beside = espnet.config.get("token_list"), espnet.config_path.parent
    if isinstance(listed, list) and listed and all(isinstance(token, str) for token in listed):
        return listed
    parts = Path(listed).parts if isinstance(listed, str) else ()
    # the path as a whole, or its end: espnet3 names an absolute one, and packs it from the recipe's folder on
    names = [Path(*parts[start:]) for start in range(len(parts))]
    found = (inside(espnet.folder, root / name) for root in (espnet.folder, beside) for name in names)
    for path in (*found, beside / "tokens.txt"):
        if path and path.is_file():
            return _lines(path)
    raise ValueError(
        f"{espnet.config_path} holds no list of tokens (token_list is {listed!r}): put it as tokens.txt, one token a line, "
        f"beside {espnet.config_path.name}"
    )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no list of tokens in UTF-8 ({error}): restore a copy") from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of an ESPnet checkpoint, by ESPnet's names (`older_names`), without constants. No code in the file is ever
    run.

    Raises:
        ValueError: the file is no checkpoint, is cut short, or holds more than tensors.
    """
    found = read_pickle(path)
    for key in ("module", "state_dict"):  # DeepSpeed's, Lightning's
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError(f"{path} holds no plain dictionary of tensors: give the weights of one model (valid.*.pth)")
    if all(name.startswith("model.") for name in found):  # Lightning's module around ESPnet's model
        found = {name.removeprefix("model."): value for name, value in found.items()}
    return older_names({name: value for name, value in found.items() if not CONSTANTS.fullmatch(name)})
