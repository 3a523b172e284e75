"""What the published ML-SUPERB archives hold, and whether a copy of one is whole.

The lists are ESPnet's (`egs2/ml_superb/asr1/local/data_prep.py` and its printout on the 8th archive); that the 7th
archive has two pairs more (azz in mexico-el, nor in NST) is inferred from its published counts, 143 languages and 271
pairs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from mlsuperb.data.audio_file import EXTENSIONS

TRANSCRIPTS = tuple(f"transcript_{name}.txt" for name in ("10min_train", "1h_train", "10min_dev", "10min_test"))
# Utterance ids begin with the dataset folder's name, except for these.
ID_PREFIXES = {"commonvoice": "cv", "googlei18n_asr": "googlei18n-asr", "googlei18n_tts": "googlei18n-tts"}

Pair = tuple[str, str]
Release = Literal["7th", "8th"]


@dataclass(frozen=True, kw_only=True)
class ReleaseCheck:
    """What a tree has of the pairs that were asked for, against the published archive that it is nearest to. Pairs are
    `dataset/language` names, files are relative to the tree.

    Attributes:
        num_pairs: (language, dataset) pairs in the tree.
        num_published: pairs in the release, of those that were asked for.
        num_unseen: pairs of the 8th archive that the tree lacks, asked for or not, if it has none of the 7th alone: then it
            may be a part of either.
    """

    release: Release
    num_pairs: int
    num_published: int
    num_unseen: int
    missing_pairs: list[str]
    additional_pairs: list[str]
    missing_transcripts: list[str]
    missing_audio: list[str]

    @property
    def whole(self) -> bool:
        """Whether the copy is exactly what was asked for of the release."""
        return not (self.missing_pairs or self.additional_pairs or self.missing_transcripts or self.missing_audio)

    @property
    def is_other_data(self) -> bool:
        """Whether the tree has no pair of either archive: other data in their layout."""
        return self.num_unseen == len(published_pairs("8th"))

    def flaws(self) -> list[str]:
        """Why this is not surely the whole release: a clause each."""
        found = {
            "missing pairs": self.missing_pairs,
            "pairs of no release": self.additional_pairs,
            "missing transcripts": self.missing_transcripts,
            "missing audio": [Path(name).name for name in self.missing_audio],
        }
        clauses = []
        if self.num_unseen:
            num = len(published_pairs("8th"))
            clauses.append(
                f"{self.num_unseen} of all {num} pairs are absent, so that it may be a part of the 7th archive"
            )
        for what, names in found.items():
            more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
            clauses += [f"{what}: {', '.join(names[:3])}{more}"] if names else []
        return clauses

    def to_dict(self) -> dict[str, Any]:
        """For JSON, with the first few names of missing audio."""
        audio = {"num_missing_audio": len(self.missing_audio), "missing_audio": self.missing_audio[:10]}
        return {"whole": self.whole, **asdict(self), **audio}


@cache
def _facts() -> dict[str, Any]:
    return json.loads(files("mlsuperb.data.corpora").joinpath("ml_superb_release.json").read_text(encoding="utf-8"))


def published_pairs(release: Release) -> frozenset[Pair]:
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
    wav = os.path.abspath(folder / "wav")
    names = [name for name in os.listdir(wav) if not name.startswith(".")] if os.path.isdir(wav) else []
    rank = {extension: number for number, extension in enumerate(EXTENSIONS)}
    parts = [(*os.path.splitext(name), name) for name in names]
    found = [(rank[end.lower()], stem, name) for stem, end, name in parts if end.lower() in rank]
    return {stem: os.path.join(wav, name) for _, stem, name in sorted(found, reverse=True)}


def check_release(
    root: Path, *, wants: Callable[[str, str], bool] = lambda *_: True, transcripts: Sequence[str] = TRANSCRIPTS
) -> ReleaseCheck:
    """Set the (language, dataset) pairs of the tree at `root` that `wants` lets through against the release that the whole
    tree is nearest to. Looks for files; opens no audio.

    A tree is the 7th archive if it has one of the two pairs that only this one has, the 8th otherwise; the lists do not tell
    any other part of one from a part of the other.
    """
    folders = {(language, dataset): folder for dataset, language, folder in pair_folders(root)}
    seventh, eighth = published_pairs("7th"), published_pairs("8th")
    release: Release = "7th" if folders.keys() & (seventh - eighth) else "8th"
    published = frozenset(pair for pair in published_pairs(release) if wants(*pair))
    present = {pair: folder for pair, folder in folders.items() if wants(*pair)}
    missing_transcripts, missing_audio = [], []
    for folder in present.values():
        place = folder.relative_to(root)
        missing_transcripts += [f"{place}/{name}" for name in transcripts if not (folder / name).is_file()]
        missing = _transcribed(folder, transcripts) - audio_files(folder).keys()
        missing_audio += [f"{place}/wav/{name}" for name in sorted(missing)]
    return ReleaseCheck(
        release=release,
        num_pairs=len(folders),
        num_published=len(published),
        num_unseen=len(eighth - folders.keys()) if release == "8th" else 0,
        missing_pairs=_names(published - present.keys()),
        additional_pairs=_names(present.keys() - published),
        missing_transcripts=missing_transcripts,
        missing_audio=missing_audio,
    )


def _transcribed(folder: Path, names: Sequence[str]) -> set[str]:
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
