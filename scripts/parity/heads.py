"""Heads and the CTC loss, on unpadded input; the CTC loss of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from mlsuperb.config.build import instantiate
from mlsuperb.config.options import conf_dir
from mlsuperb.espnet.keys import CTC_LAYER, HEADS, EncoderKind, older_names
from mlsuperb.heads.encoder import EncoderHead
from mlsuperb.layers.masks import zero_padding
from mlsuperb.objectives.ctc import CTC
from mlsuperb.types import Encoded
from scripts.parity.report import (
    FLOAT64,
    Check,
    Errors,
    doubled,
    in_double,
    judged,
    l2_errors,
    no_worse,
    relatively_close,
    same_size,
    worst_errors,
)

SEEDS = 3  # inputs of every length
# With more frames one of the million ReLUs of a deep head is at zero on nearly every input, and moves the gradient in fp32,
# ESPnet's as well as ours: it is shown, and judged in float64. Outputs do not jump there, and are judged in fp32 at every length.
MOST_FRAMES_IN_FP32 = 8
VOCAB_SIZE = 60
RATES = {"dropout_rate": 0.1, "positional_dropout_rate": 0.1, "attention_dropout_rate": 0.1}
RELATIVE = {"rel_pos_type": "latest", "pos_enc_layer_type": "rel_pos"}
LARGE = {"output_size": 512, "attention_heads": 8, "linear_units": 2048, "input_layer": "conv2d2", **RATES}
SMALL = {"output_size": 256, "attention_heads": 4, "linear_units": 1024, "input_layer": "conv2d2", **RATES}
CONFORMER = {
    "num_blocks": 12, "selfattention_layer_type": "rel_selfattn", **RELATIVE, "macaron_style": True,
    "activation_type": "swish", "use_cnn_module": True, "cnn_module_kernel": 15,
}  # fmt: skip
E_BRANCHFORMER = {
    "num_blocks": 12, "attention_layer_type": "rel_selfattn", **RELATIVE, "use_ffn": True, "cgmlp_conv_kernel": 31,
    "merge_conv_kernel": 31, "layer_drop_rate": 0.0,
}  # fmt: skip
# conf/head/*.yaml, and what ESPnet's files call the same: `encoder` and `encoder_conf`
ENCODERS: dict[str, tuple[EncoderKind, dict[str, Any]]] = {
    "transformer": ("transformer", {**SMALL, "num_blocks": 2, "attention_heads": 8}),
    "transformer_deep": ("transformer", {**LARGE, "num_blocks": 24}),
    "transformer_small": ("transformer", {**SMALL, "num_blocks": 12}),
    "conformer": ("conformer", {**LARGE, **CONFORMER}),
    "conformer_small": ("conformer", {**SMALL, **CONFORMER}),
    "e_branchformer": ("e_branchformer", {**LARGE, **E_BRANCHFORMER, "cgmlp_linear_units": 3072}),
    "e_branchformer_small": (
        "e_branchformer",
        {**SMALL, **E_BRANCHFORMER, "cgmlp_linear_units": 1024, "macaron_ffn": True},
    ),
}


class EspnetHead(nn.Module):
    """ESPnet's utterance normalisation, linear pre-encoder, encoder and CTC, with the weights of our parts."""

    def __init__(self, name: str, head: EncoderHead, objective: CTC, *, input_size: int, **changes: Any) -> None:
        super().__init__()
        from espnet2.asr.ctc import CTC as EspnetCTC  # noqa: N811
        from espnet2.asr.encoder.conformer_encoder import ConformerEncoder
        from espnet2.asr.encoder.e_branchformer_encoder import EBranchformerEncoder
        from espnet2.asr.encoder.transformer_encoder import TransformerEncoder
        from espnet2.asr.preencoder.linear import LinearProjection
        from espnet2.layers.utterance_mvn import UtteranceMVN

        kind, settings = ENCODERS[name]
        makers = {
            "transformer": TransformerEncoder,
            "conformer": ConformerEncoder,
            "e_branchformer": EBranchformerEncoder,
        }
        self.normalize = UtteranceMVN()
        projected = isinstance(head.projection, nn.Linear)
        self.preencoder = LinearProjection(input_size, 80) if projected else None
        self.encoder = makers[kind](input_size=80, **settings | changes)
        self.ctc = EspnetCTC(objective.out.out_features, self.encoder.output_size())
        weights = {HEADS[kind].theirs(key): value for key, value in head.state_dict().items()}
        weights |= {CTC_LAYER.theirs(key): value for key, value in objective.state_dict().items()}
        self.load_state_dict(weights)

    def forward(self, feats_BFD: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        feats_BFD, lengths_B = self.normalize(feats_BFD.clone(), lengths_B)
        if self.preencoder is not None:
            feats_BFD, lengths_B = self.preencoder(feats_BFD, lengths_B)
        values_BFH, lengths_B, _ = self.encoder(feats_BFD, lengths_B)
        return values_BFH, lengths_B


def make_ours(name: str, input_size: int, **changes: Any) -> tuple[EncoderHead, CTC]:
    """`conf/head/<name>.yaml`, but for `changes`, and an output layer."""
    settings = yaml.safe_load((conf_dir() / "head" / f"{name}.yaml").read_text(encoding="utf-8")) | changes
    head: EncoderHead = instantiate(settings, input_size=input_size).eval()
    for module in head.modules():
        if isinstance(module, nn.BatchNorm1d):  # as if trained
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.1, 0.5)
    return head, CTC(input_size=head.output_size, vocab_size=VOCAB_SIZE).eval()


