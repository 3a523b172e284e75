from __future__ import annotations

import csv
from importlib.resources import files

import pytest

from mlsuperb.data.corpora.ml_superb_release import published_pairs
from mlsuperb.data.languages import is_language
from mlsuperb.scoring.comparison.language_facts import group_of, language_facts


def test_every_label_of_both_archives_has_a_row():
    labels = {language for release in ("7th", "8th") for language, _ in published_pairs(release)}
    assert len(labels) == 143
    assert set(language_facts()) == labels  # the HF data has these labels, too (ml_superb_hf, counted by label)
    assert all(is_language(code) for code in language_facts())


def test_what_is_known_of_how_many():
    facts = language_facts().values()
    assert sum(not one["family"] for one in facts) == 1
    assert sum(not one["resource_class"] for one in facts) == 11
    assert {one["resource_class"] for one in facts} == {*"012345", ""}


@pytest.mark.parametrize(
    ("language", "family", "resource"),
    [
        ("eng", "Indo-European", "5"),
        ("ara", "Afro-Asiatic", "5"),
        ("swa", "Atlantic-Congo", "2"),
        ("fin", "Uralic", "4"),
        ("eus", "Basque (isolate)", "4"),
        ("nan", "Sino-Tibetan", "1"),  # a code that careless readers take for a number
        ("xty", "Otomanguean", "unknown"),
        ("tok", "unknown", "unknown"),
        ("lga", "Atlantic-Congo", "1"),  # Luganda, not ISO's Lungga
        ("org_jpn", "Japonic", "5"),
        ("orgjpn", "Japonic", "5"),  # as protocol v2 writes it
        ("gsw", "unknown", "unknown"),  # none of the benchmark's
    ],
)
def test_groups(language, family, resource):
    where = {"dataset": "fleurs", "language": language}
    assert group_of("family", **where) == family
    assert group_of("resource", **where) == resource
    assert group_of("language", **where) == language
    assert group_of("dataset", **where) == "fleurs"


def test_an_unknown_grouping_is_explained():
    with pytest.raises(ValueError, match="cannot group by 'script'; choose language, dataset, family, resource"):
        group_of("script", dataset="a", language="eng")


def test_every_class_names_its_entry_and_every_family_its_code():
    text = files("mlsuperb.scoring.comparison").joinpath("language_facts.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    assert len(rows) == 143
    for row in rows:
        assert bool(row["resource_class"]) == bool(row["matched_name"]), row
        assert bool(row["family"]) == bool(row["glottocode"]), row
    assert "CC BY 4.0" in text
