"""Distances between durations of phones, worked by hand, and their table beside gains."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from runs_by_hand import hypothesis, make_run

from mlsuperb.analysis.durations import (
    FEWEST,
    distance,
    duration_pairs,
    duration_remarks,
    log_durations,
    shared_distance,
)
from mlsuperb.commands.durations import main
from mlsuperb.units.phones import Interval, Phones

TOKENS = {"a": [0.10, 0.12] * 15, "n": [0.05] * 30}


def marks(tokens: dict[str, list[float]], *, times: float = 1.0) -> Phones:
    """Utterances of ten phones each, with a pause in front of every phone."""
    spoken = [(phone, times * value) for phone, values in tokens.items() for value in values]
    order = np.random.default_rng(0).permutation(len(spoken))
    found: Phones = {}
    for place, number in enumerate(order):
        phone, length = spoken[number]
        rows = found.setdefault(f"utterance_{place // 10:02d}", [])
        start = rows[-1].end_s if rows else 0.0
        rows += [Interval(start, start + 1.0, "SIL"), Interval(start + 1.0, start + 1.0 + length, phone)]
    return found


def test_a_language_that_is_slower_by_a_fifth_is_a_fifth_away() -> None:
    pairs = duration_pairs({"one": marks(TOKENS), "two": marks(TOKENS, times=1.2)}, ["one"], targets=["two"])
    (pair,) = pairs
    assert pair.distance == pytest.approx(20)
    assert (pair.shared_distance, pair.num_shared) == (pytest.approx(20), 2)
    assert pair.mean_ms[1] / pair.mean_ms[0] == pytest.approx(1.2)
    assert pair.mean_ms[0] == pytest.approx(1000 * (0.10**15 * 0.12**15 * 0.05**30) ** (1 / 60)), (
        "silence does not count"
    )
    assert 0 <= pair.floor < 20


def test_the_distance_is_the_mean_ratio_of_durations_of_the_same_rank() -> None:
    first, second = np.log([0.1, 0.2, 0.4]), np.log([0.4, 0.1, 0.4])  # sorted: 1, 2 and 1 times as long
    assert distance(first, second) == pytest.approx(100 * (2 ** (1 / 3) - 1))
    assert distance(second, first) == distance(first, second)
    assert distance(first, first) == 0


def test_phones_are_compared_each_by_itself() -> None:
    """Two languages with the same phones in other shares differ in all durations, and not phone by phone."""
    long, short = ([0.2] * num + [0.1] * (120 - num) for num in (90, 30))
    of_first = {"a": np.log(long[:90]), "t": np.log(long[90:])}
    of_second = {"a": np.log(short[:30]), "t": np.log(short[30:])}
    assert shared_distance(of_first, of_second) == (0, 2)
    assert distance(np.log(long), np.log(short)) == pytest.approx(100 * (2**0.5 - 1)), "half of the ranks differ by 2"
    weighted = shared_distance(of_first, {"a": np.log([0.4] * 30), "t": np.log([0.1] * 90)})
    assert weighted[0] == pytest.approx(100 * (2 ** (30 / 60) - 1)), "both phones weigh a quarter"


def test_a_rare_phone_is_not_compared_by_itself() -> None:
    few = {"a": np.log([0.1] * (FEWEST - 1))}
    assert shared_distance(few, {"a": np.log([0.1] * 50)}) == (None, 0)


def test_bad_marks_are_named() -> None:
    with pytest.raises(ValueError, match=r"no phone marks of tur; there are those of spa\. Add --phones tur=FILE"):
        duration_pairs({"spa": marks(TOKENS)}, ["spa"], targets=["tur"])
    with pytest.raises(ValueError, match="phone marks of spa hold silence alone"):
        log_durations({"one": [Interval(0, 1, "SIL")]}, language="spa")


def table_of(folder: Path, language: str, *, times: float) -> str:
    path = folder / f"{language}.tsv"
    rows = [(name, *one) for name, rows in marks(TOKENS, times=times).items() for one in rows]
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    return f"{language}={path}"


def run_of(folder: Path, *, wrong: int) -> Path:
    """A run with so many of ten characters of swa wrong."""
    text = "b" * wrong + "a" * (10 - wrong)
    said = [hypothesis("swa", n, "a" * 10, text) for n in range(4)]
    return make_run(folder, said)


def test_the_command_shows_distances_before_and_gains_after(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    speeds = {"swa": 1.0, "spa": 1.1, "tur": 1.2, "deu": 1.3, "eng": 1.4}
    given = ["--phones", *(table_of(tmp_path, language, times=times) for language, times in speeds.items())]
    main([*given, "--targets", "swa"])
    assert "spa" in capsys.readouterr().out
    base = run_of(tmp_path / "base", wrong=8)
    runs = [f"{one}={run_of(tmp_path / one, wrong=2 + n)}" for n, one in enumerate(("spa", "tur", "deu", "eng"))]
    out = tmp_path / "durations.md"
    main([*runs, "--base", str(base), *given, "--out", str(out)])
    shown = capsys.readouterr().out
    assert "Spearman's rho +1.00 over 4 pairs" in shown, "the slower the pivot, the smaller the gain"
    found = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert [(one["pivot"], one["target"]) for one in found] == [(one, "swa") for one in ("spa", "tur", "deu", "eng")]
    assert [one["distance"] for one in found] == pytest.approx([10, 20, 30, 40])
    assert [one["change"]["value"] for one in found] == [-60, -50, -40, -30]
    row = next(line for line in out.read_text(encoding="utf-8").splitlines() if line.startswith("| spa | swa |"))
    assert row.endswith("| 80.0 | -60.0 [-60.0, -60.0] * | -75.0 |")
    assert out.with_suffix(".svg").is_file()


def test_runs_and_base_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--base", "x", "--phones", "spa=x"])
    assert "PIVOT=RUN and --base go together" in capsys.readouterr().err


def test_a_target_that_was_not_tested_is_refused(tmp_path: Path) -> None:
    base = run_of(tmp_path / "base", wrong=8)
    given = ["--phones", table_of(tmp_path, "spa", times=1), table_of(tmp_path, "wol", times=1)]
    with pytest.raises(ValueError, match=r"none of wol was tested by .*base"):
        main([f"spa={run_of(tmp_path / 'spa', wrong=5)}", "--base", str(base), *given])


def test_a_single_utterance_has_no_halves(tmp_path: Path) -> None:
    one = {"only": marks({"a": [0.1] * 3})["utterance_00"]}
    (pair,) = duration_pairs({"spa": marks(TOKENS), "wol": one}, ["spa"], targets=["wol"])
    assert pair.floor is None
    path = tmp_path / "wol.tsv"
    path.write_text("".join("\t".join(map(str, ("only", *row))) + "\n" for row in one["only"]), encoding="utf-8")
    out = tmp_path / "durations.md"
    main(["--phones", table_of(tmp_path, "spa", times=1), f"wol={path}", "--targets", "wol", "--out", str(out)])
    assert json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))[0]["floor"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--phones", "spa=A", "spa=B"], "argument --phones: spa is given twice"),
        (["spa=R1", "spa=R2", "--base", "B", "--phones", "swa=F"], "spa is given twice"),
        (["--phones", "spa=A", "--out", "x.json"], "give a file such as x.md"),
    ],
)
def test_what_is_given_twice_or_in_the_way_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert message in capsys.readouterr().err


def test_too_few_pairs_have_no_correlation() -> None:
    pairs = duration_pairs({"one": marks(TOKENS), "two": marks(TOKENS, times=1.2)}, ["one"])
    assert len(duration_remarks(pairs)) == 1
