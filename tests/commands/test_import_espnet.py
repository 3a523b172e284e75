"""ESPnet models, made by hand from our own modules under ESPnet's names, become runs that say the same."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml
from torch import Tensor
from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2Model

from mlsuperb.adaptation.bottleneck import ESPnetHoulsby, Pfeiffer
from mlsuperb.benchmark import build
from mlsuperb.benchmark.from_espnet import Wishes, import_espnet
from mlsuperb.benchmark.model import SpeechModel
from mlsuperb.commands import import_espnet as command
from mlsuperb.commands.evaluate import evaluate
from mlsuperb.commands.transcribe import transcribe
from mlsuperb.espnet.folder import open_folder, read_tokens
from mlsuperb.espnet.keys import CTC_LAYER, DECODER, HEADS, EncoderKind
from mlsuperb.espnet.translate import translate
from mlsuperb.heads.base import Head
from mlsuperb.heads.conformer import ConformerHead
from mlsuperb.heads.e_branchformer import EBranchformerHead
from mlsuperb.heads.featurizer import LastLayer, OneLayer, WeightedSum
from mlsuperb.heads.specaug import Identity
from mlsuperb.heads.transformer import TransformerHead
from mlsuperb.objectives.ctc import CTC
from mlsuperb.objectives.ctc_attention import CTCAttention
from mlsuperb.types import Batch, Encoded
from mlsuperb.upstreams.base import Upstream
from mlsuperb.upstreams.fbank import Fbank
from mlsuperb.upstreams.owsm_files import read_settings
from mlsuperb.upstreams.s3prl import S3prl

TOKENS = ["<blank>", "<unk>", "<space>", "[deu]", "[swa]", *"ABCDE", "<sos/eos>"]
SIZES = {"size": 32, "num_heads": 4, "ffn_size": 48, "num_blocks": 2}
CONFIG: dict[str, Any] = {
    "token_list": TOKENS,
    "token_type": "char",
    "frontend": "default",
    "frontend_conf": {"n_fft": 1024, "hop_length": 320, "fs": "16k"},
    "specaug": "specaug",
    "specaug_conf": {"apply_time_warp": True},
    "normalize": "utterance_mvn",
    "encoder": "transformer",
    "encoder_conf": {
        "output_size": 32, "attention_heads": 4, "linear_units": 48, "num_blocks": 2, "input_layer": "conv2d2",
        "dropout_rate": 0.1, "normalize_before": True,
    },
    "ctc_conf": {"dropout_rate": 0.0, "ctc_type": "builtin"},
    "model_conf": {"ctc_weight": 1.0, "lsm_weight": 0.1},
    "optim": "adam",
    "max_epoch": 30,
    "freeze_param": ["frontend.upstream"],
    "version": "202211",
}  # fmt: skip
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
LARGE = {**SMALL, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}

# Our name of an upstream's module -> fairseq's: the inverse of the map, written down by hand.
FAIRSEQ = (
    (r"^feature_extractor\.conv_layers\.(\d+)\.conv\.", r"feature_extractor.conv_layers.\1.0."),
    (r"^feature_projection\.layer_norm\.", "layer_norm."),
    (r"^feature_projection\.projection\.", "post_extract_proj."),
    (r"^encoder\.pos_conv_embed\.conv\.", "encoder.pos_conv.0."),
    (r"\.parametrizations\.weight\.original0$", ".weight_g"),
    (r"\.parametrizations\.weight\.original1$", ".weight_v"),
    (r"layers\.(\d+)\.layer_norm\.", r"layers.\1.self_attn_layer_norm."),
    (r"\.attention\.", ".self_attn."),
    (r"feed_forward\.intermediate_dense\.", "fc1."),
    (r"feed_forward\.output_dense\.", "fc2."),
    (r"^masked_spec_embed$", "mask_emb"),
)


def fairseq_name(name: str, *, layer_norms: bool) -> str:
    conv_norm = r"feature_extractor.conv_layers.\1.2.1." if layer_norms else r"feature_extractor.conv_layers.\1.2."
    if name.startswith("feature_extractor"):
        name = re.sub(r"^feature_extractor\.conv_layers\.(\d+)\.layer_norm\.", conv_norm, name)
    for pattern, replacement in FAIRSEQ:
        name = re.sub(pattern, replacement, name)
    return name


def make_model(
    upstream: Upstream,
    featurizer: torch.nn.Module | None = None,
    *,
    projection: int | None,
    make_head: Callable[..., Head] = TransformerHead,
    make_objective: Callable[..., CTC | CTCAttention] = CTC,
    trained: Sequence[str] = (),
) -> SpeechModel:
    torch.manual_seed(0)
    head = make_head(input_size=upstream.layer_size, projection=projection, **SIZES)
    objective = make_objective(input_size=32, vocab_size=len(TOKENS))
    with torch.no_grad():
        # posteriors that say something
        (objective.out if isinstance(objective, CTC) else objective.ctc.out).weight.mul_(20)
    featurizer = featurizer or LastLayer(num_layers=upstream.num_layers, layer_size=upstream.layer_size)
    return SpeechModel(
        upstream, trained=trained, featurizer=featurizer, specaug=Identity(), head=head, objective=objective
    ).eval()


def espnet_tensors(model: SpeechModel, encoder: EncoderKind = "transformer") -> dict[str, Tensor]:
    """Those of head and objective."""
    head = {HEADS[encoder].theirs(n): t for n, t in model.head.state_dict().items()}
    objective = model.objective.state_dict()
    decoder = {name: tensor for name, tensor in objective.items() if name.startswith("decoder.")}
    ctc = {name.removeprefix("ctc."): tensor for name, tensor in objective.items() if name not in decoder}
    names = {DECODER.theirs(name.removeprefix("decoder.")): tensor for name, tensor in decoder.items()}
    return head | names | {CTC_LAYER.theirs(name): tensor for name, tensor in ctc.items()}


def write(folder: Path, tensors: dict[str, Tensor], **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | changes), encoding="utf-8")
    torch.save(tensors, folder / "valid.loss.ave.pth")
    return folder


def posteriors(model: SpeechModel, samples: int = 16_000) -> Encoded:
    generator = torch.Generator().manual_seed(samples)
    wave_BT = 0.1 * torch.randn(1, samples, generator=generator)
    nothing = torch.zeros(1, 0, dtype=torch.long)
    batch = Batch(
        ids=("a",), languages=("deu",), wave_BT=wave_BT, lengths_B=torch.tensor([samples]), targets_BS=nothing,
        target_lengths_B=torch.zeros(1, dtype=torch.long),
    )  # fmt: skip
    with torch.no_grad():
        return model.objective.log_probs(model.encode(batch))


def check_same(run: Path, model: SpeechModel) -> None:
    imported = build.load_recogniser(run, cpu(run))
    assert imported.vocabulary.tokens == TOKENS
    for samples in (16_000, 9_999):
        ours, theirs = posteriors(imported.model, samples), posteriors(model, samples)
        assert ours.lengths_B.tolist() == theirs.lengths_B.tolist()
        torch.testing.assert_close(ours.values, theirs.values)
    assert theirs.values.exp().amax() > 0.5


def cpu(run: Path) -> dict[str, Any]:
    config = build.load_config(run)
    return config | {"trainer": config["trainer"] | {"device": "cpu"}}


@pytest.fixture
def fbank_folder(tmp_path: Path) -> Path:
    return write(tmp_path / "espnet", espnet_tensors(make_model(Fbank(), projection=None)))


def imported(folder: Path, **wishes: Any) -> Path:
    return import_espnet(folder, Wishes(run=folder.parent / "run", **wishes))


def test_a_model_on_log_mels_says_the_same(fbank_folder: Path) -> None:
    run = imported(fbank_folder)
    check_same(run, make_model(Fbank(), projection=None))
    config = build.load_config(run)
    assert config["task"]["name"] == "asr_lid"
    assert (config["head"]["num_heads"], config["head"]["projection"]) == (4, None)
    assert "data" not in config
    source = json.loads((run / "import.json").read_text())
    assert source["weights"] == "valid.loss.ave.pth"
    assert len(source["sha256"]) == 64
    assert yaml.safe_load((run / "espnet.yaml").read_text())["version"] == "202211"


ENCODERS: dict[EncoderKind, tuple[Callable[..., Head], dict[str, Any]]] = {
    "transformer": (partial(TransformerHead, frontend="conv2d"), {"input_layer": "conv2d"}),
    "conformer": (
        partial(ConformerHead, conv_kernel=7, macaron=False),
        {"rel_pos_type": "latest", "cnn_module_kernel": 7},
    ),
    "e_branchformer": (
        partial(EBranchformerHead, cgmlp_size=20, cgmlp_kernel=5, merge_kernel=3, macaron=True, positions="absolute"),
        {
            "use_ffn": True, "macaron_ffn": True, "cgmlp_linear_units": 20, "cgmlp_conv_kernel": 5,
            "pos_enc_layer_type": "abs_pos", "attention_layer_type": "selfattn",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_encoder_says_the_same(encoder: EncoderKind, tmp_path: Path) -> None:
    make_head, changes = ENCODERS[encoder]
    reference = make_model(Fbank(), projection=None, make_head=make_head)
    with torch.no_grad():
        for name, tensor in reference.head.state_dict().items():
            if tensor.is_floating_point() and tensor.ndim < 2 and "var" not in name:
                tensor.add_(0.3 * torch.randn_like(tensor))  # norms, biases, means of batch norms that do something
    conf = {name: value for name, value in CONFIG["encoder_conf"].items() if name != "normalize_before"}
    tensors = espnet_tensors(reference, encoder) | {"frontend.logmel.melmat": torch.zeros(3)}
    run = imported(write(tmp_path / "espnet", tensors, encoder=encoder, encoder_conf=conf | changes))
    assert build.load_config(run)["head"]["name"] == encoder
    check_same(run, reference)


def as_in_202611(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Under the names of that release: `Conv2dSubsampling2.out` is a layer, no longer the first of a sequence."""
    return {name.replace("encoder.embed.out.0.", "encoder.embed.out."): tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize("input_layer", ["conv2d2", "conv2d"])
def test_a_model_of_202611_says_the_same(input_layer: str, tmp_path: Path) -> None:
    reference = make_model(Fbank(), projection=None, make_head=partial(TransformerHead, frontend=input_layer))
    tensors = as_in_202611(espnet_tensors(reference))
    assert "encoder.embed.out.weight" in tensors
    conf = CONFIG["encoder_conf"] | {"input_layer": input_layer, "use_sdpa": True}
    settings = {
        "wandb_allow_val_change": True,
        "preprocessor_conf": {"text_length_warning_thres": 0},
        "version": "202611",
    }
    run = imported(write(tmp_path / "espnet", tensors, encoder_conf=conf, **settings))
    check_same(run, reference)


ESPNET3 = {  # as `save_espnet_config` writes it: what it asks of ESPnet2's classes, of the text, and its own
    "task": "espnet3.systems.esp2_asr.task.ASRTask", "vocab_size": len(TOKENS), "train": True, "fs": 16000, "text_cleaner": None,
    "preprocessor": "default", "num_device": 1, "recipe_dir": "/home/them", "exp_dir": "/home/them/exp/train",
    "preprocessor_conf": {"unk_symbol": "<unk>", "space_symbol": "<space>", "delimiter": None, "fs": 0, "min_sample_size": -1},
    "dataset": {"_target_": "espnet3.components.data.data_organizer.DataOrganizer", "train": None, "valid": None},
    "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.002}, "scheduler_interval": "step", "trainer": {"max_epochs": 3},
    "dataloader": {"collate_fn": {"_target_": "espnet2.train.collate_fn.CommonCollateFn"}}, "fit": {}, "tokenizer": None,
}  # fmt: skip


def test_a_model_of_espnet3_says_the_same(tmp_path: Path) -> None:
    reference = make_model(Fbank(), projection=None)
    folder = write(tmp_path / "espnet", {}, **ESPNET3, token_list="/home/them/data/char_11/tokens.txt")
    (folder / "valid.loss.ave.pth").unlink()
    tensors = as_in_202611(espnet_tensors(reference))
    torch.save({"epoch": 1, "pytorch-lightning_version": "2.5.0", "state_dict": tensors}, folder / "epoch1.ckpt")
    with pytest.raises(ValueError, match=r"holds no list of tokens .*put it as tokens\.txt, one token a line, beside"):
        imported(folder)
    (folder / "tokens.txt").write_text("\n".join(TOKENS) + "\n")
    check_same(imported(folder), reference)


def test_a_decoder_says_the_same(tmp_path: Path) -> None:
    sizes = {"num_blocks": 2, "num_heads": 4, "ffn_size": 48}
    reference = make_model(Fbank(), projection=None, make_objective=partial(CTCAttention, **sizes))
    conf = {"attention_heads": 4, "linear_units": 48, "num_blocks": 2, "input_layer": "embed"}
    changes = {"decoder": "transformer", "decoder_conf": conf, "model_conf": {"ctc_weight": 0.3, "lsm_weight": 0.1}}
    run = imported(write(tmp_path / "espnet", espnet_tensors(reference), **changes))
    check_same(run, reference)
    config = build.load_config(run)
    assert (config["objective"]["label_smoothing"], config["objective"]["ctc_weight"]) == (0.1, 0.3)
    assert config["decoding"]["name"] == "joint_beam"
    loaded = build.load_recogniser(run, cpu(run)).model.objective
    tokens_BS, frames_BFH, lengths_B = torch.tensor([[10, 3, 5]]), torch.randn(1, 9, 32), torch.tensor([9])
    expected = reference.objective.decoder(tokens_BS, frames_BFH, lengths_B)
    torch.testing.assert_close(loaded.decoder(tokens_BS, frames_BFH, lengths_B), expected)


@pytest.mark.parametrize(
    ("name", "kind", "adaptation", "place", "theirs"),
    [
        ("wav2vec2_custom", "own", ESPnetHoulsby, ".feed_forward.output_dropout", "adapter"),
        ("hf_wav2vec2_custom", "transformers", Pfeiffer, "", "adapter_layer"),
    ],
)
def test_an_adapter_says_the_same(
    name: str, kind: str, adaptation: type[Pfeiffer], place: str, theirs: str, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    published = tmp_path / "published"
    model = Wav2Vec2Model(Wav2Vec2Config(**LARGE))
    model.save_pretrained(published)
    (published / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True}))
    upstream = S3prl(checkpoint=str(published), kind=kind)
    trained = adaptation(width=6, activation="gelu", layers=[2]).apply(upstream)
    assert len(trained) == 4
    prefix = "frontend.upstream.upstream.model."
    tensors = {}
    for own, tensor in model.state_dict().items():
        tensors[prefix + (fairseq_name(own, layer_norms=True) if kind == "own" else own)] = tensor
    for side, layer in (("down", 0), ("up", 2)):
        bottleneck = upstream.get_submodule(f"model.encoder.layers.1{place}.bottleneck.{side}")
        torch.nn.init.normal_(bottleneck.weight)
        for parameter, tensor in bottleneck.state_dict().items():
            tensors[f"{prefix}encoder.layers.1.{theirs}.houlsby_adapter.{layer}.{parameter}"] = tensor
    reference = make_model(upstream, WeightedSum(num_layers=3, layer_size=32), projection=20, trained=trained)
    tensors |= espnet_tensors(reference) | {"frontend.featurizer.weights": torch.zeros(3)}
    adapter = {"use_adapter": True, "adapter": "houlsby", "adapter_conf": {"bottleneck": 6, "target_layers": [1]}}
    run = imported(
        write(tmp_path / "espnet", tensors, **s3prl_config(name), **adapter), upstream_checkpoint=str(published)
    )
    check_same(run, reference)


