"""Where dropout acts among the codes of positions, as in ESPnet's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mlsuperb.layers.positions import Positions, RelativePositions

FRAMES_BFH = torch.ones(2, 50, 64)


@pytest.mark.parametrize("dropped", ["absolute", "relative", "codes"])
def test_training_drops_out_frames_and_codes(dropped: str) -> None:
    def values(training: bool) -> Tensor:
        if dropped == "absolute":
            return Positions(dropout=0.25).train(training)(FRAMES_BFH)
        positions = RelativePositions(dropout=0.25).train(training)
        return positions.codes(FRAMES_BFH) if dropped == "codes" else positions(FRAMES_BFH)

    torch.manual_seed(0)
    trained, plain = values(True), values(False)
    gone = (trained == 0) & (plain != 0)
    assert float(gone.float().mean()) == pytest.approx(0.25, abs=0.02)
    torch.testing.assert_close(trained[~gone], plain[~gone] / 0.75)
