"""Omnilingual ASR's self-supervised encoders: wav2vec 2.0 in over 1,600 languages, as fairseq2 published them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mlsuperb.runtime.messages import listed
from mlsuperb.upstreams.checkpoint import Loaded
from mlsuperb.upstreams.conventions import Conventions
from mlsuperb.upstreams.huggingface import HuggingFace, adapter_problems
from mlsuperb.upstreams.omniasr_file import find_file, local_path, read_file
from mlsuperb.upstreams.sources import NORMALIZE_EPS, sha256

logger = logging.getLogger(__name__)

# fairseq2 brings each wave to zero mean and unit variance by `F.layer_norm` before padding, omnilingual-asr likewise
PREPARED = {"do_normalize": True, NORMALIZE_EPS: 1e-5}


class OmniASR(HuggingFace):
    """A wav2vec 2.0 encoder of Omnilingual ASR (arXiv 2511.09690): convolutions with layer norm, blocks with the norm in front,
    16 heads at every size. Quantiser and projections of pre-training are left out.

    It runs in transformers' `Wav2Vec2Model`, as those of `HuggingFace` do, and takes the same settings; waves are normalised,
    with 1e-5 added to their variance.

    Args:
        checkpoint: an id on the hub (`facebook/omniASR-W2V-300M`), a file `omniASR-W2V-*.pt`, or a folder with one alone.
        revision: branch, tag or commit on the hub; a file has none.
        settings: the others of `HuggingFace`.
    """

    @classmethod
    def _load(cls, checkpoint: str, *, revision: str) -> Loaded:
        """The model with the file's weights in fp32.

        Raises:
            ValueError: the file is missing, damaged, or another kind of checkpoint.
        """
        file = find_file(checkpoint, revision=revision)
        tensors, config = read_file(file.path)
        return Loaded(
            model=_make(tensors, config, path=file.path),
            config=config,
            preprocessor=PREPARED,
            preprocessor_file="the waveform's layer norm of fairseq2",
            checkpoint=checkpoint,
            revision=revision,
            commit=file.commit,
            sha256=None if file.commit else {file.path.name: sha256(file.path)},
        )

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
        from huggingface_hub import constants

        found = []
        if local_path(checkpoint) is not None or constants.HF_HUB_OFFLINE:
            try:
                read_file(find_file(checkpoint, revision=revision, fetch=False).path)
            except ValueError as error:
                found = [str(error)]
        return [*found, *adapter_problems(adapter)]

    @classmethod
    def depth(cls, settings: Mapping[str, Any]) -> int | None:
        try:
            file = find_file(settings["checkpoint"], revision=settings["revision"], fetch=False)
            return int(read_file(file.path)[1]["num_hidden_layers"])
        except ValueError:  # not on this machine, or `problems` says what is wrong
            return None


def _make(tensors: Mapping[str, Tensor], config: Mapping[str, Any], *, path: Path) -> Any:
    """transformers' model with copies of these tensors; its own weights are never allocated."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    with torch.device("meta"):
        model = Wav2Vec2Model(Wav2Vec2Config(**{key: value for key, value in config.items() if key != "model_type"}))
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    wrong = {
        "missing": sorted(shapes.keys() - tensors.keys()),
        "unknown": sorted(tensors.keys() - shapes.keys()),
        "of another shape": sorted(
            name for name in shapes.keys() & tensors.keys() if tensors[name].shape != shapes[name]
        ),
    }
    if any(wrong.values()):
        raise ValueError(
            f"upstream.checkpoint={path}: its weights are not those of a whole encoder: {listed(wrong)}. Parts of it would be "
            "random. Fetch the file again"
        )
    copies = {name: tensors[name].to(torch.float32, copy=True) for name in shapes}
    model.load_state_dict(copies, assign=True)
    return model.eval()