def make_pair(name: str, input_size: int) -> tuple[EncoderHead, CTC, EspnetHead]:
    """`make_ours`, and ESPnet's model with the same weights."""
    head, objective = make_ours(name, input_size)
    return head, objective, EspnetHead(name, head, objective, input_size=input_size).eval()


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What one side makes of an utterance; gradients by ESPnet's names."""

    values_BFH: Tensor
    lengths_B: Tensor
    loss: Tensor
    gradients: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Utterances:
    """A batch for a head, with targets of a third of the frames that the head makes of each."""

    feats_BFD: Tensor
    lengths_B: Tensor
    targets_BS: Tensor
    target_lengths_B: Tensor

    def double(self) -> Utterances:
        """The same in float64."""
        return replace(self, feats_BFD=self.feats_BFD.double())

    @classmethod
    def random(cls, head: EncoderHead, *, num_frames: Sequence[int], input_size: int) -> Utterances:
        """Noise, beyond the lengths, too."""
        lengths_B = torch.tensor(num_frames)
        target_lengths_B = (head.num_frames(lengths_B) // 3).clamp(min=1)
        shape = (len(num_frames), int(target_lengths_B.max()))
        return cls(
            feats_BFD=torch.randn(len(num_frames), max(num_frames), input_size), lengths_B=lengths_B,
            targets_BS=torch.randint(1, VOCAB_SIZE - 1, shape), target_lengths_B=target_lengths_B,
        )  # fmt: skip


def run_ours(name: str, head: EncoderHead, objective: CTC, one: Utterances) -> Ran:
    """Forward and backward."""
    encoded = head(one.feats_BFD, one.lengths_B)
    loss = objective(encoded, one.targets_BS, one.target_lengths_B).loss
    keys = HEADS[ENCODERS[name][0]]
    gradients = {keys.theirs(key): gradient for key, gradient in _gradients(head, loss).items()}
    gradients |= {CTC_LAYER.theirs(key): gradient for key, gradient in _gradients(objective, loss).items()}
    return Ran(values_BFH=encoded.values, lengths_B=encoded.lengths_B, loss=loss.detach(), gradients=gradients)


def run_theirs(espnet: nn.Module, one: Utterances) -> Ran:
    """Forward and backward, in the precision of the model."""
    dtype = next(espnet.parameters()).dtype
    values_BFH, lengths_B = espnet(one.feats_BFD.to(dtype), one.lengths_B)
    values_BFH = zero_padding(values_BFH, lengths_B)  # garbage there; ours is zero
    loss = espnet.ctc(values_BFH, lengths_B, one.targets_BS, one.target_lengths_B)
    gradients = older_names(_gradients(espnet, loss))
    return Ran(values_BFH=values_BFH, lengths_B=lengths_B, loss=loss.detach(), gradients=gradients)


def _gradients(module: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    named = dict(module.named_parameters())
    found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
    return {name: one for name, one in zip(named, found, strict=True) if one is not None}


def head_checks() -> Iterator[Check]:
    """Heads, loss and gradients on single utterances, with and without projection."""
    for name in ENCODERS:
        for input_size in (1024, 80):
            head, objective, espnet = make_pair(name, input_size)
            yield same_size(f"{name}: parameters, D={input_size}", [head, objective], espnet)
            for num_frames in (7, 8, 50, 301):
                batches = [
                    Utterances.random(head, num_frames=[num_frames], input_size=input_size) for _ in range(SEEDS)
                ]
                title = f"{{}}, D={input_size}, {num_frames} frames"
                yield from compare(title, name, head, objective, espnet, batches)
            yield from training_checks(name, head, espnet, input_size=input_size)


def compare(
    title: str, name: str, head: EncoderHead, objective: CTC, espnet: nn.Module, batches: Sequence[Utterances]
) -> Iterator[Check]:
    """Numbers of frames, outputs, losses, and the gradients of all parameters in fp32 and in float64.

    Args:
        title: of every check, with `{}` for its part.
        name: of `ENCODERS`.
        espnet: a module with the interface of `EspnetHead`.
    """
    exact_espnet, exact_parts = in_double(espnet), (in_double(head), in_double(objective))
    exact_parts[0].frontend.fewer_products = False  # Winograd's algorithm is for fp32 and below
    outputs: list[Errors] = []
    gradients: list[Errors] = []
    in_float64: list[Errors] = []
    for one in batches:
        ours, theirs = run_ours(name, head, objective, one), run_theirs(espnet, one)
        with doubled():
            ours_exact, exact = run_ours(name, *exact_parts, one.double()), run_theirs(exact_espnet, one)
        try:
            outputs.append(l2_errors(ours.values_BFH, theirs.values_BFH, exact.values_BFH))
            gradients.append(worst_errors(ours.gradients, theirs.gradients, exact.gradients))
            in_float64.append(worst_errors(ours_exact.gradients, exact.gradients, exact.gradients))
        except ValueError as error:
            yield Check(title.format(f"{name}: output and gradient"), str(error), False)
            return
    yield judged(title.format(f"{name}: output"), outputs)
    same = bool((ours.lengths_B == theirs.lengths_B).all())
    yield Check(title.format(f"{name}: frames"), ", ".join(map(str, ours.lengths_B.tolist())), same)
    yield relatively_close(title.format(f"{name}: CTC loss"), ours.loss, exact.loss)
    in_fp32 = judged(title.format(f"{name}: gradient, worst parameter"), gradients)
    many = batches[0].feats_BFD.shape[1] > MOST_FRAMES_IN_FP32
    yield replace(in_fp32, passed=None) if many else in_fp32
    yield judged(title.format(f"{name}: the same in float64"), in_float64, floor=FLOAT64)


def training_checks(name: str, head: EncoderHead, espnet: EspnetHead, *, input_size: int) -> Iterator[Check]:
    """Where there is batch norm: an output in training, without dropout, and the statistics that it leaves."""
    if not any(isinstance(module, nn.BatchNorm1d) for module in head.modules()):
        return
    for module in (*head.modules(), *espnet.modules()):
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    exact = in_double(espnet)
    feats_BFD, lengths_B = torch.randn(2, 50, input_size), torch.tensor([50, 50])
    ours, (theirs, _) = head.train()(feats_BFD, lengths_B).values, espnet.train()(feats_BFD, lengths_B)
    with doubled():
        wanted, _ = exact.train()(feats_BFD.double(), lengths_B)
    yield no_worse(f"{name}: output in training, D={input_size}", ours, theirs, wanted)
    names = {f"{prefix}.{key}" for prefix, _ in head.named_modules() for key in ("running_mean", "running_var")}
    left = [_ours(name, one) for one in (espnet, exact)]
    triples = [
        (value.double(), *(one[key].double() for one in left))
        for key, value in head.state_dict().items()
        if key in names
    ]
    statistics = (torch.stack(side) for side in zip(*triples, strict=True))
    yield no_worse(f"{name}: running statistics, D={input_size}", *statistics)


def _ours(name: str, espnet: EspnetHead) -> dict[str, Tensor]:
    """The state of ESPnet's encoder under our names."""
    states = older_names(espnet.encoder.state_dict(prefix="encoder."))
    return {HEADS[ENCODERS[name][0]].ours(key): value for key, value in states.items()}


def batch_checks() -> Iterator[Check]:
    """The CTC loss of a batch."""
    _, objective, espnet = make_pair("transformer", 80)
    values_BFH, lengths_B = torch.randn(3, 40, 256), torch.tensor([40, 31, 9])
    # the last: too long
    targets_BS, target_lengths_B = torch.randint(1, VOCAB_SIZE - 1, (3, 12)), torch.tensor([12, 5, 11])
    loss = objective(Encoded(values_BFH, lengths_B), targets_BS, target_lengths_B)
    their_loss = espnet.ctc(values_BFH, lengths_B, targets_BS, target_lengths_B)
    title = "CTC loss of a batch with one utterance too short for its text"
    yield relatively_close(title, loss.loss, their_loss)
