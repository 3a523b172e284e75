"""A few utterances to look at: reference and hypothesis with their differences marked."""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein
from rich.text import Text

from mlsuperb.data.text import LanguageTokens
from mlsuperb.runtime.messages import printable
from mlsuperb.scoring.marking import joined, marked
from mlsuperb.scoring.utterances import compared_units, language_tokens
from mlsuperb.types import Hypothesis, TaskFacts

# Where the shown utterances stand when all are sorted from best to worst: at a quarter, in the middle, at the end
_POSITIONS = {1: (0.5,), 2: (0.25, 1.0), 3: (0.25, 0.5, 1.0)}
_MISSED, _WRONG = "bold red", "bold yellow"


def show_examples(hypotheses: Sequence[Hypothesis], facts: TaskFacts, n: int = 3, *, colour: bool = False) -> Text:
    """Up to three utterances, always the same ones: at the best quarter, in the middle, and the worst, by error rate.

    With `colour` differences are coloured, otherwise they stand in braces: in the reference what was missed, in the
    hypothesis what is wrong.
    """
    if n not in _POSITIONS:
        raise ValueError(f"{n} examples were asked for; 1, 2 or 3 can be shown")
    ranked, tokens = [], language_tokens(hypotheses)
    for one in hypotheses:
        reference, output = _units(one, facts, tokens)
        rate = Levenshtein.distance(reference, output) / max(1, len(reference))
        ranked.append((rate, one.split, one.id, one, reference, output))
    ranked.sort(key=lambda entry: entry[:3])
    places = dict.fromkeys(round(position * (len(ranked) - 1)) for position in _POSITIONS[n])
    shown = Text()
    for place in places:
        rate, _, _, one, reference, output = ranked[place]
        shown.append(
            f"{printable(one.id)}: number {place + 1} of {len(ranked)} from best to worst, {100 * rate:.0f} % errors\n"
        )
        lines = [Text("  reference   "), Text("  hypothesis  ")]
        if facts.has_text and facts.has_language:
            predicted = tokens.first(one.hypothesis) or "none"
            lines[0].append(f"[{printable(one.language)}] ")
            lines[1].append(f"[{predicted}]", style=_WRONG if colour and predicted != one.language else "").append(" ")
        _append(lines, reference, output, colour=colour)
        shown.append(Text("\n").join([*lines, Text("")]))
    if facts.has_text and not colour:
        shown.append("{braces}: missed in the reference, wrong or added in the hypothesis\n")
    return shown


def _units(one: Hypothesis, facts: TaskFacts, tokens: LanguageTokens) -> tuple[Sequence[str], Sequence[str]]:
    if not facts.has_text:
        return [one.language], [tokens.first(one.hypothesis) or "none"]
    return compared_units(one, facts, tokens)


def _append(lines: Sequence[Text], reference: Sequence[str], output: Sequence[str], *, colour: bool) -> None:
    between = "" if isinstance(reference, str) else " "
    for piece in marked(reference, output):
        for line, units, style in ((lines[0], piece.reference, _MISSED), (lines[1], piece.hypothesis, _WRONG)):
            if not units:
                continue
            text = printable(joined(units))
            wrong = piece.kind != "equal"
            line.append(f"{{{text}}}" if wrong and not colour else text, style=style if wrong and colour else "")
            line.append(between)
