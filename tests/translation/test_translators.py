"""SeamlessM4T as a translator: against transformers' own classes, and independent of padding."""

from __future__ import annotations

from itertools import groupby, product
from pathlib import Path
from typing import Any

import pytest
import torch
from absent_gpu import AbsentGPU, on_gpu, on_host
from tiny_translators import tokenizer, write_seamless
from torch import nn
from transformers import (
    AutoModel,
    SeamlessM4TForSpeechToText,
    SeamlessM4TForTextToText,
    SeamlessM4Tv2ForSpeechToText,
    SeamlessM4Tv2ForTextToText,
)

from mlsuperb.data.text_dataset import TextBatch
from mlsuperb.layers.masks import valid_mask
from mlsuperb.translation.model import IGNORED, CrossEntropy, HybridLoss, TranslationModel, labels
from mlsuperb.translation.seamless import SeamlessM4T
from mlsuperb.translation.search import Search
from mlsuperb.types import Batch

OF_TRANSFORMERS = {
    "v1": (SeamlessM4TForSpeechToText, SeamlessM4TForTextToText),
    "v2": (SeamlessM4Tv2ForSpeechToText, SeamlessM4Tv2ForTextToText),
}
START, END = 3, 3
LENGTHS = (16000, 9000, 11111, 26240)


