"""Phone intervals: read from tables, TextGrids and label files, and laid beside frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlsuperb.data.phones.ipa import without_stress
from mlsuperb.runtime.lines import NUM_PLACES, read_lines, wrong_lines
from mlsuperb.runtime.messages import some
from mlsuperb.units.textgrid import read_tier

PHONES_FILE = "phones.tsv"
SILENCE = "SIL"  # what an empty interval of a TextGrid is called, as in DiscoPhon
SILENCES = frozenset({SILENCE, "sil", "sp", "spn", "SPN", "pau", "#", "h#", "_", "<sil>", "<eps>"})
_ROUNDING_S = 1e-4  # ends and starts that differ by no more are the same time


class Interval(NamedTuple):
    """A phone from `start_s` to `end_s` of an utterance, in seconds."""

    start_s: float
    end_s: float
    phone: str


Phones = dict[str, list[Interval]]  # utterance id -> its phones in order


def read_phones(path: Path, *, tier: str = "phones", stress: bool = False) -> Phones:
    """The phones of each utterance.

    Args:
        path: a table (one phone per line: utterance, start, end, phone; tabs between, times in seconds, with or without a
            header), or a folder that holds, at any depth, tables named `phones.tsv`, Praat TextGrids named
            `<utterance>.TextGrid`, or label files of Festival or xwaves named `<utterance>.lab` (`end number phone`).
        tier: the tier of TextGrids that holds the phones; an empty interval is silence (`SIL`).
        stress: keep stress marks: the digit of an ARPAbet vowel (`AH0`) and IPA's ˈ and ˌ.

    Raises:
        ValueError: there are no phones, a file breaks its format, or times run backwards.
    """
    found: Phones = {}
    twice, disordered = [], []
    for utterance_id, intervals in _read(path, tier):
        if utterance_id in found:
            twice.append(utterance_id)
        found[utterance_id] = [one for one in intervals if one.end_s != one.start_s]
        if not _in_order(found[utterance_id]):
            disordered.append(utterance_id)
    if twice:
        raise ValueError(
            f"{path} has the phones of {some(twice, at_most=NUM_PLACES)} twice. Keep one of the files, or one block of lines"
        )
    if disordered:
        raise ValueError(
            f"{path}: the phones of {some(disordered, at_most=NUM_PLACES)} overlap or run backwards in time. Sort them by time "
            "and correct those that end before they start"
        )
    if not found:
        raise ValueError(f"{path} holds no phones. Give a table or a folder of {_KINDS_TEXT}")
    if not stress:
        found = {name: [one._replace(phone=without_stress(one.phone)) for one in rows] for name, rows in found.items()}
    return found


def aligned(intervals: Sequence[Interval], *, num_frames: int, rate_hz: float, index: Mapping[str, int]) -> np.ndarray:
    """The phone (F,) of each frame as its number in `index`: the phone that is spoken at the centre of the frame,
    (i + 0.5) / rate; -1 where no interval covers it. An interval includes its start and not its end. The shorter of the two
    sequences decides: F is at most `num_frames`, and frames whose centre lies behind the last interval are left out.
    """
    starts, ends = np.array([one[:2] for one in intervals]).reshape(-1, 2).T
    centres_F = (np.arange(num_frames) + 0.5) / rate_hz
    centres_F = centres_F[centres_F < (ends[-1] if len(ends) else 0)]
    place_F = np.searchsorted(starts, centres_F, side="right") - 1
    numbers = np.array([index[one.phone] for one in intervals], np.int64)
    inside_F = (place_F >= 0) & (centres_F < ends[place_F])
    return np.where(inside_F, numbers[place_F], -1)


def meet(earlier: Interval, later: Interval) -> bool:
    """Whether one begins where the other ends."""
    return later.start_s - earlier.end_s <= _ROUNDING_S


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """The intervals, neighbours of the same phone as one."""
    found: list[Interval] = []
    for one in intervals:
        if found and found[-1].phone == one.phone and meet(found[-1], one):
            found[-1] = found[-1]._replace(end_s=one.end_s)
        else:
            found.append(one)
    return found


def _in_order(intervals: Sequence[Interval]) -> bool:
    return all(0 <= one.start_s < one.end_s for one in intervals) and not any(
        later.start_s < earlier.end_s - _ROUNDING_S for earlier, later in pairwise(intervals)
    )


def _read(path: Path, tier: str) -> Iterator[tuple[str, Iterable[Interval]]]:
    """(utterance, its phones) of a file, or of all files in a folder."""
    readers: dict[str, Callable[[Path], Iterable[tuple[str, Iterable[Interval]]]]] = {
        PHONES_FILE: _table,
        "*.TextGrid": lambda file: [
            (file.stem, [Interval(a, b, text or SILENCE) for a, b, text in read_tier(file, tier)])
        ],
        "*.lab": lambda file: [(file.stem, list(_label_file(file)))],
    }
    if path.is_file():
        yield from readers.get(f"*{path.suffix}", _table)(path)
        return
    if not path.is_dir():
        raise ValueError(
            f"{path}: there is no such file or folder. Give a table of phones, or a folder of {_KINDS_TEXT}"
        )
    files = {kind: found for kind in readers if (found := sorted(path.rglob(kind)))}
    if len(files) > 1:
        raise ValueError(
            f"{path} holds {' and '.join(files)}, and only one of them can be the phones. Give a folder of its own"
        )
    faults = []
    for kind, found in files.items():
        for file in found:
            try:
                yield from list(readers[kind](file))
            except ValueError as error:
                faults.append(str(error))
    if faults:
        more = f". And {len(faults) - NUM_PLACES:,} more files" if len(faults) > NUM_PLACES else ""
        raise ValueError(". ".join(faults[:NUM_PLACES]) + more)


_KINDS_TEXT = f"{PHONES_FILE}, *.TextGrid or *.lab files"


def _table(path: Path) -> Iterator[tuple[str, list[Interval]]]:
    rows, wrong = [], []
    for number, line in read_lines(path):
        cells = line.split("\t")
        if not line or (number == 1 and not any(_is_number([cell]) for cell in cells[1:3])):  # a header
            continue
        if len(cells) != 4 or not _is_number(cells[1:3]):
            wrong.append(f"{path}, line {number}: '{line}'")
        else:
            rows.append((cells[0], Interval(float(cells[1]), float(cells[2]), cells[3])))
    if wrong:
        raise ValueError(
            f"{wrong_lines(wrong, what='no phone')}. A line holds utterance, start and end in seconds, and phone, with tabs "
            "between"
        )
    for utterance_id, group in groupby(rows, key=lambda row: row[0]):
        yield utterance_id, [interval for _, interval in group]


def _label_file(path: Path) -> Iterator[Interval]:
    lines = [line.split() for _, line in read_lines(path)]
    if ["#"] in lines:  # the end of the header
        lines = lines[lines.index(["#"]) + 1 :]
    wrong = [one for one in lines if one and (len(one) < 3 or not _is_number(one[:1]))]
    if wrong:
        places = [f"{path}: '{' '.join(one)}'" for one in wrong]
        raise ValueError(
            f"{wrong_lines(places, what='no line of a label file')}. A line holds end in seconds, number and phone"
        )
    start_s = 0.0
    for fields in filter(None, lines):
        yield Interval(start_s, float(fields[0]), fields[2])
        start_s = float(fields[0])


def _is_number(cells: Sequence[str]) -> bool:
    try:
        return bool(cells) and all(np.isfinite(float(cell)) for cell in cells)
    except ValueError:
        return False
