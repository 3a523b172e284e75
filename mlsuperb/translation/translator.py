"""What a model that writes the text of speech, or of other text, offers: SeamlessM4T, Whisper.

Letters: B batch, T samples, S source tokens, M places of a memory, U target tokens, D hidden size, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mlsuperb.runtime.messages import one_line
from mlsuperb.translation.languages import code_problems
from mlsuperb.translation.search import Search
from mlsuperb.types import Tensors
from mlsuperb.upstreams.base import Stacked
from mlsuperb.upstreams.checkpoint import Kind, Loaded, checkpoint_problems, type_problems
from mlsuperb.upstreams.sources import config_digest, local_folder, optional_json, sha256


@dataclass(frozen=True, kw_only=True)
class Memory(Tensors):
    """What the decoder attends to: `hidden_BMD`, of which the places `valid_BM` count. `mask` is what transformers' `generate` of
    this model wants to be told of it (frames before the length adaptor, for speech in SeamlessM4T)."""

    hidden_BMD: Tensor
    valid_BM: Tensor
    mask: Tensor


class Translator(Stacked, ABC):
    """An encoder-decoder model of transformers.

    A target is a sequence of tokens `prefix + text + [end]`: the prefix is what the decoder is given at the start, the language
    among it. Padding never changes what comes out.

    Attributes:
        model: transformers' model with the decoder, on which `generate` is called.
        tokenizer: of transformers, or what is as one.
        languages: ISO 639-3 code -> token of the language.
        pad, end: tokens.
        vocab_size: V.
        takes_speech, takes_text: whether it encodes these.
        translates: whether what it reads is the source text; otherwise its decoder is a language model of the target side.
        max_speech_s: seconds of speech that it was made for; `speech_limit` is the same in words, with the setting.
        max_tokens: tokens that its decoder reads, of the prefix on: a target without its end.
        extends: whether it computes positions beyond these by a formula; else it cannot.
        new_rows: of languages that the model had no token for (`mlsuperb.translation.new_rows`), by table; always trained,
            whatever the adaptation.
        new_tokens: their tokens, which the tokenizer does not know.
    """

    model: Any
    tokenizer: Any
    languages: Mapping[str, int]
    pad: int
    end: int
    vocab_size: int
    takes_speech: bool
    takes_text: bool
    translates: bool = True
    max_speech_s: float
    speech_limit: str
    max_tokens: int
    extends: bool
    new_tokens: frozenset[int] = frozenset()

    def __init__(self) -> None:
        super().__init__()
        self.new_rows = nn.ModuleDict()

    @abstractmethod
    def encode_speech(self, wave_BT: Tensor, lengths_B: Tensor) -> Memory:
        """Encode 16 kHz speech in [-1, 1], of which `lengths_B` samples are valid."""

    @abstractmethod
    def encode_text(self, source_BS: Tensor, lengths_B: Tensor) -> Memory:
        """Encode source text, as `source_tokens` has it."""

    @abstractmethod
    def logits(self, memory: Memory, inputs_BU: Tensor) -> Tensor:
        """(B, U, V): scores of the token after each of `inputs_BU`."""

    @property
    def output_layer(self) -> nn.Module:
        """Hidden states of the decoder -> scores of all tokens."""
        layer: nn.Module = self.model.get_output_embeddings()
        return layer

    @abstractmethod
    def prefix(self, language: str) -> list[int]:
        """What the decoder is given before it writes text in a language (ISO 639-3).

        Raises:
            ValueError: the model has no such language.
        """

    @property
    def num_prefix(self) -> int:
        """Tokens of a prefix, in any language."""
        return len(self.prefix(next(iter(self.languages))))

    @abstractmethod
    def tokens(self, text: str) -> list[int]:
        """The tokens of a text, without prefix and end."""

    @abstractmethod
    def source_tokens(self, text: str, language: str) -> list[int]:
        """A text in a language as the text encoder reads it."""

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens, special ones left out."""
        known = [token for token in tokens if token not in self.new_tokens]
        text: str = self.tokenizer.decode(known, skip_special_tokens=True)
        return text.strip()

    def target(self, text: str, language: str) -> list[int]:
        """Prefix, text and end: what the decoder learns to write."""
        return [*self.prefix(language), *self.tokens(text), self.end]

    def language_token(self, language: str) -> int:
        """
        Raises:
            ValueError: the model has no such language.
        """
        if language not in self.languages:
            raise ValueError(
                f"the model has no language {language!r}; it has {', '.join(sorted(self.languages))}. Name one of these for it "
                f"by +model.language_codes.{language}=CODE, or give it a row of its own that begins as one of these: "
                f"+model.new_languages.{language}=CODE"
            )
        return self.languages[language]

    @torch.inference_mode()
    def generate(self, memory: Memory, prefixes: Tensor, search: Search) -> Tensor:
        """Beam search: sequences (B, U) with their prefixes, padded behind the end.

        Args:
            prefixes: (B, P), the same number of tokens for all.
        """
        from transformers import GenerationMixin
        from transformers.modeling_outputs import BaseModelOutput

        found: Any = GenerationMixin.generate(
            self.model,
            encoder_outputs=BaseModelOutput(memory.hidden_BMD),
            attention_mask=memory.mask,
            decoder_input_ids=prefixes,
            num_beams=search.num_beams,
            max_new_tokens=search.max_tokens,
            length_penalty=search.length_penalty,
            do_sample=False,
            eos_token_id=self.end,
            pad_token_id=self.pad,
        )
        sequences: Tensor = found
        return sequences


