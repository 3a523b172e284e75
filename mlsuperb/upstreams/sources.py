"""The small files of a checkpoint, in a folder or on the Hugging Face hub: what they say, and what of it is recorded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlsuperb.runtime.messages import one_line
from mlsuperb.runtime.records import json_object
from mlsuperb.upstreams.base import SAMPLE_RATE_HZ

REMEDY = (
    "Give the id of a model on the Hugging Face hub (owner/name) or a folder written by save_pretrained. On a machine "
    "without network, fetch it elsewhere with `hf download <owner/name>`, and either set HF_HOME to that cache or give "
    "the downloaded folder as the checkpoint."
)
CONFIG, ADAPTER = "config.json", "adapter_config.json"
PREPROCESSOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"
# Ours in these files, which other programs pass over: added to the variance of the wave, where it is not as transformers has it
NORMALIZE_EPS = "normalize_eps"
# of config.json, what changes no number: names, versions, and types, since everything is read as fp32
_IDLE = (
    "architectures",
    "dtype",
    "torch_dtype",
    "transformers_version",
    "model_name",
    "name_or_path",
    "use_cache",
    "auto_map",
)


def local_folder(checkpoint: str) -> Path | None:
    """The folder `checkpoint` names, existing or not; None if it is a hub id (`owner/name` and no such folder)."""
    path = Path(checkpoint).expanduser()
    looks_like_path = checkpoint.startswith(("/", "./", "../", "~")) or checkpoint.count("/") > 1 or "\\" in checkpoint
    return path if looks_like_path or path.is_dir() else None


def cache_problems(checkpoint: str, revision: str, *, file: str) -> list[str]:
    """Whether a hub checkpoint is out of reach: no network allowed, and `file` not in the cache."""
    from huggingface_hub import constants, try_to_load_from_cache

    cached = constants.HF_HUB_OFFLINE is False or isinstance(
        try_to_load_from_cache(checkpoint, file, revision=revision), str
    )
    return [] if cached else [f"HF_HUB_OFFLINE is set and {checkpoint} ({revision}) is not in the cache. {REMEDY}"]


def fetch(checkpoint: str, revision: str, *, wanted: list[str], remedy: str, unwanted: list[str] | None = None) -> Path:
    """The folder with the wanted files of a checkpoint on the hub, called by its commit.

    Raises:
        ValueError: they cannot be fetched.
    """
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(checkpoint, revision=revision, allow_patterns=wanted, ignore_patterns=unwanted)
    except (OSError, ValueError) as error:  # ValueError: no such id can be
        raise ValueError(
            f"upstream.checkpoint={checkpoint} ({revision}) could not be read: {one_line(error)} {remedy}"
        ) from error
    return Path(found)


def read_config(
    source: str | Path, revision: str, *, setting: str, remedy: str = REMEDY
) -> tuple[dict[str, Any], str | None]:
    """config.json, and the hub's commit it is from (None for a folder).

    Raises:
        ValueError: it is not there, or is no JSON object; `setting` is named, and `remedy` said.
    """
    from transformers.utils import cached_file
    from transformers.utils.hub import extract_commit_hash

    try:
        path = cached_file(str(source), CONFIG, revision=revision)
    except OSError as error:
        raise ValueError(f"{setting}={source} ({revision}) could not be read: {one_line(error)} {remedy}") from error
    assert path is not None, "a missing file was to be an OSError"
    commit = None if isinstance(source, Path) else extract_commit_hash(path, None)
    return read_json(Path(path)), commit


def optional_json(source: str | Path, name: str, revision: str) -> dict[str, Any] | None:
    """A file beside config.json; None if there is none.

    Raises:
        ValueError: it cannot be fetched, or is no JSON object.
    """
    from huggingface_hub import constants
    from transformers.utils import cached_file

    try:
        path = cached_file(
            str(source),
            name,
            revision=revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=not constants.HF_HUB_OFFLINE,
        )
    except OSError as error:
        raise ValueError(f"{source}: {name} could not be fetched: {one_line(error)} {REMEDY}") from error
    return None if path is None else read_json(Path(path))


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a checkpoint.

    Raises:
        ValueError: it holds no JSON object.
    """
    return json_object(path, remedy=REMEDY)


def read_preprocessor(
    source: str | Path, revision: str, *, expected: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, str]:
    """What prepares audio for a model, and the name of the file that says it: `feature_extractor` of processor_config.json, where
    transformers 5 writes it, else preprocessor_config.json; None and an empty name where neither is there.

    Args:
        expected: how audio is prepared here, by the names in these files.

    Raises:
        ValueError: a file cannot be read, asks for something else than `expected`, or the two disagree.
    """
    nested, plain = (optional_json(source, name, revision) or {} for name in (PROCESSOR, PREPROCESSOR))
    inner = nested.get("feature_extractor", nested.get("audio_processor", {}))
    if not isinstance(inner, dict):
        raise ValueError(f"{source}: feature_extractor in {PROCESSOR} is no JSON object. {REMEDY}")
    for key in ("do_normalize", *expected):
        if key in inner and key in plain and inner[key] != plain[key]:
            raise ValueError(
                f"{source}: {PROCESSOR} says {key}={inner[key]!r}, {PREPROCESSOR} {plain[key]!r}. Keep the file that the model "
                "was trained with"
            )
    found, name = (inner, PROCESSOR) if inner else (plain, PREPROCESSOR)
    if not found:
        return None, ""
    if found.get("sampling_rate", SAMPLE_RATE_HZ) != SAMPLE_RATE_HZ:
        raise ValueError(
            f"{source} reads {found['sampling_rate']!r} Hz audio ({name}); only {SAMPLE_RATE_HZ} Hz models are supported."
        )
    if other := [f"{key}={found[key]!r}" for key, value in expected.items() if found.get(key, value) != value]:
        made = ", ".join(f"{key}={value!r}" for key, value in expected.items())
        raise ValueError(
            f"{source}: {name} says {', '.join(other)}, but only {made} can be made. Choose a checkpoint that was trained so, or "
            "mend the file if it is wrong."
        )
    _check_normalisation(found, place=f"{source}: {name}")
    return found, name


def _check_normalisation(found: Mapping[str, Any], *, place: str) -> None:
    normalised, eps = found.get("do_normalize"), found.get(NORMALIZE_EPS, 0.0)
    if not isinstance(normalised, bool | None):
        raise ValueError(f"{place} says do_normalize={normalised!r}; it must be true or false.")
    if isinstance(eps, bool) or not isinstance(eps, int | float) or eps < 0:
        raise ValueError(f"{place} says {NORMALIZE_EPS}={eps!r}; it must be a number such as 1e-05.")


def refuse_adapter(source: str | Path, revision: str, *, setting: str) -> None:
    """transformers would attach an adapter that lies beside the weights, or load the base that it names instead.

    Raises:
        ValueError: there is one.
    """
    if optional_json(source, ADAPTER, revision) is not None:
        raise ValueError(
            f"{setting}={source} also holds an adapter ({ADAPTER}), which would change the model unseen. Move it out of there. "
            "To use it, merge it first (mlsuperb adapters merge), or give its folder as +upstream.adapter=FOLDER (upstream=hf)."
        )


def config_digest(config: Mapping[str, Any]) -> str:
    """16 hex digits of what config.json says of how a model computes, or generation_config.json of how it is searched."""
    kept = {key: value for key, value in config.items() if key not in _IDLE and not key.startswith("_")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:16]


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
