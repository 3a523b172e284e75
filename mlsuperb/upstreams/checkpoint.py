"""Reads a self-supervised checkpoint from the Hugging Face hub or a folder, and says exactly what was read."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from mlsuperb.upstreams.base import SAMPLE_RATE_HZ
from mlsuperb.upstreams.selfsupervised import MODEL_CLASSES, config_problems

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

BODY = ("encoder.", "feature_extractor.", "feature_projection.")  # of every family; anything else is a head


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model in fp32, whether its waves must be normalised and where that is said, and where the weights are from:
    the hub's commit, or the sha256 of each weight file of a folder."""

    model: PreTrainedModel
    normalise: bool
    normalise_source: str
    commit: str | None
    sha256: dict[str, str] | None


def load(checkpoint: str, *, revision: str) -> Loaded:
    """The base model of `checkpoint`, without whatever head is on it.

    Safetensors are preferred; a pickle is read with `weights_only=True`; remote code is never run. Raises `ValueError`
    if the checkpoint is missing, of another family, or does not hold every weight of the base model.
    """
    if found := checkpoint_problems(checkpoint, revision=revision):
        raise ValueError(" ".join(found))
    source = local_folder(checkpoint) or checkpoint
    settings, commit = _read_config(source, revision)
    if found := config_problems(settings):
        raise ValueError(f"upstream.checkpoint={checkpoint}: " + " ".join(found))
    model = _load_model(source, commit or revision, model_type=settings["model_type"])
    normalise, normalise_source = _read_normalisation(source, commit or revision, settings)
    logger.info("%s: do_normalize is %s (%s)", checkpoint, normalise, normalise_source)
    return Loaded(
        model=model,
        normalise=normalise,
        normalise_source=normalise_source,
        commit=commit,
        sha256=_hash_weights(source) if isinstance(source, Path) else None,
    )


def checkpoint_problems(checkpoint: str, *, revision: str) -> list[str]:
    """Why `checkpoint` cannot be read, as far as can be said without network or weights."""
    folder = local_folder(checkpoint)
    if folder is None:
        return _cache_problems(checkpoint, revision)
    if not folder.is_dir():
        return [f"upstream.checkpoint={checkpoint} is not a folder. {_REMEDY}"]
    if not (folder / "config.json").is_file():
        return [f"upstream.checkpoint={checkpoint} has no config.json. {_REMEDY}"]
    try:
        config = _read_json(folder / "config.json")
    except ValueError as error:
        return [str(error)]
    return [f"upstream.checkpoint={checkpoint}: {problem}" for problem in config_problems(config)]


def local_folder(checkpoint: str) -> Path | None:
    """The folder `checkpoint` names, existing or not; None if it is a hub id (`owner/name` and no such folder)."""
    path = Path(checkpoint).expanduser()
    looks_like_path = checkpoint.startswith(("/", "./", "../", "~")) or checkpoint.count("/") > 1 or "\\" in checkpoint
    return path if looks_like_path or path.is_dir() else None


_REMEDY = (
    "Give the id of a model on the Hugging Face hub (owner/name) or a folder written by save_pretrained. On a machine "
    "without network, fetch it elsewhere with `hf download <owner/name>`, and either set HF_HOME to that cache or give "
    "the downloaded folder as upstream.checkpoint."
)


def _cache_problems(checkpoint: str, revision: str) -> list[str]:
    from huggingface_hub import constants, try_to_load_from_cache

    cached = constants.HF_HUB_OFFLINE is False or isinstance(
        try_to_load_from_cache(checkpoint, "config.json", revision=revision), str
    )
    return [] if cached else [f"HF_HUB_OFFLINE is set and {checkpoint} ({revision}) is not in the cache. {_REMEDY}"]


def _read_config(source: str | Path, revision: str) -> tuple[dict[str, Any], str | None]:
    """config.json, and the hub's commit it is from (None for a folder)."""
    from transformers.utils import cached_file
    from transformers.utils.hub import extract_commit_hash

    try:
        path = cached_file(str(source), "config.json", revision=revision)
    except OSError as error:
        raise ValueError(
            f"upstream.checkpoint={source} ({revision}) could not be read: {_one_line(error)} {_REMEDY}"
        ) from error
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


