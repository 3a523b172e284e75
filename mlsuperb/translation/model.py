"""A translator as it is trained. Letters: B batch, U target tokens, V vocabulary, N tokens of all targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, ctc_loss

from mlsuperb.data.text_dataset import TextBatch
from mlsuperb.objectives.ctc import min_frames
from mlsuperb.training.trainable import Advice, Trainable
from mlsuperb.translation.translator import Memory, Translator
from mlsuperb.types import Batch, Loss
from mlsuperb.upstreams.modes import set_train_mode

IGNORED = -100
ADVICE = Advice(
    memory="Lower loading.train.max_batch_s, raising trainer.accumulate in turn, or set trainer.precision=bf16",
    gradients="choose another adaptation, or another training (train_on)",
    parameters="Train less (adaptation), or set trainer.max_trainable_params=null",
)


@dataclass(kw_only=True)
class CrossEntropy:
    """Cross-entropy of each target token in nats, a mean over the tokens of a batch.

    Args:
        label_smoothing: share of the target's probability that is spread over all tokens: 0 in transformers' models, 0.2 in
            Meta's fine-tuning (seamless_communication, `cli/m4t/finetune/trainer.py`).
        skip_language: leave out the language's token, which the decoder is given when it writes (Meta's
            `ignore_prefix_size=1`); transformers counts it.
    """

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    skip_language: bool = False

    def __call__(self, logits_BUV: Tensor, labels_BU: Tensor) -> Tensor:
        """The sum over tokens, labels of `IGNORED` left out."""
        return cross_entropy(
            logits_BUV.flatten(0, 1).float(), labels_BU.flatten(), ignore_index=IGNORED, reduction="sum",
            label_smoothing=self.label_smoothing,
        )  # fmt: skip


@dataclass(kw_only=True)
class HybridLoss(CrossEntropy):
    """Beside the cross-entropy CTC of what the decoder attends to, for trainings from nothing (hybrid CTC/attention, arXiv
    1609.06773): attention alone takes long to find out which place of the speech a token is of.

    The logits of a place are those that the decoder's output layer gives it, the token of padding being the blank, so that
    the model has no parameter more. Utterances with too few places for their tokens do not contribute to it
    (`speech_ctc_skipped`).

    Args:
        ctc_weight: share of CTC in the loss of a batch of speech; batches of text have none.
    """

    ctc_weight: Annotated[float, Field(gt=0, lt=1)] = 0.3

    def of_places(
        self, logits_BMV: Tensor, places_B: Tensor, texts_BS: Tensor, lengths_B: Tensor, *, blank: int
    ) -> tuple[Tensor, Tensor]:
        """(B,): nats of each text, 0 where it has too few places; and (B,): where it has enough.

        Args:
            logits_BMV, places_B: what the places give, and how many are valid.
            texts_BS, lengths_B: tokens without prefix and end.
            blank: a token.
        """
        log_probs_MBV = logits_BMV.float().log_softmax(-1).transpose(0, 1)
        nats_B = ctc_loss(
            log_probs_MBV, texts_BS, places_B, lengths_B, blank=blank, reduction="none", zero_infinity=True
        )
        return nats_B, places_B >= min_frames(texts_BS, lengths_B)


class TranslationModel(Trainable):
    """A translator with its loss: batches of speech (`Batch`) and of parallel text (`TextBatch`) teach the same decoder.

    Args:
        translator: adapted.
        loss: of its target tokens.
        num_prefix: tokens of a target before its text.

    Attributes:
        penalty: of the parameters, added to the loss; set before a training.
    """

    uneven: ClassVar = True  # a batch of text needs no speech encoder
    methods: ClassVar = ("score",)
    advice: ClassVar = ADVICE

    def __init__(self, translator: Translator, *, loss: CrossEntropy, num_prefix: int) -> None:
        super().__init__()
        self.translator, self.loss, self.num_prefix = translator, loss, num_prefix
        self.penalty: Callable[[], Tensor] | None = None

    def train(self, mode: bool = True) -> TranslationModel:
        """Frozen parts have no dropout: in training mode are the blocks that hold something trained, frozen weights beside it
        included (`set_train_mode`), and all of a model of which everything is trained, what belongs to no stack included."""
        super().train(mode)
        trained = [name for name, one in self.translator.named_parameters() if one.requires_grad]
        if mode and len(trained) < len(list(self.translator.parameters())):
            set_train_mode(self.translator, trained=trained)
        return self

    def blocks(self) -> Iterator[nn.Module]:
        """The Transformer blocks."""
        yield from self.translator.stacked_blocks()

    def forward(self, batch: Batch | TextBatch, turn: str = "") -> Loss:
        """The mean cross-entropy of the target tokens, with CTC where the loss has it, and the penalty."""
        memory = self._memory(batch)
        total, right, num = self._score(batch, memory)
        rates = {f"{kind_of(batch)}_loss": (total.detach(), num), f"{kind_of(batch)}_accuracy": (right, num)}
        loss = total / num.clamp(min=1)
        if isinstance(self.loss, HybridLoss) and not isinstance(batch, TextBatch):
            nats_B, aligned_B = self._nats_of_places(self.loss, batch, memory)
            ctc = nats_B.sum() / num.clamp(min=1)
            loss = (1 - self.loss.ctc_weight) * loss + self.loss.ctc_weight * ctc
            rates["speech_ctc_loss"] = (ctc.detach() * num, num)
            rates["speech_ctc_skipped"] = ((~aligned_B).sum(), aligned_B.new_tensor(len(aligned_B), dtype=torch.float))
        if self.penalty is not None:
            held = self.penalty()
            loss, rates["preservation"] = loss + held, (held.detach() * num, num)
        return Loss(loss, weight=num, rates=rates)

    def score(self, batch: Batch | TextBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Of a batch's target tokens: the sum of their losses, how many are predicted right, how many count."""
        return self._score(batch, self._memory(batch))

    def _score(self, batch: Batch | TextBatch, memory: Memory) -> tuple[Tensor, Tensor, Tensor]:
        targets_BU, lengths_B = (
            (batch.target_BT, batch.target_lengths_B)
            if isinstance(batch, TextBatch)
            else (batch.targets_BS, batch.target_lengths_B)
        )
        labels_BU = labels(targets_BU, lengths_B, skip=self.num_prefix - 1 if self.loss.skip_language else 0)
        logits_BUV = self.translator.logits(memory, targets_BU[:, :-1])
        counted_BU = labels_BU != IGNORED
        right = ((logits_BUV.detach().argmax(-1) == labels_BU) & counted_BU).sum()
        return self.loss(logits_BUV, labels_BU), right, counted_BU.sum().float()

    def _nats_of_places(self, loss: HybridLoss, batch: Batch, memory: Memory) -> tuple[Tensor, Tensor]:
        translator = self.translator
        with torch.autocast(memory.hidden_BMD.device.type, enabled=False):
            logits_BMV = translator.output_layer(memory.hidden_BMD.float())
            return loss.of_places(
                logits_BMV, memory.valid_BM.sum(1), batch.targets_BS[:, self.num_prefix :],
                batch.target_lengths_B - self.num_prefix - 1, blank=translator.pad,
            )  # fmt: skip

    def nats(self, batch: TextBatch) -> Tensor:
        """(B,): what each target's text and end cost in nats, given the source and the prefix (the language among it)."""
        labels_BU = labels(batch.target_BT, batch.target_lengths_B, skip=self.num_prefix - 1)
        logits_BUV = self.translator.logits(self._memory(batch), batch.target_BT[:, :-1])
        logits_BVU = logits_BUV.transpose(1, 2).float()
        return cross_entropy(logits_BVU, labels_BU, ignore_index=IGNORED, reduction="none").sum(1)

    def _memory(self, batch: Batch | TextBatch) -> Memory:
        if isinstance(batch, TextBatch):
            return self.translator.encode_text(batch.source_BS, batch.source_lengths_B)
        return self.translator.encode_speech(batch.wave_BT, batch.lengths_B)


def labels(targets_BU: Tensor, lengths_B: Tensor, *, skip: int) -> Tensor:
    """(B, U - 1): the token to predict after each but the last one of a target (prefix, text, end), as transformers'
    `shift_tokens_right` has them: what is padding, and the first `skip`, are `IGNORED`."""
    places_U = torch.arange(1, targets_BU.shape[1], device=targets_BU.device)
    counted_BU = (places_U < lengths_B[:, None]) & (places_U > skip)
    return targets_BU[:, 1:].masked_fill(~counted_BU, IGNORED)


def kind_of(batch: Batch | TextBatch) -> str:
    """`text` or `speech`."""
    return "text" if isinstance(batch, TextBatch) else "speech"
