"""Compare mlsuperb with ESPnet: the head, the CTC loss, log-mels, prefix search. Exits with 1 if anything differs.

ESPnet pins old packages, so it lives in an environment of its own that borrows this project's (`make parity` does it):

    python -m venv .venv-espnet
    .venv/bin/python -c 'import site; print(*site.getsitepackages(), sep="\\n")' > \\
        "$(.venv-espnet/bin/python -c 'import site; print(site.getsitepackages()[0])')/mlsuperb.pth"
    .venv-espnet/bin/pip install --no-deps espnet==202511 espnet_tts_frontend
    .venv-espnet/bin/pip install sentencepiece typeguard humanfriendly torch_complex einops configargparse h5py \\
        kaldiio editdistance librosa
    .venv-espnet/bin/python scripts/parity_espnet.py

Everything is compared on unpadded input: inside a batch ESPnet's results depend on the padding (see
`mlsuperb.layers.frontends.Conv2d2`), ours do not. Where the two differ by design, both numbers are printed.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mlsuperb.decoding.prefix_beam import PrefixBeam
from mlsuperb.heads.transformer import TransformerHead
from mlsuperb.objectives.ctc import CTC
from mlsuperb.types import Encoded
from mlsuperb.upstreams.fbank import Fbank

TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4  # fp32 gradients, summed over hundreds of frames in another order, differ by 1e-5
VOCAB_SIZE = 60


@dataclass(frozen=True)
class Check:
    """One line of the report. `passed` None: shown, not judged."""

    name: str
    found: str
    passed: bool | None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-posteriors", type=int, default=200, help="posterior matrices to decode (default 200)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads for both sides (default 1)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.getLogger("espnet").setLevel(logging.ERROR)
    torch.manual_seed(0)
    failed = 0
    for check in (*head_checks(), *batch_checks(), *fbank_checks(), *decoding_checks(arguments.num_posteriors)):
        verdict = {True: "ok  ", False: "FAIL", None: "    "}[check.passed]
        print(f"{verdict} {check.name:62} {check.found}", flush=True)
        failed += check.passed is False
    print(f"{failed} checks failed" if failed else "all checks passed")
    return 1 if failed else 0


def close(name: str, ours: Tensor, theirs: Tensor) -> Check:
    """The greatest difference."""
    if ours.shape != theirs.shape:
        return Check(name, f"shapes {tuple(ours.shape)} and {tuple(theirs.shape)}", False)
    difference = float((ours - theirs).detach().abs().max())
    return Check(name, f"max abs difference {difference:.1e}", difference <= TOLERANCE)


def relatively_close(name: str, ours: Tensor, theirs: Tensor, *, tolerance: float = TOLERANCE) -> Check:
    """The greatest difference over the greatest value: for sums of many terms, and values far from 1."""
    difference = float((ours - theirs).detach().abs().max() / theirs.detach().abs().max())
    return Check(name, f"max relative difference {difference:.1e}", difference <= tolerance)


class EspnetHead(nn.Module):
    """ESPnet's utterance normalisation, linear pre-encoder, encoder and CTC, with the weights of our parts."""

    def __init__(self, head: TransformerHead, objective: CTC, *, input_size: int) -> None:
        super().__init__()
        from espnet2.asr.ctc import CTC as EspnetCTC  # noqa: N811
        from espnet2.asr.encoder.transformer_encoder import TransformerEncoder
        from espnet2.asr.preencoder.linear import LinearProjection
        from espnet2.layers.utterance_mvn import UtteranceMVN

        self.normalize = UtteranceMVN()
        projected = isinstance(head.projection, nn.Linear)
        self.preencoder = LinearProjection(input_size, 80) if projected else None
        self.encoder = TransformerEncoder(
            input_size=80,
            output_size=256,
            attention_heads=8,
            linear_units=1024,
            num_blocks=2,
            dropout_rate=0.1,
            positional_dropout_rate=0.1,
            attention_dropout_rate=0.1,
            input_layer="conv2d2",
        )
        self.ctc = EspnetCTC(objective.out.out_features, 256)
        for theirs, ours in self._pairs(head, objective):
            theirs.load_state_dict(ours.state_dict())

    def _pairs(self, head: TransformerHead, objective: CTC) -> Iterator[tuple[nn.Module, nn.Module]]:
        if self.preencoder is not None:
            yield self.preencoder.linear_out, head.projection
        embed = self.encoder.embed
        yield from ((embed.conv[0], head.frontend.conv1), (embed.conv[2], head.frontend.conv2))
        yield from ((embed.out[0], head.frontend.out), (self.encoder.after_norm, head.final_norm))
        for theirs, ours in zip(self.encoder.encoders, head.blocks, strict=True):
            yield from ((theirs.norm1, ours.attention_norm), (theirs.norm2, ours.ffn_norm))
            yield from ((theirs.feed_forward.w_1, ours.ffn[0]), (theirs.feed_forward.w_2, ours.ffn[3]))
            for name, layer in zip(
                "qkv", (ours.attention.query, ours.attention.key, ours.attention.value), strict=True
            ):
                yield getattr(theirs.self_attn, f"linear_{name}"), layer
            yield theirs.self_attn.linear_out, ours.attention.out
        yield self.ctc.ctc_lo, objective.out

    def forward(self, feats_BFD: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        feats_BFD, lengths_B = self.normalize(feats_BFD.clone(), lengths_B)
        if self.preencoder is not None:
            feats_BFD, lengths_B = self.preencoder(feats_BFD, lengths_B)
        values_BFH, lengths_B, _ = self.encoder(feats_BFD, lengths_B)
        return values_BFH, lengths_B


def make_pair(input_size: int) -> tuple[TransformerHead, CTC, EspnetHead]:
    head = TransformerHead(input_size=input_size).eval()
    objective = CTC(input_size=head.output_size, vocab_size=VOCAB_SIZE).eval()
    return head, objective, EspnetHead(head, objective, input_size=input_size).eval()


def head_checks() -> Iterator[Check]:
    """Head, loss and gradients on single utterances, with and without projection."""
    for input_size in (1024, 80):
        head, objective, espnet = make_pair(input_size)
        counts = [sum(p.numel() for p in part.parameters()) for part in (head, objective, espnet)]
        same = counts[0] + counts[1] == counts[2]
        yield Check(f"parameters, D={input_size}", f"{counts[0] + counts[1]:,} and {counts[2]:,}", same)
        for num_frames in (7, 8, 50, 301):
            title = f"D={input_size}, {num_frames} frames"
            feats_BFD, lengths_B = torch.randn(1, num_frames, input_size), torch.tensor([num_frames])
            ours, (theirs, their_lengths_B) = head(feats_BFD, lengths_B), espnet(feats_BFD, lengths_B)
            yield close(f"head, {title}", ours.values, theirs)
            yield Check(f"frames, {title}", f"{int(ours.lengths_B)}", bool((ours.lengths_B == their_lengths_B).all()))
            yield from loss_checks(title, head, objective, espnet, ours, theirs)


def loss_checks(
    title: str, head: TransformerHead, objective: CTC, espnet: EspnetHead, ours: Encoded, theirs: Tensor
) -> Iterator[Check]:
    num_tokens = max(1, int(ours.lengths_B) // 3)
    targets_BS, target_lengths_B = torch.randint(1, VOCAB_SIZE - 1, (1, num_tokens)), torch.tensor([num_tokens])
    our_loss = objective(ours, targets_BS, target_lengths_B).loss
    their_loss = espnet.ctc(theirs, ours.lengths_B, targets_BS, target_lengths_B)
    yield relatively_close(f"CTC loss, {title}", our_loss, their_loss)
    for module, loss in ((head, our_loss), (espnet, their_loss)):
        module.zero_grad()
        loss.backward()
    our_grad, their_grad = head.frontend.conv1.weight.grad, espnet.encoder.embed.conv[0].weight.grad
    yield relatively_close(f"gradient, {title}", our_grad, their_grad, tolerance=GRADIENT_TOLERANCE)


def batch_checks() -> Iterator[Check]:
    """The CTC loss of a batch; how ESPnet counts the frames of a padded batch."""
    head, objective, espnet = make_pair(80)
    values_BFH, lengths_B = torch.randn(3, 40, 256), torch.tensor([40, 31, 9])
    targets_BS, target_lengths_B = (
        torch.randint(1, VOCAB_SIZE - 1, (3, 12)),
        torch.tensor([12, 5, 11]),
    )  # the last: too long
    loss = objective(Encoded(values_BFH, lengths_B), targets_BS, target_lengths_B)
    their_loss = espnet.ctc(values_BFH, lengths_B, targets_BS, target_lengths_B)
    title = "CTC loss of a batch with one utterance too short for its text"
    yield relatively_close(title, loss.loss, their_loss)
    frames_B = torch.tensor([100, 70, 41])
    _, theirs = espnet(torch.randn(3, 100, 80), frames_B)
    found = f"{head.num_frames(frames_B).tolist()} and, in ESPnet, {theirs.tolist()}"
    yield Check("frames of 100, 70 and 41 in one batch: differ by design", found, None)


def fbank_checks() -> Iterator[Check]:
    """Log-mels against ESPnet's `DefaultFrontend` with ML-SUPERB's settings."""
    try:
        from espnet2.asr.frontend.default import DefaultFrontend

        frontend = DefaultFrontend(fs=16000, n_fft=1024, hop_length=320)
    except ImportError as error:
        yield Check("log-mels: not compared", f"{error}", None)
        return
    wave_BT, lengths_B = 0.1 * torch.randn(1, 32000), torch.tensor([32000])
    theirs, _ = frontend(wave_BT, lengths_B)
    yield relatively_close("log-mels, 2 s", Fbank()(wave_BT, lengths_B).layers[0], theirs)


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


if __name__ == "__main__":
    sys.exit(main())
