from __future__ import annotations

import pytest
from finished_runs import facts, result_of

from mlsuperb.scoring.comparison.groups import groups_table


def run(utterance, *, seed=0, task="asr_lid", sha="a", normaliser="v1", extra=(), protocols=("v1", "v2")):
    """Two languages of one family, one of a family of its own, one of which nothing is known."""
    ones = [
        utterance("deu", "abcd", "[deu] ABCD"),
        utterance("fra", "abcd", "[fra] ABCX", dataset="mls"),
        utterance("eus", "abcd", "[deu] ABCD"),
        utterance("tok", "abcd", "[tok] "),
        *extra,
    ]
    return result_of(
        ones,
        facts(task, normaliser=normaliser),
        protocols=protocols,
        run_id=f"r{seed}",
        config={"seed": seed},
        data={"name": "d", "splits": {"test": {"sha256": sha}}},
    )


def test_rows_are_groups_and_columns_are_runs(utterance):
    cells = groups_table([run(utterance), run(utterance, seed=1)], by="family")
    assert cells.columns == (
        "family (Glottolog 4.0)",
        "languages",
        "utterances",
        "CER ↓, seed=0",
        "CER ↓, seed=1",
        "LID ↑, seed=0",
        "LID ↑, seed=1",
    )
    # a reference is a space and four letters: 1 of 10 in deu and fra; all 5 are missing of tok, whose space stays
    assert cells.rows == (
        ("Basque (isolate)", "1", "1", "0.0", "0.0", "0.0", "0.0"),
        ("Indo-European", "2", "2", "10.0", "10.0", "100.0", "100.0"),
        ("unknown", "1", "1", "100.0", "100.0", "100.0", "100.0"),
        ("total", "4", "4", "30.0", "30.0", "75.0", "75.0"),
    )


def test_other_groups(utterance):
    one = [run(utterance)]
    assert [row[0] for row in groups_table(one, by="resource").rows] == ["4", "5", "unknown", "total"]
    assert [row[:3] for row in groups_table(one, by="dataset").rows] == [
        ("fleurs", "3", "3"),
        ("mls", "1", "1"),
        ("total", "4", "4"),
    ]
    cells = groups_table(one, by="language")
    assert cells.columns == ("language", "utterances", "CER ↓, r0", "LID ↑, r0")
    assert [row[0] for row in cells.rows] == ["deu", "eus", "fra", "tok", "total"]


def test_tasks_have_their_rates_only(utterance):
    for task, title in (("asr", "CER ↓, r0"), ("lid", "LID ↑, r0")):
        assert groups_table([run(utterance, task=task)], by="dataset").columns[3:] == (title,)


def test_without_v1_the_counts_of_v2_do(utterance):
    first = groups_table([run(utterance)], by="resource")
    assert groups_table([run(utterance, protocols=("v2",))], by="resource") == first


def test_what_cannot_be_grouped_is_refused(utterance):
    for other, reason in (
        ({"sha": "b"}, "the data of split 'test' differ"),
        ({"normaliser": "raw"}, "normaliser differs"),
    ):
        with pytest.raises(ValueError, match=f"r0 and r1 cannot stand in one table of groups: {reason}"):
            groups_table([run(utterance), run(utterance, seed=1, **other)], by="family")
    with pytest.raises(ValueError, match="has no scores of split 'dev'; it has test"):
        groups_table([run(utterance)], by="family", split="dev")
    with pytest.raises(ValueError, match="r0 has no counts of protocol v1 or v2"):
        groups_table([run(utterance, protocols=("challenge",))], by="family")
    with pytest.raises(ValueError, match="no finished run"):
        groups_table([], by="family")
