"""Against brute force over all paths; against ESPnet in scripts/parity_espnet.py."""

from __future__ import annotations

import itertools
from collections import defaultdict

import pytest
import torch
from torch import Tensor

from mlsuperb.decoding.ctc_prefix import Posteriors, Prefixes
from mlsuperb.decoding.greedy import Greedy
from mlsuperb.decoding.prefix_beam import PrefixBeam

Sequence = tuple[int, ...]


def sequence_probabilities(log_probs_FV: Tensor) -> dict[Sequence, float]:
    """Probability of every label sequence: the sum over all paths that spell it."""
    probs = log_probs_FV.double().exp().tolist()
    found: dict[Sequence, float] = defaultdict(float)
    for path in itertools.product(range(log_probs_FV.shape[1]), repeat=len(probs)):
        probability = 1.0
        for frame, token in enumerate(path):
            probability *= probs[frame][token]
        found[tuple(token for token, _ in itertools.groupby(path) if token != 0)] += probability
    return found


def prefix_probability(sequences: dict[Sequence, float], prefix: Sequence) -> float:
    return sum(p for sequence, p in sequences.items() if sequence[: len(prefix)] == prefix)


def search_by_hand(sequences: dict[Sequence, float], *, end: int, num_frames: int) -> Sequence:
    """Beam 1: the most probable extension at each step, until none is as probable as to end here."""
    prefix: Sequence = ()
    for _ in range(num_frames):
        extensions = {token: prefix_probability(sequences, (*prefix, token)) for token in range(1, end)}
        best = max(extensions, key=extensions.__getitem__)
        if sequences.get(prefix, 0.0) >= extensions[best]:
            break
        prefix = (*prefix, best)
    return prefix


