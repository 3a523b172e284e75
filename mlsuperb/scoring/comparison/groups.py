"""Several runs by language, dataset, family or resource class: one row per group, the rates of every run side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mlsuperb.scoring.comparison.comparable import same_scoring
from mlsuperb.scoring.comparison.language_facts import TITLES, By, group_of
from mlsuperb.scoring.comparison.runs import differences
from mlsuperb.scoring.counts import Counts, total
from mlsuperb.scoring.protocols import known
from mlsuperb.scoring.table import Cells, percent, rates

if TYPE_CHECKING:
    from mlsuperb.scoring.result import BenchmarkResult

TOTAL = "total"


def groups_table(results: Sequence[BenchmarkResult], *, by: By, split: str = "test") -> Cells:
    """Error rate and language accuracy of every group, pooled over its utterances as protocol v1 pools; languages of which
    the fact is not known stand in the row `unknown`.

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
    shown = rates(results[0].facts)
    names = _names(results)
    several = by != "language"
    rows = []
    for name in [*sorted(groups.keys() - {TOTAL}), TOTAL]:
        pooled = [total(counts) for counts in groups[name]]
        sizes = [*([str(len(languages[name]))] if several else []), f"{pooled[0].num_utterances:,}"]
        values = [percent(getattr(one, field)) for field, _, _ in shown for one in pooled]
        rows.append((name, *sizes, *values))
    columns = [TITLES[by], *(["languages"] if several else []), "utterances"]
    columns += [f"{rate} {arrow}, {name}" for _, rate, arrow in shown for name in names]
    title = f"{len(results)} run{'s' if len(results) > 1 else ''}, split {split}, % over all utterances of a row (protocol v1)"
    return Cells(title, tuple(columns), tuple(rows), num_names=1)


def _check(results: Sequence[BenchmarkResult], split: str) -> None:
    first = results[0]
    for other in results[1:]:
        reasons = same_scoring(first, other)
        if first.data.sha256(split) != other.data.sha256(split):
            reasons.append(f"the data of split {split!r} differ")
        if reasons:
            raise ValueError(
                f"{first.run_id} and {other.run_id} cannot stand in one table of groups: {'; '.join(reasons)}; give runs "
                "of one task and one test set"
            )


def _cells(result: BenchmarkResult, split: str) -> Iterator[tuple[str, str, Counts]]:
    """(dataset, language, counts) of one run."""
    scored, units = result.protocols.sections, result.task.units
    names = dict.fromkeys([*known(), *scored])  # v1 before v2, which merges datasets
    sections = [scored[name] for name in names if name in scored and scored[name].pools and scored[name].units == units]
    if not sections:
        raise ValueError(
            f"run {result.run_id} has no counts of protocol v1 or v2; start it again with scoring=default, it will only be "
            "scored"
        )
    counts = sections[0].counts
    if split not in counts:
        raise ValueError(f"run {result.run_id} has no scores of split {split!r}; it has {', '.join(counts)}")
    for dataset, languages in counts[split].items():
        for language, found in languages.items():
            yield dataset, language, Counts(**found)


def _names(results: Sequence[BenchmarkResult]) -> list[str]:
    """A run is called by the settings in which it differs from the others, else by its id."""
    settings = differences(results)
    names = [
        " ".join(f"{path.rpartition('.')[2]}={values[index]}" for path, values in settings.items() if values[index])
        for index in range(len(results))
    ]
    return names if all(names) and len(set(names)) == len(results) else [one.run_id for one in results]
