"""What is said in an utterance, by whom: a function of the seed, dataset, language, split and number alone."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from random import Random

from mlsuperb.data.synthesis.espeak import Synthesiser
from mlsuperb.data.synthesis.languages import SpokenLanguage
from mlsuperb.data.synthesis.recording import record
from mlsuperb.data.synthesis.voices import Condition, Speaker, speaker, variants
from mlsuperb.data.synthesis.words import Word

_MIN_WORDS, _MAX_WORDS = 3, 8
_MAX_PHONEMES = 75  # about 7 seconds
_FIRST_NUMBER = {"train": 0, "dev": 800_000, "test": 900_000}  # so that more minutes number no utterance anew
_SPLIT_OF_SENTENCE = ("train", "train", "dev", "test")  # by a hash of the sentence


@dataclass(frozen=True, kw_only=True)
class Script:
    """Everything that makes one utterance; `text` is its transcript, `spoken` what espeak-ng is given."""

    id: str
    text: str
    spoken: str
    speaker: Speaker
    rate_wpm: int
    pitch: int
    loudness: float
    seed: int


def script(
    index: int, *, seed: int, condition: Condition, language: SpokenLanguage, split: str, words: list[Word]
) -> Script:
    """The utterance number `index` of a (dataset, language, split)."""
    identity = f"{seed} {condition.name} {language.code} {split} {index}"
    rng = Random(f"utterance {identity}")
    chosen = _sentence(rng, language=language, split=split, words=words)
    names = variants(condition, split)
    who = speaker(names[index % len(names)])
    return Script(
        id=f"{condition.name}_{language.code}_{_FIRST_NUMBER[split] + index:06d}",
        text=language.joiner.join(chosen),
        spoken=" ".join(chosen),
        speaker=who,
        rate_wpm=int(who.rate_wpm * rng.uniform(0.92, 1.08)),
        pitch=int(who.pitch + rng.uniform(-6, 6)),
        loudness=rng.uniform(0.7, 1.3),
        seed=int(rng.random() * 2**31),
    )


def perform(script: Script, synthesiser: Synthesiser, *, language: SpokenLanguage, condition: Condition) -> bytes:
    """The utterance as 16 kHz, 16-bit little-endian mono audio."""
    samples_T = synthesiser.speak(
        script.spoken,
        voice=f"{language.voice}+{script.speaker.variant}",
        rate_wpm=script.rate_wpm,
        pitch=script.pitch,
        pitch_range=script.speaker.pitch_range,
        seed=script.seed,
    )
    return record(samples_T, condition, loudness=script.loudness, seed=script.seed).tobytes()


def _sentence(rng: Random, *, language: SpokenLanguage, split: str, words: list[Word]) -> list[str]:
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
