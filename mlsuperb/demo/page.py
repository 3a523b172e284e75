"""What the demo shows of a recording; nothing here knows the library that draws the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup, escape

from mlsuperb.data.languages import language_name
from mlsuperb.runs.decoding import Transcriber
from mlsuperb.runs.transcription import transcribe_files
from mlsuperb.runs.transcripts import Timed, Transcript
from mlsuperb.runs.windows import Windowing

NOTHING = "Choose a file or record something first."
_NO_TIMES = Markup("<p>This model does not say when words are said.</p>")
_NO_WORDS = Markup("<p>No words were recognised.</p>")
# Each word above its times; a word that the model is less sure of is fainter
_WORD = Markup(
    '<li title="confidence {share:.0%}" style="opacity: {opacity:.2f}"><b dir="auto">{word}</b><small>{times}</small></li>'
)
STYLE = """
.words { display: flex; flex-wrap: wrap; gap: .4rem .9rem; list-style: none; margin: 0; padding: 0 }
.words li { display: flex; flex-direction: column; align-items: center; margin: 0 }
.words small { font-variant-numeric: tabular-nums; opacity: .75 }
"""


@dataclass(frozen=True)
class Shown:
    """What is seen of a recording: its text, the probability of each language by name, HTML of words with their times."""

    text: str
    languages: dict[str, float]
    words: str


def hear(path: str | None, transcriber: Transcriber, windowing: Windowing) -> Shown:
    """Transcribe the file that a visitor gave.

    Raises:
        ValueError: there is none, or it cannot be read; the message names no path of this machine.
    """
    if not path:
        raise ValueError(NOTHING)
    try:
        (found,) = transcribe_files([Path(path)], lambda: transcriber, windowing=windowing)
    except ValueError as error:
        raise ValueError(str(error).replace(path, Path(path).name)) from error
    return shown(found)


def shown(one: Transcript) -> Shown:
    """A transcript as the page has it."""
    languages = {_named(code): share for code, share in one.languages.items()}
    if not languages and one.predicted_language:
        languages = {_named(one.predicted_language): 1.0}
    return Shown(one.text, languages, str(words_html(one.words)))


def words_html(words: tuple[Timed, ...] | None) -> Markup:
    """A list of words, each with its times in seconds."""
    if words is None:
        return _NO_TIMES
    if not words:
        return _NO_WORDS
    return Markup('<ol class="words">{}</ol>').format(Markup("").join(map(_word, words)))


def _word(word: Timed) -> Markup:
    times = f"{word.start_s:.2f}–{word.end_s:.2f}"
    return _WORD.format(share=word.confidence, opacity=0.5 + word.confidence / 2, word=escape(word.text), times=times)


def _named(code: str) -> str:
    name = language_name(code)
    return code if name == code else f"{name} ({code})"
