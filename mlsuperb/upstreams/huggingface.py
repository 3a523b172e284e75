"""Self-supervised models from the Hugging Face hub or a local folder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from mlsuperb.upstreams.adapter import Adapter, merge_lora
from mlsuperb.upstreams.base import Regularisation, size_and_type
from mlsuperb.upstreams.checkpoint import Kind, Loaded, load
from mlsuperb.upstreams.published import Published
from mlsuperb.upstreams.selfsupervised import MODEL_CLASSES, SelfSupervised, config_problems, features
from mlsuperb.upstreams.sources import local_folder, read_json

logger = logging.getLogger(__name__)

RUN_FOLDER = "huggingface"  # in the folder of a run that pre-trains
EXPORT_FILE = "mlsuperb_export.json"  # beside the weights of an upstream that was trained with this toolkit

KIND = Kind(
    classes=MODEL_CLASSES,
    config_problems=config_problems,
    features=features,
    body=("encoder.", "feature_extractor.", "feature_projection."),  # of every family; anything else is a head
    unused=("masked_spec_embed",),
)


class HuggingFace(Published, SelfSupervised):
    """HuBERT, wav2vec 2.0 (XLS-R and MMS included), WavLM or w2v-BERT 2.0 with published weights.

    Waves are brought to zero mean and unit variance where the checkpoint's preprocessor_config.json, or `feature_extractor` of
    its processor_config.json, says `do_normalize`. `record` also has that and, for a folder that `mlsuperb export` wrote,
    `exported_from`: the run and the speech that its weights are from. With an `adapter`, `record` has its name and hashes, too.

    Args:
        checkpoint: an id on the hub (`facebook/hubert-base-ls960`) or a folder written by `save_pretrained`. A
            checkpoint with a head (CTC, pre-training) gives its base model.
        revision: branch, tag or commit on the hub; a folder has none.
        dropout_while_frozen: see `Upstream`.
        regularisation: see `SelfSupervised`.
        adapter: folder of a LoRA adapter that was trained on this checkpoint, or of the run that trained it; its updates are
            added to the weights in memory.
    """

    kind = KIND

    def __init__(
        self,
        *,
        checkpoint: str,
        revision: str = "main",
        dropout_while_frozen: bool = False,
        regularisation: Regularisation = "off",
        adapter: str | None = None,
    ) -> None:
        loaded = load(checkpoint, revision=revision, kind=KIND)
        added = _add(adapter, loaded) if adapter is not None else {}
        normalise, source = _normalisation(loaded)
        logger.info("%s: do_normalize is %s (%s)", checkpoint, normalise, source)
        super().__init__(
            loaded.model,
            normalise=normalise,
            dropout_while_frozen=dropout_while_frozen,
            regularisation=regularisation,
        )
        self._record = {
            **loaded.record(),
            "do_normalize": normalise,
            "do_normalize_source": source,
            **size_and_type(self),
            **_origin(checkpoint),
            **added,
        }

    @classmethod
    def problems(  # type: ignore[override]
        cls, *, checkpoint: str, revision: str = "main", adapter: str | None = None, **_others: object
    ) -> list[str]:
        """What can be said against the checkpoint and the adapter without network or weights."""
        found = super().problems(checkpoint=checkpoint, revision=revision)
        return [*found, *adapter_problems(adapter)]


def adapter_problems(adapter: str | None) -> list[str]:
    """Whether there is no such adapter."""
    if adapter is not None:
        try:
            Adapter.open(Path(adapter))
        except ValueError as error:
            return [f"upstream.adapter: {error}"]
    return []


def _add(folder: str, loaded: Loaded) -> dict[str, Any]:
    """Merge an adapter into the model; returns its part of the record."""
    adapter = Adapter.open(Path(folder))
    adapter.check(loaded.model, loaded.record(), given=f"upstream.adapter={folder}")
    adapter.attach(loaded.model)
    merge_lora(loaded.model)
    logger.info("%s: added the adapter %s", loaded.checkpoint, adapter.name)
    return {"adapter": adapter.record()}


def _origin(checkpoint: str) -> dict[str, Any]:
    folder = local_folder(checkpoint)
    if folder is None or not (folder / EXPORT_FILE).is_file():
        return {}
    origin = read_json(folder / EXPORT_FILE)
    names = ("run_id", "adaptation", "upstream", "pretrained_on", "data")
    return {"exported_from": {name: origin.get(name) for name in names}}


def _normalisation(loaded: Loaded) -> tuple[bool, str]:
    """`do_normalize` of the file that says how audio is prepared; without one, what fairseq's models were trained with:
    normalised waves where the convolutions have layer norm (`feat_extract_norm: layer`), raw ones where group norm."""
    if loaded.config["model_type"] == "wav2vec2-bert":
        return False, "the model reads normalised log-mels"
    if loaded.preprocessor is None:
        by_rule = loaded.config.get("feat_extract_norm", "group") == "layer"
        return by_rule, "no preprocessor_config.json; by feat_extract_norm"
    # A file that is silent means Wav2Vec2FeatureExtractor's default, true.
    return bool(loaded.preprocessor.get("do_normalize", True)), loaded.preprocessor_file
