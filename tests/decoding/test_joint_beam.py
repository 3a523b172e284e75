"""Against exhaustive search and a search by hand; against ESPnet in scripts/parity_espnet.py."""

from __future__ import annotations

import itertools
import math
from functools import cache

import pytest
import torch
from torch import Tensor

from mlsuperb.decoding import joint_beam
from mlsuperb.decoding.base import Decoded
from mlsuperb.decoding.joint_beam import JointBeam
from mlsuperb.decoding.prefix_beam import PrefixBeam
from mlsuperb.objectives.ctc_attention import CTCAttention
from mlsuperb.types import Encoded

END, SIZE = 4, 8
VOCAB_SIZE = END + 1
Text = tuple[int, ...]


def make_objective(*, sharpness: float = 6.0, vocab_size: int = VOCAB_SIZE, blank_bias: float = 0.0) -> CTCAttention:
    torch.manual_seed(1)
    objective = CTCAttention(input_size=SIZE, vocab_size=vocab_size, num_blocks=1, num_heads=2, ffn_size=16).eval()
    with torch.no_grad():
        for layer in (objective.decoder.out, objective.ctc.out):
            layer.weight *= sharpness
        objective.ctc.out.bias[0] += blank_bias
    return objective.requires_grad_(False)


def decode(search: JointBeam, objective: CTCAttention, encoded: Encoded) -> list[Decoded]:
    return search(objective.log_probs(encoded).values, encoded.lengths_B, objective.attention(encoded))


class ByHand:
    """What each scorer says of a text, one at a time: CTC by summing over all paths, the decoder on whole texts."""

    def __init__(self, search: JointBeam, objective: CTCAttention, frames_FH: Tensor) -> None:
        self.search, self.objective, self.frames_FH = search, objective, frames_FH
        self.num_frames = len(frames_FH)
        log_probs_FV = objective.ctc.out(frames_FH).log_softmax(-1).double()
        self.sequences: dict[Text, float] = {}
        for path in itertools.product(range(VOCAB_SIZE), repeat=self.num_frames):
            text = tuple(token for token, _ in itertools.groupby(path) if token != 0)
            probability = math.exp(sum(float(log_probs_FV[frame, token]) for frame, token in enumerate(path)))
            self.sequences[text] = self.sequences.get(text, 0.0) + probability
        self.next_log_probs = cache(self._next_log_probs)

    def _next_log_probs(self, text: Text) -> list[float]:
        tokens_BS = torch.tensor([[END, *text]])
        logits_BSV = self.objective.decoder(tokens_BS, self.frames_FH[None], torch.tensor([self.num_frames]))
        found: list[float] = logits_BSV[0, -1].log_softmax(-1).tolist()
        return found

    def score(self, text: Text, *, ended: bool) -> float:
        """Of a text that has ended, or of all that begin with it."""
        if ended:
            probability = self.sequences.get(text, 0.0)
        else:
            probability = sum(p for other, p in self.sequences.items() if other[: len(text)] == text)
        tokens = (*text, END) if ended else text
        attention = sum(self.next_log_probs(tokens[:place])[token] for place, token in enumerate(tokens))
        weight, bonus = self.search.ctc_weight, self.search.length_bonus * len(tokens)
        if weight and not probability:
            return -math.inf
        return (weight * math.log(probability) if weight else 0.0) + (1 - weight) * attention + bonus

    def all_ends(self) -> dict[Text, float]:
        """Every text that may come out, with its score: as many tokens as frames end without saying so."""
        tokens = range(1 if self.search.ctc_weight else 0, END)
        found = {}
        for length in range(self.num_frames + 1):
            for text in itertools.product(tokens, repeat=length):
                found[text] = self.score(text, ended=length < self.num_frames)
        return found


def random_frames(seed: int) -> Tensor:
    return 2 * torch.randn(1 + seed % 4, SIZE, generator=torch.Generator().manual_seed(seed))


def cases(ctc_weight: float, *, beam_size: int, bonus: float = 0.0) -> list[tuple[ByHand, Decoded]]:
    objective, search = make_objective(), JointBeam(beam_size=beam_size, ctc_weight=ctc_weight, length_bonus=bonus)
    found = []
    for seed in range(16):
        frames_FH = random_frames(seed)
        (decoded,) = decode(search, objective, Encoded(frames_FH[None], torch.tensor([len(frames_FH)])))
        found.append((ByHand(search, objective, frames_FH), decoded))
    return found


