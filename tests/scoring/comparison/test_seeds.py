from __future__ import annotations

import pytest

from mlsuperb.scoring.comparison.seeds import TableRun, seed_rows


def run(seed, *, lr="0.1", loss=1.0, cer=10.0, hours="1.00"):
    return TableRun(settings={"lr": lr, "seed": seed}, facts=("5 M", hours), loss=loss, scores=(cer,))


RUNS = [
    run("0", cer=10.0),
    run("0", lr="0.2"),
    run("1", cer=12.0, loss=2.0, hours="2.00"),
    run("2", cer=17.0, loss=3.0),
]
GROUPS = [[0, 2, 3], [1]]


def test_each_run_is_a_row():
    rows = seed_rows(RUNS, groups=GROUPS, seeds="each")
    assert rows[1] == ("0.2", "0", "5 M", "1.00", "1.000", "10.0")
    assert len(rows) == 4


def test_a_setting_is_a_row_with_mean_and_sd():
    rows = seed_rows(RUNS, groups=GROUPS, seeds="mean")
    # mean of 10, 12, 17 is 13; squared distances 9 + 1 + 16 = 26, over n - 1 = 2: 13; its root 3.61
    assert rows == (
        ("0.1", "0, 1, 2", "5 M", "1.00 / 2.00", "2.000 ± 1.000", "13.0 ± 3.6"),
        ("0.2", "0", "5 M", "1.00", "1.000", "10.0"),
    )


def test_rows_of_runs_then_mean_and_sd():
    rows = seed_rows(RUNS, groups=GROUPS, seeds="each_and_mean")
    assert rows[:4] == seed_rows(RUNS, groups=GROUPS, seeds="each")
    assert rows[4:] == (
        ("0.1", "mean of 3", "5 M", "1.00 / 2.00", "2.000", "13.0"),
        ("0.1", "SD of 3", "5 M", "1.00 / 2.00", "1.000", "3.6"),
    )


@pytest.mark.parametrize("seeds", ["mean", "each_and_mean"])
def test_a_missing_score_is_never_averaged_over(seeds):
    rows = seed_rows([run("0"), run("1", cer=None)], groups=[[0, 1]], seeds=seeds)
    assert rows[-1][-1] == "n.a."


def test_the_same_seed_twice_is_no_repeat():
    runs = [run("0"), run("0", cer=20.0)]
    assert len(seed_rows(runs, groups=[[0, 1]], seeds="mean")) == 2
