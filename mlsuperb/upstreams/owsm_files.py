"""What is read of an ESPnet model with one of OWSM's encoders: its files, its settings, and the sums that normalise log-mels.

Names and defaults are ESPnet 202511's: `espnet2/tasks/s2t.py`, `espnet2/layers/global_mvn.py`; see `mlsuperb.espnet.settings`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlsuperb.espnet.folder import CONFIG, PACKED, EspnetFolder, inside, only, open_folder
from mlsuperb.espnet.settings import ENCODERS, Meaning, read_log_mels
from mlsuperb.runtime.messages import one_line
from mlsuperb.upstreams.sources import cache_problems, config_digest, fetch, local_folder, sha256

STATS = "feats_stats.npz"
VARIANCE_FLOOR = 1e-20  # `GlobalMVN`: eps
WHOLE = Meaning(
    fixed={
        "frontend": ("default",),
        "normalize": ("global_mvn",),
        "preencoder": (None,),
        "encoder": ("e_branchformer",),
        "postencoder": (None,),
    },
    unsaid={"normalize": "utterance_mvn", "encoder": "rnn"},
)
MVN = Meaning(
    renamed={"stats_file": ("stats_file", None)},
    fixed={"norm_means": (True,), "norm_vars": (True,), "eps": (VARIANCE_FLOOR,)},
)
ENCODER = ENCODERS["e_branchformer"].fixing(
    {
        "attention_layer_type": ("selfattn",),
        "pos_enc_layer_type": ("abs_pos",),
        "macaron_ffn": (True,),
    },
    ignored=("rel_pos_type", "zero_triu"),  # of relative positions
)
INPUT_LAYERS = ("conv2d", "conv2d8")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Which models are read.

    Args:
        whole: what their configuration must say outside of the groups.
        encoder: how `encoder_conf` is read.
        further: how further groups are read, where only their problems count here.
        groups: of the configuration that decide what is computed.
        only: which they are, for whoever has another one.
    """

    whole: Meaning
    encoder: Meaning
    groups: tuple[str, ...]
    only: str
    further: Mapping[str, Meaning] = field(default_factory=dict)


OWSM = Kind(
    whole=WHOLE,
    encoder=ENCODER,
    groups=("frontend_conf", "normalize_conf", "encoder_conf"),
    only="Only the kind of encoder of OWSM 3.1 and 4 can be read: an E-Branchformer with absolute positions on globally "
    "normalised log-mels. Choose a checkpoint of theirs (base, small, medium); OWSM-CTC has upstream=owsm_ctc_v4.",
)
_REMEDY = (
    "An upstream is read from the Hugging Face hub (espnet/owsm_v3.1_ebf), or from a folder with ESPnet's config.yaml, weights "
    f"(*.pth) and {STATS}. On a machine without network, fetch it elsewhere with `hf download <owner/name>`, and either set "
    "HF_HOME to that cache or give the downloaded folder as upstream.checkpoint."
)


@dataclass(frozen=True, kw_only=True)
class OwsmFiles:
    """Folder, weights, sums over the training corpus; the hub's commit, None for a folder."""

    espnet: EspnetFolder
    weights: Path
    stats: Path
    commit: str | None

    @property
    def config(self) -> Mapping[str, Any]:
        """ESPnet's configuration."""
        return self.espnet.config

    def record(self, checkpoint: str, revision: str, *, kind: Kind) -> dict[str, object]:
        """What a result should say of the weights."""
        hashes = None if self.commit else {path.name: sha256(path) for path in (self.weights, self.stats)}
        names = (*kind.whole.fixed, *kind.groups)
        digest = config_digest({name: self.config.get(name) for name in names})
        return {
            "checkpoint": checkpoint, "revision": revision, "commit": self.commit, "sha256": hashes, "config": digest
        }  # fmt: skip


