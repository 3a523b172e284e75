"""ABX against fastabx's published values and an independent implementation, token by token."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest

from mlsuperb.units.abx import Kind, Tokens, abx, tokens
from mlsuperb.units.dtw import sequence_distances
from mlsuperb.units.phones import Interval


def single_frames(features: np.ndarray, kinds: list[Kind]) -> Tokens:
    return Tokens(
        frames_FD=features, kinds=kinds, starts_N=np.arange(len(kinds)), lengths_N=np.ones(len(kinds), np.int64)
    )


def test_two_gaussians_as_in_the_readme_of_fastabx() -> None:
    """bootphon/fastabx, README.md: 0.03059999644756317, which is 0.0306 in float32."""
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(0, 1, (50, 8)), rng.normal(2, 1, (50, 8))])
    kinds = [
        Kind(phone, ("", ""), speaker) for phone, speaker in zip("a" * 50 + "b" * 50, ["s1", "s2"] * 50, strict=True)
    ]
    found = abx(single_frames(features, kinds), speakers="within", distance="euclidean", max_tokens=None)
    assert found.error == pytest.approx(0.03059999644756317, abs=1e-7)
    assert found[1:] == (4, 100, 100)


@pytest.mark.parametrize(
    ("distance", "error"), [("euclidean", 0.4913194353381793), ("angular", 0.4809027786056201), ("identical", 0.5)]
)
def test_across_speakers_as_in_a_test_of_fastabx(distance: str, error: float) -> None:
    """bootphon/fastabx, tests/test_regression.py: on phone, by context, across speaker."""
    features = np.random.default_rng(2026).standard_normal((36, 6)).astype(np.float32)
    if distance == "identical":
        features = np.arange(36) % 4
    speakers = ["s1"] * 12 + ["s2"] * 12 + ["s3"] * 12
    contexts = [("c1", ""), ("c2", "")] * 18
    kinds = [Kind(*labels) for labels in zip(["a", "b", "c"] * 12, contexts, speakers, strict=True)]
    found = abx(single_frames(features, kinds), speakers="across", distance=distance, max_tokens=None)  # type: ignore[arg-type]
    assert found.error == pytest.approx(error, abs=1e-7)


def warped_by_going_back(costs: np.ndarray) -> float:
    """libri-light's `_dtw`: accumulate, go back from the end, divide by the cells on the way."""
    total = np.zeros_like(costs)
    for x, y in np.ndindex(*costs.shape):
        before = [total[a, b] for a, b in ((x - 1, y - 1), (x - 1, y), (x, y - 1)) if a >= 0 and b >= 0]
        total[x, y] = costs[x, y] + (min(before) if before else 0)
    x, y = costs.shape[0] - 1, costs.shape[1] - 1
    cells = 1
    while x > 0 and y > 0:
        up, left, diagonal = total[x - 1, y], total[x, y - 1], total[x - 1, y - 1]
        if diagonal <= left and diagonal <= up:
            x, y = x - 1, y - 1
        elif left <= up:
            y -= 1
        else:
            x -= 1
        cells += 1
    return float(total[-1, -1] / (cells + x + y))


COSTS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "angular": lambda x, y: math.acos(max(-1, min(1, float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))))) / math.pi,
    "euclidean": lambda x, y: math.dist(x, y),
    "identical": lambda x, y: float(x != y),
}


def between(x: np.ndarray, y: np.ndarray, distance: str) -> float:
    return warped_by_going_back(np.array([[COSTS[distance](one, other) for other in y] for one in x]))