@pytest.mark.parametrize(("ctc_weight", "bonus"), [(0.3, 0.0), (0.3, 1.5), (0.7, -0.5), (0.0, 0.0), (1.0, 0.3)])
def test_a_wide_beam_finds_the_best_text_of_all(ctc_weight: float, bonus: float) -> None:
    lengths = set()
    for by_hand, decoded in cases(ctc_weight, beam_size=400, bonus=bonus):
        ends = by_hand.all_ends()
        best = max(ends, key=ends.__getitem__)
        assert decoded.tokens == [token for token in best if token != 0]
        assert decoded.score == pytest.approx(ends[best], abs=1e-4)
        lengths.add(len(decoded.tokens))
    assert len(lengths) > 1


def test_a_narrow_beam_is_the_search_by_hand() -> None:
    """Of each hypothesis 1.5 times as many tokens as the beam is wide, those that the decoder likes best, and the end;
    of all these the best few."""
    width, missed = 2, 0
    for by_hand, decoded in cases(0.3, beam_size=width):
        alive: list[Text] = [()]
        ended: dict[Text, float] = {}
        for step in range(by_hand.num_frames):
            extended: dict[Text, float] = {}
            for text in alive:
                likes = by_hand.next_log_probs(text)
                liked = set(sorted(range(VOCAB_SIZE), key=likes.__getitem__, reverse=True)[: int(1.5 * width)]) | {END}
                for token in liked - {0}:
                    is_end = token == END
                    extended[(*text, token)] = by_hand.score(text if is_end else (*text, token), ended=is_end)
            kept = sorted(extended, key=extended.__getitem__, reverse=True)[:width]
            alive = [text for text in kept if text[-1] != END and extended[text] > -math.inf]
            ended |= {text[:-1]: extended[text] for text in kept if text[-1] == END}
            if step == by_hand.num_frames - 1:
                ended |= {text: extended[text] for text in alive}
        best = max(ended, key=ended.__getitem__)
        assert tuple(decoded.tokens) == best
        assert decoded.score == pytest.approx(ended[best], abs=1e-4)
        missed += decoded.score < max(by_hand.all_ends().values()) - 1e-3
    assert missed > 0


def batch() -> tuple[CTCAttention, Encoded]:
    """The blank is likely, so that texts are shorter than utterances."""
    objective = make_objective(sharpness=3, vocab_size=30, blank_bias=6.0)
    return objective, Encoded(2 * torch.randn(7, 44, SIZE), torch.tensor([25, 1, 40, 0, 2, 13, 40]))


