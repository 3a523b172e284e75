"""CTC prefix search."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from mlsuperb.decoding.prefix_beam import PrefixBeam
from scripts.parity.report import Check


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
    yield decoding_time()


def decode_both(name: str, make: Callable[[int, int], Tensor], *, beam_size: int, num: int) -> Check:
    generator = torch.Generator().manual_seed(beam_size)
    vocab_size = {"random": 40, "speech-like": 300}.get(name, 80)
    lengths_B = torch.randint(1, 70, (num,), generator=generator)
    log_probs = [make(int(length), vocab_size).log_softmax(-1) for length in lengths_B]
    padded_BFV = nn.utils.rnn.pad_sequence(log_probs, batch_first=True, padding_value=float("nan"))
    start = time.perf_counter()
    ours = [one.tokens for one in PrefixBeam(beam_size=beam_size)(padded_BFV, lengths_B)]
    middle = time.perf_counter()
    theirs = [espnet_search(one, beam_size) for one in log_probs]
    times = f"{middle - start:.2f} s and, in ESPnet, {time.perf_counter() - middle:.2f} s"
    equal = sum(a == b for a, b in zip(ours, theirs, strict=True))
    title = f"prefix search, beam {beam_size}, {name}"
    return Check(title, f"{equal}/{num} equal; {times}", equal == num if beam_size == 1 else None)


def decoding_time() -> Check:
    """16 utterances of 6 s (150 frames of 40 ms) and 75 tokens, 2,000 in the vocabulary."""
    log_probs_BFV = torch.stack([speech_like(150, 2000, num_tokens=75).log_softmax(-1) for _ in range(16)])
    start = time.perf_counter()
    PrefixBeam(beam_size=1)(log_probs_BFV, torch.full((16,), 150))
    ours = (time.perf_counter() - start) / 16
    start = time.perf_counter()
    for log_probs_FV in log_probs_BFV[:4]:
        espnet_search(log_probs_FV, 1)
    theirs = (time.perf_counter() - start) / 4
    found = f"{ours * 1000:.0f} ms an utterance and, in ESPnet, {theirs * 1000:.0f} ms: {theirs / ours:.0f} x"
    return Check("time: 6 s of audio, 75 tokens, vocabulary of 2,000, beam 1", found, None)


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
    from espnet.nets.batch_beam_search import BatchBeamSearch
    from espnet.nets.scorers.ctc import CTCPrefixScorer

    class Ready(nn.Module):
        def log_softmax(self, values: Tensor) -> Tensor:
            return values

    vocab_size = log_probs_FV.shape[-1]
    search = BatchBeamSearch(
        scorers={"ctc": CTCPrefixScorer(Ready(), vocab_size - 1)},
        weights={"ctc": 1.0},
        beam_size=beam_size,
        vocab_size=vocab_size,
        sos=vocab_size - 1,
        eos=vocab_size - 1,
        pre_beam_score_key=None,
    )
    with torch.no_grad():
        best = search(log_probs_FV.clone(), maxlenratio=0.0, minlenratio=0.0)[0]
    return [token for token in best.yseq[1:-1].tolist() if token not in (0, vocab_size - 1)]
