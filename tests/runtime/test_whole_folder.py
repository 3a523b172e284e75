from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mlsuperb.runtime.files import drop_cut_line, held, made, no_link, replaced, whole_folder, write_atomic
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


@pytest.mark.parametrize("umask", [0o002, 0o027, 0o077])
def test_files_have_the_mode_of_the_umask(umask: int, tmp_path: Path) -> None:
    """safetensors makes them for their owner alone."""
    before = os.umask(umask)
    try:
        tmp_path.chmod(0o755)
        with replaced(tmp_path / "a.safetensors") as temporary:
            save_file({"x": torch.zeros(1)}, temporary)
        with whole_folder(tmp_path / "model") as unfinished:
            (unfinished / "deep").mkdir()
            save_file({"x": torch.zeros(1)}, unfinished / "deep" / "b.safetensors")
        write_atomic(tmp_path / "c.json", ["{}"])
    finally:
        os.umask(before)
    for name in ("a.safetensors", "model/deep/b.safetensors", "c.json"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o666 & ~umask, name


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious\n")
    folder = tmp_path / "somebodys"
    folder.mkdir()
    for name in ("a.txt", ".a.txt.tmp", ".lock", "lines"):
        (folder / name).symlink_to(precious)
    (folder / "inner").symlink_to(tmp_path)
    write_atomic(folder / "a.txt", ["new"])
    assert not (folder / "a.txt").is_symlink()
    for act in (
        lambda: held(folder).__enter__(),
        lambda: drop_cut_line(folder / "lines"),
        lambda: open(folder / "lines", "a", opener=no_link),  # noqa: SIM115
        lambda: made(folder / "inner"),
    ):
        with pytest.raises(OSError, match=r"is a symbolic link, which is not written through; remove it"):
            act()
    assert precious.read_text() == "precious\n"
    assert sorted(path.name for path in folder.iterdir()) == [".a.txt.tmp", ".lock", "a.txt", "inner", "lines"]


def test_names_are_counted_and_cut_short() -> None:
    assert listed({"are missing": list("abcdef"), "are new": [], "differ": ["x"]}) == (
        "6 are missing (a, b, c, d, e, ...); 1 differ (x)"
    )
