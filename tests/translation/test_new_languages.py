"""Languages that a model has no token for: a row of the embedding that no token uses, and nothing else of it."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import run, words_of
from tiny_speech import write_speech
from tiny_translators import SIZES, tokenizer, write_seamless, write_whisper
from transformers import SeamlessM4TForSpeechToText, SeamlessM4Tv2ForSpeechToText, WhisperForConditionalGeneration

from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.runs.hypotheses import read_hypotheses
from mlsuperb.runs.store import read
from mlsuperb.scoring.result import TranslationResult
from mlsuperb.translation.job import Translation
from mlsuperb.translation.model import CrossEntropy, TranslationModel
from mlsuperb.translation.seamless import SeamlessM4T, unused_rows
from mlsuperb.translation.search import Search
from mlsuperb.translation.whisper import Whisper

NUM_TOKENS = len(tokenizer())
FEW = ("trainer.iterations_per_epoch=3", "trainer.max_epochs=1", "trainer.optimizer.lr=1e-2")
PAIRS = "source\ttarget\ngood day\tguten Tag\nday\tTag\ngood\tgut\n"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_speech(tmp_path_factory.mktemp("tree"), ("bem", "deu"))


def words(checkpoint: Path, tree: Path, out: Path, *more: str) -> list[str]:
    return words_of(checkpoint, tree, out, *FEW, *more)


def text_words(folder: Path, target: str) -> list[str]:
    path = folder / "pairs.tsv"
    path.write_text(PAIRS)
    languages = ["text.source_language=eng", f"text.target_language={target}"]
    return ["train_on=[text]", "text=tsv", f"text.train={path}", f"text.dev={path}", *languages]


def noise(length: int = 16000) -> tuple[torch.Tensor, torch.Tensor]:
    return 0.1 * torch.randn(1, length, generator=torch.Generator().manual_seed(0)), torch.tensor([length])


@pytest.mark.parametrize("tied", [True, False])
def test_the_row_alone_is_trained_and_saved(tied: bool, checkpoint: Path, tree: Path, tmp_path: Path) -> None:
    """With adaptation=frozen: all other tensors end bit for bit as they began."""
    more = ("adaptation=frozen", "+model.new_languages.bem=swh", f"model.tied={tied}")
    folder = run(words(checkpoint, tree, tmp_path, *more))
    saved = load_file(folder / "model.safetensors")
    prefix = "translator.new_rows."
    assert set(saved) == {f"{prefix}{name}.language_bem" for name in (("inputs",) if tied else ("inputs", "outputs"))}
    model: Any = Translation().load(folder, device="cpu").model  # type: ignore[attr-defined]
    before = SeamlessM4T(checkpoint=str(checkpoint), parts=["speech"], new_languages={"bem": "swh"}, tied=tied)
    after = dict(model.translator.named_parameters())
    for name, tensor in before.named_parameters():
        assert torch.equal(after[name], tensor) != name.startswith("new_rows."), name
    for name, tensor in saved.items():
        assert torch.equal(after[name.removeprefix("translator.")], tensor)
    result = read(folder, TranslationResult)
    assert result.num_trainable == SIZES["hidden_size"] * len(saved)
    assert result.upstream.loaded["new_languages"] == {"bem": NUM_TOKENS}
    assert {one.language for one in read_hypotheses(folder / "hypotheses.jsonl")} == {"bem", "deu"}


@torch.no_grad()
@pytest.mark.parametrize(
    ("version", "kind"), [("v1", SeamlessM4TForSpeechToText), ("v2", SeamlessM4Tv2ForSpeechToText)]
)
def test_it_writes_as_a_model_whose_table_has_the_row(version: str, kind: Any, tmp_path: Path) -> None:
    folder = write_seamless(tmp_path / version, version)
    new = SeamlessM4T(checkpoint=str(folder), parts=["speech"], new_languages={"bem": "swh", "wol": "mean"}).eval()
    theirs = kind.from_pretrained(folder).eval()
    for code, row in (("bem", torch.full((32,), 0.3)), ("wol", torch.linspace(-1, 1, 32))):
        new.new_rows["inputs"].get_parameter(f"language_{code}").copy_(row)
        theirs.shared.weight[new.languages[code]] = row
    theirs.generation_config.text_decoder_lang_to_code_id |= {code: new.languages[code] for code in ("bem", "wol")}
    wave_BT, lengths_B = noise()
    memory = new.encode_speech(wave_BT, lengths_B)
    mels_BFK, _ = new.input(wave_BT, lengths_B)
    inputs = torch.tensor([[3, new.languages["wol"], 10, new.languages["bem"], 11]])
    logits = theirs(input_features=mels_BFK, decoder_input_ids=inputs).logits
    torch.testing.assert_close(new.logits(memory, inputs), logits, rtol=1e-4, atol=1e-5)
    for code in ("bem", "wol"):
        found = new.generate(memory, torch.tensor([new.prefix(code)]), Search(num_beams=3, max_tokens=8))
        expected = theirs.generate(input_features=mels_BFK, tgt_lang=code, num_beams=3, max_new_tokens=8)
        assert found.tolist() == expected.tolist()


def test_a_row_begins_as_a_language_or_as_the_mean_of_all(checkpoint: Path) -> None:
    new = SeamlessM4T(checkpoint=str(checkpoint), parts=["text"], new_languages={"bem": "swa", "wol": "mean"})
    rows, weight = new.new_rows["inputs"], new.model.shared.weight
    languages = [new.languages[code] for code in ("deu", "eng", "swh")]
    assert torch.equal(rows.language_bem, weight[new.languages["swh"]]), "by its alias"
    torch.testing.assert_close(rows.language_wol, weight[languages].mean(0))
    assert (new.languages["bem"], new.languages["wol"]) == (NUM_TOKENS, NUM_TOKENS + 1)


def test_the_language_is_no_part_of_a_text(checkpoint: Path) -> None:
    new = SeamlessM4T(checkpoint=str(checkpoint), parts=["text"], new_languages={"bem": "swh"})
    target = new.target("guten Tag", "bem")
    assert target[:2] == [3, NUM_TOKENS]
    assert new.text([*target, NUM_TOKENS]) == "guten Tag"
    assert new.source_tokens("guten Tag", "bem")[0] == NUM_TOKENS


def test_a_table_of_its_own_is_trained_with_the_model(checkpoint: Path, tree: Path, tmp_path: Path) -> None:
    """adaptation=decoder_adapters by text, then, in a run that goes on from it, the encoder by speech and one more language."""
    text = run(
        words(checkpoint, tree, tmp_path, "adaptation=decoder_adapters", "adaptation.width=4", "+model.new_languages.bem=swh",
              *text_words(tmp_path, "bem"))
    )  # fmt: skip
    more = ("adaptation.width=4", "start=run", f"start.run={text}", "+model.new_languages={wol: mean, bem: deu}")
    speech = run(
        words(checkpoint, tree, tmp_path, *more, "trainer.iterations_per_epoch=1", "trainer.optimizer.lr=1e-30")
    )
    names, before, after = (
        "translator.new_rows.inputs.language_",
        *(load_file(folder / "model.safetensors") for folder in (text, speech)),
    )
    assert any(".bottleneck." in name for name in after)
    torch.testing.assert_close(after[f"{names}bem"], before[f"{names}bem"])
    assert f"{names}wol" in after
    model: Any = Translation().load(speech, device="cpu").model  # type: ignore[attr-defined]
    loaded = dict(model.named_parameters())
    assert all(torch.equal(loaded[name], tensor) for name, tensor in (before | after).items())


def test_every_row_gets_a_gradient_from_every_batch(checkpoint: Path) -> None:
    new = SeamlessM4T(checkpoint=str(checkpoint), parts=["text"], new_languages={"bem": "swh"}, tied=False)
    new.requires_grad_(False).new_rows.requires_grad_(True)
    source = torch.tensor([new.source_tokens("ab", "eng")])
    memory = new.encode_text(source, torch.tensor([source.shape[1]]))
    new.logits(memory, torch.tensor([new.target("ab", "deu")])).logsumexp(-1).sum().backward()
    gradients = {name: one.grad for name, one in new.named_parameters() if one.requires_grad}
    assert not gradients["new_rows.inputs.language_bem"].any(), "not read, and no error for it"  # type: ignore[union-attr]
    assert gradients["new_rows.outputs.language_bem"].any()  # type: ignore[union-attr]


def test_rows_that_may_be_taken() -> None:
    """Those that no token names, and the tags of Meta's training, where a tokenizer has them."""
    tokens = tokenizer()
    assert unused_rows(tokens, NUM_TOKENS) == []
    assert unused_rows(tokens, NUM_TOKENS + 2) == [NUM_TOKENS, NUM_TOKENS + 1]
    tokens.add_special_tokens({"additional_special_tokens": ["<MINED_DATA>", "__wol__", "<SMT_BT_DATA>"]})
    assert unused_rows(tokens, NUM_TOKENS + 4) == [NUM_TOKENS, NUM_TOKENS + 2, NUM_TOKENS + 3]


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ({"swa": "deu"}, "model.new_languages names swa, which the model has a token for already"),
        ({"bem": "kat"}, r"model.new_languages.bem=kat: the model has no language 'kat' to begin as. Give mean, or one of deu"),
        ({f"q{one}{two}": "deu" for one in string.ascii_lowercase for two in "ab"},
         r"52 languages .*has \d+ unused rows.* \+model.language_codes.CODE"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(new: dict[str, str], message: str, checkpoint: Path) -> None:
    with pytest.raises(ValueError, match=message):
        SeamlessM4T(checkpoint=str(checkpoint), parts=["text"], new_languages=new)


def test_settings_are_checked_before_a_model_is_loaded(checkpoint: Path, tree: Path, tmp_path: Path) -> None:
    problems = find_problems(compose(words(checkpoint, tree, tmp_path, "+model.new_languages={be-m: swh}")))
    assert any("'be-m' is no code of a language" in one for one in problems)
    nothing = find_problems(compose(words(checkpoint, tree, tmp_path, "adaptation=frozen")))
    assert any("adaptation=frozen trains nothing" in one for one in nothing)
    row = ["adaptation=frozen", "+model.new_languages.bem=swh", *text_words(tmp_path, "bem")]
    assert not find_problems(compose(words(checkpoint, tree, tmp_path, *row)))


def test_a_language_without_a_row_is_named_with_both_ways_out(checkpoint: Path) -> None:
    translator = SeamlessM4T(checkpoint=str(checkpoint), parts=["text"])
    with pytest.raises(
        ValueError, match=r"no language 'bem'.*\+model.language_codes.bem=CODE.*\+model.new_languages.bem=CODE"
    ):
        translator.prefix("bem")


def test_whisper_has_no_unused_row_as_it_is_published(tmp_path: Path) -> None:
    """Rows behind its tokenizer are those of its time stamps, which not every tokenizer names."""
    with pytest.raises(ValueError, match=r"1 languages \(wol\).* has 0 unused rows.*\+model.language_codes.CODE"):
        Whisper(checkpoint=str(write_whisper(tmp_path)), parts=["speech"], new_languages={"wol": "swa"})


def test_a_larger_whisper_has(tmp_path: Path) -> None:
    folder = write_whisper(tmp_path / "whisper")
    theirs = WhisperForConditionalGeneration.from_pretrained(folder)
    theirs.resize_token_embeddings(1600)
    theirs.save_pretrained(folder)
    new = Whisper(checkpoint=str(folder), parts=["speech"], new_languages={"wol": "swa"}, window_s=2.0).eval()
    plain = new.tokenizer.convert_tokens_to_ids("<|notimestamps|>")
    assert new.languages["wol"] == plain + 1502
    model = TranslationModel(new, loss=CrossEntropy(), num_prefix=4)
    assert torch.equal(new.new_rows["inputs"].language_wol, theirs.proj_out.weight[new.languages["swa"]])
    memory = new.encode_speech(*noise())
    found = new.generate(memory, torch.tensor([new.prefix("wol")]), Search(num_beams=2, max_tokens=5))
    assert found[0, :4].tolist() == new.prefix("wol")
    assert [name for name, _ in model.named_parameters() if "language_wol" in name] == [
        "translator.new_rows.inputs.language_wol"
    ]
