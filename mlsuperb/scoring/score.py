"""All protocols that apply to a task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from mlsuperb.scoring.protocols import challenge, v1, v2
from mlsuperb.scoring.utterances import TaskName, UnitName, utterance_counts
from mlsuperb.types import Hypothesis

Protocol = Literal["v1", "v2", "challenge", "challenge_server"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
NOT_APPLICABLE = "not_applicable"


@dataclass(kw_only=True)
class Scoring:
    """Which protocols score a run.

    Args:
        protocols: names; those that do not apply to the task are left out, with the reason.
    """

    protocols: list[Protocol] = field(default_factory=lambda: list(PROTOCOLS))

    def score(
        self, hypotheses: Sequence[Hypothesis], *, task: TaskName, normaliser: str = "v1", units: UnitName = "char"
    ) -> dict[str, Any]:
        """See `score`."""
        return score(hypotheses, task=task, protocols=self.protocols, normaliser=normaliser, units=units)


def score(
    hypotheses: Sequence[Hypothesis],
    *,
    task: TaskName,
    protocols: Iterable[Protocol] = PROTOCOLS,
    normaliser: str = "v1",
    units: UnitName = "char",
) -> dict[str, Any]:
    """The section of every protocol under its name, and under `not_applicable` the reason for each one left out.

    Args:
        normaliser, units: those of the task; protocols v1 and v2 prepare the reference with them, as the training did.

    Raises:
        ValueError: nothing to score, or an unknown task, protocol or normaliser.
    """
    wanted = list(dict.fromkeys(protocols))
    _check(hypotheses, task=task, protocols=wanted, units=units)
    reasons = {name: reason for name in wanted if (reason := _not_applicable(name, task=task, units=units))}
    apply = [name for name in wanted if name not in reasons]
    sections: dict[str, Any] = {}
    if "v1" in apply or "v2" in apply:
        counts = utterance_counts(hypotheses, task=task, normaliser=normaliser, units=units)
        if "v1" in apply:
            sections["v1"] = v1.score(hypotheses, task=task, normaliser=normaliser, units=units, counts=counts)
        if "v2" in apply:
            sections["v2"] = v2.score(hypotheses, task=task, normaliser=normaliser, counts=counts)
    if "challenge" in apply:
        sections["challenge"] = challenge.score(hypotheses)
    if "challenge_server" in apply:
        sections["challenge_server"] = challenge.score_server(hypotheses)
    return {name: sections[name] for name in apply} | {NOT_APPLICABLE: reasons}


def _check(hypotheses: Sequence[Hypothesis], *, task: str, protocols: Sequence[str], units: str) -> None:
    if not hypotheses:
        raise ValueError("there is no hypothesis to score")
    for given, allowed, what in ((task, get_args(TaskName), "task"), (units, get_args(UnitName), "unit")):
        if given not in allowed:
            raise ValueError(f"unknown {what} {given!r}; choose one of {', '.join(allowed)}")
    if unknown := [name for name in protocols if name not in PROTOCOLS]:
        raise ValueError(f"unknown protocol {', '.join(unknown)}; choose from {', '.join(PROTOCOLS)}")


def applies(protocol: Protocol, *, task: TaskName, units: UnitName) -> bool:
    """Whether a protocol has something to say of a task."""
    return not _not_applicable(protocol, task=task, units=units)


def _not_applicable(protocol: Protocol, *, task: TaskName, units: UnitName) -> str:
    """Why a protocol has nothing to say, or an empty string."""
    if protocol == "v2" and units == "phoneme":
        return "counts characters, this task has phonemes"
    if protocol == "v2" and task == "lid":
        return "needs transcripts, task lid has none"
    if protocol.startswith("challenge") and task != "asr_lid":
        return f"needs language and transcript (task asr_lid), this is task {task}"
    return ""
