"""What a pass over a corpus is made of: how often each example is seen (laws), and which part of it (draws, crops).

Letters: N examples, P (language, dataset) pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import numpy as np
import pandas as pd
from pydantic import Field, PositiveFloat


@dataclass(frozen=True, slots=True)
class Draw:
    """An example of a batch: of the row at `index`, `duration_s` seconds from `start_s` on (counted from where the row
    begins); all the rest where `duration_s` is None."""

    index: int
    start_s: float = 0.0
    duration_s: float | None = None

    @property
    def whole(self) -> bool:
        """Whether it is all of the row."""
        return self.start_s == 0 and self.duration_s is None


class SamplingLaw(Protocol):
    """How often each example is seen in a pass, by its language and dataset."""

    def repeats(self, amounts: np.ndarray, *, languages: np.ndarray, datasets: np.ndarray) -> np.ndarray | None:
        """Expected number of times (N,) that each example is seen in a pass; None: every one once, without chance.

        Args:
            amounts: (N,) seconds of audio, or characters of text.
            languages: (N,) the language of each; of text pairs its direction, `deu-eng`.
            datasets: (N,) the dataset of each.
        """
        ...


@dataclass(kw_only=True)
class Uniform:
    """Every example once in a pass: the corpus as it is."""

    def repeats(self, amounts: np.ndarray, *, languages: np.ndarray, datasets: np.ndarray) -> np.ndarray | None:
        return None


@dataclass(kw_only=True)
class Temperature:
    """A language's share of the audio is proportional to the (1 / temperature)-th power of its share in the corpus
    (Arivazhagan et al. 2019, arXiv 1907.05019; XLS-R's alpha, arXiv 2111.09296, is 1 / temperature). The length of a pass
    stays the same: 1 leaves the corpus as it is, much more makes all languages equal.

    Args:
        temperature: 1 or more.
    """

    temperature: Annotated[float, Field(ge=1)]

    def repeats(self, amounts: np.ndarray, *, languages: np.ndarray, datasets: np.ndarray) -> np.ndarray | None:
        if self.temperature == 1:
            return None
        codes = pd.factorize(languages, sort=True)[0]
        amount_of = np.bincount(codes, weights=amounts)
        tempered = amount_of ** (1 / self.temperature)
        repeats: np.ndarray = (tempered / tempered.sum() * amount_of.sum() / amount_of)[codes]
        return repeats


@dataclass(kw_only=True)
class TwoLevel:
    """mHuBERT-147's two levels (arXiv 2406.06371; `get_language_distribution` in `hubert_dataset.py` of its fairseq
    fork): a language is drawn in proportion to n_l ** alpha, n_l being its size, and a dataset inside it in proportion to
    (n_lx / n_l) ** beta. The length of a pass stays the same. With alpha = beta = 1 the corpus stays as it is; 0 makes
    all equal.

    Args:
        alpha: power of the languages' sizes (0.7 in mHuBERT-147's training).
        beta: power of the datasets' sizes within a language (0.9 there).
        by: what a size is: hours of audio (or characters of text), or the number of utterances, as there in training.
    """

    alpha: Annotated[float, Field(ge=0)]
    beta: Annotated[float, Field(ge=0)]
    by: Literal["hours", "utterances"] = "utterances"

    def repeats(self, amounts: np.ndarray, *, languages: np.ndarray, datasets: np.ndarray) -> np.ndarray | None:
        language_N, dataset_N = (pd.factorize(names, sort=True)[0] for names in (languages, datasets))
        pair_N, pair_P = pd.factorize(language_N * (dataset_N.max() + 1) + dataset_N, sort=True)
        language_P = pair_P // (dataset_N.max() + 1)
        size_P = np.bincount(pair_N, weights=amounts if self.by == "hours" else None).astype(float)
        size_of = np.bincount(language_P, weights=size_P)
        tempered_P = (size_P / size_of[language_P]) ** self.beta
        within_P = tempered_P / np.bincount(language_P, weights=tempered_P)[language_P]
        tempered = (size_of / size_of.sum()) ** self.alpha
        share_P = (tempered / tempered.sum())[language_P] * within_P
        repeats: np.ndarray = (share_P * size_P.sum() / size_P)[pair_N]
        return repeats


@dataclass(kw_only=True)
class Replay:
    """Continued training on new languages beside a little of the old ones, so that these are not forgotten (experience replay): a
    fixed share of the audio of a pass is of the old languages; each side is as it is in the corpus.

    Args:
        new: languages that are learnt; all others are old.
        share: of the audio, that is of the old ones.
    """

    new: list[str]
    share: Annotated[float, Field(gt=0, lt=1)] = 0.2

    def repeats(self, amounts: np.ndarray, *, languages: np.ndarray, datasets: np.ndarray) -> np.ndarray | None:
        """See `SamplingLaw`.

        Raises:
            ValueError: one side has nothing.
        """
        new_N = np.isin(languages, self.new)
        if unknown := sorted(set(self.new) - set(languages)):
            raise ValueError(
                f"loading.sampling.new: no training utterance is of {', '.join(unknown)}, only of "
                f"{', '.join(sorted(set(languages)))}"
            )
        if new_N.all() or not new_N.any():
            raise ValueError(
                f"loading.sampling.new={self.new}: the training utterances are of {', '.join(sorted(set(languages)))}, "
                f"so there is {'nothing to replay' if new_N.all() else 'nothing new'}. Give both sides, and name the new ones"
            )
        total, of_new = amounts.sum(), amounts[new_N].sum()
        repeats: np.ndarray = np.where(new_N, (1 - self.share) * total / of_new, self.share * total / (total - of_new))
        return repeats


@dataclass(kw_only=True)
class Crops:
    """All examples of a batch cut to one length, from a random place each: no padding, whatever the lengths (fairseq's
    `random_crop`). The length is that of the shortest, `max_s` at most.

    Args:
        max_s: longest crop, in seconds (15.625 in HuBERT's and mHuBERT-147's training).
    """

    max_s: PositiveFloat

    def draws(self, batch: Sequence[int], durations_s: np.ndarray, *, rng: np.random.Generator) -> list[Draw]:
        """A crop of each example; an example that is as short as its crop is whole."""
        given_s = durations_s[batch]
        length_s = min(float(given_s.min()), self.max_s)
        starts_s = rng.uniform(0, 1, len(batch)) * (given_s - length_s)
        rows = zip(batch, starts_s.tolist(), (given_s <= length_s).tolist(), strict=True)
        return [Draw(index) if whole else Draw(index, start_s, length_s) for index, start_s, whole in rows]
