"""Omnilingual ASR's encoders, read from fairseq2's files."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tiny_omniasr import FILE, NUM_BLOCKS, SIZE, encoder, layers_of, shapes, weights, write_omniasr

from mlsuperb.config.compose import compose
from mlsuperb.upstreams.folder import save_folder
from mlsuperb.upstreams.huggingface import HuggingFace
from mlsuperb.upstreams.omniasr import OmniASR
from mlsuperb.upstreams.omniasr_file import model_config, transformers_name
from mlsuperb.upstreams.sources import config_digest

# Blocks, size, inner size, size of the quantiser and of the projections; parameters by the README of omnilingual-asr
PUBLISHED = {
    "300m": (24, 1024, 4096, 768, 317_390_592),
    "1b": (48, 1280, 5120, 1024, 965_514_752),
    "3b": (60, 2048, 8192, 1024, 3_064_124_672),
    "7b": (128, 2048, 8192, 1024, 6_488_487_168),
}


def noise(num_samples: int, *, level: float = 0.1) -> torch.Tensor:
    return level * (torch.randn(1, num_samples, generator=torch.Generator().manual_seed(0)) + 0.2)


def saved(path: Path, content: object) -> str:
    torch.save(content, path)
    return str(path)


def test_every_name_has_its_place(checkpoints: dict[str, Path]) -> None:
    names = {transformers_name(name) for name in shapes()}
    assert len(names) == len(shapes()) == 38 + 16 * NUM_BLOCKS
    upstream = OmniASR(checkpoint=str(checkpoints["omniasr"]), regularisation="mask_embedding")
    assert names == set(upstream.model.state_dict())
    training = weights().keys() - shapes().keys()
    assert len(training) == 8
    assert {transformers_name(name) for name in training} == {None}


def test_weights_are_read_and_those_of_pre_training_left_out(checkpoints: dict[str, Path]) -> None:
    upstream = OmniASR(checkpoint=str(checkpoints["omniasr"]), regularisation="mask_embedding")
    found, expected = upstream.model.state_dict(), encoder()
    assert len(found) == len(expected)
    for name, value in expected.items():
        assert torch.equal(found[transformers_name(name)], value)
    assert all(parameter.requires_grad for parameter in upstream.parameters())
    assert upstream.model.config.num_attention_heads == 16


@torch.no_grad()
@pytest.mark.parametrize("level", [0.1, 1e-3])
@pytest.mark.parametrize("num_samples", [400, 12345])
def test_layers_are_those_of_fairseq2(level: float, num_samples: int, checkpoints: dict[str, Path]) -> None:
    """By an implementation of its own; with fairseq2's own classes the largest difference was 1.3e-6 of the layer's largest
    value."""
    wave_BT = noise(num_samples, level=level)
    layers = OmniASR(checkpoint=str(checkpoints["omniasr"])).eval()(wave_BT, torch.tensor([num_samples])).layers
    expected = layers_of(wave_BT[0], encoder())
    assert len(layers) == len(expected) == NUM_BLOCKS + 1
    for layer, other in zip(layers, expected, strict=True):
        torch.testing.assert_close(layer[0], other, rtol=0, atol=1e-5 * float(other.abs().max()))
    if num_samples > 400:  # the same weights with other heads are another model
        others = layers_of(wave_BT[0], encoder(), num_heads=2)
        assert (others[-1] - expected[-1]).abs().max() > 0.01 * expected[-1].abs().max()


@pytest.mark.parametrize("wrap", [dict, lambda named: {"model": named, "fs2": True, "step": 7}], ids=["plain", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_forms_of_the_file(wrap: Callable[[dict], Any], prefix: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pt", wrap({prefix + name: value.half() for name, value in weights().items()}))
    assert OmniASR.problems(checkpoint=path) == []
    assert OmniASR.depth({"checkpoint": path, "revision": "main"}) == NUM_BLOCKS
    upstream = OmniASR(checkpoint=path)
    assert (upstream.num_layers, upstream.layer_size, upstream.record()["dtype"]) == (NUM_BLOCKS + 1, SIZE, "float32")


def test_record_says_what_was_loaded(checkpoints: dict[str, Path]) -> None:
    folder = checkpoints["omniasr"]
    upstream = OmniASR(checkpoint=str(folder))
    named = {transformers_name(name): value for name, value in encoder().items()}
    assert upstream.record() == {
        "checkpoint": str(folder),
        "revision": "main",
        "commit": None,
        "sha256": {FILE: hashlib.sha256((folder / FILE).read_bytes()).hexdigest()},
        "config": config_digest(model_config(named, path=folder)),
        "do_normalize": True,
        "do_normalize_source": "the waveform's layer norm of fairseq2",
        "normalize_eps": 1e-5,
        "num_parameters": sum(value.numel() for value in encoder().values()) - SIZE,
        "dtype": "float32",
    }


@torch.no_grad()
def test_a_folder_in_the_transformers_format_is_the_same_model(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """As `mlsuperb export upstream` writes one, also of very quiet speech; without our key 1e-7 is added to the variance."""
    upstream = OmniASR(checkpoint=str(checkpoints["omniasr"])).eval()
    save_folder(upstream, tmp_path)
    wave_BT, lengths_B = noise(8000, level=1e-3), torch.tensor([8000])
    exported = HuggingFace(checkpoint=str(tmp_path)).eval()
    expected = upstream(wave_BT, lengths_B).layers
    assert all(torch.equal(a, b) for a, b in zip(exported(wave_BT, lengths_B).layers, expected, strict=True))
    assert exported.record()["normalize_eps"] == 1e-5
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({"do_normalize": True}))
    plain = HuggingFace(checkpoint=str(tmp_path)).eval()
    assert "normalize_eps" not in plain.record()
    assert not torch.allclose(plain(wave_BT, lengths_B).layers[0], expected[0], atol=1e-3)
    path.write_text(json.dumps({"do_normalize": True, "normalize_eps": "small"}))
    assert "normalize_eps='small'; it must be a number" in HuggingFace.problems(checkpoint=str(tmp_path))[0]
    with pytest.raises(
        ValueError, match=r"holds no \*\.pt but a model in the transformers format: read it with upstream=hf"
    ):
        OmniASR(checkpoint=str(tmp_path))


@pytest.mark.parametrize("size", PUBLISHED)
def test_published_sizes(size: str) -> None:
    """The published numbers count all that pre-training needed: mask embedding, quantiser and both projections."""
    num_blocks, width, inner, quantised, expected = PUBLISHED[size]
    shape = {
        "feature_projection.projection.weight": (width, 512),
        "encoder.layers.0.feed_forward.intermediate_dense.weight": (inner, width),
        f"encoder.layers.{num_blocks - 1}.layer_norm.weight": (width,),
        "encoder.pos_conv_embed.conv.parametrizations.weight.original1": (width, width // 16, 128),
        "masked_spec_embed": (width,),
    }
    for number, kernel in enumerate((10, 3, 3, 3, 3, 2, 2)):
        shape[f"feature_extractor.conv_layers.{number}.conv.weight"] = (512, 512 if number else 1, kernel)
    config = model_config({name: torch.empty(sizes, device="meta") for name, sizes in shape.items()}, path=Path("x"))
    assert config.pop("model_type") == "wav2vec2"
    assert config["num_attention_heads"] == config["num_conv_pos_embedding_groups"] == 16
    with torch.device("meta"):
        model = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**config))
    quantiser = 640 * quantised // 2 + 640 * (512 + 1)
    projections = quantised * (width + 1) + quantised * (quantised + 1)
    assert model.num_parameters() + quantiser + projections == expected
    card = compose([f"upstream=omniasr_w2v_{size}"])["upstream"]["card"]
    assert (card["layers"], card["size"]) == (num_blocks + 1, width)
    assert card["params_m"] == pytest.approx((model.num_parameters() - width) / 1e6, abs=0.05)


def _renamed(start: str, to: str) -> dict[str, torch.Tensor]:
    return {name.replace(start, to): value for name, value in weights().items()}


def _without(*starts: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in weights().items() if not name.startswith(starts)}


class Foreign:
    """What no checkpoint needs."""


REFUSED: dict[str, tuple[object, str]] = {
    "ctc": (_without("quantizer", "final_target_proj", "masker"), r"is a recogniser \(omniASR-CTC\): give the encoder"),
    "llm": (
        {**weights(), "llama_decoder.layers.0.x": torch.zeros(1)},
        r"is a recogniser with a language model \(omniASR-LLM\)",
    ),
    "fairseq": (
        _renamed("encoder_frontend.feature_extractor.", "feature_extractor.conv_"),
        "is a model of fairseq or transf",
    ),
    "other names": (
        {**weights(), "encoder_frontend.layer_norm.bias": torch.zeros(1)},
        r"1 unknown names \(encoder_frontend\.l",
    ),
    "other blocks": (_renamed("ffn.inner_proj", "conv.inner_proj"), "unknown names"),
    "no blocks": (_without("encoder.layers.0."), "it has no encoder.layers.0.feed_forward"),
    "a block less": (
        _without("encoder.layers.2.ffn"),
        r"not those of a whole encoder: 6 missing \(encoder\.layers\.2\.",
    ),
    "no norms": (_without("encoder_frontend.feature_extractor.layers.3.layer_norm"), r"2 missing \(feature_extractor"),
    "another shape": (
        {**weights(), "encoder.layer_norm.bias": torch.zeros(7)},
        r"1 of another shape \(encoder\.layer_norm",
    ),
    "a flat matrix": ({**weights(), "encoder_frontend.model_dim_proj.weight": torch.zeros(7)}, r"has the shape \(7,\)"),
    "heads": (
        {**weights(), "encoder_frontend.model_dim_proj.weight": torch.zeros(24, 16)},
        "do not divide into 16 heads",
    ),
    "a list": ([torch.zeros(1)], "holds no plain dictionary of tensors"),
    "numbers": ({"model": {"a": 1}}, "holds no plain dictionary of tensors"),
    "nothing": ({}, "it has no feature_extractor"),
    "a class": ({"model": weights(), "config": Foreign()}, r"holds a \S*Foreign.*never loaded"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_files_are_refused(name: str, tmp_path: Path) -> None:
    content, message = REFUSED[name]
    path = saved(tmp_path / "w.pt", content)
    with pytest.raises(ValueError, match=rf"upstream\.checkpoint.*{path}.*{message}"):
        OmniASR(checkpoint=path)
    before = OmniASR.problems(checkpoint=path)
    assert len(before) == (name not in ("a block less", "no norms", "another shape")), "as far as names and sizes tell"
    if name in ("heads", "nothing", "a list"):
        assert "hf download facebook/omniASR-W2V-300M" in before[0]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_files_cut_short_are_refused(share: float, tmp_path: Path) -> None:
    path = write_omniasr(tmp_path) / FILE
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * share)])
    with pytest.raises(ValueError, match=rf"{path} cannot be read.*cut short.*hf download"):
        OmniASR(checkpoint=str(tmp_path))
    assert len(OmniASR.problems(checkpoint=str(tmp_path))) == 1
    assert OmniASR.depth({"checkpoint": str(tmp_path), "revision": "main"}) is None


def test_what_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is not there" in OmniASR.problems(checkpoint="omniASR-W2V-300M.pt")[0]
    assert r"holds no *.pt" in OmniASR.problems(checkpoint=str(tmp_path))[0]
    for name in ("omniASR-CTC-1B.pt", "omniASR-W2V-1B.pt"):
        (tmp_path / name).touch()
    assert "holds 2 checkpoints (omniASR-CTC-1B.pt, omniASR-W2V-1B.pt)" in OmniASR.problems(checkpoint=str(tmp_path))[0]
    assert OmniASR.problems(checkpoint="nobody/nothing") == [], "known only once it is fetched"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (problem,) = OmniASR.problems(checkpoint="nobody/nothing")
    assert "nobody/nothing (main) is not in the hub's cache, and HF_HUB_OFFLINE is set. Give a repository" in problem
    assert "hf download" in problem
    assert "dl.fbaipublicfiles.com/mms/omniASR-W2V-300M.pt" in problem
    with pytest.raises(ValueError, match=r"nobody/nothing \(main\) could not be read"):
        OmniASR(checkpoint="nobody/nothing")


def test_a_hub_checkpoint_from_the_cache(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `hf download` leaves it, without network."""
    commit, repository = "0123456789abcdef0123456789abcdef01234567", tmp_path / "models--owner--name"
    shutil.copytree(checkpoints["omniasr"], repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit, encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    known = {"checkpoint": "owner/name", "revision": "main"}
    assert OmniASR.problems(**known) == []
    assert OmniASR.depth(known) == NUM_BLOCKS
    record = OmniASR(**known).record()
    assert (record["commit"], record["revision"], record["sha256"]) == (commit, "main", None)


def test_copies_with_another_number_of_heads_are_refused(tmp_path: Path) -> None:
    """By their sizes alone: those that the community's converter writes compute something else."""
    for num_blocks, width, inner, heads in ((48, 1280, 5120, 20), (60, 2048, 8192, 32), (128, 2048, 8192, 32)):
        sizes = {"num_hidden_layers": num_blocks, "hidden_size": width, "intermediate_size": inner}
        for number, refused in ((heads, 1), (16, 0)):
            config = {"model_type": "wav2vec2", **sizes, "num_attention_heads": number}
            (tmp_path / "config.json").write_text(json.dumps(config))
            found = HuggingFace.problems(checkpoint=str(tmp_path))
            assert len(found) == refused
            for part in (
                f"num_attention_heads={heads}",
                "with 16 heads",
                "aadel4/omniASR-W2V-*",
                "upstream=omniasr_w2v_1b",
            ):
                assert all(part in one for one in found)
