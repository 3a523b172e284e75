"""Checkpoints of fairseq become models of transformers that compute what torchaudio's import of them computes, and come back
bit by bit; whatever else lies in such a file is refused and never run."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import sys
import zipfile
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from fairseq_models import (
    BLOCKS,
    CONVOLUTIONS,
    FINAL_DIM,
    KINDS,
    NUM_UNITS,
    SIZE,
    SPECIAL,
    SYMBOLS,
    HubertModel,
    fairseq_installed,
    flat,
    save,
    settings,
    state,
)
from omegaconf import OmegaConf
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_checkpoints import write_checkpoint as write_tiny
from torch.nn import functional
from torchaudio.models.wav2vec2.utils import import_fairseq_model, import_huggingface_model
from transformers import HubertConfig, Wav2Vec2FeatureExtractor
from transformers import HubertModel as TransformersHubert

from mlsuperb.espnet.upstreams import to_transformers as espnets_map
from mlsuperb.pretraining.fairseq import import_fairseq
from mlsuperb.pretraining.fairseq_export import export_fairseq
from mlsuperb.pretraining.fairseq_file import read_checkpoint
from mlsuperb.pretraining.fairseq_names import OVERRULED, fairseq_names, parse_convolutions, to_fairseq, to_transformers
from mlsuperb.pretraining.head import HEAD_FILE
from mlsuperb.upstreams.huggingface import EXPORT_FILE, HuggingFace


def noise(batch: int = 1) -> torch.Tensor:
    return 0.1 * torch.randn(batch, 16_000, generator=torch.Generator().manual_seed(3))


def imported(tmp_path: Path, content: Any, *, legacy: bool = False) -> Path:
    import_fairseq(save(tmp_path / "checkpoint.pt", content, legacy=legacy), tmp_path / "hubert")
    return tmp_path / "hubert"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@torch.inference_mode()
def layers_of(torchaudios: Any, wave_BT: torch.Tensor) -> list[torch.Tensor]:
    """The output of each block, and that of the model, which in pre-LN models is one layer norm further."""
    return [*torchaudios.eval().extract_features(wave_BT)[0], torchaudios(wave_BT)[0]]


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_those_of_torchaudios_import(kind: str, tmp_path: Path) -> None:
    folder = imported(tmp_path, state(kind))
    expected = layers_of(import_fairseq_model(HubertModel(kind)), noise())
    model = TransformersHubert.from_pretrained(folder).eval()
    with torch.inference_mode():
        output = model(noise(), output_hidden_states=True)
    assert len(expected) == BLOCKS + 1
    for one, other in zip([*output.hidden_states[1:], output.last_hidden_state], expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    for one, other in zip(layers_of(import_huggingface_model(model), noise()), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert (expected[0] - expected[2]).abs().max() > 0.1  # blocks that do something
    another = layers_of(import_fairseq_model(HubertModel(kind, seed=1)), noise())
    assert (another[-1] - expected[-1]).abs().max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_our_upstream_reads_it_and_normalises_waves_as_in_training(kind: str, tmp_path: Path) -> None:
    folder = imported(tmp_path, state(kind))
    upstream = HuggingFace(checkpoint=str(folder), regularisation="mask_embedding").eval()
    assert upstream.mask_embedding_D is not None
    assert torch.equal(upstream.mask_embedding_D, HubertModel(kind).mask_emb)
    *_, normalize = KINDS[kind]
    wave_BT = 10 * noise()  # loud, since fairseq adds another epsilon to the variance
    with torch.inference_mode():
        found = upstream(wave_BT, torch.tensor([16_000])).layers
    # `HubertDataset.postprocess`
    prepared_BT = functional.layer_norm(wave_BT, wave_BT.shape[1:]) if normalize else wave_BT
    *blocks, last = layers_of(import_fairseq_model(HubertModel(kind)), prepared_BT)
    for one, other in zip(found[1:], [*blocks[:-1], last], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert upstream.record()["do_normalize"] is normalize


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_is_the_same_bit_by_bit(kind: str, tmp_path: Path) -> None:
    folder = imported(tmp_path, state(kind))
    assert export_fairseq(folder, tmp_path / "back" / "again.pt") == NUM_UNITS
    back, original = read_checkpoint(tmp_path / "back" / "again.pt"), HubertModel(kind).state_dict()
    assert set(back.tensors) == set(original)
    for name, tensor in original.items():
        assert torch.equal(back.tensors[name], tensor), name
        assert back.tensors[name].dtype == tensor.dtype
    assert back.dictionaries == (tuple(SYMBOLS),)
    assert back.updates == 1234
    expected = settings(kind)
    assert parse_convolutions(back.model.pop("conv_feature_layers")) == eval(
        expected["model"].pop("conv_feature_layers")
    )
    expected["model"] = OVERRULED | expected["model"]
    assert back.cfg == expected  # also what is of no use to transformers, such as mask_prob
    import_fairseq(tmp_path / "back" / "again.pt", tmp_path / "second")
    for name, tensor in weights(folder).items():
        assert torch.equal(weights(tmp_path / "second")[name], tensor), name


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_those_that_are_imported_from_espnet(kind: str, tmp_path: Path) -> None:
    """Its models have fairseq's modules, too; that map was written apart from this one."""
    folder = imported(tmp_path, state(kind))
    renamed, unknown = espnets_map(HubertModel(kind).state_dict())
    assert unknown == []
    assert renamed.keys() == weights(folder).keys()
    assert all(torch.equal(tensor, renamed[name]) for name, tensor in weights(folder).items())


