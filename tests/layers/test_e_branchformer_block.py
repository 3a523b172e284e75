from __future__ import annotations

import pytest
import torch

from mlsuperb.layers.attention import PositionKind
from mlsuperb.layers.e_branchformer import EBranchformerBlock
from mlsuperb.layers.positions import RelativePositions


def make_block(positions: PositionKind, *, macaron: bool = False) -> EBranchformerBlock:
    torch.manual_seed(0)
    return EBranchformerBlock(
        16,
        num_heads=2,
        ffn_size=24,
        cgmlp_size=20,
        cgmlp_kernel=5,
        merge_kernel=3,
        dropout=0.1,
        attention_dropout=0.1,
        macaron=macaron,
        positions=positions,
    ).eval()


@pytest.mark.parametrize("macaron", [True, False])
@pytest.mark.parametrize("positions", ["absolute", "relative"])
def test_padding_never_changes_a_result(positions: PositionKind, macaron: bool) -> None:
    block, codes = make_block(positions, macaron=macaron), RelativePositions(dropout=0.1).eval().codes
    values_BFH = torch.randn(3, 14, 16)  # garbage beyond each length
    for row, length in enumerate((12, 7, 1)):
        together_BFH = block(values_BFH, torch.arange(14) < torch.tensor([[12], [7], [1]]), codes(values_BFH))
        alone = values_BFH[row : row + 1, :length]
        alone_BFH = block(alone, torch.ones(1, length, dtype=torch.bool), codes(alone))
        torch.testing.assert_close(together_BFH[row, :length], alone_BFH[0])


def test_macaron_is_a_second_feed_forward_network() -> None:
    sizes = {
        macaron: sum(p.numel() for p in make_block("relative", macaron=macaron).parameters()) for macaron in (0, 1)
    }
    assert sizes[1] - sizes[0] == 2 * 16 * 24 + 16 + 24 + 2 * 16
