"""Parallel text as a torch dataset: pairs of token sequences, collated into a `TextBatch`.

Letters: N pairs of a dataset, B pairs of a batch, S source length, T target length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from mlsuperb.data.rows import Rows
from mlsuperb.data.sampling import Draw
from mlsuperb.types import Tensors, TextPair


class TextExample(NamedTuple):
    """One pair and the tokens of its sides: (S,) and (T,) int64."""

    pair: TextPair
    source_S: np.ndarray
    target_T: np.ndarray


@dataclass(frozen=True, kw_only=True)
class TextBatch(Tensors):
    """What a model of text sees:

        ids                 B texts
        directions          B texts, such as `deu-eng`
        source_BS           (B, S) int64 tokens, padded to the longest source
        source_lengths_B    (B,) int64, tokens of each source
        target_BT           (B, T) int64 tokens, padded to the longest target
        target_lengths_B    (B,) int64, tokens of each target

    `share`: how much of a batch this is, if it is dealt out among several processes (by pairs).
    """

    ids: tuple[str, ...]
    directions: tuple[str, ...]
    source_BS: Tensor
    source_lengths_B: Tensor
    target_BT: Tensor
    target_lengths_B: Tensor
    share: float = 1.0
    num_tokens: int = 0

    @property
    def amount(self) -> float:
        """Tokens of both sides, without padding: what the speed of a training is counted in."""
        return float(self.num_tokens)

    def describe(self) -> str:
        """Its size, for errors of memory."""
        (num, source), target = self.source_BS.shape, self.target_BT.shape[1]
        return (
            f"{num} pairs, the longest of {source} and {target} tokens ({num * (source + target)} tokens with padding)"
        )


class TextDataset(Dataset[TextExample]):
    """The rows of a manifest of parallel text, as tokens. Its batch is a `TextBatch`, which has the shapes.

    Args:
        manifest: rows with the columns of `TextPair`.
        tokenise: the tokens of a pair's source and of its target: two one-dimensional arrays of whole numbers.
        pad: the token that batches are padded with.
    """

    def __init__(
        self, manifest: pd.DataFrame, *, tokenise: Callable[[TextPair], tuple[np.ndarray, np.ndarray]], pad: int = 0
    ) -> None:
        self._rows = Rows(manifest, TextPair)
        self._tokenise, self._pad = tokenise, pad

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def amounts(self) -> np.ndarray:
        """Characters (N,) of the longer side of each pair. Batches are made up by them: tokens are not known before."""
        return np.maximum(self._rows.num_characters("source"), self._rows.num_characters("target"))

    @property
    def languages(self) -> np.ndarray:
        """The direction of each pair, such as `deu-eng`."""
        return self._rows.values("source_language") + "-" + self._rows.values("target_language")

    @property
    def datasets(self) -> np.ndarray:
        """The dataset of each pair."""
        return self._rows.values("dataset")

    def __getitem__(self, which: int | Draw) -> TextExample:
        draw = which if isinstance(which, Draw) else Draw(which)
        if not draw.whole:
            raise ValueError(
                "a part of a text was drawn, but pairs are translations only as a whole: leave out loading.crops"
            )
        pair = self._rows[draw.index]
        return TextExample(pair, *self._tokenise(pair))

    def collate(self, examples: Sequence[TextExample]) -> TextBatch:
        """A batch of some of its examples, padded."""
        sources, targets = (
            [torch.tensor(tokens, dtype=torch.long) for tokens in side]
            for side in zip(*((one.source_S, one.target_T) for one in examples), strict=True)
        )
        return TextBatch(
            ids=tuple(one.pair.id for one in examples),
            directions=tuple(f"{one.pair.source_language}-{one.pair.target_language}" for one in examples),
            source_BS=pad_sequence(sources, batch_first=True, padding_value=self._pad),
            source_lengths_B=torch.tensor([len(tokens) for tokens in sources]),
            target_BT=pad_sequence(targets, batch_first=True, padding_value=self._pad),
            target_lengths_B=torch.tensor([len(tokens) for tokens in targets]),
            num_tokens=sum(map(len, sources)) + sum(map(len, targets)),
        )

    def finish(self, batch: TextBatch) -> TextBatch:
        """The batch as it is: nothing is left to do in the main process."""
        return batch
