"""Labels of languages as codes, and splits that are held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from corpus_trees import utterance

from mlsuperb.data.corpora.own import NUM_SPEAKERS, OwnCorpus, hold_out
from mlsuperb.data.corpora.usual_names import split_in, split_named
from mlsuperb.data.skips import SkipReport
from mlsuperb.types import Utterance


@dataclass(kw_only=True)
class Listed(OwnCorpus):
    """Rows with the given labels of languages."""

    labels: list[str] = field(default_factory=list)

    def sources(self) -> list[Path]:
        return []

    def _rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        for number, label in enumerate(self.labels):
            yield utterance(f"u{number}.wav", language=label)


def codes(*labels: str, **settings: Any) -> list[str]:
    return [row.language for row in Listed(labels=list(labels), **settings).rows(SkipReport())]


def test_labels_become_codes_and_that_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    labels = ["de", "DE", "pt-BR", "cmn_hans_cn", "ger", "Swahili", "deu", "org_jpn", "de", "nan", "no"]
    expected = ["deu", "deu", "por", "cmn", "deu", "swa", "deu", "org_jpn", "deu", "nan", "nor"]
    assert codes(*labels) == expected
    (told,) = [record.message for record in caplog.records]
    assert told.startswith("languages: DE = deu (German), Swahili = swa (Swahili (macrolanguage)), cmn_hans_cn = cmn")
    assert "'data.codes={LABEL: CODE}'; +data.map_codes=false maps none" in told


def test_what_the_user_gave_counts_for_more() -> None:
    assert codes("de", "Cantonese Chinese", codes={"Cantonese Chinese": "yue", "de": "gsw"}) == ["gsw", "yue"]
    assert codes("zh-CN", "de", extra_languages=["zh-CN"]) == ["zh-CN", "deu"]
    assert codes("zh-CN", extra_languages=["zh-CN"], map_codes=False) == ["zh-CN"]
    with pytest.raises(
        ValueError, match=r"language of 'u1': 'de' is not an ISO 639-3.*'deu'.*'data\.codes=\{\"de\": CODE\}'"
    ):
        codes("eng", "de", map_codes=False)
    with pytest.raises(ValueError, match=r"'Klingonese' is not .*'data\.codes=\{\"Klingonese\": CODE\}'"):
        codes("Klingonese")
    with pytest.raises(ValueError, match=r"'' cannot be a language code"):
        codes("")
    assert codes("Klingonese", "de", languages=["deu"]) == ["Klingonese", "deu"]


def held_out(rows: list[Utterance], share: float) -> tuple[list[Utterance], dict[str, Any]]:
    skipped = SkipReport()
    return hold_out(rows, share=share, skipped=skipped), skipped.to_dict()


def test_whole_speakers_are_held_out() -> None:
    rows = [utterance(f"u{number:03d}.wav", speaker=f"s{number % 20}") for number in range(200)]
    found, skipped = held_out(rows, 0.1)
    assert [row.id for row in found] == [row.id for row in rows]
    assert Counter(row.split for row in found) == {"train": 160, "dev": 20, "test": 20}
    speakers = [{row.speaker for row in found if row.split == split} for split in ("train", "dev", "test")]
    assert [len(names) for names in speakers] == [16, 2, 2]
    assert set.union(*speakers) == {f"s{number}" for number in range(20)}
    assert {reason: (one["count"], one["kept"]) for reason, one in skipped.items()} == {
        "held out of train for test": (20, True), "held out of train for dev": (20, True),
    }  # fmt: skip
    assert {row.id: row.split for row in held_out(rows[::-1], 0.1)[0]} == {row.id: row.split for row in found}, (
        "by names"
    )


def test_the_loudest_speaker_is_not_held_out() -> None:
    """Whoever has more rows than are to be held out is trained on."""
    speakers = [f"s{number}" if number < 20 else "loud" for number in range(100)]
    rows = [utterance(f"u{number:03d}.wav", speaker=speaker) for number, speaker in enumerate(speakers)]
    found = held_out(rows, 0.1)[0]
    assert Counter(row.split for row in found) == {"train": 80, "dev": 10, "test": 10}
    assert {row.split for row in found if row.speaker == "loud"} == {"train"}


def test_something_is_left_to_train_on() -> None:
    splits = [
        sorted(row.split for row in held_out([utterance(f"{one}.wav") for one in range(number)], 0.1)[0])
        for number in (1, 2, 3)
    ]
    assert splits == [["train"], ["test", "train"], ["dev", "test", "train"]]


def test_utterances_are_held_out_where_few_speakers_are_known() -> None:
    rows = [utterance(f"u{number:03d}.wav", speaker=f"s{number % (NUM_SPEAKERS - 1)}") for number in range(100)]
    assert Counter(row.split for row in held_out(rows, 0.05)[0]) == {"train": 90, "dev": 5, "test": 5}
    nameless = [utterance(f"u{number:03d}.wav", speaker=f"s{number}" if number else "") for number in range(50)]
    assert Counter(row.split for row in held_out(nameless, 0.1)[0]) == {"train": 40, "dev": 5, "test": 5}


def test_only_what_a_language_lacks_is_held_out() -> None:
    rows = [utterance(f"{code}{number}.wav", language=code) for code in ("deu", "swa") for number in range(10)]
    rows += [utterance("t.wav", language="deu", split="test"), utterance("d.wav", language="deu", split="dev")]
    found = held_out(rows, 0.2)[0]
    counted = Counter((row.language, row.split) for row in found)
    assert counted == {
        ("deu", "train"): 10, ("deu", "dev"): 1, ("deu", "test"): 1, ("swa", "train"): 6, ("swa", "dev"): 2, ("swa", "test"): 2,
    }  # fmt: skip
    assert held_out([], 0.1) == ([], {})


def test_names_of_splits() -> None:
    assert {name: split_named(name) for name in ("Train", "valid", "val", "eval", "invalidated", "train-clean")} == {
        "Train": "train", "valid": "dev", "val": "dev", "eval": "test", "invalidated": None, "train-clean": None,
    }  # fmt: skip
    paths = [
        "cuts_train-clean-100.jsonl.gz",
        "valid/metadata.csv",
        "a/trained.csv",
        "dev/test.tsv",
        "x_validation_2.csv",
    ]
    assert [split_in(path) for path in paths] == ["train", "dev", None, "test", "dev"]
