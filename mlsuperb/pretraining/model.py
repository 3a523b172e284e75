"""HuBERT as it is pre-trained: an encoder whose masked frames have to be told apart. Letters: B batch, F frames, C channels,
D feature size, N frames of all utterances of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from mlsuperb.layers.masks import valid_mask
from mlsuperb.pretraining.dataset import MaskedBatch
from mlsuperb.pretraining.head import PredictionHead, StoredHead, take_projection
from mlsuperb.training.trainable import Advice, Trainable
from mlsuperb.types import Loss
from mlsuperb.units.labels import About
from mlsuperb.upstreams.base import Front
from mlsuperb.upstreams.selfsupervised import SelfSupervised

ADVICE = Advice(
    memory="Lower loading.train.max_batch_s, raising trainer.accumulate in turn, or set trainer.precision=bf16",
    gradients="leave them out with another upstream",
    parameters="Choose a smaller upstream, or set trainer.max_trainable_params=null",
)


@dataclass(kw_only=True)
class MaskedPrediction:
    """Settings of the masked-prediction loss. The defaults are HuBERT base's and mHuBERT-147's (fairseq,
    `hubert_base_librispeech.yaml`, `hubert.py`, `hubert_criterion.py`).

    Args:
        final_size: size that frames and labels are compared in.
        temperature: of the softmax over cosine similarities.
        num_special: classes before the units; fairseq has four.
        unmasked_weight: of the loss of frames that are not masked, beside 1 for those that are (fairseq's
            `pred_nomask_weight`, 0 in every published HuBERT). Above 0, the loss is a mean over all labelled frames, as there.
            With a little of it a short training leaves its first plateau much sooner.
        feature_penalty: weight of the mean square of the convolutions' output.
        feature_grad_mult: factor on the gradient of the convolutions.
        layer_drop: chance of each block to be left out of an update.
        start: folder with a trained head for these very units and with these settings (`prediction_head.safetensors`), to go on
            with it; None: a new one.
        projection: `base` takes the final projection of the head that lies beside the upstream's weights and leaves it as it
            is, so that only the table of label embeddings is new: what fits the trained share of arXiv 2406.14092.
        table: how a new table of label embeddings begins: `random`, as in every published HuBERT, or `imprinted` with what a
            pre-trained upstream makes of the frames of each unit (`mlsuperb.pretraining.imprinting`).
    """

    final_size: PositiveInt = 256
    temperature: PositiveFloat = 0.1
    num_special: NonNegativeInt = 4
    unmasked_weight: NonNegativeFloat = 0.0
    feature_penalty: NonNegativeFloat = 10.0
    feature_grad_mult: Annotated[float, Field(ge=0, le=1)] = 0.1
    layer_drop: Annotated[float, Field(ge=0, lt=1)] = 0.05
    start: str | None = None
    projection: Literal["new", "base"] = "new"
    table: Literal["random", "imprinted"] = "random"

    @classmethod
    def problems(cls, *, start: str | None = None, table: str = "random", **_: Any) -> list[str]:
        """Whether there is a table to imprint."""
        if start is None or table == "random":
            return []
        return [f"prediction.start={start} brings its table of label embeddings: leave prediction.table={table} out"]

    def head(self, *, size: int, num_units: int) -> PredictionHead:
        """A new head for so many units."""
        return PredictionHead(**self._of_head(size=size, num_units=num_units))

    def head_for(self, labels: About, *, size: int, base: Path | None = None) -> PredictionHead:
        """A head for the units of some labels: that of `start`, or a new one.

        Args:
            base: folder with the upstream's weights, where it has any.

        Raises:
            ValueError: the one to start from is for other units or another model, or has other settings.
        """
        if self.start is None:
            head = self.head(size=size, num_units=labels.num_units)
            if self.projection == "base":
                take_projection(head, base)
            return head
        stored = StoredHead.read(Path(self.start))
        wanted = self._of_head(size=size, num_units=labels.num_units)
        if other := stored.differences(Path(self.start), labels, **wanted):
            raise ValueError(
                f"prediction.start={self.start} is a head for other units, for another model or with other settings "
                f"({'; '.join(other)}). Give the labels that it was trained on (targets.run) and its settings (prediction.*), or "
                "leave it out to train a new one"
            )
        return stored.head()

    def _of_head(self, *, size: int, num_units: int) -> dict[str, Any]:
        """The arguments of its `PredictionHead`."""
        own = {"final_size": self.final_size, "temperature": self.temperature, "num_special": self.num_special}
        return {"size": size, "num_units": num_units, **own}


class MaskedPredictionModel(Trainable):
    """Upstream and head with the loss of HuBERT: per masked frame, the cross-entropy of its unit plus `feature_penalty` times the
    mean square of the convolutions' output (fp32, over the frames of the utterances; fairseq's mean has padding in it, too).

    Args:
        upstream: built with `regularisation="mask_embedding"`.
        head: for the units of the labels.
        settings: of the loss.
        penalty: of the parameters, added to it.
    """

    methods: ClassVar = ("encode",)
    advice: ClassVar = ADVICE

    def __init__(
        self, upstream: SelfSupervised, *, head: PredictionHead, settings: MaskedPrediction,
        penalty: Callable[[], Tensor] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if problem := _unfit(upstream, settings):
            raise ValueError(problem)
        self.upstream, self.head, self.settings, self._of_parameters = upstream, head, settings, penalty
        self._blocks = [DroppableBlock(block) for block in upstream.stacked_blocks()]

    def blocks(self) -> Iterable[nn.Module]:
        """The Transformer blocks."""
        return self.upstream.stacked_blocks()

    def encode(self, batch: MaskedBatch) -> tuple[Tensor, Front]:
        """The last layer (B * F, D) of a batch, whose masked frames are hidden, and what the convolutions made."""
        front = self.upstream.run_front(batch.wave_BT, batch.lengths_B)
        if front.conv_BFC is not None and front.conv_BFC.requires_grad:
            front.conv_BFC.register_hook(lambda gradient: gradient * self.settings.feature_grad_mult)
        mask_D: Any = self.upstream.mask_embedding_D
        hidden_BFD = torch.where(batch.mask_BF[..., None], mask_D.to(front.hidden_BFD.dtype), front.hidden_BFD)
        for block in self._blocks:
            block.draw(self.settings.layer_drop if self.training else 0.0)
        return self.upstream.encode(hidden_BFD, front.lengths_B)[-1].flatten(0, 1), front

    def forward(self, batch: MaskedBatch, turn: str = "") -> Loss:
        """The loss of a batch, a mean over its masked frames (over all with `unmasked_weight`)."""
        hidden_ND, front = self.encode(batch)
        units_N, settings = batch.units_BF.flatten(), self.settings
        masked, right, num = self._predict(hidden_ND, units_N, batch.masked_N)
        with torch.set_grad_enabled(torch.is_grad_enabled() and settings.unmasked_weight > 0):
            unmasked, unmasked_right, num_unmasked = self._predict(hidden_ND, units_N, batch.unmasked_N)
        penalty = _mean_square(front)
        weight = num + num_unmasked if settings.unmasked_weight > 0 else num
        loss = (masked + settings.unmasked_weight * unmasked) / weight.clamp(min=1) + settings.feature_penalty * penalty
        rates = {
            "prediction_loss": (masked.detach(), num),
            "feature_penalty": (penalty.detach() * num, num),
            "masked_accuracy": (right, num),
            "unmasked_accuracy": (unmasked_right, num_unmasked),
        }
        if self._of_parameters is not None:
            held = self._of_parameters()
            loss, rates["preservation"] = loss + held, (held.detach() * num, num)
        return Loss(loss, weight=weight, rates=rates)

    def _predict(self, hidden_ND: Tensor, units_N: Tensor, places_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the frames at some places: the sum of their losses, how many are predicted right, how many they are."""
        losses_N, predicted_N = self.head.losses(hidden_ND[places_N], units_N[places_N])
        num = torch.full((), float(len(places_N)), device=losses_N.device)
        return losses_N.sum(), (predicted_N == units_N[places_N]).sum(), num


