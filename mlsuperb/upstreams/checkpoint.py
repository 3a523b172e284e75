"""Reads a transformers checkpoint from the Hugging Face hub or a folder, and says exactly what was read."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from mlsuperb.runtime.messages import listed, one_line, some
from mlsuperb.upstreams.shards import needed_files, part_files
from mlsuperb.upstreams.sources import (
    CONFIG,
    REMEDY,
    cache_problems,
    config_digest,
    hash_files,
    local_folder,
    read_config,
    read_json,
    read_preprocessor,
    refuse_adapter,
    sha256,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

# `model_type` in config.json -> the option of `upstream=` that reads such checkpoints
OPTIONS = {
    **dict.fromkeys(("hubert", "wav2vec2", "wavlm", "wav2vec2-bert"), "upstream=hf"),
    "whisper": "upstream=whisper",
    **dict.fromkeys(("seamless_m4t", "seamless_m4t_v2"), "upstream=seamless_m4t"),
    **dict.fromkeys(("voxtral", "voxtral_encoder"), "upstream=voxtral"),
    **dict.fromkeys(
        ("parakeet_encoder", "parakeet_ctc", "parakeet_rnnt", "parakeet_tdt", "canary"), "upstream=parakeet"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Which checkpoints an upstream reads, and what it takes of them.

    Args:
        classes: `model_type` in config.json -> class in transformers.
        config_problems: why a model of this config.json cannot be an upstream, a sentence each.
        features: how audio is prepared for a model of this config.json, by the names in preprocessor_config.json.
        body: how the names of the class's own weights begin: none of these may be left over in the file; all others are
            other parts of a larger model.
        unused: how the names of weights begin that the upstream takes out again, so that a file need not have them.
        renamed: regular expression -> replacement, from names in the file to names in the class.
        changes: settings of config.json that are overruled.
        setting: by which users name the checkpoint, for messages.
        part: whether the model is a part of a larger one, of whose files only those are fetched and opened that hold `body` or
            `unused`.
        other_format: a sentence for users who give what has no config.json: in which other format such models are published, and
            what to do with it.
    """

    classes: Mapping[str, str]
    config_problems: Callable[[dict[str, Any]], list[str]]
    features: Callable[[dict[str, Any]], Mapping[str, Any]]
    body: tuple[str, ...]
    unused: tuple[str, ...]
    renamed: Mapping[str, str] = field(default_factory=dict)
    changes: Mapping[str, object] = field(default_factory=dict)
    setting: str = "upstream.checkpoint"
    part: bool = False
    other_format: str = ""

    def needs(self, name: str) -> bool:
        """Whether the model has a place for the weight of that name in a file."""
        for pattern, replacement in self.renamed.items():
            name = re.sub(pattern, replacement, name)
        return name.startswith((*self.body, *self.unused))

    @property
    def remedy(self) -> str:
        """What to give, for messages about a missing checkpoint."""
        return " ".join(filter(None, (self.other_format, REMEDY)))


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model in fp32, its config.json, what prepares its audio (None if no file says it) and the name of the file that says so,
    and where the weights are from: the hub's commit, or the sha256 of each weight file of a folder."""

    model: PreTrainedModel
    config: dict[str, Any]
    preprocessor: dict[str, Any] | None
    preprocessor_file: str
    checkpoint: str
    revision: str
    commit: str | None
    sha256: dict[str, str] | None

    def record(self) -> dict[str, object]:
        """What a result should say of the weights."""
        names = ("checkpoint", "revision", "commit", "sha256")
        return {name: getattr(self, name) for name in names} | {"config": config_digest(self.config)}