UPSTREAMS: dict[str, tuple[str, Callable[[], Any], str]] = {
    # name in the configuration, model, which names its weights have
    "fairseq, group norm": ("hubert_custom", lambda: HubertModel(HubertConfig(**SMALL)), "fairseq"),
    "fairseq, layer norms": ("wav2vec2_custom", lambda: Wav2Vec2Model(Wav2Vec2Config(**LARGE)), "fairseq"),
    "transformers": ("hf_wav2vec2_custom", lambda: Wav2Vec2Model(Wav2Vec2Config(**LARGE)), "transformers"),
    "old weight norm": ("hf_hubert_custom", lambda: HubertModel(HubertConfig(**SMALL)), "weight_g"),
}


@pytest.fixture(params=UPSTREAMS)
def upstream(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, dict[str, Tensor]]:
    """s3prl's name, a checkpoint folder, and the tensors as ESPnet has them."""
    name, make, kind = UPSTREAMS[request.param]
    torch.manual_seed(1)
    model = make()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path / "published")
    layer_norms = model.config.feat_extract_norm == "layer"
    (tmp_path / "published" / "preprocessor_config.json").write_text(json.dumps({"do_normalize": layer_norms}))
    renamed = {}
    for own, tensor in model.state_dict().items():
        if kind == "fairseq":
            own = fairseq_name(own, layer_norms=layer_norms)
        elif kind == "weight_g":
            own = own.replace("parametrizations.weight.original0", "weight_g")
            own = own.replace("parametrizations.weight.original1", "weight_v")
        renamed[f"frontend.upstream.upstream.model.{own}"] = tensor
    if kind == "fairseq":  # which serve pre-training alone
        renamed["frontend.upstream.upstream.model.label_embs_concat"] = torch.zeros(3, 2)
        renamed["frontend.upstream.upstream.model.quantizer.vars"] = torch.zeros(3)
    return name, tmp_path / "published", renamed


