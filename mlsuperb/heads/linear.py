"""The lightest head: the objective's own linear layer looks at the features.

Letters: B batch, F frames, D feature size, H encoded size.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import PositiveInt
from torch import Tensor, nn

from mlsuperb.heads.base import Head
from mlsuperb.heads.inputs import InputNorm, UtteranceNorm
from mlsuperb.layers.masks import zero_padding
from mlsuperb.types import Encoded, Taps


class LinearHead(Head):
    """Utterance normalisation and, by choice, a linear layer; every feature frame is an encoded frame.

    Args:
        input_size: D, given by the featurizer.
        input_norm: what each utterance is normalised to. It leaves nothing to a classifier, which takes the mean over an
            utterance, and which is refused with it.
        size: H, of a linear layer in front of the objective's; None for none, and H = D.

    Attributes:
        linear: see `Head`.
    """

    linear: ClassVar[bool] = True

    def __init__(self, *, input_size: int, input_norm: InputNorm = "none", size: PositiveInt | None = None) -> None:
        super().__init__()
        self.output_size = size or input_size
        self.norm = UtteranceNorm(input_norm)
        self.projection = nn.Identity() if size is None else nn.Linear(input_size, size)

    def forward(self, feats_BFD: Tensor, lengths_B: Tensor, taps: Taps | None = None) -> Encoded:
        frames_B = self.num_frames(lengths_B)
        return Encoded(zero_padding(self.projection(self.norm(feats_BFD, lengths_B)), frames_B), frames_B)

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return lengths_B.clamp(min=1)
