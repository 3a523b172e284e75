"""Discrete units beside published rows: what the rows are, what stands in the table, what is said not to be comparable."""

from __future__ import annotations

import math
import re
from statistics import fmean

import numpy as np
import pytest

from mlsuperb.analysis.unit_board import UnitBoard, beside, not_comparable, unit_board
from mlsuperb.analysis.unit_tables import RunRows, UnitRow
from mlsuperb.data.languages import is_language
from mlsuperb.scoring.table import ABSENT
from mlsuperb.units.abx import AbxError
from mlsuperb.units.phones import Interval
from mlsuperb.units.quality import measure, pooled

TEST = ("cmn", "eng", "eus", "fra", "jpn", "wol")
RIGHT, CONSTANT = np.repeat([0, 1], 5), np.zeros(10, int)
TWO_PHONES = [Interval(0.0, 0.1, "SIL"), Interval(0.1, 0.2, "b")]
Errors = tuple[float, float]


@pytest.fixture
def board() -> UnitBoard:
    return unit_board("discophon")


def row(
    language: str,
    units: np.ndarray,
    *,
    abx: Errors | None = None,
    num_units: int = 256,
    split: str = "test",
    first: str = "SIL",
) -> UnitRow:
    """One utterance of 0.2 s: silence, or the phone `first`, and b."""
    phones = [[TWO_PHONES[0]._replace(phone=first), TWO_PHONES[1]]]
    errors = (AbxError(abx[0], 3, 4, 5), AbxError(abx[1], 3, 4, 5)) if abx else None
    return UnitRow("mine", language, measure([units], phones, rate_hz=50, num_units=num_units), errors, (split,))


def run_of(*rows: UnitRow) -> RunRows:
    errors = [one.abx for one in rows if one.abx]
    language = rows[0].language if len(rows) == 1 else "all"
    splits = tuple(sorted({split for one in rows for split in one.splits}))
    together = pooled(one.quality for one in rows)
    return RunRows(rows, UnitRow("mine", language, together, errors[0] if errors else None, splits))


def test_published_rows_are_those_of_the_source(board: UnitBoard) -> None:
    assert "arXiv 2603.18612" in board.source
    assert "bootphon/discophon, commit a94d46eb" in board.source
    assert (board.num_units, board.split, tuple(board.test_languages)) == (256, "test", TEST)
    assert set(TEST) < set(board.languages)
    assert len(board.languages) == 12
    assert all(is_language(language) for language in board.languages)
    means = [one for one in board.rows if one.language is None]
    assert all(set(one.scores) == {"pnmi", "per", "f1", "r_value", "abx_continuous", "abx"} for one in means)
    assert [(one.name, *one.scores.values()) for one in means if one.adaptation == "10h"] == [
        ("HuBERT VP-20, layer 11, continued on 10h", 57.6, 98.0, 61.2, 24.4, 5.5, 10.8),
        ("HuBERT MMS-ulab, layer 12, continued on 10h", 54.4, 113.6, 59.7, 15.0, 6.9, 13.0),
        ("SpidR VP-20, layer 6, continued on 10h", 64.4, 61.7, 64.4, 53.3, 5.1, 9.1),
        ("SpidR MMS-ulab, layer 5, continued on 10h", 64.6, 65.4, 68.9, 51.6, 6.4, 9.7),
    ]
    models = ("HuBERT VP-20", "HuBERT MMS-ulab", "SpidR VP-20", "SpidR MMS-ulab")
    assert [(one.model, one.adaptation) for one in means] == [
        (model, adaptation) for model in models for adaptation in ("none", "10min", "1h", "10h")
    ]
    of_one = [one for one in board.rows if one.language is not None]
    assert {one.language for one in of_one} == {"wol", "swa", "ukr", "deu", "eng"}
    assert [one.scores for one in of_one if one.language == "wol"] == [{"pnmi": x} for x in (49.1, 53.6, 55.8, 56.5)]
    assert {(one.model, one.layer) for one in of_one} == {("HuBERT VP-20", "11")}


