"""Checkpoints, tokenizers, languages and lengths that do not go together: refused in words before a training."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file, save_file
from tiny_translators import LETTERS, tokenizer, write_seamless, write_whisper
from transformers import SeamlessM4TTokenizer, WhisperTokenizer

from mlsuperb.config.build import instantiate
from mlsuperb.config.compose import compose
from mlsuperb.data.skips import SkipReport
from mlsuperb.translation.data import check_languages, check_letters
from mlsuperb.translation.languages import with_aliases
from mlsuperb.translation.lengths import leave_out_long, refuse_long_speech
from mlsuperb.translation.model import CrossEntropy, TranslationModel
from mlsuperb.translation.seamless import SeamlessM4T, SeamlessTranslator
from mlsuperb.translation.seamless_new import NewSeamless
from mlsuperb.translation.start import refuse_other_weights
from mlsuperb.translation.translator import Translator
from mlsuperb.translation.whisper import Whisper
from mlsuperb.upstreams.sources import sha256


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    write_seamless(folder / "v1")
    write_seamless(folder / "v2", "v2")
    write_whisper(folder / "whisper")
    return folder


@pytest.fixture
def copied(checkpoints: Path, tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(checkpoints / name, tmp_path / name))


def without(folder: Path, prefix: str) -> str:
    """The checkpoint with its weights of other names alone."""
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
    assert len(kept) < len(tensors)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


@pytest.mark.parametrize(
    ("part", "parts"),
    [
        ("speech_encoder.", ["speech"]),
        ("speech_encoder.", ["text"]),  # it writes speech in the end
        ("text_decoder.layers.1.", ["speech"]),
        ("text_decoder.layers.1.", ["text"]),
        ("text_encoder.", ["speech", "text"]),
    ],
)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_missing_weights_are_named(version: str, part: str, parts: list[str], copied: Callable[[str], Path]) -> None:
    """transformers itself loads a model without its speech encoder, and says nothing."""
    with pytest.raises(ValueError, match=rf"do not fit its config.json: \d+ missing \({part}"):
        SeamlessM4T(checkpoint=without(copied(version), part), parts=parts)


@pytest.mark.parametrize("parts", [["speech"], ["text"]])
@pytest.mark.parametrize("versions", [("v1", "v2"), ("v2", "v1")])
def test_weights_of_the_other_version_are_refused(
    versions: tuple[str, str], parts: list[str], checkpoints: Path, copied: Callable[[str], Path]
) -> None:
    weights, config = versions
    folder = copied(weights)
    shutil.copy(checkpoints / config / "config.json", folder)
    with pytest.raises(ValueError, match=r"do not fit its config.json: .*missing.*unknown .*speech_encoder"):
        SeamlessM4T(checkpoint=str(folder), parts=parts)


def test_the_record_names_the_version(checkpoints: Path) -> None:
    for version, name in (("v1", "seamless_m4t"), ("v2", "seamless_m4t_v2")):
        assert SeamlessM4T(checkpoint=str(checkpoints / version), parts=["text"]).record()["model_type"] == name


def test_a_checkpoint_of_another_family_is_told_its_option(checkpoints: Path) -> None:
    with pytest.raises(ValueError, match=r"'whisper'.* Use model=whisper_base for this checkpoint"):
        SeamlessM4T(checkpoint=str(checkpoints / "whisper"), parts=["speech"])
    with pytest.raises(ValueError, match=r"'seamless_m4t_v2'.* Use model=seamless_m4t for this checkpoint"):
        Whisper(checkpoint=str(checkpoints / "v2"), parts=["speech"])


def test_tokenizers_that_do_not_fit_are_refused(copied: Callable[[str], Path]) -> None:
    folder = copied("v1")
    larger = tokenizer()
    larger.add_tokens([f"w{number}" for number in range(50)])
    larger.save_pretrained(folder)
    with pytest.raises(ValueError, match=r"its tokenizer has \d+ tokens and its model 96: they do not belong together"):
        SeamlessM4T(checkpoint=str(folder), parts=["text"])
    vocabulary = {"<pad>": 0, "<unk>": 1, "<s>": 2, "</s>": 3}
    vocabulary |= {letter: number for number, letter in enumerate(LETTERS[:20], 4)}
    codes = ["__deu__", "__eng__", "__swh__"]
    SeamlessM4TTokenizer(vocab=vocabulary, merges=[], additional_special_tokens=codes).save_pretrained(folder)
    with pytest.raises(ValueError, match="the tokenizer has another token for deu, eng, swh"):
        SeamlessM4T(checkpoint=str(folder), parts=["text"])
    for file in folder.glob("*token*"):
        file.unlink()
    with pytest.raises(ValueError, match=r"no tokenizer that can be read \(it has none of the files tokenizer.json"):
        SeamlessM4T(checkpoint=str(folder), parts=["text"])


def test_a_tokenizer_without_whispers_tokens_is_refused(copied: Callable[[str], Path]) -> None:
    folder = copied("whisper")
    for file in (*folder.glob("*token*"), *folder.glob("vocab*"), *folder.glob("merges*")):
        file.unlink()
    WhisperTokenizer(vocab={letter: number for number, letter in enumerate("abc")}, merges=[]).save_pretrained(folder)
    with pytest.raises(ValueError, match=r"its tokenizer has no token for <\|notimestamps\|>.*not that of a Whisper"):
        Whisper(checkpoint=str(folder), parts=["speech"])


PUBLISHED = {"v1": SeamlessM4T, "whisper": Whisper}


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_adapter_beside_the_weights_is_refused(name: str, copied: Callable[[str], Path]) -> None:
    folder = copied(name)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(ValueError, match=r"model\.checkpoint=.* also holds an adapter"):
        PUBLISHED[name](checkpoint=str(folder), parts=["speech"])


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("file", ["preprocessor_config.json", "processor_config.json"])
def test_audio_that_cannot_be_prepared_so_is_refused(file: str, name: str, copied: Callable[[str], Path]) -> None:
    folder = copied(name)
    asked = {"feature_size": 13}
    (folder / file).write_text(json.dumps({"feature_extractor": asked} if file.startswith("processor") else asked))
    with pytest.raises(ValueError, match=rf"{file} says feature_size=13, but only feature_size=80"):
        PUBLISHED[name](checkpoint=str(folder), parts=["speech"])


@pytest.mark.parametrize(
    "content", ["junk", "[]", "{}", '{"version": "1.0"}', '{"model": {"type": "BPE", "vocab": 3}}']
)
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_tokenizer_that_is_junk_is_one_sentence(name: str, content: str, copied: Callable[[str], Path]) -> None:
    folder = copied(name)
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match=rf"model\.checkpoint={folder}"):
        PUBLISHED[name](checkpoint=str(folder), parts=["speech"])


def test_languages_that_are_no_table_are_refused(copied: Callable[[str], Path]) -> None:
    folder = copied("v1")
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"text_decoder_lang_to_code_id": ["deu"]}))
    with pytest.raises(ValueError, match="names no language"):
        SeamlessM4T(checkpoint=str(folder), parts=["text"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_a_model_writes_by_is_recorded(name: str, copied: Callable[[str], Path], tmp_path: Path) -> None:
    """Weights of the same hashes write other words by another tokenizer, search settings or sizes."""
    folder = copied(name)
    then = dict(PUBLISHED[name](checkpoint=str(folder), parts=["speech"]).record())
    run = tmp_path / "run"
    run.mkdir()
    (run / "model.json").write_text(json.dumps(then))
    changes = {
        "tokenizer": ("tokenizer.json", {"more": 1}),
        "generation": ("generation_config.json", {"repetition_penalty": 2.0}),
        "config": ("config.json", {"activation_function": "gelu_new"}),
    }
    for key, (file, change) in changes.items():
        before = (folder / file).read_text()
        (folder / file).write_text(json.dumps(json.loads(before) | change))
        now = PUBLISHED[name](checkpoint=str(folder), parts=["speech"]).record() if key != "tokenizer" else None
        now = now or then | {key: {"tokenizer.json": sha256(folder / file)}}
        assert {one for one in then if then[one] != now[one]} == {key}
        with pytest.raises(ValueError, match=rf"the model of .*run has changed since training \({key} "):
            refuse_other_weights(run, now)
        older = {one: value for one, value in then.items() if one not in changes}
        (run / "model.json").write_text(json.dumps(older))
        refuse_other_weights(run, now)  # of a run from before this was recorded
        (run / "model.json").write_text(json.dumps(then))
        (folder / file).write_text(before)


def rows(durations_s: list[float], texts: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"utterance{number}" for number in range(len(texts))], "split": "train", "dataset": "a", "language": "deu",
            "duration_s": durations_s, "text": texts,
        }
    )  # fmt: skip


def kept(translator: Translator, table: pd.DataFrame, report: SkipReport) -> list[str]:
    def tokens(row: pd.Series) -> list[int]:
        return translator.target(row.text, row.language)[:-1]

    return list(leave_out_long(table, translator, texts=["text"], tokens=tokens, report=report)["id"])


def test_what_whisper_cannot_compute_is_left_out_and_counted(checkpoints: Path) -> None:
    """64 places: the prefix of 4, the space before a text and 59 letters; one more stands only in a target, and is no input."""
    translator, report = Whisper(checkpoint=str(checkpoints / "whisper"), parts=["speech"], window_s=2.0), SkipReport()
    assert kept(translator, rows([1, 2.5, 1, 2.0], ["a", "b", "c" * 60, "d" * 59]), report) == [
        "utterance0",
        "utterance3",
    ]
    reasons = report.to_dict()
    assert reasons["longer than the window of 2 s (model.window_s, 30 at most)"]["examples"] == ["utterance1"]
    assert reasons["text of more than the 64 tokens of the model's positions"]["examples"] == ["utterance2"]
    with pytest.raises(
        ValueError, match=r"1 of 2 .*window of 2 s \(model.window_s, 30 at most\): utterance1 \(2.5 s\). Cut"
    ):
        refuse_long_speech(translator, rows([1, 2.5], ["", ""]))


def test_seamless_computes_more_and_says_so(checkpoints: Path, caplog: pytest.LogCaptureFixture) -> None:
    """512 positions of 20 ms in version 1; version 2 has no longest distance."""
    v1, v2 = (SeamlessM4T(checkpoint=str(checkpoints / one), parts=["text"]) for one in ("v1", "v2"))
    table = rows([1.0, 10.3], ["a", "b" * 256])
    with caplog.at_level(logging.WARNING):
        assert kept(v1, table, SkipReport()) == ["utterance0", "utterance1"]
        refuse_long_speech(v1, table)
    speech, text, decoded = [record.getMessage() for record in caplog.records]
    assert "1 of 2 in train: longer than the 10.2 s of the model's positions" in speech
    assert "text of more than the 256 tokens" in text
    assert "utterance1 (10.3 s); the model was not trained on that" in decoded
    caplog.clear()
    refuse_long_speech(v2, table)
    assert not caplog.records


def test_texts_that_the_tokenizer_cannot_write_are_refused(checkpoints: Path, caplog: pytest.LogCaptureFixture) -> None:
    translator = SeamlessM4T(checkpoint=str(checkpoints / "v1"), parts=["text"])
    known, unknown = pd.Series(["tag abend"] * 10), pd.Series(["ღამე მშვიდობისა"] * 10)
    with caplog.at_level(logging.WARNING):
        check_letters(translator, known, where="data")
        assert not caplog.records
        check_letters(translator, pd.concat([known, unknown[:1]]), where="data")
    assert "data: the model's tokenizer writes" in caplog.text
    with pytest.raises(
        ValueError, match=r"targets: the model's tokenizer writes \d+% of the tokens as <unk>, such as of 'ღამე"
    ):
        check_letters(translator, unknown, where="targets")


def test_a_new_model_needs_letters() -> None:
    given = {"languages": ["deu"], "parts": ["speech"]}
    assert NewSeamless.problems(scripts=["LATIN", "CYRILLIC"], **given) == []
    (problem,) = NewSeamless.problems(scripts=["Latin"], **given)
    assert "no letter's Unicode name begins with 'Latin'; give LATIN" in problem
    (problem,) = NewSeamless.problems(scripts=["LATIN"], size=30, **given)
    assert "model.size=30 is no multiple of model.num_heads=4" in problem


def test_a_code_of_a_macrolanguage_is_that_of_its_member_and_the_other_way_round() -> None:
    assert with_aliases({"cmn": 1, "swh": 2}, {}) == {"cmn": 1, "swh": 2, "zho": 1, "swa": 2}
    assert with_aliases({"zho": 1, "kur": 2}, {}) == {"zho": 1, "kur": 2, "cmn": 1, "ckb": 2}
    assert with_aliases({"zho": 1, "cmn": 3}, {}) == {"zho": 1, "cmn": 3}


def test_languages_are_tried_before_a_training(checkpoints: Path) -> None:
    translator = SeamlessM4T(checkpoint=str(checkpoints / "v1"), parts=["text"])
    check_languages(translator.prefix, ["swa", "deu", "deu"])
    with pytest.raises(ValueError, match="the model has no language 'ge'"):
        check_languages(lambda code: translator.source_tokens("", code), ["deu", "ge"])


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_metas_dropouts(version: str, checkpoints: Path) -> None:
    for dropouts, rates in (("transformers", (0.0, 0.0, 0.1)), ("meta", (0.1, 0.1, 0.0))):
        given = {"checkpoint": str(checkpoints / version), "parts": ["speech"], "dropouts": dropouts}
        model = SeamlessM4T(**given).model  # type: ignore[arg-type]
        for layer in model.speech_encoder.adapter.layers:
            assert (layer.self_attn.dropout.p, layer.ffn.intermediate_dropout.p) == rates[1:]
            assert layer.ffn.output_dropout.p == 0.1
        assert {layer.ffn_dropout.p for layer in model.text_decoder.layers} == {rates[0]}


def test_dropout_is_on_where_something_is_trained(checkpoints: Path) -> None:
    """In whole blocks: their frozen weights are regularised beside the adapters. All else has none."""
    translator: SeamlessTranslator = SeamlessM4T(checkpoint=str(checkpoints / "v1"), parts=["speech"], dropouts="meta")
    choice = ["job=translation", "adaptation=decoder_adapters", "adaptation.width=4"]
    instantiate(compose(choice)["adaptation"]).apply(translator)
    TranslationModel(translator, loss=CrossEntropy(), num_prefix=2).train()
    decoder, encoder = translator.model.text_decoder, translator.model.speech_encoder
    assert all(layer.ffn_dropout.training and layer.self_attn.training for layer in decoder.layers)
    assert not decoder.training, "what is before and behind the blocks is frozen"
    assert not any(module.training for module in encoder.modules())
    translator.requires_grad_(True)
    TranslationModel(translator, loss=CrossEntropy(), num_prefix=2).train()
    assert encoder.adapter.layers[0].self_attn.dropout.training
    assert decoder.training
