"""What a report says, and how long it takes to say it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_runs import make_run

from mlsuperb.analysis.report import pictures, summary
from mlsuperb.analysis.report.blocks import spoken_date
from mlsuperb.analysis.report.one_run import rounded
from mlsuperb.analysis.runs import LoadedRun, load_run
from mlsuperb.runtime.messages import plural
from mlsuperb.scoring.page.blocks import Table, Warnings


def loaded(folder: Path, **options) -> LoadedRun:
    return load_run(make_run(folder, **options), with_sound=True)


def tables(run: LoadedRun) -> dict[str, Table]:
    return {one.name: one for one in summary.scores(run).blocks if isinstance(one, Table)}


def test_audio_problems_are_grouped_by_kind_with_three_examples(tmp_path) -> None:
    """One box per file made a page of 560 utterances 80,000 pixels tall."""
    run = loaded(tmp_path / "run", languages=("eng", "deu", "fra"), per_language=20)
    audio = sorted((tmp_path / "audio").glob("*.wav"))
    for number, path in enumerate(audio[:30]):
        content = path.read_bytes()
        path.write_bytes(content[: 4000 + 100 * number])  # each is cut short by another number of seconds
    audio[30].unlink()
    [box] = [one for one in pictures.reasons(run).blocks if isinstance(one, Warnings)]
    assert len(box.texts) <= 4
    text = " ".join(box.texts)
    counts = [int(number) for number in re.findall(r"The audio of (\d+) utterances? was not measured", text)]
    assert sum(counts) == 31
    assert str(tmp_path) not in text
    assert len(re.findall(r"(?:commonvoice|fleurs)_\w+_\d{6}", text)) <= 3 * len(box.texts)
    assert "The audio of 1 utterance was not measured: there is no such file. " in text
    assert ".." not in text
    assert run.table["audio_problem"].str.contains("s could be read|unreadable|can be decoded").any(), (
        "the table has it all"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *(
            (14.750103083993183, "14.8"),
            (65.1178973032132, "65.1"),
            (0.0012345, "0.00123"),
            (8_070_000_000, "8,070,000,000"),
        ),
        *((12345.678, "12,346"), (0.0, "0"), (2.0, "2"), (0.5, "0.500"), (float("nan"), "nan")),
    ],
)
def test_costs_have_three_digits_that_count(value: float, text: str) -> None:
    assert rounded(value) == text


def test_dates_and_numbers_are_spoken() -> None:
    assert spoken_date("2026-11-28T19:57:30+00:00") == "28 November 2026, 19:57 UTC"
    assert spoken_date("2026-01-02") == "2 January 2026"
    assert spoken_date("some day") == "some day"
    assert [plural(number, "point") for number in (1, 2, 1234)] == ["1 point", "2 points", "1,234 points"]


def test_what_is_missing_for_one_reason_is_said_once(tmp_path) -> None:
    found = tables(loaded(tmp_path / "run", languages=("eng", "deu", "fra"), audio=False))
    for name in ("scores-v1", "scores-v2"):
        table = found[name]
        assert "few-shot %" not in table.columns
        assert table.note.count("no utterance of a reserved language") == 1
        assert not any("reserved" in cell.sub for row in table.rows for cell in row)


def test_metrics_are_named_in_words_and_fifteen_of_three_is_no_number(tmp_path) -> None:
    found = tables(loaded(tmp_path / "run", languages=("eng", "deu", "fra"), audio=False))
    names = [row[0].text for table in found.values() for row in table.rows]
    assert len(names) > 10
    assert not [name for name in names if "_" in name]
    [worst] = [row for row in found["scores-challenge"].rows if row[0].text.startswith("CER of the 15 worst languages")]
    assert worst[1].text == "n.a."
    assert worst[1].sub.startswith("needs 15 languages, there are 3 (as the original calculates it: ")
    sixteen = loaded(tmp_path / "more", languages=[f"{letter}aa" for letter in "abcdefghijklmnop"], audio=False)
    [worst] = [row for row in tables(sixteen)["scores-challenge"].rows if row[0].text.startswith("CER of the 15")]
    assert float(worst[1].text) > 0