def test_no_two_parameters_get_the_same_name() -> None:
    for norm in ("group", "layer"):
        with torch.device("meta"):
            names = list(TransformersHubert(HubertConfig(feat_extract_norm=norm, conv_bias=True)).state_dict())
        found = fairseq_names(names, feat_extract_norm=norm)
        assert len(set(found.values())) == len(names) > 200


def test_the_folder_says_what_was_trained(tmp_path: Path) -> None:
    folder = imported(tmp_path, state("base"))
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "model.safetensors", "preprocessor_config.json", HEAD_FILE, EXPORT_FILE,
    }  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    expected = {
        "model_type": "hubert", "architectures": ["HubertModel"], "hidden_size": SIZE, "num_hidden_layers": 3,
        "hidden_dropout": 0.1, "attention_dropout": 0.2, "activation_dropout": 0.0, "layerdrop": 0.05, "feat_proj_dropout": 0.3,
        "feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False, "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
        "conv_stride": [5, 2, 2, 2, 2, 2, 2], "mask_time_prob": 0.05,
    }  # fmt: skip
    assert {name: config[name] for name in expected} == expected
    preprocessor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    assert (preprocessor.do_normalize, preprocessor.return_attention_mask) == (False, False)
    about = json.loads((folder / EXPORT_FILE).read_text())
    assert about["what"] == "fairseq import"
    assert about["source"]["file"] == "checkpoint.pt"
    assert about["source"]["updates"] == 1234
    assert re.fullmatch("[0-9a-f]{64}", about["source"]["sha256"])
    assert about["cfg"] == settings("base")
    assert HuggingFace(checkpoint=str(folder)).record()["sha256"] == about["sha256"]
    (tmp_path / "two").mkdir()
    large = Wav2Vec2FeatureExtractor.from_pretrained(imported(tmp_path / "two", state("large")))
    assert (large.do_normalize, large.return_attention_mask) == (True, True)


def test_the_prediction_head(tmp_path: Path) -> None:
    cfg = settings("base", logit_temp=0.07)
    cfg["task"]["label_rate"] = 100.0
    folder = imported(tmp_path, state("base", cfg=cfg))
    head, original = load_file(folder / HEAD_FILE), HubertModel("base")
    assert torch.equal(head["final_proj.weight"], original.final_proj.weight)
    assert torch.equal(head["final_proj.bias"], original.final_proj.bias)
    assert torch.equal(head["label_embeddings"], original.label_embs_concat)
    assert tuple(head["label_embeddings"].shape) == (4 + NUM_UNITS, FINAL_DIM)
    with safe_open(folder / HEAD_FILE, "pt") as file:
        about = json.loads(file.metadata()["mlsuperb"])
    assert about == {"logit_temperature": 0.07, "num_special": 4, "label_rate_hz": 100.0}