@pytest.fixture(scope="module", params=["v1", "v2"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def checkpoint(version: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_seamless(tmp_path_factory.mktemp(version), version)


@pytest.fixture(scope="module")
def translator(checkpoint: Path) -> SeamlessM4T:
    return SeamlessM4T(checkpoint=str(checkpoint), parts=["speech", "text"]).eval()


def waves() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    lengths_B = torch.tensor(LENGTHS)
    wave_BT = 0.1 * torch.randn(len(LENGTHS), max(LENGTHS), generator=generator)
    return wave_BT, lengths_B


def speech_batch(translator: SeamlessM4T, texts: list[tuple[str, str]]) -> Batch:
    wave_BT, lengths_B = waves()
    num = len(texts)
    targets = [torch.tensor(translator.target(*one)) for one in texts]
    return Batch(
        ids=tuple(map(str, range(num))), languages=tuple(language for _, language in texts), wave_BT=wave_BT[:num],
        lengths_B=lengths_B[:num], targets_BS=nn.utils.rnn.pad_sequence(targets, batch_first=True),
        target_lengths_B=torch.tensor(list(map(len, targets))),
    )  # fmt: skip


def text_batch(translator: SeamlessM4T, pairs: list[tuple[str, str]]) -> TextBatch:
    sources = [torch.tensor(translator.source_tokens(source, "eng")) for source, _ in pairs]
    targets = [torch.tensor(translator.target(target, "deu")) for _, target in pairs]
    pad = nn.utils.rnn.pad_sequence
    return TextBatch(
        ids=tuple(map(str, range(len(pairs)))), directions=("eng-deu",) * len(pairs), source_BS=pad(sources, batch_first=True),
        source_lengths_B=torch.tensor(list(map(len, sources))), target_BT=pad(targets, batch_first=True),
        target_lengths_B=torch.tensor(list(map(len, targets))),
    )  # fmt: skip


def test_ctc_of_places_sums_over_all_alignments() -> None:
    torch.manual_seed(0)
    text, blank, places, vocab_size = [1, 1, 2], 0, 5, 3
    logits_BMV = torch.randn(1, places, vocab_size)
    log_probs_MV = logits_BMV[0].log_softmax(-1)
    paths = [
        sum(log_probs_MV[place, token] for place, token in enumerate(path))
        for path in product(range(vocab_size), repeat=places)
        if [token for token, _ in groupby(path) if token != blank] == text
    ]
    loss = HybridLoss()
    given = torch.tensor([text]), torch.tensor([3])
    (nats,), (aligned,) = loss.of_places(logits_BMV, torch.tensor([places]), *given, blank=blank)
    torch.testing.assert_close(nats, -torch.stack(paths).logsumexp(0))
    assert aligned
    (short,), (aligned,) = loss.of_places(logits_BMV, torch.tensor([3]), *given, blank=blank)
    assert not aligned, "three tokens, of which two are the same, need four places"
    assert short == 0


def test_a_hybrid_loss_leaves_out_what_is_too_long_and_text(translator: SeamlessM4T) -> None:
    parts = [
        TranslationModel(translator, loss=loss, num_prefix=2) for loss in (CrossEntropy(), HybridLoss(ctc_weight=0.25))
    ]
    speech = speech_batch(translator, [("ab", "deu"), ("ab " * 20, "eng")])
    text = text_batch(translator, [("ab", "ba")])
    plain, hybrid = (one.eval()(speech) for one in parts)
    total, num = hybrid.rates["speech_ctc_loss"]
    assert hybrid.rates["speech_ctc_skipped"][0] == 1, "the second has fewer places than letters"
    torch.testing.assert_close(hybrid.loss, 0.75 * plain.loss + 0.25 * total / num)
    hybrid.loss.backward()
    gradients = [one.grad for one in translator.parameters() if one.grad is not None]
    translator.zero_grad(set_to_none=True)
    assert gradients
    assert all(one.isfinite().all() for one in gradients)
    memory = translator.encode_speech(speech.wave_BT[:1, : LENGTHS[0]], speech.lengths_B[:1])
    log_probs_MV = translator.output_layer(memory.hidden_BMD)[0].log_softmax(-1)
    tokens = torch.tensor(translator.tokens("ab"))
    expected = nn.functional.ctc_loss(
        log_probs_MV, tokens, torch.tensor([len(log_probs_MV)]), torch.tensor([len(tokens)]), blank=translator.pad,
        reduction="sum",
    )  # fmt: skip
    torch.testing.assert_close(total, expected.detach(), rtol=1e-4, atol=1e-4)
    assert torch.equal(parts[0](text).loss, parts[1](text).loss)


@torch.no_grad()
def test_padding_changes_nothing_of_what_the_decoder_attends_to(translator: SeamlessM4T) -> None:
    """Lengths whose last window of the length adaptor reaches beyond them, and one whose does not."""
    wave_BT, lengths_B = waves()
    together = translator.encode_speech(wave_BT, lengths_B)
    for row, length in enumerate(LENGTHS):
        alone = translator.encode_speech(wave_BT[row : row + 1, :length], lengths_B[row : row + 1])
        num = int(alone.valid_BM.sum())
        assert num == int(together.valid_BM[row].sum()) == alone.hidden_BMD.shape[1]
        torch.testing.assert_close(together.hidden_BMD[row, :num], alone.hidden_BMD[0], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_alone_speech_is_encoded_as_by_transformers(version: str, checkpoint: Path, translator: SeamlessM4T) -> None:
    theirs = OF_TRANSFORMERS[version][0].from_pretrained(checkpoint).eval()
    wave_BT, lengths_B = waves()
    mels_BFK, _ = translator.input(wave_BT[:1, : LENGTHS[0]], lengths_B[:1])
    expected = theirs.speech_encoder(mels_BFK, attention_mask=torch.ones(mels_BFK.shape[:2], dtype=torch.long))
    torch.testing.assert_close(
        translator.encode_speech(wave_BT[:1, : LENGTHS[0]], lengths_B[:1]).hidden_BMD,
        expected.last_hidden_state,
        rtol=1e-5,
        atol=1e-6,
    )


def test_labels_are_those_that_are_documented() -> None:
    """[language, tokens, end], by the rules of the tokenizer; its own `text_target` has another `</s>` in front."""
    tokens = tokenizer()
    letters = [tokens.convert_tokens_to_ids(letter) for letter in "▁ab"]
    german = tokens.convert_tokens_to_ids("__deu__")
    target = torch.tensor([[START, german, *letters, END], [START, german, letters[0], END, 0, 0]])
    found = labels(target, torch.tensor([6, 4]), skip=0)
    assert found.tolist() == [[german, *letters, END], [german, letters[0], END, IGNORED, IGNORED]]
    assert labels(target, torch.tensor([6, 4]), skip=1)[:, 0].tolist() == [IGNORED, IGNORED]
    assert tokens(text_target="ab").input_ids == [END, german, *letters, END]


def test_the_loss_is_transformers_own(version: str, checkpoint: Path, translator: SeamlessM4T) -> None:
    of_speech, of_text = (kind.from_pretrained(checkpoint).eval() for kind in OF_TRANSFORMERS[version])
    model = TranslationModel(translator, loss=CrossEntropy(), num_prefix=2).eval()
    speech = speech_batch(translator, [("guten Tag", "deu"), ("abc", "swa")])
    text = text_batch(translator, [("good day", "guten Tag"), ("abc", "de")])
    mels_BFK, frames_B = translator.input(speech.wave_BT, speech.lengths_B)
    with torch.no_grad():
        # row by row: with padding transformers' length adaptor gives something else
        rows = []
        for row in range(2):
            label = labels(speech.targets_BS, speech.target_lengths_B, skip=0)[row : row + 1]
            features = mels_BFK[row : row + 1, : frames_B[row]]
            mask = torch.ones(features.shape[:2], dtype=torch.long)
            rows.append(
                (of_speech(input_features=features, attention_mask=mask, labels=label).loss, (label != IGNORED).sum())
            )
        expected = sum(loss * num for loss, num in rows) / sum(num for _, num in rows)
        assert float(model(speech).loss) == pytest.approx(float(expected), abs=1e-5)
        theirs = of_text(
            input_ids=text.source_BS, attention_mask=valid_mask(text.source_lengths_B, text.source_BS.shape[1]).long(),
            labels=labels(text.target_BT, text.target_lengths_B, skip=0),
        ).loss  # fmt: skip
        assert float(model(text).loss) == pytest.approx(float(theirs), abs=1e-6)


def test_speech_and_text_share_one_decoder(translator: SeamlessM4T) -> None:
    assert translator.model.text_encoder.embed_tokens.weight is translator.model.shared.weight
    model = TranslationModel(translator, loss=CrossEntropy(), num_prefix=2)
    for batch in (
        speech_batch(translator, [("guten Tag", "deu")]),
        text_batch(translator, [("good day", "guten Tag")]),
    ):
        model.zero_grad()
        model(batch).loss.backward()
        assert float(translator.model.text_decoder.layers[0].ffn.fc1.weight.grad.abs().sum()) > 0
    model.zero_grad()


@torch.no_grad()
def test_each_utterance_is_written_in_its_language(version: str, checkpoint: Path, translator: SeamlessM4T) -> None:
    """Beam search over utterances of several languages gives what transformers gives of each alone."""
    theirs = OF_TRANSFORMERS[version][0].from_pretrained(checkpoint).eval()
    wave_BT, lengths_B = waves()
    codes = ("deu", "swa", "eng", "deu")
    prefixes = torch.tensor([translator.prefix(code) for code in codes])
    found = translator.generate(
        translator.encode_speech(wave_BT, lengths_B), prefixes, Search(num_beams=3, max_tokens=9)
    )
    for row, code in enumerate(codes):
        mels_BFK, _ = translator.input(wave_BT[row : row + 1, : LENGTHS[row]], lengths_B[row : row + 1])
        alone = theirs.generate(
            input_features=mels_BFK, attention_mask=torch.ones(mels_BFK.shape[:2], dtype=torch.long),
            tgt_lang={"swa": "swh"}.get(code, code), num_beams=3, max_new_tokens=9,
        )  # fmt: skip
        assert found[row, : alone.shape[1]].tolist() == alone[0].tolist()


def test_codes_of_corpora_find_the_models_languages(translator: SeamlessM4T) -> None:
    assert translator.prefix("swa") == translator.prefix("swh")
    with pytest.raises(ValueError, match=r"the model has no language 'kat'; it has deu, eng, swa, swh"):
        translator.prefix("kat")


def test_text_comes_back(translator: SeamlessM4T) -> None:
    tokens = translator.target("guten Tag", "deu")
    assert (tokens[0], tokens[-1]) == (START, END)
    assert translator.text(tokens) == "guten Tag"


def test_a_frozen_model_does_not_drift(version: str, checkpoint: Path) -> None:
    """Batch norm of version 1 keeps its averages; with layer drop every block is used all the same."""
    translator = SeamlessM4T(checkpoint=str(checkpoint), parts=["speech"])
    model = TranslationModel(translator, loss=CrossEntropy(), num_prefix=2).train()
    translator.requires_grad_(False)
    model.train()
    before = {name: one.clone() for name, one in translator.named_buffers()}
    batch = speech_batch(translator, [("guten Tag", "deu"), ("abc", "swa")])
    losses = {float(model(batch).loss) for _ in range(3)}
    assert len(losses) == 1, "neither dropout nor layer drop"
    assert all(torch.equal(one, before[name]) for name, one in translator.named_buffers())


def test_text_alone_needs_no_speech_model(checkpoint: Path) -> None:
    translator = SeamlessM4T(checkpoint=str(checkpoint), parts=["text"])
    assert not any("speech_encoder" in name for name, _ in translator.named_parameters())
    assert list(translator.stacks) == ["decoder"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 40}, r"its tokenizer has \d+ tokens and its model 40: they do not belong together"),
    ],
)
def test_a_tokenizer_of_another_model_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        SeamlessM4T(checkpoint=str(write_seamless(tmp_path, **change)), parts=["text"])


def test_a_truncated_checkpoint_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    """Without half of its speech encoder, which transformers' whole model loads without a word."""
    model: Any = AutoModel.from_pretrained(checkpoint)
    del model.speech_encoder.encoder.layers[1:]
    model.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"model.checkpoint=.* its weights do not fit its config.json: \d+ missing"):
        SeamlessM4T(checkpoint=str(tmp_path), parts=["speech"])


