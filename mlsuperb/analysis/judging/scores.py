"""Judge re-synthesised speech: how well an ASR model understands it, beside the recordings, with intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlsuperb.analysis.judging.asr import Recogniser
from mlsuperb.analysis.judging.inputs import RECORDINGS, Reference, System, by_language
from mlsuperb.analysis.judging.sound import DNSMOS, Rater, Sound, measure_all
from mlsuperb.analysis.judging.transcripts import Progress, Transcripts, transcribe
from mlsuperb.data.languages import iso_639_3
from mlsuperb.data.text import normaliser
from mlsuperb.scoring.comparison.bootstrap import Interval, difference_interval, rate_interval
from mlsuperb.scoring.counts import Counts, total
from mlsuperb.scoring.protocols.wer_cer import without_words
from mlsuperb.scoring.utterances import utterance_counts
from mlsuperb.types import Hypothesis, TaskFacts

CONFIDENCE = 0.95
ALL_LANGUAGES = "all"
NORMALISER = "spoken"
# Written without spaces between words, beside the languages of protocol wer_cer, in whose version 1 these have words: Min Nan and
# Wu Chinese, Tibetan, Dzongkha
_UNSPACED = frozenset({"nan", "wuu", "bod", "dzo"})
# both sides are normalised before
_FACTS = TaskFacts(name="judge", has_text=True, has_language=False, normaliser="raw")
_WORDS = replace(_FACTS, units="word", unit_name="WER")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A system with what was found, one item per utterance in the order of the references; `words`: None of a language without
    spaces between words."""

    system: System
    outputs: tuple[Hypothesis, ...]
    characters: tuple[Counts, ...]
    words: tuple[Counts | None, ...]
    sounds: tuple[Sound, ...]

    @property
    def name(self) -> str:
        """The system's."""
        return self.system.name


@dataclass(frozen=True, kw_only=True)
class JudgeRow:
    """A system on the utterances of a language, or of all. Rates in % and differences in points, with bootstrap intervals (bounds
    are NaN where there is one utterance only); None where there is nothing to rate.

    Args:
        wer_change, cer_change: the system's rate less the baseline's, on the same utterances.
        level_dbfs, mcd_db: means over utterances. dnsmos: likewise.
        duration_ratio: of the summed lengths to those of the recordings.
    """

    system: str
    language: str
    num_utterances: int
    wer: Interval | None
    cer: Interval | None
    wer_change: Interval | None
    cer_change: Interval | None
    total_s: float
    num_silent: int
    level_dbfs: float | None
    duration_ratio: float | None
    mcd_db: float | None
    dnsmos: dict[str, float]

    def record(self) -> dict[str, Any]:
        """All figures by name, flat."""
        rates: dict[str, float | None] = {}
        for name in ("wer", "cer", "wer_change", "cer_change"):
            one: Interval | None = getattr(self, name)
            for end in ("value", "low", "high"):
                bound = getattr(one, end, math.nan)
                rates[name if end == "value" else f"{name}_{end}"] = None if math.isnan(bound) else bound
        names = ("total_s", "num_silent", "level_dbfs", "duration_ratio", "mcd_db")
        plain = {"system": self.system, "language": self.language, "num_utterances": self.num_utterances}
        return plain | rates | {name: getattr(self, name) for name in names} | self.dnsmos


def judge(
    systems: Sequence[System],
    references: Sequence[Reference],
    recogniser: Recogniser,
    known: Transcripts,
    *,
    dnsmos: Rater | None,
    progress: Progress,
) -> list[Judged]:
    """Transcribe and measure every system. A system called `recordings` is what durations and mel-cepstra are compared with.

    Raises:
        ValueError: the ASR model does not know a language, or audio cannot be read.
    """
    languages = [one.language for one in references]
    if problems := [problem for one in sorted(set(languages)) if (problem := recogniser.problem(one))]:
        place = recogniser.record["checkpoint"]
        raise ValueError(
            f"--asr {place} cannot judge these utterances: {'; '.join(problems)}. Give another checkpoint, or the languages it "
            "knows alone (--language)."
        )
    recordings = next((one.clips for one in systems if one.name == RECORDINGS), None)
    found = []
    for system in systems:
        named = lambda steps, number, what, name=system.name: progress(steps, number, f"{name}: {what}")  # noqa: E731
        texts = transcribe(system.clips, languages, recogniser, known, progress=named)
        sounds = measure_all(system.clips, recordings, dnsmos=dnsmos, progress=named)
        found.append(_judged(system, references, texts, sounds))
    return found


