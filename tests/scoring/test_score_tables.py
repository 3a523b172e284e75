from __future__ import annotations

import io

import pytest
from finished_runs import facts
from rich.console import Console

from mlsuperb.scoring.examples import show_examples
from mlsuperb.scoring.result import Protocols
from mlsuperb.scoring.score import Scoring
from mlsuperb.scoring.table import metrics_table, protocol_tables


def score(ones, task="asr_lid", **options):
    return Scoring(**options).score(ones, facts(task))


@pytest.fixture
def ones(utterance):
    return [
        utterance("eng", "hello", "[eng] HELLO", id="a"),
        utterance("eng", "hello", "[eng] HALLO", id="b"),
        utterance("fra", "bon jour", "[fra] BONJOURX", dataset="mls", id="c"),
        utterance("dan", "god", "[eng]", dataset="NST", id="d"),
    ]


def test_counts_and_total(ones):
    table = protocol_tables(score(ones))[0]
    assert table.columns == ("language", "dataset", "utterances", "CER % ↓", "LID % ↑", "sub", "ins", "del")
    assert table.rows == (
        ("dan", "NST", "1", "100.0", "0.0", "0", "0", "4"),
        ("eng", "fleurs", "2", "8.3", "100.0", "1", "0", "0"),
        ("fra", "mls", "1", "22.2", "100.0", "0", "1", "1"),
        ("total", "", "4", "28.0", "75.0", "1", "1", "5"),
    )


def test_missing_values_say_why_and_every_protocol_is_there(ones):
    sections = score(ones[:2])
    tables = protocol_tables(sections)
    assert [table.title for table in tables] == [
        "Protocol v1, split test",
        "Protocol v1 (version 1)",
        "Protocol v2 (version 1)",
        "Protocol wer_cer (version 1)",
        "Protocol challenge (version 1)",
        "Protocol challenge_server (version 2)",
    ]
    rows = metrics_table(sections.sections["v1"]).rows
    assert ("test", "reserved_*", "n.a.", "no utterance of a reserved language") in rows
    assert ("test", "trained_lid_accuracy ↑", "100.0", "1 language") in rows
    rows = metrics_table(sections.sections["v2"]).rows
    assert ("test", "trained_dataset_range ↓", "n.a.", "no language has more than one dataset") in rows
    assert ("test", "trained_std_cer ↓", "n.a.", "needs 2 or more languages, has 1") in rows
    rows = metrics_table(sections.sections["challenge"]).rows
    assert rows[-1] == ("test", "dialect_*", "n.a.", "no split dev_dialect")
    assert protocol_tables(Protocols()) == []


def test_challenge_and_lid_have_their_own_columns(ones):
    challenge = protocol_tables(score(ones, protocols=["challenge"]))[0]
    assert challenge.columns[2:] == ("utterances", "CER % ↓", "LID % ↑", "no reference", "no hypothesis")
    assert len(challenge.rows) == 3  # languages are not pooled
    lid = protocol_tables(score(ones, "lid"))[0]
    assert lid.columns == ("language", "dataset", "utterances", "LID % ↑")


def test_markdown_and_terminal_show_the_same_cells(ones):
    sections = score(ones, protocols=["v1"])
    text = "".join(table.to_markdown() for table in protocol_tables(sections))
    assert "| eng | fleurs | 2 | 8.3 | 100.0 | 1 | 0 | 0 |" in text
    assert "| --- | --- | ---: |" in text
    console = Console(file=io.StringIO(), width=120)
    for table in protocol_tables(sections):
        console.print(table.to_rich())
    shown = console.file.getvalue()
    for cell in ("eng", "8.3", "CER % ↓", "trained_cer ↓"):
        assert cell in shown


def test_examples_are_marked(ones):
    shown = show_examples(ones, facts()).plain
    assert shown == (
        "b: number 2 of 4 from best to worst, 20 % errors\n"
        "  reference   [eng] H{E}LLO\n"
        "  hypothesis  [eng] H{A}LLO\n"
        "c: number 3 of 4 from best to worst, 25 % errors\n"
        "  reference   [fra] BON{ }JOUR\n"
        "  hypothesis  [fra] BONJOUR{X}\n"
        "d: number 4 of 4 from best to worst, 100 % errors\n"
        "  reference   [dan] {GOD}\n"
        "  hypothesis  [eng] \n"
        "{braces}: missed in the reference, wrong or added in the hypothesis\n"
    )
    assert show_examples(list(reversed(ones)), facts()).plain == shown
    coloured = show_examples(ones, facts(), colour=True)
    assert "{" not in coloured.plain
    assert any("red" in str(span.style) for span in coloured.spans)


def test_examples_of_other_tasks(ones, utterance, monkeypatch):
    assert "{dan}" in show_examples(ones, facts("lid"), 2).plain
    monkeypatch.setattr("mlsuperb.data.phonemes.to_phonemes", lambda text, language: " ".join(text))
    one = utterance("jpn", "abc", "A X C")
    assert "A {X} C" in show_examples([one], facts("asr", units="phoneme"), 1).plain
    with pytest.raises(ValueError, match="1, 2 or 3 can be shown"):
        show_examples(ones, facts("asr"), 4)
