"""Protocols: each a module here with one object called `protocol`, or a user's own object anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol

from mlsuperb.runs.classes import class_named
from mlsuperb.scoring.counts import Counts
from mlsuperb.types import Hypothesis, TaskFacts


class ScoringProtocol(Protocol):
    """A way to turn hypotheses into numbers.

    Attributes:
        name: key of its section in a result; of one in this package, its module.
        version: to be raised when a number may change.
        title: what it is, in a line.
        year: of its publication. The newest that all runs of a table have is shown in it.
        headline: metrics that a table of runs shows, each with the title of its column; empty if it shows none.
        summary: metrics that a report shows first, each with its label.
        meanings: what its metrics mean, by the metric's name without its subset of languages; `{unit}` stands for a unit of the
            task (character, phoneme, phone).
    """

    name: str
    version: str
    title: str
    year: int
    headline: Mapping[str, str]
    summary: Mapping[str, str]
    meanings: Mapping[str, str]

    def why_not(self, facts: TaskFacts) -> str:
        """Why it has nothing to say of a task; an empty string where it does."""
        ...

    def score(
        self, hypotheses: Sequence[Hypothesis], facts: TaskFacts, counts: Callable[[], Sequence[Counts]]
    ) -> Mapping[str, Any]:
        """Its section of a result (`mlsuperb.scoring.result.Section`), without name and version.

        Args:
            counts: gives the counts of each utterance (`utterance_counts`), which protocols share.
        """
        ...


def names() -> list[str]:
    """The protocols of this package. Imports none of them."""
    return [module.name for module in iter_modules(__path__)]


def known() -> dict[str, ScoringProtocol]:
    """The protocols of this package by name, the oldest first."""
    return {one.name: one for one in sorted(map(get, names()), key=lambda one: (one.year, one.name))}


class _Elsewhere:
    """What is known of a protocol that is no part of this package, when a result names it."""

    title = ""
    headline: Mapping[str, str] = {}
    summary: Mapping[str, str] = {}
    meanings: Mapping[str, str] = {}


def described(name: str) -> ScoringProtocol | _Elsewhere:
    """The protocol that a section of a result is of, for its title, headline, summary and meanings, which are empty where it
    is another package's."""
    return known().get(name, _Elsewhere())


def get(name: str) -> ScoringProtocol:
    """A protocol of this package by its name, or any other by its address, such as `my_package.my_module.protocol`, if the user
    has given that (`mlsuperb.runs.classes`).

    Raises:
        ValueError: there is none, or it may not be imported.
    """
    if "." not in name and name not in names():
        close = get_close_matches(name, names(), cutoff=0)
        raise ValueError(
            f"there is no protocol {name!r}; nearest: {', '.join(close)}. Another package's protocol is given by its address, "
            "such as my_module.my_protocol"
        )
    try:
        found: ScoringProtocol = class_named(name) if "." in name else import_module(f"{__name__}.{name}").protocol
    except ValueError as error:
        raise ValueError(f"protocol {name!r} cannot be used: {error}") from error
    if missing := [one for one in (*ScoringProtocol.__annotations__, "why_not", "score") if not hasattr(found, one)]:
        raise ValueError(
            f"{name} is no protocol: it lacks {', '.join(missing)} (mlsuperb.scoring.protocols.ScoringProtocol)"
        )
    return found
