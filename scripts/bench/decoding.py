"""Time the joint CTC-attention beam search beside ESPnet's `BatchBeamSearch`, on the same posteriors, encoder output and
decoder weights, in one process; print whether texts and scores are equal, and the ratio. Run it with the Python that
`scripts/parity_espnet.py` describes:

    .venv-espnet/bin/python scripts/bench/decoding.py [--beam-size 10] [--threads 1]

Utterances of 6 s (150 frames of 40 ms, 75 spikes in the posteriors), 2,000 tokens in the vocabulary, the decoder of
`conf/objective/ctc_attention.yaml` with random weights on frames of 256. ESPnet decodes one utterance at a time, which is
all that it can; ours as many as `--batch-size`. Wall and processor seconds: on a machine that others use, too, the latter
are the ones to go by.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mlsuperb.decoding.base import Decoded
from mlsuperb.decoding.joint_beam import JointBeam
from mlsuperb.objectives.ctc_attention import CTCAttention
from mlsuperb.types import Encoded
from scripts.parity.decoding import speech_like
from scripts.parity.decoding_joint import make_espnet_search

NUM_FRAMES, NUM_SPIKES, SIZE = 150, 75, 256


class Given(nn.Module):
    """In place of ESPnet's CTC layer: the posteriors of the utterance that is decoded."""

    log_probs_1FV: Tensor

    def log_softmax(self, _: Tensor) -> Tensor:
        return self.log_probs_1FV.clone()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beam-size", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--num-espnet", type=int, default=4, help="utterances that ESPnet decodes, too (default 4)")
    parser.add_argument("--vocab-size", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    logging.getLogger("espnet").setLevel(logging.ERROR)
    device, batch_size = torch.device(arguments.device), arguments.batch_size
    objective = CTCAttention(input_size=SIZE, vocab_size=arguments.vocab_size).eval().to(device)
    logits = [speech_like(NUM_FRAMES, arguments.vocab_size, num_tokens=NUM_SPIKES) for _ in range(batch_size)]
    log_probs_BFV = torch.stack(logits).log_softmax(-1).to(device)
    frames_BFH = torch.randn(batch_size, NUM_FRAMES, SIZE).to(device)
    encoded = Encoded(frames_BFH, torch.full((batch_size,), NUM_FRAMES, device=device))
    search = JointBeam(beam_size=arguments.beam_size)
    with torch.inference_mode():
        decode(search, objective, encoded, log_probs_BFV)  # warm
        before, ours = decode(search, objective, encoded, log_probs_BFV)
        theirs_s, theirs = decode_with_espnet(search, objective, encoded, log_probs_BFV[: arguments.num_espnet])
        after, _ = decode(search, objective, encoded, log_probs_BFV)
    ours_s = (before + after) / 2 / batch_size
    equal = sum(a.tokens == b.tokens for a, b in zip(ours, theirs, strict=False))
    worst = max(abs(a.score - b.score) / abs(b.score) for a, b in zip(ours, theirs, strict=False))
    lengths = [len(one.tokens) for one in theirs]
    print(
        f"{device.type}, {arguments.threads} threads, beam {arguments.beam_size}, vocabulary {arguments.vocab_size:,}"
    )
    print(f"texts equal: {equal} of {len(theirs)} ({min(lengths)} to {max(lengths)} tokens)")
    print(f"scores: greatest relative difference {worst:.1e}")
    print(f"ours    {ours_s[0]:7.3f} s an utterance, {ours_s[1]:7.3f} s of processor time; {batch_size} at a time")
    print(f"ESPnet  {theirs_s[0]:7.3f} s an utterance, {theirs_s[1]:7.3f} s of processor time; one at a time")
    print(f"ratio   {theirs_s[0] / ours_s[0]:7.1f} x              {theirs_s[1] / ours_s[1]:7.1f} x")
    return 0 if equal == len(theirs) and worst <= 1e-6 else 1


def clocks(device: torch.device) -> Tensor:
    """(2,) wall and processor seconds, once the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return torch.tensor([time.perf_counter(), time.process_time()], dtype=torch.double)


def decode(
    search: JointBeam, objective: CTCAttention, encoded: Encoded, log_probs_BFV: Tensor
) -> tuple[Tensor, list[Decoded]]:
    """Seconds, and what was found."""
    start_s = clocks(encoded.values.device)
    found = search(log_probs_BFV, encoded.lengths_B, objective.attention(encoded))
    return clocks(encoded.values.device) - start_s, found


def decode_with_espnet(
    search: JointBeam, objective: CTCAttention, encoded: Encoded, log_probs_BFV: Tensor
) -> tuple[Tensor, list[Decoded]]:
    """Seconds an utterance, and what was found."""
    espnet = make_espnet_search(search, objective).to(encoded.values.device)
    espnet.scorers["ctc"].ctc = given = Given()
    found, total_s = [], torch.zeros(2)
    for row, log_probs_FV in enumerate(log_probs_BFV):
        given.log_probs_1FV = log_probs_FV[None]
        start_s = clocks(log_probs_FV.device)
        best = espnet(encoded.values[row])[0]
        total_s += clocks(log_probs_FV.device) - start_s
        tokens = [token for token in best.yseq[1:-1].tolist() if token not in (0, objective.sos_eos)]
        found.append(Decoded(tokens, float(best.score)))
    return total_s / len(found), found


if __name__ == "__main__":
    sys.exit(main())
