"""Several adaptations of one model, one for each of its stacks of Transformer blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlsuperb.adaptation.base import Adaptation, BlockAdaptation, train_only
from mlsuperb.adaptation.frozen import Frozen
from mlsuperb.upstreams.base import Stacked


@dataclass(kw_only=True)
class Several(Adaptation):
    """Each stack has an adaptation of its own; stacks without one are frozen.

    Args:
        stacks: by the name of the stack, the adaptation that works on it. Its setting `stack` is given by the name.

    Raises:
        ValueError: there is none, or one that does not work on a single stack.
    """

    stacks: Mapping[str, Adaptation]

    def __post_init__(self) -> None:
        if found := self.problems(stacks=self.stacks):
            raise ValueError(found[0])
        for name, part in self.stacks.items():
            if isinstance(part, BlockAdaptation):
                part.stack = name
            elif not isinstance(part, Frozen):
                raise ValueError(
                    f"adaptation.stacks.{name} is {type(part).__name__}, which does not work on a single stack of Transformer "
                    "blocks. Choose lora, houlsby, partial, full or another one that does, or frozen."
                )

    @classmethod
    def problems(cls, *, stacks: Mapping[str, Any]) -> list[str]:
        """What can be seen without a model."""
        if stacks:
            return [
                f"adaptation.stacks.{name}.stack={part['stack']}: the stack is given by the name already; remove it."
                for name, part in stacks.items()
                if isinstance(part, Mapping) and part.get("stack", name) != name
            ]
        return [
            "adaptation.stacks is empty, so nothing would be trained: give an adaptation for each stack "
            "(adaptation@adaptation.stacks.encoder=lora), or choose adaptation=frozen."
        ]

    def apply(self, model: Stacked) -> list[str]:
        """Applies each part; see `Adaptation.apply`.

        Raises:
            ValueError: the model has no stack of a given name, or refuses a part.
        """
        return train_only(model, [name for part in self.stacks.values() for name in part.apply(model)])

    def export(self, model: Stacked, folder: Path) -> None:
        """Writes the export of each part into a folder of its own, named by the stack."""
        for name, part in self.stacks.items():
            part.export(model, folder / name)
