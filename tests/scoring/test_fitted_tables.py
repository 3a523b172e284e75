"""Tables on terminals of all widths: nothing is lost, no word and no number is broken."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from mlsuperb.scoring.boards.leaderboard import leaderboard
from mlsuperb.scoring.boards.superb_s import boards
from mlsuperb.scoring.table import Cells


def printed(cells: Cells, width: int) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(cells.to_rich())
    return stream.getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize("name", ["2024", "2023", "challenge", "peft_study"])
def test_every_board_fits_80_columns(name: str) -> None:
    board = boards()[name]
    cells = leaderboard({}, board=board, size=board.sizes[0]).blocks[0].cells
    assert len(cells.rows) > 3
    lines = printed(cells, 80)
    assert max(map(cell_len, lines)) <= 80
    words = set(" ".join(lines).replace(";", "").split())
    for row in cells.rows:
        for text in (*row, *cells.columns):
            assert set(text.split()) <= words, text
    assert len(lines) < 4 * len(cells.rows) + 20, "lines of names are not torn into a tower"


def comparison() -> Cells:
    rows = [
        (code, number, f"10.{number}", f"1.{number}", f"-8.{number} [-14.1, -2.2] *", f"9{number}.0", f"5{number}.0")
        for code, number in (("ara", "1"), ("ast", "2"), ("total", "3"))
    ]
    rows = [(*row, f"-2{row[1]}.0 [-100.0, +50.0]") for row in rows]
    columns = ("language", "utterances", "CER A % ↓", "CER B % ↓", "B - A", "LID A % ↑", "LID B % ↑", "B - A")
    return Cells("two runs", columns, tuple(rows), num_names=1)


def test_intervals_stay_whole_and_names_stand_before_every_part() -> None:
    lines = printed(comparison(), 80)
    assert max(map(cell_len, lines)) <= 80
    assert sum(" [-14.1, -2.2] *" in line for line in lines) == 3
    assert sum(".0 [-100.0, +50.0]" in line for line in lines) == 3
    assert sum(line.startswith("ara ") for line in lines) == 2
    assert "CER" not in "".join(lines[len(lines) // 2 + 2 :]), "what belongs together stands together"


def test_where_there_is_room_nothing_changes() -> None:
    lines = printed(comparison(), 200)
    assert lines[1].startswith("┏")
    assert len(lines) == 1 + 3 + 3 + 1


def test_what_is_the_same_in_all_rows_is_said_once() -> None:
    rows = (("published", "A", "frozen", "1.0"), ("published", "B" * 60, "frozen", "2.0"))
    lines = printed(Cells("t", ("", "system", "adaptation", "CER"), rows, num_names=3), 80)
    assert lines[1] == "In all rows: published; adaptation frozen"
    assert sum("frozen" in line for line in lines) == 1


def test_a_very_narrow_terminal_gets_lists() -> None:
    lines = printed(comparison(), 29)
    assert "ara" in lines
    assert all(any(value in line for line in lines) for value in ("CER A % ↓ 10.1", "LID B % ↑ 51.0"))
    assert max(map(cell_len, lines)) <= 29


def test_brackets_are_no_markup_and_empty_tables_are_tables() -> None:
    rows = (("a[red]b", "x" * 70, "1"), ("c", "y" * 70, "2"))
    assert any("a[red]b" in line for line in printed(Cells("t[bold]", ("n", "m", "v"), rows, num_names=2), 80))
    assert re.search("name", "".join(printed(Cells("t", ("name", "value"), (), num_names=1), 80)))
