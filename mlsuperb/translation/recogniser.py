"""Run a translator over speech and text: texts by beam search, the loss of validation utterances and pairs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from mlsuperb.data.loading import Loading
from mlsuperb.data.text_dataset import TextBatch
from mlsuperb.runs.transcripts import Piece
from mlsuperb.runs.windows import WHOLE_S, Window
from mlsuperb.runtime import ranks
from mlsuperb.runtime.device import autocast
from mlsuperb.training.losses import refuse_not_finite
from mlsuperb.translation.data import check_languages
from mlsuperb.translation.lengths import refuse_long_speech
from mlsuperb.translation.model import TranslationModel, kind_of
from mlsuperb.translation.search import Search
from mlsuperb.translation.translator import Memory
from mlsuperb.types import Batch


@dataclass(frozen=True)
class Encoded:
    """What the decoder attends to, the prefix of each utterance (B, P), and the languages that the data name."""

    memory: Memory
    prefixes_BP: Tensor
    languages: tuple[str, ...]


@dataclass(kw_only=True)
class TranslationRecogniser:
    """See `mlsuperb.runs.decoding.Transcriber`.

    Args:
        names_language: whether the task's outputs begin with the language.
        language: that all is written in; None: that of each utterance.
    """

    model: TranslationModel
    search: Search
    loading: Loading
    device: torch.device
    precision: str
    names_language: bool = False
    language: str | None = None

    def __post_init__(self) -> None:
        translator, num = self.model.translator, self.model.num_prefix + self.search.max_tokens - 1
        if num > translator.max_tokens and not translator.extends:
            raise ValueError(
                f"search.max_tokens={self.search.max_tokens}: the decoder has {translator.max_tokens} places, of which the "
                f"prefix takes {self.model.num_prefix}. Give at most {translator.max_tokens - self.model.num_prefix + 1}"
            )

    def write_in(self, language: str) -> None:
        """See `Transcriber`."""
        self.model.translator.prefix(language)
        self.language, self.search = language, replace(self.search, language="given")

    def check(self, rows: pd.DataFrame) -> None:
        """See `Transcriber`."""
        translator = self.model.translator
        refuse_long_speech(translator, rows)
        if self.search.language == "given" and self.language is None:
            if not rows["language"].all():
                raise ValueError(
                    "this model is told the language that it writes: give it by --language CODE, one of "
                    f"{', '.join(sorted(translator.languages))}"
                )
            check_languages(translator.prefix, rows["language"])

    def encode(self, batch: Batch) -> Encoded:
        """Memory and prefixes of a batch."""
        translator, moved = self.model.translator, batch.to(self.device)
        with torch.inference_mode(), autocast(self.device, self.precision):
            memory = translator.encode_speech(moved.wave_BT, moved.lengths_B)
        some_language = next(iter(translator.languages))
        predicted = self.search.language == "predicted"
        codes = [some_language if predicted else self.language or language for language in batch.languages]
        prefixes = [translator.prefix(language) for language in codes]
        if predicted:
            prefixes = self._with_best_language(memory, torch.tensor(prefixes, device=self.device))
        return Encoded(memory, torch.tensor(prefixes, device=self.device), batch.languages)

    @torch.inference_mode()
    def _with_best_language(self, memory: Memory, prefixes_BP: Tensor) -> list[list[int]]:
        """Prefixes with the most likely language in place of the one that was given."""
        translator = self.model.translator
        known = sorted(set(translator.languages.values()))
        with autocast(self.device, self.precision):
            scores_BV = translator.logits(memory, prefixes_BP[:, :1])[:, -1]
        best_B = torch.tensor(known, device=self.device)[scores_BV[:, known].argmax(-1)]
        return torch.cat((prefixes_BP[:, :1], best_B[:, None], prefixes_BP[:, 2:]), 1).tolist()

    def texts(self, encoded: Encoded) -> list[tuple[str, str | None]]:
        """The best hypothesis of each utterance; beside it the language, where it was to be predicted."""
        translator, num_prefix = self.model.translator, encoded.prefixes_BP.shape[1]
        with autocast(self.device, self.precision):
            sequences_BU = translator.generate(encoded.memory, encoded.prefixes_BP, self.search)
        texts = [translator.text(row[num_prefix:]) for row in sequences_BU.tolist()]
        if self.search.language == "given":
            return [(text, None) for text in texts]
        named = {token: code for code, token in reversed(list(translator.languages.items()))}
        tokens = encoded.prefixes_BP[:, 1].tolist()
        # a token can have several codes (`swh`, `swa`): that of the data, where it is the right one
        codes = [
            label if translator.languages.get(label) == token else named[token]
            for label, token in zip(encoded.languages, tokens, strict=True)
        ]
        if not self.names_language:
            return list(zip(texts, codes, strict=True))
        return [(f"[{code}] {text}", code) for text, code in zip(texts, codes, strict=True)]

    @property
    def whole_s(self) -> float:
        """See `Transcriber`."""
        return min(self.model.translator.max_speech_s, WHOLE_S)

    aligns = False

    def pieces(self, encoded: Encoded, windows: Sequence[Window]) -> list[Piece]:
        """See `Transcriber`; windows are decoded whole."""
        return [Piece(text=text, language=code, languages={}, tokens=None) for text, code in self.texts(encoded)]

    @torch.inference_mode()
    def nats(self, batch: TextBatch) -> list[float]:
        """See `TranslationModel.nats`."""
        with autocast(self.device, self.precision):
            found: list[float] = self.model.nats(batch.to(self.device)).tolist()
        return found

    @torch.inference_mode()
    def translations(self, batch: TextBatch) -> list[str]:
        """The best hypothesis of each source of a batch, in the language of its target."""
        translator, num_prefix, moved = self.model.translator, self.model.num_prefix, batch.to(self.device)
        with autocast(self.device, self.precision):
            memory = translator.encode_text(moved.source_BS, moved.source_lengths_B)
            sequences_BU = translator.generate(memory, moved.target_BT[:, :num_prefix], self.search)
        return [translator.text(row[num_prefix:]) for row in sequences_BU.tolist()]

    @torch.inference_mode()
    def validate(self, loaders: Iterable[Iterable[Batch | TextBatch]]) -> dict[str, float]:
        """Nats for each target token of speech and of text, as far as there are any; their mean is `valid_loss`.

        Raises:
            ValueError: the loss of some utterances or pairs is not finite; names them.
        """
        sums: dict[str, Any] = {}
        not_finite: list[str] = []
        for loader in loaders:
            for batch in loader:
                with autocast(self.device, self.precision):
                    total, right, num = self.model.score(batch.to(self.device))
                found = sums.setdefault(kind_of(batch), [0.0, 0.0, 0.0])
                not_finite += () if math.isfinite(total) else batch.ids
                for place, value in enumerate((total, right, num)):
                    found[place] += float(value)
        refuse_not_finite(not_finite)
        gathered: dict[str, list[float]] = {}
        for part in ranks.gather(sums):
            for kind, values in part.items():
                gathered[kind] = [one + other for one, other in zip(gathered.get(kind, [0.0] * 3), values, strict=True)]
        figures = {f"valid_{kind}_loss": total / max(1, num) for kind, (total, _, num) in gathered.items()}
        accuracies = {f"valid_{kind}_accuracy": right / max(1, num) for kind, (_, right, num) in gathered.items()}
        return {"valid_loss": sum(figures.values()) / len(figures), **figures, **accuracies}
