"""The transcript of a recording: its text, its language, when each word is said. Pieces of it, and how they are put together."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

import regex

from mlsuperb.runs.windows import Window

log = logging.getLogger(__name__)

# Scripts that are written without spaces between words: their words are not found by spaces, so each character has its time
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]")
_FEWEST_SHARED = 2  # words (or characters) that two texts have to share before they are joined there


@dataclass(frozen=True)
class Timed:
    """A token or a word, from when to when it is said (seconds), and the mean posterior of its tokens there. `spaced`: whether
    the text has a space before this word."""

    text: str
    start_s: float
    end_s: float
    confidence: float
    spaced: bool = True


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What a transcriber makes of a window.

    Attributes:
        text: the raw output for what is kept of the window.
        language: the language that the raw output names.
        languages: the probability of each language in the whole window; empty where the model gives none.
        tokens: what `text` consists of, with times in seconds of the recording. A language token is a space; a space stands
            before each phoneme. None where the model does not align its output.
    """

    text: str
    language: str | None
    languages: Mapping[str, float]
    tokens: tuple[Timed, ...] | None


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """The transcript of a recording.

    Attributes:
        audio: its path, as it was given.
        duration_s: its length.
        hypothesis: the raw output, with its language token if the model emits one (`[eng] HELLO`).
        predicted_language: a code without brackets, or None.
        languages: the probability of each language; empty where the model gives none.
        words: with their times; characters in scripts without spaces, phonemes of a model that writes those. None where the
            model does not align its output.
    """

    audio: str
    duration_s: float
    hypothesis: str
    predicted_language: str | None
    languages: Mapping[str, float]
    words: tuple[Timed, ...] | None

    @property
    def text(self) -> str:
        """The output without language tokens. The first names the language; later ones part words, as in `words`. `<unk>` stays:
        the model emits it where it has no token for what was said."""
        codes = {*self.languages, *filter(None, [self.predicted_language])}
        tokens = "|".join(re.escape(f"[{code}]") for code in sorted(codes))
        return (re.sub(rf"\s*({tokens})\s*", " ", self.hypothesis) if codes else self.hypothesis).strip()


def transcript(audio: str, windows: Sequence[Window], pieces: Sequence[Piece]) -> Transcript:
    """Put the pieces of a recording together, in the order of their windows. The output of a recording of one window stays as it
    is; else the language is the most probable one of the whole recording (without probabilities, that of most windows), and
    the texts are joined by their tokens, or where there are none by the words that neighbours share."""
    tokens = None
    if all(piece.tokens is not None for piece in pieces):
        tokens = joined_tokens([piece.tokens or () for piece in pieces])
    languages = _mean_languages(windows, pieces)
    language, text = pieces[0].language, pieces[0].text
    if len(pieces) > 1:
        language, text = _language(languages, pieces), _joined_text(audio, windows, pieces, tokens)
        if any(piece.text.startswith(f"[{piece.language}]") for piece in pieces):
            text = f"[{language}] {text}".rstrip()
    return Transcript(
        audio=audio,
        duration_s=windows[-1].end_s,
        hypothesis=text,
        predicted_language=language,
        languages=languages,
        words=None if tokens is None else tuple(words(tokens)),
    )


def _language(languages: Mapping[str, float], pieces: Sequence[Piece]) -> str | None:
    if languages:
        return max(languages, key=lambda one: languages[one])
    named = Counter(piece.language for piece in pieces if piece.language)
    return named.most_common(1)[0][0] if named else None


def _joined_text(audio: str, windows: Sequence[Window], pieces: Sequence[Piece], tokens: Sequence[Timed] | None) -> str:
    if tokens is not None:
        return " ".join("".join(token.text for token in tokens).split())
    text, num_apart = joined_texts(
        [piece.text.removeprefix(f"[{piece.language}]").strip() for piece in pieces], windows
    )
    if num_apart:
        log.warning(
            "%s: %d of %d neighbouring windows share no words, so that words may be repeated there",
            audio, num_apart, len(windows) - 1,
        )  # fmt: skip
    return text


