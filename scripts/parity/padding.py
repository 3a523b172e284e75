"""Padded batches: heads, ours beside ESPnet's in the same batch, and each in a batch beside alone.

From release 202611 on ESPnet's encoders compute the same for an utterance whatever is in its batch (PRs #6571: utterance
normalisation, #6633: numbers of frames, #6660: convolutions in blocks), so that whole batches are compared. Of older releases the
difference between batch and alone is shown, and what they make of an utterance alone is compared with ours in a batch. At the end
stands what depends on padding in either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from mlsuperb.heads.encoder import EncoderHead
from scripts.parity.heads import ENCODERS, EspnetHead, Utterances, compare, make_ours
from scripts.parity.report import FLOAT64, Check, doubled, in_double, judged, l2_errors
from scripts.parity.versions import SOUND_SINCE, espnet_version

FRAMES = (121, 8, 64, 33, 7)
Encode = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # values and lengths to values and lengths
ON_LOG_MELS = ("transformer", "conformer_small", "e_branchformer_small")
# title -> name of conf/head, what changes there, what ESPnet calls it, features
Case = tuple[str, dict[str, Any], dict[str, Any], int]
CASES: dict[str, Case] = {name: (name, {}, {}, 1024) for name in ENCODERS} | {
    f"{name}, conv2d": (name, {"frontend": "conv2d"}, {"input_layer": "conv2d"}, 80) for name in ON_LOG_MELS
}
SDPA: dict[str, Case] = {f"{name}, use_sdpa": (name, {}, {"use_sdpa": True}, 80) for name in ON_LOG_MELS}


def padding_checks() -> Iterator[Check]:
    """Every head behind two convolutions that halve the frames, and some behind two that quarter them."""
    sound = espnet_version() >= SOUND_SINCE
    for title, (name, our_changes, their_changes, input_size) in (CASES | (SDPA if sound else {})).items():
        head, objective = make_ours(name, input_size, **our_changes)
        espnet = EspnetHead(name, head, objective, input_size=input_size, **their_changes).eval()
        one = Utterances.random(head, num_frames=FRAMES, input_size=input_size)
        if sound:
            yield from compare(f"padded batch, {title.replace(name, '{}')}", name, head, objective, espnet, [one])
        yield from against_alone(title, head, espnet, one, sound=sound)
    yield from what_depends_on_padding()


@torch.no_grad()
def against_alone(
    title: str, head: EncoderHead, espnet: EspnetHead, one: Utterances, *, sound: bool
) -> Iterator[Check]:
    """Ours in the batch beside ESPnet's alone; and either side in the batch and alone, in float64."""
    exact_head, exact_espnet = in_double(head), in_double(espnet)
    exact_head.frontend.fewer_products = False  # Winograd's algorithm is for fp32 and below
    with doubled():
        exact = alone(exact_espnet, one.double())
        theirs_apart = apart(exact_espnet, one.double())
        ours_apart = apart(encoding(exact_head), one.double())
    triples = zip(in_batch(encoding(head), one), alone(espnet, one), exact, strict=True)
    errors = [l2_errors(*each) for each in triples]
    yield judged(f"ours in the batch, ESPnet's alone, {title}", errors)
    for side, (frames, difference), must in (("ours", ours_apart, True), ("ESPnet's", theirs_apart, sound)):
        found = f"{frames} frames too many; relative L2 {difference:.1e}"
        passed = frames == 0 and difference <= FLOAT64
        yield Check(f"{side} in the batch and alone, float64, {title}", found, passed if must else None)


def encoding(head: EncoderHead) -> Encode:
    """Ours with the interface of `EspnetHead`."""

    def encode(feats_BFD: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        encoded = head(feats_BFD, lengths_B)
        return encoded.values, encoded.lengths_B

    return encode


def in_batch(encode: Encode, one: Utterances) -> list[Tensor]:
    """The valid frames of each utterance, all encoded together."""
    values_BFH, lengths_B = encode(one.feats_BFD.clone(), one.lengths_B)
    return [row[:length] for row, length in zip(values_BFH, lengths_B.tolist(), strict=True)]


def alone(encode: Encode, one: Utterances) -> list[Tensor]:
    """The same, one at a time."""
    pairs = zip(one.feats_BFD, one.lengths_B.tolist(), strict=True)
    return [encode(row[None, :length].clone(), torch.tensor([length]))[0][0] for row, length in pairs]


def apart(encode: Encode, one: Utterances) -> tuple[int, float]:
    """How many frames all utterances have more in a batch than alone, and the largest relative L2 of those that are in both."""
    pairs = list(zip(in_batch(encode, one), alone(encode, one), strict=True))
    both = [(a[: len(b)], b[: len(a)]) for a, b in pairs]
    return sum(len(a) - len(b) for a, b in pairs), max(float((a - b).norm() / b.norm()) for a, b in both)


@torch.no_grad()
def what_depends_on_padding() -> Iterator[Check]:
    """In ESPnet: utterances as they are beside the same padded to twice their length. Shown. (The encoders of older releases
    refuse a batch in which every utterance is padded.)"""
    from espnet2.asr.encoder.conformer_encoder import ConformerEncoder
    from espnet2.asr.frontend.cnn import CNNFrontend
    from espnet2.asr.frontend.default import DefaultFrontend
    from espnet2.layers.mask_along_axis import MaskAlongAxisVariableMaxWidth

    sizes = {"output_size": 64, "attention_heads": 2, "linear_units": 64, "num_blocks": 2, "input_layer": "conv2d2"}
    learning = {"rel_pos_type": "latest", "dropout_rate": 0.0, "positional_dropout_rate": 0.0}
    xeus = CNNFrontend("layer_norm", "standard", True, normalize_audio=True)
    cases: dict[str, tuple[Callable[[Tensor, Tensor], tuple[Tensor, ...]], tuple[int, ...]]] = {
        "the ends of log-mels": (DefaultFrontend(fs=16000, n_fft=1024, hop_length=320), (2, 20_100)),
        "XEUS' normalised waves": (xeus, (2, 20_100)),
        "Conformer with legacy positions": (ConformerEncoder(80, **sizes).eval(), (2, 64, 80)),
        "Conformer's batch norm in training": (ConformerEncoder(80, **sizes, **learning), (2, 64, 80)),
    }
    for title, (encode, shape) in cases.items():
        if len(shape) == 3 and espnet_version() < SOUND_SINCE:
            continue
        values = 0.1 * torch.randn(shape)
        lengths_B, longer = torch.full(shape[:1], shape[1]), torch.cat([values, torch.zeros(shape)], dim=1)
        expected = encode(values.clone(), lengths_B)[0]
        found = encode(longer, lengths_B)[0][:, : expected.shape[1]]
        difference = float((found - expected).norm() / expected.norm())
        yield Check(f"depends on padding in ESPnet: {title}", f"relative L2 {difference:.1e}", None)
    mask = MaskAlongAxisVariableMaxWidth(mask_width_ratio_range=(0.0, 0.05), num_mask=1, dim="time")
    masked = [[mask(torch.ones(1, frames, 1))[0][0, :100] for _ in range(1000)] for frames in (100, 1000)]
    widest, beside = (max(int((one == 0).sum()) for one in masks) for masks in masked)
    name = "depends on padding in ESPnet: SpecAugment's time masks"
    yield Check(name, f"the widest hides {widest} of 100 frames, or {beside} beside 1,000", None)
