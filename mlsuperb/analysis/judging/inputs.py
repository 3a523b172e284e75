"""What is judged: systems, which are folders of re-synthesised utterances, and the references to judge them by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from mlsuperb.data.audio import load_audio
from mlsuperb.data.audio_file import audio_info
from mlsuperb.data.corpora.tables import read_columns
from mlsuperb.data.languages import language_problems
from mlsuperb.data.manifest import read_manifest, records
from mlsuperb.runtime.messages import some
from mlsuperb.types import SAMPLE_RATE_HZ, Utterance

RECORDINGS = "recordings"  # the system that is the corpus' own audio
_IDS = ("id", "utterance")  # names of the column of ids


class Clip(NamedTuple):
    """Where the audio of an utterance is."""

    audio: str
    start_s: float = 0.0
    duration_s: float | None = None

    def wave(self) -> np.ndarray:
        """The wave (T,), float32 at 16 kHz."""
        return load_audio(self.audio, start_s=self.start_s, duration_s=self.duration_s)


class Reference(NamedTuple):
    """What is said in an utterance."""

    id: str
    language: str
    text: str


@dataclass(frozen=True)
class System:
    """A name and the audio of every utterance, in the order of the references."""

    name: str
    clips: tuple[Clip, ...]


class References(NamedTuple):
    """The utterances, and their recordings where these are known."""

    utterances: tuple[Reference, ...]
    recordings: System | None


def read_references(path: Path, *, language: str | None, split: str, num: int | None) -> References:
    """The references in a table with a header (columns id or utterance, text, and language unless `language` is given; CSV, TSV
    or JSON lines), or those of a split of a manifest (`manifest.parquet`).

    Args:
        language: keep the rows in this one (ISO 639-3); of a table without such a column, the language of all rows.
        num: utterances of each language, chosen at random; None: all.

    Raises:
        ValueError: the file is missing or holds no such table or no text, or names a language that is none.
    """
    if path.suffix == ".parquet":
        return references_of(read_manifest(path), split=split, language=language, num=num)
    table, names = read_columns(path, (*_IDS, "text", "language"))
    known = next((name for name in _IDS if name in table.columns), None)
    said = "language" in table.columns
    lacking = [
        *(["id (or utterance)"] if known is None else []),
        *(["text"] if "text" not in table.columns else []),
        *(["language (or give --language)"] if language is None and not said else []),
    ]
    if lacking:
        raise ValueError(
            f"{path} lacks the column {' and the column '.join(lacking)}; it has {', '.join(names)}. References are a "
            "table with a header and one row per utterance."
        )
    languages = table["language"] if said else language
    frame = pd.DataFrame({"id": table[known], "language": languages, "text": table["text"]})
    return References(_checked(_chosen(_spoken_in(frame, language), num), place=str(path)), None)


def references_of(manifest: pd.DataFrame, *, split: str, language: str | None, num: int | None) -> References:
    """The same of a split of a manifest, with the corpus' own audio.

    Raises:
        ValueError: there is no such split or language, or none of its utterances has text.
    """
    rows = manifest[manifest["split"] == split]
    if rows.empty:
        there = ", ".join(sorted(set(manifest["split"])))
        raise ValueError(f"there is no split {split!r}; give one of {there} (--split)")
    utterances = records(_chosen(_spoken_in(rows, language), num), Utterance)
    checked = _checked(pd.DataFrame(utterances)[["id", "language", "text"]], place=f"split {split}")
    clips = tuple(Clip(one.audio, one.start_s, one.duration_s) for one in utterances)
    return References(checked, System(RECORDINGS, clips))


def read_system(name: str, folder: Path, references: Sequence[Reference]) -> System:
    """The files `<utterance id>.wav` of a folder.

    Raises:
        ValueError: there is no such folder, or utterances have no file, or an empty one.
    """
    if not folder.is_dir():
        raise ValueError(
            f"{name}={folder}: there is no such folder. A system is a folder with one <utterance id>.wav each."
        )
    paths = [folder / f"{one.id}.wav" for one in references]
    if missing := [path.name for path in paths if not path.is_file()]:
        raise ValueError(
            f"{name}={folder} lacks {len(missing):,} of {len(paths):,} utterances ({some(missing)}). Every system is judged on "
            "the same utterances: synthesise the rest, or give references of fewer (--references, --split, --num)."
        )
    if empty := [path.name for path in paths if audio_info(str(path)).duration_s <= 0]:
        raise ValueError(f"{name}={folder}: {some(empty)} have no samples; synthesise them again")
    return System(name, tuple(Clip(str(path)) for path in paths))


def resampled(systems: Iterable[System]) -> list[str]:
    """A remark for each system with files at another rate than 16 kHz."""
    remarks = []
    for system in systems:
        rates = [audio_info(clip.audio).rate_hz for clip in system.clips if not clip.audio.startswith("pieces:")]
        if others := [rate for rate in rates if rate != SAMPLE_RATE_HZ]:
            found = ", ".join(f"{rate:,}" for rate in sorted(set(others)))
            remarks.append(
                f"{system.name}: {len(others):,} files of {found} Hz were resampled to {SAMPLE_RATE_HZ:,} Hz"
            )
    return remarks


def split_words(words: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """Words SYSTEM=DIR by name, and the settings of a corpus among them (data=..., data.root=...).

    Raises:
        ValueError: a word is neither, or names a system twice.
    """
    systems: dict[str, Path] = {}
    settings = []
    for word in words:
        name, sign, value = word.partition("=")
        if name == "data" or name.startswith(("data.", "+data.")):
            settings.append(word)
        elif not (name and sign and value):
            raise ValueError(f"{word!r} is no system; give NAME=FOLDER, with the folder of its <utterance id>.wav")
        elif name in systems:
            raise ValueError(f"the system {name!r} is given twice; give each a name of its own")
        else:
            systems[name] = Path(value)
    return systems, settings


def by_language(languages: Iterable[str]) -> Mapping[str, list[int]]:
    """The places of the utterances of each language, given the language of each utterance; languages by code."""
    places: dict[str, list[int]] = {}
    for place, language in enumerate(languages):
        places.setdefault(language, []).append(place)
    return dict(sorted(places.items()))


def _spoken_in(rows: pd.DataFrame, language: str | None) -> pd.DataFrame:
    """The rows in a language; None: all."""
    kept = rows if language is None else rows[rows["language"] == language]
    if kept.empty and not rows.empty:
        there = ", ".join(sorted(set(rows["language"])))
        raise ValueError(f"no utterance is in {language!r}; there are {there} (--language)")
    return kept


def _chosen(rows: pd.DataFrame, num: int | None) -> pd.DataFrame:
    """At most `num` rows of each language, always the same ones, in their order."""
    if num is None:
        return rows
    if num < 1:
        raise ValueError(f"--num is {num}; give 1 or more utterances of each language")
    return rows.sample(frac=1, random_state=0).groupby("language").head(num).sort_index()


def _checked(rows: pd.DataFrame, *, place: str) -> tuple[Reference, ...]:
    found = tuple(Reference(*map(str, row)) for row in rows.itertuples(index=False, name=None))
    if not found:
        raise ValueError(f"{place} holds no utterance")
    if not any(one.text.strip() for one in found):
        raise ValueError(
            f"{place}: none of the {len(found):,} utterances has a text, so transcripts cannot be compared with any. Give the "
            "texts as a table (--references), or a corpus or split with transcripts"
        )
    if repeated := sorted(set(rows["id"][rows["id"].duplicated()])):
        raise ValueError(
            f"{place}: {len(repeated)} ids stand there more than once ({some(repeated)}); each needs its own"
        )
    if problems := language_problems(sorted({one.language for one in found}), setting=f"the language of {place}"):
        raise ValueError(" ".join(problems))
    return found