def test_units_are_where_the_dictionary_has_them(tmp_path: Path) -> None:
    shuffled = [*SPECIAL, "3", "0", "6", "1", "5", "2", "4"]
    head = load_file(imported(tmp_path, state(symbols=[shuffled])) / HEAD_FILE)
    for unit in range(NUM_UNITS):
        row = HubertModel("base").label_embs_concat[shuffled.index(str(unit))]
        assert torch.equal(head["label_embeddings"][4 + unit], row)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("kept", ["dictionary", "namespace", "omegaconf", "namespace in cfg"])
def test_settings_are_read_however_they_were_kept(kept: str, legacy: bool, tmp_path: Path) -> None:
    cfg = settings("large", required_seq_len_multiple=2)
    changes = {
        "dictionary": {"cfg": cfg},
        "namespace": {"args": flat(cfg), "cfg": None},
        "omegaconf": {"cfg": OmegaConf.create(cfg)},
        "namespace in cfg": {"cfg": {**cfg, "model": flat(cfg)}},
    }[kept]
    folder = imported(tmp_path, state("large", **changes), legacy=legacy)
    config = HubertConfig.from_pretrained(folder)
    assert (config.hidden_size, config.num_hidden_layers, config.do_stable_layer_norm) == (SIZE, 3, True)
    assert (config.attention_dropout, config.feat_proj_dropout) == (0.2, 0.3)
    assert json.loads((folder / "preprocessor_config.json").read_text())["do_normalize"] is True
    assert (folder / HEAD_FILE).is_file()
    export_fairseq(folder, tmp_path / "back.pt")
    back = read_checkpoint(tmp_path / "back.pt")
    assert (back.task["normalize"], back.task["label_rate"], back.model["final_dim"]) == (True, 50, FINAL_DIM)


def test_half_precision_becomes_fp32(tmp_path: Path) -> None:
    halved = {name: tensor.half() for name, tensor in HubertModel("base").state_dict().items()}
    folder = imported(tmp_path, state("base", model=halved))
    assert {tensor.dtype for tensor in (weights(folder) | load_file(folder / HEAD_FILE)).values()} == {torch.float32}
    assert torch.equal(weights(folder)["masked_spec_embed"], halved["mask_emb"].float())


