"""CTC between the blocks of a head, beside ESPnet's intermediate, self-conditioned CTC (`interctc_layer_idx`,
`interctc_use_conditioning`, `interctc_weight` and `aux_ctc` of `espnet2.asr.espnet_model`), in float64."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mlsuperb.objectives.ctc_hierarchical import HierarchicalCTC
from scripts.parity.heads import VOCAB_SIZE, EspnetHead, Utterances, make_ours
from scripts.parity.report import Check, doubled, in_double, relatively_close

BLOCKS, LANGUAGE_BLOCKS, WEIGHT = (3, 6), (3,), 0.3


class EspnetHierarchical(EspnetHead):
    """`EspnetHead` whose encoder shows what comes out of some blocks."""

    def losses(self, one: Utterances) -> tuple[Tensor, Tensor]:
        """The encoder's output, and the loss as `ESPnetASRModel.forward` sums it."""
        feats_BFD, lengths_B = self.normalize(one.feats_BFD.clone(), one.lengths_B)
        if self.preencoder is not None:
            feats_BFD, lengths_B = self.preencoder(feats_BFD, lengths_B)
        (values_BFH, inner), lengths_B, _ = self.encoder(feats_BFD, lengths_B, ctc=self.ctc)
        of_language = torch.ones_like(one.target_lengths_B)
        between = [
            self.ctc(
                inner_BFH, lengths_B, one.targets_BS, of_language if block in LANGUAGE_BLOCKS else one.target_lengths_B
            )
            for block, inner_BFH in inner
        ]
        loss = self.ctc(values_BFH, lengths_B, one.targets_BS, one.target_lengths_B)
        return values_BFH, (1 - WEIGHT) * loss + WEIGHT * torch.stack(between).mean()


def hierarchical_checks() -> Iterator[Check]:
    """Outputs and losses of a Transformer and a Conformer; ESPnet's E-Branchformer has no layer norm there."""
    changes = {"interctc_layer_idx": list(BLOCKS), "interctc_use_conditioning": True}
    for name in ("transformer_small", "conformer_small"):
        head, plain = make_ours(name, 80)
        espnet = EspnetHierarchical(name, head, plain, input_size=80, **changes).eval()
        objective = HierarchicalCTC(
            input_size=head.output_size, vocab_size=VOCAB_SIZE, blocks=BLOCKS, language_blocks=LANGUAGE_BLOCKS,
            inner_weight=WEIGHT,
        ).eval()  # fmt: skip
        objective.out.load_state_dict(plain.out.state_dict())
        espnet.encoder.conditioning_layer = objective.condition
        one = Utterances.random(head, num_frames=[60], input_size=80).double()
        exact, ours, ours_loss = in_double(espnet), in_double(head), in_double(objective)
        ours.frontend.fewer_products = False
        with doubled(), torch.no_grad():
            encoded = ours(one.feats_BFD, one.lengths_B, ours_loss.taps())
            loss = ours_loss(encoded, one.targets_BS, one.target_lengths_B).loss
            values_BFH, wanted = exact.losses(one)
        yield relatively_close(f"{name}: output behind self-conditioning", encoded.values, values_BFH)
        yield relatively_close(f"{name}: loss of all depths", loss, wanted)
