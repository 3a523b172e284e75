from __future__ import annotations

from pathlib import Path

import pytest

from mlsuperb.runtime.files import whole_folder
from mlsuperb.runtime.messages import listed


def fill_and_fail(target: Path) -> None:
    with whole_folder(target) as unfinished:
        (unfinished / "b").write_text("second")
        raise KeyError


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder"
    with whole_folder(target) as unfinished:
        (unfinished / "a").write_text("first")
        assert not target.exists()
    with pytest.raises(KeyError):
        fill_and_fail(target)
    assert [path.name for path in target.iterdir()] == ["a"]
    with whole_folder(target) as unfinished:
        (unfinished / "c").write_text("third")
    assert [path.name for path in target.iterdir()] == ["c"]
    assert list(target.parent.iterdir()) == [target]


def test_names_are_counted_and_cut_short() -> None:
    assert listed({"are missing": list("abcdef"), "are new": [], "differ": ["x"]}) == (
        "6 are missing (a, b, c, d, e, ...); 1 differ (x)"
    )
