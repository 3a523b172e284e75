from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from mlsuperb.types import Hypothesis

# GNU readline, which pytest imports, exports them to the worker processes: tables would have 80 columns in these alone
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)

# What these files train once is dear. A worker that has nothing left takes tests from the end of the other's list, and would
# train it again for them.
FIRST = ("test_distributed.py", "test_toy_jobs.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in FIRST)


@pytest.fixture
def utterance() -> Callable[..., Hypothesis]:
    """Makes a hypothesis: `utterance("eng", "hello", "[eng] HELLO", dataset="fleurs")`."""
    number = iter(range(10**6))

    def make(language, reference, hypothesis, *, dataset="fleurs", split="test", id=None):
        return Hypothesis(
            id=id or f"{dataset}_{language[-3:]}_{next(number):06d}",
            dataset=dataset,
            language=language,
            split=split,
            audio="a.wav",
            start_s=0.0,
            duration_s=1.0,
            reference=reference,
            hypothesis=hypothesis,
            predicted_language=None,
        )

    return make
