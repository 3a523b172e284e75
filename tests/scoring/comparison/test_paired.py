from __future__ import annotations

from dataclasses import replace

import pytest
from finished_runs import facts

from mlsuperb.scoring.comparison import paired
from mlsuperb.scoring.comparison.bootstrap import difference_interval
from mlsuperb.scoring.utterances import language_tokens, utterance_counts


def paired_table(first, second, *, task="asr_lid", **options):
    return paired.paired_rows(paired.pair_utterances(first, second, facts(task)), **options)


def most_different(first, second, *, n):
    return paired.most_different(paired.pair_utterances(first, second, facts()), n=n)


@pytest.fixture
def runs(utterance):
    """Nine letters and a space a reference: the second run is right where the first drops a letter, of deu only."""
    first = [utterance("deu", "abcdefghi", "[deu] ABCDEFGH", id=f"d{n}") for n in range(8)]
    first += [utterance("fra", "abcdefghi", "[fra] ABCDEFGHI", id=f"f{n}", dataset="mls") for n in range(8)]
    second = [replace(one, hypothesis=f"[{one.language}] ABCDEFGHI") for one in first]
    second[8] = replace(second[8], hypothesis="[deu] XBCDEFGHI")
    return first, second


def test_rows_of_groups_and_of_all(runs):
    rows = {row.group: row for row in paired_table(*runs)}
    assert list(rows) == ["deu", "fra", "total"]
    deu, fra, everything = rows.values()
    assert (deu.first.error_rate, deu.second.error_rate) == (10.0, 0.0)
    assert (deu.error_rate.value, deu.error_rate.low, deu.error_rate.high) == (-10.0, -10.0, -10.0)
    assert deu.error_rate.excludes_zero
    assert (fra.first.error_rate, fra.second.error_rate) == (0.0, 1.25)
    assert fra.error_rate.low == 0.0
    assert not fra.error_rate.excludes_zero  # one utterance in eight is not enough
    assert (fra.lid_accuracy.value, fra.lid_accuracy.high) == (-12.5, 0.0)
    assert (everything.num_utterances, everything.num_languages) == (16, 2)
    assert everything.error_rate == difference_interval(*(utterance_counts(run, facts()) for run in runs))


def test_other_groups(runs):
    assert [row.group for row in paired_table(*runs, by="dataset")] == ["fleurs", "mls", "total"]
    assert [row.group for row in paired_table(*runs, by="resource")] == ["5", "total"]
    (family, _) = paired_table(*runs, by="family")
    assert (family.group, family.num_languages) == ("Indo-European", 2)


def test_order_does_not_matter_and_pairs_go_by_split_and_id(runs):
    first, second = runs
    assert paired_table(first, second[::-1]) == paired_table(first, second)


def test_tasks_have_their_rates_only(runs):
    lid = paired_table(*runs, task="lid")[-1]
    assert (lid.error_rate, lid.lid_accuracy.value) == (None, -6.25)
    asr = paired_table(*runs, task="asr")[-1]
    assert asr.lid_accuracy is None
    assert asr.error_rate is not None


def test_a_run_beside_itself(runs):
    first, _ = runs
    for row in paired_table(first, first):
        assert (row.error_rate.value, row.error_rate.low, row.error_rate.high) == (0, 0, 0)
    assert most_different(first, first, n=5) == []


def test_other_utterances_are_refused(runs):
    first, second = runs
    with pytest.raises(
        ValueError, match=r"not of the same utterances: 16 and 15, of which 1 of the first .* such as f7"
    ):
        paired_table(first, second[:-1])
    with pytest.raises(ValueError, match="15 and 16, of which 0 of the first"):
        paired_table(first[:-1], second)
    other = [replace(second[0], reference="xyz"), *second[1:]]
    with pytest.raises(ValueError, match=r"1 utterances have another reference, language or dataset .* such as d0"):
        paired_table(first, other)
    with pytest.raises(ValueError, match="no hypothesis to compare"):
        paired_table([], [])


def test_the_largest_differences_come_first(runs, utterance):
    first, second = runs
    first = [*first, utterance("deu", "abcdefghi", "[deu] ABCDEFGHI", id="worst")]
    second = [*second, replace(first[-1], hypothesis="")]
    found = most_different(first, second, n=3)
    # all ten units missing; then of the single errors the one with another language
    assert [pair.first.id for pair in found] == ["worst", "f0", "d0"]
    assert [pair.difference for pair in found] == [1.0, 0.1, -0.1]
    assert [pair.lid_difference for pair in found] == [-1, -1, 0]
    assert len(most_different(first, second, n=100)) == 10  # the rest is equal


def test_errors_of_an_empty_reference_are_counted(utterance):
    """It has no units to divide them by."""
    first = utterance("deu", "...", "[deu]")
    ((pair,),) = [most_different([first], [replace(first, hypothesis="[deu] AB")], n=1)]
    assert pair.difference == 3.0  # a space and two letters


@pytest.mark.parametrize(
    ("reference", "output", "expected"),
    [
        ("HELLO", "HELLO", "HELLO"),
        ("HELLO", "HALLO", "H{A}LLO"),
        ("HELLO", "HEO", "HE{**}O"),
        ("HELLO", "HELLO YOU", "HELLO{ YOU}"),
        ("HELLO", "", "{*****}"),
        ("", "A", "{A}"),
        (["a", "i3", "x"], ["a", "i4", "x"], "a {i4} x"),
        (["a", "b"], ["a"], "a {*}"),
    ],
)
def test_errors_are_marked(reference, output, expected):
    assert paired.marked_output(reference, output) == expected


def test_the_table_shows_both_and_the_difference(runs):
    rows = paired_table(*runs)
    cells = paired.paired_cells(rows, facts(), by="language", title="t")
    assert cells.columns == (
        "language", "utterances", "CER A % ↓", "CER B % ↓", "B - A", "LID A % ↑", "LID B % ↑", "B - A",
    )  # fmt: skip
    assert cells.rows[0] == ("deu", "8", "10.0", "0.0", "-10.0 [-10.0, -10.0] *", "100.0", "100.0", "+0.0 [+0.0, +0.0]")
    text = paired.verdict(rows, facts(), confidence=0.95)
    assert "excludes 0: 1 of 2 groups; about 0.1 would be marked" in text
    cells = paired.paired_cells(rows, facts("lid"), by="family", title="t")
    assert cells.columns[:3] == ("family (Glottolog 4.0)", "languages", "utterances")
    assert len(cells.columns) == 6


def test_a_single_utterance_has_a_difference_without_an_interval(utterance):
    first = [utterance("deu", "abcd", "[deu] ABCD", id="a")]
    second = [replace(first[0], hypothesis="[deu] ABC")]
    (row, _) = paired_table(first, second)
    cells = paired.paired_cells([row], facts("asr"), by="language", title="t")
    assert cells.rows == (("deu", "1", "0.0", "20.0", "+20.0"),)


def test_an_utterance_is_shown_with_both_outputs_and_its_audio(runs):
    (pair,) = most_different(runs[0][8:9], runs[1][8:9], n=1)
    lines = paired.utterance_lines(pair, facts(), language_tokens(runs[0]))
    assert lines == [
        "f0 (mls, fra); A: 0 % errors; B: 10 % errors",
        "  reference  ABCDEFGHI",
        "  A          [fra] ABCDEFGHI",
        "  B          [deu] {X}BCDEFGHI",
        "  audio      a.wav (0.00 s to 1.00 s)",
    ]
    lines = paired.utterance_lines(pair, facts("lid"), language_tokens(runs[0]))
    assert lines[1:3] == ["  A          [fra]", "  B          [deu]"]
