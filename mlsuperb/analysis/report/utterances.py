"""Utterances to read and to listen to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from mlsuperb.analysis.report.alignment import align
from mlsuperb.analysis.report.blocks import Aligned, Example, Examples, Section
from mlsuperb.analysis.report.sound import SoundBox
from mlsuperb.analysis.runs import LoadedRun
from mlsuperb.data.text import LanguageTokens
from mlsuperb.scoring.counts import Counts
from mlsuperb.scoring.page.blocks import Block, Note
from mlsuperb.scoring.utterances import compared_texts
from mlsuperb.types import Hypothesis, TaskFacts

NUM_SHOWN = 10  # worst ones, and as many median ones
MOST_OF_A_LANGUAGE = 2  # of the worst, so that one language does not fill the list
_MARKS = (
    "Marked by colour, line and sign: a substituted {unit} is underlined with a wave, a deleted one is struck through over a "
    "dash, an inserted one stands under a plus, underlined twice"
)
_OF_CHARACTERS = (
    "; ␣ is a space. Scripts whose letters join are not cut into columns and have no dash or plus. Texts are shown as the scorer "
    "compares them. The picture aligns characters as a reader sees them with the fewest edits; error rates count code points by "
    "the scorer's weights, so the two may differ by a few."
)
_OF_OTHERS = ". Texts are shown as the scorer compares them. The picture aligns {unit}s with the fewest edits"
_BY_WEIGHTS = "; error rates count them by the scorer's weights, so the two may differ by a few."


def key(facts: TaskFacts | None = None) -> str:
    """How errors are marked; without facts, of characters."""
    if facts is None or facts.units == "char":
        text, unit = _MARKS + _OF_CHARACTERS, "character"
    else:
        text, unit = _MARKS + _OF_OTHERS + ("." if facts.units == "phone" else _BY_WEIGHTS), facts.unit
    return text.replace("{unit}", unit)


def samples(run: LoadedRun, *, sounds: SoundBox) -> Examples | Note:
    """The first things to listen to: the median utterance and one that only a tenth are worse than."""
    found = _list(
        run, _sampled(_ranked(run)), title="Two utterances: the median, and one worse than nine tenths", sounds=sounds
    )
    return replace(found, beside=True) if isinstance(found, Examples) else found


def _sampled(ranked: Sequence[int]) -> list[int]:
    return list(dict.fromkeys([ranked[len(ranked) // 2], ranked[len(ranked) * 9 // 10]])) if ranked else []


def _ranked(run: LoadedRun) -> list[int]:
    """The utterances with a score, the best first."""
    return [index for index in run.table.sort_values("score", kind="stable").index if run.table["score"][index] >= 0]


def examples(run: LoadedRun, *, sounds: SoundBox) -> Section:
    """The worst and the median utterances (of a task without text: some with the wrong language)."""
    ranked = _ranked(run)
    blocks: list[Block] = [Note(text=key(run.result.facts))]
    if not run.result.task.has_text:
        wrong = [index for index in ranked if run.table["score"][index] > 0][::-1]
        blocks.append(_list(run, _varied(run, wrong), title="Utterances given another language", sounds=sounds))
    else:
        worst = _varied(run, ranked[::-1])
        start = max(0, min(len(ranked) - NUM_SHOWN, len(ranked) // 2 - NUM_SHOWN // 2))
        others = {*worst, *_sampled(ranked)}  # those stand elsewhere
        median = [index for index in ranked[start : start + NUM_SHOWN] if index not in others]
        most = f"at most {MOST_OF_A_LANGUAGE} per language" if len(run.languages) > 1 else "first"
        blocks.append(_list(run, worst, title=f"The worst utterances ({most})", sounds=sounds))
        blocks.append(_list(run, median, title="Around the median", sounds=sounds))
    if unscored := len(run.table) - len(ranked):
        blocks.append(Note(text=f"{unscored:,} utterances without reference text are in neither list."))
    blocks.append(Note(text=sounds.summary()))
    return Section(id="utterances", title="Utterances", blocks=tuple(blocks))


def _varied(run: LoadedRun, ranked: Sequence[int]) -> list[int]:
    """The first ones, not too many per language unless there is only one."""
    most = MOST_OF_A_LANGUAGE if len(run.languages) > 1 else NUM_SHOWN
    seen: Counter[str] = Counter()
    kept: list[int] = []
    for index in ranked:
        language = run.table["language"][index]
        if seen[language] < most and len(kept) < NUM_SHOWN:
            seen[language] += 1
            kept.append(index)
    return kept


def _list(run: LoadedRun, places: Sequence[int], *, title: str, sounds: SoundBox) -> Examples | Note:
    if not places:
        return Note(text=f"{title}: none.")
    facts = run.result.facts
    made = []
    for one, count in [(run.hypotheses[place], run.counts[place]) for place in places]:
        aligned = (aligned_output(one, facts, run.language_tokens),)
        made.append(example(one, heading=rate_text(count, facts), aligned=aligned, sounds=sounds))
    return Examples(title=title, examples=tuple(made))


def rate_text(count: Counts, facts: TaskFacts) -> str:
    """`62.5 % errors` of one utterance."""
    if not facts.has_text:
        return "right language" if count.lid_correct else "wrong language"
    return "no reference" if count.error_rate is None else f"{count.error_rate:.0f} % errors"


def aligned_output(
    one: Hypothesis, facts: TaskFacts, tokens: LanguageTokens, *, who: str = "", about: str = ""
) -> Aligned:
    """One output under its reference, with the language it names. `tokens`: of its run; `about`: further facts."""
    named = tokens.first(one.hypothesis) or "none"
    if not facts.has_text:
        return align(one.language, named, who=who, facts=about)
    reference, output = (text.strip() for text in compared_texts(one, facts, tokens))
    if facts.has_language:
        language = f"language {one.language}, named {named}" + ("" if named == one.language else " (wrong)")
        about = f"{about}; {language}" if about else language
    return align(reference, output, units=facts.units, who=who, facts=about)


def example(one: Hypothesis, *, heading: str, aligned: Sequence[Aligned], sounds: SoundBox) -> Example:
    """An utterance with its audio, as long as the page may grow."""
    sound, remark = sounds.add(one.audio, start_s=one.start_s, duration_s=one.duration_s)
    return Example(
        id=one.id,
        heading=heading,
        facts=f"{one.id}, {one.language}, {one.dataset}, {one.duration_s:.1f} s",
        aligned=tuple(aligned),
        sound=sound,
        silence=remark,
    )
