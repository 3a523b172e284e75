"""Writing the built-in corpus:

<folder>/README.md                                            says that it is synthetic
<folder>/settings.json                                        what the bytes depend on; written last: the tree is whole
<folder>/corpus/<dataset>/<language>/wav/<utterance id>.wav   16 kHz, 16 bit, mono
<folder>/corpus/<dataset>/<language>/transcript_10min_{train,dev,test}.txt   utterance id, seconds, text; tabs between
<folder>/corpus/<dataset>/<language>/transcript_1h_train.txt  where more than 10 minutes of training speech are wanted
<folder>/corpus/<dataset>/<language>/utt2spk
"""

from __future__ import annotations

import fcntl
import json
import os
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import blake2b
from importlib.metadata import version
from itertools import count
from pathlib import Path

from tqdm import tqdm

from mlsuperb.data.synthesis.espeak import Synthesiser
from mlsuperb.data.synthesis.languages import SpokenLanguage, spoken_language
from mlsuperb.data.synthesis.recording import OUTPUT_RATE_HZ
from mlsuperb.data.synthesis.sentences import perform, script
from mlsuperb.data.synthesis.voices import Condition, conditions
from mlsuperb.data.synthesis.words import Word, vocabulary

CORPUS_VERSION = 1  # raise it whenever the same settings would give other bytes
SMALL_MINUTES = 10.0  # training speech in the 10min list
_BYTES_A_SECOND = 2 * OUTPUT_RATE_HZ
_BAR = "making synthetic speech"
_BAR_FORMAT = "{desc}: {percentage:3.0f} %|{bar}| {elapsed} < {remaining}"
_README = """# Synthetic speech

Made by mlsuperb's built-in corpus: random words (CLDR, from Babel) read by espeak-ng. No person speaks here, and the
sentences mean nothing. It is for trying out the toolkit; no number measured on it says anything about real speech.
"""


@dataclass(frozen=True, kw_only=True)
class TreeSettings:
    """What to make. `minutes` of training speech and `test_minutes` of dev and of test speech for each (language,
    dataset); `datasets` are names out of `voices.conditions()`."""

    languages: tuple[str, ...]
    datasets: tuple[str, ...]
    minutes: float
    test_minutes: float
    seed: int

    def identity(self) -> dict[str, object]:
        """Everything that the bytes depend on."""
        return {
            **asdict(self),
            "languages": sorted(set(self.languages)),
            "datasets": sorted(set(self.datasets)),
            "synthetic": True,
            "corpus_version": CORPUS_VERSION,
            "espeakng-loader": version("espeakng-loader"),
            "Babel": version("Babel"),
        }


def tree_folder(root: Path, settings: TreeSettings) -> Path:
    """Where the tree of these settings belongs: another folder for every other outcome."""
    text = json.dumps(settings.identity(), sort_keys=True)
    return root / blake2b(text.encode(), digest_size=4).hexdigest()


def make_tree(root: Path, settings: TreeSettings) -> Path:
    """Write the tree unless it is there; return the folder that holds the dataset folders.

    A (language, dataset) that an interrupted call finished is kept; two calls at a time wait for each other.

    Raises:
        ValueError: an unknown language, or the extra `synthetic` is not installed.
    """
    folder = tree_folder(root, settings)
    marker = folder / "settings.json"
    if marker.is_file():
        return folder / "corpus"
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / ".lock"):
        if not marker.is_file():
            (folder / "README.md").write_text(_README, encoding="utf-8")
            _write_pairs(folder / "corpus", settings)
            _write_at_once(marker, json.dumps(settings.identity(), indent=2) + "\n")
    return folder / "corpus"


def _write_pairs(corpus: Path, settings: TreeSettings) -> None:
    synthesiser = Synthesiser()
    languages = [spoken_language(code) for code in sorted(set(settings.languages))]
    datasets = sorted(set(settings.datasets))
    pair_s = round(60 * (settings.minutes + 2 * settings.test_minutes))
    # `disable=None`: no bar where nobody looks at a terminal
    total_s = len(languages) * len(datasets) * pair_s
    with tqdm(total=total_s, desc=_BAR, bar_format=_BAR_FORMAT, disable=None) as progress:
        for language in languages:
            words: list[Word] = []
            for dataset in datasets:
                pair = corpus / dataset / language.code
                if (pair / "utt2spk").is_file():
                    progress.update(pair_s)
                    continue
                words = words or vocabulary(language, synthesiser)
                _PairWriter(pair, settings, conditions()[dataset], language, words, synthesiser, progress).write()


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
        """All files of the (language, dataset); `utt2spk` last, as the sign that the others are whole."""
        (self.folder / "wav").mkdir(parents=True, exist_ok=True)
        speakers: list[str] = []
        train_minutes, test_minutes = self.settings.minutes, self.settings.test_minutes
        for split, split_minutes in (("train", train_minutes), ("dev", test_minutes), ("test", test_minutes)):
            lines: list[str] = []
            small: list[str] = []  # as much as fits into the 10min list
            spoken_s = 0.0
            for utterance_id, speaker_name, text, duration_s in self._utterances(split, split_minutes):
                spoken_s += duration_s
                lines.append(f"{utterance_id}\t{duration_s:.2f}\t{text}\n")
                speakers.append(f"{utterance_id}\t{speaker_name}\n")
                if split != "train" or spoken_s <= SMALL_MINUTES * 60:
                    small.append(lines[-1])
            self._write(f"transcript_10min_{split}.txt", small)
            if split == "train" and split_minutes > SMALL_MINUTES:
                self._write("transcript_1h_train.txt", lines)
        self._write("utt2spk", speakers)

    def _utterances(self, split: str, minutes: float) -> Iterator[tuple[str, str, str, float]]:
        """Speak and store utterances until the next would pass `minutes`, at least one: id, speaker, text, seconds."""
        left_s = minutes * 60
        for index in count():
            part = script(
                index,
                seed=self.settings.seed,
                condition=self.condition,
                language=self.language,
                split=split,
                words=self.words,
            )
            audio = perform(part, self.synthesiser, language=self.language, condition=self.condition)
            duration_s = len(audio) / _BYTES_A_SECOND
            if index > 0 and duration_s > left_s:
                return
            left_s -= duration_s
            _write_wav(self.folder / "wav" / f"{part.id}.wav", audio)
            self.progress.update(duration_s)
            yield part.id, part.speaker.name, part.text, duration_s

    def _write(self, name: str, lines: list[str]) -> None:
        _write_at_once(self.folder / name, "".join(lines))


def _write_wav(path: Path, audio: bytes) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(OUTPUT_RATE_HZ)
        file.writeframes(audio)


def _write_at_once(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(text, encoding="utf-8")
    os.replace(scratch, path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock that the system gives back even when the process is killed."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
