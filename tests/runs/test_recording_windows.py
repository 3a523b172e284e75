from __future__ import annotations

import itertools
import math

import pytest

from mlsuperb.runs.windows import GRID_S, Window, Windowing, whole_s


def test_what_is_no_longer_than_a_window_stays_whole() -> None:
    assert Windowing().cut(30.0, whole_s=30.0) == [Window(0.0, 30.0, 0.0, 30.0)]
    assert Windowing(length_s=2.0).cut(1.9, whole_s=30.0) == [Window(0.0, 1.9, 0.0, 1.9)]
    assert len(Windowing(length_s=math.inf).cut(36_000.0, whole_s=30.0)) == 1
    assert len(Windowing().cut(30.01, whole_s=30.0)) == 2


def test_windows_of_a_minute() -> None:
    found = Windowing(length_s=24.0, overlap_s=4.0).cut(64.0, whole_s=30.0)
    assert [(one.start_s, one.end_s) for one in found] == [(0, 24), (20, 44), (40, 64)]
    assert [(one.from_s, one.to_s) for one in found] == [(0, 22), (22, 42), (42, 64)]


@pytest.mark.parametrize("duration_s", [30.001, 31.7, 55.0, 55.01, 60.0, 599.99, 3600.0])
@pytest.mark.parametrize("overlap_s", [None, 0.0, 3.3, 29.5])
def test_windows_cover_a_recording_once_and_overlap_as_they_should(duration_s: float, overlap_s: float | None) -> None:
    found = Windowing(overlap_s=overlap_s).cut(duration_s, whole_s=30.0)
    least_s = 5.0 if overlap_s is None else overlap_s
    assert found[0].from_s == found[0].start_s == 0
    assert found[-1].to_s == found[-1].end_s == duration_s
    assert all(30 - GRID_S < one.duration_s <= 30 + 1e-9 for one in found)
    for one, other in itertools.pairwise(found):
        assert one.to_s == other.from_s, "what is kept of one ends where that of the other begins"
        assert one.end_s - other.start_s >= least_s - 1e-6
        assert other.start_s <= other.from_s
        assert one.to_s <= one.end_s
        assert abs(one.to_s - (one.end_s + other.start_s) / 2) < GRID_S
        assert other.start_s / GRID_S == pytest.approx(round(other.start_s / GRID_S))
    num = 1 + math.ceil((duration_s - 30) / (math.floor((30 - least_s) / GRID_S + 1e-6) * GRID_S) - 1e-6)
    assert len(found) == num, "no more than are needed"


def test_times_of_frames() -> None:
    window = Window(20.0, 44.0, 22.0, 42.0)
    assert window.kept_frames(600) == (50, 550)
    assert [window.time_s(frame, 600) for frame in (50, 51, 550)] == [22.0, pytest.approx(22.04), 42.0]
    assert window.kept_frames(597) == (50, 547), "a model that loses frames at the edges"
    assert window.time_s(50, 597) == 22.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length_s": 0.0}, "a window of 0 s: give a positive number"),
        ({"length_s": math.nan}, "a window of nan s"),
        ({"overlap_s": -1.0}, "an overlap of -1 s: give 0 or"),
        ({"length_s": 10.0, "overlap_s": 9.8}, "windows of 10 s that overlap by 9.8 s: their length must exceed"),
    ],
)
def test_windows_that_cannot_be_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Windowing(**settings)


def test_an_overlap_is_held_against_the_length_that_the_model_names() -> None:
    with pytest.raises(ValueError, match="windows of 2 s that overlap by 2 s"):
        Windowing(overlap_s=2.0).cut(5.0, whole_s=2.0)


def test_the_length_follows_the_training_data() -> None:
    assert [whole_s(trained_s) for trained_s in (None, 20.0, 45.0, 100_000.0)] == [30.0, 30.0, 45.0, 60.0]