def random_case(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    num_frames, sharpness = 1 + seed % 5, (1.0, 3.0, 8.0)[seed % 3]
    return (sharpness * torch.randn(num_frames, 5, generator=generator)).log_softmax(-1)


def decode(log_probs_FV: Tensor, *, beam_size: int) -> tuple[Sequence, float]:
    (decoded,) = PrefixBeam(beam_size=beam_size)(log_probs_FV[None], torch.tensor([len(log_probs_FV)]))
    return tuple(decoded.tokens), decoded.score


def test_beam_one_is_the_search_by_hand() -> None:
    lengths = set()
    for seed in range(60):
        log_probs_FV = random_case(seed)
        sequences = sequence_probabilities(log_probs_FV)
        tokens, score = decode(log_probs_FV, beam_size=1)
        assert tokens == search_by_hand(sequences, end=4, num_frames=len(log_probs_FV))
        assert score == pytest.approx(torch.tensor(sequences[tokens]).log().item(), abs=1e-5)
        lengths.add(len(tokens))
    assert lengths >= {0, 1, 2, 3}


def test_a_wide_beam_finds_the_most_probable_sequence() -> None:
    better_than_narrow = 0
    for seed in range(60):
        log_probs_FV = random_case(seed)
        sequences = {s: p for s, p in sequence_probabilities(log_probs_FV).items() if 4 not in s}
        tokens, score = decode(log_probs_FV, beam_size=200)
        assert tokens == max(sequences, key=sequences.__getitem__)
        assert score == pytest.approx(torch.tensor(sequences[tokens]).log().item(), abs=1e-5)
        better_than_narrow += score > decode(log_probs_FV, beam_size=1)[1] + 1e-6
    assert better_than_narrow > 0


def test_extension_scores_are_prefix_probabilities() -> None:
    log_probs_FV = random_case(4)
    assert len(log_probs_FV) == 5
    sequences = sequence_probabilities(log_probs_FV)
    posteriors = Posteriors.of(log_probs_FV[None], torch.tensor([5]))
    checked = 0
    for prefix in [(), (2,), (2, 2), (1, 3, 3), (3, 1, 2, 1)]:
        prefixes = Prefixes.empty(posteriors, num=1)
        for token in prefix:
            parents_BK = torch.zeros(1, 1, dtype=torch.long)
            prefixes = prefixes.extend(posteriors, parents_BK=parents_BK, tokens_BK=torch.tensor([[token]]))
        scores_V = prefixes.extension_scores(posteriors)[0, 0].exp()
        expected = [0.0, *(prefix_probability(sequences, (*prefix, token)) for token in (1, 2, 3)), sequences[prefix]]
        torch.testing.assert_close(scores_V, torch.tensor(expected, dtype=torch.double), rtol=1e-6, atol=1e-12)
        checked += 1
    assert checked == 5


@pytest.mark.parametrize("beam_size", [1, 4])
def test_an_utterance_decodes_alike_alone_and_in_any_batch(beam_size: int) -> None:
    torch.manual_seed(0)
    lengths_B = torch.tensor([25, 1, 40, 0, 2, 13, 40, 3])
    log_probs_BFV = (3 * torch.randn(8, 45, 20)).log_softmax(-1)
    garbage_BFV = torch.where((torch.arange(45) < lengths_B[:, None])[..., None], log_probs_BFV, torch.nan)
    together = PrefixBeam(beam_size=beam_size)(garbage_BFV, lengths_B)
    assert len(together) == 8
    for row, length in enumerate(lengths_B.tolist()):
        if length == 0:
            assert (together[row].tokens, together[row].score) == ([], 0.0)
            continue
        tokens, score = decode(log_probs_BFV[row, :length], beam_size=beam_size)
        assert tuple(together[row].tokens) == tokens
        assert together[row].score == pytest.approx(score, abs=1e-9)


def test_batches_too_large_for_the_memory_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    lengths_B, log_probs_BFV = torch.randint(1, 20, (9,)), (3 * torch.randn(9, 20, 10)).log_softmax(-1)
    whole = PrefixBeam()(log_probs_BFV, lengths_B)
    monkeypatch.setattr("mlsuperb.decoding.joint_beam.CHUNK_POSTERIORS", 450)  # two utterances
    assert [one.tokens for one in PrefixBeam()(log_probs_BFV, lengths_B)] == [one.tokens for one in whole]


def test_certain_posteriors_decode_as_their_best_path() -> None:
    torch.manual_seed(0)
    path_F = torch.randint(0, 9, (120,))
    for sharpness in (30.0, 1000.0):  # at 1000 everything else underflows even in fp64
        log_probs_BFV = (sharpness * torch.nn.functional.one_hot(path_F, 10).float()).log_softmax(-1)[None]
        lengths_B = torch.tensor([120])
        (expected,) = Greedy()(log_probs_BFV, lengths_B)
        (decoded,) = PrefixBeam()(log_probs_BFV, lengths_B)
        assert decoded.tokens == expected.tokens
        assert decoded.score == pytest.approx(expected.score, abs=1e-3)


def test_impossible_symbols() -> None:
    log_probs_FV = torch.full((6, 5), -torch.inf)
    log_probs_FV[torch.arange(6), torch.tensor([1, 1, 0, 1, 2, 2])] = 0
    for beam_size in (1, 3):
        assert decode(log_probs_FV, beam_size=beam_size) == ((1, 1, 2), pytest.approx(0, abs=1e-9))


def test_all_blank_is_empty() -> None:
    log_probs_FV = torch.tensor([[9.0, 0, 0, 0]] * 7).log_softmax(-1)
    assert decode(log_probs_FV, beam_size=1)[0] == ()


def test_prefix_search_sums_paths_which_greedy_does_not() -> None:
    probs_FV = torch.tensor([[0.4, 0.35, 0.249, 0.001]] * 2)
    assert Greedy()(probs_FV.log()[None], torch.tensor([2]))[0].tokens == []
    assert decode(probs_FV.log(), beam_size=1)[0] == (1,)
