"""Rows, averages, holes, seeds, learning rates, comparability and the check, on results that were made up."""

from __future__ import annotations

from statistics import fmean

import pytest
from board_runs import read, run, whole_row

from mlsuperb.scoring.boards.beside import check
from mlsuperb.scoring.boards.entries import take
from mlsuperb.scoring.boards.leaderboard import leaderboard
from mlsuperb.scoring.boards.rows import make_rows, slots
from mlsuperb.scoring.boards.superb_s import board_named, superb_s
from mlsuperb.scoring.table import SYNTHETIC

BOARD = board_named("2024")
INCOMPLETE = "Incomplete rows (no SUPERB_s, no average over missing runs), with the commands that would complete them"


def board_of(results, *, board=BOARD, size="10min"):
    return leaderboard(read(results), board=board, size=size)


def rows_of(results, *, board=BOARD, size="10min"):
    entries, _ = take(read(results), board=board, size=size)
    return make_rows(entries, board=board, size=size)


def lines(found, whose="ours"):
    """(title of the table, row) of the rows that begin with `whose`."""
    return [(block.cells.title, row) for block in found.blocks for row in block.cells.rows if row[0].startswith(whose)]


def test_a_row_is_sixteen_runs() -> None:
    assert len(slots(BOARD)) == len(whole_row()) == 13 + 3


def test_a_whole_row_has_its_score_and_stands_beside_the_published_ones() -> None:
    found = board_of(whole_row())
    ((title, row),) = lines(found)
    assert title == "Published rows, and ours beside them (board 2024, 10min)"
    score = superb_s(
        {
            "mono_cer": 42.8, "multi_cer": 40.0, "multi_few_shot_cer": 44.5, "lid_accuracy": 61.2,
            "joint_lid_accuracy": 71.5, "joint_cer": 39.2, "joint_few_shot_cer": 43.8,
        },
        board=BOARD,
        size="10min",
    )  # fmt: skip
    assert score is not None
    assert row[:3] == ("ours (official)", "hubert_base", "frozen")
    assert row[3:11] == (
        "42.8 (+0.0)", "40.0 (+0.2)", "44.5 (+0.0)", "61.2 (+0.0)", "71.5 (+0.0)", "39.2 (+0.0)", "43.8 (+0.0)",
        f"{score:.1f}",
    )  # fmt: skip
    assert "Left out" not in found.lists
    systems = [one[1] for _, one in lines(found, "published")]
    assert len(systems) == 9 + 1, "the board's own, and the row of 2023 that ours is compared with"
    hubert = next(one for _, one in lines(found, "published") if one[1] == "HuBERT-base")
    assert hubert[-1] == "2023 paper, scored on board 2024 here"


def test_rows_are_sorted_by_score_and_ours_among_them() -> None:
    (block,) = board_of(whole_row()).blocks
    scores = [float(row[10]) for row in block.cells.rows]
    assert scores == sorted(scores, reverse=True)
    assert block.cells.columns[3] == "Mono CER ↓"
    assert block.cells.columns[6] == "LID ↑"


def test_the_monolingual_average_is_over_languages_of_the_averages_over_runs() -> None:
    results = whole_row()
    values = {}
    for number, (_, result) in enumerate(results[:13]):
        (metric,) = result["protocols"]["v1"]["metrics"]["test"].values()
        metric["value"] = values[result["benchmark"]["run"]] = 20.0 + number
    (row,) = rows_of(results)
    english, french, german = (
        fmean([values[one] for one in runs]) for runs in (["eng1", "eng2", "eng3"], ["fra1", "fra2"], ["deu1", "deu2"])
    )
    others = [values[one] for one in ("rus", "swa", "swe", "jpn", "cmn", "xty")]
    assert row.scores["mono_cer"].mean == pytest.approx(fmean([english, french, german, *others]))
    assert row.scores["mono_cer"].mean != pytest.approx(fmean(values.values()))


def test_a_hole_gives_no_average_and_no_score_but_its_reason_and_the_command() -> None:
    found = board_of([one for one in whole_row() if not one[0].endswith(("mono_swe", "mono_jpn", "-lid"))])
    ((_, row),) = lines(found)
    assert row[3] == row[6] == row[10] == "n.a."
    assert row[4] == "40.0 (+0.2)", "a column that is there is shown"
    told = found.lists[INCOMPLETE]
    assert told == (
        "hubert_base, frozen, seed 0: no mono run swe jpn; no lid run",
        "  python -m mlsuperb.run -m +exp=v1/mono_asr data.mono=swe,jpn data=ml_superb_10min data.root=/corpus "
        "upstream=hubert_base",
        "  python -m mlsuperb.run +exp=v1/lid data=ml_superb_10min data.root=/corpus upstream=hubert_base",
    )


