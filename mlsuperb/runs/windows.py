"""Long recordings in overlapping windows, so that memory does not grow with them and no model reads more than it was made for."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Windows begin and are cut at multiples of this: a whole number of frames of every model here (20, 40 or 80 ms)
GRID_S = 0.08
WHOLE_S = 30.0  # what most published models and recipes cut speech to
LONGEST_WHOLE_S = 60.0
LEAST_ADVANCE_S = 0.5
_ROUNDING = 1e-6  # of a quotient


@dataclass(frozen=True)
class Window:
    """A stretch of a recording that is encoded in one piece, in seconds of the recording: `start_s` to `end_s`, of which
    `from_s` to `to_s` is kept. The rest is context; neighbours know it better."""

    start_s: float
    end_s: float
    from_s: float
    to_s: float

    @classmethod
    def whole(cls, duration_s: float) -> Window:
        """All of a recording."""
        return cls(0.0, duration_s, 0.0, duration_s)

    @property
    def duration_s(self) -> float:
        """Length, context included."""
        return self.end_s - self.start_s

    def kept_frames(self, num_frames: int) -> tuple[int, int]:
        """The first of the window's frames that is kept, and the first one after those."""
        return self.frame(self.from_s, num_frames), self.frame(self.to_s, num_frames)

    def frame(self, time_s: float, num_frames: int) -> int:
        """The frame that begins nearest to a time, where so many frames cover the window."""
        return round((time_s - self.start_s) / self.duration_s * num_frames)

    def time_s(self, frame: int, num_frames: int) -> float:
        """When a frame of the kept part begins; the edges of that part are exact, so that neighbours meet there."""
        first, last = self.kept_frames(num_frames)
        if frame in (first, last):
            return self.from_s if frame == first else self.to_s
        return min(max(self.start_s + frame / num_frames * self.duration_s, self.from_s), self.to_s)


@dataclass(frozen=True, kw_only=True)
class Windowing:
    """How long recordings are cut.

    Args:
        length_s: of a window; what is no longer stays whole. None: what the model says of itself (`Transcriber.whole_s`).
        overlap_s: of two neighbours, at least; None: a sixth of the length, as 5 s of 30.

    Raises:
        ValueError: the length is no positive number, or the overlap leaves too little of it.
    """

    length_s: float | None = None
    overlap_s: float | None = None

    def __post_init__(self) -> None:
        if self.length_s is not None and not self.length_s > 0:
            raise ValueError(f"a window of {self.length_s:g} s: give a positive number of seconds")
        if self.overlap_s is not None and not 0 <= self.overlap_s < math.inf:
            raise ValueError(f"an overlap of {self.overlap_s:g} s: give 0 or a positive number of seconds")
        if self.length_s is not None and self.overlap_s is not None:
            self._most_advance_s(self.length_s)

    def cut(self, duration_s: float, *, whole_s: float) -> list[Window]:
        """The windows of a recording, all of one length (the last one up to `GRID_S` shorter). Neighbours overlap as much as the
        number of windows allows, and each is kept up to the middle of its overlaps.

        Args:
            whole_s: the length, if none is set.

        Raises:
            ValueError: the overlap leaves too little of the length.
        """
        length_s = whole_s if self.length_s is None else self.length_s
        if duration_s <= length_s:
            return [Window.whole(duration_s)]
        rest_s = duration_s - length_s
        num = math.ceil(rest_s / self._most_advance_s(length_s) - _ROUNDING)
        starts = [_next_on_grid(number * rest_s / num) for number in range(num + 1)]
        ends = [*(start + length_s for start in starts[:-1]), duration_s]
        seams = [_next_on_grid((start + end) / 2) for start, end in zip(starts[1:], ends[:-1], strict=True)]
        return [Window(*one) for one in zip(starts, ends, [0.0, *seams], [*seams, duration_s], strict=True)]

    def _most_advance_s(self, length_s: float) -> float:
        overlap_s = length_s / 6 if self.overlap_s is None else self.overlap_s
        if length_s - overlap_s < LEAST_ADVANCE_S:
            raise ValueError(
                f"windows of {length_s:g} s that overlap by {overlap_s:g} s: their length must exceed the overlap by "
                f"{LEAST_ADVANCE_S:g} s at least. Give a longer window or a shorter overlap"
            )
        return math.floor((length_s - overlap_s) / GRID_S + _ROUNDING) * GRID_S


def _next_on_grid(time_s: float) -> float:
    return math.ceil(time_s / GRID_S - _ROUNDING) * GRID_S


def whole_s(trained_s: float | None) -> float:
    """The longest recording that is decoded in one piece by a model whose training utterances were at most so long: that, but
    between 30 and 60 s (a limit of 100,000 s says nothing of what there was)."""
    return min(max(trained_s or 0.0, WHOLE_S), LONGEST_WHOLE_S)