def _load_model(source: str | Path, revision: str, *, model_type: str) -> PreTrainedModel:
    import transformers

    model_class = getattr(transformers, MODEL_CLASSES[model_type])
    try:
        model, info = model_class.from_pretrained(
            str(source),
            revision=revision,
            dtype=torch.float32,  # transformers 5 keeps the file's own type otherwise
            weights_only=True,
            ignore_mismatched_sizes=True,  # so that we can name them ourselves
            output_loading_info=True,
        )
    except OSError as error:
        raise ValueError(
            f"upstream.checkpoint={source} ({revision}) could not be loaded: {_one_line(error)} {_REMEDY}"
        ) from error
    except (SafetensorError, UnpicklingError) as error:  # torch would advise to switch the safety off
        raise ValueError(
            f"upstream.checkpoint={source}: its weights cannot be read ({_one_line(error)[:90]} ...). The file is cut short, "
            f"or a git-lfs pointer, or a pickle with more in it than tensors, which is never loaded. {_REMEDY}"
        ) from error
    _check_keys(source, info)
    return model


def _check_keys(source: str | Path, info: dict[str, Any]) -> None:
    """Every weight of the base model must be in the file, in its shape, and the file's layers must all be used."""
    mismatched = [key[0] if isinstance(key, tuple) else key for key in info["mismatched_keys"]]
    unexpected = sorted(info["unexpected_keys"])
    foreign = [key for key in unexpected if key.startswith(BODY)]
    missing = sorted(set(info["missing_keys"]) - {"masked_spec_embed"})  # which we take out of the model anyway
    wrong = {"missing": missing, "of another shape": sorted(mismatched), "unknown": foreign}
    if any(wrong.values()):
        listed = "; ".join(f"{len(keys)} {what} ({_some(keys)})" for what, keys in wrong.items() if keys)
        raise ValueError(
            f"upstream.checkpoint={source}: its weights do not fit its config.json: {listed}. Parts of the model would "
            "be random. Use a checkpoint in the transformers format of this family, or convert it first."
        )
    if unexpected:
        logger.info("%s: left out %d weights outside the base model (%s)", source, len(unexpected), _some(unexpected))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _some(keys: list[str], *, at_most: int = 5) -> str:
    return ", ".join(keys[:at_most]) + (", ..." if len(keys) > at_most else "")


def _read_normalisation(source: str | Path, revision: str, settings: dict[str, Any]) -> tuple[bool, str]:
    """`do_normalize` of preprocessor_config.json; without that file, what fairseq's models were trained with:
    normalised waves where the convolutions have layer norm (`feat_extract_norm: layer`), raw ones where group norm."""
    from huggingface_hub import constants
    from transformers.utils import cached_file

    if settings["model_type"] == "wav2vec2-bert":
        return False, "the model reads normalised log-mels"
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
            f"{source}: preprocessor_config.json could not be fetched: {_one_line(error)} {_REMEDY}"
        ) from error
    if path is None:
        by_rule = settings.get("feat_extract_norm", "group") == "layer"
        return by_rule, "no preprocessor_config.json; by feat_extract_norm"
    preprocessor = _read_json(Path(path))
    if (rate_hz := preprocessor.get("sampling_rate", SAMPLE_RATE_HZ)) != SAMPLE_RATE_HZ:
        raise ValueError(f"{source} reads {rate_hz} Hz audio; only {SAMPLE_RATE_HZ} Hz models are supported.")
    # A file that is silent means Wav2Vec2FeatureExtractor's default, true.
    return bool(preprocessor.get("do_normalize", True)), "preprocessor_config.json"


def _hash_weights(folder: Path) -> dict[str, str]:
    files = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    return {file.name: sha256(file) for file in files}


def sha256(file: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
