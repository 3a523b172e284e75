"""Elastic weight consolidation in an adaptation: what matters for the transcripts of old languages is held near its start."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from pydantic import PositiveFloat, PositiveInt

from mlsuperb.data.dataset import SpeechDataset
from mlsuperb.data.loading import Loading
from mlsuperb.training.consolidation import WeightAnchor, fisher_information
from mlsuperb.translation.model import TranslationModel

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class ElasticWeights:
    """Settings of elastic weight consolidation of all parameters that are trained.

    Parameters that the model had before (`adaptation=everything`, `length_adaptor`) are held near their old values, as in
    arXiv 2407.06800 on Whisper. New ones (adapters, LoRA) are held near their start, at which they change nothing. There, the
    gradient of an adapter's first map is 0, since the second one is 0: only the second is held, where old languages need it.

    Args:
        languages: old ones, with training speech in the corpus of the run; it is not trained on.
        weight: of the penalty, lambda.
        num_utterances: that the Fisher information is estimated on, drawn from all languages together.
    """

    languages: list[str]
    weight: PositiveFloat = 1000.0
    num_utterances: PositiveInt = 200

    @classmethod
    def problems(cls, *, languages: list[str], **_: object) -> list[str]:
        """Whether there is anything to keep."""
        if languages:
            return []
        return ["preservation.languages is empty: name the languages that are to be kept, such as [deu,spa]"]

    def anchor(self, model: TranslationModel, speech: SpeechDataset, *, loading: Loading, seed: int) -> WeightAnchor:
        """Estimate what matters for the old languages by the loss of the training, in fp32 and without dropout; draws no global
        random numbers.

        Args:
            model: before its training, without a penalty.
            speech: transcribed, of the old languages.
        """
        device = next(model.parameters()).device
        model.eval()
        parameters = dict(model.trained())
        batches = (batch.to(device) for batch in loading.one_by_one().training(speech, seed=seed)(0))
        fisher = fisher_information(parameters, batches, loss=lambda batch: model(batch).loss, num=self.num_utterances)
        num = sum(one.numel() for one in fisher.values())
        log.info("elastic weight consolidation: Fisher information of %s parameters", f"{num:,}")
        return WeightAnchor(parameters, fisher, weight=self.weight)