# `model_type` in config.json -> the option of `model=` that reads such checkpoints
OPTIONS = {"whisper": "model=whisper_base", **dict.fromkeys(("seamless_m4t", "seamless_m4t_v2"), "model=seamless_m4t")}


def model_problems(config: Mapping[str, Any], *, supported: Mapping[str, str]) -> list[str]:
    """Whether a checkpoint is for another option of `model=` (see `type_problems`)."""
    return type_problems(config, supported=supported, options=OPTIONS)


def settings_problems(
    kind: Kind,
    *,
    checkpoint: str,
    revision: str = "main",
    new_languages: Mapping[str, str] | None = None,
    **_others: Any,
) -> list[str]:
    """What can be said against the settings of a published model without network or weights."""
    return [*checkpoint_problems(checkpoint, revision=revision, kind=kind), *code_problems(new_languages or {})]


TOKENIZER_FILES = ("tokenizer.json", "sentencepiece.bpe.model", "vocab.json")
GENERATION = "generation_config.json"


def text_record(loaded: Loaded) -> dict[str, Any]:
    """What a result should say of how a published model writes: the hashes of its tokenizer's files (of a folder; the hub's
    commit covers them), and what generation_config.json says."""
    folder = local_folder(loaded.checkpoint)
    there = [path for name in (*TOKENIZER_FILES, "merges.txt") if folder and (path := folder / name).is_file()]
    generation = optional_json(folder or loaded.checkpoint, GENERATION, loaded.commit or loaded.revision)
    return {"tokenizer": {path.name: sha256(path) for path in there}, "generation": config_digest(generation or {})}


def load_tokenizer(loaded: Loaded) -> Any:
    """The tokenizer beside a checkpoint's weights.

    Raises:
        ValueError: there is none, or it has tokens that the model does not have.
    """
    from transformers import AutoTokenizer

    folder = local_folder(loaded.checkpoint)
    try:
        if folder and not any((folder / name).is_file() for name in TOKENIZER_FILES):
            # transformers would make an empty one
            raise ValueError(f"it has none of the files {', '.join(TOKENIZER_FILES)}")
        tokenizer: Any = AutoTokenizer.from_pretrained(
            loaded.checkpoint, revision=loaded.commit or loaded.revision, trust_remote_code=False
        )
    except Exception as error:  # of a library in Rust, too: files that are junk end in anything
        raise ValueError(
            f"model.checkpoint={loaded.checkpoint} has no tokenizer that can be read ({one_line(error)[:200]}). "
            "Give a checkpoint with the files of its tokenizer (tokenizer.json, or sentencepiece.bpe.model)"
        ) from error
    size, vocab_size = len(tokenizer), loaded.config["vocab_size"]
    if size > vocab_size:
        raise ValueError(
            f"model.checkpoint={loaded.checkpoint}: its tokenizer has {size:,} tokens and its model {vocab_size:,}: they do "
            "not belong together. Restore the tokenizer's files"
        )
    return tokenizer
