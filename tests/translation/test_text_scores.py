"""Bits per character and translations of parallel text: against transformers' own loss and search, and after a kill."""

from __future__ import annotations

import json
import logging
import math
import sys
import types
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tiny_translators import write_seamless, write_whisper
from torch.nn.functional import cross_entropy
from transformers import SeamlessM4TForTextToText, SeamlessM4Tv2ForTextToText

from mlsuperb.config.build import instantiate
from mlsuperb.config.compose import compose
from mlsuperb.scoring.comparison.bootstrap import rate_interval, ratio_interval
from mlsuperb.scoring.counts import Counts
from mlsuperb.translation import text_scores
from mlsuperb.translation.data import ScoredText, TargetTokens
from mlsuperb.translation.model import CrossEntropy, TranslationModel
from mlsuperb.translation.recogniser import TranslationRecogniser
from mlsuperb.translation.seamless import SeamlessM4T
from mlsuperb.translation.search import Search
from mlsuperb.translation.translator import Translator
from mlsuperb.translation.whisper import Whisper

OF_TEXT = {"v1": SeamlessM4TForTextToText, "v2": SeamlessM4Tv2ForTextToText}
TEXTS = [
    ("good day", "guten Tag", "deu"),
    ("a", unicodedata.normalize("NFD", "schöne Grüße"), "deu"),
    ("the longest of these sources", "na", "swa"),
    ("day", "Tag", "deu"),
    ("words and words", "maneno na maneno", "swa"),
]
Make = Callable[..., tuple[TranslationRecogniser, ScoredText]]