def s3prl_config(name: str, **changes: Any) -> dict[str, Any]:
    inner = {"upstream": name} | ({"path_or_url": "some/model"} if name.startswith("hf_") else {})
    return {
        "frontend": "s3prl",
        "frontend_conf": {"frontend_conf": inner, "download_dir": "./hub", "multilayer_feature": True, "fs": "16k"} | changes,
        "preencoder": "linear",
        "preencoder_conf": {"input_size": 32, "output_size": 20},
    }  # fmt: skip


def test_an_upstream_in_the_weights_says_the_same(
    upstream: tuple[str, Path, dict[str, Tensor]], tmp_path: Path
) -> None:
    name, published, tensors = upstream
    kind = "transformers" if name.startswith("hf_") else "own"
    reference = make_model(
        S3prl(checkpoint=str(published), kind=kind), WeightedSum(num_layers=3, layer_size=32), projection=20
    )
    with torch.no_grad():
        reference.featurizer.logits_L.copy_(torch.tensor([0.5, -1.0, 2.0]))
    tensors = tensors | espnet_tensors(reference) | {"frontend.featurizer.weights": reference.featurizer.logits_L}
    folder = write(tmp_path / "espnet", tensors, **s3prl_config(name))
    run = imported(folder, upstream_checkpoint=str(published))
    shutil.rmtree(published)  # what the run needs is in it
    check_same(run, reference)
    moved = tmp_path / "elsewhere"
    os.rename(run, moved)
    check_same(moved, reference)


