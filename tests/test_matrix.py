"""scripts/matrix.py on a corner of the matrix; docs/matrix.md knows every option there is."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

from mlsuperb.config.options import conf_dir, options
from scripts.matrix import OF_STACKS

ROOT = Path(__file__).resolve().parents[1]


def test_a_corner_of_the_matrix(tmp_path: Path) -> None:
    page, table = tmp_path / "matrix.md", tmp_path / "matrix.csv"
    axes = {
        "upstream": ("fbank", "xls_r"),
        "adaptation": ("frozen", "lora"),
        "head": ("linear",),
        "objective": ("ctc",),
    }
    flags = [flag for axis, names in axes.items() for name in names for flag in (f"--{axis}", name)]
    command = [
        sys.executable,
        "scripts/matrix.py",
        *flags,
        "--no-real",
        "--jobs",
        "1",
        "--out",
        str(page),
        "--csv",
        str(table),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == 2 * 2 * 3
    refused = [row for row in rows if row["refusal"]]
    assert {(row["upstream"], row["adaptation"]) for row in refused} == {("fbank", "lora")}
    assert len(refused) == 3
    assert all(float(row["last_loss"]) < float(row["first_loss"]) for row in rows if not row["refusal"])
    assert "12 cells, 9 trained, 3 refused with a reason, 0 failed" in page.read_text()


def test_an_unknown_upstream_is_not_an_empty_matrix(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "scripts/matrix.py",
        "--upstream",
        "nothing",
        "--no-real",
        "--out",
        str(tmp_path / "m.md"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode != 0
    assert "--upstream nothing: there are fbank, " in done.stderr
    assert not (tmp_path / "m.md").exists()


def test_the_page_in_the_docs_is_complete() -> None:
    """Written anew by `python scripts/matrix.py` when an option comes or goes."""
    page = (ROOT / "docs" / "matrix.md").read_text(encoding="utf-8")
    assert ", 0 failed**" in page
    experiments = [name for name in options("exp", [conf_dir()]) if name.startswith("v2/") and name.count("/") == 1]
    adaptations = sorted({*options("adaptation", [conf_dir()])} - OF_STACKS)
    assert len(experiments) >= 16
    assert len(adaptations) >= 13
    for name in (*(f"| {one} |" for one in experiments), *(f"| xls_r | {one} |" for one in adaptations)):
        assert name in page, f"docs/matrix.md lacks {name}: run python scripts/matrix.py"
