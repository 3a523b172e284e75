"""Writing the built-in corpus:

<folder>/README.md                                            says that it is synthetic
<folder>/settings.json                                        what the bytes of every pair depend on
<folder>/corpus/<dataset>/<language>/wav/<utterance id>.wav   16 kHz, 16 bit, mono
<folder>/corpus/<dataset>/<language>/transcript_10min_{train,dev,test}.txt   utterance id, seconds, text; tabs between
<folder>/corpus/<dataset>/<language>/transcript_1h_train.txt  all the training speech; the 10min list is its beginning
<folder>/corpus/<dataset>/<language>/utt2spk

A (dataset, language) pair is made when it is first wanted, apart, and moved to its place when it is whole.
"""

from __future__ import annotations

import json
import os
import shutil
import wave
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import blake2b
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mlsuperb.data.synthesis.espeak import Synthesiser
from mlsuperb.data.synthesis.languages import LANGUAGES, SpokenLanguage, Word, vocabulary
from mlsuperb.data.synthesis.recording import CONDITIONS, Condition
from mlsuperb.data.synthesis.utterances import Spoken, speak
from mlsuperb.runtime import locks
from mlsuperb.runtime.files import write_atomic, write_json
from mlsuperb.types import SAMPLE_RATE_HZ

CORPUS_VERSION = 1  # raise it whenever the same settings would give other bytes
SMALL_MINUTES, LARGE_MINUTES = 10.0, 60.0  # training speech in the 10min list and in the 1h list
_BYTES_A_SECOND = 2 * SAMPLE_RATE_HZ
_BAR = "making synthetic speech"
_BAR_FORMAT = "{desc}: {percentage:3.0f} %|{bar}| {elapsed} < {remaining}"
_README = """# Synthetic speech

Made by mlsuperb's built-in corpus: random words (CLDR, from Babel) read by espeak-ng. No person speaks here, and the
sentences mean nothing. It is for trying out the toolkit; no number measured on it says anything about real speech.
"""


@dataclass(frozen=True, kw_only=True)
class TreeSettings:
    """How every pair of a tree is made: `minutes` of training speech, `test_minutes` of dev and of test speech."""

    minutes: float
    test_minutes: float
    seed: int

    def identity(self) -> dict[str, object]:
        """Everything that the bytes of a pair depend on, besides its language and dataset."""
        return {
            **asdict(self),
            "synthetic": True,
            "corpus_version": CORPUS_VERSION,
            "espeakng-loader": version("espeakng-loader"),
            "Babel": version("Babel"),
        }

    def folder(self, root: Path) -> Path:
        """Where the tree of these settings belongs: another folder for every other outcome."""
        text = json.dumps(self.identity(), sort_keys=True)
        return root / blake2b(text.encode(), digest_size=4).hexdigest()

    def pair_folder(self, root: Path, *, language: str, dataset: str) -> Path:
        """Where a pair belongs; it is there when it is whole."""
        return self.folder(root) / "corpus" / dataset / language


def make_tree(root: Path, settings: TreeSettings, *, pairs: Collection[tuple[str, str]]) -> Path:
    """Make those of the (language, dataset) pairs that are not there; return the folder that holds the dataset folders.

    What an interrupted call finished is kept; two calls at a time wait for each other. The tree may hold more: every
    corpus of the same settings shares it.

    Raises:
        ValueError: the extra `synthetic` is not installed.
    """
    folder = settings.folder(root)
    if _absent(root, settings, pairs):
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / ".lock"):
            write_atomic(folder / "README.md", [_README])
            write_json(folder / "settings.json", settings.identity())
            _write_pairs(folder, settings, _absent(root, settings, pairs))
    return folder / "corpus"


def _absent(root: Path, settings: TreeSettings, pairs: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs that are yet to make, those of a language together."""
    return [
        (language, dataset)
        for language, dataset in sorted(set(pairs))
        if not settings.pair_folder(root, language=language, dataset=dataset).is_dir()
    ]


def _write_pairs(folder: Path, settings: TreeSettings, pairs: list[tuple[str, str]]) -> None:
    synthesiser = Synthesiser()
    words: dict[str, list[Word]] = {}
    pair_s = round(60 * (settings.minutes + 2 * settings.test_minutes))
    # `disable=None`: no bar where nobody looks at a terminal
    with tqdm(total=len(pairs) * pair_s, desc=_BAR, bar_format=_BAR_FORMAT, disable=None) as progress:
        for code, dataset in pairs:
            language = LANGUAGES[code]
            if code not in words:
                words[code] = vocabulary(language, synthesiser)
            scratch, place = folder / "making" / dataset / code, folder / "corpus" / dataset / code
            shutil.rmtree(folder / "making", ignore_errors=True)  # what a killed call left
            _PairWriter(scratch, settings, CONDITIONS[dataset], language, words[code], synthesiser, progress).write()
            if place.parent.is_dir():
                os.replace(scratch, place)
            else:  # with its dataset folder, which nobody then sees empty
                place.parent.parent.mkdir(exist_ok=True)
                os.replace(scratch.parent, place.parent)
    shutil.rmtree(folder / "making", ignore_errors=True)


@dataclass(frozen=True)
class _PairWriter:
    folder: Path
    settings: TreeSettings
    condition: Condition
    language: SpokenLanguage
    words: list[Word]
    synthesiser: Synthesiser
    progress: tqdm

    def write(self) -> None:
        """All files of the (language, dataset)."""
        (self.folder / "wav").mkdir(parents=True, exist_ok=True)
        speakers: list[str] = []
        train_minutes, test_minutes = self.settings.minutes, self.settings.test_minutes
        for split, split_minutes in (("train", train_minutes), ("dev", test_minutes), ("test", test_minutes)):
            lines: list[str] = []
            small: list[str] = []  # as much as fits into the 10min list
            spoken_s = 0.0
            for one, duration_s in self._utterances(split, split_minutes):
                spoken_s += duration_s
                lines.append(f"{one.id}\t{duration_s:.2f}\t{one.text}\n")
                speakers.append(f"{one.id}\t{one.speaker}\n")
                if split != "train" or spoken_s <= SMALL_MINUTES * 60:
                    small.append(lines[-1])
            write_atomic(self.folder / f"transcript_10min_{split}.txt", small)
            if split == "train":
                write_atomic(self.folder / "transcript_1h_train.txt", lines)
        write_atomic(self.folder / "utt2spk", speakers)

    def _utterances(self, split: str, minutes: float) -> Iterator[tuple[Spoken, float]]:
        """Speak and store utterances until the next would pass `minutes`, at least one; with their seconds."""
        facts: dict[str, Any] = {"condition": self.condition, "language": self.language, "words": self.words}
        left_s = minutes * 60
        for index in count():
            one = speak(index, self.synthesiser, seed=self.settings.seed, split=split, **facts)
            duration_s = len(one.audio) / _BYTES_A_SECOND
            if index > 0 and duration_s > left_s:
                return
            left_s -= duration_s
            _write_wav(self.folder / "wav" / f"{one.id}.wav", one.audio)
            self.progress.update(duration_s)
            yield one, duration_s


def _write_wav(path: Path, audio: bytes) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(audio)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock that the system gives back even when the process is killed."""
    with path.open("w") as file:
        locks.lock(file)
        yield