@pytest.mark.parametrize(("layer", "option"), [(1, "one_layer"), (-1, "last_layer")])
def test_one_layer_of_an_upstream_that_was_not_saved(layer: int, option: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    HubertModel(HubertConfig(**SMALL)).save_pretrained(tmp_path / "published")
    featurizer = OneLayer(layer, num_layers=3, layer_size=32)
    reference = make_model(S3prl(checkpoint=str(tmp_path / "published")), featurizer, projection=20)
    tensors = espnet_tensors(reference) | {"frontend.featurizer.weights": torch.zeros(3)}
    config = s3prl_config("hubert_custom", multilayer_feature=False, layer=layer)
    folder = write(tmp_path / "espnet", tensors, **config)
    with pytest.raises(ValueError, match=r"weights do not hold the upstream.*give --upstream, .*upstream-checkpoint"):
        imported(folder)
    run = imported(folder, upstream_checkpoint=str(tmp_path / "published"))
    assert build.load_config(run)["featurizer"]["name"] == option
    check_same(run, reference)


def test_sizes_of_published_models_are_told_by_shapes(tmp_path: Path) -> None:
    torch.manual_seed(1)
    changes = {"hidden_size": 768, "num_attention_heads": 12, "num_conv_pos_embedding_groups": 16}
    changes |= {"num_hidden_layers": 12}
    model = HubertModel(HubertConfig(**(SMALL | changes)))
    model.save_pretrained(tmp_path / "published")
    upstream = S3prl(checkpoint=str(tmp_path / "published"))
    reference = make_model(upstream, WeightedSum(num_layers=13, layer_size=768), projection=20)
    tensors = {
        f"frontend.upstream.upstream.model.{fairseq_name(n, layer_norms=False)}": t
        for n, t in model.state_dict().items()
    }
    tensors |= espnet_tensors(reference) | {"frontend.featurizer.weights": torch.zeros(13)}
    run = imported(write(tmp_path / "espnet", tensors, **s3prl_config("hubert")))
    check_same(run, reference)
    config = build.load_config(run)["upstream"]
    assert config["name"] == "hubert_base"
    assert config["card"]["pretrained_on"] == ["LibriSpeech"]


def test_sizes_of_no_published_model_need_a_config(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = HubertModel(HubertConfig(**SMALL))
    tensors = {f"frontend.upstream.upstream.model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors["ctc.ctc_lo.weight"] = torch.zeros(len(TOKENS), 32)
    folder = write(tmp_path / "espnet", tensors, **s3prl_config("hf_hubert_custom"))
    with pytest.raises(ValueError, match=r"size 32, which is no published model's.*give --upstream-checkpoint"):
        imported(folder)
    tensors["frontend.upstream.upstream.model.encoder.layers.0.lora_A"] = torch.zeros(1)
    tensors["frontend.upstream.upstream.model.encoder.lora"] = torch.zeros(1)
    folder = write(
        tmp_path / "espnet", {n.replace("feature_projection", "x"): t for n, t in tensors.items()},
        **s3prl_config("hubert"),
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"parameters of the upstream have no counterpart here: .*"):
        imported(folder)
    assert not list(tmp_path.glob("*run*"))


def test_normalisation_of_waves_that_nobody_says_is_asked_for(tmp_path: Path) -> None:
    torch.manual_seed(1)
    changes = {"hidden_size": 768, "num_attention_heads": 12, "num_conv_pos_embedding_groups": 16}
    model = HubertModel(HubertConfig(**(SMALL | changes)))
    tensors = {f"frontend.upstream.upstream.model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors["ctc.ctc_lo.weight"] = torch.zeros(len(TOKENS), 32)
    folder = write(tmp_path / "espnet", tensors, **s3prl_config("hf_hubert_custom"))
    with pytest.raises(ValueError, match=r"some/model is given normalised waves .* give --upstream-checkpoint"):
        imported(folder)


def test_an_upstream_must_be_one_that_the_model_can_have(fbank_folder: Path, tmp_path: Path) -> None:
    for wish in ({"upstream": "hubert_base"}, {"upstream_checkpoint": str(tmp_path)}):
        with pytest.raises(ValueError, match=r"reads log-mels: leave --upstream and --upstream-checkpoint out"):
            imported(fbank_folder, **wish)
    HubertModel(HubertConfig(**SMALL)).save_pretrained(tmp_path / "published")
    reference = make_model(S3prl(checkpoint=str(tmp_path / "published")), projection=20)
    folder = write(
        tmp_path / "on_hubert", espnet_tensors(reference), **s3prl_config("hubert", multilayer_feature=False)
    )
    for option in ("fbank", "whisper_base", "seamless_m4t_medium"):
        with pytest.raises(
            ValueError, match=rf"--upstream {option} is no hubert model.*give the option of conf/upstream"
        ):
            imported(folder, upstream=option, upstream_checkpoint=str(tmp_path / "published"))
    check_same(imported(folder, upstream="s3prl", upstream_checkpoint=str(tmp_path / "published")), reference)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"encoder": "longformer"}, r"encoder='longformer' \(supported: 'transformer'"),
    ({"normalize": "global_mvn"}, r"normalize='global_mvn' \(supported"),
    ({"normalize_conf": {"norm_means": False}}, r"normalize_conf\.norm_means=False \(supported: True\)"),
    ({"frontend": "whisper"}, r"frontend='whisper' \(supported"),
    ({"frontend_conf": {"htk": True}}, r"frontend_conf\.htk=True \(supported: False\)"),
    ({"frontend_conf": {"frontend_conf": {"use_wpe": True}}}, r"frontend_conf\.frontend_conf\.use_wpe=True"),
    ({"postencoder": "length_adaptor"}, r"config\.postencoder='length_adaptor'"),
    ({"preencoder": "sinc"}, r"preencoder='sinc'"),
    ({"model_conf": {"ctc_weight": 0.3}, "decoder": "rnn"}, r"ctc_weight=0\.3 with decoder='rnn'"),
    ({"model_conf": {"ctc_weight": 0.0}, "decoder": "transformer"}, r"ctc_weight=0\.0 with decoder='transformer'"),
    (
        {"model_conf": {"ctc_weight": 0.3}, "decoder": "transformer", "decoder_conf": {"input_layer": "linear"}},
        r"decoder_conf\.input_layer='linear' \(supported: 'embed'\)",
    ),
    ({"token_type": "bpe", "bpemodel": "data/bpe.model"}, r"bpemodel='data/bpe\.model'(.|\n)*token_type='bpe'"),
    ({"use_adapter": True, "adapter": "lora"}, r"adapter='lora' \(supported: 'houlsby' .* issue 5721"),
    ({"speech_volume_normalize": 0.5}, r"speech_volume_normalize=0\.5"),
    ({"encoder_conf": {"input_layer": "conv2d6", "concat_after": True}}, r"concat_after=True(.|\n)*input_layer='conv2d6'"),
    ({"encoder_conf": {"input_layer": "conv2d2", "mystery": 3}}, r"encoder_conf\.mystery=3 \(unknown here\)"),
    ({"optimizer": {"lr": 1}}, r"config\.optimizer=.* \(unknown here\)"),  # espnet3's, without a task
    (ESPNET3 | {"task": "espnet3.systems.asr2.task.Task"}, r"config\.task='espnet3\.systems\.asr2\.task\.Task' \(supported"),
    (ESPNET3 | {"text_cleaner": "tacotron"}, r"config\.text_cleaner='tacotron' \(supported: None\)"),
    (ESPNET3 | {"mystery": 3}, r"config\.mystery=3 \(unknown here\)"),
    (
        ESPNET3 | {"dataset": {"preprocessor": {"_target_": "src.mine.Preprocessor"}}},
        r"dataset\.preprocessor=.*src\.mine\.Preprocessor.*write its token_type and token_list at the top level",
    ),
    ({"preprocessor_conf": {"min_sample_size": 400}}, r"preprocessor_conf\.min_sample_size=400 \(supported: -1\)"),
    ({"mystery": [1]}, r"config\.mystery=\[1\] \(unknown here\)"),
    ({"frontend_conf": 3}, r"frontend_conf=3 \(settings are expected\)"),
    ({"frontend": "s3prl"}, r"frontend_conf\.frontend_conf\.upstream is missing"),
    ({"encoder": "conformer"}, r"rel_pos_type='rel_pos', 'rel_selfattn', 'legacy' \(supported: 'rel_pos', 'rel_selfattn', 'la"),
    ({"encoder": "e_branchformer"}, r"encoder_conf\.use_ffn=False, ESPnet's default \(supported: True\)"),
    (s3prl_config("apc"), r"frontend_conf\.frontend_conf\.upstream='apc' \(supported: hubert, "),
    (
        {"frontend": "s3prl", "frontend_conf": {"frontend_conf": {"upstream": "hubert", "normalize": True, "tile_factor": 2}}},
        r"normalize=True(.|\n)*tile_factor=2",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_has_no_counterpart_is_refused_by_name(changes: dict[str, Any], message: str, fbank_folder: Path) -> None:
    write(fbank_folder, {"ctc.ctc_lo.weight": torch.zeros(len(TOKENS), 32)}, **changes)
    with pytest.raises(ValueError, match=message) as raised:
        imported(fbank_folder)
    assert "cannot be imported" in str(raised.value)


S3PRL_CONFIG = {
    **CONFIG, "frontend": "s3prl",
    "frontend_conf": {"frontend_conf": {"upstream": "hubert_base", "path_or_url": "x"}, "multilayer_feature": True, "fs": "16k"},
    "preencoder": "linear", "preencoder_conf": {"input_size": 32, "output_size": 16}, "decoder": "transformer",
    "decoder_conf": {"attention_heads": 4}, "model_conf": {"ctc_weight": 0.3}, "use_adapter": True, "adapter": "houlsby",
    "adapter_conf": {"bottleneck": 32, "target_layers": []},
}  # fmt: skip
ODD: list[Any] = [None, "x", -1, 1.5, [], [1], ["a"], {}, {"a": 1}, {1: 2}, True, float("nan")]


def _places(node: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in node.items() if isinstance(node, dict) else ():
        yield (*above, key)
        yield from _places(value, (*above, key))


@pytest.mark.parametrize("config", [CONFIG, CONFIG | {"encoder": "e_branchformer"}, S3PRL_CONFIG])
def test_values_of_odd_types_are_read_or_refused_in_words(config: dict[str, Any]) -> None:
    refused = 0
    for place in _places(config):
        for value in ODD:
            changed = copy.deepcopy(config)
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = value
            for read in (partial(translate, tokens=TOKENS, languages=()), read_settings):
                try:
                    read(changed)
                except ValueError:
                    refused += 1
    assert refused > 100


def test_settings_that_make_no_sense_are_refused(fbank_folder: Path) -> None:
    write(fbank_folder, torch.load(fbank_folder / "valid.loss.ave.pth"), frontend_conf={"hop_length": 0})
    with pytest.raises(ValueError, match=r"upstream\.hop_length=0 should be greater than 0"):
        imported(fbank_folder)


def edits() -> Iterator[tuple[str, Callable[[Path], object], str]]:
    """What is wrong, how it comes about, what is said."""
    yield "no folder", shutil.rmtree, "is not a folder"
    yield "no configuration", lambda folder: (folder / "config.yaml").unlink(), "neither config.yaml nor meta.yaml"
    yield (
        "no weights",
        lambda folder: (folder / "valid.loss.ave.pth").unlink(),
        r"holds no weights \(\*\.pth, or a \*\.ckpt\)",
    )
    yield (
        "two averages",
        lambda folder: shutil.copy(folder / "valid.loss.ave.pth", folder / "valid.cer.ave.pth"),
        r"2 files of weights .*valid\.cer\.ave\.pth, valid\.loss\.ave\.pth.*--weights",
    )
    yield (
        "a git-lfs pointer",
        lambda folder: (folder / "valid.loss.ave.pth").write_text("version https://git-lfs"),
        "a git-lfs pointer",
    )
    yield (
        "code in the pickle",
        lambda folder: torch.save({"a": Path("x")}, folder / "valid.loss.ave.pth"),
        "more in it than tensors is never loaded",
    )
    yield (
        "a training state",
        lambda folder: torch.save({"model": {"a": torch.zeros(1)}}, folder / "valid.loss.ave.pth"),
        "no plain dictionary of tensors",
    )
    yield "no YAML", lambda folder: (folder / "config.yaml").write_text("a: ["), "cannot be read as plain YAML"
    yield (
        "objects in the YAML",
        lambda folder: (folder / "config.yaml").write_text("a: !!python/object/apply:os.getcwd []"),
        "cannot be read as plain YAML",
    )


EDITS = list(edits())


@pytest.mark.parametrize(("edit", "message"), [case[1:] for case in EDITS], ids=[case[0] for case in EDITS])
def test_broken_folders_are_explained(edit: Callable[[Path], object], message: str, fbank_folder: Path) -> None:
    edit(fbank_folder)
    with pytest.raises(ValueError, match=message):
        command.main([str(fbank_folder), "--run", str(fbank_folder.parent / "run")])
    assert not (fbank_folder.parent / "run").exists()


def test_tokens_must_be_those_of_the_weights(fbank_folder: Path) -> None:
    tensors = torch.load(fbank_folder / "valid.loss.ave.pth")
    write(fbank_folder, tensors, token_list=[*TOKENS[:-2], TOKENS[-1]])
    with pytest.raises(ValueError, match="list of tokens has 10 entries, but the CTC layer 11"):
        imported(fbank_folder)
    write(fbank_folder, tensors, token_list="data/token_list/char/tokens.txt")
    with pytest.raises(ValueError, match="holds no list of tokens"):
        imported(fbank_folder)
    (fbank_folder / "tokens.txt").write_text("\n".join(TOKENS) + "\n")
    assert build.load_config(imported(fbank_folder))["task"]["name"] == "asr_lid"


def test_a_list_of_tokens_is_found_in_a_relative_folder_and_never_outside(
    fbank_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, listed = fbank_folder.name, "\n".join(TOKENS) + "\n"
    tensors = torch.load(fbank_folder / "valid.loss.ave.pth")
    write(fbank_folder, tensors, token_list="lists/chars")
    (fbank_folder / "lists").mkdir()
    (fbank_folder / "lists" / "chars").write_text(listed)
    (fbank_folder.parent / "secret").write_text(listed)
    places = ((fbank_folder.parent, name), (fbank_folder, "."))
    for here, given in places:
        monkeypatch.chdir(here)
        assert read_tokens(open_folder(Path(given))) == TOKENS
    write(fbank_folder, tensors, token_list="../secret")
    for here, given in places:
        monkeypatch.chdir(here)
        with pytest.raises(ValueError, match="holds no list of tokens"):
            read_tokens(open_folder(Path(given)))


@pytest.mark.parametrize(
    ("tokens", "token_type", "task", "units"),
    [
        (["[deu]", "[swa]"], "word", "lid", "char"),
        (["<space>", "A"], "char", "asr", "char"),
        (["a", "ky"], "word", "asr", "phoneme"),
        (["[org_jpn]", "A"], "char", "asr_lid", "char"),
        (["[en]", "[zh-CN]"], "word", "lid", "char"),
        (["[en]", "[eng]", "A"], "char", "asr_lid", "char"),
        (["[NOISE]", "A"], "char", "asr", "char"),  # a sound, as far as anybody can see
    ],
)
def test_the_task_is_told_by_the_tokens(
    tokens: list[str], token_type: str, task: str, units: str, fbank_folder: Path
) -> None:
    listed = ["<blank>", "<unk>", *tokens, "<sos/eos>"]
    tensors = torch.load(fbank_folder / "valid.loss.ave.pth")
    for name in ("weight", "bias"):
        tensors[f"ctc.ctc_lo.{name}"] = tensors[f"ctc.ctc_lo.{name}"][: len(listed)]
    write(fbank_folder, tensors, token_list=listed, token_type=token_type)
    config = build.load_config(imported(fbank_folder))
    assert (config["task"]["name"], config["task"]["units"]) == (task, units)


def test_the_user_says_what_stands_in_brackets(fbank_folder: Path, tmp_path: Path) -> None:
    tensors = torch.load(fbank_folder / "valid.loss.ave.pth")
    renamed = [{"[deu]": "[Eng]", "[swa]": "[xx1]"}.get(token, token) for token in TOKENS]
    write(fbank_folder, tensors, token_list=renamed)
    assert build.load_config(imported(fbank_folder))["task"]["name"] == "asr"
    run = import_espnet(fbank_folder, Wishes(run=tmp_path / "named", task="asr_lid"))
    assert build.load_config(run)["task"]["name"] == "asr_lid"
    write(fbank_folder, tensors, token_list=[{"[deu]": "[NOISE]"}.get(token, token) for token in TOKENS])
    with pytest.raises(ValueError, match=r"\[NOISE\] and \[swa\] both stand in brackets.*--task asr_lid.*<NOISE>"):
        imported(fbank_folder)


def test_weights_that_do_not_fit_are_named(fbank_folder: Path) -> None:
    tensors = torch.load(fbank_folder / "valid.loss.ave.pth")
    lost = tensors.pop("encoder.after_norm.weight")
    write(fbank_folder, tensors)
    with pytest.raises(ValueError, match=r"1 are missing \(head\.final_norm\.weight\)"):
        imported(fbank_folder)
    write(fbank_folder, tensors | {"encoder.after_norm.weight": lost, "encoder.strange.weight": lost})
    with pytest.raises(ValueError, match=r"encoder\.strange\.weight"):
        imported(fbank_folder)
    assert not list(fbank_folder.parent.glob("*run*"))


def test_a_packed_model_and_a_chosen_file(fbank_folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    inner = packed / "exp" / "asr_train"
    shutil.copytree(fbank_folder, inner)
    shutil.copy(inner / "valid.loss.ave.pth", inner / "12epoch.pth")
    files = {"asr_model_file": "exp/asr_train/valid.loss.ave.pth"}
    meta = {"files": files, "yaml_files": {"asr_train_config": "exp/asr_train/config.yaml"}}
    (packed / "meta.yaml").write_text(yaml.safe_dump(meta))
    run = imported(packed)
    assert json.loads((run / "import.json").read_text())["weights"] == "valid.loss.ave.pth"
    with pytest.raises(ValueError, match="is there already: remove it, or give another --run"):
        imported(packed)
    shutil.rmtree(run)
    run = imported(packed, weights="12epoch.pth")
    assert json.loads((run / "import.json").read_text())["weights"] == "12epoch.pth"


def test_an_imported_run_transcribes_and_scores(
    fbank_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command.main([str(fbank_folder), "--run", str(run)])
    assert f"mlsuperb evaluate {run} data=..." in capsys.readouterr().out
    wave = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    tree = tmp_path / "kaldi" / "test"
    tree.mkdir(parents=True)
    soundfile.write(tmp_path / "a.wav", wave, 16_000)
    (tree / "wav.scp").write_text(f"a {tmp_path / 'a.wav'}\n")
    (tree / "text").write_text("a ABBA\n")
    (tree / "utt2lang").write_text("a deu\n")
    (one,) = transcribe(run, [tmp_path / "a.wav"], device="cpu")
    assert one.hypothesis
    overrides = ["data=kaldi", "data.train=null", "data.dev=null"]
    overrides += [f"data.root={tmp_path / 'kaldi'}", f"manifests={tmp_path / 'manifests'}"]
    result = json.loads((evaluate(run, overrides, device="cpu") / "result.json").read_text())
    assert result["protocols"]["v1"]["counts"]["test"]
    heard = json.loads((next(run.glob("evaluations/*")) / "hypotheses.jsonl").read_text())["hypothesis"]
    assert heard == one.hypothesis