def test_the_source_agrees_with_itself(board: UnitBoard) -> None:
    """Continued on more speech, the features of a VP-20 model discriminate phones better (those of an MMS-ulab model not always);
    units never better than features; F1 and R-value are no errors."""
    means = [one.scores for one in board.rows if one.language is None]
    for before, after in zip(board.rows, board.rows[1:], strict=False):
        same_model = before.language is None and after.language is None and before.model == after.model
        if same_model and after.model.endswith("VP-20"):
            assert after.scores["abx_continuous"] < before.scores["abx_continuous"]
            assert after.scores["abx"] < before.scores["abx"]
    assert all(one["abx"] > one["abx_continuous"] for one in means)
    hubert, spidr = (
        fmean(one.scores["pnmi"] for one in board.rows if one.language is None and one.model == f"{name} VP-20")
        for name in ("HuBERT", "SpidR")
    )
    assert 7 < spidr - hubert < 11  # as the paper has it


def test_ours_is_the_mean_over_languages_below_the_published_means(board: UnitBoard) -> None:
    """eng: each unit is a phone. wol: one unit stands beside both, is read as b or as silence, and finds no boundary."""
    run = run_of(row("eng", RIGHT), row("wol", CONSTANT))
    cells, records, _ = beside([run], board=board)
    assert cells.columns[4:] == ("PNMI % ↑", "PER % ↓", "F1 % ↑", "R-value % ↑")  # ABX was not measured
    assert cells.rows[0] == (
        "published", "HuBERT VP-20, layer 11, not continued", "mean of 6", "256", "49.5", "127.0", "58.2", "9.4"
    )  # fmt: skip
    assert [line[0] for line in cells.rows] == ["published"] * 16 + ["ours"]
    assert cells.bold == {16}
    # wol: recall 0, OS -1, so r1 = sqrt(2), r2 = 0 and the R-value is 1 - sqrt(2) / 2
    r_value = 100 * (1 + 1 - math.sqrt(2) / 2) / 2
    assert cells.rows[16] == ("ours", "mine", "mean of 2", "256", "50.0", "25.0", "50.0", f"{r_value:.1f}")
    assert run.together.quality.pnmi == pytest.approx(0.3113, abs=1e-4)  # of pooled counts: not the mean
    *published, mean, pooled_record = records
    assert [one["row"] for one in records] == ["published"] * 16 + ["ours"] * 2
    assert (mean["language"], mean["pnmi"], mean["per"]) == ("mean of 2", pytest.approx(0.5), 0.25)
    assert pooled_record == {"row": "ours", "abx": None, **run.together.record()}
    assert published[3] == {
        "row": "published", "run": "HuBERT VP-20", "layer": "11", "adaptation": "10h", "language": "mean of 6",
        "num_units": 256, "pnmi": 0.576, "per": 0.98, "f1": 0.612, "r_value": 0.244, "abx_continuous": 0.055, "abx": 0.108,
    }  # fmt: skip


def test_abx_is_the_mean_of_within_and_across_then_of_languages(board: UnitBoard) -> None:
    run = run_of(row("eng", RIGHT, abx=(0.1, 0.3)), row("wol", RIGHT, abx=(0.05, 0.15)))
    cells, _, remarks = beside([run, run_of(row("eng", RIGHT))], board=board)
    assert cells.columns[-1] == "ABX % ↓"
    assert [line[-1] for line in cells.rows] == [
        *("16.1", "14.1", "12.6", "10.8", "14.2", "13.4", "12.8", "13.0"),
        *("13.3", "10.4", "9.4", "9.1", "13.0", "14.2", "10.2", "9.7"),
        *("15.0", ABSENT),
    ]
    assert any(line.startswith("ABX: of the units, mean of within and across") for line in remarks)
    one_speaker = run_of(row("eng", RIGHT, abx=(0.1, math.nan)), row("wol", RIGHT, abx=(0.2, 0.4)))
    assert beside([one_speaker], board=board).cells.rows[-1][-1] == ABSENT  # not the mean of wol alone
    undefined = run_of(row("eng", RIGHT, abx=(0.1, math.nan)))
    cells, records, _ = beside([undefined], board=board)
    assert cells.rows[-1][-1] == ABSENT
    assert records[-1]["abx"] is None


