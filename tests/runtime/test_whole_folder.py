from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mlsuperb.runtime.files import replaced, whole_folder
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


def test_files_are_as_readable_as_their_folder(tmp_path: Path) -> None:
    """safetensors makes them for their owner alone."""
    tmp_path.chmod(0o755)
    with replaced(tmp_path / "a.safetensors") as temporary:
        save_file({"x": torch.zeros(1)}, temporary)
    with whole_folder(tmp_path / "model") as unfinished:
        unfinished.chmod(0o750)
        save_file({"x": torch.zeros(1)}, unfinished / "b.safetensors")
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "model" / "b.safetensors").stat().st_mode & 0o777 == 0o640


def test_names_are_counted_and_cut_short() -> None:
    assert listed({"are missing": list("abcdef"), "are new": [], "differ": ["x"]}) == (
        "6 are missing (a, b, c, d, e, ...); 1 differ (x)"
    )
