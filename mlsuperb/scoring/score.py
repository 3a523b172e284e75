"""All protocols that apply to a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from mlsuperb.scoring.counts import Counts
from mlsuperb.scoring.protocols import get, known
from mlsuperb.scoring.utterances import utterance_counts
from mlsuperb.types import Hypothesis, TaskFacts

if TYPE_CHECKING:
    from mlsuperb.scoring.result import Protocols


@dataclass(kw_only=True)
class Scoring:
    """Which protocols score a run.

    Args:
        protocols: names (`mlsuperb.scoring.protocols.get`); those that do not apply to the task are left out, with the
            reason.
    """

    protocols: list[str] = field(default_factory=lambda: list(known()))

    @classmethod
    def problems(cls, *, protocols: Sequence[str]) -> list[str]:
        """Names of no protocol."""
        found = []
        for name in protocols:
            try:
                get(name)
            except ValueError as error:
                found.append(f"scoring.protocols: {error}")
        return found

    def why_nothing(self, facts: TaskFacts) -> str:
        """Why no protocol has anything to say of a task; an empty string where one does."""
        found = [get(name) for name in self.protocols]
        reasons = [f"{one.name} {reason}" for one in found if (reason := one.why_not(facts))]
        return "; ".join(reasons) or "there is none" if len(reasons) == len(found) else ""

    def score(self, hypotheses: Sequence[Hypothesis], facts: TaskFacts) -> Protocols:
        """The section of every protocol, and the reason for each one left out.

        Args:
            facts: of the task; protocols v1 and v2 prepare the reference as the training did.

        Raises:
            ValueError: nothing to score, or an unknown protocol or normaliser.
        """
        from mlsuperb.scoring.result import Protocols

        if not hypotheses:
            raise ValueError("there is no hypothesis to score")
        asked = [get(name) for name in dict.fromkeys(self.protocols)]
        reasons = {one.name: reason for one in asked if (reason := one.why_not(facts))}

        @cache
        def counts() -> list[Counts]:
            return utterance_counts(hypotheses, facts)

        sections = {
            one.name: {"protocol": one.name, "version": one.version, **one.score(hypotheses, facts, counts)}
            for one in asked
            if one.name not in reasons
        }
        return Protocols.model_validate({**sections, "not_applicable": reasons})
