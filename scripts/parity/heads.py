"""Heads and the CTC loss, on unpadded input; how a padded batch differs by design."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mlsuperb.heads.transformer import TransformerHead
from mlsuperb.objectives.ctc import CTC
from mlsuperb.types import Encoded
from scripts.parity.report import Check, close, relatively_close

GRADIENT_TOLERANCE = 1e-4  # fp32 gradients, summed over hundreds of frames in another order, differ by 1e-5
VOCAB_SIZE = 60


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
