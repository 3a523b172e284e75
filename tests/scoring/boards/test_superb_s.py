"""SUPERB_s against every published score, and the boards and published rows themselves."""

from __future__ import annotations

import dataclasses
from importlib.resources import files
from statistics import fmean

import pytest

from mlsuperb.config.options import conf_dir, options
from mlsuperb.data.corpora.ml_superb_release import mono_settings
from mlsuperb.scoring.boards.published import ROW_FILES, published_rows
from mlsuperb.scoring.boards.superb_s import board_named, boards, superb_s
from mlsuperb.scoring.protocols import challenge, v1
from mlsuperb.scoring.result import SCORER_VERSION

SCORED = [row for row in published_rows() if row.superb_s is not None]


def on_its_board(row):
    return superb_s(row.scores, board=board_named(row.board), size=row.size)


@pytest.mark.parametrize(
    ("board", "number", "tolerance"),
    [("2024", 7 * 2 + 2, 0.1), ("2023", 4 * 2 + 8 + 2 + 2, 0.1), ("peft_study", 4, 0.05)],
)
def test_the_published_scores_come_out(board: str, number: int, tolerance: float) -> None:
    rows = [row for row in SCORED if row.board == board]
    assert len(rows) == number
    for row in rows:
        assert on_its_board(row) == pytest.approx(row.superb_s, abs=tolerance), row.system


@pytest.mark.parametrize(("board", "number"), [("2024", 14), ("2023", 18)])
def test_rounded_to_the_published_decimal_the_scores_are_the_same(board: str, number: int) -> None:
    rows = [row for row in SCORED if row.board == board and row.system != "FBANK"]
    assert len(rows) == number
    assert [round(on_its_board(row), 1) for row in rows] == [row.superb_s for row in rows]


def test_worked_out_by_hand() -> None:
    # On the 2024 board, 10min: half way in the monolingual column, SOTA in the others but FBANK in one of two and one of three
    scores = {
        "mono_cer": (72.1 + 33.3) / 2,
        "multi_cer": 21.3,
        "multi_few_shot_cer": 58.3,
        "lid_accuracy": 85.3,
        "joint_lid_accuracy": 81.4,
        "joint_cer": 62.0,
        "joint_few_shot_cer": 25.4,
    }
    expected = 1000 / 4 * (1 / 2 + 1 / 2 + 1 + 2 / 3)
    assert superb_s(scores, board=board_named("2024"), size="10min") == pytest.approx(expected)


def test_sota_is_the_best_of_the_boards_own_rows() -> None:
    cases = 0
    for name in ("2024", "2023"):
        for size, reference in boards()[name].references.items():
            rows = [row for row in published_rows() if row.board == name and row.size == size and row.verified]
            for column in boards()[name].columns:
                best = min if column.better == "lower" else max
                assert reference.sota[column.name] == best(row.scores[column.name] for row in rows)
                cases += 1
    assert cases == 2 * 2 * 7


def test_a_better_system_is_above_1000_and_moves_nothing() -> None:
    board = board_named("2024")
    best = dict(board.references["10min"].sota)
    assert superb_s(best, board=board, size="10min") == pytest.approx(1000)
    better = superb_s(best | {"mono_cer": 20.0}, board=board, size="10min")
    assert better is not None
    assert better > 1000
    assert superb_s(best, board=board, size="10min") == pytest.approx(1000)


def test_the_same_row_scores_otherwise_on_another_board() -> None:
    row = next(row for row in SCORED if row.system == "XLSR-128" and row.size == "10min")
    assert superb_s(row.scores, board=board_named("2023"), size="10min") == pytest.approx(947.5, abs=0.1)
    assert superb_s(row.scores, board=board_named("2024"), size="10min") == pytest.approx(730.8, abs=0.1)


def test_a_missing_column_gives_no_score() -> None:
    board = board_named("2024")
    scores = dict(board.references["1h"].sota) | {"multi_few_shot_cer": None}
    assert superb_s(scores, board=board, size="1h") is None
    assert superb_s(scores | {"multi_few_shot_cer": 30.8}, board=board, size="1h") == pytest.approx(1000)
    del scores["mono_cer"]
    assert superb_s(scores | {"multi_few_shot_cer": 30.8}, board=board, size="1h") is None


def test_the_challenge_has_no_superb_s() -> None:
    row = next(row for row in published_rows() if row.board == "challenge")
    assert superb_s(row.scores, board=board_named("challenge"), size="all") is None


def test_unknown_boards_and_sizes_are_answered_with_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"no board '2022'; choose one of 2024, 2023, peft_study, challenge"):
        board_named("2022")
    with pytest.raises(ValueError, match=r"board peft_study has no size 1h; it has 10min"):
        superb_s({}, board=board_named("peft_study"), size="1h")


def test_the_boards_are_about_the_protocols_of_today() -> None:
    versions = {"v1": v1.protocol.version, "challenge": challenge.protocol.version}
    for board in boards().values():
        assert (board.protocol_version, board.scorer_version) == (versions[board.protocol], SCORER_VERSION)
        assert all(column.metric or column.track == "mono_asr" for column in board.columns)
    for board in boards().values():
        for track, words in board.runs.items():
            assert track in board.tracks
            assert words.split()[0].removeprefix("+exp=") in options("exp", [conf_dir()])
    runs = {run: language for language, runs in boards()["2024"].mono.items() for run in runs}
    assert runs == {run: language for run, (language, _) in mono_settings().items()}


def test_every_published_row_is_whole_and_has_its_source() -> None:
    assert set(ROW_FILES) | {"boards.yaml"} == {
        path.name for path in files("mlsuperb.scoring.boards").joinpath("published").iterdir()
    }
    known = {column.name for board in boards().values() for column in board.columns}
    upstreams, adaptations, experiments = (options(group, [conf_dir()]) for group in ("upstream", "adaptation", "exp"))
    assert len(published_rows()) == 18 + 10 + 10 + 5 + 6 + 4
    for row in published_rows():
        assert row.source
        assert row.upstream is None or row.upstream in upstreams
        assert row.experiment is None or row.experiment in experiments
        assert row.adaptation in adaptations
        assert (row.protocol, row.release) in [("v1", "7th"), ("challenge", None)]
        assert all(0 <= value <= 100 for value in row.scores.values())
        assert set(row.scores) - {name for name in row.scores if name.startswith("mono_")} <= known
        if row.board:
            assert {column.name for column in boards()[row.board].columns} <= set(row.scores), "no hole on a board"
    recalled = [row for row in published_rows() if not row.verified]
    assert len(recalled) == 10 + 1
    assert all(dataclasses.asdict(row)["superb_s_verified"] is False for row in recalled)


def test_the_studys_averages_are_the_means_of_its_languages() -> None:
    rows = [row for row in published_rows() if row.board == "peft_study"]
    for row in rows:
        mean = fmean(row.scores[f"mono_{language}"] for language in boards()["peft_study"].mono)
        assert row.scores["mono_cer"] == pytest.approx(mean, abs=0.01), row.system
    assert len(rows) == 4
