"""Run folders without the places of the machine that they were made on, to be passed on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from mlsuperb.data.audio import joined, pieces_of

_PART = r"[^\s/'\",;:()\[\]{}<>|=#]+"
# a path within other text: of two parts or more, or behind what introduces a value
_WITHIN = re.compile(rf"(?<![\w.:/~$-])/(?:{_PART}/)+(?={_PART})|(?<=[='\"\[,])/(?={_PART})")
_SETTING = re.compile(r"([+~]{0,2}[\w./@-]+=)(/.+)", re.DOTALL)


def without_places(value: Any) -> Any:
    """A JSON value in which only the last part of every absolute path is left: `/home/me/speech` is `speech`."""
    if isinstance(value, Mapping):
        return {without_places(key): without_places(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(one) for one in value]
    return _without(value) if isinstance(value, str) else value


def _without(text: str) -> str:
    setting = _SETTING.fullmatch(text)
    start, path = setting.groups() if setting else ("", text)
    if re.match(r"/\S", path) and "\n" not in path:
        return start + PurePosixPath(path).name
    return _WITHIN.sub("", text)


def roots_of(data: Mapping[str, Any]) -> list[str]:
    """The folders that the settings of a corpus name, those that its tables lie in included; the longest first."""
    found = {one for path in _paths(data) for one in (path, str(PurePosixPath(path).parent))}
    return sorted(found - {"/", ".", ""}, key=len, reverse=True)


def _paths(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping | list):
        for one in node.values() if isinstance(node, Mapping) else node:
            yield from _paths(one)
    elif isinstance(node, str) and "/" in node and "\n" not in node:
        yield str(PurePosixPath(node))


def audio_without_place(audio: str, roots: Iterable[str]) -> str:
    """The audio of an utterance, relative to the one of `roots` (`roots_of`) that it lies in; its name alone where it lies in
    none."""
    if pieces := pieces_of(audio):
        return joined([(audio_without_place(path, roots), start_s, duration_s) for path, start_s, duration_s in pieces])
    if not audio.startswith("/"):
        return audio
    for root in roots:
        before, found, inside = audio.partition(f"/{root.strip('/')}/")
        if found and (not before or not root.startswith("/")):
            return inside
    return PurePosixPath(audio).name