def load(checkpoint: str, *, revision: str, kind: Kind) -> Loaded:
    """The model of `kind` in `checkpoint`, without whatever else is there.

    Safetensors are preferred; a pickle is read with `weights_only=True`; remote code is never run.

    Raises:
        ValueError: the checkpoint is missing, damaged, of another kind, holds an adapter, too, does not hold every weight of the
            model, or wants audio prepared as it is not here.
    """
    if found := checkpoint_problems(checkpoint, revision=revision, kind=kind):
        raise ValueError(" ".join(found))
    source = local_folder(checkpoint) or checkpoint
    config, commit = read_config(source, revision, setting=kind.setting, remedy=kind.remedy)
    if found := _config_problems(config, kind):
        raise ValueError(f"{kind.setting}={checkpoint}: " + " ".join(found))
    preprocessor, file = read_preprocessor(source, commit or revision, expected=kind.features(config))
    model = _load_model(source, commit or revision, kind=kind, config=config)
    return Loaded(
        model=model,
        config=config,
        preprocessor=preprocessor,
        preprocessor_file=file,
        checkpoint=checkpoint,
        revision=revision,
        commit=commit,
        sha256=_hashes(source, kind) if isinstance(source, Path) else None,
    )


def _hashes(folder: Path, kind: Kind) -> dict[str, str]:
    """sha256 of the weight files that are read."""
    of_part = part_files(folder, "", needed=kind.needs) if kind.part else []
    if of_part:
        return {name: sha256(folder / name) for name in of_part}
    return hash_files(folder, "model*.safetensors", "pytorch_model*.bin")


def check_weights(checkpoint: str, *, revision: str, kind: Kind) -> None:
    """Look whether `load` would find every weight, without reading them.

    Raises:
        ValueError: it would not.
    """
    source = local_folder(checkpoint) or checkpoint
    config, commit = read_config(source, revision, setting=kind.setting, remedy=kind.remedy)
    _load_model(source, commit or revision, kind=kind, config=config, device_map="meta")


def checkpoint_problems(checkpoint: str, *, revision: str, kind: Kind) -> list[str]:
    """Why `checkpoint` cannot be read, as far as can be said without network or weights."""
    folder = local_folder(checkpoint)
    if folder is None:
        return cache_problems(checkpoint, revision, file="config.json")
    if not folder.is_dir():
        return [f"{kind.setting}={checkpoint} is not a folder. {kind.remedy}"]
    if not (folder / CONFIG).is_file():
        return [f"{kind.setting}={checkpoint} has no {CONFIG}. {kind.remedy}"]
    try:
        config = read_json(folder / CONFIG)
        if found := _config_problems(config, kind):
            return [f"{kind.setting}={checkpoint}: {problem}" for problem in found]
        refuse_adapter(folder, revision, setting=kind.setting)
        read_preprocessor(folder, revision, expected=kind.features(config))
    except ValueError as error:
        return [str(error)]
    return []


def _config_problems(config: dict[str, Any], kind: Kind) -> list[str]:
    """Why a model of this config.json cannot be used, whatever its kind, or as one of this kind."""
    found = kind.config_problems(config)
    if (quantised := config.get("quantization_config")) is not None:
        method = quantised.get("quant_method") if isinstance(quantised, dict) else None
        found.append(
            f"Its weights are quantised ({CONFIG}: quantization_config, {method or 'unknown method'}), and here all are read in "
            "full precision. Give the checkpoint that it was made from; adaptation=qlora quantises by itself."
        )
    return found


def type_problems(
    config: Mapping[str, Any], *, supported: Mapping[str, str], options: Mapping[str, str] = OPTIONS
) -> list[str]:
    """Whether the `model_type` of a config.json is none of `supported` (model_type -> its name for users); `options`: what
    else to choose for it."""
    model_type = str(config.get("model_type"))
    if model_type in supported:
        return []
    names = ", ".join(dict.fromkeys(supported.values()))
    remedy = (
        f"Use {options[model_type]} for this checkpoint."
        if model_type in options
        else "Choose a checkpoint of one of these."
    )
    return [f"The checkpoint's model_type is {model_type!r}; supported are {', '.join(supported)} ({names}). {remedy}"]


