"""The tokens a model can emit, counted from its training transcripts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlsuperb.runtime.files import write_atomic
from mlsuperb.runtime.messages import some
from mlsuperb.types import IGNORED

UNKNOWN = "<unk>"


class Vocabulary:
    """Tokens and their indices.

    Laid out as ESPnet's token lists (`asr.sh` stage 5): the objective's first specials (`<blank>`, `<unk>`), then the
    training tokens by falling frequency, then its last special (`<sos/eos>`). An objective without specials, such as a
    classifier, gets the training tokens alone.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = list(tokens)
        self._index = {token: index for index, token in enumerate(self.tokens)}
        if len(self._index) != len(self.tokens):
            repeated = [token for token, count in Counter(self.tokens).items() if count > 1]
            raise ValueError(f"a token list must not repeat tokens; repeated: {repeated[:5]}")
        self._unknown = self._index.get(UNKNOWN, IGNORED)

    @classmethod
    def build(cls, sequences: Iterable[Sequence[str]], *, specials: Sequence[str]) -> Vocabulary:
        """Count the tokens of the training targets; ties keep the order in which they were first seen.

        Raises:
            ValueError: there is nothing to count.
        """
        counts: Counter[str] = Counter()
        for sequence in sequences:
            counts.update(sequence)
        ranked = [token for token, _ in counts.most_common() if token not in specials]
        if not ranked:
            raise ValueError(
                "the training split holds no text to build a vocabulary from; look at its skip report "
                "(`mlsuperb data describe data=...`) and at the language and dataset filters"
            )
        return cls([*specials[:-1], *ranked, *specials[-1:]])

    def __len__(self) -> int:
        return len(self.tokens)

    def record(self) -> dict[str, Any]:
        """Their number, and a hash of the tokens in the order of their indices."""
        return {"num_tokens": len(self), "sha256": hashlib.sha256("\n".join(self.tokens).encode()).hexdigest()}

    def encode(self, tokens: Iterable[str]) -> np.ndarray:
        """Indices of `tokens`, int64; what is not listed becomes `<unk>`, or `IGNORED` where there is no such token."""
        return np.array([self._index.get(token, self._unknown) for token in tokens], dtype=np.int64)

    def decode(self, indices: Iterable[int]) -> list[str]:
        """The tokens at `indices`."""
        return [self.tokens[index] for index in indices]

    def save(self, path: Path) -> None:
        """Write one token per line, in the order of their indices."""
        write_atomic(path, (f"{token}\n" for token in self.tokens))

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read what `save` wrote.

        Raises:
            ValueError: the file is damaged.
        """
        try:
            tokens = path.read_text(encoding="utf-8").split("\n")
            if tokens.pop() or not all(tokens):
                raise ValueError("a line is empty, or the last one is cut short")
            return cls(tokens)
        except ValueError as error:
            raise ValueError(f"{path} is no list of tokens ({error}). Restore a copy of the run") from error


def unknown_among(references: Counter[str], known: Container[str], *, what: str, most: float = 0.1) -> str:
    """`23 of 51 phones of the references, 45.2 % of all (ll, oo, tt, ...)`: the tokens that are not known, the most frequent
    first; an empty string where they are no more than the share `most` of all.

    Args:
        references: tokens of references, and how often each occurs.
        what: the tokens are: `phones`.
    """
    unknown = [token for token, _ in references.most_common() if token not in known]
    share = sum(references[token] for token in unknown) / max(1, references.total())
    if share <= most:
        return ""
    return f"{len(unknown):,} of {len(references):,} {what} of the references, {100 * share:.1f} % of all ({some(unknown)})"
