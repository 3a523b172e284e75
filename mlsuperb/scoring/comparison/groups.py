"""Several runs by language, dataset, family or resource class: a row a group, the rates of every run beside each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from mlsuperb.scoring.comparison.language_facts import TITLES, By, group_of
from mlsuperb.scoring.comparison.runs import differences
from mlsuperb.scoring.counts import Counts, total
from mlsuperb.scoring.result import same_scoring
from mlsuperb.scoring.table import Cells, percent

TOTAL = "total"
Result = Mapping[str, Any]


def groups_table(results: Sequence[Result], *, by: By, hidden: Collection[str], split: str = "test") -> Cells:
    """Error rate and language accuracy of every group, pooled over its utterances as protocol v1 pools; languages of which
    the fact is not known stand in the row `unknown`.

    Args:
        hidden: settings that do not name a run (`runs_table`).

    Raises:
        ValueError: no result, no such split, other test data or units, or no counts of edits or languages.
    """
    if not results:
        raise ValueError("there is no finished run to make a table of")
    _check(results, split)
    runs = [list(_cells(result, split)) for result in results]
    groups: dict[str, list[list[Counts]]] = {}  # group -> run -> counts
    languages: dict[str, set[str]] = {}
    for number, cells in enumerate(runs):
        for dataset, language, counts in cells:
            for name in (group_of(by, dataset=dataset, language=language), TOTAL):
                groups.setdefault(name, [[] for _ in runs])[number].append(counts)
                languages.setdefault(name, set()).add(language)
    rates = _rates(results[0])
    names = _names(results, hidden)
    several = by != "language"
    rows = []
    for name in [*sorted(groups.keys() - {TOTAL}), TOTAL]:
        pooled = [total(counts) for counts in groups[name]]
        sizes = [*([str(len(languages[name]))] if several else []), f"{pooled[0].num_utterances:,}"]
        values = [percent(getattr(one, field)) for field, _ in rates for one in pooled]
        rows.append((name, *sizes, *values))
    columns = [TITLES[by], *(["languages"] if several else []), "utterances"]
    columns += [f"{title}, {name}" for _, title in rates for name in names]
    title = f"{len(results)} run{'s' if len(results) > 1 else ''}, split {split}, % over all utterances of a row (protocol v1)"
    return Cells(title, tuple(columns), tuple(rows), num_names=1)


def _check(results: Sequence[Result], split: str) -> None:
    first = results[0]
    for other in results[1:]:
        reasons = same_scoring(first, other)
        if len({str(one["data"]["splits"].get(split, {}).get("sha256")) for one in (first, other)}) > 1:
            reasons.append(f"the data of split {split!r} differ")
        if reasons:
            raise ValueError(
                f"{first['run_id']} and {other['run_id']} cannot stand in one table of groups: {'; '.join(reasons)}; give runs "
                "of one task and one test set"
            )


def _cells(result: Result, split: str) -> Iterator[tuple[str, str, Counts]]:
    """(dataset, language, counts) of one run."""
    section = next((result["protocols"][name] for name in ("v1", "v2") if name in result["protocols"]), None)
    if section is None:
        raise ValueError(
            f"run {result['run_id']} has no counts of protocol v1 or v2; start it again with scoring=default, it will only be "
            "scored"
        )
    if split not in section["counts"]:
        raise ValueError(
            f"run {result['run_id']} has no scores of split {split!r}; it has {', '.join(section['counts'])}"
        )
    for dataset, languages in section["counts"][split].items():
        for language, counts in languages.items():
            yield dataset, language, Counts.from_dict(counts)


def _rates(result: Result) -> list[tuple[str, str]]:
    """Fields of `Counts` that the task has, with their titles."""
    task, units = result["task"]["name"], result["task"]["units"]
    text = [("error_rate", "PER ↓" if units == "phoneme" else "CER ↓")] if task != "lid" else []
    return text + ([("lid_accuracy", "LID ↑")] if task != "asr" else [])


def _names(results: Sequence[Result], hidden: Collection[str]) -> list[str]:
    """A run is called by the settings in which it differs from the others, else by its id."""
    settings = differences([one["config"] for one in results], hidden=hidden)
    names = [
        " ".join(f"{path.rpartition('.')[2]}={values[index]}" for path, values in settings.items() if values[index])
        for index in range(len(results))
    ]
    return names if all(names) and len(set(names)) == len(results) else [one["run_id"] for one in results]