def test_a_metric_without_a_value_is_a_hole_with_the_results_reason() -> None:
    results = whole_row()
    dict(results)["exp/hubert_base-s0-multi_asr"]["protocols"]["v1"]["metrics"]["test"]["reserved_cer"] = {
        "value": None, "reason": "no utterance of a reserved language", "better": "lower",
    }  # fmt: skip
    (row,) = rows_of(results)
    assert "superb_s" not in row.scores
    assert row.first.holes == ("multi_few_shot_cer of multi_asr: no utterance of a reserved language",)
    assert row.first.missing == ()


def test_a_phoneme_language_that_was_scored_in_characters_is_a_hole() -> None:
    results = whole_row()
    dict(results)["exp/hubert_base-s0-mono_jpn"]["protocols"]["v1"]["metrics"]["test"] = {
        "all_cer": {"value": 20.0, "better": "lower"}
    }
    (row,) = rows_of(results)
    assert row.first.holes == ("mono_jpn of mono jpn: its result has no all_per",)
    assert "mono_cer" not in row.scores


def test_of_several_learning_rates_the_best_on_dev_is_taken_whatever_the_test_says() -> None:
    worse_on_dev = run("lid", metrics={"trained_lid_accuracy": 99.0}, lr=1e-2, loss=5.0)
    better_on_dev = run("lid", metrics={"trained_lid_accuracy": 60.0}, lr=1e-3, loss=1.0)
    found = board_of([*whole_row(), ("exp/high", worse_on_dev), ("exp/good", better_on_dev)])
    ((_, row),) = lines(found)
    assert row[6] == "60.0 (-1.2)"
    assert set(found.lists["Runs left out of their row"]) == {
        "exp/high: not chosen on dev: learning rate 0.01, dev figure 5; "
        "chosen: exp/good, learning rate 0.001, dev figure 1",
        "exp/hubert_base-s0-lid: not chosen on dev: learning rate 0.0001, dev figure 2; "
        "chosen: exp/good, learning rate 0.001, dev figure 1",
    }


def test_one_learning_rate_is_chosen_over_the_seeds_and_a_seed_without_it_is_incomplete() -> None:
    def lids(seed, *losses):
        rates = zip((1e-2, 1e-3), losses, strict=False)
        return [
            (f"exp/{seed}-{lr}", run("lid", metrics={"trained_lid_accuracy": 100 * lr}, lr=lr, loss=loss, seed=seed))
            for lr, loss in rates
        ]

    rest = [one for seed in (0, 1, 2) for one in whole_row(seed=seed) if not one[0].endswith("-lid")]
    # the rate 1e-3 is better on average over the seeds 0 and 1, 1e-2 for seed 1 alone; seed 2 has only 1e-2
    (row,) = rows_of([*rest, *lids(0, 5.0, 1.0), *lids(1, 2.0, 3.0), *lids(2, 0.1)])
    assert row.scores["lid_accuracy"].values == pytest.approx((0.1, 0.1))
    assert [seed.seed for seed in row.seeds] == [0, 1]
    assert any(
        "lid: no run with learning rate 0.001, which is the best on dev" in why for why in row.set_aside.values()
    )


@pytest.mark.parametrize("change", [{"seed": 1}, {"history": []}])
def test_learning_rates_that_the_dev_set_cannot_compare_over_seeds_are_chosen_by_the_best_run(change) -> None:
    """They have no seed in common, or one was not validated."""
    other = run("lid", metrics={"trained_lid_accuracy": 99.0}, lr=1e-2, loss=5.0, seed=change.get("seed", 0))
    if "history" in change:
        other["training"]["history"] = []
    (row,) = rows_of([*whole_row(), ("exp/other", other)])
    assert row.scores["lid_accuracy"].values == (61.2,)
    assert [str(folder) for folder in row.set_aside] == ["exp/other"]


