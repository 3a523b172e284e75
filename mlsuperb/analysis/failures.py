"""The four failure signatures of the ML-SUPERB 2.0 summary ("Failure signatures"), looked for in a result's scores.

The summary gives no thresholds ("high", "much greater", "large", "low"). Two are set here so that every baseline of the
2025 challenge with cleaned labels stays clear of them (public dev set, README of ESPnet's `egs2/ml_superb2/asr1`: mean
error rate 18.6 to 22.6 %, deviation 14.4 to 16.0, language accuracy 72.5 to 81.8 %); the other two are this toolkit's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mlsuperb.analysis.languages import LanguageScore

MAX_STD_SHARE = 0.8  # of the mean over languages; the challenge's baselines have 0.65 to 0.77
MAX_WORST_RATIO = 3.0  # worst language over the mean over languages
MAX_RANGE_SHARE = 0.5  # of the language's own mean over datasets
MIN_RANGE = 5.0  # points: a range below is no range
MIN_LID_ACCURACY = 70.0  # %; the challenge's baselines have 72.5 and more
MIN_LANGUAGES = 4  # with fewer, neither of the first two can pass its threshold by much

State = Literal["shows", "does not show", "cannot be told"]


@dataclass(frozen=True, kw_only=True)
class Signature:
    """`name` and `meaning` are the summary's; `rule` is what was tested, `finding` what was found."""

    name: str
    meaning: str
    rule: str
    state: State
    finding: str


def failure_signatures(
    section: Mapping[str, Any] | None, scores: Sequence[LanguageScore], *, split: str, lid_accuracy: float | None
) -> list[Signature]:
    """All four, whether they show or not.

    Args:
        section: protocol v2 of a result; None where it does not apply.
        scores: by language, of the same split.
        lid_accuracy: of all utterances in %; None where the task names no language.
    """
    metrics = (section or {}).get("metrics", {}).get(split, {})
    rates = {name: (metrics.get(f"all_{name}") or {}).get("value") for name in ("macro_cer", "std_cer")}
    worst = metrics.get("all_worst_language_cer") or {}
    num_languages = len(scores)
    return [
        _spread(rates, num_languages),
        _worst(rates["macro_cer"], worst, num_languages),
        _ranges(scores),
        _low_lid(lid_accuracy, num_languages),
    ]


def _state(shows: bool) -> State:
    return "shows" if shows else "does not show"


def _too_few(num_languages: int) -> str:
    return f"{num_languages} language{'s' if num_languages != 1 else ''}, at least {MIN_LANGUAGES} are needed"


def _spread(rates: Mapping[str, float | None], num_languages: int) -> Signature:
    mean, std = rates["macro_cer"], rates["std_cer"]
    state: State = "cannot be told"
    if mean is None or std is None:
        finding = "the result has no deviation over languages (protocol v2)"
    elif num_languages < MIN_LANGUAGES:
        finding = _too_few(num_languages)
    else:
        state = _state(std > MAX_STD_SHARE * mean)
        finding = f"standard deviation {std:.1f} over {num_languages} languages, mean {mean:.1f} %"
        finding += f": {std / mean:.2f} of it" if mean else ""
    return Signature(
        name="High standard deviation across languages",
        meaning="poor cross-lingual transfer",
        rule=f"the standard deviation of the languages' error rates is more than {MAX_STD_SHARE} of their mean",
        state=state,
        finding=finding,
    )


def _worst(mean: float | None, worst: Mapping[str, Any], num_languages: int) -> Signature:
    highest = worst.get("value")
    state: State = "cannot be told"
    if mean is None or highest is None:
        finding = "the result has no error rate for every language (protocol v2)"
    elif num_languages < MIN_LANGUAGES:
        finding = _too_few(num_languages)
    else:
        state = _state(highest > MAX_WORST_RATIO * mean)
        finding = f"{', '.join(worst.get('languages', []))} has {highest:.1f} %, the mean is {mean:.1f} %"
        finding += f": {highest / mean:.1f} times as much" if mean else ""
    return Signature(
        name="The worst language is far from the mean",
        meaning="catastrophic forgetting",
        rule=f"the highest error rate of a language is more than {MAX_WORST_RATIO:g} times the mean over languages",
        state=state,
        finding=finding,
    )


def _ranges(scores: Sequence[LanguageScore]) -> Signature:
    several = [one for one in scores if one.spread is not None]
    wide = sorted((one for one in several if _is_wide(one)), key=lambda one: -(one.spread or 0.0))
    if not several:
        finding = "no language has error rates in more than one dataset"
    elif not wide:
        finding = f"in none of the languages with several datasets ({len(several)})"
    else:
        shown = [f"{one.code} ({min(one.datasets.values()):.1f} to {max(one.datasets.values()):.1f} %)" for one in wide]
        more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
        finding = f"in {len(wide)} of the {len(several)} with several datasets: {', '.join(shown[:5])}{more}"
    return Signature(
        name="A large range within a language across datasets",
        meaning="sensitivity to the domain",
        rule=(
            f"the error rates of a language's datasets differ by more than {MAX_RANGE_SHARE} of their mean and by "
            f"{MIN_RANGE:g} points or more"
        ),
        state=_state(bool(wide)) if several else "cannot be told",
        finding=finding,
    )


def _is_wide(one: LanguageScore) -> bool:
    spread = one.spread or 0.0
    mean = sum(one.datasets.values()) / len(one.datasets)
    return spread >= MIN_RANGE and spread > MAX_RANGE_SHARE * mean


def _low_lid(accuracy: float | None, num_languages: int) -> Signature:
    state: State = "cannot be told"
    if accuracy is None:
        finding = "the task names no language"
    elif num_languages < 2:
        finding = "there is one language"
    else:
        state = _state(accuracy < MIN_LID_ACCURACY)
        finding = f"{accuracy:.1f} % of the utterances are given their language; {num_languages} languages"
    return Signature(
        name="Low language accuracy",
        meaning="features that tell languages apart too little",
        rule=f"less than {MIN_LID_ACCURACY:g} % of the utterances are given their language",
        state=state,
        finding=finding,
    )
