"""A HuBERT that fairseq pre-trained, as a folder that transformers reads and that pre-training can continue from.

<folder>/config.json, model.safetensors      transformers' HubertModel, with its embedding of masked frames
<folder>/preprocessor_config.json            whether waves are normalised, as in training
<folder>/prediction_head.safetensors         what pre-training has on top (F: size of its projection, D: of the model):
                                             final_proj.weight (F, D), final_proj.bias (F), label_embeddings (rows, F);
                                             header: logit_temperature, num_special, label_rate_hz (`mlsuperb.pretraining.head`)
<folder>/mlsuperb_export.json                the file that it is from, and all of fairseq's settings

The first `num_special` rows of label_embeddings are no units, but fairseq's bos, pad, eos and unk; unit k is the row
`num_special` + k.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import mlsuperb
from mlsuperb.pretraining.fairseq_file import SPECIAL, FairseqCheckpoint, read_checkpoint
from mlsuperb.pretraining.fairseq_names import fairseq_names, to_transformers
from mlsuperb.pretraining.head import StoredHead
from mlsuperb.runs.environment import now
from mlsuperb.runtime.files import whole_folder, write_json
from mlsuperb.runtime.messages import listed, some
from mlsuperb.upstreams.base import SAMPLE_RATE_HZ, Upstream
from mlsuperb.upstreams.huggingface import EXPORT_FILE, HuggingFace
from mlsuperb.upstreams.selfsupervised import SelfSupervised
from mlsuperb.upstreams.sources import PREPROCESSOR, hash_files, sha256

_HEAD = ("final_proj.weight", "final_proj.bias", "label_embs_concat")
_ONLY_PRETRAINING = ("final_proj.", "label_embs_concat", "target_glu.")


@dataclass(frozen=True, kw_only=True)
class Imported:
    """The folder that was made; how many updates the model was trained for (None: the file does not say); why it has no
    prediction head (None: it has one)."""

    folder: Path
    updates: int | None
    no_head: str | None


def import_fairseq(file: Path, folder: Path) -> Imported:
    """Turn a fairseq checkpoint of HuBERT into a folder, load it again and compare all layers.

    Raises:
        ValueError: the file is no such checkpoint, or `folder` holds something that no export wrote.
    """
    _check_free(folder)
    checkpoint = read_checkpoint(file)
    model = _model(checkpoint)
    head = _head(checkpoint, size=model.config.hidden_size)
    with whole_folder(folder) as unfinished:
        model.save_pretrained(unfinished)
        write_json(unfinished / PREPROCESSOR, _preprocessor(checkpoint, model.config.feat_extract_norm))
        if not isinstance(head, str):
            _stored(head, checkpoint).write(unfinished)
        write_json(unfinished / EXPORT_FILE, _about(checkpoint, unfinished))
        _check_same(unfinished, model, normalise=bool(checkpoint.task.get("normalize", False)))
    return Imported(folder=folder, updates=checkpoint.updates, no_head=head if isinstance(head, str) else None)


def _stored(head: Mapping[str, Tensor], checkpoint: FairseqCheckpoint) -> StoredHead:
    return StoredHead(
        head,
        temperature=float(checkpoint.model.get("logit_temp", 0.1)),
        num_special=len(SPECIAL),
        label_rate_hz=float(checkpoint.task.get("label_rate", -1)),
    )


def _check_free(folder: Path) -> None:
    empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not empty and not (folder / EXPORT_FILE).is_file():
        raise ValueError(
            f"{folder} is there already and holds no {EXPORT_FILE}, so this command did not make it and will not "
            "overwrite it: give another folder, or remove it yourself"
        )


def _model(checkpoint: FairseqCheckpoint) -> Any:
    """transformers' HubertModel with the checkpoint's weights, in fp32."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import HubertConfig, HubertModel

    path = checkpoint.path
    if checkpoint.kind != "hubert":
        raise ValueError(
            f"{path} holds fairseq's model {checkpoint.kind!r}, and only 'hubert' can be imported: a HuBERT as it was "
            "pre-trained. Of a fine-tuned one (hubert_ctc), give the checkpoint that it was fine-tuned from"
        )
    if (rate_hz := checkpoint.task.get("sample_rate", SAMPLE_RATE_HZ)) != SAMPLE_RATE_HZ:
        raise ValueError(f"{path} was trained on audio of {rate_hz} Hz; only {SAMPLE_RATE_HZ} Hz models are supported")
    try:
        with torch.device("meta"):
            model = HubertModel(HubertConfig(**to_transformers(checkpoint.model)))
    except (ValueError, StrictDataclassError) as error:
        raise ValueError(f"{path}: {error}") from error
    shapes = model.state_dict()
    names = fairseq_names(shapes, feat_extract_norm=model.config.feat_extract_norm)
    given = {name: one for name, one in checkpoint.tensors.items() if not name.startswith(_ONLY_PRETRAINING)}
    _check_shapes(path, given, {names[name]: tuple(one.shape) for name, one in shapes.items()})
    if broken := sorted(name for name, one in given.items() if not one.isfinite().all()):
        raise ValueError(
            f"{path}: {some(broken)} hold NaN or infinity: the training diverged. Give an earlier checkpoint"
        )
    model.load_state_dict({name: given[names[name]].float() for name in shapes}, assign=True)
    return model.eval()