def test_a_language_stands_beside_what_was_published_of_it(board: UnitBoard) -> None:
    runs = [run_of(row("eng", CONSTANT), row("kat", RIGHT)), run_of(row("eng", RIGHT))]
    cells, records, _ = beside(runs, board=board, by_language=True)
    assert [line[:3] + line[4:] for line in cells.rows[16:]] == [
        ("ours", "mine", "mean of 2", "50.0", "25.0", "50.0", "64.6"),
        ("published", "HuBERT VP-20, layer 11, not continued", "eng", "49.9", ABSENT, ABSENT, ABSENT),
        ("published", "HuBERT VP-20, layer 11, continued on 10min", "eng", "48.0", ABSENT, ABSENT, ABSENT),
        ("published", "HuBERT VP-20, layer 11, continued on 1h", "eng", "52.7", ABSENT, ABSENT, ABSENT),
        ("published", "HuBERT VP-20, layer 11, continued on 10h", "eng", "52.9", ABSENT, ABSENT, ABSENT),
        ("ours", "mine", "eng", "0.0", "50.0", "0.0", "29.3"),
        ("ours", "mine", "eng", "100.0", "0.0", "100.0", "100.0"),
        ("ours", "mine", "kat", "100.0", "0.0", "100.0", "100.0"),
    ]
    ours = [one["language"] for one in records if one["row"] == "ours"]
    assert ours == ["mean of 2", "eng", "kat", "all", "eng"]
    assert [one["pnmi"] for one in records if one["row"] == "published" and one["language"] == "eng"] == [
        0.499, 0.48, 0.527, 0.529
    ]  # fmt: skip
    assert len(beside(runs, board=board).cells.rows) == 16 + 2


def test_each_reason_why_a_run_is_not_comparable_is_said(board: UnitBoard) -> None:
    comparable = [row(language, RIGHT) for language in TEST]
    assert list(not_comparable(run_of(*comparable), board)) == []

    def reasons(**change: object) -> list[str]:
        return list(not_comparable(run_of(*(row(language, RIGHT, **change) for language in TEST)), board))  # type: ignore[arg-type]

    assert reasons(num_units=100) == ["it has 100 units, and DiscoPhon has 256: PNMI rises with their number"]
    assert reasons(split="dev") == ["it was measured on split dev, and DiscoPhon scores test"]
    assert reasons(first="a") == [
        "the phones of cmn, eng, eus, fra, jpn, wol have no silence, which is one more phone in DiscoPhon"
    ]
    one_without = [*comparable[:5], row("wol", RIGHT, first="a")]
    (only,) = not_comparable(run_of(*one_without), board)
    assert only.startswith("the phones of wol have no silence")
    (names,) = not_comparable(run_of(*comparable[:5], row("wol", RIGHT, first="sp")), board)
    assert names == "its silences have several names (SIL, sp), each a phone, and DiscoPhon has one silence"
    means = "and the published means are over cmn, eng, eus, fra, jpn, wol"
    assert list(not_comparable(run_of(row("deu", RIGHT)), board)) == [f"its languages are deu, {means}"]
    assert list(not_comparable(run_of(row("eng", RIGHT), row("kat", RIGHT)), board)) == [
        f"its languages are eng, kat, {means} (DiscoPhon does not have kat)"
    ]
    remarks = beside([run_of(row("deu", RIGHT, num_units=9, split="dev", first="a"))], board=board).remarks
    assert [line.split(",")[0] for line in remarks[2:]] == ["mine: not comparable"] * 4
    assert re.match(r"Published: DiscoPhon, means over the test sets of cmn, .* \(arXiv 2603.18612;", remarks[0])
    assert "the table cannot check" in remarks[1]
