"""What every head promises, alone and under every objective. A new head is one line of HEADS, a new objective one line
of OBJECTIVES."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from mlsuperb.decoding.argmax import Argmax
from mlsuperb.decoding.base import Decoder
from mlsuperb.decoding.greedy import Greedy
from mlsuperb.decoding.joint_beam import JointBeam
from mlsuperb.heads.base import Head
from mlsuperb.heads.bilstm import BiLSTMHead
from mlsuperb.heads.conformer import ConformerHead
from mlsuperb.heads.e_branchformer import EBranchformerHead
from mlsuperb.heads.linear import LinearHead
from mlsuperb.heads.transformer import TransformerHead
from mlsuperb.objectives.base import Objective
from mlsuperb.objectives.classifier import UtteranceClassifier
from mlsuperb.objectives.ctc import CTC
from mlsuperb.objectives.ctc_attention import CTCAttention
from mlsuperb.types import Encoded

SIZE = {"projection": 12, "frontend": "conv1d2", "size": 24, "num_heads": 2, "ffn_size": 32, "num_blocks": 2}
CONFORMER = partial(ConformerHead, **SIZE, conv_kernel=5)
E_BRANCHFORMER = partial(EBranchformerHead, **SIZE, cgmlp_size=40, cgmlp_kernel=5, merge_kernel=3)
HEADS: dict[str, Callable[..., Head]] = {
    "linear": LinearHead,
    "linear_projected": partial(LinearHead, size=20),
    "bilstm": partial(BiLSTMHead, size=16),
    "bilstm_one_layer": partial(BiLSTMHead, size=16, num_layers=1, frontend="conv1d2"),
    "transformer": partial(TransformerHead, **SIZE),
    "transformer_conv2d2": partial(TransformerHead, **{**SIZE, "frontend": "conv2d2"}),
    "conformer": CONFORMER,
    "conformer_absolute": partial(CONFORMER, macaron=False, positions="absolute"),
    "e_branchformer": E_BRANCHFORMER,
    "e_branchformer_absolute": partial(E_BRANCHFORMER, macaron=True, positions="absolute"),
}


@dataclass(frozen=True)
class Case:
    """An objective, what makes it at known sizes, and the decoder that reads its posteriors."""

    make: Callable[..., Objective]
    decoder: Decoder


SMALL_DECODER = {"num_blocks": 1, "num_heads": 2, "ffn_size": 32}
OBJECTIVES = {
    "ctc": Case(CTC, Greedy()),
    "ctc_attention": Case(partial(CTCAttention, **SMALL_DECODER), JointBeam(beam_size=3)),
    "classifier": Case(UtteranceClassifier, Argmax()),
    "classifier_ecapa": Case(partial(UtteranceClassifier, pooling="channel_attentive_statistics"), Argmax()),
}

INPUT_SIZE, VOCAB_SIZE = 16, 12
NO_EFFECT = ("attention.key.bias", "conv.depthwise.bias")  # softmax and batch norm take a constant away: no gradient
LENGTHS = [40, 39, 23, 8, 7, 6, 3, 2, 1]

each_head = pytest.mark.parametrize("name", HEADS)
each_objective = pytest.mark.parametrize("objective_name", OBJECTIVES)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tensors are tiny here: threads would only wait for each other, tenfold beside other work."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


def make_head(name: str) -> Head:
    torch.manual_seed(0)
    return HEADS[name](input_size=INPUT_SIZE).eval()


def make_pair(name: str, objective_name: str) -> tuple[Head, Objective, Decoder]:
    head, case = make_head(name), OBJECTIVES[objective_name]
    return head, case.make(input_size=head.output_size, vocab_size=VOCAB_SIZE).eval(), case.decoder


def make_task(objective: Objective) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Eight utterances of three to six tokens, three frames and a pause each, and their targets; garbage beyond."""
    generator = torch.Generator().manual_seed(1)
    codes_VD = 2 * torch.randn(VOCAB_SIZE, INPUT_SIZE, generator=generator)
    num_tokens_B = torch.tensor([3, 4, 5, 6, 6, 5, 4, 3])
    order_BV = torch.rand(8, VOCAB_SIZE - 3, generator=generator).argsort()
    tokens_BS = 2 + order_BV[:, :6]  # none twice: a linear probe sees one frame and cannot put a blank between
    feats_BFD = codes_VD[tokens_BS].repeat_interleave(4, dim=1)
    feats_BFD[:, 3::4] = 0
    feats_BFD = feats_BFD + 0.2 * torch.randn(feats_BFD.shape, generator=generator)
    if objective.utterance_level:
        return feats_BFD, 4 * num_tokens_B, torch.arange(8)[:, None], torch.ones(8, dtype=torch.long)
    return feats_BFD, 4 * num_tokens_B, tokens_BS, num_tokens_B


def without_dropout(head: Head) -> Head:
    for module in head.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif hasattr(module, "dropout") and isinstance(module.dropout, float):  # attention, LSTM
            module.dropout = 0.0
    return head