def _unfit(upstream: SelfSupervised, settings: MaskedPrediction) -> str | None:
    """Why a model cannot be trained like this."""
    family = upstream.model.config.model_type
    if family == "wav2vec2-bert":
        return (
            "w2v-BERT 2.0 reads mels: it has no convolutions, whose output masked prediction keeps small. Choose a HuBERT, "
            "wav2vec 2.0 or WavLM model"
        )
    if upstream.mask_embedding_D is None:
        return (
            "pre-training needs an upstream with an embedding of masked frames: upstream.regularisation=mask_embedding"
        )
    if family == "wavlm" and settings.layer_drop > 0:
        return (
            f"prediction.layer_drop={settings.layer_drop}: WavLM's first block makes the position bias of all others, so that "
            "no block can be left out. Set prediction.layer_drop=0"
        )
    return None


def _mean_square(front: Front) -> Tensor:
    """Of the convolutions' output, over valid frames."""
    assert front.conv_BFC is not None
    squares_BF = front.conv_BFC.float().square().mean(-1)
    valid_BF = valid_mask(front.lengths_B, squares_BF.shape[1])
    return (squares_BF * valid_BF).sum() / valid_BF.sum()


class DroppableBlock:
    """A Transformer block that can be left out of an update: layer drop (arXiv 1909.11556) in a form that every way of training
    on several devices takes. A dropped block hands its input on, and its parameters get a gradient of zero, not none."""

    def __init__(self, block: Any) -> None:
        self._dropped, self._block, self._forward = False, block, block.forward
        block.forward = self._maybe

    def draw(self, chance: float) -> None:
        """Decide about the next call."""
        self._dropped = bool(chance) and float(torch.rand(())) < chance

    def _maybe(self, hidden_BFD: Tensor, *others: Any, **named: Any) -> Any:
        if not self._dropped:
            return self._forward(hidden_BFD, *others, **named)
        nothing = sum(0 * parameter.sum() for parameter in self._block.parameters())
        return hidden_BFD + torch.as_tensor(nothing).to(hidden_BFD.dtype)
