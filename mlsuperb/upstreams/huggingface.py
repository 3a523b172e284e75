"""Self-supervised models from the Hugging Face hub or a local folder."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from mlsuperb.types import Features
from mlsuperb.upstreams.adapter import Adapter, merge_lora
from mlsuperb.upstreams.base import Front, Regularisation, Upstream, size_and_type
from mlsuperb.upstreams.checkpoint import Kind, Loaded, load
from mlsuperb.upstreams.conventions import Conventions, S3prlConventions
from mlsuperb.upstreams.inputs import WaveInput
from mlsuperb.upstreams.padding import EXTRACTOR_EPS
from mlsuperb.upstreams.published import Published
from mlsuperb.upstreams.selfsupervised import MODEL_CLASSES, SelfSupervised, config_problems, features
from mlsuperb.upstreams.sources import CONFIG, NORMALIZE_EPS, local_folder, read_json

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

    `record` also says whether waves are normalised (`do_normalize`), `conventions` unless they are the checkpoint's own and, for
    a folder that `mlsuperb export` wrote, `exported_from`: the run and the speech that its weights are from. With an
    `adapter`, `record` has its name and hashes, too. Of a checkpoint with an adapter for a language in every block (MMS), it has
    `language_adapter`: the size, and where it was read. Such models are published with an adapter per language, and the one
    in the main file is taken, as transformers does it (for facebook/mms-1b-all that is English).

    Attributes:
        conventions: under which it is run; None where the model reads no waves.
        s3prl: what these conventions do, where they are s3prl's; else None.

    Args:
        checkpoint: an id on the hub (`facebook/hubert-base-ls960`) or a folder written by `save_pretrained`. A
            checkpoint with a head (CTC, pre-training) gives its base model.
        revision: branch, tag or commit on the hub; a folder has none.
        dropout_while_frozen: see `Upstream`.
        regularisation: see `SelfSupervised`.
        adapter: folder of a LoRA adapter that was trained on this checkpoint, or of the run that trained it; its updates are
            added to the weights in memory.
        conventions: `checkpoint`: frames as the convolutions give them, and waves are brought to zero mean and unit variance
            where preprocessor_config.json says `do_normalize`. `s3prl`: as s3prl runs a model that it has itself (`hubert`,
            `xls_r_300m`, ...): a frame for every 320 samples begun, waves normalised where the convolutions have layer
            norms, as fairseq trained it, with 1e-5 added to their variance (`F.layer_norm`). `s3prl_hf`: as it runs one that it
            takes from transformers (`hf_wav2vec2_custom`, ...): the same frames, waves normalised as
            preprocessor_config.json says, with 1e-7 (`Wav2Vec2FeatureExtractor`). See `S3prlConventions`.
        normalise: whether waves are normalised, whatever preprocessor_config.json says; None leaves it to that file. For
            checkpoints without one.
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
        conventions: Conventions = "checkpoint",
        normalise: bool | None = None,
    ) -> None:
        loaded = self._load(checkpoint, revision=revision)
        added = _add(adapter, loaded) if adapter is not None else {}
        normalised, source = _normalisation(loaded, asked=normalise)
        eps = _eps(loaded)
        logger.info("%s: do_normalize is %s (%s)", checkpoint, normalised, source)
        super().__init__(
            loaded.model,
            normalise=normalised,
            eps=eps,
            dropout_while_frozen=dropout_while_frozen,
            regularisation=regularisation,
        )
        self._record = {
            **loaded.record(),
            "do_normalize": normalised,
            "do_normalize_source": source,
            **({} if eps == EXTRACTOR_EPS else {NORMALIZE_EPS: eps}),
            **_language_adapter(loaded.config),
            **size_and_type(self),
            **_origin(checkpoint),
            **added,
        }
        self.conventions = conventions if isinstance(self.input, WaveInput) else None
        self.s3prl = None if conventions == "checkpoint" else self._as_s3prl(conventions, checkpoint)

    @classmethod
    def _load(cls, checkpoint: str, *, revision: str) -> Loaded:
        return load(checkpoint, revision=revision, kind=cls.kind)

    def _as_s3prl(self, conventions: Literal["s3prl", "s3prl_hf"], checkpoint: str) -> S3prlConventions:
        """Leave what is done to waves to s3prl's conventions, and say so in the record."""
        if not isinstance(self.input, WaveInput):
            raise ValueError(_NO_WAVES.format(checkpoint))
        own = conventions == "s3prl"
        found = S3prlConventions(
            normalise=self.model.config.feat_extract_norm == "layer" if own else self.input.normalise,
            source="s3prl's own model" if own else str(self._record["do_normalize_source"]),
            eps=1e-5 if own else 1e-7,
            hop_length=math.prod(stride for _, stride in self.input.convolutions),
        )
        self.input.normalise = False
        effective = {"do_normalize": found.normalise, "do_normalize_source": found.source}
        self._record = {**self._record, **effective, "conventions": conventions}
        self._record.pop(NORMALIZE_EPS, None)
        return found

    @property
    def normalise(self) -> bool:
        return super().normalise if self.s3prl is None else self.s3prl.normalise

    def forward(self, wave_BT: Tensor, lengths_B: Tensor) -> Features:
        """See `Upstream.forward`."""
        if self.s3prl is None:
            return super().forward(wave_BT, lengths_B)
        front = super().run_front(*self.s3prl.prepare(wave_BT, lengths_B))
        layers, frames_B = self.run_blocks(front.hidden_BFD, front.lengths_B), self.num_frames(lengths_B)
        layers = self.s3prl.repeat_last(layers, front.lengths_B, frames_B, num_samples=wave_BT.shape[1])
        return Features(layers, frames_B, self.frame_rate_hz)

    def run_front(self, wave_BT: Tensor, lengths_B: Tensor) -> Front:
        """See `Upstream.run_front`. Refused under s3prl's conventions: frames are repeated behind the blocks."""
        if self.s3prl is None:
            return super().run_front(wave_BT, lengths_B)
        return Upstream.run_front(self, wave_BT, lengths_B)

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return super().num_frames(lengths_B) if self.s3prl is None else self.s3prl.num_frames(lengths_B)

    @classmethod
    def problems(  # type: ignore[override]
        cls,
        *,
        checkpoint: str,
        revision: str = "main",
        adapter: str | None = None,
        conventions: Conventions = "checkpoint",
        **_others: object,
    ) -> list[str]:
        """What can be said against the checkpoint and the adapter without network or weights."""
        found = super().problems(checkpoint=checkpoint, revision=revision)
        if not found and conventions != "checkpoint" and _reads_mels(checkpoint):
            found = [_NO_WAVES.format(checkpoint)]
        return [*found, *adapter_problems(adapter)]


