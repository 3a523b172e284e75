"""The built-in parallel text: words that mean the same in two languages, and sentences of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("espeakng_loader")
pytest.importorskip("babel")

from mlsuperb.config.build import instantiate
from mlsuperb.config.compose import compose
from mlsuperb.data.corpora import synthetic_pairs
from mlsuperb.data.corpora.synthetic_pairs import SyntheticPairs
from mlsuperb.data.manifest import records
from mlsuperb.data.prepared import prepare
from mlsuperb.data.skips import SkipReport
from mlsuperb.data.synthesis import espeak
from mlsuperb.data.synthesis.espeak import Synthesiser
from mlsuperb.data.synthesis.languages import LANGUAGES, vocabulary
from mlsuperb.data.synthesis.recording import CONDITIONS
from mlsuperb.data.synthesis.translations import MIN_WORD_PAIRS, word_pairs
from mlsuperb.data.synthesis.utterances import reading
from mlsuperb.types import TextPair


@pytest.fixture(scope="module")
def synthesiser() -> Synthesiser:
    return Synthesiser()


def corpus(target: str = "swa", **settings: Any) -> SyntheticPairs:
    return SyntheticPairs(**{"target_language": target, "num_train": 40, "num_dev": 20, "num_test": 20} | settings)


def rows(one: SyntheticPairs) -> list[TextPair]:
    return list(one.rows(SkipReport()))


@pytest.mark.parametrize(
    ("source", "target", "known"),
    [
        ("eng", "deu", {"France": "Frankreich", "Wednesday": "Mittwoch", "Poland": "Polen", "ounces": "Unzen"}),
        ("eng", "swa", {"Germany": "Ujerumani", "Egypt": "Misri", "French": "Kifaransa", "Saturday": "Jumamosi"}),
        ("eng", "kat", {"Greece": "საბერძნეთი", "January": "იანვარი", "German": "გერმანული"}),
        ("eng", "tur", {"China": "Çin", "October": "Ekim", "second": "saniye", "Spain": "İspanya"}),
        ("eng", "cmn", {"July": "七月", "Poland": "波兰", "Nepal": "尼泊尔", "German": "德语"}),
        ("deu", "swa", {"Deutschland": "Ujerumani", "Ägypten": "Misri", "Französisch": "Kifaransa"}),
        ("hin", "eng", {"बेल्जियम": "Belgium", "अरबी": "Arabic", "सिंगापुर": "Singapore", "ग्राम": "gram"}),
    ],
)
def test_translations_of_known_names(synthesiser: Synthesiser, source: str, target: str, known: dict[str, str]) -> None:
    found = {pair.source: pair.target.text for pair in word_pairs(LANGUAGES[source], LANGUAGES[target], synthesiser)}
    # another Babel may take other words into a vocabulary
    here = {word: found[word] for word in known if word in found}
    assert len(here) >= 2
    assert here.items() <= known.items()


@pytest.mark.parametrize("target", ["kat", "swa", "tur", "deu", "spa", "ell", "hin"])
def test_words_are_those_that_are_spoken_and_are_translated_one_to_one(synthesiser: Synthesiser, target: str) -> None:
    spoken = vocabulary(LANGUAGES[target], synthesiser)
    pairs = word_pairs(LANGUAGES["eng"], LANGUAGES[target], synthesiser)
    words = [pair.target for pair in pairs]
    assert words == [word for word in spoken if word in set(words)], "in the vocabulary's order"
    assert 120 <= len(words) == len({word.text for word in words}) == len({pair.source.casefold() for pair in pairs})


def test_sentences_are_translated_word_by_word(synthesiser: Synthesiser) -> None:
    translation = {
        pair.source: pair.target.text for pair in word_pairs(LANGUAGES["eng"], LANGUAGES["swa"], synthesiser)
    }
    prepared = prepare(corpus(), folder=None)
    pairs = records(prepared.manifest, TextPair)
    assert prepared.skipped == {}
    assert [pair.split for pair in pairs] == ["train"] * 40 + ["dev"] * 20 + ["test"] * 20
    assert {(pair.source_language, pair.target_language, pair.dataset) for pair in pairs} == {
        ("eng", "swa", "synthetic")
    }
    assert {len(pair.target.split()) for pair in pairs} == {3, 4, 5, 6, 7, 8}
    for pair in pairs:
        assert [translation[word] for word in pair.source.split(" ")] == pair.target.split(" ")


def test_languages_without_spaces(synthesiser: Synthesiser) -> None:
    pairs = rows(corpus("jpn"))
    assert not any(" " in pair.target for pair in pairs)
    words = {pair.source: pair.target.text for pair in word_pairs(LANGUAGES["eng"], LANGUAGES["jpn"], synthesiser)}
    assert all("".join(words[word] for word in pair.source.split()) == pair.target for pair in pairs)


def test_several_target_languages_are_their_corpora_one_after_another() -> None:
    assert rows(corpus(more_target_languages=["deu"])) == [*rows(corpus()), *rows(corpus("deu"))]


def test_same_settings_same_sentences_and_other_settings_others() -> None:
    pairs = rows(corpus())
    assert rows(corpus()) == pairs
    assert pairs[0].id == "synthetic_eng_swa_train_000000"
    for changed in (corpus(seed=1), corpus("deu"), corpus(source_language="deu")):
        others = {pair.target for pair in rows(changed)}
        assert len(others & {pair.target for pair in pairs}) == 0


def test_more_sentences_leave_the_others_as_they_are() -> None:
    few, many = rows(corpus(num_dev=0)), rows(corpus(num_train=90, num_dev=70))
    assert [pair for pair in many if pair.split == "train"][:40] == [pair for pair in few if pair.split == "train"]
    assert [pair for pair in many if pair.split == "test"] == [pair for pair in few if pair.split == "test"]


def test_no_sentence_is_in_two_splits_of_text_or_speech(
    synthesiser: Synthesiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the seed; of so few words that nearly every short sentence is drawn again and again."""
    few = word_pairs(LANGUAGES["eng"], LANGUAGES["swa"], synthesiser)[:4]
    monkeypatch.setattr(synthetic_pairs, "word_pairs", lambda *_: few)
    words = [pair.target for pair in few]
    facts: dict[str, Any] = {"condition": CONDITIONS["studio"], "language": LANGUAGES["swa"], "words": words, "seed": 0}
    text: dict[str, set[str]] = {"train": set(), "dev": set(), "test": set()}
    sources: dict[str, set[str]] = {"train": set(), "dev": set(), "test": set()}
    for seed in (0, 1):
        for pair in rows(corpus(seed=seed, num_train=800, num_dev=800, num_test=800)):
            text[pair.split].add(pair.target)
            sources[pair.split].add(pair.source)
    speech = {split: {reading(index, split=split, **facts).spoken_text for index in range(800)} for split in text}
    for one, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
        assert not sources[one] & sources[other]
        assert not (text[one] | speech[one]) & (text[other] | speech[other])
    assert all(len(text[split] & speech[split]) > 50 for split in text)


