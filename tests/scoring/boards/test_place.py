"""One run among the published rows."""

from __future__ import annotations

import pytest
from board_runs import run

from mlsuperb.scoring.boards.place import Place, place
from mlsuperb.scoring.result import BenchmarkResult

MULTI = {"trained_cer": 30.0, "reserved_cer": 44.5}


def placed(track: str, *arguments: str, **options) -> Place | str:
    return place(BenchmarkResult.model_validate(run(track, *arguments, **options)))


def test_a_run_of_a_track_stands_among_the_rows_of_its_board() -> None:
    found = placed("multi_asr", metrics=MULTI)
    assert isinstance(found, Place)
    assert (found.board.name, found.size) == ("2024", "10min")
    assert [column.title for column in found.columns] == ["Multi CER", "Multi few-shot CER"]
    rates = [row.scores["multi_cer"] for row in found.rows]
    assert rates == sorted(rates)
    assert found.rank == 1 + sum(rate < 30.0 for rate in rates) == 8
    assert found.rows[found.rank - 1].system == "hubert_base"
    better = placed("lid", metrics={"trained_lid_accuracy": 99.0})
    assert isinstance(better, Place)
    assert better.rank == 1, "of an accuracy the highest is best"


def test_a_monolingual_run_stands_beside_numbers_of_the_same_run() -> None:
    found = placed("mono_asr", "eng1", metrics={"all_cer": 30.0})
    assert isinstance(found, Place)
    assert found.columns[0].title == "CER of eng1"
    assert len(found.rows) >= 4
    assert all("mono_eng1" in row.scores for row in found.rows)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"synthetic": True}, "the data are synthetic"),
        (
            {"deviations": {"head": ["transformer", "linear"]}},
            "deviate from the published ones (head transformer -> linear)",
        ),
        ({"release": {"name": "8th", "whole": True, "why": ""}}, "the data are the 8th release"),
        (
            {"release": {"name": "7th", "whole": False, "why": "two files"}},
            "the 7th release is not complete: two files",
        ),
        ({"experiment": "own/thing"}, "nothing was published for +exp=own/thing"),
    ],
)
def test_others_are_told_why_not(options, reason) -> None:
    found = placed("multi_asr", metrics=MULTI, **options)
    assert isinstance(found, str)
    assert reason in found


def test_a_run_of_no_experiment_is_told_so() -> None:
    result = run("multi_asr", metrics=MULTI) | {"benchmark": None}
    assert place(BenchmarkResult.model_validate(result)) == "its settings are those of no published experiment"
