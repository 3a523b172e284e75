"""Phones from pronunciation lexicons that are given."""

from __future__ import annotations

import logging
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from mlsuperb.data.phones.ipa import phones, split
from mlsuperb.data.phones.source import PhoneSource, Spoken
from mlsuperb.runtime.lines import read_lines
from mlsuperb.runtime.messages import some

log = logging.getLogger(__name__)

NO_ENTRY = "a word without an entry in data.phones.path"
_NUM_SHOWN = 10
_EXTENSIONS = (".tsv", ".txt", ".dict", ".lex")

Lexicon = Mapping[str, tuple[str, ...]]


@dataclass(kw_only=True)
class Lexicons(PhoneSource):
    """Pronunciations of words, a line each: word, tab, phones with spaces between them (as in WikiPron). Where no line of a
    file has a space between phones (as in ipa-dict), they are IPA and parted as such (`ipa.split`). Of several lines of a word
    the first counts.

    Words are what white space parts in a transcript, without punctuation around them, as they stand or else in small letters;
    what is punctuation alone is no word.

    Args:
        path: a file for every language of the data, or a folder with a file for each, `<language>.tsv` (or txt, dict, lex).
        missing: of an utterance with a word that has no entry: `skip` it and count it, the words that are missing most often in a
            warning; or stop with an `error`.
    """

    path: str
    missing: Literal["skip", "error"] = "skip"

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        path = Path(str(settings["path"]))
        if path.is_file() or (path.is_dir() and _files(path)):
            return []
        what = (
            f"holds no file {', '.join(f'<language>{one}' for one in _EXTENSIONS)}" if path.is_dir() else "is not there"
        )
        return [
            f"data.phones.path={path} {what}. Give a lexicon (word, tab, phones), or a folder with one for each language."
        ]

    def check(self, languages: Collection[str]) -> None:
        path = Path(self.path)
        if path.is_dir() and (without := sorted(set(languages) - _files(path).keys())):
            raise ValueError(
                f"data.phones.path={path} has no lexicon of {some(without)}: add {without[0]}.tsv and so on, or leave the "
                "languages out (data.languages=[...])"
            )

    def sources(self) -> list[Path]:
        path = Path(self.path)
        return [*_files(path).values()] if path.is_dir() else [path]

    def spoken(self, rows: pd.DataFrame, *, language: str) -> list[Spoken]:
        path = Path(self.path)
        file = _files(path)[language] if path.is_dir() else path
        lexicon = read_lexicon(file)
        missing: Counter[str] = Counter()
        found = [_spoken(text, lexicon, missing) for text in rows["text"]]
        if missing:
            words = ", ".join(word for word, _ in missing.most_common(_NUM_SHOWN))
            message = f"{language}: {len(missing):,} words have no entry in {file}, most often {words}"
            if self.missing == "error":
                raise ValueError(f"{message}. Add them, or skip their utterances (data.phones.missing=skip)")
            log.warning(
                "%s; %d of %d utterances are skipped", message, sum(bool(one.why_not) for one in found), len(found)
            )
        return found


def read_lexicon(path: Path) -> Lexicon:
    """The phones of each word (NFC) of a lexicon.

    Raises:
        ValueError: a line has no tab or no phones, or there is none.
    """
    lines: dict[str, str] = {}
    for number, line in read_lines(path):
        word, _, pronunciation = (part.strip() for part in line.partition("\t"))
        if line and not (word and pronunciation):
            raise ValueError(f"{path}, line {number}: '{line}' is no entry. A line holds a word, a tab and phones")
        if line:
            lines.setdefault(unicodedata.normalize("NFC", word), pronunciation)
    if not lines:
        raise ValueError(f"{path} is empty: a lexicon holds lines of a word, a tab and phones")
    parted = phones if any(" " in one for one in lines.values()) else split
    return {word: tuple(parted(pronunciation)) for word, pronunciation in lines.items()}


def _spoken(text: str, lexicon: Lexicon, missing: Counter[str]) -> Spoken:
    words = [word for token in unicodedata.normalize("NFC", text).split() if (word := _without_punctuation(token))]
    entries = [lexicon.get(word, lexicon.get(word.lower())) for word in words]
    missing.update(word for word, entry in zip(words, entries, strict=True) if entry is None)
    found = tuple(phone for entry in entries if entry is not None for phone in entry)
    return Spoken(why_not=NO_ENTRY) if None in entries else Spoken(found)


def _without_punctuation(token: str) -> str:
    inner = [at for at, sign in enumerate(token) if unicodedata.category(sign)[0] not in "PS"]
    return token[inner[0] : inner[-1] + 1] if inner else ""


def _files(folder: Path) -> dict[str, Path]:
    """The lexicons of a folder by language."""
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in _EXTENSIONS}
