"""One number of a protocol, as it stands in a result. A number that cannot be had is null and says why."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any, Literal

Direction = Literal["lower", "higher"]
LOWER: Direction = "lower"
HIGHER: Direction = "higher"
TITLES = {  # of metrics without their subset of languages, as a page calls them
    "cer": "CER", "per": "PER", "pfer": "PFER", "wer": "WER", "lid_accuracy": "Language accuracy",
    "micro_cer": "CER, pooled", "micro_wer": "WER, pooled", "macro_cer": "CER, mean over languages",
    "micro_per": "PER, pooled", "micro_pfer": "PFER, pooled", "macro_per": "PER, mean over languages",
    "macro_pfer": "PFER, mean over languages",
    "macro_wer": "WER, mean over languages", "macro_lid_accuracy": "Language accuracy, mean over languages",
    "std_cer": "CER, standard deviation over languages", "worst_language_cer": "CER of the worst language",
    "worst_15_cer": "CER of the 15 worst languages", "dataset_range": "Widest range of a language's datasets",
    "standard_cer": "CER, standard data", "standard_lid_accuracy": "Language accuracy, standard data",
    "dialect_cer": "CER, dialect data", "dialect_lid_accuracy": "Language accuracy, dialect data",
}  # fmt: skip


def metric(value: float | None, *, better: Direction, reason: str = "", **facts: Any) -> dict[str, Any]:
    """`{"value": 12.3, "unit": "%", "better": "lower", ...}`; with `"reason"` where the value is None. `facts` say what
    it was taken over."""
    entry: dict[str, Any] = {"value": value, "unit": "%", "better": better, **facts}
    if value is None:
        assert reason, "a null value needs a reason"
        entry["reason"] = reason
    return entry


def mean(rates: Mapping[str, float | None], *, better: Direction) -> dict[str, Any]:
    """Plain mean over languages, null if one of them has no rate."""
    return _over_languages(rates, better=better, at_least=1, compute=statistics.fmean)


def sample_std(rates: Mapping[str, float | None]) -> dict[str, Any]:
    """Standard deviation over languages with n - 1 in the denominator, null if one of them has no rate."""
    return _over_languages(rates, better=LOWER, at_least=2, compute=statistics.stdev)


def hole(rates: Mapping[str, float | None], *, at_least: int = 1) -> str:
    """Why no statistic may be taken over `rates`, or an empty string."""
    if missing := [name for name, rate in rates.items() if rate is None]:
        return f"no reference text in {', '.join(missing)}"
    if len(rates) < at_least:
        return f"needs {at_least} or more languages, has {len(rates)}"
    return ""


def _over_languages(
    rates: Mapping[str, float | None], *, better: Direction, at_least: int, compute: Callable[[list[float]], float]
) -> dict[str, Any]:
    reason = hole(rates, at_least=at_least)
    value = None if reason else compute([rate for rate in rates.values() if rate is not None])
    return metric(value, better=better, reason=reason, num_languages=len(rates))
