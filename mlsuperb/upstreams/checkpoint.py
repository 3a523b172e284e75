"""Reads a transformers checkpoint from the Hugging Face hub or a folder, and says exactly what was read."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from mlsuperb.runtime.messages import listed, one_line, some
from mlsuperb.upstreams.base import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

# `model_type` in config.json -> the option of `upstream=` that reads such checkpoints
OPTIONS = {
    **dict.fromkeys(("hubert", "wav2vec2", "wavlm", "wav2vec2-bert"), "upstream=hf"),
    "whisper": "upstream=whisper",
    **dict.fromkeys(("seamless_m4t", "seamless_m4t_v2"), "upstream=seamless_m4t"),
}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Which checkpoints an upstream reads, and what it takes of them.

    Args:
        classes: `model_type` in config.json -> class in transformers.
        config_problems: why a model of this config.json cannot be an upstream, a sentence each.
        body: how the names of the class's own weights begin: none of these may be left over in the file; all others are
            other parts of a larger model.
        unused: how the names of weights begin that the upstream takes out again, so that a file need not have them.
        renamed: regular expression -> replacement, from names in the file to names in the class.
        changes: settings of config.json that are overruled.
        setting: by which users name the checkpoint, for messages.
    """

    classes: Mapping[str, str]
    config_problems: Callable[[dict[str, Any]], list[str]]
    body: tuple[str, ...]
    unused: tuple[str, ...]
    renamed: Mapping[str, str] = field(default_factory=dict)
    changes: Mapping[str, object] = field(default_factory=dict)
    setting: str = "upstream.checkpoint"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model in fp32, its config.json and preprocessor_config.json (None if there is none), and where the weights are
    from: the hub's commit, or the sha256 of each weight file of a folder."""

    model: PreTrainedModel
    config: dict[str, Any]
    preprocessor: dict[str, Any] | None
    checkpoint: str
    revision: str
    commit: str | None
    sha256: dict[str, str] | None

    def record(self) -> dict[str, object]:
        """What a result should say of the weights."""
        names = ("checkpoint", "revision", "commit", "sha256")
        return {name: getattr(self, name) for name in names}


def load(checkpoint: str, *, revision: str, kind: Kind) -> Loaded:
    """The model of `kind` in `checkpoint`, without whatever else is there.

    Safetensors are preferred; a pickle is read with `weights_only=True`; remote code is never run. Raises `ValueError`
    if the checkpoint is missing, of another kind, or does not hold every weight of the model.
    """
    if found := checkpoint_problems(checkpoint, revision=revision, kind=kind):
        raise ValueError(" ".join(found))
    source = local_folder(checkpoint) or checkpoint
    config, commit = _read_config(source, revision, setting=kind.setting)
    if found := kind.config_problems(config):
        raise ValueError(f"{kind.setting}={checkpoint}: " + " ".join(found))
    model = _load_model(source, commit or revision, kind=kind, model_type=config["model_type"])
    return Loaded(
        model=model,
        config=config,
        preprocessor=_read_preprocessor(source, commit or revision),
        checkpoint=checkpoint,
        revision=revision,
        commit=commit,
        sha256=hash_files(source, "model*.safetensors", "pytorch_model*.bin") if isinstance(source, Path) else None,
    )


def check_weights(checkpoint: str, *, revision: str, kind: Kind) -> None:
    """Look whether `load` would find every weight, without reading them.

    Raises:
        ValueError: it would not.
    """
    source = local_folder(checkpoint) or checkpoint
    config, commit = _read_config(source, revision, setting=kind.setting)
    _load_model(source, commit or revision, kind=kind, model_type=config["model_type"], device_map="meta")


def checkpoint_problems(checkpoint: str, *, revision: str, kind: Kind) -> list[str]:
    """Why `checkpoint` cannot be read, as far as can be said without network or weights."""
    folder = local_folder(checkpoint)
    if folder is None:
        return cache_problems(checkpoint, revision, file="config.json")
    if not folder.is_dir():
        return [f"{kind.setting}={checkpoint} is not a folder. {_REMEDY}"]
    if not (folder / "config.json").is_file():
        return [f"{kind.setting}={checkpoint} has no config.json. {_REMEDY}"]
    try:
        config = _read_json(folder / "config.json")
    except ValueError as error:
        return [str(error)]
    return [f"{kind.setting}={checkpoint}: {problem}" for problem in kind.config_problems(config)]


def type_problems(
    config: Mapping[str, Any], *, supported: Mapping[str, str], options: Mapping[str, str] = OPTIONS
) -> list[str]:
    """Whether the `model_type` of a config.json is none of `supported` (model_type -> its name for users); `options`: what
    else to choose for it."""
    model_type = config.get("model_type")
    if model_type in supported:
        return []
    names = ", ".join(dict.fromkeys(supported.values()))
    remedy = (
        f"Use {options[str(model_type)]} for this checkpoint."
        if model_type in options
        else "Choose a checkpoint of one of these."
    )
    return [f"The checkpoint's model_type is {model_type!r}; supported are {', '.join(supported)} ({names}). {remedy}"]


