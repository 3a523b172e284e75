"""Whisper: an encoder of a window of audio, and a decoder that writes it in a language that it is told.

Letters: B batch, T samples, K mel filters, M mel frames, F frames, S source tokens, U target tokens, V vocabulary, D hidden size.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import gelu

from mlsuperb.scoring.protocols.wer_cer import without_words
from mlsuperb.translation.languages import with_aliases
from mlsuperb.translation.new_rows import add_languages
from mlsuperb.translation.translator import (
    Memory,
    Translator,
    load_tokenizer,
    model_problems,
    settings_problems,
    text_record,
)
from mlsuperb.upstreams.base import ENCODER, SAMPLE_RATE_HZ, Stack, size_and_type
from mlsuperb.upstreams.checkpoint import Kind, Loaded, load
from mlsuperb.upstreams.whisper import WhisperInput, WhisperStack, features
from mlsuperb.upstreams.whisper import config_problems as encoder_problems


def config_problems(config: dict[str, Any]) -> list[str]:
    """Why a model of this config.json cannot be adapted, one sentence each."""
    return model_problems(config, supported={"whisper": "Whisper"}) or encoder_problems(config)


KIND = Kind(
    classes={"whisper": "WhisperForConditionalGeneration"},
    config_problems=config_problems,
    features=features,
    body=("model.encoder.", "model.decoder."),
    unused=(),
    setting="model.checkpoint",
)
_BLOCK = WhisperStack.stacks[ENCODER]
STACKS: dict[str, Stack] = {
    ENCODER: replace(
        _BLOCK,
        blocks="model.model.encoder.layers",
        front=("model.model.encoder.conv1", "model.model.encoder.conv2"),
        whole="model.model.encoder",
    ),
    "decoder": replace(_BLOCK, blocks="model.model.decoder.layers", front=(), whole="model.model.decoder"),
}
# codes of Whisper's tokens (ISO 639-1, with some of its own) that are no ISO 639-1 code of the language that is meant
_OWN = {"jw": "jav", "haw": "haw", "yue": "yue"}
_END = "<|endoftext|>"
_PREFIX = ["<|startoftranscript|>", "<|transcribe|>", "<|notimestamps|>"]
_NUM_TIMESTAMPS = (
    1501  # tokens behind `<|notimestamps|>`, from 0 to 30 s in steps of 20 ms; not every tokenizer names them
)


class WhisperTranslator(Translator):
    """`WhisperForConditionalGeneration`, whose decoder attends to all of a window.

    Whisper was trained on windows of 30 s, padded with silence, and its decoder cannot be told which frames are speech. So every
    utterance is padded to the same window, and no result depends on a batch. A shorter window, of which the first positions are
    used, costs less, at the price of a silence that the model expects. It reads no text: parallel text teaches its decoder as a
    language model of the target side, which attends to one place of zeros.

    Args:
        model: of transformers.
        tokenizer: of transformers.
        own_codes: code of the data -> code of the model (ISO 639-3), beside those that everybody uses.
        new: see `mlsuperb.translation.new_rows.add_languages`.
        window_s: no utterance may be longer.
    """

    stacks = STACKS
    translates = False

    def __init__(
        self, model: Any, *, tokenizer: Any, own_codes: Mapping[str, str] | None = None,
        new: Mapping[str, str] | None = None, window_s: float = 30.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.model, self.tokenizer, self.window_s = model, tokenizer, window_s
        self.takes_speech = self.takes_text = True
        for part in (model.model.encoder, model.model.decoder):
            part.layerdrop = 0.0
        config = model.config
        self.input = WhisperInput(num_mels=config.num_mel_bins, pad_to_frames=round(100 * window_s))
        # not that of config.json: where it is left out there, transformers' default is the end of the English models
        self.vocab_size, self.end = config.vocab_size, tokenizer.convert_tokens_to_ids(_END)
        self.pad = self.end  # as in transformers' Whisper: what is behind the end does not count
        self.languages = with_aliases(_language_tokens(tokenizer), own_codes or {})
        start, task, plain = tokenizer.convert_tokens_to_ids(_PREFIX)
        self._start, self._task = start, [task, plain]
        self.max_speech_s, self.speech_limit = window_s, f"the window of {window_s:g} s (model.window_s, 30 at most)"
        self.max_tokens, self.extends = config.max_target_positions, False
        if new:
            used = {*tokenizer.get_vocab().values(), *range(plain + 1, plain + 1 + _NUM_TIMESTAMPS)}
            unused = [token for token in range(self.vocab_size) if token not in used]
            add_languages(
                self, new, inputs={model.model.decoder.embed_tokens: 1.0}, output=model.proj_out, unused=unused
            )

    def encode_speech(self, wave_BT: Tensor, lengths_B: Tensor) -> Memory:
        limit = round(self.window_s * SAMPLE_RATE_HZ)
        # a GPU is waited for only where the padding does not fit either
        if wave_BT.shape[1] > limit and (longest := int(lengths_B.max())) > limit:
            raise ValueError(
                f"an utterance of {longest / SAMPLE_RATE_HZ:.1f} s does not fit into the window of {self.window_s:g} s. "
                "Leave longer ones out, or set model.window_s (30 at most)"
            )
        with torch.autocast(wave_BT.device.type, enabled=False):
            mels_BMK, _ = self.input(wave_BT.float(), lengths_B)
        encoder = self.model.model.encoder
        hidden_BDF = gelu(encoder.conv2(gelu(encoder.conv1(mels_BMK.transpose(1, 2)))))
        hidden_BFD = hidden_BDF.transpose(1, 2)
        hidden_BFD = hidden_BFD + encoder.embed_positions.weight[: hidden_BFD.shape[1]]
        for block in encoder.layers:
            hidden_BFD = block(hidden_BFD, None)
        return _all_of(encoder.layer_norm(hidden_BFD))

    def encode_text(self, source_BS: Tensor, lengths_B: Tensor) -> Memory:
        return _all_of(self.model.model.encoder.conv2.weight.new_zeros(len(source_BS), 1, self.model.config.d_model))

    def logits(self, memory: Memory, inputs_BU: Tensor) -> Tensor:
        hidden_BUD = self.model.model.decoder(
            input_ids=inputs_BU, encoder_hidden_states=memory.hidden_BMD, use_cache=False
        ).last_hidden_state
        logits: Tensor = self.model.proj_out(hidden_BUD)
        return logits

    def prefix(self, language: str) -> list[int]:
        return [self._start, self.language_token(language), *self._task]

    def tokens(self, text: str) -> list[int]:
        tokens: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return tokens

    def target(self, text: str, language: str) -> list[int]:
        """As Whisper was trained: a text begins with a space, where words are parted by spaces."""
        return super().target(text if without_words(language) else f" {text}", language)

    def source_tokens(self, text: str, language: str) -> list[int]:
        return [self.end]


def _all_of(hidden_BMD: Tensor) -> Memory:
    valid_BM = torch.ones(hidden_BMD.shape[:2], dtype=torch.bool, device=hidden_BMD.device)
    return Memory(hidden_BMD=hidden_BMD, valid_BM=valid_BM, mask=valid_BM.long())


def _language_tokens(tokenizer: Any) -> dict[str, int]:
    """ISO 639-3 code -> token."""
    from pycountry import languages
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    tokens = {code: tokenizer.convert_tokens_to_ids(f"<|{code}|>") for code in LANGUAGES}
    unknown = tokenizer.convert_tokens_to_ids("<|no such token|>")
    found = {}
    for code, token in tokens.items():
        language = languages.get(alpha_2=code)
        name = _OWN.get(code) or (language.alpha_3 if language else None)
        if token != unknown and name:
            found[name] = token
    return found


def _check_multilingual(loaded: Loaded, tokenizer: Any) -> None:
    """
    Raises:
        ValueError: the model writes English alone, or the tokenizer is another model's.
    """
    missing = sorted({_END, *_PREFIX} - set(tokenizer.get_vocab()))
    if missing or not _language_tokens(tokenizer):
        raise ValueError(
            f"model.checkpoint={loaded.checkpoint}: its tokenizer has no token for {', '.join(missing) or 'any language'}, so it "
            "is not that of a Whisper. Restore the tokenizer's files"
        )
    if getattr(loaded.model.generation_config, "is_multilingual", None) is False:
        raise ValueError(
            f"model.checkpoint={loaded.checkpoint} writes English alone (is_multilingual in generation_config.json): give a "
            "multilingual Whisper, such as openai/whisper-base"
        )


class Whisper(WhisperTranslator):
    """A published Whisper.

    Args:
        checkpoint: an id on the hub (`openai/whisper-small`) or a folder written by `save_pretrained`, with the files of its
            tokenizer.
        revision: branch, tag or commit on the hub.
        language_codes, new_languages, window_s: see `WhisperTranslator` and `SeamlessM4T`. The published tables have no unused
            row, so that new languages fit only into one that somebody made larger.
        parts: `speech`, `text`, or both: makes no difference, since there is no text encoder.
    """

    def __init__(
        self, *, checkpoint: str, parts: Collection[str], revision: str = "main",
        language_codes: Mapping[str, str] | None = None, new_languages: Mapping[str, str] | None = None,
        window_s: Annotated[float, Field(gt=0, le=30)] = 30.0,
    ) -> None:  # fmt: skip
        loaded = load(checkpoint, revision=revision, kind=KIND)
        tokenizer = load_tokenizer(loaded)
        _check_multilingual(loaded, tokenizer)
        super().__init__(
            loaded.model, tokenizer=tokenizer, own_codes=language_codes, new=new_languages, window_s=window_s
        )
        rows = {code: self.languages[code] for code in new_languages or {}}
        self._record = {
            "model_type": loaded.config["model_type"], **loaded.record(), **text_record(loaded), **size_and_type(self),
            "new_languages": rows,
        }  # fmt: skip

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        """What can be said against the settings without network or weights."""
        return settings_problems(KIND, **settings)
