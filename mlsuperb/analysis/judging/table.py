"""What a judge found, as a table, as JSON and as the utterances behind it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from mlsuperb.analysis.judging.inputs import RECORDINGS
from mlsuperb.analysis.judging.scores import CONFIDENCE, NORMALISER, Judged, JudgeRow
from mlsuperb.analysis.judging.sound import DNSMOS, NO_DNSMOS
from mlsuperb.data.text import VERSIONS
from mlsuperb.scoring.comparison.bootstrap import MARK, Interval
from mlsuperb.scoring.table import ABSENT, ARROWS, Cells, percent

UP, DOWN = ARROWS["higher"], ARROWS["lower"]
_DNSMOS_COLUMNS = dict(zip(DNSMOS.values(), ("overall", "speech", "noise", "P.808"), strict=True))


def judge_table(rows: Sequence[JudgeRow], *, judge: str, baseline: str | None) -> Cells:
    """A row per system and language. Columns that no row fills are left out."""
    rated = [name for name in DNSMOS.values() if any(name in row.dnsmos for row in rows)]
    against = (f"WER - {baseline}", f"CER - {baseline}") if baseline else ()
    columns = (
        "system",
        "language",
        "utterances",
        f"WER % {DOWN}",
        f"CER % {DOWN}",
        *against,
        "seconds",
        "dBFS",
        "duration ratio",
    )
    return Cells(
        f"Speech judged by {judge}, greedy",
        (*columns, f"MCD dB {DOWN}", *(f"DNSMOS {_DNSMOS_COLUMNS[name]} {UP}" for name in rated)),
        tuple(tuple(_cells(row, with_change=bool(baseline), rated=rated)) for row in rows),
        num_names=2,
    )


def _cells(row: JudgeRow, *, with_change: bool, rated: Sequence[str]) -> Iterator[str]:
    yield from (row.system, row.language, f"{row.num_utterances:,}")
    yield from map(rate_text, (row.wer, row.cer))
    if with_change:
        yield from ("" if one is None else one.as_change() for one in (row.wer_change, row.cer_change))
    yield f"{row.total_s:,.1f}"
    yield from map(_number, (row.level_dbfs, row.duration_ratio, row.mcd_db), (1, 2, 2))
    yield from (_number(row.dnsmos.get(name), 2) for name in rated)


def rate_text(one: Interval | None) -> str:
    """`12.3 [10.1, 14.8]`."""
    if one is None:
        return ABSENT
    return percent(one.value) if math.isnan(one.low) else f"{one.value:.1f} [{one.low:.1f}, {one.high:.1f}]"


def _number(value: float | None, digits: int) -> str:
    return ABSENT if value is None else f"{value:.{digits}f}"


def remarks(judged: Sequence[Judged], rows: Sequence[JudgeRow], *, baseline: str | None) -> list[str]:
    """What to know before believing the table."""
    level = f"{100 * CONFIDENCE:g} %"
    lines = [
        f"in brackets: {level} bootstrap intervals over utterances; they tell of other utterances, not of other seeds"
    ]
    if baseline:
        lines.append(f"{MARK} the {level} interval of the difference to {baseline} (paired bootstrap) excludes 0")
    if all(one.name != RECORDINGS for one in judged):
        lines.append(
            f"there is no system {RECORDINGS}: how well the judge understands untouched speech is not known, and durations and "
            f"MCD are not measured. Give {RECORDINGS}=FOLDER, or the corpus by data=..."
        )
    unspaced = sorted({row.language for row in rows if row.wer is None and row.cer is not None})
    if unspaced:
        lines.append(
            f"no WER of {', '.join(unspaced)}: written without spaces between words, which count in no rate there"
        )
    lines += [
        f"{row.system}, {row.language}: {row.num_silent:,} utterances are digital silence"
        for row in rows
        if row.num_silent
    ]
    return lines if any(row.dnsmos for row in rows) else [*lines, NO_DNSMOS]


def judge_record(rows: Sequence[JudgeRow], *, asr: Any, baseline: str | None) -> dict[str, Any]:
    """Everything, for JSON."""
    return {
        "asr": dict(asr),
        "normaliser": {"name": NORMALISER, "version": VERSIONS[NORMALISER]},
        "confidence": CONFIDENCE,
        "baseline": baseline,
        "rows": [row.record() for row in rows],
    }


def utterance_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """A row per system and utterance: texts as they were compared, counts of errors, what was measured of the audio."""
    rows = []
    for system in judged:
        for place, one in enumerate(system.outputs):
            sound, words = system.sounds[place], system.words[place]
            row: dict[str, Any] = {
                "system": system.name,
                "utterance": one.id,
                "language": one.language,
                "audio": one.audio,
            }
            row |= {"reference": one.reference, "hypothesis": one.hypothesis}
            row |= {"cer": system.characters[place].error_rate, "wer": words.error_rate if words else None}
            row |= {"duration_s": sound.duration_s, "recording_s": sound.recording_s, "level_dbfs": sound.level_dbfs}
            rows.append(row | {"mcd_db": sound.mcd_db, **sound.dnsmos})
    return pd.DataFrame(rows)
