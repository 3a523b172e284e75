"""What a model that learns languages one after another gains and forgets.

The measures are those of CL-MASR (L. Della Libera et al., "CL-MASR: a continual learning benchmark for multilingual ASR", 2024;
`benchmarks/CL_MASR/analyze_logs.py` of speechbrain/benchmarks): a stage is a task, its rate the mean over the languages that
were learnt in it, so that all base languages together are task 0. Letters: S stages.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StageMeasures:
    """After a stage; rates in %, differences in points. None where there is no old task, or no reference was given.

    Args:
        awer: average error rate over the tasks learnt so far; lower is better.
        bwt: backward transfer, the mean over older tasks of the rate just after each was learnt less the rate now: negative
            where something was forgotten.
        fwt: forward transfer, the rate of a model that learnt only this stage's languages after the base less the rate now:
            positive where earlier stages helped.
        im: intransigence, the rate now less that of a model trained on all languages jointly: positive where less was learnt.
    """

    stage: int
    awer: float
    bwt: float | None
    fwt: float | None
    im: float | None


def continual_measures(
    rates: Sequence[Mapping[str, float]],
    *,
    learnt: Mapping[str, int],
    single: Mapping[str, float] | None = None,
    joint: Mapping[str, float] | None = None,
) -> list[StageMeasures]:
    """The measures after each stage.

    Args:
        rates: of each stage, language -> error rate in %; languages of later stages may be missing, and do not count.
        learnt: language -> the stage it was learnt in; 0 is the base.
        single: language -> rate of a model that learnt it alone, after the base; needed for `fwt`.
        joint: language -> rate of a model that learnt all languages together; needed for `im`.

    Raises:
        ValueError: a stage has no language, or lacks the rate of a language learnt by then.
    """
    tasks = _tasks(rates, learnt)
    rows_SS = [[_mean(rates[stage], tasks[task]) for task in range(stage + 1)] for stage in range(len(rates))]
    found = []
    for stage, row_S in enumerate(rows_SS):
        forgotten = [rows_SS[task][task] - row_S[task] for task in range(stage)]
        references = [
            _mean(given, tasks[stage]) if given is not None and stage and set(tasks[stage]) <= set(given) else None
            for given in (single, joint)
        ]
        found.append(
            StageMeasures(
                stage=stage,
                awer=statistics.fmean(row_S),
                bwt=statistics.fmean(forgotten) if forgotten else None,
                fwt=None if references[0] is None else references[0] - row_S[stage],
                im=None if references[1] is None else row_S[stage] - references[1],
            )
        )
    return found


def _tasks(rates: Sequence[Mapping[str, float]], learnt: Mapping[str, int]) -> list[list[str]]:
    """The languages learnt in each stage."""
    tasks = [sorted(language for language, stage in learnt.items() if stage == task) for task in range(len(rates))]
    if empty := [task for task, languages in enumerate(tasks) if not languages]:
        raise ValueError(
            f"no language was learnt in stage {empty[0]}, of {len(rates)}; say for each language in which it was"
        )
    for stage, known in enumerate(rates):
        needed = [language for languages in tasks[: stage + 1] for language in languages]
        if missing := [language for language in needed if language not in known]:
            raise ValueError(
                f"stage {stage} has no error rate of {', '.join(missing)}, learnt by then; every stage is measured on all "
                "languages that were learnt before or in it"
            )
    return tasks


def _mean(rates: Mapping[str, float], languages: Sequence[str]) -> float:
    return statistics.fmean(rates[language] for language in languages)
