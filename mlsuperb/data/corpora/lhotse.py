"""Manifests of lhotse, read without it:

cuts_train.jsonl.gz                                          MonoCuts of recordings in files; features are not looked at
recordings_train.jsonl.gz, supervisions_train.jsonl.gz       or these: every supervision is an utterance

Names may have more in them (`librispeech_cuts_train-clean-100.jsonl.gz`); `.jsonl` need not be compressed.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mlsuperb.data.corpora.base import folder_problems
from mlsuperb.data.corpora.own import OwnCorpus
from mlsuperb.data.corpora.usual_names import split_in
from mlsuperb.data.skips import SkipReport
from mlsuperb.runtime.lines import is_text
from mlsuperb.runtime.records import load_json
from mlsuperb.types import Utterance

SUFFIXES = (".jsonl", ".jsonl.gz")
OTHER_CUT = "cut of several recordings (MixedCut, PaddingCut)"
NO_RECORDING = "cut or supervision without a recording"
CHANGED = "recording that lhotse changes when it reads it (transforms)"
ONE_CHANNEL = "one channel of a recording with several"


class _Place(NamedTuple):
    """Where a recording is: the path of its file, its channels and seconds; `fault`, why it cannot be used."""

    audio: str
    num_channels: int
    duration_s: float
    fault: str = ""


@dataclass(kw_only=True)
class Lhotse(OwnCorpus):
    """Reader of manifests of lhotse.

    Args:
        root: a folder of manifests, whose names tell the splits: all that belong to a split are read. Null: they are given one
            by one.
        train: cuts or supervisions of the training split; the recordings of `NAME_supervisions_X` are in `NAME_recordings_X`.
            Null: there is none; likewise `dev` and `test`.
        dev: of the validation split.
        test: of the test split.
        language: of supervisions that name none; null: such a one is an error.
        dataset: of cuts that name none (`custom.dataset`).
        audio_root: where relative paths of audio begin; as in lhotse, the folder in which a command is given.
    """

    root: str | None = None
    train: str | None = None
    dev: str | None = None
    test: str | None = None
    language: str | None = None
    dataset: str = "lhotse"
    audio_root: str = "."

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        found, root = super().problems(**settings), settings.get("root")
        paths = {split: str(settings[split]) for split in ("train", "dev", "test") if settings.get(split) is not None}
        if (root is None) == (not paths):
            return [*found, "give data.root, a folder of manifests, or data.train, data.dev and data.test, not both."]
        remedy = "Give the folder that holds cuts_train.jsonl.gz and the like."
        if root is not None:
            if bad_root := folder_problems(root, setting="data.root", remedy=remedy):
                return found + bad_root
            if not manifests_in(Path(root)):
                found.append(f"data.root={root} holds no cuts and no supervisions whose names tell a split. {remedy}")
        for split, path in paths.items():
            if not Path(path).is_file():
                found.append(
                    f"data.{split}={path}: there is no such file. Give the path of cuts or supervisions, or null."
                )
            elif not path.endswith(SUFFIXES):
                found.append(
                    f"data.{split}={path}: the file must end in .jsonl or .jsonl.gz (lhotse copy converts it)."
                )
        return found

    def sources(self) -> list[Path]:
        root = [] if self.root is None else [Path(self.root)]
        return [*root, *(path for _, path in self._manifests()), *(_recordings(path) for _, path in self._manifests())]

    def _manifests(self) -> list[tuple[str, Path]]:
        return self._split_paths() if self.root is None else manifests_in(Path(self.root))

    def _rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        for split, path in self._manifests():
            places: dict[str, _Place] | None = None
            for number, item in objects(path):
                try:
                    if "recording_id" in item and places is None:
                        places = self._places(path)
                    row = self._row(item, places or {}, split=split, skipped=skipped)
                except (ValueError, TypeError, AttributeError, LookupError) as error:
                    raise ValueError(
                        f"{path}, line {number}: this is neither a MonoCut nor a supervision of lhotse ({error}). Write the "
                        "manifest again with lhotse."
                    ) from error
                if row is not None and not row.language:
                    raise ValueError(
                        f"{path}, line {number}: {row.id!r} names no language. Give that of all such rows: data.language=CODE."
                    )
                if row is not None:
                    yield row

    def _row(
        self, item: Mapping[str, Any], places: Mapping[str, _Place], *, split: str, skipped: SkipReport
    ) -> Utterance | None:
        """The utterance of a cut or of a supervision; None where it is counted in `skipped`."""
        if "tracks" in item or item.get("type") in ("MixedCut", "PaddingCut"):
            skipped.add(OTHER_CUT, str(item["id"]), split=split)
            return None
        if "recording_id" in item:
            said, place = [item], places.get(item["recording_id"])
        else:
            said = sorted(item.get("supervisions") or [{}], key=lambda one: float(one.get("start", 0)))
            place = self._place(item["recording"]) if item.get("recording") else None
        channels = item.get("channel", 0)
        num_channels = len(channels) if isinstance(channels, list) else 1
        fault = NO_RECORDING if place is None else place.fault
        if place is not None and not fault and num_channels < place.num_channels:
            fault = ONE_CHANNEL
        if place is None or fault:
            skipped.add(fault, str(item["id"]), split=split)
            return None
        custom = item.get("custom") or {}
        row = Utterance(
            id=item["id"],
            audio=place.audio,
            start_s=float(item["start"]),
            duration_s=float(item["duration"]),
            text=" ".join(one["text"].strip() for one in said if one.get("text")),
            language=said[0].get("language") or custom.get("language") or self.language or "",
            dataset=custom.get("dataset") or self.dataset,
            split=split,
            speaker=said[0].get("speaker") or "",
        )
        if not (math.isfinite(row.start_s + row.duration_s) and all(map(is_text, (row.id, row.text, row.language)))):
            raise ValueError("its times are not finite, or a text of it is not Unicode")
        return row

    def _places(self, supervisions: Path) -> dict[str, _Place]:
        """The recordings of supervisions, by their ids."""
        path = _recordings(supervisions)
        if path == supervisions or not path.is_file():
            raise ValueError(f"its recordings are looked for in {path.name}, which is not there")
        return {item["id"]: self._place(item) for _, item in objects(path)}

    def _place(self, recording: Mapping[str, Any]) -> _Place:
        sources = recording["sources"]
        if len(sources) != 1 or sources[0]["type"] != "file":
            kinds = ", ".join(one["type"] for one in sources)
            raise ValueError(
                f"the recording {recording['id']} is not one file but {kinds or 'nothing'}; write its audio out first, with "
                "CutSet.save_audios, or as Shar, which data=shar reads"
            )
        audio = os.path.abspath(os.path.join(self.audio_root, sources[0]["source"]))
        num_channels = len(sources[0].get("channels") or [0])
        return _Place(audio, num_channels, float(recording["duration"]), CHANGED if recording.get("transforms") else "")


def manifests_in(folder: Path) -> list[tuple[str, Path]]:
    """(split, cuts or supervisions) of a folder. Supervisions of a split of which there are cuts, too, are left out."""
    named = [path for path in sorted(folder.iterdir()) if path.name.endswith(SUFFIXES)]
    listed = [(split, path) for path in named if (split := split_in(path.name.partition(".")[0]))]
    cuts = [(split, path) for split, path in listed if "cuts" in path.name]
    have_cuts = {split for split, _ in cuts}
    others = [(split, path) for split, path in listed if "supervisions" in path.name and split not in have_cuts]
    order = ("train", "dev", "test")
    return sorted((*cuts, *others), key=lambda one: order.index(one[0]))


def _recordings(supervisions: Path) -> Path:
    return supervisions.with_name(supervisions.name.replace("supervisions", "recordings"))


def objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, object with an id) of each line."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                item = load_json(line)
                if not (isinstance(item, dict) and isinstance(item.get("id"), str)):
                    raise ValueError(f"line {number} is no object with an id")
                yield number, item
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise ValueError(f"{path}: this is no manifest of lhotse that can be read ({error}). Copy it again.") from error
