"""What the published ML-SUPERB archives hold, and whether a copy of one is whole.

The lists are ESPnet's (`egs2/ml_superb/asr1/local/data_prep.py` and its printout on the 8th archive); that the 7th
archive has two pairs more (azz in mexico-el, nor in NST) is inferred from its published counts, 143 languages and 271
pairs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from mlsuperb.data.audio import EXTENSIONS

TRANSCRIPTS = tuple(f"transcript_{name}.txt" for name in ("10min_train", "1h_train", "10min_dev", "10min_test"))
# Utterance ids begin with the dataset folder's name, except for these.
ID_PREFIXES = {"commonvoice": "cv", "googlei18n_asr": "googlei18n-asr", "googlei18n_tts": "googlei18n-tts"}

Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class ReleaseCheck:
    """A copy set against the published archives: `release` is the nearer one; missing and additional pairs are
    `dataset/language` names; transcripts and audio are what the pairs at hand lack."""

    release: Literal["7th", "8th"]
    num_pairs: int
    missing_pairs: list[str]
    additional_pairs: list[str]
    missing_transcripts: list[str]
    num_missing_audio: int
    missing_audio: list[str]  # the first few

    @property
    def whole(self) -> bool:
        """Whether the copy is exactly the release."""
        return not (self.missing_pairs or self.additional_pairs or self.missing_transcripts or self.num_missing_audio)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"whole": self.whole, **asdict(self)}


@cache
def _facts() -> dict[str, Any]:
    return json.loads(files("mlsuperb.data.corpora").joinpath("ml_superb_release.json").read_text(encoding="utf-8"))


def published_pairs(release: Literal["7th", "8th"]) -> frozenset[Pair]:
    """(language, dataset) of every pair in the release."""
    tables = [_facts()["pairs"]] + ([_facts()["only_7th"]] if release == "7th" else [])
    return frozenset(
        (language, dataset) for table in tables for dataset, codes in table.items() for language in codes.split()
    )


def few_shot_ids() -> dict[str, frozenset[str]]:
    """The ids of the training utterances that a reserved language keeps, for each of the 20."""
    return {
        language: frozenset(f"{prefix}_{language}_{one:06d}" for prefix, numbers in table.items() for one in numbers)
        for language, table in _facts()["few_shot"].items()
    }


def mono_settings() -> dict[str, Pair]:
    """(language, training dataset) of every run of the monolingual track (`run_mono.sh`)."""
    return {name: (language, dataset) for name, (language, dataset) in _facts()["mono"].items()}


def dataset_of(utterance_id: str) -> str | None:
    """The dataset folder that an id `<prefix>_<language>_<number>` belongs to; None if the id has another form."""
    prefix = utterance_id.rsplit("_", 2)[0] if utterance_id.count("_") >= 2 else None
    return next((dataset for dataset, known in ID_PREFIXES.items() if known == prefix), prefix)


def pair_folders(root: Path) -> Iterator[tuple[str, str, Path]]:
    """(dataset, language, folder) of every pair of an ML-SUPERB tree, in alphabetical order."""
    for dataset in _visible_folders(root):
        for folder in _visible_folders(dataset):
            if any((folder / name).is_file() for name in TRANSCRIPTS):
                yield dataset.name, folder.name, folder


def audio_files(folder: Path) -> dict[str, str]:
    """Path of the audio of every utterance id in a pair's folder. Of several formats, the first of `EXTENSIONS`."""
    wav = folder / "wav"
    if not wav.is_dir():
        return {}
    rank = {extension: number for number, extension in enumerate(EXTENSIONS)}
    paths = (Path(os.path.abspath(wav), name) for name in os.listdir(wav) if not name.startswith("."))
    found = [path for path in paths if path.suffix.lower() in rank]
    found.sort(key=lambda path: -rank[path.suffix.lower()])
    return {path.stem: str(path) for path in found}


