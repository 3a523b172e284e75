"""What is read of XEUS and of PhoneticXeus: their files and settings, without running any code in them.

Names and defaults are ESPnet 202511's: `espnet2/tasks/ssl.py`, `espnet2/asr/frontend/cnn.py`. PhoneticXeus adds a config.json,
of changelinglab/PhoneticXeus (`hub/`), and has XEUS's configuration beside its code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mlsuperb.espnet.folder import CONFIG, PACKED, inside, only, open_folder, read_weights, read_yaml
from mlsuperb.espnet.settings import ENCODERS, LINEAR, Meaning
from mlsuperb.runtime.messages import one_line
from mlsuperb.upstreams.sources import CONFIG as JSON
from mlsuperb.upstreams.sources import cache_problems, config_digest, fetch, local_folder, read_json, sha256

NEW = "xeus_checkpoint_new.pth"  # beside xeus_checkpoint_old.pth, which has the names of an older ESPnet
SAFE = "model.safetensors"
SHAPES = [(512, 10, 5), *[(512, 3, 2)] * 4, *[(512, 2, 2)] * 2]  # `CNNFrontend`: channels, kernel, stride

WHOLE = Meaning(
    fixed={
        "frontend": ("wav2vec_cnn",), "normalize": (None,), "preencoder": ("linear",), "encoder": ("e_branchformer",),
    },
    unsaid={"normalize": "utterance_mvn", "encoder": "transformer"},
)  # fmt: skip
FRONTEND = Meaning(
    renamed={"shapes": ("shapes", SHAPES)},
    fixed={
        "norm_mode": ("layer_norm",), "conv_mode": ("standard",), "bias": (True,), "normalize_audio": (True,),
        "normalize_output": (False,), "fs": (16000, "16000", "16k"),
    },
    unsaid={"normalize_audio": False},
    ignored=("layer_norm_cls",),  # two ways to compute the same
)  # fmt: skip
ENCODER = ENCODERS["e_branchformer"].fixing(
    {
        "attention_layer_type": ("selfattn",),
        "pos_enc_layer_type": ("conv",),
        "input_layer": (None,),
        "macaron_ffn": (True,),
    },
    ignored=("rel_pos_type", "zero_triu", "positional_dropout_rate"),  # of other positions
)
GROUPS = (*WHOLE.fixed, "frontend_conf", "preencoder_conf", "encoder_conf")
_REMEDY = (
    "XEUS is read from the Hugging Face hub (espnet/xeus), or from a folder with ESPnet's config.yaml and weights (*.pth). On a "
    "machine without network, fetch it elsewhere with `hf download <owner/name>`, and either set HF_HOME to that cache or give "
    "the downloaded folder as upstream.checkpoint."
)


@dataclass(frozen=True, kw_only=True)
class XeusFiles:
    """ESPnet's configuration; the file of weights; the hub's commit, None for a folder; `conditioned_after`: the blocks behind
    which CTC posteriors go back into the encoder."""

    config: Mapping[str, Any]
    weights: Path
    commit: str | None
    conditioned_after: tuple[int, ...] = ()

    def record(self, checkpoint: str, revision: str) -> dict[str, object]:
        """What a result should say of the weights."""
        hashes = None if self.commit else {self.weights.name: sha256(self.weights)}
        said = {name: self.config.get(name) for name in GROUPS} | {"conditioned_after": self.conditioned_after}
        return {
            "checkpoint": checkpoint, "revision": revision, "commit": self.commit, "sha256": hashes,
            "config": config_digest(said),
        }  # fmt: skip

    def read(self) -> dict[str, Tensor]:
        """The weights by ESPnet's names.

        Raises:
            ValueError: the file cannot be read.
        """
        if self.weights.suffix != ".safetensors":
            return read_weights(self.weights)
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return {name.removeprefix("model."): value for name, value in load_file(self.weights).items()}
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{self.weights} cannot be read ({one_line(error)[:90]}). Download it again") from error


@dataclass(frozen=True, kw_only=True)
class XeusSettings:
    """Arguments of `XeusEncoder`, and why such a model cannot be an upstream, if it cannot."""

    encoder: dict[str, Any]
    problem: str | None


def read_settings(config: Mapping[str, Any]) -> XeusSettings:
    """The settings in the `config.yaml` of ESPnet's task `ssl`."""
    wrong = WHOLE.read({name: config[name] for name in WHOLE.fixed if name in config}, group="config")[1]
    front, in_front = FRONTEND.read(config.get("frontend_conf"), group="frontend_conf")
    projection, in_projection = LINEAR.read(config.get("preencoder_conf"), group="preencoder_conf")
    encoder, in_encoder = ENCODER.read(config.get("encoder_conf"), group="encoder_conf")
    if not in_projection and projection["output_size"] != encoder["size"]:
        in_projection = [
            f"preencoder_conf.output_size={projection['output_size']}, encoder_conf.output_size={encoder['size']}"
        ]
    for name, found in (("frontend", in_front), ("preencoder", in_projection), ("encoder", in_encoder)):
        if config.get(name) in WHOLE.fixed[name]:  # another one's settings say nothing here
            wrong += found
    problem = (
        f"Its config.yaml has {'; '.join(wrong)}. Only XEUS's kind of model can be read: an E-Branchformer with convolutional "
        "positions on the convolutions of wav2vec 2.0 with layer norms. Choose espnet/xeus."
    )
    return XeusSettings(encoder={**encoder, "shapes": front["shapes"]}, problem=problem if wrong else None)


