"""`hypotheses.jsonl`: one decoded utterance per line."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from mlsuperb.data.languages import can_be_token
from mlsuperb.data.vocabulary import Vocabulary
from mlsuperb.runtime.files import write_atomic
from mlsuperb.runtime.lines import HALF_A_CHARACTER, is_text, read_lines
from mlsuperb.runtime.records import load_strict_json, strict_json
from mlsuperb.types import Hypothesis

HYPOTHESES_FILE = "hypotheses.jsonl"
_FIELDS = {field.name: field.type for field in fields(Hypothesis)}  # types as text: `str`, `float`, `str | None`
_ACCEPTED: dict[str, tuple[type, ...]] = {"str": (str,), "float": (float, int), "str | None": (str, type(None))}
# What the outputs of other programs need not say
OF_OTHERS: Mapping[str, Any] = {
    "dataset": "unknown", "split": "test", "audio": "", "start_s": 0.0, "duration_s": 0.0, "predicted_language": None,
}  # fmt: skip


def write_hypotheses(path: Path, hypotheses: Iterable[Hypothesis]) -> None:
    """Write one JSON object per line, whole or not at all.

    Raises:
        OSError: the file cannot be written (a full disk, for one).
        ValueError: a time is NaN or infinite.
    """
    write_atomic(path, (strict_json(vars(one), name=f"hypothesis {one.id!r}") + "\n" for one in hypotheses))


def read_hypotheses(path: Path, *, of_others: bool = False) -> list[Hypothesis]:
    """All hypotheses of a file, in its order.

    Args:
        of_others: the file may be the output of another program: see `hypothesis_of_others`.

    Raises:
        ValueError: no such file, no line, a line that is not a hypothesis, or the same (split, id) twice; the message
            names file and line.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}; a run writes hypotheses.jsonl when it has decoded its test data")
    found: list[Hypothesis] = []
    first_line: dict[tuple[str, str], int] = {}
    for number, line in read_lines(path):
        if not line:
            continue
        one = _parse(line, place=f"{path}, line {number}", of_others=of_others)
        earlier = first_line.setdefault((one.split, one.id), number)
        if earlier != number:
            raise ValueError(
                f"{path}, line {number}: utterance {one.id!r} of split {one.split!r} stands already in line "
                f"{earlier}; every utterance of a split is scored once, so remove one of the lines"
            )
        found.append(one)
    if not found:
        raise ValueError(
            f"{path} holds no hypothesis; decode again (start the run again, or mlsuperb.commands.evaluate)"
        )
    return found


def hypotheses_of_split(folder: Path, split: str) -> list[Hypothesis]:
    """The hypotheses of one split of a run.

    Raises:
        ValueError: as `read_hypotheses`, or there is none of the split.
    """
    everything = read_hypotheses(folder / HYPOTHESES_FILE)
    found = [one for one in everything if one.split == split]
    if not found:
        known = ", ".join(sorted({one.split for one in everything}))
        raise ValueError(
            f"{folder} has no hypotheses of the split {split!r}; it has {known}: give one of them with --split"
        )
    return found


def hypothesis_of_others(row: Mapping[str, Any], *, place: str) -> Hypothesis:
    """The hypothesis of a row that need not say more than id, language, reference and hypothesis. Where it names a predicted
    language, that stands as a token before its text, as it does in our own output.

    Args:
        place: of the row, for errors.

    Raises:
        ValueError: a value is missing or is none.
    """
    one = _checked({**OF_OTHERS, **row}, place=place, needed=[name for name in _FIELDS if name not in OF_OTHERS])
    token = f"[{one.predicted_language}]"
    if _FIELDS.keys() <= row.keys() or one.predicted_language is None or one.hypothesis.startswith(token):
        return one
    return replace(one, hypothesis=f"{token} {one.hypothesis}".rstrip())


def _parse(line: str, *, place: str, of_others: bool) -> Hypothesis:
    try:
        row = load_strict_json(line)
    except ValueError as error:
        raise ValueError(f"{place}: not a JSON object ({error}); was the file cut off or edited?") from error
    if not isinstance(row, dict):
        raise ValueError(f"{place}: not a JSON object; a hypothesis has the fields {', '.join(_FIELDS)}")
    return hypothesis_of_others(row, place=place) if of_others else _checked(row, place=place, needed=list(_FIELDS))


def _checked(row: Mapping[str, Any], *, place: str, needed: Sequence[str]) -> Hypothesis:
    if missing := [name for name in needed if name not in row]:
        raise ValueError(f"{place}: missing {', '.join(missing)}; a hypothesis has the fields {', '.join(needed)}")
    if unknown := [name for name in row if name not in _FIELDS]:
        raise ValueError(f"{place}: unknown {', '.join(unknown)}; a hypothesis has the fields {', '.join(_FIELDS)}")
    for name, expected in _FIELDS.items():
        if not isinstance(row[name], _ACCEPTED[str(expected)]) or isinstance(row[name], bool):
            raise ValueError(f"{place}: {name} is {row[name]!r}, expected {str(expected).replace('None', 'null')}")
        if isinstance(row[name], str) and not is_text(row[name]):
            raise ValueError(f"{place}: {name} is {row[name]!a}, in which {HALF_A_CHARACTER}")
        if isinstance(row[name], (int, float)) and not abs(row[name]) <= sys.float_info.max:
            raise ValueError(f"{place}: {name} is not a finite number of seconds")
    for name in ("language", "predicted_language"):
        if row[name] and not can_be_token(row[name]):
            raise ValueError(
                f"{place}: {name} is {row[name]!r}; a language's code holds no bracket and no white space (eng, not [eng])"
            )
    return Hypothesis(**row)


def tokens_of(folder: Path) -> list[str] | None:
    """The tokens of the model whose run, or evaluation, a folder holds; None where they are not there."""
    from mlsuperb.runs.store import EVALUATIONS  # takes pydantic along, which a command's help does not need

    whole = folder.absolute()
    path = (whole.parent.parent if whole.parent.name == EVALUATIONS else whole) / "tokens.txt"
    return Vocabulary.load(path).tokens if path.is_file() else None
