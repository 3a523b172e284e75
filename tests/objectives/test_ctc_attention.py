from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mlsuperb.objectives.ctc import CTC
from mlsuperb.objectives.ctc_attention import CTCAttention, smoothed_cross_entropy
from mlsuperb.types import Encoded

TINY: dict[str, Any] = {"num_blocks": 1, "num_heads": 2, "ffn_size": 16}


def make_objective(**settings: Any) -> CTCAttention:
    torch.manual_seed(0)
    return CTCAttention(input_size=8, vocab_size=6, **TINY | settings).eval()


def targets_of(*texts: list[int]) -> tuple[Tensor, Tensor]:
    padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], batch_first=True)
    return padded.long(), torch.tensor([len(text) for text in texts])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_smoothing_is_the_divergence_from_a_smoothed_target(smoothing: float) -> None:
    logits_BTV, targets_BT = torch.randn(2, 3, 5), torch.tensor([[0, 1, 4], [2, 2, 3]])
    found_BT = smoothed_cross_entropy(logits_BTV, targets_BT, smoothing=smoothing)
    for row in range(2):
        for place in range(3):
            log_probs = logits_BTV[row, place].log_softmax(-1).tolist()
            expected = 0.0
            for token, log_prob in enumerate(log_probs):
                share = 1 - smoothing if token == targets_BT[row, place] else smoothing / 4
                expected += share * (math.log(share) - log_prob) if share else 0
            assert found_BT[row, place].item() == pytest.approx(expected, abs=1e-5)


def test_the_loss_is_the_weighted_sum_over_the_batch_size() -> None:
    objective = make_objective(ctc_weight=0.4, label_smoothing=0.2)
    encoded, (targets_BS, lengths_B) = Encoded(torch.randn(2, 9, 8), torch.tensor([9, 6])), targets_of([1, 2, 2], [3])
    result = objective(encoded, targets_BS, lengths_B)
    total, wrong = 0.0, 0
    for row, text in enumerate(([1, 2, 2], [3])):
        one = encoded.values[row : row + 1, : encoded.lengths_B[row]]
        logits_BTV = objective.decoder(torch.tensor([[5, *text]]), one, encoded.lengths_B[row : row + 1])
        answers_BT = torch.tensor([[*text, 5]])
        total += float(smoothed_cross_entropy(logits_BTV, answers_BT, smoothing=0.2).sum().detach())
        wrong += int((logits_BTV.argmax(-1) != answers_BT).sum())
    ctc = objective.ctc(encoded, targets_BS, lengths_B).loss.item()
    assert result.loss.item() == pytest.approx(0.4 * ctc + 0.6 * total / 2, rel=1e-5)
    assert int(result.counts["num_attention_tokens"]) == 6
    assert int(result.counts["num_attention_errors"]) == wrong
    assert int(result.counts["num_unaligned"]) == 0


def test_padding_never_changes_a_loss() -> None:
    objective = make_objective()
    texts, lengths = [[1, 2, 3, 4], [2], []], [9, 7, 1]
    values_BFH, (targets_BS, target_lengths_B) = torch.randn(3, 12, 8), targets_of(*texts)
    garbage_BS = targets_BS + 3 * (torch.arange(4) >= target_lengths_B[:, None])
    together = objective(Encoded(values_BFH, torch.tensor(lengths)), garbage_BS, target_lengths_B)
    alone = [
        objective(Encoded(values_BFH[row : row + 1, :length], torch.tensor([length])), *targets_of(texts[row]))
        for row, length in enumerate(lengths)
    ]
    torch.testing.assert_close(together.loss, torch.stack([one.loss for one in alone]).mean())
    for name, number in together.counts.items():
        assert number == sum(one.counts[name] for one in alone), name


def test_an_utterance_too_short_for_ctc_still_trains_the_decoder() -> None:
    objective = make_objective()
    result = objective(Encoded(torch.randn(1, 2, 8), torch.tensor([2])), *targets_of([1, 1, 1]))
    assert int(result.counts["num_unaligned"]) == 1
    result.loss.backward()
    assert result.loss.isfinite()
    assert objective.decoder.out.weight.grad is not None
    assert objective.decoder.out.weight.grad.any()


def test_every_parameter_has_a_gradient() -> None:
    objective = make_objective().train()
    objective(Encoded(torch.randn(2, 9, 8), torch.tensor([9, 7])), *targets_of([1, 2, 3], [4, 2])).loss.backward()
    parameters = dict(objective.named_parameters())
    # of the embedding, the tokens that were read
    assert not [name for name, one in parameters.items() if one.grad is None or not one.grad.any()]
    assert len(parameters) == len(dict(objective.ctc.named_parameters())) + len(
        dict(objective.decoder.named_parameters())
    )


def test_losses_and_posteriors_are_fp32_under_autocast() -> None:
    objective = make_objective()
    encoded, targets = Encoded(torch.randn(2, 9, 8).bfloat16(), torch.tensor([9, 7])), targets_of([1, 2, 3], [4, 2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result, posteriors = objective(encoded, *targets), objective.log_probs(encoded)
        texts = objective.attention(encoded).start(torch.tensor([1, 0]), num=2)
    assert result.loss.dtype == posteriors.values.dtype == texts.log_probs_BKV.dtype == torch.float32
    exact = objective(Encoded(encoded.values.float(), encoded.lengths_B), *targets)
    assert result.loss.item() == pytest.approx(exact.loss.item(), rel=0.02)


def test_the_decoder_listens_to_the_rows_it_is_asked_for() -> None:
    objective, encoded = make_objective(), Encoded(torch.randn(3, 9, 8), torch.tensor([9, 2, 7]))
    some = objective.attention(encoded).start(torch.tensor([2, 0]), num=1)
    for place, row in enumerate((2, 0)):
        one = objective.attention(encoded).start(torch.tensor([row]), num=1)
        torch.testing.assert_close(some.log_probs_BKV[place], one.log_probs_BKV[0])


def test_posteriors_and_vocabulary_are_those_of_ctc() -> None:
    objective, encoded = make_objective(), Encoded(torch.randn(2, 9, 8), torch.tensor([9, 7]))
    assert torch.equal(objective.log_probs(encoded).values, objective.ctc.log_probs(encoded).values)
    assert (CTCAttention.specials, CTCAttention.utterance_level) == (CTC.specials, CTC.utterance_level)
    assert CTC(input_size=8, vocab_size=6).attention(encoded) is None


def test_frames_that_a_decoder_cannot_read() -> None:
    with pytest.raises(ValueError, match=r"objective\.num_heads is 3, the head gives frames of 8: choose"):
        make_objective(num_heads=3)
    with pytest.raises(ValueError, match=r"an even frame size, the head gives frames of 9: "):
        CTCAttention(input_size=9, vocab_size=6, **TINY)


def test_the_recipes_decoder_has_the_size_that_is_documented() -> None:
    parameters = CTCAttention(input_size=256, vocab_size=500).decoder.parameters()
    blocks = 6 * (2 * 4 * (256 * 256 + 256) + 2 * 256 * 2048 + 2048 + 256 + 3 * 2 * 256)
    assert sum(one.numel() for one in parameters) == blocks + 2 * 256 + 2 * 500 * 256 + 500
