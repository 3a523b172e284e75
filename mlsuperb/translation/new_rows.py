"""New languages on rows of the embedding that no token uses, so that no table is resized.

Letters: N new languages, D hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear

from mlsuperb.adaptation.inplace import change_class

if TYPE_CHECKING:
    from mlsuperb.translation.translator import Translator

MEAN = "mean"  # in place of a language: begin as the mean of all of them


class NewRows(nn.Module):
    """Rows of a table, each a parameter (D,) of its own: the table itself can stay frozen, and only the rows are saved.

    Args:
        rows: language code -> initial value.
        tokens: language code -> token.
    """

    tokens_N: Tensor

    def __init__(self, rows: Mapping[str, Tensor], tokens: Mapping[str, int]) -> None:
        super().__init__()
        self._names = [f"language_{code}" for code in rows]  # a bare code could be a method's name (`cpu`)
        for name, row in zip(self._names, rows.values(), strict=True):
            self.register_parameter(name, nn.Parameter(row.detach().clone()))
        self.register_buffer("tokens_N", torch.tensor([tokens[code] for code in rows]), persistent=False)

    def table(self) -> Tensor:
        """(N, D)."""
        return torch.stack([getattr(self, name) for name in self._names])


class EmbeddingWithNewRows(nn.Module):
    """An embedding in which the tokens of `new_rows` have the rows of these. The embedding multiplies its rows by `scale`. The
    new rows stand in a tuple, so that they are no module of the embedding's own: their parameters have one name only."""

    new_rows: tuple[NewRows]
    scale: float

    def forward(self, tokens: Tensor) -> Tensor:
        """(...) -> (..., D)."""
        values: Tensor = super().forward(tokens)
        (rows,) = self.new_rows
        is_new = tokens[..., None] == rows.tokens_N
        new = embedding(is_new.int().argmax(-1), rows.table()) * self.scale
        return torch.where(is_new.any(-1, keepdim=True), new.to(values.dtype), values)


class OutputWithNewRows(nn.Module):
    """An output layer that scores the tokens of `new_rows` (see `EmbeddingWithNewRows`) by the rows of these."""

    new_rows: tuple[NewRows]

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., D) -> (..., V)."""
        logits: Tensor = super().forward(hidden)
        (rows,) = self.new_rows
        # in place: logits are the largest tensor of a training, and a linear layer's gradient does not need them
        return logits.index_copy_(-1, rows.tokens_N, linear(hidden, rows.table()).to(logits.dtype))


def add_languages(
    translator: Translator, new: Mapping[str, str], *, inputs: Mapping[nn.Embedding, float], output: nn.Linear,
    unused: Sequence[int],
) -> None:  # fmt: skip
    """Give a translator languages that it has no token for, in place: each gets an unused row of the embedding, and of the output
    layer, which begins as that of a language of the model.

    Args:
        new: code of a new language -> code of the language of the model as which it begins, or `mean` (of all languages).
        inputs: embeddings -> what each multiplies its rows by; all have one table.
        output: the output layer; where it has the same table, it has the same new rows.
        unused: rows that may be taken, in this order.

    Raises:
        ValueError: there are too few rows, or a code is not what it should be.
    """
    _check(new, translator.languages, unused)
    tokens = dict(zip(new, unused, strict=False))
    table = next(iter(inputs)).weight
    tables = {"inputs": table} if output.weight is table else {"inputs": table, "outputs": output.weight}
    old = translator.languages
    for name, weight in tables.items():
        mean = weight[sorted(set(old.values()))].mean(0)
        begin = {code: mean if other == MEAN else weight[old[other]] for code, other in new.items()}
        translator.new_rows[name] = NewRows(begin, tokens)
    for one, scale in inputs.items():
        one.new_rows, one.scale = (translator.new_rows["inputs"],), scale  # type: ignore[assignment]
        change_class(one, EmbeddingWithNewRows)
    output.new_rows = (translator.new_rows[list(tables)[-1]],)  # type: ignore[assignment]
    change_class(output, OutputWithNewRows)
    translator.languages = {**old, **tokens}
    translator.new_tokens = frozenset(tokens.values())


def _check(new: Mapping[str, str], languages: Mapping[str, int], unused: Sequence[int]) -> None:
    if known := sorted(set(new) & set(languages)):
        raise ValueError(
            f"model.new_languages names {', '.join(known)}, which the model has a token for already: leave it out (and out of "
            "model.language_codes, if it stands there)"
        )
    for code, other in new.items():
        if other != MEAN and other not in languages:
            raise ValueError(
                f"model.new_languages.{code}={other}: the model has no language {other!r} to begin as. Give {MEAN}, or one of "
                f"{', '.join(sorted(languages))}"
            )
    if len(new) > len(unused):
        raise ValueError(
            f"model.new_languages has {len(new)} languages ({', '.join(new)}), and the embedding of this model has {len(unused)} "
            "unused rows. Let the others write with the token of a related language, which is then trained with them: "
            "+model.language_codes.CODE=CODE_OF_THE_MODEL"
        )
