"""CTC between the blocks of a head."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.heads.conformer import ConformerHead
from mlsuperb.heads.e_branchformer import EBranchformerHead
from mlsuperb.heads.linear import LinearHead
from mlsuperb.heads.transformer import TransformerHead
from mlsuperb.layers.masks import valid_mask
from mlsuperb.objectives.ctc import CTC
from mlsuperb.objectives.ctc_hierarchical import HierarchicalCTC
from mlsuperb.types import Encoded

SMALL = {"size": 16, "num_blocks": 3, "num_heads": 2, "ffn_size": 32, "frontend": "conv1d2", "projection": None}
HEADS = {"transformer": TransformerHead, "conformer": ConformerHead, "e_branchformer": EBranchformerHead}
TARGETS_BS, TARGET_LENGTHS_B = torch.tensor([[3, 1, 2], [4, 2, 0], [3, 1, 0]]), torch.tensor([3, 2, 1])
LENGTHS_B = torch.tensor([24, 17, 9])


def make(kind: str = "transformer", **settings: object) -> tuple[nn.Module, HierarchicalCTC]:
    torch.manual_seed(0)
    head = HEADS[kind](input_size=8, **SMALL).eval()
    settings = {"blocks": [1, 2], "language_blocks": [1], **settings}
    return head, HierarchicalCTC(input_size=16, vocab_size=6, **settings).eval()


def feats() -> Tensor:
    return torch.randn(3, 24, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("conditioned", [False, True])
def test_the_loss_is_that_of_each_depth(conditioned: bool) -> None:
    """Block by block, with what each one's CTC says added to the stream."""
    head, objective = make(self_conditioned=conditioned, inner_weight=0.3)
    encoded = head(feats(), LENGTHS_B, objective.taps())
    values_BFH, frames_B = (
        head.positions(head.frontend(head.norm(feats(), LENGTHS_B), LENGTHS_B)),
        head.num_frames(LENGTHS_B),
    )
    inner = []
    for number, block in enumerate(head.blocks, start=1):
        values_BFH = block(values_BFH, valid_mask(frames_B, values_BFH.shape[1]), None)
        if number == 3:
            break
        normed = Encoded(head.final_norm(values_BFH), frames_B)
        length_B = torch.ones_like(TARGET_LENGTHS_B) if number == 1 else TARGET_LENGTHS_B
        inner.append(CTC.forward(objective, normed, TARGETS_BS, length_B).loss)
        if conditioned:
            values_BFH = values_BFH + objective.condition(objective.out(normed.values).softmax(-1))
    outer = CTC.forward(objective, Encoded(head.final_norm(values_BFH), frames_B), TARGETS_BS, TARGET_LENGTHS_B).loss
    found = objective(encoded, TARGETS_BS, TARGET_LENGTHS_B).loss
    torch.testing.assert_close(found, 0.7 * outer + 0.3 * (inner[0] + inner[1]) / 2)


@pytest.mark.parametrize("kind", HEADS)
def test_padding_changes_nothing_and_everything_is_trained(kind: str) -> None:
    head, objective = make(kind)
    together = head(feats(), LENGTHS_B, objective.taps())
    for row, length in enumerate(LENGTHS_B.tolist()):
        alone = head(feats()[row : row + 1, :length], LENGTHS_B[row : row + 1], objective.taps())
        frames = int(alone.lengths_B)
        torch.testing.assert_close(together.values[row, :frames], alone.values[0], atol=1e-5, rtol=1e-5)
        for block, values_BFH in alone.inner.items():
            torch.testing.assert_close(together.inner[block][row, :frames], values_BFH[0], atol=1e-5, rtol=1e-5)
    objective(together, TARGETS_BS, TARGET_LENGTHS_B).loss.backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in objective.parameters())
    assert objective.condition.weight.grad.any()


def test_dropout_is_before_the_loss_alone() -> None:
    head, objective = make(dropout=0.5)
    objective.train()
    first, second = (head(feats(), LENGTHS_B, objective.taps()).values for _ in range(2))
    assert torch.equal(first, second)
    losses = [
        objective(head(feats(), LENGTHS_B, objective.taps()), TARGETS_BS, TARGET_LENGTHS_B).loss for _ in range(2)
    ]
    assert losses[0] != losses[1]


def test_a_head_that_shows_no_blocks_is_refused() -> None:
    _, objective = make()
    encoded = LinearHead(input_size=16)(torch.randn(3, 9, 16), torch.tensor([9, 9, 9]), objective.taps())
    with pytest.raises(ValueError, match=r"objective.blocks=\[1, 2\], but the head shows its blocks \[\]"):
        objective(encoded, TARGETS_BS, TARGET_LENGTHS_B)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (["head=linear"], "objective.blocks=[1]: head=linear has no blocks before its last"),
        (["objective.blocks=[1,2]"], "objective.blocks=[1, 2]: head=transformer has blocks 1 to 1 before its last"),
        (
            ["head=conformer", "objective.language_blocks=[3]"],
            "objective.language_blocks=[3]: [3] is not in objective.blocks",
        ),
        (
            ["task=asr", "objective.language_blocks=[1]"],
            "objective.language_blocks names the language, which task=asr does not",
        ),
    ],
)
def test_settings_that_do_not_go_together(settings: list[str], problem: str) -> None:
    found = find_problems(compose(["objective=ctc_hierarchical", *settings]))
    assert any(one.startswith(problem) for one in found), found


def test_the_language_comes_first_where_the_task_names_it() -> None:
    for task, blocks in (("asr_lid", [1]), ("asr", [])):
        config = compose(["objective=ctc_hierarchical", f"task={task}"])
        assert config["objective"]["language_blocks"] == blocks
        assert find_problems(config) == []
