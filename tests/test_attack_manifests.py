"""Damaged descriptions of corpora: the attack itself works, and a part of it is made here."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mlsuperb.data.corpora import kaldi, tables  # noqa: E402
from scripts.attack import manifests as attack  # noqa: E402


def outcome(name: str, damaged: attack.Damaged, root: Path) -> tuple[str, str]:
    attack.write_waves(root, name)
    return attack.outcome_of(name, damaged, root)


@pytest.mark.parametrize("name", attack.FORMATS)
def test_sound_inputs_are_read_whole(name: str, tmp_path: Path) -> None:
    assert outcome(name, attack.Damaged(attack.FORMATS[name].make(), ()), tmp_path)[0] == "whole"


def test_damaged_inputs_are_counted_or_refused(tmp_path: Path) -> None:
    seen = set()
    for case in range(45):
        name = list(attack.FORMATS)[case % len(attack.FORMATS)]
        damaged = attack.damage(name, Random(f"test {case}"))
        found, said = outcome(name, damaged, tmp_path / str(case))
        assert found in ("whole", "counted", "refused"), (name, damaged, said)
        seen.add(found)
    assert seen == {"whole", "counted", "refused"}


def test_a_row_that_is_lost_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = tables._quoted_rows
    monkeypatch.setattr(
        tables, "_quoted_rows", lambda *given: (row for n, row in enumerate(original(*given)) if n != 3)
    )
    monkeypatch.setattr(kaldi, "unique", lambda pairs, *, path: dict(pairs))  # keeps the last of doubles
    sound = attack.FORMATS["csv"].make()
    found, said = outcome("csv", attack.Damaged(sound, ()), tmp_path / "csv")
    assert (found, said[:3]) == ("silent loss", "w2w")
    files = attack.FORMATS["kaldi"].make()
    files["train/segments"] += b"u1 r3 0.2 0.9\n"
    assert outcome("kaldi", attack.Damaged(files, ()), tmp_path / "kaldi")[0] == "silent loss"
