"""CTC prefix search."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mlsuperb.decoding.prefix_beam import PrefixBeam
from scripts.parity.report import Check
from scripts.parity.versions import nets


def decoding_checks(num_posteriors: int) -> Iterator[Check]:
    """Prefix search on random, peaky and speech-like posteriors, ours in batches of one vocabulary, padded."""
    kinds: dict[str, Callable[[int, int], Tensor]] = {
        "random": lambda frames, size: torch.randn(frames, size),
        "random, sharper": lambda frames, size: 4 * torch.randn(frames, size),
        "peaky": lambda frames, size: 15 * torch.randn(frames, size),
        "speech-like": speech_like,
    }
    for beam_size in (1, 5, 10):
        for name, make in kinds.items():
            yield decode_both(name, make, beam_size=beam_size, num=num_posteriors // len(kinds))


def decode_both(name: str, make: Callable[[int, int], Tensor], *, beam_size: int, num: int) -> Check:
    generator = torch.Generator().manual_seed(beam_size)
    vocab_size = {"random": 40, "speech-like": 300}.get(name, 80)
    lengths_B = torch.randint(1, 70, (num,), generator=generator)
    log_probs = [make(int(length), vocab_size).log_softmax(-1) for length in lengths_B]
    padded_BFV = nn.utils.rnn.pad_sequence(log_probs, batch_first=True, padding_value=float("nan"))
    ours = [one.tokens for one in PrefixBeam(beam_size=beam_size)(padded_BFV, lengths_B)]
    theirs = [espnet_search(one, beam_size) for one in log_probs]
    equal = sum(a == b for a, b in zip(ours, theirs, strict=True))
    title = f"prefix search, beam {beam_size}, {name}"
    return Check(title, f"{equal}/{num} equal", equal == num if beam_size == 1 else None)


def speech_like(num_frames: int, vocab_size: int, *, num_tokens: int | None = None) -> Tensor:
    """Logits as a trained model's: mostly blank, tokens as spikes of one or two frames, each with a few rivals."""
    if num_tokens is None:
        num_tokens = num_frames // 3
    logits_FV = torch.randn(num_frames, vocab_size)
    logits_FV[:, 0] += 9
    for frame in torch.randperm(num_frames)[:num_tokens].tolist():
        rivals = torch.randint(1, vocab_size - 1, (4,))
        logits_FV[frame : frame + 2, rivals] += 9 + 2 * torch.randn(4)
    return logits_FV


def espnet_search(log_probs_FV: Tensor, beam_size: int) -> list[int]:
    """Best tokens of ESPnet's search, set up as `espnet2.bin.asr_inference` sets it up for `conf/decode_asr.yaml`."""

    class Ready(nn.Module):
        def log_softmax(self, values: Tensor) -> Tensor:
            return values

    end = log_probs_FV.shape[-1] - 1
    search = espnet_beam_search(
        {"ctc": (nets("scorers.ctc").CTCPrefixScorer(Ready(), end), 1.0)}, beam_size=beam_size, end=end, pre_beam=None
    )
    with torch.no_grad():
        best = search(log_probs_FV.clone(), maxlenratio=0.0, minlenratio=0.0)[0]
    return tokens_of(best, end=end)


def espnet_beam_search(
    scorers: dict[str, tuple[Any, float]], *, beam_size: int, end: int, pre_beam: str | None
) -> nn.Module:
    """ESPnet's search over scorers with their weights; `end` is the last token of the vocabulary."""
    made: nn.Module = nets("batch_beam_search").BatchBeamSearch(
        scorers={name: scorer for name, (scorer, _) in scorers.items()},
        weights={name: weight for name, (_, weight) in scorers.items()},
        beam_size=beam_size, vocab_size=end + 1, sos=end, eos=end, pre_beam_score_key=pre_beam,
    )  # fmt: skip
    return made


def tokens_of(best: Any, *, end: int) -> list[int]:
    """The tokens of one of ESPnet's hypotheses, without blank and end."""
    return [token for token in best.yseq[1:-1].tolist() if token not in (0, end)]