@each_head
def test_padding_never_changes_a_result(name: str) -> None:
    head = make_head(name)
    lengths_B = torch.tensor(LENGTHS)
    feats_BFD = torch.randn(len(LENGTHS), 47, INPUT_SIZE)  # garbage behind every utterance
    together = head(feats_BFD, lengths_B)
    assert torch.equal(together.lengths_B, head.num_frames(lengths_B))
    assert (together.lengths_B >= 1).all()
    for row, length in enumerate(LENGTHS):
        alone = head(feats_BFD[row : row + 1, :length], lengths_B[row : row + 1])
        frames = int(alone.lengths_B)
        assert alone.values.shape == (1, frames, head.output_size)
        assert int(together.lengths_B[row]) == frames
        torch.testing.assert_close(together.values[row, :frames], alone.values[0], rtol=1e-4, atol=1e-5)
        assert not together.values[row, frames:].any()


@each_head
def test_padding_never_changes_a_training_step(name: str) -> None:
    """Batch norm may see the neighbours, but not what lies behind them."""
    feats_BFD, lengths_B = torch.randn(3, 60, INPUT_SIZE), torch.tensor([40, 23, 7])
    results, buffers = [], []
    for size in (40, 60):
        head = without_dropout(make_head(name)).train()
        encoded = head(feats_BFD[:, :size], lengths_B)
        results.append(encoded.values[:, : int(encoded.lengths_B.max())])
        buffers.append(list(head.buffers()))
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(buffers[0], buffers[1])


@each_head
def test_an_utterance_without_frames_gives_numbers(name: str) -> None:
    encoded = make_head(name)(torch.zeros(2, 9, INPUT_SIZE), torch.tensor([9, 0]))
    assert encoded.values.isfinite().all()
    assert int(encoded.lengths_B[1]) == 1


@each_head
@pytest.mark.parametrize("input_size", [1, 12, 33])
def test_any_input_size(name: str, input_size: int) -> None:
    if "conv2d" in name:
        input_size += 12  # what the projection cannot widen
    head = HEADS[name](input_size=input_size)
    assert head(torch.randn(1, 9, input_size), torch.tensor([9])).values.shape[2] == head.output_size


@each_head
@each_objective
def test_every_parameter_and_every_valid_frame_has_a_gradient(name: str, objective_name: str) -> None:
    head, objective, _ = make_pair(name, objective_name)
    feats_BFD, lengths_B, targets_BS, target_lengths_B = make_task(objective)
    feats_BFD.requires_grad_()
    objective.train()(head.train()(feats_BFD, lengths_B), targets_BS, target_lengths_B).loss.backward()
    parameters = {**dict(head.named_parameters()), **dict(objective.named_parameters(prefix="objective"))}
    for parameter_name, parameter in parameters.items():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        if not parameter_name.endswith(NO_EFFECT):
            assert parameter.grad.abs().sum() > 1e-6, parameter_name
    assert feats_BFD.grad is not None
    for grad_FD, length in zip(feats_BFD.grad, lengths_B.tolist(), strict=True):
        assert grad_FD.isfinite().all()
        assert grad_FD[: length - 2].abs().sum(1).all()  # a front end may leave the last ones
        assert not grad_FD[length:].any()


@each_head
def test_dropout_in_training_only(name: str) -> None:
    head, feats_BFD, lengths_B = make_head(name), torch.randn(1, 30, INPUT_SIZE), torch.tensor([30])
    assert torch.equal(head(feats_BFD, lengths_B).values, head(feats_BFD, lengths_B).values)
    head.train()
    same = torch.equal(head(feats_BFD, lengths_B).values, head(feats_BFD, lengths_B).values)
    assert same == (not any(isinstance(module, nn.Dropout) for module in head.modules()))


@each_head
@each_objective
def test_bf16_autocast_stays_close(name: str, objective_name: str) -> None:
    head, objective, _ = make_pair(name, objective_name)
    feats_BFD, lengths_B, targets_BS, target_lengths_B = make_task(objective)
    exact = head(feats_BFD, lengths_B)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = head(feats_BFD.bfloat16(), lengths_B)
        loss = objective(rough, targets_BS, target_lengths_B).loss
    torch.testing.assert_close(rough.values.float(), exact.values, atol=0.1, rtol=0.1)
    torch.testing.assert_close(loss, objective(exact, targets_BS, target_lengths_B).loss, atol=0.05, rtol=0.05)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


@each_head
@each_objective
def test_overfits_eight_utterances(name: str, objective_name: str) -> None:
    head, objective, decoder = make_pair(name, objective_name)
    feats_BFD, lengths_B, targets_BS, target_lengths_B = make_task(objective)
    parameters = [*head.parameters(), *objective.parameters()]
    optimizer = torch.optim.Adam(parameters, lr={"linear": 3e-2, "bilstm": 1e-2}.get(name.split("_")[0], 3e-3))
    expected = [row[:size].tolist() for row, size in zip(targets_BS, target_lengths_B, strict=True)]

    def errors() -> int:
        with torch.no_grad():
            encoded: Encoded = head.eval()(feats_BFD, lengths_B)
            posteriors = objective.eval().log_probs(encoded)
            decoded = decoder(posteriors.values, posteriors.lengths_B, objective.attention(encoded))
        found = [one.tokens for one in decoded]
        return sum(a != b for a, b in zip(found, expected, strict=True))

    assert errors() > 5
    for step in range(1, 401):
        loss = objective.train()(head.train()(feats_BFD, lengths_B), targets_BS, target_lengths_B).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        if step % 25 == 0 and errors() == 0:
            return
    pytest.fail(f"{errors()} of 8 utterances are wrong after {step} steps, loss {loss:.3f}")