def owsm_problems(checkpoint: str, *, revision: str, kind: Kind) -> list[str]:
    """Why `checkpoint` cannot be read, as far as can be said without network or weights."""
    if local_folder(checkpoint) is None:
        return cache_problems(checkpoint, revision, file=PACKED)
    try:
        problem = read_settings(find_files(checkpoint, revision=revision).config, kind=kind).problem
    except ValueError as error:
        return [str(error)]
    return [f"upstream.checkpoint={checkpoint}: {problem}"] if problem else []


def find_files(checkpoint: str, *, revision: str) -> OwsmFiles:
    """The files of a folder or of a hub id, which is downloaded.

    Raises:
        ValueError: something is missing, or could be meant in more than one way.
    """
    folder, commit = local_folder(checkpoint), None
    if folder is None:
        folder = fetch(checkpoint, revision, wanted=[PACKED, f"*{CONFIG}", "*.pth", "*.npz"], remedy=_REMEDY)
        commit = folder.name  # a snapshot's folder is called by its commit
    try:
        espnet = open_folder(folder)
        weights = only(espnet.weights, espnet.config_path.parent, what="weights (*.pth)")
        stats = _stats(folder, espnet.config)
    except ValueError as error:
        given = f"={checkpoint}" if commit else ""  # a folder is named by the error
        raise ValueError(f"upstream.checkpoint{given}: {error}. {_REMEDY}") from error
    return OwsmFiles(espnet=espnet, weights=weights, stats=stats, commit=commit)


def _stats(folder: Path, config: Mapping[str, Any]) -> Path:
    name = MVN.read(config.get("normalize_conf"), group="normalize_conf")[0]["stats_file"]
    if isinstance(name, str) and (path := inside(folder, folder / name)) and path.is_file():
        return path
    return only(sorted(folder.rglob(STATS)), folder, what=f"means and variances ({STATS})")


@dataclass(frozen=True, kw_only=True)
class OwsmSettings:
    """Arguments of `Fbank` and of `OwsmEncoder`, and why such a model cannot be an upstream, if it cannot."""

    fbank: dict[str, Any]
    encoder: dict[str, Any]
    problem: str | None


def read_settings(config: Mapping[str, Any], *, kind: Kind = OWSM) -> OwsmSettings:
    """The settings in an ESPnet `config.yaml`, be it a recogniser's (asr) or an OWSM's (s2t, s2t_ctc)."""
    whole = {name: config[name] for name in kind.whole.fixed if name in config}
    wrong = kind.whole.read(whole, group="config")[1]
    fbank, in_fbank = read_log_mels(config.get("frontend_conf"))
    encoder, in_encoder = kind.encoder.read(config.get("encoder_conf"), group="encoder_conf")
    wrong += in_fbank + MVN.read(config.get("normalize_conf"), group="normalize_conf")[1]
    if (layer := encoder["frontend"]) not in INPUT_LAYERS:
        in_encoder.append(f"encoder_conf.input_layer={layer!r} (supported: {' or '.join(map(repr, INPUT_LAYERS))})")
    if config.get("encoder") in kind.whole.fixed["encoder"]:  # another one's settings say nothing here
        wrong += in_encoder
        for group, meaning in kind.further.items():
            wrong += meaning.read(config.get(group), group=group)[1]
    problem = f"Its config.yaml has {'; '.join(wrong)}. {kind.only}" if wrong else None
    return OwsmSettings(fbank=fbank, encoder=encoder, problem=problem)


def read_stats(path: Path, *, num_mels: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (K) of each log-mel filter, from the sums that ESPnet collects before training.

    Raises:
        ValueError: the file does not hold them.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            count, total, squares = (stored[name] for name in ("count", "sum", "sum_square"))
            mean, square = total / count, squares / count
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} does not hold ESPnet's count, sum and sum_square ({one_line(error)[:90]}). {_REMEDY}"
        ) from error
    if mean.shape != (num_mels,) or square.shape != (num_mels,):
        raise ValueError(f"{path} is of {mean.shape} features, but the encoder reads {num_mels} log-mels. {_REMEDY}")
    std = np.sqrt(np.maximum(square - mean * mean, VARIANCE_FLOOR))
    return torch.from_numpy(mean).float(), torch.from_numpy(std).float()