def check_release(root: Path) -> ReleaseCheck:
    """Set the tree at `root` against the 7th and the 8th archive. Looks for files; opens no audio."""
    present = {(language, dataset): folder for dataset, language, folder in pair_folders(root)}
    distance = {name: len(published_pairs(name) ^ present.keys()) for name in ("8th", "7th")}
    release: Literal["7th", "8th"] = "7th" if distance["7th"] < distance["8th"] else "8th"
    missing_transcripts, missing_audio = [], []
    for folder in present.values():
        missing_transcripts += [str(folder / name) for name in TRANSCRIPTS if not (folder / name).is_file()]
        audio = audio_files(folder)
        missing_audio += [f"{folder}/wav/{name}" for name in sorted(_transcribed(folder)) if name not in audio]
    return ReleaseCheck(
        release=release,
        num_pairs=len(present),
        missing_pairs=_names(published_pairs(release) - present.keys()),
        additional_pairs=_names(present.keys() - published_pairs(release)),
        missing_transcripts=missing_transcripts,
        num_missing_audio=len(missing_audio),
        missing_audio=missing_audio[:10],
    )


@dataclass(frozen=True, kw_only=True)
class AskedFor:
    """What a tree has of the pairs that were asked for, against the published archives: `flaws` are clauses, none where
    everything is there; `num_pairs` is how many of the release were asked for."""

    release: Literal["7th", "8th"]
    num_pairs: int
    flaws: list[str]


def check_asked_for(root: Path, *, wants: Callable[[str, str], bool], size: Literal["10min", "1h"]) -> AskedFor:
    """Set the (language, dataset) pairs that `wants` lets through against the release that the whole tree is nearest to.

    A tree is the 7th archive if it has one of the two pairs that only this one has, the 8th if it has all of that; the
    lists do not tell any other part of one from a part of the other, and that is a flaw. Looks for files; opens no audio.
    """
    folders = {(language, dataset): folder for dataset, language, folder in pair_folders(root)}
    seventh, eighth = published_pairs("7th"), published_pairs("8th")
    release: Literal["7th", "8th"] = "7th" if folders.keys() & (seventh - eighth) else "8th"
    published = frozenset(pair for pair in published_pairs(release) if wants(*pair))
    present = {pair: folder for pair, folder in folders.items() if wants(*pair)}
    flaws = []
    if release == "8th" and (num_absent := len(eighth - folders.keys())):
        flaws.append(f"{num_absent} of all {len(eighth)} pairs are absent, so that it may be a part of the 7th archive")
    needed = (f"transcript_{size}_train.txt", "transcript_10min_dev.txt", "transcript_10min_test.txt")
    found = {
        "missing pairs": _names(published - present.keys()),
        "pairs of no release": _names(present.keys() - published),
        "missing transcripts": [
            f"{folder.relative_to(root)}/{name}"
            for folder in present.values()
            for name in needed
            if not (folder / name).is_file()
        ],
        "missing audio": [
            name for folder in present.values() for name in sorted(_transcribed(folder, needed) - _audio_ids(folder))
        ],
    }
    for what, names in found.items():
        if names:
            more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
            flaws.append(f"{what}: {', '.join(names[:3])}{more}")
    return AskedFor(release=release, num_pairs=len(published), flaws=flaws)


def _audio_ids(folder: Path) -> set[str]:
    """The ids of `audio_files`, without making a path of each: a whole tree has 200,000."""
    wav = folder / "wav"
    names = os.listdir(wav) if wav.is_dir() else []
    parts = (os.path.splitext(name) for name in names if not name.startswith("."))
    return {stem for stem, extension in parts if extension.lower() in EXTENSIONS}


def _transcribed(folder: Path, names: tuple[str, ...] = TRANSCRIPTS) -> set[str]:
    """Every utterance id of a pair's transcripts."""
    ids: set[str] = set()
    for name in names:
        if (folder / name).is_file():
            with open(folder / name, encoding="utf-8-sig", errors="replace") as lines:
                ids.update(line.split(maxsplit=1)[0] for line in lines if line.strip())
    return ids


def _visible_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def _names(pairs: frozenset[Pair] | set[Pair]) -> list[str]:
    return sorted(f"{dataset}/{language}" for language, dataset in pairs)
