"""Corpora of any size for `scripts/bench/scale.py`: lengths, languages and transcripts as ML-SUPERB has them, silent audio."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mlsuperb.types import Hypothesis, Utterance

NUM_LANGUAGES, NUM_DATASETS = 142, 15  # ML-SUPERB 2.0, arXiv 2406.08641
NUM_WAVES = 200  # files with audio of their own; every other file is another name of one of them
SPLITS = {"train": 0.72, "dev": 0.14, "test": 0.14}  # of 171,000 utterances of the 1h set (`cache_hours.py`)
LETTERS_PER_S = 10.5  # 1,600,215 characters of test text in 24,256 utterances of 6.3 s (interspeech2024_dsu_challenge)
ERROR_RATE = 0.2  # of the characters of a hypothesis
PIECE = 2**20  # rows of a large manifest that are made at a time

# First code point and number of letters of a few scripts; Han as many as make a vocabulary of some 6,000
SCRIPTS = ((0x61, 26), (0x430, 32), (0x3B1, 24), (0x627, 36), (0x905, 53), (0xE01, 46), (0xAC00, 1200), (0x4E00, 4000))
SCRIPT_OF = (0, 0, 0, 0, 0, 1, 1, 2, 3, 3, 4, 4, 5, 6, 7)  # of every 15 languages, five write Latin letters


def languages() -> list[str]:
    """Codes of ISO 639-3 that have one of two letters, too."""
    import pycountry

    return [one.alpha_3 for one in pycountry.languages if hasattr(one, "alpha_2")][:NUM_LANGUAGES]


def durations(rng: np.random.Generator, number: int) -> np.ndarray:
    """Seconds with a mean of 6.3 and hardly any above 20."""
    return np.round(np.clip(rng.lognormal(1.72, 0.5, number), 0.5, 19.9), 2)


def write_corpus(folder: Path, *, num_rows: int) -> None:
    """A table a split (`train.parquet`, ...) and a file an utterance; most files are links, so that the disk holds few."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import soundfile

    rng = np.random.default_rng(0)
    (folder / "audio").mkdir(parents=True)
    lengths_s = durations(rng, NUM_WAVES)
    for number, duration_s in enumerate(lengths_s):
        soundfile.write(folder / f"{number}.wav", np.zeros(round(duration_s * 16_000), np.int16), 16_000)
    words, codes = [_words(rng, number) for number in range(NUM_LANGUAGES)], languages()
    number = 0
    for split, share in SPLITS.items():
        rows = []
        for _ in range(round(num_rows * share)):
            wave, language = rng.integers(NUM_WAVES), number % NUM_LANGUAGES
            audio = folder / "audio" / f"{codes[language]}_{number:07d}.wav"
            os.link(folder / f"{wave}.wav", audio)
            text = " ".join(rng.choice(words[language], max(1, int(lengths_s[wave] * LETTERS_PER_S / 6.5))))
            dataset = f"dataset{(language + number // NUM_LANGUAGES % 3) % NUM_DATASETS}"  # three a language
            names = {"language": codes[language], "dataset": dataset, "speaker": f"s{number % 997}"}
            rows.append({"id": audio.stem, "audio": str(audio), "text": text, **names})
            number += 1
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}.parquet")


def _words(rng: np.random.Generator, language: int) -> list[str]:
    """300 words, 5.5 letters long on average."""
    first, number = SCRIPTS[SCRIPT_OF[language % len(SCRIPT_OF)]]
    return ["".join(map(chr, rng.integers(first, first + number, size))) for size in rng.integers(2, 10, 300)]


def write_untranscribed(path: Path, *, num_rows: int) -> None:
    """A manifest of audio without transcripts (and without files), made a piece at a time."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from mlsuperb.data.manifest import columns as columns_of
    from mlsuperb.data.manifest import number_columns
    from mlsuperb.types import Utterance

    rng, codes = np.random.default_rng(0), pa.array(languages())
    names, numbers = columns_of(Utterance), number_columns(Utterance)
    schema = pa.schema([(name, pa.float64() if name in numbers else pa.string()) for name in names])
    shares = rng.dirichlet(np.full(NUM_LANGUAGES, 0.5))  # a few languages have most of the audio
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, num_rows, PIECE):
            size = min(PIECE, num_rows - first)
            number = pc.utf8_lpad(pa.array(np.arange(first, first + size)).cast(pa.string()), 9, "0")
            language = codes.take(pa.array(rng.choice(NUM_LANGUAGES, size, p=shares)))
            dataset = pa.array([f"dataset{n}" for n in range(NUM_DATASETS)]).take(pa.array(rng.integers(0, 15, size)))
            name = pc.binary_join_element_wise(dataset, language, number, "_")
            columns = {
                "id": name,
                "audio": pc.binary_join_element_wise("/corpora/untranscribed", language, name, "/"),
                "start_s": np.zeros(size),
                "duration_s": durations(rng, size),
                "language": language,
                "dataset": dataset,
                "split": pa.repeat("train", size),
            }
            empty = pa.repeat("", size)
            writer.write_table(pa.table([columns.get(column, empty) for column in names], schema=schema))


def hypotheses(rows: Iterable[Utterance]) -> Iterator[Hypothesis]:
    """What a recogniser with ASR+LID could have said: a fifth of the characters wrong, one language in ten."""
    from mlsuperb.types import Hypothesis

    rng, codes = np.random.default_rng(1), languages()
    for row in rows:
        letters = list(row.text.upper())
        for place in np.flatnonzero(rng.random(len(letters)) < ERROR_RATE):
            letters[place] = ("", "E", letters[place] * 2)[place % 3]  # deleted, substituted, inserted
        language = row.language if rng.random() < 0.9 else codes[rng.integers(NUM_LANGUAGES)]
        same = {name: getattr(row, name) for name in ("id", "dataset", "language", "split", "audio")}
        yield Hypothesis(
            **same,
            start_s=row.start_s,
            duration_s=row.duration_s,
            reference=row.text,
            hypothesis=f"[{language}] {''.join(letters)}",
            predicted_language=language,
        )
