"""Whisper as a translator: against transformers' own class; a window for all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_translators import write_whisper
from torch import nn
from transformers import GenerationMixin, WhisperForConditionalGeneration

from mlsuperb.config.build import instantiate
from mlsuperb.config.compose import compose
from mlsuperb.translation.model import CrossEntropy, TranslationModel, labels
from mlsuperb.translation.search import Search
from mlsuperb.translation.whisper import Whisper
from mlsuperb.types import Batch

LENGTHS = (16000, 9000)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whisper(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def translator(checkpoint: Path) -> Whisper:
    return Whisper(checkpoint=str(checkpoint), parts=["speech"]).eval()


@pytest.fixture
def batch(translator: Whisper) -> Batch:
    lengths_B = torch.tensor(LENGTHS)
    wave_BT = 0.1 * torch.randn(2, max(LENGTHS), generator=torch.Generator().manual_seed(0))
    targets = [torch.tensor(translator.target(text, code)) for text, code in (("guten Tag", "deu"), ("abc", "swa"))]
    return Batch(
        ids=("a", "b"), languages=("deu", "swa"), wave_BT=wave_BT, lengths_B=lengths_B,
        targets_BS=nn.utils.rnn.pad_sequence(targets, batch_first=True), target_lengths_B=torch.tensor(list(map(len, targets))),
    )  # fmt: skip


@torch.no_grad()
def test_loss_and_texts_are_transformers_own(checkpoint: Path, translator: Whisper, batch: Batch) -> None:
    theirs: Any = WhisperForConditionalGeneration.from_pretrained(checkpoint).eval()
    mels_BMK, _ = translator.input(batch.wave_BT, batch.lengths_B)
    targets = labels(batch.targets_BS, batch.target_lengths_B, skip=0)
    expected = theirs(
        input_features=mels_BMK.transpose(1, 2), decoder_input_ids=batch.targets_BS[:, :-1], labels=targets
    ).loss
    model = TranslationModel(translator, loss=CrossEntropy(), num_prefix=4).eval()
    assert float(model(batch).loss) == pytest.approx(float(expected), abs=1e-6)
    prefixes = torch.tensor([translator.prefix(code) for code in batch.languages])
    found = translator.generate(
        translator.encode_speech(batch.wave_BT, batch.lengths_B), prefixes, Search(num_beams=2, max_tokens=6)
    )
    alone = GenerationMixin.generate(
        theirs,
        inputs=mels_BMK.transpose(1, 2),
        decoder_input_ids=prefixes,
        num_beams=2,
        max_new_tokens=6,
        do_sample=False,
    )
    assert found.tolist() == alone.tolist()


@torch.no_grad()
@pytest.mark.parametrize("window_s", [30.0, 2.0])
def test_no_utterance_depends_on_its_batch(window_s: float, checkpoint: Path, batch: Batch) -> None:
    translator = Whisper(checkpoint=str(checkpoint), parts=["speech"], window_s=window_s).eval()
    together = translator.encode_speech(batch.wave_BT, batch.lengths_B)
    assert together.hidden_BMD.shape[1] == 50 * window_s
    alone = translator.encode_speech(batch.wave_BT[1:, : LENGTHS[1]], batch.lengths_B[1:])
    torch.testing.assert_close(together.hidden_BMD[1:], alone.hidden_BMD, rtol=1e-5, atol=1e-5)


def test_what_does_not_fit_into_the_window_is_refused(checkpoint: Path, batch: Batch) -> None:
    translator = Whisper(checkpoint=str(checkpoint), parts=["speech"], window_s=0.5)
    with pytest.raises(ValueError, match=r"an utterance of 1.0 s does not fit into the window of 0.5 s"):
        translator.encode_speech(batch.wave_BT, batch.lengths_B)


def test_a_target_begins_with_a_space_and_ends_as_the_tokenizer_says(checkpoint: Path, tmp_path: Path) -> None:
    """Not as config.json says, which can have transformers' default: the end of the English models."""
    shutil.copytree(checkpoint, tmp_path / "copy")
    path = tmp_path / "copy" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"eos_token_id": 1, "pad_token_id": 1}), encoding="utf-8")
    translator = Whisper(checkpoint=str(tmp_path / "copy"), parts=["speech"])
    end = translator.tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert end != 1
    target = translator.target("ab", "deu")
    assert target[4:] == [translator.tokenizer.convert_tokens_to_ids(one) for one in ("Ġ", "a", "b", "<|endoftext|>")]
    assert translator.text(target[4:]) == "ab"
    own = Whisper(checkpoint=str(checkpoint), parts=["speech"])
    prefixes = torch.tensor([translator.prefix("deu")])
    found = [
        one.eval().generate(
            one.encode_speech(torch.zeros(1, 8000), torch.tensor([8000])), prefixes, Search(max_tokens=9)
        )
        for one in (translator, own)
    ]
    assert torch.equal(*found)


def test_languages_are_iso_639_3_and_may_borrow_a_token(checkpoint: Path, translator: Whisper) -> None:
    assert set(translator.languages) >= {"eng", "deu", "swa"}
    with pytest.raises(ValueError, match="the model has no language 'wol'"):
        translator.prefix("wol")
    borrowing = Whisper(checkpoint=str(checkpoint), parts=["speech"], language_codes={"wol": "swa"})
    assert borrowing.prefix("wol") == translator.prefix("swa")


@pytest.mark.parametrize("choice", ["encoder_adapters", "decoder_adapters", "lora"])
def test_adaptations_begin_as_the_model_is(choice: str, checkpoint: Path, translator: Whisper, batch: Batch) -> None:
    adapted = Whisper(checkpoint=str(checkpoint), parts=["speech"]).eval()
    names = instantiate(compose(["job=translation", f"adaptation={choice}"])["adaptation"]).apply(adapted)
    assert names
    with torch.no_grad():
        before, after = (
            one.logits(one.encode_speech(batch.wave_BT, batch.lengths_B), batch.targets_BS)
            for one in (translator, adapted)
        )
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
