"""A unit vocoder as it is trained: discriminators and generator take turns. Letters: B batch, F frames, S units without
repetitions, T samples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from mlsuperb.layers.over_ranks import total
from mlsuperb.training.trainable import Advice, Trainable
from mlsuperb.types import Loss
from mlsuperb.vocoder.dataset import UnitBatch
from mlsuperb.vocoder.discriminators import Discriminators, adversarial_loss, discriminator_loss, feature_loss
from mlsuperb.vocoder.generator import UnitVocoder
from mlsuperb.vocoder.mel import LogMel
from mlsuperb.vocoder.settings import VocoderSettings

ADVICE = Advice(memory="Lower loading.train.max_batch_size, or choose vocoder=unit_hifigan_tiny")


class VocoderModel(Trainable):
    """Generator and discriminators with the losses of HiFi-GAN and of the duration predictor.

    Args:
        vocoder: without weight norm; it is added here.
        settings: of losses and discriminators.
    """

    turns: ClassVar = ("discriminator", "generator")
    advice: ClassVar = ADVICE

    def __init__(self, vocoder: UnitVocoder, *, settings: VocoderSettings) -> None:
        super().__init__()
        self.generator = vocoder.add_weight_norm()
        self.discriminator = Discriminators(settings.discriminator_size)
        self.log_mel, self.settings = LogMel(), settings

    def trained(self, turn: str = "") -> Iterable[tuple[str, nn.Parameter]]:
        """All that requires a gradient of the part that has its turn."""
        return ((name, one) for name, one in super().trained() if name.startswith(turn))

    def forward(self, batch: UnitBatch, turn: str = "") -> Loss:
        """The loss of a turn on segments of one length, which are real without padding."""
        if turn == "generator":
            return self._generator_loss(batch)
        with torch.no_grad():
            made_BT = self._made(batch)
        both = self.discriminator(torch.cat((batch.wave_BT, made_BT)))
        num = len(made_BT)
        real, made = ([[one[part] for one in layers] for layers in both] for part in (slice(num), slice(num, None)))
        return Loss(discriminator_loss(real, made))

    def _made(self, batch: UnitBatch) -> Tensor:
        made_BT: Tensor = self.generator(batch.targets_BS, speaker_B=batch.speaker_B, language_B=batch.language_B)
        return made_BT

    def _generator_loss(self, batch: UnitBatch) -> Loss:
        made_BT, settings = self._made(batch), self.settings
        with torch.no_grad():
            real = self.discriminator(batch.wave_BT)
            real_BJM = self.log_mel(batch.wave_BT)
        made = self.discriminator(made_BT)
        mel = (self.log_mel(made_BT) - real_BJM).abs().mean()
        features, adversarial = feature_loss(real, made), adversarial_loss(made)
        errors, num_errors = self.duration_errors(batch)
        duration = errors / self._num_durations(batch, num_errors)
        loss = adversarial + settings.feature_weight * features + settings.mel_weight * mel
        parts = {"mel_l1": mel, "feature_matching": features, "adversarial": adversarial}
        num = torch.full((), float(len(batch.ids)), device=mel.device)
        rates = {name: (value.detach() * num, num) for name, value in parts.items()}
        rates["duration_error"] = (errors.detach(), num_errors)
        return Loss(loss + settings.duration_weight * duration, rates=rates)

    def _num_durations(self, batch: UnitBatch, own: Tensor) -> Tensor:
        """What the sum of errors is divided by, so that the whole batch has the mean over its whole runs on any number of ranks,
        whose losses count by segments, which have different numbers of runs. Without any run the mean is 0, not nan."""
        num: Tensor = total(own).clamp(min=1) * (batch.share or 1.0)
        return num

    def duration_errors(self, batch: UnitBatch) -> tuple[Tensor, Tensor]:
        """The sum of the squared errors of log(1 + frames) of the runs of one unit that are whole (see `UnitBatch`), and how many
        there are."""
        predicted_BS = self.generator.log_durations(batch.runs_BS, batch.run_lengths_B)
        whole_BS = batch.run_frames_BS > 0
        errors_BS = (predicted_BS.float() - batch.run_frames_BS.clamp(min=0).float().log1p()).square()
        return (errors_BS * whole_BS).sum(), whole_BS.sum().float()
