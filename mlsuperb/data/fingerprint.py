"""What a stored manifest depends on: the settings of its reader, and the corpus' lists and folders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mlsuperb.data.corpora.base import Reader
from mlsuperb.data.phones.source import PhoneSource
from mlsuperb.data.preparation import Preparation
from mlsuperb.runtime.files import stamp

MANIFEST_VERSION = 4  # raise it when the same corpus and settings would give another manifest

# settings that old manifests lack: with these values they change nothing
_ADDED_SINCE = {
    "text": "required",
    "preparation": None,
    "phones": None,
    "decode": True,
    "hours_seed": None,
    "keep_quality": None,
    "path": None,
    "codes": None,
    "map_codes": True,
    "held_out": None,
    "few_shot": "all",
}


def fingerprint(corpus: Reader) -> str:
    """Changes with the settings and with the size or time of any source."""
    identity = [MANIFEST_VERSION, _settings(corpus), [_stamped(path.absolute()) for path in corpus.sources()]]
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()


def _settings(value: Any) -> Any:
    """The settings of a reader and of readers in it, each with its class."""
    if isinstance(value, Mapping):
        return {key: _settings(inner) for key, inner in value.items()}
    if isinstance(value, Preparation):
        return {**asdict(value), "sources": [_stamped(path) for path in value.sources()]}
    if isinstance(value, PhoneSource):
        packages = {name: version(name) for name in value.packages}
        stamps = [_stamped(path) for path in value.sources()]
        given = {name: setting for name, setting in asdict(value).items() if (name, setting) != ("map", None)}
        return {"source": _class_name(value), **given, "sources": stamps, "packages": packages}
    if not isinstance(value, Reader):
        return value
    given = {field.name: _settings(getattr(value, field.name)) for field in fields(value)}
    kept = {name: setting for name, setting in given.items() if _ADDED_SINCE.get(name, ...) != setting}
    return {"reader": _class_name(value), **kept}


def _class_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _stamped(path: Path) -> tuple[str, int, int]:
    return (str(path), *stamp(path))
