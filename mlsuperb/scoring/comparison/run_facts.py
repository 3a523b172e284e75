"""What a table can say of a run beside its scores: size, cost, and pre-training on the test corpora."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlsuperb.scoring.result import BenchmarkResult, Part

# What `--show` takes -> title of the column in a table of runs
FACTS = {
    "params": "total",
    "memory": "peak memory",
    "hours": "hours",
    "rtfx": "RTFx",
    "macs": "MACs/s",
    "overlap": "pre-training overlap",
}
CAP = 100_000_000  # tunable parameters that ML-SUPERB 2.0 allows (arXiv 2406.08641)
UNKNOWN, NONE = "unknown", "none"
UNDISCLOSED = "undisclosed"  # as the upstream cards write it
SYNTHETIC_DATASETS = frozenset({"studio", "phone", "room"})  # mlsuperb.data.synthesis

# Other names of a test dataset's corpus in the upstream cards (`pretrained_on`), as `_key` makes them. The googlei18n
# sets are Google's crowd-sourced corpora on OpenSLR; mHuBERT-147 (arXiv 2406.06371) calls the read ones "Google TTS".
ALIASES = {
    "googlei18nasr": {"openslr", "googlei18n"},
    "googlei18ntts": {"openslr", "googletts", "googlei18n"},
    "googlei18n": {"openslr", "googletts"},
}


def chosen_facts(text: str, among: Collection[str] = tuple(FACTS)) -> list[str]:
    """The names in a `--show a,b`, in the order of `among`.

    Raises:
        ValueError: there is no such fact.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in among]:
        raise ValueError(f"--show has no {', '.join(unknown)}; choose from {', '.join(among)}")
    return [fact for fact in among if fact in names]


def run_facts(result: BenchmarkResult) -> dict[str, str]:
    """`FACTS` of a run as they stand in a table; "unknown" where the result does not tell.

    `params` of the model; peak `memory`; `hours` of training and decoding (of training, in older results); `rtfx`: seconds of
    audio decoded per second, and how much of them from the feature cache; `macs`: multiply-accumulates for a second of audio,
    upstream and all that follows together; and `overlap`: the test datasets whose corpus the upstream was pre-trained on by
    its card, with their share of the test utterances. It goes by the corpora's names: whether the test utterances themselves
    were among them is not known, nor are corpora of one origin (Libri-Light and MLS are both LibriVox) taken for each other.
    """
    cost = result.cost
    return {
        "params": f"{result.num_total / 1e6:,.2f} M",
        "memory": _number(cost.get("peak_memory_gb"), unit=" GB"),
        "hours": _number(cost["hours"]) if "hours" in cost else _number(cost.get("train_wall_s"), per=3600),
        "rtfx": _rtfx(cost),
        "macs": macs(cost),
        "overlap": overlap(result),
    }


def macs(cost: Mapping[str, Any]) -> str:
    """`8.07 G` multiply-accumulates for a second of audio."""
    counted = cost.get("macs_per_s")
    return UNKNOWN if counted is None else f"{sum(counted.values()) / 1e9:,.2f} G"


def _rtfx(cost: Mapping[str, Any]) -> str:
    rtfx, cached = cost.get("rtfx"), cost.get("cached_share")
    return UNKNOWN if rtfx is None else f"{rtfx:,.1f}{f' ({100 * cached:.0f} % cached)' if cached else ''}"


def trained_params(number: int) -> str:
    """In millions, with a word where ML-SUPERB 2.0's limit is passed."""
    return f"{number / 1e6:,.2f} M{above_cap(number)}"


def above_cap(number: int) -> str:
    """` (above 100 M)` where a number of trained parameters passes the limit, else an empty string."""
    return " (above 100 M)" if number > CAP else ""


def overlap(result: BenchmarkResult) -> str:
    """See `run_facts`: `none`, `unknown`, or `commonvoice, mls (45 % of test)`."""
    corpora = _pretraining_corpora(result.upstream)
    if result.synthetic:  # made here: only a model that says so was trained on it
        corpora = [name for name in corpora or () if name in SYNTHETIC_DATASETS]
    if corpora is None:
        return UNKNOWN
    sizes = _test_sizes(result)
    seen = {_key(name) for name in corpora}
    found = [dataset for dataset in sizes if seen & ({_key(dataset)} | ALIASES.get(_key(dataset), set()))]
    if not found:
        return UNKNOWN if _key(UNDISCLOSED) in seen or not sizes else NONE
    share = 100 * sum(sizes[dataset] for dataset in found) / sum(sizes.values())
    return f"{', '.join(sorted(found))} ({share:.0f} % of test)"


def _pretraining_corpora(upstream: Part) -> list[str] | None:
    """The corpora that an upstream was trained on, by its card or, of one that a run of ours made, by that run's data."""
    origin = upstream.loaded.get("exported_from")
    if upstream.card.get("pretrained_on") is not None or origin is None or origin["pretrained_on"] is None:
        return upstream.card.get("pretrained_on")
    datasets = origin["data"].get("datasets")
    return None if datasets is None else [*origin["pretrained_on"], *datasets.get("train", ())]


def _test_sizes(result: BenchmarkResult) -> Mapping[str, int]:
    """Datasets with their numbers of test utterances."""
    sizes: Counter[str] = Counter()
    for section in list(result.protocols.sections.values())[:1]:
        for datasets in section.counts.values():
            for dataset, languages in datasets.items():
                sizes[dataset] += sum(counts["num_utterances"] for counts in languages.values())
    return sizes


def _key(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _number(value: float | None, *, per: float = 1, unit: str = "") -> str:
    if value is None:
        return UNKNOWN
    value = value / per
    return f"{value:,.2f}{unit}" if value < 10 else f"{value:,.1f}{unit}"
