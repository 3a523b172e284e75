"""The four failure signatures of the ML-SUPERB 2.0 summary ("Failure signatures"), looked for in a result's scores.

The summary gives no thresholds ("high", "much greater", "large", "low"). Two are set here so that no baseline of the 2025
challenge with cleaned labels shows them (public dev set, README of ESPnet's `egs2/ml_superb2/asr1`: mean
error rate 18.6 to 22.6 %, deviation 14.4 to 16.0, language accuracy 72.5 to 81.8 %); the other two are this toolkit's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mlsuperb.analysis.languages import LanguageScore
from mlsuperb.scoring.result import Metric

MAX_STD_SHARE = 0.8  # of the mean over languages; the challenge's baselines have 0.65 to 0.77
MAX_WORST_RATIO = 3.0  # worst language over the mean over languages
MAX_RANGE_SHARE = 0.5  # of the language's own mean over datasets
MIN_RANGE = 5.0  # points: smaller ranges do not count
MIN_LID_ACCURACY = 70.0  # %; the challenge's baselines have 72.5 and more
MIN_LANGUAGES = 4  # with fewer, neither of the first two can pass its threshold by much

_NEEDED = "mean, deviation and worst language of the CER (protocol v2)"

State = Literal["shows", "does not show", "cannot be told"]
SIGNATURES = (  # name and meaning are the summary's; the rule is what is tested
    (
        "High standard deviation across languages",
        "poor cross-lingual transfer",
        f"the standard deviation of the languages' error rates is more than {MAX_STD_SHARE} of their mean",
    ),
    (
        "The worst language is far from the mean",
        "catastrophic forgetting",
        f"the highest error rate of a language is more than {MAX_WORST_RATIO:g} times the mean over languages",
    ),
    (
        "A large range within a language across datasets",
        "sensitivity to the domain",
        f"the error rates of a language's datasets differ by more than {MAX_RANGE_SHARE} of their mean and by at least "
        f"{MIN_RANGE:g} points",
    ),
    (
        "Low language accuracy",
        "features that do not separate languages well",
        f"less than {MIN_LID_ACCURACY:g} % of the utterances are given their language",
    ),
)


@dataclass(frozen=True)
class Signature:
    """`name`, `meaning` and `rule`: see `SIGNATURES`; `finding` is what was found."""

    name: str
    meaning: str
    rule: str
    state: State
    finding: str


def failure_signatures(
    metrics: Mapping[str, Metric], scores: Sequence[LanguageScore], *, lid_accuracy: float | None
) -> list[Signature]:
    """All four, whether they show or not.

    Args:
        metrics: of all protocols, of one split. Needed are `all_macro_cer`, `all_std_cer` and `all_worst_language_cer`.
        scores: by language, of the same split.
        lid_accuracy: of all utterances in %; None where the task names no language.
    """
    mean, std = (metrics[name].value if name in metrics else None for name in ("all_macro_cer", "all_std_cer"))
    worst = metrics.get("all_worst_language_cer")
    found = (
        _spread(mean, std, len(scores)),
        _worst(mean, worst, len(scores)),
        _ranges(scores),
        _low_lid(lid_accuracy, len(scores)),
    )
    return [Signature(*about, *outcome) for about, outcome in zip(SIGNATURES, found, strict=True)]


def _state(shows: bool) -> State:
    return "shows" if shows else "does not show"


def _too_few(num_languages: int) -> str:
    return f"{num_languages} language{'s' if num_languages != 1 else ''}, at least {MIN_LANGUAGES} are needed"


def _spread(mean: float | None, std: float | None, num_languages: int) -> tuple[State, str]:
    if mean is None or std is None:
        return "cannot be told", f"the result has no {_NEEDED}"
    if num_languages < MIN_LANGUAGES:
        return "cannot be told", _too_few(num_languages)
    share = f": {std / mean:.2f} of it" if mean else ""
    finding = f"standard deviation {std:.1f} over {num_languages} languages, mean {mean:.1f} %{share}"
    return _state(std > MAX_STD_SHARE * mean), finding


def _worst(mean: float | None, worst: Metric | None, num_languages: int) -> tuple[State, str]:
    highest = worst.value if worst else None
    if mean is None or highest is None:
        return "cannot be told", f"the result has no {_NEEDED}"
    if num_languages < MIN_LANGUAGES:
        return "cannot be told", _too_few(num_languages)
    ratio = f": {highest / mean:.1f} times as much" if mean else ""
    named = ", ".join((worst.languages if worst else None) or [])
    return _state(highest > MAX_WORST_RATIO * mean), f"{named} has {highest:.1f} %, the mean is {mean:.1f} %{ratio}"


def _ranges(scores: Sequence[LanguageScore]) -> tuple[State, str]:
    several = [one for one in scores if one.spread is not None]
    wide = sorted((one for one in several if _is_wide(one)), key=lambda one: -(one.spread or 0.0))
    if not several:
        return "cannot be told", "no language has error rates in more than one dataset"
    if not wide:
        return "does not show", f"in none of the languages with several datasets ({len(several)})"
    shown = [f"{one.code} ({min(one.datasets.values()):.1f} to {max(one.datasets.values()):.1f} %)" for one in wide[:5]]
    more = f" and {len(wide) - 5} more" if len(wide) > 5 else ""
    return "shows", f"in {len(wide)} of the {len(several)} with several datasets: {', '.join(shown)}{more}"


def _is_wide(one: LanguageScore) -> bool:
    spread = one.spread or 0.0
    mean = sum(one.datasets.values()) / len(one.datasets)
    return spread >= MIN_RANGE and spread > MAX_RANGE_SHARE * mean


def _low_lid(accuracy: float | None, num_languages: int) -> tuple[State, str]:
    if accuracy is None:
        return "cannot be told", "the task names no language"
    if num_languages < 2:
        return "cannot be told", "there is only one language"
    finding = f"{accuracy:.1f} % of the utterances are given their language; {num_languages} languages"
    return _state(accuracy < MIN_LID_ACCURACY), finding
