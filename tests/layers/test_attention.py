from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mlsuperb.layers import attention as module
from mlsuperb.layers.attention import Attention, RelativeAttention, attend, shift
from mlsuperb.layers.positions import RelativePositions

SIZE, HEADS = 8, 2


def test_shift_brings_each_distance_to_its_key() -> None:
    for frames in (1, 2, 3, 7):
        scores_BNFR = torch.randn(2, 3, frames, 2 * frames - 1)
        shifted = shift(scores_BNFR)
        assert shifted.shape == (2, 3, frames, frames)
        for query in range(frames):
            for key in range(frames):
                assert torch.equal(shifted[..., query, key], scores_BNFR[..., query, frames - 1 - (query - key)])


def test_long_utterances_are_attended_to_in_pieces_with_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    attention = RelativeAttention(SIZE, num_heads=HEADS, dropout=0.1).eval()
    for frames, piece in ((13, 5), (13, 6), (13, 12), (4, 1), (7, 7)):  # the last piece: 3, 1, 1, 1 and all
        values_BFH = torch.randn(2, frames, SIZE, requires_grad=True)
        valid_BF = torch.arange(frames) < torch.tensor([[frames], [frames - 2]])
        codes_RH = RelativePositions(dropout=0.1).eval().codes(values_BFH)
        found = []
        for at_once in (frames, 2):
            monkeypatch.setattr(module, "AT_ONCE", at_once)
            monkeypatch.setattr(module, "PIECE", piece)
            mixed_BFH = attend(attention, values_BFH, valid_BF, codes_RH)
            (gradient_BFH,) = torch.autograd.grad(mixed_BFH.square().sum(), values_BFH)
            found.append((mixed_BFH, gradient_BFH))
        for whole, pieces in zip(*found, strict=True):
            assert whole.shape == pieces.shape
            torch.testing.assert_close(pieces, whole)


class Largest(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that was made."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        sizes = [
            one.numel()
            for one in (made if isinstance(made, (tuple, list)) else [made])
            if isinstance(one, torch.Tensor)
        ]
        self.elements = max(self.elements, *sizes, 0)
        return made


def test_memory_grows_with_the_length_and_not_with_its_square() -> None:
    """No tensor holds the scores of all pairs, nor of half of them."""
    attention, num = RelativeAttention(SIZE, num_heads=HEADS, dropout=0.1).eval(), 8 * 512
    codes_RH = RelativePositions(dropout=0.1).eval().codes(torch.zeros(1, num, SIZE))
    with torch.inference_mode(), Largest() as largest:
        attend(attention, torch.randn(1, num, SIZE), torch.ones(1, num, dtype=torch.bool), codes_RH)
    assert largest.elements < HEADS * num * num / 3


def test_codes_are_waves_of_the_distance() -> None:
    codes_RH = RelativePositions(dropout=0.1).eval().codes(torch.zeros(1, 4, SIZE))
    assert codes_RH.shape == (7, SIZE)
    for row, distance in enumerate((3, 2, 1, 0, -1, -2, -3)):
        for pair in range(SIZE // 2):
            angle = distance / 10000 ** (2 * pair / SIZE)
            expected = torch.tensor([math.sin(angle), math.cos(angle)])
            torch.testing.assert_close(codes_RH[row, 2 * pair : 2 * pair + 2], expected)


def test_relative_attention_is_the_formula_of_transformer_xl() -> None:
    """(q + u) k + (q + v) W r_(i - j), query by query and key by key."""
    torch.manual_seed(0)
    attention = RelativeAttention(SIZE, num_heads=HEADS, dropout=0.1).eval()
    values_BFH, valid_BF = torch.randn(2, 5, SIZE), torch.arange(5) < torch.tensor([[5], [3]])
    codes_RH = RelativePositions(dropout=0.1).eval().codes(values_BFH)
    found_BFH = attend(attention, values_BFH, valid_BF, codes_RH)
    u_NK, v_NK = attention.content_bias_NK, attention.position_bias_NK
    part = SIZE // HEADS
    for row, length in enumerate((5, 3)):
        values_FH = values_BFH[row, :length]
        query, key, value = (layer(values_FH) for layer in (attention.query, attention.key, attention.value))
        for frame in range(length):
            context = []
            for head in range(HEADS):
                own = slice(head * part, (head + 1) * part)
                scores = [
                    (query[frame, own] + u_NK[head]) @ key[other, own]
                    + (query[frame, own] + v_NK[head]) @ attention.position(codes_RH[4 - (frame - other)])[own]
                    for other in range(length)
                ]
                context.append((torch.stack(scores) / math.sqrt(part)).softmax(0) @ value[:, own])
            torch.testing.assert_close(found_BFH[row, frame], attention.out(torch.cat(context)))


def test_attention_to_another_sequence() -> None:
    torch.manual_seed(0)
    attention = Attention(SIZE, num_heads=HEADS, dropout=0.1).eval()
    reference = torch.nn.MultiheadAttention(SIZE, HEADS, batch_first=True).eval()
    three = (attention.query, attention.key, attention.value)
    reference.in_proj_weight.data = torch.cat([layer.weight for layer in three]).detach()
    reference.in_proj_bias.data = torch.cat([layer.bias for layer in three]).detach()
    reference.out_proj.load_state_dict(attention.out.state_dict())
    queries_BQH, memory_BFH = torch.randn(2, 4, SIZE), torch.randn(2, 6, SIZE)
    valid_BF = torch.arange(6) < torch.tensor([[6], [2]])
    expected_BQH, _ = reference(queries_BQH, memory_BFH, memory_BFH, key_padding_mask=~valid_BF)
    torch.testing.assert_close(attention(queries_BQH, memory_BFH, valid_BF[:, None, None]), expected_BQH)


@pytest.mark.parametrize("relative", [True, False])
def test_dropout_of_attention_weights_in_training_only(relative: bool) -> None:
    attention = (RelativeAttention if relative else Attention)(SIZE, num_heads=HEADS, dropout=0.5)
    values_BFH, valid_BF = torch.randn(1, 9, SIZE), torch.ones(1, 9, dtype=torch.bool)
    codes_RH = RelativePositions(dropout=0.0).codes(values_BFH)
    for training in (True, False):
        attention.train(training)
        first, second = (attend(attention, values_BFH, valid_BF, codes_RH) for _ in range(2))
        assert torch.equal(first, second) is not training
