from __future__ import annotations

import pytest
from corpus_trees import ListCorpus

from mlsuperb.runs.corpus import same_training_data


def test_a_changed_test_set_is_told_and_any_other_split_refused(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is trained on it: a run whose training is done can end on what can still be read."""
    same = same_training_data(ListCorpus(given=[], files=[]))
    begun = {"train": "abc", "dev": "d", "test": "x"}
    assert same(begun, dict(begun))
    assert not caplog.text
    assert same(begun, begun | {"test": "y"})
    assert "split test changed since this run was started" in caplog.text
    assert not same(begun, begun | {"train": "xyz"})
    assert not same(begun, begun | {"dev": "e", "test": "y"})
    assert not same(begun, {"train": "abc", "test": "x"})