def local_folder(checkpoint: str) -> Path | None:
    """The folder `checkpoint` names, existing or not; None if it is a hub id (`owner/name` and no such folder)."""
    path = Path(checkpoint).expanduser()
    looks_like_path = checkpoint.startswith(("/", "./", "../", "~")) or checkpoint.count("/") > 1 or "\\" in checkpoint
    return path if looks_like_path or path.is_dir() else None


_REMEDY = (
    "Give the id of a model on the Hugging Face hub (owner/name) or a folder written by save_pretrained. On a machine "
    "without network, fetch it elsewhere with `hf download <owner/name>`, and either set HF_HOME to that cache or give "
    "the downloaded folder as the checkpoint."
)


def cache_problems(checkpoint: str, revision: str, *, file: str) -> list[str]:
    """Whether a hub checkpoint is out of reach: no network allowed, and `file` not in the cache."""
    from huggingface_hub import constants, try_to_load_from_cache

    cached = constants.HF_HUB_OFFLINE is False or isinstance(
        try_to_load_from_cache(checkpoint, file, revision=revision), str
    )
    return [] if cached else [f"HF_HUB_OFFLINE is set and {checkpoint} ({revision}) is not in the cache. {_REMEDY}"]


def _read_config(source: str | Path, revision: str, *, setting: str) -> tuple[dict[str, Any], str | None]:
    """config.json, and the hub's commit it is from (None for a folder)."""
    from transformers.utils import cached_file
    from transformers.utils.hub import extract_commit_hash

    try:
        path = cached_file(str(source), "config.json", revision=revision)
    except OSError as error:
        raise ValueError(f"{setting}={source} ({revision}) could not be read: {one_line(error)} {_REMEDY}") from error
    assert path is not None, "a missing file was to be an OSError"
    commit = None if isinstance(source, Path) else extract_commit_hash(path, None)
    return _read_json(Path(path)), commit


def _read_json(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not even text
        raise ValueError(f"{path} is not JSON ({error}). {_REMEDY}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path} holds no JSON object. {_REMEDY}")
    return settings


def _load_model(
    source: str | Path, revision: str, *, kind: Kind, model_type: str, device_map: str | None = None
) -> PreTrainedModel:
    model_class: Any = _class(kind.classes[model_type])
    try:
        with _quiet():  # transformers lists every weight left out; `_check_keys` sums them up
            model, info = model_class.from_pretrained(
                str(source),
                revision=revision,
                dtype=torch.float32,  # transformers 5 keeps the file's own type otherwise
                weights_only=True,
                ignore_mismatched_sizes=True,  # so that we can name them ourselves
                output_loading_info=True,
                key_mapping=dict(kind.renamed) or None,
                device_map=device_map,
                **kind.changes,
            )
    except OSError as error:
        raise ValueError(
            f"{kind.setting}={source} ({revision}) could not be loaded: {one_line(error)} {_REMEDY}"
        ) from error
    except (SafetensorError, UnpicklingError) as error:  # torch would advise to switch the safety off
        raise ValueError(
            f"{kind.setting}={source}: its weights cannot be read ({one_line(error)[:90]} ...). The file is cut short, "
            f"or a git-lfs pointer, or a pickle with more in it than tensors, which is never loaded. {_REMEDY}"
        ) from error
    _check_keys(source, info, kind)
    loaded: PreTrainedModel = model
    return loaded


@contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)


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


def _read_preprocessor(source: str | Path, revision: str) -> dict[str, Any] | None:
    """preprocessor_config.json, None if there is none."""
    from huggingface_hub import constants
    from transformers.utils import cached_file

    try:
        path = cached_file(
            str(source),
            "preprocessor_config.json",
            revision=revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=not constants.HF_HUB_OFFLINE,
        )
    except OSError as error:
        raise ValueError(
            f"{source}: preprocessor_config.json could not be fetched: {one_line(error)} {_REMEDY}"
        ) from error
    if path is None:
        return None
    preprocessor = _read_json(Path(path))
    if (rate_hz := preprocessor.get("sampling_rate", SAMPLE_RATE_HZ)) != SAMPLE_RATE_HZ:
        raise ValueError(f"{source} reads {rate_hz} Hz audio; only {SAMPLE_RATE_HZ} Hz models are supported.")
    return preprocessor


def hash_files(folder: Path, *patterns: str) -> dict[str, str]:
    """sha256 of each file of the first pattern that fits any."""
    files: list[Path] = next((found for pattern in patterns if (found := sorted(folder.glob(pattern)))), [])
    return {file.name: sha256(file) for file in files}


def sha256(file: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
