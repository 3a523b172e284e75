"""What a frozen upstream is benchmarked with elsewhere: s3prl's weighted sum and ESPnet's modules, with the settings of its
ML-SUPERB recipe (egs2/ml_superb/asr1/conf/tuning/train_asr_s3prl_single.yaml). Needs ESPnet, see `scripts/parity_espnet.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import transformers
from espnet2.asr.specaug.specaug import SpecAug
from torch import Tensor, nn

from mlsuperb.benchmark.model import SpeechModel
from mlsuperb.heads.encoder import EncoderHead
from mlsuperb.objectives.ctc import CTC
from mlsuperb.types import Batch
from scripts.bench.harness import seconds
from scripts.parity.heads import EspnetHead


class OrdinaryTop(nn.Module):
    """Everything on top of the upstream, in the order of `espnet2.asr.espnet_model.ESPnetASRModel`, with the weights of our
    head and objective."""

    def __init__(self, head: EncoderHead, objective: CTC, *, num_layers: int, layer_size: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(num_layers))
        self.specaug = SpecAug(
            apply_time_warp=True, time_warp_window=5, time_warp_mode="bicubic", apply_freq_mask=True,
            freq_mask_width_range=(0, 27), num_freq_mask=2, apply_time_mask=True,
            time_mask_width_ratio_range=(0.0, 0.05), num_time_mask=10,
        )  # fmt: skip
        self.head = EspnetHead("transformer", head, objective, input_size=layer_size)

    def forward(
        self, layers: Sequence[Tensor], lengths_B: Tensor, targets_BS: Tensor, target_lengths_B: Tensor
    ) -> Tensor:
        """The loss of a batch."""
        # s3prl.nn.Featurizer._weighted_sum
        stacked = torch.stack(tuple(layers), dim=0).view(len(layers), -1)
        feats_BFD = (self.weights.softmax(-1).unsqueeze(-1) * stacked).sum(dim=0).view(layers[0].shape)
        if self.training:
            feats_BFD, lengths_B = self.specaug(feats_BFD, lengths_B)
        values_BFH, frames_B = self.head(feats_BFD, lengths_B)
        loss: Tensor = self.head.ctc(values_BFH, frames_B, targets_BS, target_lengths_B)
        return loss


class OrdinaryTraining:
    """transformers' HuBERT in fp32 in every step, `OrdinaryTop` with the weights of `model`, an update every four steps."""

    def __init__(self, checkpoint: Path, model: SpeechModel, device: torch.device) -> None:
        self.device, self.accumulate, self.done = device, 4, 0
        self.hubert = transformers.HubertModel.from_pretrained(checkpoint).eval().to(device)
        featurizer = model.featurizer
        top = OrdinaryTop(
            model.head, model.objective, num_layers=len(featurizer.weights), layer_size=featurizer.output_size
        )
        self.top = top.to(device).train()
        self.optimizer = torch.optim.Adam(self.top.parameters(), lr=1e-4, weight_decay=1e-6)

    def loss(self, batch: Batch) -> Tensor:
        batch = batch.to(self.device)
        mask_BT = torch.arange(batch.wave_BT.shape[1], device=self.device) < batch.lengths_B[:, None]
        with torch.no_grad():
            layers = self.hubert(batch.wave_BT, attention_mask=mask_BT.long(), output_hidden_states=True).hidden_states
            frames_B = self.hubert._get_feat_extract_output_lengths(batch.lengths_B)
        loss: Tensor = self.top(layers, frames_B, batch.targets_BS, batch.target_lengths_B)
        return loss

    def step(self, load: Callable[[], Batch]) -> list[float]:
        """Seconds of one iteration by both clocks, loading of audio included; an update every four."""
        return seconds(lambda: self._iterate(load()))

    def _iterate(self, batch: Batch) -> None:
        loss = self.loss(batch)
        if self.top.training:
            (loss / self.accumulate).backward()
            self.done += 1
            if self.done % self.accumulate == 0:
                torch.nn.utils.clip_grad_norm_(self.top.parameters(), 5.0)
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
        float(loss.detach())  # waits for the device
