"""SeamlessM4T (versions 1 and 2): a Conformer with a length adaptor, a text encoder, and the text decoder that both share.

Letters: B batch, T samples, F frames, S source tokens, M places of a memory, U target tokens, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mlsuperb.layers.masks import valid_mask
from mlsuperb.translation.adaptor import make_exact
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
from mlsuperb.upstreams.base import ENCODER, Stack, size_and_type
from mlsuperb.upstreams.checkpoint import Kind, Loaded, check_weights, load
from mlsuperb.upstreams.inputs import MEL_FEATURES, StackedMelInput, mel_problems
from mlsuperb.upstreams.selfsupervised import CONFORMER

SPEECH, TEXT = "speech", "text"
_FRAME_S = 0.02  # two log-mel frames stacked
Dropouts = Literal["transformers", "meta"]
# where fairseq2 says of a training pair how it was found ("internal control symbols that are not relevant for eval use",
# `models/nllb/tokenizer.py`): the last three rows of the published tables, in no tokenizer of transformers that was seen
_DATA_TAGS = ("<MINED_DATA>", "<MMT_BT_DATA>", "<SMT_BT_DATA>")
_TYPES = {"seamless_m4t": "SeamlessM4T", "seamless_m4t_v2": "SeamlessM4Tv2"}


def config_problems(config: dict[str, Any]) -> list[str]:
    """Why a model of this config.json cannot be adapted, one sentence each."""
    return model_problems(config, supported=dict.fromkeys(_TYPES, "SeamlessM4T")) or mel_problems(config)


def _kind(whole: str, body: tuple[str, ...]) -> Kind:
    return Kind(
        classes={model_type: f"{name}{whole}" for model_type, name in _TYPES.items()},
        config_problems=config_problems,
        features=lambda _: MEL_FEATURES,
        body=body,
        unused=(),
        setting="model.checkpoint",
    )


KINDS = {
    SPEECH: _kind("ForSpeechToText", ("speech_encoder.", "text_decoder.")),
    TEXT: _kind("ForTextToText", ("text_encoder.", "text_decoder.")),
}
STACKS = {
    ENCODER: replace(
        CONFORMER,
        blocks="model.speech_encoder.encoder.layers",
        front=("model.speech_encoder.feature_projection",),
        whole="model.speech_encoder.encoder",
    ),
    "length_adaptor": Stack(
        blocks="model.speech_encoder.adapter.layers",
        front=(),
        attention="self_attn",
        ffn="ffn.output_dense",
        ffn_dropout="ffn.output_dropout",
        attention_linears=CONFORMER.attention_linears,
        ffn_linears=("ffn.intermediate_dense", "ffn.output_dense"),
        whole="model.speech_encoder.adapter",
    ),
    "decoder": Stack(
        blocks="model.text_decoder.layers",
        front=(),
        attention="self_attn",
        ffn="ffn.fc2",
        ffn_dropout="ffn_dropout",
        attention_linears=tuple(f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")),
        ffn_linears=("ffn.fc1", "ffn.fc2"),
        whole="model.text_decoder",
    ),
}


class SeamlessTranslator(Translator):
    """`SeamlessM4TForSpeechToText`, `...ForTextToText`, or both with one decoder.

    The names of parameters are the same in all three, so that what was trained on text is put into a model for speech. Layer
    drop is off, the statistics of batch norm (version 1) never change; the length adaptor is made independent of padding.

    Args:
        speech: the model for speech; None: there is none.
        text: the model for text; of both, its decoder and embeddings become those of `speech`.
        tokenizer: of transformers.
        codes: language code of the model -> token.
        own_codes: code of the data -> code of the model, beside those that everybody uses.
        new: see `mlsuperb.translation.new_rows.add_languages`.
        tied: whether the output layer is the table of embeddings, as in transformers. Meta's training unties them, by accident.
        dropouts: see `use_meta_dropouts`.
    """

    def __init__(
        self, speech: Any | None, text: Any | None, *, tokenizer: Any, codes: Mapping[str, int],
        own_codes: Mapping[str, str] | None = None, new: Mapping[str, str] | None = None, tied: bool = True,
        dropouts: Dropouts = "transformers",
    ) -> None:  # fmt: skip
        super().__init__()
        if speech is None and text is None:
            raise ValueError("give a model for speech, one for text, or both")
        self.model = speech if speech is not None else text
        self.takes_speech, self.takes_text = speech is not None, text is not None
        if speech is not None:
            self.input = StackedMelInput()
            speech.config.speech_encoder_layerdrop = 0.0
            make_exact(speech.speech_encoder.adapter)
            if text is not None:
                text.text_encoder.embed_tokens.weight = speech.shared.weight
                speech.text_encoder = text.text_encoder
        for part in (self.model.text_decoder, *([self.model.text_encoder] if self.takes_text else [])):
            part.layerdrop = 0.0
        if not tied:
            self.model.lm_head.weight = nn.Parameter(self.model.shared.weight.detach().clone())
        if dropouts == "meta":
            use_meta_dropouts(self.model)
        self.stacks = {name: stack for name, stack in STACKS.items() if self.takes_speech or name == "decoder"}
        config = self.model.config
        self.tokenizer, self.languages = tokenizer, with_aliases(codes, own_codes or {})
        self.pad, self.end, self.vocab_size = config.pad_token_id, config.eos_token_id, config.vocab_size
        self._start = config.decoder_start_token_id
        self.max_tokens, self.extends = config.max_position_embeddings, True  # sinusoids of any length
        # of version 1; version 2 clips distances, and has no longest one
        frames = getattr(config, "max_source_positions", None)
        self.max_speech_s = math.inf if frames is None else frames * _FRAME_S
        self.speech_limit = (
            f"the {self.max_speech_s:.1f} s of the model's positions (max_source_positions in config.json)"
        )
        if new:
            parts = (self.model.text_decoder, *([self.model.text_encoder] if self.takes_text else []))
            embeddings = {part.embed_tokens: part.embed_tokens.embed_scale for part in parts}
            unused = unused_rows(tokenizer, self.vocab_size)
            add_languages(self, new, inputs=embeddings, output=self.model.lm_head, unused=unused)

    def encode_speech(self, wave_BT: Tensor, lengths_B: Tensor) -> Memory:
        with torch.autocast(wave_BT.device.type, enabled=False):
            mels_BFK, frames_B = self.input(wave_BT.float(), lengths_B)
        mask_BF = valid_mask(frames_B, mels_BFK.shape[1]).long()
        hidden_BMD = self.model.speech_encoder(mels_BFK, attention_mask=mask_BF).last_hidden_state
        places_B = self.model._compute_sub_sample_lengths_from_attention_mask(mask_BF).long()
        return Memory(hidden_BMD=hidden_BMD, valid_BM=valid_mask(places_B, hidden_BMD.shape[1]), mask=mask_BF)

    def encode_text(self, source_BS: Tensor, lengths_B: Tensor) -> Memory:
        valid_BS = valid_mask(lengths_B, source_BS.shape[1])
        hidden_BSD = self.model.text_encoder(input_ids=source_BS, attention_mask=valid_BS.long()).last_hidden_state
        mask = self._frames_of(lengths_B, source_BS.shape[1]) if self.takes_speech else valid_BS.long()
        return Memory(hidden_BMD=hidden_BSD, valid_BM=valid_BS, mask=mask)

    def _frames_of(self, places_B: Tensor, most: int) -> Tensor:
        """(B, F): a mask of speech frames out of which the length adaptor would make so many places, `most` at most:
        transformers' model for speech takes any mask for one of frames (`_compute_sub_sample_lengths_from_attention_mask`)."""
        kernel, stride = self.model.config.adaptor_kernel_size, self.model.config.adaptor_stride
        rest = kernel - 2 * (kernel // 2) - stride
        return valid_mask(stride * places_B + rest, stride * most + rest).long()

    def logits(self, memory: Memory, inputs_BU: Tensor) -> Tensor:
        hidden_BUD = self.model.text_decoder(
            input_ids=inputs_BU, encoder_hidden_states=memory.hidden_BMD,
            encoder_attention_mask=memory.valid_BM.long(), use_cache=False,
        ).last_hidden_state  # fmt: skip
        logits: Tensor = self.model.lm_head(hidden_BUD)
        return logits

    def prefix(self, language: str) -> list[int]:
        return [self._start, self.language_token(language)]

    def tokens(self, text: str) -> list[int]:
        tokens: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return tokens

    def source_tokens(self, text: str, language: str) -> list[int]:
        return [self.language_token(language), *self.tokens(text), self.end]


class SeamlessM4T(SeamlessTranslator):
    """A published SeamlessM4T, of which no more is loaded than a training needs: vocoder and text-to-unit model never.

    Args:
        checkpoint: an id on the hub (`facebook/hf-seamless-m4t-medium`, `facebook/seamless-m4t-v2-large`) or a folder written by
            `save_pretrained`, with the files of its tokenizer.
        revision: branch, tag or commit on the hub.
        language_codes: code of the data -> code of the model, where they differ and the model's own aliases do not know it.
        new_languages: languages that the model has no token for: each gets an unused row of the embedding (`unused_rows`), which
            is trained whatever the adaptation, and begins as the row of a language of the model, `{bem: swh}`, or as the mean of
            all, `{bem: mean}`.
        tied: see `SeamlessTranslator`.
        dropouts: `transformers` (as config.json has them) or `meta` (`use_meta_dropouts`).
        parts: `speech`, `text`, or both.
    """

    def __init__(
        self, *, checkpoint: str, parts: Collection[str], revision: str = "main",
        language_codes: Mapping[str, str] | None = None, new_languages: Mapping[str, str] | None = None, tied: bool = True,
        dropouts: Dropouts = "transformers",
    ) -> None:  # fmt: skip
        loaded = {part: load(checkpoint, revision=revision, kind=KINDS[part]) for part in parts}
        first = next(iter(loaded.values()))
        if SPEECH not in loaded:  # what is trained on text writes speech in the end
            check_weights(checkpoint, revision=first.commit or revision, kind=KINDS[SPEECH])
        tokenizer = load_tokenizer(first)
        super().__init__(
            *(loaded[part].model if part in loaded else None for part in (SPEECH, TEXT)),
            tokenizer=tokenizer, codes=language_tokens(first, tokenizer), own_codes=language_codes, new=new_languages, tied=tied,
            dropouts=dropouts,
        )  # fmt: skip
        rows = {code: self.languages[code] for code in new_languages or {}}
        self._record = {
            "model_type": first.config["model_type"], **first.record(), **text_record(first), **size_and_type(self),
            "new_languages": rows,
        }  # fmt: skip

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        """What can be said against the settings without network or weights."""
        return settings_problems(KINDS[SPEECH], **settings)


def unused_rows(tokenizer: Any, vocab_size: int) -> list[int]:
    """Rows of the embedding that no text reads or writes, in order: those that no token of the tokenizer names, and those of the
    tags that said in Meta's training where a pair is from.

    The published tables have three: 256,206 rows of version 1 medium are 256,001 pieces, 202 languages and three tags, 256,102 of
    both large models are 256,001, 98 and three. They were trained as these tags: their values mean nothing for a language.
    The public fine-tuning for IWSLT 2025 (mct10/IWSLT2025_LowRes_ST) takes the same rows: a token added to the tokenizer gets
    the first id behind it.
    """
    vocabulary = tokenizer.get_vocab()
    used = {token for name, token in vocabulary.items() if name not in _DATA_TAGS}
    return [token for token in range(vocab_size) if token not in used]


def use_meta_dropouts(model: Any) -> None:
    """Meta's rates where transformers' configuration has others, in place (fix_model_dropout in seamlessm4t/model_utils.py of
    mct10/IWSLT2025_LowRes_ST): 0.1 behind the decoder's feed-forward networks (transformers: 0), 0.1 on the attention weights of
    the length adaptor (0), and 0 inside its feed-forward network (0.1)."""
    for layer in model.text_decoder.layers:
        layer.ffn_dropout.p = 0.1
    for layer in model.speech_encoder.adapter.layers if hasattr(model, "speech_encoder") else ():
        layer.self_attn.dropout.p = 0.1
        layer.ffn.intermediate_dropout.p = 0.0


def language_tokens(loaded: Loaded, tokenizer: Any) -> dict[str, int]:
    """The languages that a checkpoint's decoder writes: code -> token, from generation_config.json, held against the tokenizer.

    Raises:
        ValueError: there are none, or the tokenizer has another token for one.
    """
    codes = getattr(loaded.model.generation_config, "text_decoder_lang_to_code_id", None)
    if not isinstance(codes, dict) or not codes:
        raise ValueError(
            f"model.checkpoint={loaded.checkpoint} names no language (text_decoder_lang_to_code_id in generation_config.json). "
            "Restore that file"
        )
    other = {code: token for code, token in codes.items() if tokenizer.convert_tokens_to_ids(f"__{code}__") != token}
    if other:
        raise ValueError(
            f"model.checkpoint={loaded.checkpoint}: the tokenizer has another token for {', '.join(sorted(other))} than "
            "generation_config.json: they do not belong together. Restore the checkpoint's files"
        )
    return codes
