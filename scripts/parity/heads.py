"""Heads and the CTC loss, on unpadded input; how a padded batch differs by design."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from mlsuperb.config.build import instantiate
from mlsuperb.config.options import conf_dir
from mlsuperb.espnet.keys import CTC_LAYER, HEADS, EncoderKind
from mlsuperb.heads.encoder import EncoderHead
from mlsuperb.objectives.ctc import CTC
from mlsuperb.types import Encoded
from scripts.parity.report import Check, close, relatively_close, same_size

# A ReLU whose input is zero but for rounding may fall to the other side: one of 1.4 million moved the gradient of oneDNN's
# direct convolution by 1.4e-3 from its own in fp64, and moves ours, which rounds otherwise, as far from theirs. Where none does,
# both are 2e-6 from fp64.
GRADIENT_TOLERANCE = 3e-3
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

    def __init__(self, name: str, head: EncoderHead, objective: CTC, *, input_size: int) -> None:
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
        self.encoder = makers[kind](input_size=80, **settings)
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


def make_pair(name: str, input_size: int) -> tuple[EncoderHead, CTC, EspnetHead]:
    """`conf/head/<name>.yaml`, an output layer, and ESPnet's model with the same weights."""
    settings = yaml.safe_load((conf_dir() / "head" / f"{name}.yaml").read_text(encoding="utf-8"))
    head: EncoderHead = instantiate(settings, input_size=input_size).eval()
    for module in head.modules():
        if isinstance(module, nn.BatchNorm1d):  # as if trained
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.1, 0.5)
    objective = CTC(input_size=head.output_size, vocab_size=VOCAB_SIZE).eval()
    return head, objective, EspnetHead(name, head, objective, input_size=input_size).eval()


def head_checks() -> Iterator[Check]:
    """Heads, loss and gradients on single utterances, with and without projection."""
    for name in ENCODERS:
        for input_size in (1024, 80):
            head, objective, espnet = make_pair(name, input_size)
            yield same_size(f"{name}: parameters, D={input_size}", [head, objective], espnet)
            for num_frames in (7, 8, 50, 301):
                title = f"D={input_size}, {num_frames} frames"
                feats_BFD, lengths_B = torch.randn(1, num_frames, input_size), torch.tensor([num_frames])
                ours, (theirs, their_lengths_B) = head(feats_BFD, lengths_B), espnet(feats_BFD, lengths_B)
                yield close(f"{name}: output, {title}", ours.values, theirs)
                same = bool((ours.lengths_B == their_lengths_B).all())
                yield Check(f"{name}: frames, {title}", f"{int(ours.lengths_B)}", same)
                yield from loss_checks(f"{name}: {{}}, {title}", head, objective, espnet, ours, theirs)
            yield from training_checks(name, head, espnet, input_size=input_size)


def loss_checks(
    title: str, head: EncoderHead, objective: CTC, espnet: EspnetHead, ours: Encoded, theirs: Tensor
) -> Iterator[Check]:
    num_tokens = max(1, int(ours.lengths_B) // 3)
    targets_BS, target_lengths_B = torch.randint(1, VOCAB_SIZE - 1, (1, num_tokens)), torch.tensor([num_tokens])
    our_loss = objective(ours, targets_BS, target_lengths_B).loss
    their_loss = espnet.ctc(theirs, ours.lengths_B, targets_BS, target_lengths_B)
    yield relatively_close(title.format("CTC loss"), our_loss, their_loss)
    for module, loss in ((head, our_loss), (espnet, their_loss)):
        module.zero_grad()
        loss.backward()
    our_grad, their_grad = head.frontend.conv1.weight.grad, espnet.encoder.embed.conv[0].weight.grad
    yield relatively_close(title.format("gradient"), our_grad, their_grad, tolerance=GRADIENT_TOLERANCE)


def training_checks(name: str, head: EncoderHead, espnet: EspnetHead, *, input_size: int) -> Iterator[Check]:
    """Where there is batch norm: an output in training, without dropout, and the statistics that it leaves."""
    if not any(isinstance(module, nn.BatchNorm1d) for module in head.modules()):
        return
    for module in (*head.modules(), *espnet.modules()):
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    feats_BFD, lengths_B = torch.randn(2, 50, input_size), torch.tensor([50, 50])
    ours, (theirs, _) = head.train()(feats_BFD, lengths_B).values, espnet.train()(feats_BFD, lengths_B)
    yield close(f"{name}: output in training, D={input_size}", ours, theirs)
    names = {f"{prefix}.{key}" for prefix, _ in head.named_modules() for key in ("running_mean", "running_var")}
    states = espnet.encoder.state_dict(prefix="encoder.")
    left = {HEADS[ENCODERS[name][0]].ours(key): value for key, value in states.items()}
    pairs = [(value, left[key]) for key, value in head.state_dict().items() if key in names]
    statistics = (torch.stack(side) for side in zip(*pairs, strict=True))
    yield close(f"{name}: running statistics, D={input_size}", *statistics)


def batch_checks() -> Iterator[Check]:
    """The CTC loss of a batch; how ESPnet counts the frames of a padded batch."""
    head, objective, espnet = make_pair("transformer", 80)
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
