"""A recurrent probe.

Letters: B batch, F frames, D feature size, H encoded size.
"""

from __future__ import annotations

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mlsuperb.heads.base import Head, Rate
from mlsuperb.heads.inputs import InputNorm, UtteranceNorm
from mlsuperb.layers.dropout import Dropout
from mlsuperb.layers.frontends import FrontendName, make_frontend
from mlsuperb.types import Encoded, Taps


class BiLSTMHead(Head):
    """Utterance normalisation, front end, bidirectional LSTM: SUPERB's ASR probe (arXiv 2105.01051), which has no
    normalisation. The defaults are `s3prl/downstream/asr/config.yaml`. The LSTM runs in fp32 also under autocast.

    Args:
        input_size: D, given by the featurizer.
        input_norm: what each utterance is normalised to before anything else.
        frontend: see `make_frontend`.
        num_layers: LSTM layers.
        size: units of each direction; an encoded frame is twice as large.
        dropout: after each LSTM layer.
    """

    def __init__(
        self,
        *,
        input_size: int,
        input_norm: InputNorm = "mean",
        frontend: FrontendName = "linear",
        num_layers: PositiveInt = 2,
        size: PositiveInt = 1024,
        dropout: Rate = 0.2,
    ) -> None:
        super().__init__()
        self.output_size = 2 * size
        self.norm = UtteranceNorm(input_norm)
        self.frontend = make_frontend(frontend, input_size=input_size, output_size=size)
        between = dropout if num_layers > 1 else 0.0  # torch warns of one that is never used
        self.lstm = nn.LSTM(size, size, num_layers, batch_first=True, bidirectional=True, dropout=between)
        self.dropout = Dropout(dropout)

    @property
    def stages(self) -> dict[str, nn.Module]:
        """The front end; `nn.LSTM` shows its last layer alone, which is the output."""
        return {"front end": self.frontend}

    def forward(self, feats_BFD: Tensor, lengths_B: Tensor, taps: Taps | None = None) -> Encoded:
        values_BFH = self.frontend(self.norm(feats_BFD, lengths_B), lengths_B)
        frames_B = self.num_frames(lengths_B)
        with torch.autocast(values_BFH.device.type, enabled=False):
            packed = pack_padded_sequence(values_BFH.float(), frames_B.cpu(), batch_first=True, enforce_sorted=False)
            # zero beyond each length
            encoded_BFH, _ = pad_packed_sequence(
                self.lstm(packed)[0], batch_first=True, total_length=values_BFH.shape[1]
            )
        return Encoded(self.dropout(encoded_BFH), frames_B)

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return self.frontend.num_frames(lengths_B)