def test_seeds_give_mean_and_sd_and_an_incomplete_one_has_no_part() -> None:
    results = [*whole_row(), *whole_row(seed=1, better=2.0), *whole_row(seed=2, better=30.0)[1:]]
    found = board_of(results)
    ((_, row),) = lines(found)
    assert row[0] == "ours (official), 2 seeds"
    assert row[4] == "39.0 ± 1.4 (-0.8)"
    assert "±" in row[10]
    aside = found.lists["Runs left out of their row"]
    assert len(aside) == 15
    assert all("seed 2 is incomplete and not averaged: no mono run eng1" in line for line in aside)


def test_where_no_seed_is_whole_the_fullest_is_shown_alone() -> None:
    found = board_of([*whole_row()[:3], *whole_row(seed=1)[1:]])
    ((_, row),) = lines(found)
    assert (row[0], row[4]) == ("ours", "40.0 (+0.2)")
    told = found.lists[INCOMPLETE]
    assert told[0] == "hubert_base, frozen, seed 1: no mono run eng1"
    assert told[1].endswith("seed=1")


def test_two_runs_for_one_place_on_different_data_are_a_hole() -> None:
    other = run("lid", metrics={"trained_lid_accuracy": 90.0}, data_seed="other")
    (row,) = rows_of([*whole_row(), ("exp/other", other)])
    (hole,) = row.first.holes
    assert "exp/hubert_base-s0-lid and exp/other are not comparable: data differ in split test" in hole
    assert "lid_accuracy" not in row.scores


def test_a_row_of_conflicting_runs_alone_is_shown_empty() -> None:
    lid = {"trained_lid_accuracy": 90.0}
    results = [(f"exp/{name}", run("lid", metrics=lid, data_seed=name)) for name in ("a", "b")]
    found = board_of([*results, ("exp/c", run("lid", metrics=lid, lr=1.0))])
    ((_, row),) = lines(found)
    assert set(row[3:11]) == {"n.a."}
    assert len(found.lists["Runs left out of their row"]) == 3


def test_a_seed_on_other_data_is_not_averaged_in() -> None:
    found = board_of([*whole_row(), *whole_row(seed=1, data_seed="other")])
    ((_, row),) = lines(found)
    assert row[0] == "ours (official)"
    assert "seed 1 is not averaged: data differ" in found.lists["Runs left out of their row"][0]


@pytest.mark.parametrize(
    ("release", "reason"),
    [
        ({"name": "8th", "whole": True, "why": ""}, "the data are the 8th release, and the published rows use the 7th"),
        ({"name": "7th", "whole": False, "why": "3 pairs missing"}, "the 7th release is not complete: 3 pairs missing"),
        ({}, "its result does not name a release of the data"),
    ],
)
def test_another_or_a_partial_release_stands_apart(release, reason) -> None:
    found = board_of(whole_row(release=release))
    ((title, row),) = lines(found)
    assert title.startswith("Ours, not comparable with published rows")
    assert "(" not in row[3], "no difference is shown"
    assert reason in found.blocks[1].notes[0]


def test_another_scorer_or_protocol_stands_apart() -> None:
    results = whole_row()
    for _, result in results:
        result["scorer"]["version"] = "2"
        result["protocols"]["v1"]["version"] = "3"
    found = board_of(results)
    assert "protocol v1 version 3, and the board uses 1" in found.blocks[1].notes[0]
    assert "scorer version 2, and the board uses 1" in found.blocks[1].notes[0]


def test_deviations_stand_apart_and_are_named() -> None:
    results = whole_row(deviations={"trainer.max_epochs": [30, 2], "head": ["transformer", "linear"], "head.x": [1, 2]})
    found = board_of([*results, *whole_row(upstream="mms_1b")])
    (first, _), (second, _) = lines(found)
    assert first.startswith("Published rows")
    assert second.startswith("Ours, with settings that were not published")
    assert found.blocks[1].notes == ("hubert_base: trainer.max_epochs 30 -> 2; head transformer -> linear",)


def test_deviations_whose_published_value_depends_on_the_track_are_one_row() -> None:
    results = whole_row()
    for _, result in results:
        published = 500 if result["benchmark"]["track"] == "mono_asr" else 10_000
        result["benchmark"]["deviations"] = {"trainer.iterations_per_epoch": [published, 4]}
    (row,) = rows_of(results)
    assert "superb_s" in row.scores
    assert row.deviations == {"trainer.iterations_per_epoch": ("500 or 10000", 4)}


