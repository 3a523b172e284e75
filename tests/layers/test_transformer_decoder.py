"""Against ESPnet in scripts/parity_espnet.py."""

from __future__ import annotations

import pytest
import torch

from mlsuperb.layers import transformer_decoder
from mlsuperb.layers.transformer_decoder import TransformerDecoder

VOCAB_SIZE, SIZE, END = 7, 16, 6


def make_decoder() -> TransformerDecoder:
    torch.manual_seed(0)
    rates = {"dropout": 0.1, "position_dropout": 0.1, "attention_dropout": 0.1}
    return TransformerDecoder(SIZE, vocab_size=VOCAB_SIZE, num_blocks=2, num_heads=4, ffn_size=32, **rates).eval()


def test_padding_never_changes_a_result() -> None:
    decoder = make_decoder()
    tokens_BS, frames_BFH, lengths = torch.randint(0, VOCAB_SIZE, (3, 9)), torch.randn(3, 12, SIZE), [10, 1, 4]
    together = decoder(tokens_BS, frames_BFH, torch.tensor(lengths))
    for row, (length, num_tokens) in enumerate(zip(lengths, (9, 2, 5), strict=True)):
        alone = decoder(
            tokens_BS[row : row + 1, :num_tokens], frames_BFH[row : row + 1, :length], torch.tensor([length])
        )
        torch.testing.assert_close(together[row, :num_tokens], alone[0])


@pytest.mark.parametrize("tidy_every", [1, 3, 1000])
def test_scores_step_by_step_are_those_of_the_whole_texts(monkeypatch: pytest.MonkeyPatch, tidy_every: int) -> None:
    """Hypotheses branch, die out and leave; each must still have been scored as if it were alone."""
    monkeypatch.setattr(transformer_decoder, "TIDY_EVERY", tidy_every)
    decoder = make_decoder()
    frames_BFH, lengths_B, num = torch.randn(4, 12, SIZE), torch.tensor([12, 3, 7, 1]), 3
    texts = decoder.start(frames_BFH, lengths_B, first_token=END, num=num)
    tokens_BKS, rows_B = torch.full((4, num, 1), END), torch.arange(4)
    checked = 0
    for step in range(12):
        expected_PSV = decoder(
            tokens_BKS.flatten(0, 1),
            frames_BFH[rows_B].repeat_interleave(num, 0),
            lengths_B[rows_B].repeat_interleave(num),
        )
        torch.testing.assert_close(texts.log_probs_BKV.flatten(0, 1), expected_PSV[:, -1].log_softmax(-1))
        checked += len(expected_PSV)
        if step == 7:
            kept_B = torch.tensor([True, False, True, True])
            texts, tokens_BKS, rows_B = texts.select(kept_B), tokens_BKS[kept_B], rows_B[kept_B]
        parents_BK, chosen_BK = torch.randint(0, num, tokens_BKS.shape[:2]), torch.randint(1, END, tokens_BKS.shape[:2])
        texts = texts.extend(parents_BK=parents_BK, tokens_BK=chosen_BK)
        parents_BKS = parents_BK[..., None].expand_as(tokens_BKS)
        tokens_BKS = torch.cat([tokens_BKS.gather(1, parents_BKS), chosen_BK[..., None]], dim=2)
    assert checked == 8 * 12 + 4 * 9


def test_shared_histories_are_kept_once() -> None:
    decoder = make_decoder()
    texts = decoder.start(torch.randn(2, 5, SIZE), torch.tensor([5, 4]), first_token=END, num=10)
    first_BK = torch.zeros((2, 10), dtype=torch.long)
    for _ in range(64):
        texts = texts.extend(parents_BK=first_BK, tokens_BK=first_BK + 1)
    assert texts.own_BKM.sum(2).eq(65).all()
    assert texts.own_BKM.shape[2] < 65 + 10 * 10  # one history, and what the last steps left


def test_every_parameter_has_a_gradient() -> None:
    decoder = make_decoder().train()
    decoder(
        torch.randint(0, VOCAB_SIZE, (2, 30)), torch.randn(2, 5, SIZE), torch.tensor([5, 2])
    ).square().sum().backward()
    without = {
        name for name, parameter in decoder.named_parameters() if parameter.grad is None or not parameter.grad.any()
    }
    assert not without
