"""Phones in the place of transcripts: from espeak-ng, from lexicons."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from corpus_trees import ListCorpus, utterance, write_pair, write_wave

from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.data.corpora.ml_superb import MLSuperb
from mlsuperb.data.corpora.several import Several
from mlsuperb.data.manifest import to_frame
from mlsuperb.data.phones import espeak, lexicon
from mlsuperb.data.phones.espeak import NO_IPA, OTHER_LANGUAGE, Espeak, voice_of
from mlsuperb.data.phones.lexicon import NO_ENTRY, Lexicons
from mlsuperb.data.phones.source import MISSING_WORDS, PhoneSource, read_map
from mlsuperb.data.prepared import prepare
from mlsuperb.data.skips import SkipReport
from mlsuperb.data.synthesis.languages import LANGUAGES, names


def applied(
    source: PhoneSource, *texts: str, language: str = "eng", **changes: Any
) -> tuple[list[str], dict[str, Any]]:
    """The texts that are left, and how many utterances were skipped for each reason."""
    frame = to_frame(
        utterance(f"/{number}.wav", text=text, language=language, **changes) for number, text in enumerate(texts)
    )
    report = SkipReport()
    found = source.apply(frame, report)
    return list(found["text"]), {reason: entry["examples"] for reason, entry in report.to_dict().items()}


def test_espeak_reads_every_language_with_its_voice() -> None:
    pytest.importorskip("espeakng_loader")
    said = {
        "deu": ("zwölf Kirchen", "t͡s v œ l f k iː ɾ ç ə n"),
        "spa": ("muchacho", "m u t͡ʃ a t͡ʃ o"),
        "ell": ("Ελλάδα", "e l a ð a"),
        "eng": ("My house!", "m a ɪ h a ʊ s"),
        "amh": ("ጥር", "tʼ ɨ r"),  # ASCII of Kirshenbaum in espeak-ng's output
        "swa": ("", ""),  # is dropped as an empty text, if there must be one
    }
    for language, (text, expected) in said.items():
        (found,), skipped = applied(Espeak(), text, language=language)
        assert (found, skipped) == (unicodedata.normalize("NFD", expected), {})
    (capitals, small), _ = applied(Espeak(), "US ARMY", "us army")
    assert capitals == small, "nothing is spelt"


def test_phones_of_espeak_are_the_segments_of_panphon() -> None:
    """So that phone error rates are those of PRiSM, which counts these."""
    pytest.importorskip("espeakng_loader")
    segments_of = pytest.importorskip("panphon").FeatureTable().ipa_segs
    for code in ("deu", "hin", "spa", "eng", "isl", "kor"):
        words = [one for group in list(names(LANGUAGES[code].locale).values())[:100] for one in group]
        found, _ = applied(Espeak(), *words, language=code)
        assert len(found) > 50
        for text in found:
            assert segments_of(text.replace(" ", "")) == text.split(), (code, text)


def test_what_espeak_cannot_read_is_counted() -> None:
    pytest.importorskip("espeakng_loader")
    found, skipped = applied(Espeak(), "猫", "ネコ", language="jpn")
    assert (found, skipped) == (["n e̞ k o̞"], {OTHER_LANGUAGE: ["0"]})
    assert espeak._spoken("a1 b").why_not == NO_IPA
    with pytest.raises(
        ValueError, match=r"no phones in IPA of cmn, xty: leave them out .*lexicon.*It has those of afr"
    ):
        Espeak().check({"xty", "cmn", "deu"})


def test_voices_go_by_codes_of_any_form() -> None:
    codes = ("deu", "de", "de_de", "org_jpn", "nor", "swa", "cmn", "vie", "xyz", "")
    assert [voice_of(code) for code in codes] == ["de", "de", "de", "ja", "nb", "sw", None, None, None, None]


def test_espeak_that_is_not_installed_is_named_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak, "find_spec", lambda name: None)
    found = find_problems(compose(["+exp=phones/asr"]), groups=("data",))
    assert any(
        'data/phones=espeak needs espeakng_loader, not installed here. Run: pip install "mlsuperb[synthetic]"' in one
        for one in found
    )


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "eng.tsv"
    path.write_text(
        "hello\th ə ˈl oʊ\nhello\tx\n\nworld\tw ɜː l d\nCafe\u0301\tk a f eɪ\nit's\tɪ t s\n", encoding="utf-8"
    )
    return path


def test_a_lexicon_of_phones(words: Path, caplog: pytest.LogCaptureFixture) -> None:
    texts = ("Hello, “world” — hello", "café it's", "hello strange things", "strange", "?!")
    found, skipped = applied(Lexicons(path=str(words)), *texts)
    assert found[0] == "h ə l oʊ w ɜː l d h ə l oʊ", "the first pronunciation, without stress"
    assert found[1:] == [""], "no word, no phone; such a text is dropped later as one that is empty"
    assert skipped == {NO_ENTRY: ["1", "2", "3"]}, "café stands there with a capital only"
    assert "3 words have no entry in " in caplog.text
    assert "most often strange, " in caplog.text
    assert "3 of 5 utterances are skipped" in caplog.text
    with pytest.raises(ValueError, match=r"eng: 1 word has no entry in .*eng.tsv, most often strange. Add them, or"):
        applied(Lexicons(path=str(words), missing="error"), "strange")
    assert applied(Lexicons(path=str(words)), "CAFÉ Café")[1] == {NO_ENTRY: ["0"]}
    assert applied(Lexicons(path=str(words)), "Café")[0] == ["k a f eɪ"]


def test_a_lexicon_without_spaces_is_ipa(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello\t/həˈloʊ/\nchild\tt͡ʃaɪld\n", encoding="utf-8")
    assert applied(Lexicons(path=str(tmp_path / "a.txt")), "hello", "child")[0] == ["h ə l o ʊ", "t͡ʃ a ɪ l d"]


def test_a_lexicon_for_each_language(words: Path, tmp_path: Path) -> None:
    (tmp_path / "deu.dict").write_text("hello\th a\n")
    source = Lexicons(path=str(tmp_path))
    assert applied(source, "hello", language="deu")[0] == ["h a"]
    assert applied(source, "hello")[0] == ["h ə l oʊ"]
    assert source.sources() == [tmp_path / "deu.dict", words]
    with pytest.raises(
        ValueError, match=r"has no lexicon of fra, spa: add fra.tsv and so on, or leave the languages out"
    ):
        source.check({"fra", "eng", "spa"})


@pytest.mark.parametrize(
    ("content", "message"), [("a\tb\nhello\n", "line 2: 'hello' is no entry"), ("\n", "is empty"), ("a\t\n", "line 1")]
)
def test_what_is_no_lexicon(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(content)
    with pytest.raises(ValueError, match=message):
        applied(Lexicons(path=str(tmp_path / "a.tsv")), "a")


def test_all_that_is_wrong_with_lexicons_is_said_at_once(words: Path, tmp_path: Path) -> None:
    with words.open("a") as file:
        file.write("alone\n\tx\n")
    (tmp_path / "deu.tsv").write_text("hallo\th a\nwelt\n")
    frame = to_frame([utterance("a.wav", text="x", language="eng"), utterance("b.wav", text="x", language="deu")])
    with pytest.raises(
        ValueError, match=r"3 lines are no entry: .*deu.tsv, line 2: 'welt'; .*line 7: 'alone'; .*line 8"
    ):
        Lexicons(path=str(tmp_path)).apply(frame, SkipReport())


def test_further_pronunciations_are_counted(words: Path, caplog: pytest.LogCaptureFixture) -> None:
    applied(Lexicons(path=str(words)), "hello")
    assert f"{words}: more than one pronunciation of 1 word, of which the first is used (hello)" in caplog.text


def test_phones_of_another_notation_have_their_ipa_from_a_map(tmp_path: Path) -> None:
    (tmp_path / "eng.tsv").write_text("hello\tHH AH0 L OW1\nup\tAH1 P\n")
    table = tmp_path / "map.tsv"
    table.write_text("HH\th\nAH0\tə\nAH\tʌ\nOW\to ʊ\nL\tl\n", encoding="utf-8")
    source = Lexicons(path=str(tmp_path / "eng.tsv"), map=str(table))
    assert applied(source, "hello", "up")[0] == ["h ə l o ʊ", "ʌ P"]
    assert source.sources() == [tmp_path / "eng.tsv", table]
    assert applied(replace(source, map=None), "hello")[0] == ["HH AH L OW"]
    for content, message in (
        ("a\nb\tb\nc\n", r"2 lines are no phone with its IPA: .*map.tsv, line 1: 'a'; .*line 3: 'c'"),
        ("a\tb\na\tc\n", r"line 2: 'a\tc' is a second IPA of a phone. Keep one"),
    ):
        table.write_text(content)
        with pytest.raises(ValueError, match=message):
            read_map(table)


def test_a_map_counts_for_a_runs_identity_only_where_there_is_one(words: Path, tmp_path: Path) -> None:
    overrides = ["+exp=phones/asr", "data/phones=lexicon", f"data.phones.path={words}"]
    assert "map" not in compose(overrides)["data"]["phones"], "runs from before have the same id"
    other = compose([*overrides, f"data.phones.map={words}"])
    assert other["run_id"] != compose(overrides)["run_id"]
    assert find_problems(other, groups=("data",)) == []
    (found,) = find_problems(compose([*overrides, f"data.phones.map={tmp_path / 'x'}"]), groups=("data",))
    assert f"data.phones.map={tmp_path / 'x'}: there is no such file" in found


def test_phones_without_features_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("panphon")
    (tmp_path / "eng.tsv").write_text("snow\ts n ☃\nall\ta ll ll\n", encoding="utf-8")
    applied(Lexicons(path=str(tmp_path)), "snow all")
    assert "eng: 2 of 5 phones, 50.0 % of all: ll, ☃ have no features in PanPhon" in caplog.text
    assert "data.phones.map=FILE" in caplog.text
    caplog.clear()
    (tmp_path / "map.tsv").write_text("☃\tw\nll\tl\n", encoding="utf-8")
    applied(Lexicons(path=str(tmp_path), map=str(tmp_path / "map.tsv")), "snow all")
    assert "PanPhon" not in caplog.text


@pytest.mark.parametrize(("place", "message"), [("absent", "is not there"), ("", "holds no file <language>.tsv, ")])
def test_a_lexicon_that_is_not_there_is_named_before(place: str, message: str, tmp_path: Path) -> None:
    overrides = ["+exp=phones/asr", "data/phones=lexicon", f"data.phones.path={tmp_path / place}"]
    (found,) = find_problems(compose(overrides), groups=("data",))
    assert message in found
    (missing,) = find_problems(compose(overrides[:2]), groups=("data",))
    assert missing == "data.phones.path is missing: give data.phones.path=..."


def test_a_corpus_has_phones_for_texts(words: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also the texts that count for the vocabulary alone; a changed lexicon makes the stored manifest stale."""
    lines = {
        f"10min_{split}": [f"{split}_1 - hello world", f"{split}_2 - strange"] for split in ("train", "dev", "test")
    }
    write_pair(tmp_path / "tree", "d", "eng", lines)
    corpus = MLSuperb(root=str(tmp_path / "tree"), size="10min", few_shot="all", phones=Lexicons(path=str(words)))
    first = prepare(corpus, folder=tmp_path / "out")
    assert set(first.manifest["text"]) == {"h ə l oʊ w ɜː l d"}
    assert (tmp_path / "out" / MISSING_WORDS).read_text() == "language\tword\ttimes\neng\tstrange\t3\n"
    assert f"{tmp_path / 'out' / MISSING_WORDS} lists the missing words of all languages: 1" in caplog.text
    assert first.skipped[NO_ENTRY]["splits"] == {"train": 1, "dev": 1, "test": 1}
    assert corpus.release() is None or not corpus.release()["whole"]
    assert prepare(replace(corpus, phones=None), folder=tmp_path / "out").manifest["text"].str.len().max() > 5
    words.write_text("hello\th\nworld\tw\nstrange\ts\n")
    assert set(prepare(corpus, folder=tmp_path / "out").manifest["text"]) == {"h w", "s"}
    assert not (tmp_path / "out" / MISSING_WORDS).exists()
    words.write_text("other\to\n")
    with pytest.raises(
        ValueError, match=rf"nothing can be used .* a word without an entry .* complete data.phones.path={words}"
    ):
        prepare(Several(corpora={"one": corpus}), folder=tmp_path / "out")
    assert len((tmp_path / "out" / MISSING_WORDS).read_text().splitlines()) == 4, "also where nothing is left"


def test_phones_of_parts_and_of_short_utterances(words: Path, tmp_path: Path) -> None:
    audio = write_wave(tmp_path / "a.wav", duration_s=0.05)
    other = write_wave(tmp_path / "b.wav")
    rows = [utterance(audio, text="hello"), utterance(other, text="world")]
    part = ListCorpus(given=rows, files=[], phones=Lexicons(path=str(words)))
    whole = prepare(Several(corpora={"one": part}), folder=None)
    assert (list(whole.manifest["text"]), list(whole.texts)) == (["w ɜː l d"], [("eng", "d", "h ə l oʊ")])


def test_languages_are_looked_at_before_a_text_is_read() -> None:
    class OfNone(PhoneSource):
        def spoken(self, rows: pd.DataFrame, *, language: str) -> list[lexicon.Spoken]:
            raise AssertionError

        def check(self, languages: Any) -> None:
            raise ValueError(f"none of {sorted(languages)}")

    with pytest.raises(ValueError, match=r"none of \['deu'\]"):
        applied(OfNone(), "a", language="deu")
