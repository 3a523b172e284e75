"""What every head offers: a stream of features goes in, an encoded stream comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor, nn

from mlsuperb.types import Encoded, Taps

Rate = Annotated[float, Field(ge=0, lt=1)]


class Head(nn.Module, ABC):
    """Contract, tested for every head: padding never changes a result, and every utterance, however short, gives at
    least one frame.

    Attributes:
        linear: whether an encoded frame is linear in its feature frame: then a mean that is taken from an utterance's
            features is missing from the mean of its encoded frames.
        output_size: H, the size of an encoded frame.
    """

    linear: ClassVar[bool] = False
    output_size: int

    @property
    def stages(self) -> dict[str, nn.Module]:
        """The parts on the way to the output, in order, for who wants to look inside (a forward hook). Each gives
        (B, F', H'), of which `num_frames(lengths_B)` frames are valid; what stands beyond means nothing."""
        return {}

    @abstractmethod
    def forward(self, feats_BFD: Tensor, lengths_B: Tensor, taps: Taps | None = None) -> Encoded:
        """Encode `feats_BFD`, of which `lengths_B` frames are valid; zero beyond the encoded lengths. `taps` are called
        behind blocks of a head that has `num_blocks` of them."""

    @abstractmethod
    def num_frames(self, lengths_B: Tensor) -> Tensor:
        """Encoded frames for so many feature frames."""
