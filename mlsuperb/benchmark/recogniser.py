"""Run a model over speech: validation metrics during training, texts and languages afterwards."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd
import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from mlsuperb.benchmark.model import SpeechModel
from mlsuperb.benchmark.pieces import cut, language_probabilities, timed
from mlsuperb.data.dataset import Speech
from mlsuperb.data.loading import Loading
from mlsuperb.data.text import LanguageTokens, codes_of_tokens
from mlsuperb.data.vocabulary import Vocabulary
from mlsuperb.decoding.base import Decoded, Decoder
from mlsuperb.runs.decoding import batches_of_rank
from mlsuperb.runs.transcripts import Piece, Timed
from mlsuperb.runs.windows import Window
from mlsuperb.runtime import ranks
from mlsuperb.runtime.device import autocast
from mlsuperb.tasks.base import Task
from mlsuperb.training.losses import refuse_not_finite
from mlsuperb.training.trackers import Sample
from mlsuperb.types import IGNORED, AttentionDecoder, Batch, Encoded, figure_names

NUM_SAMPLES = 5  # texts of a validation that trackers show


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """What the model makes of a batch before it is searched: the head's output, posteriors and attention decoder; `ready`: on a
    GPU, the event after which they are there."""

    encoded: Encoded
    posteriors: Encoded
    attention: AttentionDecoder | None
    ready: torch.cuda.Event | None


@dataclass(kw_only=True)
class Recogniser:
    """A model with all it takes to turn audio into text and language.

    Args:
        whole_s: see `Transcriber`.
    """

    model: SpeechModel
    task: Task
    vocabulary: Vocabulary
    decoder: Decoder
    loading: Loading
    device: torch.device
    precision: str
    whole_s: float = 30.0

    def __post_init__(self) -> None:
        codes = codes_of_tokens(self.vocabulary.tokens)
        self._languages = LanguageTokens(codes)
        self._language_of = {self.vocabulary.tokens.index(f"[{code}]"): code for code in codes}
        self.samples: Sequence[Sample] = ()  # of the last validation, of this rank: one from each of a few batches
        self._stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of what `validate` returns; lower is better for each."""
        return figure_names(has_language=self.task.has_language, rates=self.model.objective.rates)

    @torch.inference_mode()
    def validate(self, dataset: Speech, *, quick_decoder: Decoder) -> dict[str, float]:
        """Mean loss per utterance, the rate of token errors (and of wrong languages) under `quick_decoder`, and the error
        rates that the objective counts itself. Whole batches are dealt out among the ranks of a job, and all get the sums.

        Raises:
            ValueError: every utterance is too short for its text, so that the loss means nothing; or the loss of some is not
                finite.
        """
        sums: Counter[str] = Counter()
        not_finite: list[str] = []
        first: list[tuple[str, list[int], list[int]]] = []
        for batch in batches_of_rank(dataset, self.loading).loader:
            moved = batch.to(self.device)
            with autocast(self.device, self.precision):
                encoded = self.model.encode(moved)
                result = self.model.objective(encoded, moved.targets_BS, moved.target_lengths_B, moved.languages)
                posteriors = self.model.objective.log_probs(encoded)
            if not math.isfinite(result.loss):
                not_finite += _not_finite(batch, posteriors)
            sums["loss"] += float(result.loss) * len(batch.ids)  # type: ignore[assignment]
            sums.update({name: int(number) for name, number in result.counts.items()})
            targets = zip(batch.targets_BS.tolist(), batch.target_lengths_B.tolist(), strict=True)
            decoded = quick_decoder(posteriors.values, posteriors.lengths_B)
            first.append((batch.ids[0], batch.targets_BS[0, : batch.target_lengths_B[0]].tolist(), decoded[0].tokens))
            for (padded, length), hypothesis in zip(targets, decoded, strict=True):
                target = padded[:length]  # may be empty: a transcript of punctuation alone
                sums["errors"] += Levenshtein.distance(target, hypothesis.tokens)
                sums["tokens"] += length
                sums["wrong_languages"] += hypothesis.tokens[:1] != target[:1] or target[:1] == [IGNORED]
        self.samples = [self._sample(*one) for one in first[:: -(-len(first) // NUM_SAMPLES) or 1]]
        refuse_not_finite(not_finite)
        return self._rates(ranks.gather(sums), num=len(dataset))

    def _sample(self, name: str, target: Sequence[int], tokens: Sequence[int]) -> Sample:
        known = [token for token in target if token != IGNORED]
        reference, hypothesis = (self.task.text(self.vocabulary.decode(one)) for one in (known, tokens))
        return Sample(name, reference, hypothesis)

    def _rates(self, sums_of_ranks: list[Counter[str]], *, num: int) -> dict[str, float]:
        sums: Counter[str] = Counter()
        for one in sums_of_ranks:
            sums.update(one)
        if sums["num_unaligned"] == num:
            raise ValueError(
                "every utterance of the dev set is too short for its text once the head has shortened it: choose a front "
                "end that keeps more frames (head.frontend=linear keeps all), or an upstream with more frames per second"
            )
        own = [sums[f"num_{name}_errors"] / max(1, sums[f"num_{name}_tokens"]) for name in self.model.objective.rates]
        lid = [sums["wrong_languages"] / num] if self.task.has_language else []
        values = (sums["loss"] / num, sums["errors"] / max(1, sums["tokens"]), *lid, *own)
        return dict(zip(self.figures, values, strict=True))

    def write_in(self, language: str) -> None:
        """
        Raises:
            ValueError: always: no model of the benchmark is told a language.
        """
        raise ValueError(
            f"--language {language}: this model is told no language, it writes what it was trained on. Leave it out"
        )

    def check(self, rows: pd.DataFrame) -> None:
        """See `Transcriber`; it takes any."""

    def encode(self, batch: Batch) -> Encoding:
        """Posteriors of a batch; a GPU is not waited for."""
        moved = batch.to(self.device)
        with autocast(self.device, self.precision):
            encoded = self.model.encode(moved)
            posteriors = self.model.objective.log_probs(encoded)
        attention = self.model.objective.attention(encoded)
        ready = torch.cuda.current_stream(self.device).record_event() if self.device.type == "cuda" else None
        return Encoding(encoded=encoded, posteriors=posteriors, attention=attention, ready=ready)

    def texts(self, encoded: Encoding) -> list[tuple[str, str | None]]:
        """Search for the raw output of each utterance, beside the model's work on the next batch. With each comes the language
        that it names."""
        with self._beside(encoded):
            decoded = self.decoder(encoded.posteriors.values, encoded.posteriors.lengths_B, encoded.attention)
        return [self._said(one) for one in decoded]

    @contextmanager
    def _beside(self, encoded: Encoding) -> Iterator[None]:
        """On a GPU, work in a stream of its own, once a batch is encoded."""
        with torch.cuda.stream(self._stream):  # None: nothing changes
            if self._stream is not None and encoded.ready is not None:
                self._stream.wait_event(encoded.ready)
            yield
            if self._stream is not None:
                self._stream.synchronize()  # the model's stream may reuse the posteriors' memory once they are let go

    def _said(self, decoded: Decoded) -> tuple[str, str | None]:
        text = self.task.text(self.vocabulary.decode(decoded.tokens))
        return text, self.task.language(text, self._languages)

    @property
    def aligns(self) -> bool:
        """See `Transcriber`."""
        return self.task.has_text and not self.model.objective.utterance_level

    def pieces(self, encoded: Encoding, windows: Sequence[Window]) -> list[Piece]:
        """See `Transcriber`."""
        with self._beside(encoded):
            languages: list[dict[str, float]] = [{} for _ in windows]
            if self.task.has_language and self._language_of:
                languages = language_probabilities(encoded.posteriors, self._language_of)
            kept, attention = encoded.posteriors, encoded.attention
            if not self.model.objective.utterance_level:
                kept = cut(encoded.posteriors, windows)
            if kept is not encoded.posteriors:
                attention = self.model.objective.attention(cut(encoded.encoded, windows))
            decoded = self.decoder(kept.values, kept.lengths_B, attention)
            found = []
            for row, one in enumerate(decoded):
                num_frames = int(encoded.posteriors.lengths_B[row])
                log_probs_FV = kept.values[row, : int(kept.lengths_B[row])]
                tokens = self._timed(one, log_probs_FV, windows[row], num_frames) if self.aligns else None
                text, language = self._said(one)
                found.append(Piece(text=text, language=language, languages=languages[row], tokens=tokens))
            return found

    def _timed(self, decoded: Decoded, log_probs_FV: Tensor, window: Window, num_frames: int) -> tuple[Timed, ...]:
        texts = [self._text_of(index) for index in decoded.tokens]
        return tuple(timed(log_probs_FV, decoded.tokens, texts, window, num_frames))

    def _text_of(self, index: int) -> str:
        """What a token adds to a text (`Piece.tokens`)."""
        if self.task.has_language and index in self._language_of:
            return " "
        text = self.task.text([self.vocabulary.tokens[index]])
        return text if self.task.units == "char" else f" {text}"


def _not_finite(batch: Batch, posteriors: Encoded) -> list[str]:
    """The utterances of a batch whose posteriors are not finite; all of them, where each has such."""
    rows = zip(batch.ids, posteriors.values, posteriors.lengths_B.tolist(), strict=True)
    return [name for name, values, length in rows if not torch.exp(values[:length]).isfinite().all()] or list(batch.ids)
