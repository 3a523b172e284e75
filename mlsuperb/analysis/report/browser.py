"""Utterances to filter and to sort: the data that `browser.js` draws from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from mlsuperb.analysis.report.alignment import direction, is_joined, stretches
from mlsuperb.analysis.report.blocks import Browser
from mlsuperb.analysis.report.sound import SoundBox
from mlsuperb.analysis.runs import LoadedRun
from mlsuperb.data.languages import language_name
from mlsuperb.scoring.utterances import compared_texts

MAX_BYTES = 8_000_000  # of the data: with the sound of a page (`sound.MAX_BYTES`) less than 20 MB


def browser(run: LoadedRun, *, sounds: SoundBox) -> Browser:
    """All utterances, or as many of each language as `MAX_BYTES` allow, evenly spread from its best to its worst."""
    made = {index: _row(run, index) for index in run.table.index}
    facts = run.result.facts
    files = {index: sounds.file(one.audio).replace(one.id, "*", 1) for index, one in enumerate(run.hypotheses)}
    sizes = {index: len(_json(row).encode()) + len(files[index]) for index, row in made.items()}
    kept = _kept(run, sizes)
    languages = sorted(
        {code for index in kept for code in (run.table["language"][index], run.table["named"][index]) if code}
    )
    datasets = sorted({run.table["dataset"][index] for index in kept})
    names = list(dict.fromkeys(files[index] for index in kept))
    places = [{name: place for place, name in enumerate(one)} for one in (languages, datasets, names)]
    rows = [_placed(made[index], places, file=files[index]) for index in kept]
    data = {
        "languages": languages,
        "labels": [f"{code} {language_name(code)}".strip() for code in languages],
        "datasets": datasets,
        "files": names,
        "named": facts.has_language,
        "rated": facts.has_text,
        "rows": rows,
    }
    number = "All" if len(kept) == len(made) else f"{len(kept):,} of the {len(made):,}"
    return Browser(
        title=f"{number} utterances of the split {run.split}",
        note=_note(len(kept) == len(made)),
        data=_json(data),
        rate=run.rate,
        rated=facts.has_text,
        named=facts.has_language,
    )


def _note(whole: bool) -> str:
    note = "What is in this page can be played here, too; of the others, the audio's file below the folder of the data is named."
    most = "To keep the page small, each language has as many as there is room for, evenly spread from its best to its worst. "
    return note if whole else most + note


def _row(run: LoadedRun, index: int) -> list[Any]:
    """As `browser.js` describes it, with the names of language, dataset and language named; the audio's file comes later."""
    one, score = run.hypotheses[index], run.table["score"][index]
    facts = run.result.facts
    texts: list[Any] = []
    script = 0
    if facts.has_text:
        reference, output = (text.strip() for text in compared_texts(one, facts, run.language_tokens))
        texts = stretches(reference, output, units=facts.units)
        script = (direction(reference or output) == "rtl") + 2 * is_joined(reference or output)
    rate = round(float(score), 1) if score >= 0 else None
    named = run.table["named"][index]
    return [
        one.id,
        one.language,
        one.dataset,
        round(one.duration_s, 2),
        rate,
        named,
        script,
        texts,
        round(one.start_s, 2),
    ]


def _placed(row: Sequence[Any], places: Sequence[dict[str, int]], *, file: str) -> list[Any]:
    """With numbers for the names of language, dataset, language named and file."""
    languages, datasets, files = places
    name, language, dataset, seconds, rate, named, script, texts, start = row
    return [
        name, languages[language], datasets[dataset], seconds, rate, languages.get(named, -1), script, texts, files[file], start,
    ]  # fmt: skip


def _kept(run: LoadedRun, sizes: dict[int, int]) -> list[int]:
    """The utterances that there is room for, in the order of the file."""
    if sum(sizes.values()) <= MAX_BYTES:
        return list(sizes)
    ranked = [list(part.index) for _, part in run.table.sort_values("score", kind="stable").groupby("language")]
    most = max(map(len, ranked))
    while most > 1 and sum(sizes[index] for index in _spread(ranked, most)) > MAX_BYTES:
        most = most * 9 // 10
    return sorted(_spread(ranked, most))


def _spread(ranked: Sequence[Sequence[int]], most: int) -> Iterator[int]:
    for part in ranked:
        num = min(most, len(part))
        yield from (part[round(place * (len(part) - 1) / max(1, num - 1))] for place in range(num))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