def test_a_loss_on_a_gpu(checkpoint: Path, version: str) -> None:
    """It waits for the longest utterance: the adaptor's places, and v1's positions."""
    translator = SeamlessM4T(checkpoint=str(checkpoint), parts=["speech", "text"])
    model = TranslationModel(translator, loss=CrossEntropy(), num_prefix=2).eval()
    batch = speech_batch(translator, [("ab", "deu"), ("b", "eng")])
    with torch.no_grad():
        expected = model(batch).loss
        with AbsentGPU() as gpu:
            found = on_gpu(model)(batch.to("cuda")).loss
    torch.testing.assert_close(on_host(found), expected, rtol=1e-4, atol=1e-5)
    waits = {"translation/adaptor.py: forward", "translation/seamless.py: logits"}
    assert set(gpu.reads) == waits | ({"translation/seamless.py: encode_speech"} if version == "v1" else set())
    lengths_B = torch.tensor([3, 2])
    with torch.no_grad():
        expected_memory = (
            SeamlessM4T(checkpoint=str(checkpoint), parts=["speech", "text"])
            .eval()
            .encode_text(source_BS := torch.tensor([[5, 6, 7], [5, 6, 0]]), lengths_B)
        )
        with AbsentGPU() as gpu:
            memory = translator.encode_text(source_BS.to("cuda"), lengths_B.to("cuda"))
    torch.testing.assert_close(on_host(memory.mask), expected_memory.mask)
    assert "translation/seamless.py: _frames_of" not in gpu.reads