def _judged(system: System, references: Sequence[Reference], texts: Sequence[str], sounds: Sequence[Sound]) -> Judged:
    outputs = tuple(
        Hypothesis(
            id=one.id,
            dataset=system.name,
            language=one.language,
            split="",
            audio=clip.audio,
            start_s=clip.start_s,
            duration_s=sound.duration_s,
            reference=compared(one.text, one.language),
            hypothesis=compared(text, one.language),
            predicted_language=None,
        )
        for one, clip, sound, text in zip(references, system.clips, sounds, texts, strict=True)
    )
    words = utterance_counts(outputs, _WORDS)
    return Judged(
        system=system,
        outputs=outputs,
        characters=tuple(utterance_counts(outputs, _FACTS)),
        words=tuple(None if unspaced(one.language) else count for one, count in zip(outputs, words, strict=True)),
        sounds=tuple(sounds),
    )


def compared(text: str, language: str) -> str:
    """A reference or a transcript as it is compared."""
    text = normaliser(NORMALISER)(text)
    return text.replace(" ", "") if unspaced(language) else text


def unspaced(language: str) -> bool:
    """Whether a language is written without spaces between words, so that its spaces do not count, and it has no word error
    rate."""
    return without_words(language) or iso_639_3(language) in _UNSPACED


def judge_rows(judged: Sequence[Judged], *, baseline: str | None = None) -> list[JudgeRow]:
    """For each system a row of each language, where there are several, and one of all of them.

    Raises:
        ValueError: no system is called as the baseline.
    """
    names = [one.name for one in judged]
    if baseline is not None and baseline not in names:
        raise ValueError(f"--baseline {baseline} is none of the systems; give one of {', '.join(names)}")
    against = judged[names.index(baseline)] if baseline is not None else None
    groups = by_language(one.language for one in judged[0].outputs)
    everything = {ALL_LANGUAGES: list(range(len(judged[0].outputs)))} if len(groups) > 1 else {}
    return [
        _row(one, language, places, against if against is not one else None)
        for one in judged
        for language, places in {**groups, **everything}.items()
    ]


def _row(one: Judged, language: str, places: Sequence[int], baseline: Judged | None) -> JudgeRow:
    sounds = [one.sounds[place] for place in places]
    levels = [sound.level_dbfs for sound in sounds if sound.level_dbfs is not None]
    recorded_s = sum(sound.recording_s or 0 for sound in sounds)
    total_s = sum(sound.duration_s for sound in sounds)
    rated = [name for name in DNSMOS.values() if all(name in sound.dnsmos for sound in sounds)]
    rates = {
        f"{name}{end}": _rate(kind(one), kind(baseline) if end and baseline else None, places)
        if baseline or not end
        else None
        for name, kind in _KINDS.items()
        for end in ("", "_change")
    }
    return JudgeRow(
        system=one.name,
        language=language,
        num_utterances=len(places),
        **rates,
        total_s=total_s,
        num_silent=len(sounds) - len(levels),
        level_dbfs=statistics.fmean(levels) if levels else None,
        duration_ratio=total_s / recorded_s if recorded_s else None,
        mcd_db=_mean([sound.mcd_db for sound in sounds]),
        dnsmos={name: statistics.fmean(sound.dnsmos[name] for sound in sounds) for name in rated},
    )


_KINDS: dict[str, Callable[[Judged], Sequence[Counts | None]]] = {
    "wer": lambda one: one.words,
    "cer": lambda one: one.characters,
}


def _rate(
    counts: Sequence[Counts | None], baseline: Sequence[Counts | None] | None, places: Sequence[int]
) -> Interval | None:
    """The rate of some utterances, or the difference to the baseline's rate of them."""
    own = [count for place in places if (count := counts[place]) is not None]
    if baseline is not None:
        others = [count for place in places if (count := baseline[place]) is not None]
        return difference_interval(others, own, confidence=CONFIDENCE) if own else None
    rate = total(own).error_rate
    plain = None if rate is None else Interval(value=rate, low=math.nan, high=math.nan)
    return rate_interval(own, confidence=CONFIDENCE) or plain


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