def test_a_second_import_replaces_the_first_but_nothing_else(tmp_path: Path) -> None:
    imported(tmp_path, state("base"))
    folder = imported(tmp_path, state("large"))
    assert HubertConfig.from_pretrained(folder).feat_extract_norm == "layer"
    (folder / EXPORT_FILE).unlink()
    with pytest.raises(ValueError, match=f"holds no {EXPORT_FILE}.*give another folder, or remove it"):
        imported(tmp_path, state("base"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"symbols": [SYMBOLS, SYMBOLS]}, "2 sets of labels"),
        ({"symbols": [[*SPECIAL, *"abcdefg"]]}, "other symbols than <s>, <pad>, </s>, <unk>, 0, ..., 6"),
        ({"symbols": [SYMBOLS[:-1]]}, "one for each of its rows"),
        ({"cfg": settings("base", target_glu=True)}, "target_glu"),
        ({"without": "label_embs_concat"}, "the file has no label_embs_concat"),
    ],
)  # fmt: skip
def test_an_encoder_whose_head_cannot_be_kept(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    content = state(**{name: value for name, value in changes.items() if name != "without"})
    content["model"].pop(changes.get("without"), None)
    done = import_fairseq(save(tmp_path / "checkpoint.pt", content), tmp_path / "hubert")
    assert done.no_head
    assert reason in done.no_head
    assert not (done.folder / HEAD_FILE).exists()
    assert HuggingFace(checkpoint=str(done.folder)).num_layers == 4


# What is refused


class Harmful:
    """Runs a command of the shell when it is loaded by pickle."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_nothing_in_a_file_is_run(legacy: bool, tmp_path: Path) -> None:
    marker = tmp_path / "harm"
    path = save(tmp_path / "bad.pt", state(extra_state=Harmful(f"touch {marker}")), legacy=legacy)
    with pytest.raises(ValueError, match=rf"{path} holds a (posix|nt)\.system, which no checkpoint of fairseq needs"):
        import_fairseq(path, tmp_path / "hubert")
    assert not marker.exists()
    assert not (tmp_path / "hubert").exists()
    with fairseq_installed():
        torch.load(path, weights_only=False)  # the file does what this test says
    assert marker.exists()


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_an_unknown_class_is_named(legacy: bool, tmp_path: Path) -> None:
    path = save(tmp_path / "bad.pt", state(extra_state={"best": date(2026, 1, 1)}), legacy=legacy)
    with pytest.raises(
        ValueError, match=r"holds a datetime\.date, .* nothing but tensors, settings and fairseq's Dictionary"
    ):
        read_checkpoint(path)


def test_reading_leaves_torch_as_it_was(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    read_checkpoint(save(tmp_path / "checkpoint.pt", state()))
    assert set(torch.serialization.get_safe_globals()) == before
    assert not [name for name in sys.modules if name.partition(".")[0] == "fairseq"]


def test_settings_are_not_evaluated(tmp_path: Path) -> None:
    marker = tmp_path / "harm"
    cfg = settings("base", conv_feature_layers=f"[(16,10,5)] + __import__('os').system('touch {marker}')")
    path = save(tmp_path / "bad.pt", state(cfg=cfg))
    with pytest.raises(ValueError, match=rf"{path}: conv_feature_layers is .* nothing else in it is evaluated"):
        import_fairseq(path, tmp_path / "hubert")
    assert not marker.exists()


@pytest.mark.parametrize(
    "damage", ["missing", "folder", "empty", "text", "audio", "cut", "cut legacy", "pickle", "bytes"]
)
def test_files_that_are_none(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.pt"
    whole = save(tmp_path / "whole.pt", state(), legacy=damage == "cut legacy").read_bytes()
    content = {
        "empty": b"", "text": b"version https://git-lfs.github.com/spec/v1\n", "audio": b"RIFF$\x00\x00\x00WAVEfmt ",
        "cut": whole[: len(whole) // 2], "cut legacy": whole[: len(whole) // 2], "pickle": pickle.dumps({"model": 1}, protocol=4),
        "bytes": bytes(range(256)),
    }  # fmt: skip
    if damage == "folder":
        path.mkdir()
    elif damage in content:
        path.write_bytes(content[damage])
    message = "is not a file" if damage in ("missing", "folder") else "cannot be read as a checkpoint of PyTorch"
    with pytest.raises(ValueError, match=f"{path} {message}"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "held"),
    [
        (HubertModel("base").state_dict(), "the keys encoder.layer_norm.bias"),
        ({"model": {"a": torch.zeros(1)}}, "the keys model"),
        ({"cfg": {"model": {}}, "model": {"a": "no tensor"}}, "the keys cfg, model"),
        ([torch.zeros(1)], "list"),
    ],
)
def test_checkpoints_of_others(content: Any, held: str, tmp_path: Path) -> None:
    path = save(tmp_path / "other.pt", content)
    with pytest.raises(ValueError, match=f"{path} is no checkpoint of fairseq: it holds {held}.*upstream.checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize("name", ["wav2vec2", "hubert_ctc", "data2vec_audio"])
def test_other_models_of_fairseq_are_refused_by_name(name: str, tmp_path: Path) -> None:
    path = save(tmp_path / "other.pt", state(cfg=settings("base", _name=name)))
    with pytest.raises(ValueError, match=f"{path} holds fairseq's model '{name}', and only 'hubert' can be imported"):
        import_fairseq(path, tmp_path / "hubert")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"encoder_layers": 2},
            r"\(encoder\.layers\.2\.fc1\.bias, .*16 unknown|16 unknown \(encoder\.layers\.2\.fc1\.bias",
        ),
        ({"encoder_layers": 4}, r"16 missing \(encoder\.layers\.3\.fc1\.bias"),
        ({"conv_bias": True}, r"7 missing \(feature_extractor\.conv_layers\.0\.0\.bias"),
        ({"extractor_mode": "layer_norm"}, r"14 missing \(feature_extractor\.conv_layers\.0\.2\.1\.bias"),
        (
            {"encoder_ffn_embed_dim": 40},
            r"9 of another shape \(encoder\.layers\.0\.fc1\.bias \(48,\) where the settings say \(40,\)",
        ),
        ({"final_dim": 16}, r"3 of another shape \(final_proj\.bias \(24,\) where the settings say \(16,\)"),
        ({"final_dim": 0}, r"3 of another shape \(final_proj\.bias \(24,\) where the settings say \(32,\)"),
        ({"encoder_attention_heads": 5}, "embed_dim must be divisible by num_heads"),
        ({"encoder_layers": "three"}, "'num_hidden_layers' expected int, got str"),
        ({"activation_fn": "relu"}, "activation_fn 'relu'; a HuBERT can be imported with"),
        ({"extractor_mode": "batch_norm"}, "extractor_mode is 'batch_norm'"),
    ],
)
def test_weights_that_do_not_fit_their_settings(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = save(tmp_path / "bad.pt", state(cfg=settings("base", **change)))
    with pytest.raises(ValueError, match=message) as caught:
        import_fairseq(path, tmp_path / "hubert")
    assert str(caught.value).startswith(str(path))
    assert not (tmp_path / "hubert").exists()


def test_foreign_weights_are_named(tmp_path: Path) -> None:
    more = HubertModel("base").state_dict() | {"speaker_proj.weight": torch.zeros(2, 2)}
    with pytest.raises(ValueError, match=r"1 unknown \(speaker_proj\.weight\).*a model of another architecture"):
        imported(tmp_path, state("base", model=more))


def test_weights_that_diverged(tmp_path: Path) -> None:
    broken = HubertModel("base").state_dict()
    broken["encoder.layers.1.fc2.bias"] = torch.tensor([float("nan")] * SIZE)
    with pytest.raises(
        ValueError, match=r"encoder\.layers\.1\.fc2\.bias hold NaN or infinity: .* an earlier checkpoint"
    ):
        imported(tmp_path, state("base", model=broken))


def test_another_rate_of_audio(tmp_path: Path) -> None:
    cfg = settings("base")
    cfg["task"]["sample_rate"] = 8000
    with pytest.raises(ValueError, match="trained on audio of 8000 Hz; only 16000 Hz"):
        imported(tmp_path, state(cfg=cfg))


@pytest.mark.parametrize(
    "text",
    [
        CONVOLUTIONS, "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2", "[(512, 10, 5), (512, 8, 4)] + [(512, 4, 2)] * 3",
        "[(1,2,3)]", "[(1, 2, 3)] + ([(4, 5, 6)] + [(7, 8, 9)]) * 2", "[[1, 2, 3], [4, 5, 6]]",
    ],
)  # fmt: skip
def test_convolutions_are_what_python_makes_of_them(text: str) -> None:
    assert parse_convolutions(text) == [tuple(layer) for layer in eval(text)]


@pytest.mark.parametrize(
    "text",
    [
        "", "512", "[]", "[(512, 10)]", "[(512, 10, 0)]", "[(512, 10, -5)]", "[(512, 10, 5.0)]", "[('a', 1, 2)]",
        "[(True, 1, 2)]", "[(512, 10, 5)", "[(512, 10, 5)] * 65", "[(512, 10, 5)] * 10 ** 9", "[(512, 10, 5)] * 1000000000",
        "[(1,2,3)] - [(1,2,3)]", "[(x, 10, 5)]", "[(1, 2, 3) for _ in range(2)]", "open('/etc/passwd')",
        "(lambda: [(1, 2, 3)])()", "[(1,2,3)].append(1)", "[" * 400, "(" * 300 + "[(1,2,3)]" + ")" * 300,
        "[(1,2,3)]" + " + [(1,2,3)]" * 200, "\x00", None,
    ],
)  # fmt: skip
def test_convolutions_that_are_no_lists_of_three(text: Any) -> None:
    with pytest.raises(ValueError, match=r"conv_feature_layers is .* has to be lists of"):
        parse_convolutions(text)


def test_defaults_are_fairseqs() -> None:
    """Of a HuBERT of which fairseq was told nothing: base, with dropout 0.1 in blocks and none elsewhere."""
    config = HubertConfig(**to_transformers({"_name": "hubert"}))
    base = HubertConfig(activation_dropout=0.0, layerdrop=0.0)
    for name in (
        "hidden_size",
        "num_hidden_layers",
        "conv_dim",
        "conv_kernel",
        "conv_stride",
        "num_conv_pos_embeddings",
    ):
        assert getattr(config, name) == getattr(base, name) or list(getattr(config, name)) == list(getattr(base, name))
    assert (config.hidden_dropout, config.activation_dropout, config.layerdrop, config.feat_proj_dropout) == (
        0.1,
        0,
        0,
        0,
    )
    assert to_transformers(to_fairseq(config)) == to_transformers({})


# What is exported


def test_fairseq_gets_what_it_asks_for(tmp_path: Path) -> None:
    """The entries that `load_checkpoint_to_cpu` and `Trainer.load_checkpoint` read, and a Dictionary of fairseq's class."""
    export_fairseq(imported(tmp_path, state("large")), tmp_path / "back.pt")
    with fairseq_installed():
        loaded = torch.load(tmp_path / "back.pt", map_location="cpu", weights_only=False)
        (dictionary,) = loaded["task_state"]["dictionaries"]
        assert type(dictionary) is sys.modules["fairseq.data.dictionary"].Dictionary
    expected = state("large")["task_state"]["dictionaries"][0]
    assert vars(dictionary) == vars(expected)
    assert len(dictionary) == len(loaded["model"]["label_embs_concat"])
    assert loaded["args"] is None
    assert {"criterion_name", "optimizer_name", "lr_scheduler_state", "num_updates"} <= loaded["optimizer_history"][
        -1
    ].keys()
    assert loaded["extra_state"]["train_iterator"] == {"epoch": 1, "iterations_in_epoch": 0}
    OmegaConf.set_struct(OmegaConf.create(loaded["cfg"]), True)  # plain containers only
    with zipfile.ZipFile(tmp_path / "back.pt") as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        text = archive.read(name)
    assert b"cfairseq.data.dictionary\nDictionary\n" in text
    assert b"mlsuperb" not in text


def test_a_real_fairseq_is_left_alone(tmp_path: Path) -> None:
    folder, mine = imported(tmp_path, state()), ModuleType("fairseq")
    sys.modules["fairseq"] = mine
    try:
        export_fairseq(folder, tmp_path / "back.pt")
        assert sys.modules["fairseq"] is mine
        assert "fairseq.data.dictionary" not in sys.modules
    finally:
        del sys.modules["fairseq"]


def test_without_a_head_no_class_is_named(tmp_path: Path) -> None:
    folder = imported(tmp_path, state("base"))
    (folder / HEAD_FILE).unlink()
    assert export_fairseq(folder, tmp_path / "back.pt") is None
    loaded = torch.load(tmp_path / "back.pt", weights_only=True)
    assert loaded["task_state"] == {"dictionaries": [None]}  # then fairseq's HubertModel makes no embeddings of labels
    names = HubertModel("base").state_dict().keys() - {"final_proj.weight", "final_proj.bias", "label_embs_concat"}
    assert loaded["model"].keys() == names
    done = import_fairseq(tmp_path / "back.pt", tmp_path / "second")
    assert done.no_head == "the file has no final_proj.weight or no final_proj.bias or no label_embs_concat"
    assert all(torch.equal(tensor, weights(folder)[name]) for name, tensor in weights(done.folder).items())


def test_a_head_without_special_rows_gets_them(tmp_path: Path) -> None:
    folder = imported(tmp_path, state("base"))
    head = load_file(folder / HEAD_FILE)
    units = head["label_embeddings"][4:].clone()
    about = {"mlsuperb": json.dumps({"logit_temperature": 0.2, "num_special": 0, "label_rate_hz": 12.5})}
    save_file(head | {"label_embeddings": units}, folder / HEAD_FILE, metadata=about)
    assert export_fairseq(folder, tmp_path / "back.pt") == NUM_UNITS
    back = read_checkpoint(tmp_path / "back.pt")
    assert torch.equal(back.tensors["label_embs_concat"][4:], units)
    drawn = back.tensors["label_embs_concat"][:4]
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert len(drawn.unique()) > 80
    assert (back.model["logit_temp"], back.model["label_rate"], back.task["label_rate"]) == (0.2, 12.5, 12.5)


@pytest.mark.parametrize("family", ["hubert_base", "hubert_large"])
def test_a_model_of_transformers_goes_to_fairseq_and_back(family: str, tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "tiny", family)
    export_fairseq(folder, tmp_path / "tiny.pt")
    back = read_checkpoint(tmp_path / "tiny.pt")
    assert (back.kind, back.task["_name"], back.task["labels"]) == ("hubert", "hubert_pretraining", ["km"])
    assert (back.model["label_rate"], back.updates) == (50, 0)
    fine_tuning = {"mask_prob", "mask_length", "mask_channel_prob", "feature_grad_mult", "encoder_layerdrop", "dropout"}
    assert fine_tuning <= back.model.keys()  # fairseq overrules what is there, and nothing else
    done = import_fairseq(tmp_path / "tiny.pt", tmp_path / "back")
    model, again = (TransformersHubert.from_pretrained(one).eval() for one in (folder, done.folder))
    with torch.inference_mode():
        pairs = [one(noise(), output_hidden_states=True).hidden_states for one in (model, again)]
    assert all(torch.equal(one, other) for one, other in zip(*pairs, strict=True))
    given, returned = (HuggingFace(checkpoint=str(one)).record()["do_normalize"] for one in (folder, done.folder))
    assert given == returned


def test_what_is_not_exported(tmp_path: Path) -> None:
    file = tmp_path / "back.pt"
    with pytest.raises(ValueError, match="type wav2vec2; only a HuBERT can be exported"):
        export_fairseq(write_tiny(tmp_path / "wav2vec2", "wav2vec2_base"), file)
    folder = imported(tmp_path, state())
    config = json.loads((folder / "config.json").read_text())
    for change, message in (
        ({"mask_time_prob": 0.0}, "has no embedding of masked frames"),
        ({"hidden_act": "relu"}, "config.json has {'hidden_act': 'relu'}, where a HuBERT of fairseq"),
    ):
        (folder / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ValueError, match=message):
            export_fairseq(folder, file)
    (folder / "config.json").write_text(json.dumps(config))
    missing = {name: tensor for name, tensor in weights(folder).items() if name != "masked_spec_embed"}
    shutil.copytree(folder, tmp_path / "unmasked")
    save_file(missing, tmp_path / "unmasked" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"1 missing \(masked_spec_embed\)"):
        export_fairseq(tmp_path / "unmasked", file)
    (folder / HEAD_FILE).write_bytes(b"no head")
    with pytest.raises(ValueError, match=f"{HEAD_FILE} cannot be read as a prediction head.*remove it"):
        export_fairseq(folder, file)
    assert not file.exists()
    file.write_text("mine")
    with pytest.raises(ValueError, match="is there already and will not be overwritten"):
        export_fairseq(folder, file)
    assert file.read_text() == "mine"
