"""ABX discriminability of phones: is a token X of phone A nearer to another token of A than to one of phone B?

The measure of the ZeroSpeech challenges (Schatz et al. 2013; Kahn et al. 2020, libri-light), as fastabx computes it: A, B and X
stand between the same two phones, and are compared over all three of them (triphones). Within speaker: all three are of one
speaker. Across: A and B are of one, X is of another. Letters: N tokens, F frames, D feature size.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, nan
from typing import Literal, NamedTuple

import numpy as np

from mlsuperb.units.dtw import Distance, sequence_distances
from mlsuperb.units.phones import SILENCES, Interval, meet

MAX_TOKENS, MAX_SPEAKERS = 10, 5  # of ZeroSpeech 2021
Speakers = Literal["within", "across"]


class Kind(NamedTuple):
    """What tokens of a group have in common: a phone, the phones before and after it, and the speaker."""

    phone: str
    context: tuple[str, str]
    speaker: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokens:
    """Phones in their contexts, as stretches of frames.

    Args:
        frames_FD: features of all utterances, one behind the other; (F,) for units.
        kinds: of each of the N tokens.
        starts_N: the first frame of each.
        lengths_N: how many frames each has, at least one.
    """

    frames_FD: np.ndarray
    kinds: Sequence[Kind]
    starts_N: np.ndarray
    lengths_N: np.ndarray

    def __len__(self) -> int:
        return len(self.kinds)


class AbxError(NamedTuple):
    """An ABX error rate from 0 to 1 (0.5 is chance; nan: there was nothing to compare), the cells that it is a mean over, and how
    many tokens they hold of those that were given."""

    error: float
    num_cells: int
    num_used: int
    num_tokens: int


class _Cell(NamedTuple):
    """Sets of tokens to compare: those of `a` and of `x` are of one phone, those of `b` of another."""

    a: Kind
    b: Kind
    x: Kind


def tokens(
    features: Sequence[np.ndarray],
    phones: Sequence[Sequence[Interval]],
    *,
    speakers: Sequence[str],
    rate_hz: float,
) -> Tokens:
    """Every phone that has a neighbour on both sides, none of the three being a silence, pause or noise (`SILENCES`); a token is
    the frames of all three, as in the challenges.

    Args:
        features: (F, D) of each utterance, or its units (F,).
        phones: the phones of each utterance.
        speakers: the speaker of each utterance; those without a name count as one speaker.
        rate_hz: frames per second. The frames of a token are those whose centre (i + 0.5) / rate lies in it, its two ends
            included (as in ABXpy; tokens without one are left out).
    """
    kinds, starts, lengths, first = [], [], [], 0
    for features_FD, intervals, speaker in zip(features, phones, speakers, strict=True):
        for before, one, after in zip(intervals, intervals[1:], intervals[2:], strict=False):
            three = (before.phone, one.phone, after.phone)
            if not SILENCES.isdisjoint(three) or not (meet(before, one) and meet(one, after)):
                continue
            start = ceil(round(before.start_s * rate_hz - 0.5, 6))
            end = min(floor(round(after.end_s * rate_hz - 0.5, 6)) + 1, len(features_FD))
            if end > start:
                kinds.append(Kind(one.phone, (before.phone, after.phone), speaker))
                starts.append(first + start)
                lengths.append(end - start)
        first += len(features_FD)
    return Tokens(
        frames_FD=np.concatenate([np.asarray(one) for one in features]),
        kinds=kinds,
        starts_N=np.array(starts, np.int64),
        lengths_N=np.array(lengths, np.int64),
    )


def abx(
    given: Tokens,
    *,
    speakers: Speakers,
    distance: Distance,
    max_tokens: int | None = MAX_TOKENS,
    max_speakers: int | None = MAX_SPEAKERS,
    seed: int = 0,
) -> AbxError:
    """The ABX error rate of tokens.

    A cell is a pair of phones (A, B) between the same neighbours, of one speaker, and with `across` another speaker of X. Its
    error is the share of its triples in which X is nearer to B, ties counting half. Means are taken over contexts (and speakers
    of X), then over speakers, then over ordered pairs of phones.

    Args:
        distance: of frames: `angular` for features, `identical` for units, which are not freed of repetitions (DiscoPhon).
        max_tokens: of each phone, context and speaker, chosen at random; None: all.
        max_speakers: `across`: other speakers whose X are compared with an A and B, chosen at random; None: all.
        seed: of the choices.
    """
    rng = np.random.default_rng(seed)
    groups: dict[Kind, list[int]] = defaultdict(list)
    for number, kind in enumerate(given.kinds):
        groups[kind].append(number)
    chosen = {kind: np.array(groups[kind]) for kind in sorted(groups)}
    if max_tokens is not None:
        chosen = {kind: rng.permutation(numbers)[:max_tokens] for kind, numbers in chosen.items()}
    cells = list(_within(chosen) if speakers == "within" else _across(chosen, max_speakers, rng))
    if not cells:
        return AbxError(nan, 0, 0, len(given))
    distances = _distances(given, chosen, cells, distance)
    errors = [_cell_error(distances[cell.x, cell.a], distances[cell.x, cell.b], cell.a == cell.x) for cell in cells]
    used = {kind for cell in cells for kind in cell}
    return AbxError(_mean(cells, errors), len(cells), sum(len(chosen[kind]) for kind in used), len(given))


def _within(groups: dict[Kind, np.ndarray]) -> Iterator[_Cell]:
    for kinds in _together(groups, lambda kind: (kind.context, kind.speaker)):
        yield from (_Cell(a, b, a) for a in kinds if len(groups[a]) > 1 for b in kinds if a != b)


def _across(groups: dict[Kind, np.ndarray], max_speakers: int | None, rng: np.random.Generator) -> Iterator[_Cell]:
    same_phone = {kinds[0][:2]: kinds for kinds in _together(groups, lambda kind: kind[:2])}
    for kinds in _together(groups, lambda kind: (kind.context, kind.speaker)):
        for a in kinds:
            others = [kind for kind in same_phone[a[:2]] if kind != a]
            for b in kinds:
                if a != b:
                    places = rng.permutation(len(others))[:max_speakers]
                    yield from (_Cell(a, b, others[place]) for place in sorted(places))


def _together(groups: Iterable[Kind], key: Callable[[Kind], Hashable]) -> list[list[Kind]]:
    """The groups that agree in `key`."""
    found: dict[Hashable, list[Kind]] = defaultdict(list)
    for kind in groups:
        found[key(kind)].append(kind)
    return list(found.values())


def _distances(
    given: Tokens, groups: dict[Kind, np.ndarray], cells: Sequence[_Cell], distance: Distance
) -> dict[tuple[Kind, Kind], np.ndarray]:
    """(X, A or B) -> distances (tokens of X, tokens of the other)."""
    blocks = list(dict.fromkeys(block for cell in cells for block in ((cell.x, cell.a), (cell.x, cell.b))))
    pairs = [np.array(np.meshgrid(groups[one], groups[other], indexing="ij")).reshape(2, -1) for one, other in blocks]
    first_P, second_P = np.concatenate(pairs, axis=1)
    found_P = sequence_distances(
        given.frames_FD,
        starts_P=(given.starts_N[first_P], given.starts_N[second_P]),
        lengths_P=(given.lengths_N[first_P], given.lengths_N[second_P]),
        distance=distance,
    )
    ends = np.cumsum([len(groups[one]) * len(groups[other]) for one, other in blocks])
    parts = np.split(found_P, ends[:-1])
    return {
        (one, other): part.reshape(len(groups[one]), len(groups[other]))
        for (one, other), part in zip(blocks, parts, strict=True)
    }


def _cell_error(to_a_XA: np.ndarray, to_b_XB: np.ndarray, same: bool) -> float:
    """The share of triples where X is nearer to B. `same`: A and X are the same tokens, none of which is compared with itself."""
    num_x, num_a = to_a_XA.shape
    num_triples = num_x * (num_a - same) * to_b_XB.shape[1]
    if same:
        upper_XA = np.triu(to_a_XA, 1)
        to_a_XA = upper_XA + upper_XA.T
        np.fill_diagonal(to_a_XA, np.inf)
    nearer = (to_a_XA[:, :, None] < to_b_XB[:, None]).sum() + 0.5 * (to_a_XA[:, :, None] == to_b_XB[:, None]).sum()
    return float(1 - nearer / num_triples)


def _mean(cells: Sequence[_Cell], errors: Sequence[float]) -> float:
    """Over contexts and speakers of X, then speakers of A and B, then pairs of phones."""
    by_speaker: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for cell, error in zip(cells, errors, strict=True):
        by_speaker[cell.a.phone, cell.b.phone][cell.a.speaker].append(error)
    return float(np.mean([np.mean([np.mean(one) for one in pair.values()]) for pair in by_speaker.values()]))


def mean_error(errors: Sequence[AbxError]) -> AbxError:
    """The mean over languages, those left out in which there was nothing to compare; cells and tokens added up."""
    known = [one.error for one in errors if one.num_cells]
    sums = [sum(column) for column in list(zip(*errors, strict=True))[1:]]
    return AbxError(float(np.mean(known)) if known else nan, *sums)
