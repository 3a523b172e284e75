"""Transcripts as files: text, JSON, SubRip subtitles, NIST's CTM, a table of words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

from mlsuperb.data.inputs import STDIN
from mlsuperb.runs.transcripts import Timed, Transcript, spelt
from mlsuperb.runtime.messages import printable, some

# A subtitle: two lines of 42 characters, at most 7 s, as the guidelines of broadcasters have it; a longer silence begins another
_LETTERS, _SUBTITLE_S, _SILENCE_S = 84, 7.0, 1.5
TSV_HEADER = "audio\tstart_s\tend_s\tword\tconfidence\n"


def as_text(one: Transcript) -> str:
    """Path, language and text, in columns."""
    return "\t".join(_cell(cell) for cell in (one.audio, one.predicted_language or "-", one.text)) + "\n"


def as_short_json(one: Transcript) -> str:
    """One line: audio, language, text."""
    return _json({"audio": one.audio, "language": one.predicted_language, "text": one.text})


def as_json(one: Transcript) -> str:
    """One line: audio, language, text, length, the probability of each language, the words."""
    return _json(
        {
            "audio": one.audio,
            "language": one.predicted_language,
            "text": one.text,
            "duration_s": round(one.duration_s, 3),
            "languages": {code: round(share, 6) for code, share in one.languages.items()},
            "words": None if one.words is None else list(map(_word, one.words)),
        }
    )


def _word(word: Timed) -> dict[str, str | float]:
    return {
        "word": word.text,
        "start_s": round(word.start_s, 3),
        "end_s": round(word.end_s, 3),
        "confidence": round(word.confidence, 4),
    }


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False) + "\n"


def as_srt(one: Transcript) -> str:
    """Subtitles."""
    cues = []
    for number, words in enumerate(_subtitles(one), start=1):
        times = f"{_clock(words[0].start_s)} --> {_clock(words[-1].end_s)}"
        cues.append(f"{number}\n{times}\n{_cell(spelt(words))}\n")
    return "\n".join(cues)


def as_ctm(one: Transcript) -> str:
    """A line for each word: recording (its name without suffix; white space is `_`), channel 1, start, duration, word,
    confidence."""
    name = "_".join(PurePath(one.audio).stem.split()) or "_"
    return "".join(
        f"{_cell(name)} 1 {word.start_s:.3f} {word.end_s - word.start_s:.3f} {_cell(word.text)} {word.confidence:.3f}\n"
        for word in one.words or ()
    )


def as_tsv(one: Transcript) -> str:
    """A line for each word, in the columns of `TSV_HEADER`."""
    return "".join(
        f"{_cell(one.audio)}\t{word.start_s:.3f}\t{word.end_s:.3f}\t{_cell(word.text)}\t{word.confidence:.3f}\n"
        for word in one.words or ()
    )


FORMATS: dict[str, Callable[[Transcript], str]] = {
    "text": as_text,
    "short_json": as_short_json,
    "json": as_json,
    "srt": as_srt,
    "ctm": as_ctm,
    "tsv": as_tsv,
}
SUFFIXES = {"text": ".txt", "short_json": ".json"}  # of the others: their name


def as_file(one: Transcript, name: str) -> str:
    """The content of a file of one transcript, in a format; of `text` that is the text alone."""
    if name == "text":
        return printable(one.text) + "\n"
    return (TSV_HEADER if name == "tsv" else "") + FORMATS[name](one)


def targets(places: Sequence[Path], out: Path, name: str) -> list[Path]:
    """The files in the folder `out` that transcripts are written to.

    Args:
        places: of the audio, below what was named (`mlsuperb.data.inputs.expanded`).
        name: of the format.

    Raises:
        ValueError: two would be one file, or one is there already (it may be somebody's own text).
    """
    suffix = SUFFIXES.get(name, f".{name}")
    found = [out / (Path("stdin") if place == STDIN else place).with_suffix(suffix) for place in places]
    if same := [str(path) for path, number in Counter(found).items() if number > 1]:
        raise ValueError(
            f"several inputs would be written to {some(same)}: rename one of them, or transcribe them into several folders"
        )
    if there := [str(path) for path in found if path.exists()]:
        raise ValueError(
            f"{some(there)}: there already. Remove what was written before, or give another folder with --out"
        )
    return found


def _cell(text: str) -> str:
    return printable(text, but="")


def _subtitles(one: Transcript) -> Iterator[list[Timed]]:
    """The words of each subtitle."""
    group: list[Timed] = []
    for word in one.words or ():
        too_long = len(spelt([*group, word])) > _LETTERS
        if group and (
            too_long or word.end_s - group[0].start_s > _SUBTITLE_S or word.start_s - group[-1].end_s > _SILENCE_S
        ):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _clock(time_s: float) -> str:
    ms = round(1000 * time_s)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"
