"""Reading shards in sequence: a pass over a corpus as a series of windows of some hours, each of which is read from its first
byte to its last before the first of its batches is made.

Why windows. Batches have to be a function of (seed, iteration) alone: the same for any number of ranks and workers, and a
resumed run must go on with the very next one without decoding what was seen. A plan over durations gives that
(`mlsuperb.data.batching`), but one plan over all of a corpus asks for utterances anywhere in it. So a pass visits shards in
random order, the order is cut into windows, and each window is planned as a small corpus is: batches of similar length, random
crops, ranks that share each batch. Nothing else had to change: datasets, loaders and workers read an utterance by its place in
an archive, as they read a file.

Why no buffer of our own. A thread reads the archives of the next window, one after the other in large blocks, and leaves them
to the operating system's page cache; workers and ranks of a machine then find in memory what they ask for. So what is held is
shared by all of them, is no more than three windows, and is never needed for the result: if memory runs out, an utterance is
read once more from the disk.

The sampling law. A shard is visited as often in a pass as its most wanted utterance is to be seen, the fraction being a chance,
and at each visit an utterance is kept with the chance that its own number is of that. So every utterance is seen as often as
the law says, on average over passes. In shards of one language and dataset all are wanted equally: all are kept, no byte is
read that is not used, and the visits of a small language are spread over the pass. Letters: N utterances, V visits.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

_BLOCK = 2**22  # bytes


class Window(Protocol):
    """A part of a pass that is planned for itself."""

    @property
    def rows(self) -> np.ndarray:
        """Indices of its utterances, each as often as it is seen."""
        ...

    def begin(self) -> None:
        """To be called before the first of its batches is loaded."""
        ...


@dataclass(frozen=True)
class WholePass:
    """A pass over a corpus that is not read in windows."""

    rows: np.ndarray

    def begin(self) -> None:
        """Nothing is read ahead."""


class ShardWindows:
    """Windows of a corpus in shards.

    Args:
        shard_N: number of the shard in which each utterance lies.
        archives: path of each shard.
        durations_s: (N,) seconds of each utterance.
        hours: of audio in a window, about.
        read: whether this process reads windows ahead: one on each machine.
    """

    def __init__(
        self, shard_N: np.ndarray, archives: Sequence[str], durations_s: np.ndarray, *, hours: float, read: bool
    ) -> None:
        self.archives, self._shard_N = archives, shard_N
        self._rows_N = np.argsort(shard_N, kind="stable")
        self._starts = np.searchsorted(shard_N[self._rows_N], np.arange(len(archives) + 1))
        self._seconds = np.bincount(shard_N, weights=durations_s, minlength=len(archives))
        self._window_s = 3600 * hours
        self._ahead = ReadAhead() if read else None

    def of_pass(self, repeats: np.ndarray | None, rng: np.random.Generator) -> Iterator[ShardWindow]:
        """The windows of a pass, in order.

        Args:
            repeats: (N,) how often each utterance is seen in a pass, on average; once if None.
            rng: what the order and the chances are drawn from, before the first window is given.
        """
        wanted = np.ones(len(self.archives))
        chance_N = None
        if repeats is not None:
            wanted = np.zeros(len(self.archives))
            np.maximum.at(wanted, self._shard_N, repeats)
            chance_N = np.divide(repeats, wanted[self._shard_N], out=np.zeros(len(repeats)), where=repeats > 0)
        visits_V = self._visits(wanted, rng)
        chances = np.random.default_rng(rng.integers(2**62))
        parts = np.split(visits_V, self._edges(visits_V))
        for number, part in enumerate(parts):
            rows = np.concatenate([self._rows_N[self._starts[one] : self._starts[one + 1]] for one in part])
            if chance_N is not None:
                rows = rows[chances.random(len(rows)) < chance_N[rows]]
            following = parts[number + 1] if number + 1 < len(parts) else part[:0]
            yield ShardWindow(rows, self._paths(part), self._paths(following), self._ahead)

    def _visits(self, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        whole = np.floor(wanted)
        counts = (whole + (rng.random(len(wanted)) < wanted - whole)).astype(int)
        if not counts.any():
            counts[:] = 1
        return rng.permutation(np.repeat(np.arange(len(wanted)), counts))

    def _edges(self, visits_V: np.ndarray) -> np.ndarray:
        """Where windows begin in a pass: of about equal length, in whole shards."""
        end_s = self._seconds[visits_V].cumsum()
        number = max(1, round(end_s[-1] / self._window_s))
        edges = np.unique(1 + np.searchsorted(end_s, end_s[-1] * np.arange(1, number) / number))
        return edges[edges < len(visits_V)]

    def _paths(self, part: np.ndarray) -> list[str]:
        return [self.archives[shard] for shard in dict.fromkeys(part.tolist())]


@dataclass(frozen=True)
class ShardWindow:
    """Some visits of shards: `archives` are read for them; those of the `following` window after that."""

    rows: np.ndarray
    archives: Sequence[str]
    following: Sequence[str]
    ahead: ReadAhead | None

    def begin(self) -> None:
        """Wait until the archives are read, and have the next ones read meanwhile."""
        if self.ahead is not None:
            self.ahead.begin(self.archives, self.following)


class ReadAhead:
    """Has the operating system hold the files of this window and of the next."""

    def __init__(self) -> None:
        self._reading: _Reading | None = None
        self._held: deque[Sequence[str]] = deque()

    def begin(self, files: Sequence[str], following: Sequence[str]) -> None:
        """Wait until `files` are read; then let go of those before the last window, and read the `following` ones meanwhile.

        Raises:
            ValueError: one of them is missing.
        """
        if self._reading is None or self._reading.files != files:
            self._reading = _Reading(files)
        self._reading.wait()
        self._held.append(files)
        while len(self._held) > 2:  # workers may still be at the end of the last window
            _let_go(set(self._held.popleft()) - {*self._held[0], *files, *following})
        self._reading = _Reading(following)


class _Reading(threading.Thread):
    def __init__(self, files: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self.files = files
        self._error: OSError | None = None
        self.start()

    def run(self) -> None:
        block = bytearray(_BLOCK)
        try:
            for path in self.files:
                with open(path, "rb", buffering=0) as file:
                    while file.readinto(block):
                        pass
        except OSError as error:
            self._error = error

    def wait(self) -> None:
        self.join()
        if self._error is not None:
            raise ValueError(
                f"a shard cannot be read: {self._error}. Copy it again, or write it again (mlsuperb data shard)"
            )


def _let_go(files: set[str]) -> None:
    """Tell the operating system that files are not needed any more, so that it does not drop those of the next window instead."""
    if not hasattr(os, "posix_fadvise"):  # macOS
        return
    for path in files:
        with open(path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