@pytest.mark.parametrize("distance", ["angular", "euclidean", "identical"])
def test_distances_along_the_path(distance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    frames = rng.integers(0, 3, 200) if distance == "identical" else rng.standard_normal((200, 5))
    starts = rng.integers(0, 180, (2, 60))
    lengths = rng.integers(1, 14, (2, 60))
    given = {"starts_P": (starts[0], starts[1]), "lengths_P": (lengths[0], lengths[1]), "distance": distance}
    wanted = [
        between(frames[a : a + m], frames[b : b + n], distance) for a, b, m, n in zip(*starts, *lengths, strict=True)
    ]
    whole = sequence_distances(frames, **given)  # type: ignore[arg-type]
    assert whole == pytest.approx(wanted, abs=2e-4 if distance == "angular" else 1e-6)
    monkeypatch.setattr("mlsuperb.units.dtw._VALUES_AT_A_TIME", 400)
    assert sequence_distances(frames, **given) == pytest.approx(whole, abs=1e-6)  # type: ignore[arg-type]


def test_a_frame_of_zeros_is_at_a_right_angle() -> None:
    frames = np.array([[0.0, 0.0], [1.0, 0.0], [-2.0, 0.0]])
    pairs = (np.array([0, 0, 1, 1]), np.array([0, 1, 1, 2]))
    ones = np.ones(4, np.int64)
    found = sequence_distances(frames, starts_P=pairs, lengths_P=(ones, ones), distance="angular")
    assert found == pytest.approx([0.5, 0.5, 0, 1])


def error_by_triples(given: Tokens, speakers: str, distance: str) -> float:
    """Every triple by itself; means over contexts and speakers of X, over speakers, over pairs of phones."""
    sequences = [given.frames_FD[at : at + num] for at, num in zip(given.starts_N, given.lengths_N, strict=True)]
    errors: dict[tuple[str, ...], dict[tuple[object, ...], list[float]]] = defaultdict(lambda: defaultdict(list))
    for x, of_x in enumerate(given.kinds):
        for a, of_a in enumerate(given.kinds):
            if a == x or of_a[:2] != of_x[:2] or (of_a.speaker == of_x.speaker) != (speakers == "within"):
                continue
            for b, of_b in enumerate(given.kinds):
                if of_b.phone == of_a.phone or of_b[1:] != of_a[1:]:
                    continue
                # of two tokens of one group, libri-light takes the distance from the first to the second for both directions
                first, second = sorted((x, a)) if speakers == "within" else (x, a)
                to_a = between(sequences[first], sequences[second], distance)
                to_b = between(sequences[x], sequences[b], distance)
                error = 0.5 if abs(to_a - to_b) < 1e-9 else float(to_a > to_b)
                errors[of_a.phone, of_b.phone, of_a.speaker][of_a.context, of_x.speaker].append(error)
    by_pair: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for key, cells in errors.items():
        by_pair[key[:2]].append(float(np.mean([np.mean(one) for one in cells.values()])))
    return float(np.mean([np.mean(one) for one in by_pair.values()]))


@pytest.mark.parametrize("speakers", ["within", "across"])
@pytest.mark.parametrize("distance", ["angular", "identical"])
def test_the_error_of_every_triple(distance: str, speakers: str) -> None:
    rng = np.random.default_rng(11)
    num = 36
    kinds = [
        Kind("abc"[rng.integers(3)], ("pq"[rng.integers(2)], "r"), ["s", "t", "u"][rng.integers(3)]) for _ in range(num)
    ]
    frames = rng.integers(0, 3, 200) if distance == "identical" else rng.standard_normal((200, 4))
    given = Tokens(frames_FD=frames, kinds=kinds, starts_N=np.arange(num) * 5, lengths_N=rng.integers(1, 6, num))
    found = abx(given, speakers=speakers, distance=distance, max_tokens=None, max_speakers=None)  # type: ignore[arg-type]
    assert found.num_cells > 10
    assert found.error == pytest.approx(error_by_triples(given, speakers, distance), abs=1e-6)


def spoken(rng: np.random.Generator, *, noise: float, num: int = 12) -> tuple[list[np.ndarray], list[list[Interval]]]:
    """Utterances p x r, x being one of three phones, each phone a direction in the features, with noise."""
    names = "pabcr"
    features, phones = [], []
    for number in range(num):
        sequence = ["SIL", "p", "abc"[number % 3], "r", "SIL"]
        times = np.cumsum([0, 0.1, 0.06, 0.08, 0.06, 0.1]).round(2).tolist()
        phones.append([Interval(*one) for one in zip(times, times[1:], sequence, strict=False)])
        centres = (np.arange(20) + 0.5) / 50
        of_frame = [next(one.phone for one in phones[-1] if one.start_s <= t < one.end_s) for t in centres]
        clean = np.array([[float(name == one) for name in names] for one in of_frame])
        features.append(clean + noise * rng.standard_normal(clean.shape))
    return features, phones


def test_clear_features_are_told_apart_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    for noise, low, high in ((0.1, 0, 0.01), (30.0, 0.35, 0.65)):
        features, phones = spoken(rng, noise=noise, num=24)
        given = tokens(features, phones, speakers=["s", "t"] * 12, rate_hz=50)
        assert len(given) == 24  # the phone in the middle of three that are no silence
        assert given.kinds[0] == Kind("a", ("p", "r"), "s")
        for speakers in ("within", "across"):
            found = abx(given, speakers=speakers, distance="angular")  # type: ignore[arg-type]
            assert low <= found.error <= high
            assert found.num_used == 24


def test_frames_of_a_token_are_those_with_their_centre_in_it() -> None:
    phones = [[Interval(0.0, 0.03, "a"), Interval(0.03, 0.07, "b"), Interval(0.07, 0.15, "c")]]
    units = [np.arange(10)]
    triphone = tokens(units, phones, speakers=["s"], rate_hz=50)
    # centres at 10, 30, ... ms, both ends included: 10 to 150 ms are eight
    assert (triphone.starts_N.tolist(), triphone.lengths_N.tolist()) == ([0], [8])
    later = [[one._replace(start_s=one.start_s + 0.03, end_s=one.end_s + 0.03) for one in phones[0]]]
    shifted = tokens(units, later, speakers=["s"], rate_hz=50)
    assert (shifted.starts_N.tolist(), shifted.lengths_N.tolist()) == ([1], [8])  # 30 to 180 ms
    cut = tokens([np.arange(5)], phones, speakers=["s"], rate_hz=50)
    assert cut.lengths_N.tolist() == [5]
    assert len(tokens(units, [[one._replace(phone="SIL") for one in phones[0]]], speakers=["s"], rate_hz=50)) == 0
    apart = [[phones[0][0], Interval(0.04, 0.07, "b"), phones[0][2]]]
    assert len(tokens(units, apart, speakers=["s"], rate_hz=50)) == 0


def test_tokens_of_all_utterances_stand_behind_each_other() -> None:
    phones = [Interval(0.0, 0.1, "a"), Interval(0.1, 0.2, "b"), Interval(0.2, 0.3, "c"), Interval(0.3, 0.4, "d")]
    given = tokens([np.arange(20), 100 + np.arange(20)], [phones, phones], speakers=["s", "t"], rate_hz=50)
    assert [given.frames_FD[start] for start in given.starts_N] == [0, 5, 100, 105]
    assert [kind.speaker for kind in given.kinds] == ["s", "s", "t", "t"]


def test_no_more_tokens_than_asked_for_are_taken() -> None:
    rng = np.random.default_rng(0)
    features, phones = spoken(rng, noise=0.7, num=60)
    given = tokens(features, phones, speakers=["s", "t"] * 30, rate_hz=50)
    few = abx(given, speakers="within", distance="angular", max_tokens=4)
    assert (few.num_used, few.num_tokens) == (24, 60)  # three phones, two speakers
    assert few == abx(given, speakers="within", distance="angular", max_tokens=4)
    others = {abx(given, speakers="within", distance="angular", max_tokens=4, seed=seed).error for seed in range(6)}
    assert len(others) > 1
    every = abx(given, speakers="within", distance="angular", max_tokens=None)
    assert every.num_used == 60
    assert np.mean(list(others)) == pytest.approx(every.error, abs=0.1)


def test_of_many_speakers_some_are_compared() -> None:
    rng = np.random.default_rng(0)
    features, phones = spoken(rng, noise=0.7, num=60)
    given = tokens(features, phones, speakers=[f"s{number // 3}" for number in range(60)], rate_hz=50)
    some = abx(given, speakers="across", distance="angular", max_speakers=2)
    assert some.num_cells == 20 * 6 * 2
    assert abx(given, speakers="across", distance="angular", max_speakers=None).num_cells == 20 * 6 * 19


def test_where_nothing_can_be_compared_there_is_no_error() -> None:
    features, phones = spoken(np.random.default_rng(0), noise=0.1)
    given = tokens(features, phones, speakers=["s"] * 12, rate_hz=50)
    found = abx(given, speakers="across", distance="angular")
    assert math.isnan(found.error)
    assert found[1:] == (0, 0, 12)
