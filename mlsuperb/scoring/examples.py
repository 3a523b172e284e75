"""A few utterances to look at: reference and hypothesis with their differences marked."""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein
from rich.text import Text

from mlsuperb.data.text import first_language
from mlsuperb.scoring.utterances import TaskName, UnitName, compared_texts
from mlsuperb.types import Hypothesis

# Where the shown utterances stand when all are sorted from best to worst: at a quarter, in the middle, at the end
_POSITIONS = {1: (0.5,), 2: (0.25, 1.0), 3: (0.25, 0.5, 1.0)}
_MISSED, _WRONG = "bold red", "bold yellow"


def show_examples(
    hypotheses: Sequence[Hypothesis],
    n: int = 3,
    *,
    task: TaskName,
    normaliser: str = "v1",
    units: UnitName = "char",
    colour: bool = False,
) -> Text:
    """Up to three utterances, always the same ones: at the best quarter, in the middle, and the worst, by error rate.

    With `colour` differences are coloured, otherwise they stand in braces: in the reference what was missed, in the
    hypothesis what is wrong.
    """
    if n not in _POSITIONS:
        raise ValueError(f"{n} examples were asked for; 1, 2 or 3 can be shown")
    ranked = []
    for one in hypotheses:
        reference, output = _texts(one, task=task, normaliser=normaliser, units=units)
        rate = Levenshtein.distance(reference, output) / max(1, len(reference))
        ranked.append((rate, one.split, one.id, one, reference, output))
    ranked.sort(key=lambda entry: entry[:3])
    places = dict.fromkeys(round(position * (len(ranked) - 1)) for position in _POSITIONS[n])
    shown = Text()
    for place in places:
        rate, _, _, one, reference, output = ranked[place]
        shown.append(f"{one.id}: number {place + 1} of {len(ranked)} from best to worst, {100 * rate:.0f} % errors\n")
        shown.append(_marked(one, reference, output, task=task, colour=colour))
    return shown


def _texts(one: Hypothesis, *, task: TaskName, normaliser: str, units: UnitName) -> tuple[Sequence[str], Sequence[str]]:
    """As sequences of units."""
    if task == "lid":
        return [one.language], [first_language(one.hypothesis) or "none"]
    reference, output = compared_texts(one, task=task, normaliser=normaliser, units=units)
    return (reference.split(), output.split()) if units == "phoneme" else (reference.strip(), output.strip())


def _marked(one: Hypothesis, reference: Sequence[str], output: Sequence[str], *, task: TaskName, colour: bool) -> Text:
    between = "" if isinstance(reference, str) else " "
    lines = [Text("  reference   "), Text("  hypothesis  ")]
    if task == "asr_lid":
        predicted = first_language(one.hypothesis) or "none"
        lines[0].append(f"[{one.language}] ")
        lines[1].append(f"[{predicted}]", style=_WRONG if colour and predicted != one.language else "").append(" ")
    for operation in Levenshtein.opcodes(reference, output):
        same = operation.tag == "equal"
        for line, units, style in (
            (lines[0], reference[operation.src_start : operation.src_end], _MISSED),
            (lines[1], output[operation.dest_start : operation.dest_end], _WRONG),
        ):
            if not units:
                continue
            text = between.join(units)
            if same:
                line.append(text)
            elif colour:
                line.append(text, style=style)
            else:
                line.append(f"{{{text}}}")
            line.append(between)
    return Text("\n").join([*lines, Text("")])