def test_another_version_of_the_packages_makes_a_stored_manifest_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {path.parent.name for path in corpus().sources()} == {"babel", "espeakng_loader"}
    assert all(path.is_file() for path in corpus().sources())
    first = prepare(corpus(), folder=tmp_path).manifest
    monkeypatch.setattr(SyntheticPairs, "rows", lambda *_: iter(rows_of_another_version))
    rows_of_another_version = [replace(records(first, TextPair)[0], target="another word")]
    assert prepare(corpus(), folder=tmp_path).manifest.equals(first)
    (tmp_path / "__init__.py").write_text("")
    monkeypatch.setattr(SyntheticPairs, "sources", lambda _: [tmp_path / "__init__.py"])
    assert prepare(corpus(), folder=tmp_path).manifest["target"].tolist() == ["another word"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_language": "sw"}, r"text\.target_language: 'sw'.*'swa'"),
        ({"target_language": "heb"}, r"text\.target_language: the built-in corpus has no language 'heb'\..*'?swa"),
        ({"source_language": "qaa", "extra_languages": ["qaa"]}, r"text\.source_language: .* has no language 'qaa'"),
        (
            {"target_language": "swa", "more_target_languages": ["sw"]},
            r"text\.more_target_languages: .* no language 'sw'.*swa",
        ),
        (
            {"target_language": "swa", "more_target_languages": ["swa"]},
            r"more_target_languages names swa a second time",
        ),
        ({"target_language": None}, r"text\.target_language is null\. Give a language of the built-in corpus"),
        ({"source_language": "swa"}, r"are both 'swa'"),
        ({"min_quality": 1.0}, r"text\.min_quality is set"),
        ({"target_language": "vie"}, rf"only \d+ words of 'vie' .* translation in 'eng', {MIN_WORD_PAIRS} are needed"),
        ({"num_train": 0, "num_dev": 0, "num_test": 0}, r"num_train, text\.num_dev and text\.num_test are all 0"),
    ],
)
def test_mistakes_in_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prepare(replace(corpus(), **settings), folder=None)


def test_packages_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak, "find_spec", lambda name: None)
    (problem,) = SyntheticPairs.problems(source_language="eng", target_language="swa")
    assert problem == (
        'text=synthetic needs espeakng_loader and babel, not installed here. Run: pip install "mlsuperb[synthetic]"'
    )


def test_the_yaml_composes_and_builds() -> None:
    overrides = ["+text=synthetic", "text.target_language=kat", "text.num_train=5", "text.num_dev=1"]
    node = compose([*overrides, "text.num_test=2"])["text"]
    assert node["name"] == "synthetic"
    pairs = records(prepare(instantiate(node), folder=None).manifest, TextPair)
    assert [pair.split for pair in pairs] == ["train"] * 5 + ["dev"] + ["test"] * 2
    assert {(pair.source_language, pair.target_language) for pair in pairs} == {("eng", "kat")}