def test_synthetic_rows_have_a_table_of_their_own() -> None:
    results = whole_row(synthetic=True)
    for _, result in results:  # each track chooses its languages there
        chosen = None if result["benchmark"]["track"] == "mono_asr" else ["deu", "zul"]
        result["benchmark"]["deviations"] = {"data.languages": [None, chosen], "trainer.max_epochs": [30, 2]}
    found = board_of([*results, *whole_row(upstream="mms_1b")])
    (real, one), (synthetic, other) = lines(found)
    assert (real.split(",")[0], synthetic) == ("Published rows", "Synthetic data (board 2024, 10min)")
    assert (one[1], other[1]) == ("mms_1b", "hubert_base")
    assert other[10] != "n.a.", "it has its SUPERB_s"
    assert found.blocks[-1].notes[0] == SYNTHETIC


def test_own_rows_on_other_data_are_a_table_of_their_own() -> None:
    found = board_of([*whole_row(), *whole_row(upstream="mms_1b", data_seed="other")])
    (first, _), (second, row) = lines(found)
    assert first.startswith("Published rows")
    assert second.startswith("Ours, on other data")
    assert row[1] == "mms_1b"
    assert found.blocks[1].notes[0].startswith("Not comparable with ours above: data differ in split test")


def test_systems_of_one_name_are_told_apart() -> None:
    results = [(f"{'ab'[index // 16]}/{place}", one) for index, (place, one) in enumerate(whole_row() + whole_row())]
    for place, result in results:
        result["upstream"]["loaded"] = {"commit": "aaa" if place.startswith("a") else "bbb"}
    found = board_of(results)
    assert [row[1] for _, row in lines(found)] == [
        "hubert_base [upstream.commit=aaa]",
        "hubert_base [upstream.commit=bbb]",
    ]


def test_a_changed_upstream_is_not_compared_under_its_options_name() -> None:
    results = whole_row()
    for _, result in results:
        result["benchmark"]["upstream"] = {"checkpoint": ["facebook/hubert-base-ls960", "some/other"]}
    found = board_of(results)
    ((_, row),) = lines(found)
    assert row[3] == "42.8"
    assert not check(found.rows, board=BOARD, size="10min", tolerance=3.0)[1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"benchmark": None}, "its settings come from no published experiment"),
        ({"status": "failed"}, "not finished (failed)"),
    ],
)
def test_what_has_no_place_is_listed_with_the_reason(change, reason) -> None:
    result = run("lid", metrics={"trained_lid_accuracy": 90.0}) | change
    found = board_of([("exp/one", result)])
    assert found.rows == ()
    assert found.lists["Left out"][0].startswith(f"exp/one: {reason}")


def test_other_sizes_experiments_and_runs_are_listed() -> None:
    metrics = {"trained_lid_accuracy": 90.0}
    results = [
        ("exp/a", run("lid", metrics=metrics, size="1h")),
        ("exp/b", run("asr_lid", metrics=metrics, experiment="v2/lora")),
        ("exp/c", run("mono_asr", "spa", metrics={"all_cer": 10.0})),
    ]
    assert board_of(results).lists["Left out"] == (
        "exp/a: size 1h, but the table is for 10min",
        "exp/b: +exp=v2/lora is not an experiment of board 2024 (v1/...)",
        "exp/c: monolingual run spa is not one of eng1 eng2 eng3 fra1 fra2 deu1 deu2 rus swa swe jpn cmn xty",
    )


def test_the_header_says_which_board_and_what_its_scores_mean() -> None:
    about = " ".join(board_of([]).about)
    assert "Board 2024, version 1, 10min" in about
    assert "SOTA: Mono CER 33.3, Multi CER 21.3" in about
    assert "The SOTA values of a board never change" in about
    assert "Official: the published settings" in about


def test_the_study_has_a_board_of_its_own() -> None:
    board = board_named("peft_study")
    results = whole_row(board=board, experiment="peft_study", few_shot=False)
    assert len(results) == 7 + 3
    found = board_of(results, board=board)
    ((_, row),) = lines(found)
    assert row[3:5] == ("42.80 (-0.21)", "40.00 (-2.67)")
    assert [one[-2] for _, one in lines(found, "published")] == ["1015.85", "1007.38", "1005.25", "937.08"]
    assert lines(board_of(results)) == [], "and is no part of another"


