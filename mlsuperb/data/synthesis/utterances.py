"""What is said in an utterance, and by whom: a function of the seed, dataset, language, split and number alone."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Any, NamedTuple

from mlsuperb.data.synthesis.espeak import Synthesiser
from mlsuperb.data.synthesis.languages import SpokenLanguage, Word
from mlsuperb.data.synthesis.recording import Condition, record

# Variants of espeak-ng 1.52 that sound like people: no robots, whispers, Klatt synthesisers or strong echoes. The
# speakers of dev and test are in no training set; their pitch and formants lie within the range of the others.
DEV_VARIANTS = ("f4", "m4", "Annie", "victor")
TEST_VARIANTS = ("f2", "linda", "f5", "m3", "m6", "robert")
_MIN_WORDS, _MAX_WORDS = 3, 8
_MAX_PHONEMES = 75  # about 7 seconds
_FIRST_NUMBER = {"train": 0, "dev": 800_000, "test": 900_000}  # so that more minutes number no utterance anew
_SPLIT_OF_SENTENCE = ("train", "train", "dev", "test")  # by a hash of the sentence


class Spoken(NamedTuple):
    """An utterance; `audio` is 16 kHz, 16-bit little-endian mono."""

    id: str
    speaker: str
    text: str
    audio: bytes


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How an utterance is read: its `words`, the variant of the voice that stands for a speaker, the settings of
    `Synthesiser.speak`, and its `loudness` in the recording."""

    words: list[str]
    variant: str
    settings: dict[str, Any]
    loudness: float

    @property
    def spoken_text(self) -> str:
        """What espeak-ng is given to read."""
        return " ".join(self.words)


def reading(
    index: int, *, seed: int, condition: Condition, language: SpokenLanguage, split: str, words: list[Word]
) -> Reading:
    """How the utterance number `index` of a (dataset, language, split) is read. A speaker has the same habits in every language
    and condition; those of dev and test are the same in every condition."""
    rng = Random(f"utterance {seed} {condition.name} {language.code} {split} {index}")
    chosen = random_sentence(rng, language=language, split=split, words=words)
    variants = {"train": condition.variants, "dev": DEV_VARIANTS, "test": TEST_VARIANTS}[split]
    variant = variants[index % len(variants)]
    habits = Random(f"speaker {variant}")
    rate_wpm, pitch, pitch_range = (int(habits.uniform(*limits)) for limits in ((140, 185), (38, 62), (35, 65)))
    rate_wpm, pitch = int(rate_wpm * rng.uniform(0.92, 1.08)), int(pitch + rng.uniform(-6, 6))
    loudness, noise_seed = rng.uniform(0.7, 1.3), int(rng.random() * 2**31)
    settings = {
        "voice": f"{language.voice}+{variant}",
        "rate_wpm": rate_wpm,
        "pitch": pitch,
        "pitch_range": pitch_range,
        "seed": noise_seed,
    }
    return Reading(words=chosen, variant=variant, settings=settings, loudness=loudness)


def speak(
    index: int,
    synthesiser: Synthesiser,
    *,
    seed: int,
    condition: Condition,
    language: SpokenLanguage,
    split: str,
    words: list[Word],
) -> Spoken:
    """The utterance number `index` of a (dataset, language, split), as `reading` describes it."""
    how = reading(index, seed=seed, condition=condition, language=language, split=split, words=words)
    samples_T = synthesiser.speak(how.spoken_text, **how.settings)
    return Spoken(
        id=f"{condition.name}_{language.code}_{_FIRST_NUMBER[split] + index:06d}",
        speaker=f"espeak-{how.variant}",
        text=language.joiner.join(how.words),
        audio=record(samples_T, condition, loudness=how.loudness, seed=how.settings["seed"]).tobytes(),
    )


def place_of(utterance_id: str) -> tuple[str, int]:
    """The split and the number in it of an utterance, from its id."""
    number = int(utterance_id.rpartition("_")[2])
    split = max((name for name, first in _FIRST_NUMBER.items() if first <= number), key=_FIRST_NUMBER.__getitem__)
    return split, number - _FIRST_NUMBER[split]


def random_sentence(rng: Random, *, language: SpokenLanguage, split: str, words: list[Word]) -> list[str]:
    """Random words. Every sentence there is belongs to one split, so that no split says what another has said."""
    while True:
        chosen: list[str] = []
        num_words, num_phonemes = int(rng.uniform(_MIN_WORDS, _MAX_WORDS + 1)), 0
        while len(chosen) < num_words and num_phonemes < _MAX_PHONEMES:
            word = words[int(rng.random() * len(words))]
            chosen.append(word.text)
            num_phonemes += word.num_phonemes
        sentence = f"{language.code} {language.joiner.join(chosen)}"
        if _SPLIT_OF_SENTENCE[blake2b(sentence.encode()).digest()[0] % len(_SPLIT_OF_SENTENCE)] == split:
            return chosen
