"""A page on which systems are listened to side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlsuperb.analysis.judging.inputs import by_language
from mlsuperb.analysis.judging.scores import Judged, JudgeRow
from mlsuperb.analysis.judging.table import judge_table
from mlsuperb.analysis.report.alignment import align
from mlsuperb.analysis.report.blocks import Example, Examples, Page, Section, from_cells
from mlsuperb.analysis.report.sound import SoundBox
from mlsuperb.analysis.report.utterances import key
from mlsuperb.data.languages import language_name
from mlsuperb.scoring.page.blocks import Block, Note, Warnings
from mlsuperb.scoring.table import percent

NUM_SHOWN = 4  # utterances of each language


def judge_page(
    judged: Sequence[Judged],
    rows: Sequence[JudgeRow],
    remarks: Sequence[str],
    *,
    judge: str,
    baseline: str | None,
    num_shown: int = NUM_SHOWN,
) -> Page:
    """The table, and some utterances of each language, chosen at random, of all systems with transcripts.

    Args:
        judge: which ASR model transcribed.
        num_shown: utterances of each language, as far as the page may grow (`SoundBox`).
    """
    languages = by_language(one.language for one in judged[0].outputs)
    sounds = SoundBox(max_num=num_shown * len(languages) * len(judged))
    table = from_cells(judge_table(rows, judge=judge, baseline=baseline), name="systems")
    heard = [
        _utterances(judged, language, places, num=num_shown, sounds=sounds) for language, places in languages.items()
    ]
    about = Section(id="sound", title="Audio", blocks=(Note(text=sounds.summary()),))
    num = len(judged[0].outputs)
    return Page(
        title="Re-synthesised speech",
        subtitle=f"{len(judged)} systems on {num:,} utterance{'s' if num != 1 else ''}, transcribed by {judge}",
        sections=(Section(id="table", title="Systems", blocks=(table, Warnings(texts=tuple(remarks)))), *heard, about),
        files="judge.json and the systems' audio",
    )


def _utterances(
    judged: Sequence[Judged], language: str, places: Sequence[int], *, num: int, sounds: SoundBox
) -> Section:
    chosen = sorted(np.random.default_rng(0).permutation(places)[:num].tolist())
    blocks: list[Block] = [Note(text=key())]
    for place in chosen:
        examples = tuple(_example(one, place, sounds) for one in judged)
        blocks.append(Examples(title=judged[0].outputs[place].id, examples=examples))
    name = language_name(language)
    return Section(id=f"language-{language}", title=f"{name} ({language})", blocks=tuple(blocks))


def _example(one: Judged, place: int, sounds: SoundBox) -> Example:
    """An utterance as a system says it."""
    output, measured = one.outputs[place], one.sounds[place]
    sound, remark = sounds.add(output.audio, start_s=output.start_s, duration_s=output.duration_s)
    facts = [f"{output.duration_s:.1f} s"]
    facts += [f"{measured.level_dbfs:.1f} dBFS"] if measured.level_dbfs is not None else ["silent"]
    facts += [f"MCD {measured.mcd_db:.2f} dB"] if measured.mcd_db is not None else []
    return Example(
        id=f"{one.name}, {output.id}",
        heading=f"{one.name}: CER {percent(one.characters[place].error_rate)} %",
        facts=", ".join(facts),
        aligned=(align(output.reference, output.hypothesis),),
        sound=sound,
        silence=remark,
    )