_NO_WAVES = (
    "upstream.checkpoint={} reads no waves, so s3prl has no such model; use upstream=hf upstream.conventions=checkpoint"
)


def _reads_mels(checkpoint: str) -> bool:
    """Whether it is the folder of a w2v-BERT 2.0 model."""
    folder = local_folder(checkpoint)
    if folder is None:
        return False
    return bool(read_json(folder / CONFIG)["model_type"] == "wav2vec2-bert")


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


def _normalisation(loaded: Loaded, *, asked: bool | None) -> tuple[bool, str]:
    """What was asked for, or else `do_normalize` of the file that says how audio is prepared; without one, what fairseq's models
    were trained with: normalised waves where the convolutions have layer norm (`feat_extract_norm: layer`), raw ones where group
    norm."""
    if loaded.config["model_type"] == "wav2vec2-bert":
        if asked is not None:
            raise ValueError(
                f"upstream.normalise={asked}: {loaded.checkpoint} reads normalised log-mels, no waves; leave it out"
            )
        return False, "the model reads normalised log-mels"
    if asked is not None:
        return asked, "upstream.normalise"
    if loaded.preprocessor is None:
        by_rule = loaded.config.get("feat_extract_norm", "group") == "layer"
        return by_rule, "no preprocessor_config.json; by feat_extract_norm"
    # A file that is silent means Wav2Vec2FeatureExtractor's default, true.
    return bool(loaded.preprocessor.get("do_normalize", True)), loaded.preprocessor_file


def _eps(loaded: Loaded) -> float:
    return float((loaded.preprocessor or {}).get(NORMALIZE_EPS, EXTRACTOR_EPS))


def _language_adapter(config: Mapping[str, Any]) -> dict[str, Any]:
    """transformers makes such adapters of `adapter_attn_dim` alone, and takes their weights from the main file; those of other
    languages lie beside it (`adapter.swh.safetensors`), and are left there."""
    size = config.get("adapter_attn_dim")
    return {} if size is None else {"language_adapter": {"size": size, "from": "main file"}}
