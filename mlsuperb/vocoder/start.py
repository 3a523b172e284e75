"""Weights of another vocoder to start from: of this package, or of transformers' `SeamlessM4TCodeHifiGan`."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from mlsuperb.runtime.hub_errors import hub_errors
from mlsuperb.vocoder.folder import VOCODER, Voice, read_config
from mlsuperb.vocoder.generator import UnitVocoder, without_weight_norm

log = logging.getLogger(__name__)

_IN_A_WHOLE_MODEL = "vocoder."  # before the names in a checkpoint of all of SeamlessM4T


def start_from(vocoder: UnitVocoder, start: str, *, voice: Voice | None = None) -> dict[str, Any]:
    """Put the weights at `start` into a vocoder without weight norm, as far as they have its shapes; what does not fit stays as
    it is and is named in the log. So are the embeddings of units, speakers or languages that are others there than in `voice`.

    Returns:
        `start`, the `sha256` of its files, the number of tensors `loaded`, and what is `new`: name -> reason.

    Raises:
        ValueError: there are no such weights, or none of the generator's up-sampling fits.
    """
    own = vocoder.state_dict()
    files = _files(start)
    found = without_weight_norm({name: one for path in files for name, one in _tensors(path)})
    other = _other_tables(start, voice) if voice else {}
    fitting = {
        name: one for name, one in found.items() if name in own and name not in other and one.shape == own[name].shape
    }
    new = {
        name: other.get(name)
        or (f"{list(found[name].shape)} there, {list(own[name].shape)} here" if name in found else "not there")
        for name in own
        if name not in fitting
    }
    listed = "; ".join(f"{name}: {why}" for name, why in new.items())
    if not any(name.startswith("hifi_gan.upsampler.") and name.endswith(".weight") for name in fitting):
        raise ValueError(
            f"vocoder.start={start} has no weights of a generator of these sizes ({listed}). Give a vocoder of "
            "SeamlessM4TCodeHifiGan or of a run of job=vocoder, and its sizes (vocoder.initial_channels, "
            "vocoder.upsample_rates, vocoder.upsample_kernels, vocoder.block_kernels)"
        )
    vocoder.load_state_dict(fitting, strict=False)
    log.info("vocoder.start=%s: %d of %d tensors loaded", start, len(fitting), len(own))
    if new:
        log.warning("these are new, since they did not fit: %s", listed)
    if unused := sorted(found.keys() - own.keys()):
        log.warning("these are there and not used: %s", ", ".join(unused))
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return {"start": start, "sha256": hashes, "loaded": len(fitting), "new": new}


def _other_tables(start: str, voice: Voice) -> dict[str, str]:
    """Embeddings that mean something else in a vocoder of ours, and why; of others nothing is known."""
    folder = Path(start) / VOCODER if (Path(start) / VOCODER).is_dir() else Path(start)
    there = read_config(folder) or {}
    here = {
        "unit": ("codebook", voice.codebook),
        "speaker": ("speakers", list(voice.speakers)),
        "language": ("languages", list(voice.languages)),
    }
    return {
        f"{table}_embedding.weight": f"other {key}"
        for table, (key, value) in here.items()
        if key in there and there[key] != value
    }


def _files(start: str) -> list[Path]:
    """The safetensors files of a folder, of a run of job=vocoder, or of a model on the hub."""
    folder = Path(start)
    if (folder / VOCODER).is_dir():
        folder = folder / VOCODER
    elif not folder.is_dir():
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(start, allow_patterns=["*.safetensors"]))
        except hub_errors() as error:
            raise ValueError(
                f"vocoder.start={start} is neither a folder nor a model that the hub gives ({error}). Give one that exists"
            ) from error
    if not (files := sorted(folder.glob("*.safetensors"))):
        raise ValueError(f"vocoder.start={start} holds no *.safetensors. Save the model with save_pretrained")
    return files


def _tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a vocoder in a file, by their names in it."""
    try:
        with safe_open(path, "pt") as file:
            names = list(file.keys())
            prefix = _IN_A_WHOLE_MODEL if any(name.startswith(_IN_A_WHOLE_MODEL) for name in names) else ""
            for name in names:
                if name.startswith(prefix):
                    yield name.removeprefix(prefix), file.get_tensor(name).float()
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} cannot be read as safetensors weights ({error}); restore a copy") from error
