"""Which characters or phones are taken for which."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mlsuperb.analysis.unit_errors import unit_errors
from mlsuperb.scoring.alignment import fewest_edits
from mlsuperb.types import Hypothesis, TaskFacts

CHARACTERS = TaskFacts(name="asr", has_text=True, has_language=False)
PHONES = TaskFacts(name="asr", has_text=True, has_language=False, units="phone", unit_name="PER")


def hypothesis(reference: str, output: str, *, language: str = "deu", name: str = "u") -> Hypothesis:
    return Hypothesis(
        id=name, dataset="d", language=language, split="test", audio="a.wav", start_s=0.0, duration_s=1.0, reference=reference,
        hypothesis=output, predicted_language="",
    )  # fmt: skip


def test_pairs_are_counted_over_languages() -> None:
    found = unit_errors(
        [
            hypothesis("das", "des"),
            hypothesis("was", "wes", language="nld"),
            hypothesis("ja", "je", language="nld"),
            hypothesis("so", "s", language="nld"),
            hypothesis("so", "SOX"),
            hypothesis("a b", "ab"),
        ],
        CHARACTERS,
    )
    rows = list(found.itertuples(index=False, name=None))
    assert rows[0] == ("A", "E", 3, 75.0, ["nld", "deu"])
    assert rows[1][:2] == ("", "X")
    assert math.isnan(rows[1][3])
    assert rows[2:] == [(" ", "", 1, 100.0, ["deu"]), ("O", "", 1, 50.0, ["nld"])]


def test_phones_are_units() -> None:
    (row,) = unit_errors([hypothesis("t͡ʃ a", "t a")], PHONES).itertuples(index=False, name=None)
    assert row == ("t͡ʃ", "t", 1, 100.0, ["deu"])


def test_the_edits_are_the_fewest() -> None:
    rng = np.random.default_rng(0)
    texts = [["".join(rng.choice(list("ABC "), rng.integers(1, 20))).strip() or "A" for _ in range(200)] for _ in "ab"]
    pairs = [(" ".join(one.split()), " ".join(other.split())) for one, other in zip(*texts, strict=True)]
    found = unit_errors([hypothesis(*pair, name=f"u{number}") for number, pair in enumerate(pairs)], CHARACTERS)
    assert found["num"].sum() == sum(sum(edits) for edits in fewest_edits(*zip(*pairs, strict=True)))
    assert found["num"].is_monotonic_decreasing


@pytest.mark.parametrize("facts", [CHARACTERS, replace(CHARACTERS, has_language=True)])
def test_nothing_is_wrong(facts: TaskFacts) -> None:
    assert unit_errors(
        [hypothesis("[deu] ja" if facts.has_language else "ja", "[deu] JA" if facts.has_language else "JA")], facts
    ).empty
