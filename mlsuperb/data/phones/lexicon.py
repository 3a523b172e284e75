"""Phones from pronunciation lexicons that are given."""

from __future__ import annotations

import logging
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from mlsuperb.data.phones.ipa import split
from mlsuperb.data.phones.source import GivenPhones, Spoken
from mlsuperb.runtime.lines import read_lines, wrong_lines
from mlsuperb.runtime.messages import plural, some

log = logging.getLogger(__name__)

NO_ENTRY = "a word without an entry in data.phones.path"
_NUM_SHOWN = 10
_EXTENSIONS = (".tsv", ".txt", ".dict", ".lex")

Lexicon = Mapping[str, tuple[str, ...]]


@dataclass(kw_only=True)
class Lexicons(GivenPhones):
    """Pronunciations of words, a line each: word, tab, phones with spaces between them (as in WikiPron). Where no line of a
    file has a space between phones (as in ipa-dict), they are IPA and parted as such (`ipa.split`). Of several pronunciations of
    a word the first counts; a warning says of how many words.

    Words are what white space parts in a transcript, without punctuation around them, as they stand or else in small letters;
    what is punctuation alone is no word.

    Args:
        path: a file for every language of the data, or a folder with a file for each, `<language>.tsv` (or txt, dict, lex).
        map: see `GivenPhones`.
        missing: of an utterance with a word that has no entry: `skip` it and count it, with a warning and a list of all such
            words (`MISSING_WORDS`, beside the manifest); or stop with an `error`.
    """

    missing: Literal["skip", "error"] = "skip"

    def __post_init__(self) -> None:
        self._lexicons: Mapping[Path, Lexicon] = {}  # of the languages that were checked

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        path, found = Path(str(settings["path"])), super().problems(**settings)
        if path.is_file() or (path.is_dir() and _files(path)):
            return found
        what = (
            f"holds no file {', '.join(f'<language>{one}' for one in _EXTENSIONS)}" if path.is_dir() else "is not there"
        )
        return [
            *found,
            f"data.phones.path={path} {what}. Give a lexicon (word, tab, phones), or a folder with one for each language.",
        ]

    def check(self, languages: Collection[str]) -> None:
        path = Path(self.path)
        if path.is_dir() and (without := sorted(set(languages) - _files(path).keys())):
            raise ValueError(
                f"data.phones.path={path} has no lexicon of {some(without)}: add {without[0]}.tsv and so on, or leave the "
                "languages out (data.languages=[...])"
            )
        lexicons = read_lexicons(sorted({self._file(language) for language in languages}))
        self._lexicons = {
            file: {word: self.ipa(pronunciation) for word, pronunciation in lines.items()}
            for file, lines in lexicons.items()
        }

    def sources(self) -> list[Path]:
        path = Path(self.path)
        return [*([*_files(path).values()] if path.is_dir() else [path]), *super().sources()]

    def spoken(self, rows: pd.DataFrame, *, language: str) -> list[Spoken]:
        file = self._file(language)
        found = [_spoken(text, self._lexicons[file]) for text in rows["text"]]
        if missing := Counter(word for one in found for word in one.missing):
            words = ", ".join(word for word, _ in missing.most_common(_NUM_SHOWN))
            have = "has" if len(missing) == 1 else "have"
            message = f"{language}: {plural(len(missing), 'word')} {have} no entry in {file}, most often {words}"
            if self.missing == "error":
                raise ValueError(
                    f"{message}. Add them, or skip their utterances and have all such words listed in a file "
                    "(data.phones.missing=skip)"
                )
            log.warning(
                "%s; %d of %d utterances are skipped", message, sum(bool(one.why_not) for one in found), len(found)
            )
        return found

    def _file(self, language: str) -> Path:
        path = Path(self.path)
        return _files(path)[language] if path.is_dir() else path


def read_lexicons(paths: Sequence[Path]) -> dict[Path, dict[str, str]]:
    """The first pronunciation of each word (NFC) of each lexicon, with spaces between its phones. A warning says how many words
    have others.

    Raises:
        ValueError: lines have no tab or no phones, or a lexicon has no line.
    """
    found: dict[Path, dict[str, str]] = {}
    wrong: list[str] = []
    for path in paths:
        lines = found[path] = {}
        several: dict[str, None] = {}
        for number, line in read_lines(path):
            word, _, pronunciation = (part.strip() for part in line.partition("\t"))
            word = unicodedata.normalize("NFC", word)
            if line and not (word and pronunciation):
                wrong.append(f"{path}, line {number}: '{line}'")
            elif line and lines.setdefault(word, pronunciation) != pronunciation:
                several[word] = None
        if several:
            log.warning(
                "%s: more than one pronunciation of %s, of which the first is used (%s)",
                path, plural(len(several), "word"), some(list(several)),
            )  # fmt: skip
    if wrong:
        raise ValueError(f"{wrong_lines(wrong, what='no entry')}. A line holds a word, a tab and phones")
    if empty := [str(path) for path, lines in found.items() if not lines]:
        raise ValueError(f"{some(empty)} is empty: a lexicon holds lines of a word, a tab and phones")
    return {path: _with_spaces(lines) for path, lines in found.items()}


def _with_spaces(lines: dict[str, str]) -> dict[str, str]:
    if any(" " in one for one in lines.values()):
        return lines
    return {word: " ".join(split(pronunciation)) for word, pronunciation in lines.items()}


def _spoken(text: str, lexicon: Lexicon) -> Spoken:
    tokens = unicodedata.normalize("NFC", text).split()
    words = [word for token in tokens if (word := _without_punctuation(token))]
    entries = {word: lexicon.get(word, lexicon.get(word.lower())) for word in words}
    missing = tuple(word for word in words if entries[word] is None)
    if missing:
        return Spoken(why_not=NO_ENTRY, missing=missing)
    return Spoken(tuple(phone for word in words for phone in entries[word] or ()))


def _without_punctuation(token: str) -> str:
    inner = [at for at, sign in enumerate(token) if unicodedata.category(sign)[0] not in "PS"]
    return token[inner[0] : inner[-1] + 1] if inner else ""


def _files(folder: Path) -> dict[str, Path]:
    """The lexicons of a folder by language."""
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in _EXTENSIONS}