def _load_model(
    source: str | Path, revision: str, *, kind: Kind, config: Mapping[str, Any], device_map: str | None = None
) -> PreTrainedModel:
    refuse_adapter(source, revision, setting=kind.setting)
    model_class: Any = _class(kind.classes[config["model_type"]])
    settings: dict[str, Any] = {
        "revision": revision,
        "dtype": torch.float32,  # transformers 5 keeps the file's own type otherwise
        "weights_only": True,
        "ignore_mismatched_sizes": True,  # so that we can name them ourselves
        "output_loading_info": True,
        "key_mapping": dict(kind.renamed) or None,
        "device_map": device_map,
    }
    settings |= {**_attention(config, model_class), **kind.changes}
    try:
        with _files(source, revision, kind=kind, config=config) as files, _quiet():
            model, info = model_class.from_pretrained(files, **settings)
    except OSError as error:
        raise ValueError(
            f"{kind.setting}={source} ({revision}) could not be loaded: {one_line(error)} {REMEDY}"
        ) from error
    except (SafetensorError, UnpicklingError, EOFError) as error:  # torch would advise to switch the safety off
        raise ValueError(
            f"{kind.setting}={source}: its weights cannot be read ({one_line(error)[:90]} ...). The file is cut short, "
            f"or a git-lfs pointer, or a pickle with more in it than tensors, which is never loaded. {REMEDY}"
        ) from error
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # there is no end to what transformers raises at settings that cannot be
        raise ValueError(
            f"{kind.setting}={source}: no model can be made of its files ({type(error).__name__}: {one_line(error)[:200]}). A "
            f"setting in {CONFIG} has a wrong type or value, or a file of weights is damaged. Restore the files. {REMEDY}"
        ) from error
    _check_keys(source, info, kind)
    loaded: PreTrainedModel = model
    return loaded


def _files(source: str | Path, revision: str, *, kind: Kind, config: Mapping[str, Any]) -> AbstractContextManager[str]:
    """What to read: of a larger model only the files that hold the part."""
    if not kind.part:
        return nullcontext(str(source))
    return needed_files(source, revision, config=dict(config), needed=kind.needs)


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers lists every weight left out; `_check_keys` sums them up."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)


def _attention(config: Mapping[str, Any], model_class: Any) -> dict[str, str]:
    """Torch's own attention (`eager`, `sdpa`), whatever else config.json asks for: `use_faster_parts` replaces it anyway."""
    asked = config.get("attn_implementation", config.get("_attn_implementation"))
    if asked in (None, "eager", "sdpa"):
        return {}
    own = "sdpa" if model_class._supports_sdpa else "eager"
    logger.info("attention %s is taken in place of %s, which config.json asks for", own, asked)
    return {"attn_implementation": own}


def _class(name: str) -> type[PreTrainedModel]:
    """A class of transformers, by its name, or by `module.name` where the package itself does not show it."""
    module, _, name = name.rpartition(".")
    found: type[PreTrainedModel] = getattr(import_module(f"transformers.{module}" if module else "transformers"), name)
    return found


def _check_keys(source: str | Path, info: dict[str, Any], kind: Kind) -> None:
    """Every weight of the model must be in the file, in its shape, and the file's layers must all be used."""
    mismatched = [key[0] if isinstance(key, tuple) else key for key in info["mismatched_keys"]]
    unexpected = sorted(info["unexpected_keys"])
    foreign = [key for key in unexpected if key.startswith(kind.body)]
    missing = sorted(key for key in info["missing_keys"] if not key.startswith(kind.unused))
    wrong = {"missing": missing, "of another shape": sorted(mismatched), "unknown": foreign}
    if any(wrong.values()):
        raise ValueError(
            f"{kind.setting}={source}: its weights do not fit its config.json: {listed(wrong)}. Parts of the model "
            "would be random. Use a checkpoint in the transformers format of this family, or convert it first."
        )
    if unexpected:
        logger.info("%s: left out %d weights outside the model (%s)", source, len(unexpected), some(unexpected))
