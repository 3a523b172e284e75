"""CTC prefix search, label by label: the decoding behind ML-SUPERB's numbers."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import PositiveInt
from torch import Tensor

from mlsuperb.decoding.base import Decoded, Decoder
from mlsuperb.decoding.joint_beam import JointBeam
from mlsuperb.types import AttentionDecoder


@dataclass(kw_only=True)
class PrefixBeam(Decoder):
    """Beam search over prefixes, each scored by the probability of all outputs that begin with it: `JointBeam` with CTC alone.

    Finds what ESPnet's `BatchBeamSearch` finds with `CTCPrefixScorer` alone: ctc_weight 1, no language model, no length
    bonus, no pre-beam, at most as many tokens as frames, its end detection. `beam_size=1` is ML-SUPERB's
    (`conf/decode_asr.yaml`), which is not the same as `Greedy`. `scripts/parity_espnet.py` checks it. Where ESPnet
    leaves an `<sos/eos>` in the text, because the search ended by itself at its last step, here there is none.

    Args:
        beam_size: hypotheses kept at each step.
    """

    beam_size: PositiveInt = 1

    def __call__(
        self, log_probs_BFV: Tensor, lengths_B: Tensor, attention: AttentionDecoder | None = None
    ) -> list[Decoded]:
        return JointBeam(beam_size=self.beam_size, ctc_weight=1.0)(log_probs_BFV, lengths_B)
