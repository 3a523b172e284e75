"""CTC at several depths of the head, the first of which may name the language alone.

Letters: B batch, F frames, H encoded size, S target length, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from mlsuperb.objectives.base import Rate
from mlsuperb.objectives.ctc import CTC
from mlsuperb.types import Encoded, Loss, TaskFacts


class HierarchicalCTC(CTC):
    """CTC with the same output layer after some blocks of the head as well (intermediate CTC: Lee and Watanabe 2021, arXiv
    2102.03216): (1 - `inner_weight`) times the loss at the head's output plus `inner_weight` times the mean of those in between.

    `self_conditioned`: the posteriors in between go back into the stream through a linear layer (Nozaki and Komatsu 2021, arXiv
    2104.02724). After the `language_blocks` the target is the language token alone, so that the rest of the head knows the
    language: the hierarchical, LID-aware CTC of Chen et al. 2023 (arXiv 2302.12829), whose auxiliary CTC ESPnet calls `aux_ctc`.

    What comes out of a block goes through the head's final layer norm before CTC, as in ESPnet's Transformer and Conformer; its
    E-Branchformer leaves that out.

    Args:
        input_size: H, given by the head.
        vocab_size: V, given by the data.
        dropout: in front of the output layer.
        blocks: numbers of blocks, from 1, after which there is a CTC; less than the head has.
        language_blocks: those of them whose target is the language.
        inner_weight: ESPnet's `interctc_weight`.
        self_conditioned: ESPnet's `interctc_use_conditioning`.
    """

    def __init__(
        self,
        *,
        input_size: int,
        vocab_size: int,
        dropout: Rate = 0.0,
        blocks: Sequence[PositiveInt] = (1,),
        language_blocks: Sequence[PositiveInt] = (),
        inner_weight: Annotated[float, Field(gt=0, lt=1)] = 0.5,
        self_conditioned: bool = True,
    ) -> None:
        super().__init__(input_size=input_size, vocab_size=vocab_size, dropout=dropout)
        self.blocks = frozenset(blocks)
        self.language_blocks = frozenset(language_blocks)
        self.inner_weight = inner_weight
        self.condition = nn.Linear(vocab_size, input_size) if self_conditioned else None

    def taps(self) -> HierarchicalCTC:
        """This objective: it names the blocks, and computes what is added behind them."""
        return self

    def conditioning(self, normed_BFH: Tensor) -> Tensor | None:
        """See `Taps`."""
        if self.condition is None:
            return None
        with torch.autocast(normed_BFH.device.type, enabled=False):
            # without the dropout before the loss, as in ESPnet's `CTC.softmax`
            posteriors_BFV = self.out(normed_BFH.float()).softmax(-1)
        added_BFH: Tensor = self.condition(posteriors_BFV)
        return added_BFH

    def forward(
        self, encoded: Encoded, targets_BS: Tensor, target_lengths_B: Tensor, languages: Sequence[str] = ()
    ) -> Loss:
        """The weighted loss; an utterance that is too short counts by its whole text."""
        if encoded.inner.keys() != self.blocks:
            raise ValueError(
                f"objective.blocks={sorted(self.blocks)}, but the head shows its blocks {sorted(encoded.inner)}: choose a head "
                "with these blocks (transformer, conformer, e_branchformer)"
            )
        outer = super().forward(encoded, targets_BS, target_lengths_B, languages)
        inner = []
        for block, values_BFH in encoded.inner.items():
            lengths_B = target_lengths_B.clamp(max=1) if block in self.language_blocks else target_lengths_B
            inner.append(self.losses(Encoded(values_BFH, encoded.lengths_B), targets_BS, lengths_B).mean())
        weight = self.inner_weight
        return Loss((1 - weight) * outer.loss + weight * torch.stack(inner).mean(), outer.counts)

    @classmethod
    def misfits(cls, settings: Mapping[str, Any], *, head: Mapping[str, Any], task: TaskFacts) -> list[str]:
        """See `Objective`."""
        blocks, of_language = (list(settings.get(name, ())) for name in ("blocks", "language_blocks"))
        most = head.get("num_blocks", 0) - 1
        found = []
        if not blocks or max(blocks) > most:
            found.append(
                f"objective.blocks={blocks}: head={head.get('name')} has "
                + (f"blocks 1 to {most} before its last" if most > 0 else "no blocks before its last")
                + "; name some of them, or choose a head with more"
            )
        if extra := sorted(set(of_language) - set(blocks)):
            found.append(f"objective.language_blocks={of_language}: {extra} is not in objective.blocks={blocks}")
        if of_language and not task.has_language:
            found.append(
                f"objective.language_blocks names the language, which task={task.name} does not; use task=asr_lid"
            )
        return found
