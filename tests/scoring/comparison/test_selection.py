from __future__ import annotations

import pytest
from finished_runs import result_of

from mlsuperb.scoring.comparison.selection import choose_on_dev, dev_figure

LR = "trainer.optimizer.lr"


def run(name, *, lr, figures, seed=0, upstream="a", select_by="valid_loss", data="x"):
    return result_of(
        (),
        protocols={},
        run_id=name,
        data={"name": "d", "splits": {"dev": {"sha256": data}}},
        config={
            "run_id": name,
            "seed": seed,
            "upstream": {"name": upstream, "path": upstream},
            "trainer": {"optimizer": {"lr": lr}, "select_by": select_by},
        },
        training={"history": [{"epoch": n, select_by: figure} for n, figure in enumerate(figures, start=1)]},
    )


def names(results):
    return [one.run_id for one in results]


def test_the_lowest_point_of_the_curve_decides():
    runs = [
        run("a", lr=1e-3, figures=[3.0, 1.5, 9.0]),
        run("b", lr=1e-4, figures=[2.5, 1.6]),
        run("c", lr=1e-5, figures=[5]),
    ]
    selection = choose_on_dev(runs)
    assert (names(selection.chosen), names(selection.others)) == (["a"], ["b", "c"])
    assert dev_figure(runs[0]) == 1.5


def test_the_figure_is_the_one_the_run_selected_by():
    name = "valid_token_error_rate"
    runs = [run("a", lr=1, figures=[0.5], select_by=name), run("b", lr=2, figures=[0.4], select_by=name)]
    for one, loss in zip(runs, (1.0, 2.0), strict=True):
        one.training["history"][0]["valid_loss"] = loss
    assert names(choose_on_dev(runs).chosen) == ["b"]


def test_each_setting_chooses_for_itself():
    runs = [
        run("a1", lr=1, figures=[2]),
        run("b1", lr=1, figures=[1], upstream="b"),
        run("a2", lr=2, figures=[1]),
        run("b2", lr=2, figures=[2], upstream="b"),
        run("alone", lr=3, figures=[9], upstream="c"),
        run("elsewhere", lr=4, figures=[0], data="y"),
    ]
    selection = choose_on_dev(runs, setting=LR)
    assert names(selection.chosen) == ["b1", "a2", "alone", "elsewhere"]
    assert names(selection.others) == ["a1", "b2"]


def test_seeds_choose_together_by_their_mean():
    runs = [
        run("a0", lr=1, figures=[1.0], seed=0),
        run("a1", lr=1, figures=[4.0], seed=1),
        run("b0", lr=2, figures=[2.0], seed=0),
        run("b1", lr=2, figures=[2.0], seed=1),
    ]
    assert names(choose_on_dev(runs).chosen) == ["b0", "b1"]
    # a seed that only one value has is no argument for it
    assert names(choose_on_dev(runs[:3]).chosen) == ["a0", "a1"]
    with pytest.raises(ValueError, match="have no seed in common"):
        choose_on_dev(runs[1:3])


def test_of_equals_the_first_wins():
    runs = [run("a", lr=1, figures=[1.0]), run("b", lr=2, figures=[1.0])]
    assert names(choose_on_dev(runs).chosen) == ["a"]
    assert names(choose_on_dev(runs[::-1]).chosen) == ["b"]


def test_what_cannot_be_chosen_is_said():
    with pytest.raises(ValueError, match=r"no run has a setting .trainer\.lr.; give its path"):
        choose_on_dev([run("a", lr=1, figures=[1])], setting="trainer.lr")
    with pytest.raises(ValueError, match="run b has no valid_loss of any epoch"):
        choose_on_dev([run("a", lr=1, figures=[1]), run("b", lr=2, figures=[])])
    assert choose_on_dev([]).chosen == ()