@pytest.mark.parametrize("ctc_weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("beam_size", [1, 4])
def test_an_utterance_decodes_alike_alone_and_in_any_batch(beam_size: int, ctc_weight: float) -> None:
    objective, encoded = batch()
    search = JointBeam(beam_size=beam_size, ctc_weight=ctc_weight)
    together = decode(search, objective, encoded)
    lengths = set()
    for row, length in enumerate(encoded.lengths_B.tolist()):
        if length == 0:
            assert (together[row].tokens, together[row].score) == ([], 0.0)
            continue
        (alone,) = decode(search, objective, Encoded(encoded.values[row : row + 1, :length], torch.tensor([length])))
        assert together[row].tokens == alone.tokens
        assert together[row].score == pytest.approx(alone.score, abs=1e-4)
        lengths.add(len(alone.tokens))
    assert len(together) == 7
    assert len(lengths) > 1


@pytest.mark.parametrize("setting", ["CHUNK_POSTERIORS", "CHUNK_TOKENS"])
def test_batches_too_large_for_the_memory_are_cut(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    objective, encoded = batch()
    whole = decode(JointBeam(beam_size=3), objective, encoded)
    monkeypatch.setattr(joint_beam, setting, {"CHUNK_POSTERIORS": 2 * 44 * 30, "CHUNK_TOKENS": 2 * 44 * 3}[setting])
    assert [one.tokens for one in decode(JointBeam(beam_size=3), objective, encoded)] == [one.tokens for one in whole]


def test_with_ctc_alone_it_is_the_prefix_search() -> None:
    objective, encoded = batch()
    for beam_size in (1, 6):
        ours = decode(JointBeam(beam_size=beam_size, ctc_weight=1.0), objective, encoded)
        assert ours == PrefixBeam(beam_size=beam_size)(objective.log_probs(encoded).values, encoded.lengths_B)


def test_a_bonus_makes_texts_longer() -> None:
    objective, encoded = batch()
    lengths = [
        sum(len(one.tokens) for one in decode(JointBeam(beam_size=4, length_bonus=bonus), objective, encoded))
        for bonus in (0.0, 10.0)
    ]
    assert lengths == sorted(set(lengths))


def test_lengths_are_bounded_by_shares_of_the_frames() -> None:
    objective, encoded = batch()
    free = decode(JointBeam(beam_size=4), objective, encoded)
    frames = encoded.lengths_B.tolist()
    short = decode(JointBeam(beam_size=4, max_length_ratio=0.1, length_bonus=5.0), objective, encoded)
    assert [len(one.tokens) for one in short] == [min(num, max(1, int(0.1 * num))) for num in frames]
    long = decode(JointBeam(beam_size=4, min_length_ratio=0.6, length_bonus=-1.0), objective, encoded)
    assert all(len(one.tokens) >= int(0.6 * num) for one, num in zip(long, frames, strict=True))
    assert any(len(one.tokens) < int(0.6 * num) for one, num in zip(free, frames, strict=True))


def test_where_no_text_is_long_enough_the_bound_gives_way() -> None:
    objective, encoded = batch()
    found = decode(JointBeam(beam_size=4, min_length_ratio=5.0), objective, encoded)
    assert all(math.isfinite(one.score) for one in found)
    assert [bool(one.tokens) for one in found] == [num > 0 for num in encoded.lengths_B.tolist()]


class Scripted:
    """A decoder that never listens: it ends with `end` of the probability, else goes on with token 1."""

    def __init__(self, *, end: float, size: int = 4) -> None:
        self.end, self.size, self.steps = end, size, 0
        self.log_probs_BKV = torch.empty(0)

    def start(self, rows_B: Tensor, *, num: int) -> Scripted:
        probs_V = torch.tensor([0.0, 1 - self.end - 1e-9, 1e-9, self.end])
        self.log_probs_BKV = probs_V.log().repeat(len(rows_B), num, 1)
        return self

    def extend(self, *, parents_BK: Tensor, tokens_BK: Tensor) -> Scripted:
        self.steps += 1
        return self

    def select(self, kept_B: Tensor) -> Scripted:
        self.log_probs_BKV = self.log_probs_BKV[kept_B]
        return self


def test_the_search_ends_when_what_ends_is_hopeless() -> None:
    """Half of what is left ends at each step: after 14 or so steps e^-10 of the best."""
    uniform_BFV, lengths_B = torch.zeros(2, 200, 4).log_softmax(-1), torch.tensor([200, 200])
    scripted = Scripted(end=0.5)
    found = JointBeam(beam_size=2, ctc_weight=0.0)(uniform_BFV, lengths_B, scripted)
    assert [one.tokens for one in found] == [[], []]
    assert found[0].score == pytest.approx(math.log(0.5))
    # a text of n tokens scores (n + 1) log 0.5: the third hopeless one has 17, and is looked at two steps late
    assert scripted.steps == 19
    endless = Scripted(end=0.5)
    JointBeam(beam_size=2, ctc_weight=0.0, max_length_ratio=0.5)(uniform_BFV, lengths_B, endless)
    assert endless.steps == 99


def test_blanks_that_a_decoder_says_are_left_out() -> None:
    scripted = Scripted(end=0.01)
    scripted.start(torch.arange(1), num=1)
    log_probs_BFV, lengths_B = torch.zeros(1, 5, 4).log_softmax(-1), torch.tensor([5])

    class Blank(Scripted):
        def start(self, rows_B: Tensor, *, num: int) -> Scripted:
            super().start(rows_B, num=num)
            self.log_probs_BKV = self.log_probs_BKV[..., [1, 0, 2, 3]]
            return self

    (found,) = JointBeam(beam_size=1, ctc_weight=0.0)(log_probs_BFV, lengths_B, Blank(end=0.01))
    assert found.tokens == []
    assert found.score == pytest.approx(5 * math.log(0.99), abs=1e-5)


def test_a_trained_model_is_heard() -> None:
    """A tiny model learns four texts by heart, and the search reads all of them back."""
    torch.manual_seed(0)
    objective = CTCAttention(
        input_size=SIZE, vocab_size=8, num_blocks=1, num_heads=2, ffn_size=32,
        dropout=0.0, position_dropout=0.0, attention_dropout=0.0,
    )  # fmt: skip
    texts = [[1, 2, 3], [4, 4, 5, 6], [2], [6, 1, 6, 1, 3]]
    targets_BS = torch.nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], batch_first=True)
    target_lengths_B = torch.tensor([len(text) for text in texts])
    values_BFH = torch.nn.Parameter(torch.randn(4, 12, SIZE))
    lengths_B = torch.tensor([8, 12, 4, 12])
    optimizer = torch.optim.Adam([*objective.parameters(), values_BFH], lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        result = objective(Encoded(values_BFH, lengths_B), targets_BS, target_lengths_B)
        result.loss.backward()
        optimizer.step()
    assert int(result.counts["num_attention_errors"]) == 0
    with torch.inference_mode():
        encoded = Encoded(values_BFH.detach(), lengths_B)
        for ctc_weight in (0.0, 0.3, 1.0):
            found = decode(JointBeam(beam_size=5, ctc_weight=ctc_weight), objective.eval(), encoded)
            assert [one.tokens for one in found] == texts
