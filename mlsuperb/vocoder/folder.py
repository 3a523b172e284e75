"""A trained vocoder as a folder: config.json and model.safetensors, whose tensors have the names and the whole weights of
transformers' `SeamlessM4TCodeHifiGan`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mlsuperb.runs.store import why_unfinished
from mlsuperb.runtime.files import whole_folder, write_json
from mlsuperb.runtime.records import json_object
from mlsuperb.vocoder.generator import Shape, UnitVocoder, without_weight_norm

VOCODER, CONFIG_FILE, WEIGHTS_FILE = "vocoder", "config.json", "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class Voice:
    """Units, speakers and languages of a vocoder.

    Args:
        codebook: sha256 of the codebook of its units.
        rate_hz: units per second.
        num_units: they are from 0 to `num_units` - 1.
        speakers, languages: names by their number in the embeddings; empty where it has none.
    """

    codebook: str
    rate_hz: float
    num_units: int
    speakers: tuple[str, ...]
    languages: tuple[str, ...]


def save_vocoder(folder: Path, vocoder: UnitVocoder, voice: Voice, *, about: Mapping[str, Any]) -> None:
    """Write the folder, whole or not at all.

    Args:
        about: where it comes from.

    Raises:
        OSError: the disk is full.
    """
    tensors = without_weight_norm({name: one.detach().float().cpu() for name, one in vocoder.state_dict().items()})
    with whole_folder(folder) as unfinished:
        save_file({name: one.contiguous() for name, one in tensors.items()}, unfinished / WEIGHTS_FILE)
        content = {"mlsuperb": "vocoder", **asdict(voice), "shape": asdict(vocoder.shape), "about": dict(about)}
        write_json(unfinished / CONFIG_FILE, content)


def load_vocoder(given: Path, *, device: torch.device | str = "cpu") -> tuple[UnitVocoder, Voice]:
    """The vocoder, without weight norm, of a finished run of job=vocoder or of the folder `vocoder` in it.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    folder = given / VOCODER if (given / VOCODER).is_dir() else given
    config = read_config(folder)
    if config is None:
        why = why_unfinished(given) if given.is_dir() else "there is no such folder"
        raise ValueError(
            f"{given} holds no vocoder ({why or CONFIG_FILE + ' is not that of a vocoder'}). Give the folder of a finished run "
            "of job=vocoder, or the folder vocoder in it"
        )
    try:
        shape, voice = (
            Shape(**_tupled(config["shape"])),
            Voice(**_tupled({f.name: config[f.name] for f in fields(Voice)})),
        )
        vocoder = UnitVocoder(shape)
        vocoder.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{folder} cannot be read as a vocoder ({error}); restore a copy, or train it anew") from error
    return vocoder.to(device).eval(), voice


def weights_sha256(given: Path) -> str:
    """Of the vocoder that `load_vocoder` reads there."""
    folder = given / VOCODER if (given / VOCODER).is_dir() else given
    return hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()


def read_config(folder: Path) -> dict[str, Any] | None:
    """config.json of a folder that `save_vocoder` wrote; None for another folder."""
    path = folder / CONFIG_FILE
    content = json_object(path, remedy="Restore a copy of the model") if path.is_file() else {}
    return content if content.get("mlsuperb") == "vocoder" else None


def _tupled(values: Mapping[str, Any]) -> dict[str, Any]:
    """With JSON's lists as the tuples that they were."""

    def tupled(value: Any) -> Any:
        return tuple(map(tupled, value)) if isinstance(value, Sequence) and not isinstance(value, str) else value

    return {name: tupled(value) for name, value in values.items()}