@pytest.fixture(scope="module", params=["v1", "v2"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def checkpoint(version: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_seamless(tmp_path_factory.mktemp(version), version)


def on_text(
    translator: Translator, *, num: int = 100, eval_batch_s: float = 8000, pairs: list[tuple[str, str, str]] = TEXTS
) -> tuple[TranslationRecogniser, ScoredText]:
    """A translator with the pairs that it is scored on."""
    model = TranslationModel(
        translator.eval(), loss=CrossEntropy(label_smoothing=0.2), num_prefix=len(translator.prefix("deu"))
    )
    loading = instantiate(compose(["job=translation", f"text_loading.eval_batch_s={eval_batch_s}"])["text_loading"])
    recogniser = TranslationRecogniser(
        model=model.eval(), search=Search(num_beams=3, max_tokens=7, num_translations=num), loading=loading,
        device=torch.device("cpu"), precision="fp32",
    )  # fmt: skip
    rows = [
        {"id": f"p{at}", "source": source, "target": target, "source_language": "eng", "target_language": language}
        for at, (source, target, language) in enumerate(pairs)
    ]
    frame = pd.DataFrame(rows).assign(dataset="d", split="test", quality=0.0)
    text = ScoredText(split="test", pairs=frame, targets=TargetTokens(translator), pad=translator.pad, loading=loading)
    return recogniser, text


@pytest.mark.parametrize("parts", [["text"], ["speech", "text"]])
def test_bits_per_character_are_those_of_transformers_own_loss(
    parts: list[str], version: str, checkpoint: Path, tmp_path: Path
) -> None:
    """Pair by pair, without padding; the language is given and costs nothing; neither label smoothing nor batches count."""
    translator = SeamlessM4T(checkpoint=str(checkpoint), parts=parts)
    theirs: Any = OF_TEXT[version].from_pretrained(checkpoint).eval()
    nats, characters = 0.0, 0
    for source, target, language in TEXTS:
        tokens = torch.tensor([translator.target(target, language)])
        wanted = tokens[:, 1:].clone()
        wanted[0, 0] = -100  # the language
        with torch.no_grad():
            loss = theirs(
                input_ids=torch.tensor([translator.source_tokens(source, "eng")]), decoder_input_ids=tokens[:, :-1],
                labels=wanted,
            ).loss  # fmt: skip
        assert int((wanted != -100).sum()) == len(translator.tokens(target)) + 1
        nats += float(loss) * (len(translator.tokens(target)) + 1)
        characters += len(unicodedata.normalize("NFC", target))
    expected = nats / math.log(2) / characters
    for eval_batch_s in (8000, 1):
        found = text_scores.score_text(*on_text(translator, num=0, eval_batch_s=eval_batch_s), tmp_path)
        assert found.figures[text_scores.BITS] == pytest.approx(expected, rel=1e-5)
        assert found.figures[f"{text_scores.BITS}_low"] < expected < found.figures[f"{text_scores.BITS}_high"]
    assert found.record["scored"]["num_characters"] == characters == 9 + 12 + 2 + 3 + 16
    assert not any(tmp_path.iterdir()), "num_translations=0 translates nothing"


@pytest.mark.parametrize("parts", [["text"], ["speech", "text"]])
@pytest.mark.parametrize("eval_batch_s", [8000, 1])
def test_translations_are_transformers_own(
    parts: list[str], eval_batch_s: float, version: str, checkpoint: Path, tmp_path: Path
) -> None:
    """Each alone by the model for text, whatever the batch, and although a model that reads speech takes masks for frames."""
    translator = SeamlessM4T(checkpoint=str(checkpoint), parts=parts)
    theirs: Any = OF_TEXT[version].from_pretrained(checkpoint).eval()
    rows = text_scores.translate(*on_text(translator, eval_batch_s=eval_batch_s), tmp_path / "t.jsonl")
    for row, (source, target, language) in zip(rows, TEXTS, strict=True):
        alone = theirs.generate(
            input_ids=torch.tensor([translator.source_tokens(source, "eng")]), tgt_lang={"swa": "swh"}.get(language, language),
            num_beams=3, max_new_tokens=7,
        )  # fmt: skip
        assert (row["source"], row["target"]) == (source, target)
        assert row["hypothesis"] == translator.text(alone[0].tolist())
    assert [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()] == rows


def test_some_pairs_are_translated_at_equal_distances(checkpoint: Path, tmp_path: Path) -> None:
    recogniser, text = on_text(SeamlessM4T(checkpoint=str(checkpoint), parts=["text"]), num=2)
    assert [one["id"] for one in text_scores.translate(recogniser, text, tmp_path / "t.jsonl")] == ["p0", "p2"]


def test_a_killed_translation_goes_on(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in its third batch, in the middle of a line; only what is missing is translated."""
    recogniser, text = on_text(SeamlessM4T(checkpoint=str(checkpoint), parts=["text"]), eval_batch_s=1)
    whole, path = tmp_path / "whole.jsonl", tmp_path / "translations.jsonl"
    text_scores.translate(recogniser, text, whole)
    translations, batches = recogniser.translations, []

    def counted(batch: Any) -> list[str]:
        batches.append(batch.ids)
        if len(batches) == 3:
            raise KeyboardInterrupt
        return translations(batch)

    monkeypatch.setattr(recogniser, "translations", counted)
    with pytest.raises(KeyboardInterrupt):
        text_scores.translate(recogniser, text, path)
    partial = tmp_path / "translations.jsonl.partial"
    partial.write_bytes(partial.read_bytes()[:-3])
    batches[:] = [(), (), ()]
    text_scores.translate(recogniser, text, path)
    assert path.read_bytes() == whole.read_bytes()
    assert len(batches) == 3 + 4, "one of five was whole"
    assert not partial.exists()
    text_scores.translate(recogniser, text, path)
    assert len(batches) == 3 + 4, "all are there"
    changed = ScoredText(**{**vars(text), "pairs": text.pairs.assign(source=["good night", *text.pairs["source"][1:]])})
    text_scores.translate(recogniser, changed, path)
    assert batches[7:] == [("p0",)]


def test_whisper_is_a_language_model_and_translates_nothing(tmp_path: Path) -> None:
    translator = Whisper(checkpoint=str(write_whisper(tmp_path / "whisper")), parts=["speech", "text"])
    recogniser, text = on_text(translator)
    found = text_scores.score_text(recogniser, text, tmp_path)
    nats = 0.0
    with torch.no_grad():
        for _, target, language in TEXTS:
            tokens = torch.tensor([translator.target(target, language)])
            memory = translator.encode_text(torch.tensor([[translator.end]]), torch.tensor([1]))
            logits_UV = translator.logits(memory, tokens[:, :-1])[0, 3:]  # after start, language, task, no timestamps
            nats += float(cross_entropy(logits_UV, tokens[0, 4:], reduction="sum"))
    assert found.figures[text_scores.BITS] == pytest.approx(nats / math.log(2) / 42, rel=1e-5)
    assert found.record["scored"]["translates"] is False
    assert not (tmp_path / "translations.jsonl").exists()
    other = text.pairs.assign(source="something else")
    assert text_scores.target_nats(recogniser, ScoredText(**{**vars(text), "pairs": other})) == pytest.approx(
        text_scores.target_nats(recogniser, text)
    )


def test_one_pair_has_no_interval() -> None:
    assert text_scores.bits_per_character([math.log(2) * 6], [3]) == {text_scores.BITS: pytest.approx(2.0)}
    assert ratio_interval([6.0], [3]) is None


def test_intervals_of_ratios_are_those_of_rates() -> None:
    errors, lengths = [1, 0, 3, 2], [4, 5, 6, 7]
    of_rate = rate_interval([Counts(substitutions=e, reference_length=n) for e, n in zip(errors, lengths, strict=True)])
    of_ratio = ratio_interval(errors, lengths)
    assert of_rate is not None
    assert of_ratio is not None
    assert [100 * one for one in vars(of_ratio).values()] == pytest.approx(list(vars(of_rate).values()))


ROWS = [
    {"source_language": "eng", "target_language": language, "source": "s", "target": target, "hypothesis": hypothesis}
    for language, target, hypothesis in (
        ("deu", "guten Tag", "guten Tag"),
        ("jpn", "あい", "あ"),
        ("deu", "Tag", "Nacht"),
    )
]


def test_each_direction_has_its_corpus_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    class Metric:
        def __init__(self, **settings: Any) -> None:
            self.settings = settings

        def corpus_score(self, hypotheses: list[str], references: list[list[str]]) -> Any:
            calls.append((type(self).__name__, self.settings, hypotheses, references))
            return types.SimpleNamespace(score=10.0 * len(calls))

        def get_signature(self) -> str:
            return f"{type(self).__name__}|version:stub"

    stub: Any = types.ModuleType("sacrebleu.metrics")
    stub.BLEU, stub.CHRF = (type(name, (Metric,), {}) for name in ("BLEU", "CHRF"))
    monkeypatch.setitem(sys.modules, "sacrebleu", types.ModuleType("sacrebleu"))
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", stub)
    figures, about = text_scores.chrf_and_bleu(ROWS)
    german, japanese = (["guten Tag", "Nacht"], [["guten Tag", "Tag"]]), (["あ"], [["あい"]])
    assert calls == [
        ("CHRF", {}, *german), ("BLEU", {"tokenize": "13a"}, *german),
        ("CHRF", {}, *japanese), ("BLEU", {"tokenize": "char"}, *japanese),
    ]  # fmt: skip
    assert figures == {"text_chrf": (10 + 30) / 2, "text_bleu": (20 + 40) / 2}
    assert about["directions"]["eng-deu"] == {
        "num_translations": 2, "chrf": 10.0, "bleu": 20.0,
        "signatures": {"chrf": "CHRF|version:stub", "bleu": "BLEU|version:stub"},
    }  # fmt: skip


def test_sacrebleu_itself() -> None:
    same = [{**row, "target": "das ist ein guter Tag", "hypothesis": "das ist ein guter Tag"} for row in ROWS]
    figures, about = text_scores.chrf_and_bleu(same)
    assert figures == pytest.approx({"text_chrf": 100.0, "text_bleu": 100.0})
    assert "tok:char" in about["directions"]["eng-jpn"]["signatures"]["bleu"]


def test_without_sacrebleu_the_log_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with caplog.at_level(logging.WARNING):
        assert text_scores.chrf_and_bleu(ROWS) == ({}, {})
    assert [one.getMessage() for one in caplog.records] == [
        'no chrF and BLEU of the 3 translations, for which there is an extra: pip install "mlsuperb[translation]"'
    ]