def find_xeus(checkpoint: str, *, revision: str) -> XeusFiles:
    """The files of XEUS, or of another model of ESPnet's task `ssl`, in a folder or on the hub, whence they are downloaded.

    Raises:
        ValueError: something is missing, or could be meant in more than one way.
    """
    folder, commit = _folder(checkpoint, revision, wanted=[PACKED, f"*{CONFIG}", "*.pth"], unwanted=["*_old.pth"])
    try:
        espnet = open_folder(folder)
        named = [path for path in espnet.weights if path.name == NEW] or espnet.weights
        weights = only(named, espnet.config_path.parent, what="weights (*.pth)")
    except ValueError as error:
        given = f"={checkpoint}" if commit else ""  # a folder is named by the error
        raise ValueError(f"upstream.checkpoint{given}: {error}. {_REMEDY}") from error
    return XeusFiles(config=espnet.config, weights=weights, commit=commit)


def find_phonetic_xeus(checkpoint: str, *, revision: str) -> XeusFiles:
    """The files of PhoneticXeus: config.json, which names XEUS's configuration and the conditioned blocks, and the weights.

    Raises:
        ValueError: something is missing, or is another model's.
    """
    folder, commit = _folder(
        checkpoint, revision, wanted=[JSON, "*_config.yaml", f"*{CONFIG}", SAFE], unwanted=["*.py"]
    )
    given = f"upstream.checkpoint={checkpoint}"
    if missing := [name for name in (JSON, SAFE) if not (folder / name).is_file()]:
        raise ValueError(
            f"{given} has no {' and no '.join(missing)}. Give changelinglab/PhoneticXeus, or a copy of it, whole"
        )
    about = read_json(folder / JSON)
    path = inside(folder, folder / str(about.get("config_yaml")))
    blocks = about.get("interctc_layer_idx", [4, 8, 12])  # the default of its configuration class
    if about.get("model_type") != "phoneticxeus" or path is None or not path.is_file() or not isinstance(blocks, list):
        raise ValueError(
            f"{given}: {JSON} is not PhoneticXeus's (model_type={about.get('model_type')!r}, config_yaml="
            f"{about.get('config_yaml')!r}, interctc_layer_idx={blocks!r}). Give changelinglab/PhoneticXeus, whole"
        )
    after = tuple(blocks) if about.get("interctc_use_conditioning", True) else ()
    return XeusFiles(config=read_yaml(path), weights=folder / SAFE, commit=commit, conditioned_after=after)


def hub_problems(checkpoint: str, *, revision: str, files: tuple[str, ...]) -> list[str]:
    """Whether a hub's checkpoint is out of reach: none of `files` is in the cache, and no network is allowed."""
    return min((cache_problems(checkpoint, revision, file=file) for file in files), key=len)


def _folder(checkpoint: str, revision: str, *, wanted: list[str], unwanted: list[str]) -> tuple[Path, str | None]:
    """A local folder, or that of a download with its commit."""
    folder = local_folder(checkpoint)
    if folder is not None:
        if not folder.is_dir():
            raise ValueError(f"upstream.checkpoint={checkpoint} is not a folder. {_REMEDY}")
        return folder, None
    found = fetch(checkpoint, revision, wanted=wanted, unwanted=unwanted, remedy=_REMEDY)
    return found, found.name