def _check_shapes(path: Path, given: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]]) -> None:
    wrong = {
        "missing": sorted(wanted.keys() - given.keys()),
        "unknown": sorted(given.keys() - wanted.keys()),
        "of another shape": [
            f"{name} {tuple(given[name].shape)} where the settings say {shape}"
            for name, shape in sorted(wanted.items())
            if name in given and tuple(given[name].shape) != shape
        ],
    }
    if any(wrong.values()):
        raise ValueError(
            f"{path}: its weights do not fit its settings: {listed(wrong)}. It is damaged, or a model of another architecture "
            "that goes by the name of hubert, which cannot be imported"
        )


def _head(checkpoint: FairseqCheckpoint, *, size: int) -> dict[str, Tensor] | str:
    """The prediction head, or why it cannot be taken over."""
    found = {name: checkpoint.tensors[name].float() for name in _HEAD if name in checkpoint.tensors}
    if len(found) < len(_HEAD):
        return f"the file has no {' or no '.join(name for name in _HEAD if name not in found)}"
    if len(checkpoint.dictionaries) > 1:
        return f"it predicts {len(checkpoint.dictionaries)} sets of labels at once"
    if checkpoint.model.get("target_glu", False):
        return "its embeddings of labels go through a gated linear unit (target_glu)"
    rows = len(found["label_embs_concat"])
    wanted = (*SPECIAL, *map(str, range(rows - len(SPECIAL))))
    symbols = checkpoint.dictionaries[0] if checkpoint.dictionaries else wanted
    if sorted(symbols) != sorted(wanted):
        return f"its dictionary has other symbols than {', '.join(wanted[:5])}, ..., {wanted[-1]}, one for each of its rows"
    final_dim = checkpoint.model.get("final_dim", 0)
    final_dim = final_dim if final_dim > 0 else size  # `HubertModel.__init__`
    shapes = ((final_dim, size), (final_dim,), (rows, final_dim))
    _check_shapes(checkpoint.path, found, dict(zip(_HEAD, shapes, strict=True)))
    row_of = {symbol: row for row, symbol in enumerate(symbols)}  # a dictionary can name the units in any order
    return {
        "final_proj.weight": found["final_proj.weight"].contiguous(),
        "final_proj.bias": found["final_proj.bias"].contiguous(),
        "label_embeddings": found["label_embs_concat"][[row_of[symbol] for symbol in wanted]].contiguous(),
    }


def _preprocessor(checkpoint: FairseqCheckpoint, feat_extract_norm: str) -> dict[str, Any]:
    from transformers import Wav2Vec2FeatureExtractor

    extractor = Wav2Vec2FeatureExtractor(
        do_normalize=bool(checkpoint.task.get("normalize", False)),
        sampling_rate=SAMPLE_RATE_HZ,
        return_attention_mask=feat_extract_norm == "layer",  # group norm runs over padding, which has to be zeros then
    )
    return dict(extractor.to_dict())


def _about(checkpoint: FairseqCheckpoint, folder: Path) -> dict[str, Any]:
    return {
        "what": "fairseq import",
        "source": {"file": checkpoint.path.name, "sha256": sha256(checkpoint.path), "updates": checkpoint.updates},
        "cfg": checkpoint.cfg,
        "sha256": hash_files(folder, "model*.safetensors"),
        "package_version": mlsuperb.__version__,
        "date": now(),
    }


def _check_same(folder: Path, model: Any, *, normalise: bool) -> None:
    """Load the folder as upstream=hf does, and compare its layers with those of `model`, which is changed."""
    read = HuggingFace(checkpoint=str(folder.resolve()), regularisation="mask_embedding")
    direct = SelfSupervised(model, normalise=normalise, regularisation="mask_embedding")
    wave_BT = 0.1 * torch.randn(1, SAMPLE_RATE_HZ, generator=torch.Generator().manual_seed(0))
    pairs = zip(_layers(read, wave_BT), _layers(direct, wave_BT), strict=True)
    if not all(torch.equal(one, other) for one, other in pairs):
        raise ValueError(
            "the imported model gives other layers when it is loaded again, so it was not kept. This is a fault of mlsuperb or "
            "of its versions: please report it"
        )


@torch.inference_mode()
def _layers(upstream: Upstream, wave_BT: Tensor) -> tuple[Tensor, ...]:
    layers = upstream.eval()(wave_BT, torch.tensor([wave_BT.shape[1]])).layers
    return (*layers, upstream.mask_embedding_D)