def test_the_challenge_has_six_columns_and_no_superb_s() -> None:
    board = board_named("challenge")
    six = dict(
        zip(
            ["standard_cer", "standard_lid_accuracy", "worst_15_cer", "std_cer", "dialect_cer", "dialect_lid_accuracy"],
            [20.0, 75.0, 55.0, 15.0, 34.0, 60.0],
            strict=True,
        )
    )
    ours = run(
        "asr_lid", metrics=six, experiment="v2/frozen_conformer", protocol="challenge", split="dev", upstream="mms_1b"
    )
    ours["data"] |= {"name": "ml_superb_hf", "release": None}
    ours["benchmark"]["size"] = None
    found = board_of([("exp/one", ours)], board=board, size="all")
    ((_, row),) = lines(found)
    assert row[1] == "mms_1b, v2/frozen_conformer"
    assert row[3:9] == ("20.0 (-1.3)", "75.0 (+2.5)", "55.0 (-2.9)", "15.0 (-1.0)", "34.0 (-5.6)", "60.0 (-2.0)")
    rates = [float(one[3].split()[0]) for one in found.blocks[0].cells.rows]
    assert rates == sorted(rates), "by the first column"
    assert "SUPERB_s ↑" not in found.blocks[0].cells.columns


def test_a_row_is_compared_with_the_published_one_of_its_labels() -> None:
    """The same system was published with raw labels, too (24.0 % CER, cleaned 22.6 %)."""
    ours = run(
        "asr_lid", metrics={"standard_cer": 22.6}, experiment="v2/frozen", protocol="challenge", split="dev", upstream="mms_1b"
    )  # fmt: skip
    ours["data"] |= {"name": "ml_superb_hf", "release": None}
    ours["benchmark"]["size"] = None
    ((_, row),) = lines(board_of([("exp/one", ours)], board=board_named("challenge"), size="all"))
    assert row[3] == "22.6 (+0.0)"


def test_the_check_goes_column_by_column_single_monolingual_runs_included() -> None:
    told, passed = check(rows_of(whole_row()), board=BOARD, size="10min", tolerance=10.0)
    assert not passed
    eng1 = next(line for line in told if "mono eng1" in line)
    assert eng1 == "hubert_base, frozen, mono eng1: 42.80, published 33.8 (ESPnet recipe), +9.00: within 10 points"
    far = [line for line in told if "MORE THAN" in line]
    assert [line.split(",")[2].split(":")[0] for line in far] == [" mono jpn"]
    assert len(told) == 7 + 3


def test_the_check_passes_within_the_tolerance_also_with_a_partial_row() -> None:
    partial = [one for one in whole_row() if "mono" not in one[0]]
    assert check(rows_of(partial), board=BOARD, size="10min", tolerance=0.5)[1]
    assert not check(rows_of(partial), board=BOARD, size="10min", tolerance=0.1)[1]
    same = [one for one in partial if one[0].endswith("-lid")]
    assert check(rows_of(same), board=BOARD, size="10min", tolerance=0.0)[1]
    better = [one for one in whole_row(better=20.0) if "multi" in one[0]]
    assert not check(rows_of(better), board=BOARD, size="10min", tolerance=10.0)[1], (
        "far better is not the same, either"
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"synthetic": True}, "not checked, synthetic data"),
        ({"deviations": {"seed": [0, 1]}}, "not checked, it deviates in seed"),
        ({"release": {"name": "8th", "whole": True, "why": ""}}, "not checked, the data are the 8th release"),
        ({"upstream": "tiny"}, "nothing was published of it for 10min"),
    ],
)
def test_a_check_that_compared_nothing_has_not_passed(settings, reason) -> None:
    told, passed = check(rows_of(whole_row(**settings)), board=BOARD, size="10min", tolerance=100.0)
    assert not passed
    assert reason in told[0]
    assert told[-1] == "no column could be compared with a published one, so the check has not passed"


def test_swept_values_in_a_command_are_the_runs_own() -> None:
    results = [one for one in whole_row() if not one[0].endswith("-lid")]
    for _, result in results:
        result["env"]["command"] = [
            "run.py", "-m", "+exp=v1/asr_lid", "upstream=hubert_base,tiny", "run_name=x", "seed=0,1",
            "data.languages=[deu,spa]", "trainer.optimizer.lr=1e-4,1e-3", "hydra/launcher=slurm",
        ]  # fmt: skip
    told = board_of(results).lists[INCOMPLETE]
    assert told[1] == (
        "  python -m mlsuperb.run +exp=v1/lid upstream=hubert_base 'data.languages=[deu,spa]' trainer.optimizer.lr=0.0001"
    )