def _mean_languages(windows: Sequence[Window], pieces: Sequence[Piece]) -> dict[str, float]:
    """Weighted by what is kept of each window; most probable first."""
    total_s = sum(window.to_s - window.from_s for window in windows)
    sums: Counter[str] = Counter()
    for window, piece in zip(windows, pieces, strict=True):
        share = (window.to_s - window.from_s) / total_s
        sums.update({code: share * value for code, value in piece.languages.items()})
    return dict(sums.most_common())


def joined_tokens(parts: Sequence[Sequence[Timed]]) -> list[Timed]:
    """All tokens; one that goes on beyond the edge of its window, where the next one begins with it, is one token."""
    found: list[Timed] = []
    for part in parts:
        rest = list(part)
        if found and rest and found[-1].text == rest[0].text and found[-1].end_s == rest[0].start_s:
            last, goes_on = found.pop(), rest.pop(0)
            found.append(replace(last, end_s=goes_on.end_s, confidence=(last.confidence + goes_on.confidence) / 2))
        found += rest
    return found


def joined_texts(texts: Sequence[str], windows: Sequence[Window]) -> tuple[str, int]:
    """Texts of overlapping windows: each goes on behind the longest run of words (of characters, in scripts without spaces)
    that it shares with the one before it where the two overlap; where that is less than two, it follows whole, and
    is counted."""
    found: list[str] = []
    last, num_apart = "", 0
    for number, text in enumerate(texts):
        units = list(_text_units(text))
        if number:
            before, window = windows[number - 1 : number + 1]
            overlap_s = before.end_s - window.start_s
            num_before = _num_overlapping(len(list(_text_units(last))), overlap_s / before.duration_s)
            num_after = _num_overlapping(len(units), overlap_s / window.duration_s)
            first, second = _shared(found[len(found) - num_before :], units[:num_after])
            num_apart += bool(last and text and second == 0 and overlap_s > 0)
            found, units = found[: len(found) - num_before + first], units[second:]
        found, last = found + units, text
    return "".join(found).strip(), num_apart


def _text_units(text: str) -> Iterator[str]:
    """Words with the space before them, and characters of scripts without spaces."""
    for word in text.split():
        first, *others = _split(word)
        yield f" {first}"
        yield from others


def _num_overlapping(num: int, share: float) -> int:
    """Of so many units, those that may be said in the overlap: speech is not even, so twice as many as its share."""
    return min(num, math.ceil(2 * share * num) + _FEWEST_SHARED)


def _shared(before: list[str], after: list[str]) -> tuple[int, int]:
    """How many units of `before` are kept and of `after` left out, so that one goes over into the other in the middle of what
    they share."""
    first, second = ([one.strip().casefold() for one in side] for side in (before, after))
    same = SequenceMatcher(None, first, second, autojunk=False).find_longest_match()
    if same.size < _FEWEST_SHARED:
        return len(before), 0
    return same.a + same.size // 2, same.b + same.size // 2


def words(tokens: Sequence[Timed]) -> Iterator[Timed]:
    """Tokens put together to words, which spaces part; in scripts without spaces to characters."""
    group: list[Timed] = []
    for token in tokens:
        if token.text[:1] == " ":
            yield from _units(group)
            group = []
        if stripped := token.text.strip():
            group.append(replace(token, text=stripped))
    yield from _units(group)


def spelt(spoken: Sequence[Timed]) -> str:
    """The text that words make."""
    return "".join(" " * word.spaced + word.text for word in spoken).strip()


def _units(group: list[Timed]) -> Iterator[Timed]:
    """The word that tokens spell, or its characters."""
    owners = [token for token in group for _ in token.text]
    at, spaced = 0, True
    for unit in _split("".join(token.text for token in group)):
        own = list(dict.fromkeys(owners[at : at + len(unit)]))
        at += len(unit)
        mean = sum(token.confidence for token in own) / len(own)
        yield Timed(unit, own[0].start_s, own[-1].end_s, mean, spaced)
        spaced = False


def _split(word: str) -> list[str]:
    """A word as one, or where it holds letters of a script without spaces, these one by one (with their marks)."""
    if not _UNSPACED.search(word):
        return [word] if word else []
    found: list[str] = []
    alone = True
    for cluster in regex.findall(r"\X", word):
        now_alone = bool(_UNSPACED.match(cluster))
        if found and not alone and not now_alone:
            found[-1] += cluster
        else:
            found.append(cluster)
        alone = now_alone
    return found
