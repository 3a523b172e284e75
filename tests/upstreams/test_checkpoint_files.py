"""What lies in a checkpoint's folder beside the weights, or in their place: obeyed, recorded or refused in a sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from mlsuperb.upstreams.base import same_record
from mlsuperb.upstreams.huggingface import HuggingFace
from mlsuperb.upstreams.parakeet import Parakeet
from mlsuperb.upstreams.s3prl import S3prl
from mlsuperb.upstreams.seamless import SeamlessM4T
from mlsuperb.upstreams.sources import config_digest
from mlsuperb.upstreams.voxtral import Voxtral
from mlsuperb.upstreams.whisper import Whisper

READERS: dict[str, Callable[..., Any]] = {
    "hubert_base": HuggingFace, "xls_r": HuggingFace, "wavlm_base": HuggingFace, "w2v_bert": HuggingFace, "whisper": Whisper,
    "seamless_v1": SeamlessM4T, "parakeet": Parakeet, "voxtral": Voxtral,
}  # fmt: skip
PEFT = {
    "peft_type": "LORA",
    "r": 2,
    "lora_alpha": 2,
    "target_modules": ["q_proj"],
    "base_model_name_or_path": "some/base",
}


@pytest.fixture
def copied(checkpoints: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda family: Path(shutil.copytree(checkpoints[family], tmp_path / family))


def edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(content | changes))


def as_transformers_5_writes_it(folder: Path, **changes: Any) -> None:
    """processor_config.json alone."""
    path = folder / "preprocessor_config.json"
    content = json.loads(path.read_text()) if path.is_file() else {"do_normalize": True, "sampling_rate": 16000}
    path.unlink(missing_ok=True)
    edit(folder / "processor_config.json", feature_extractor=content | changes, processor_class="Wav2Vec2Processor")


@pytest.mark.parametrize("reader", [HuggingFace, S3prl])
@pytest.mark.parametrize("do_normalize", [True, False])
@pytest.mark.parametrize("family", ["hubert_base", "xls_r"])
def test_normalisation_is_read_from_either_file(
    family: str, do_normalize: bool, reader: type[HuggingFace], copied: Callable[[str], Path]
) -> None:
    folder = copied(family)
    as_transformers_5_writes_it(folder, do_normalize=do_normalize, feature_extractor_type="Wav2Vec2FeatureExtractor")
    given = {"kind": "transformers"} if reader is S3prl else {}
    upstream = reader(checkpoint=str(folder), **given)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    assert upstream.record()["do_normalize"] is extractor.do_normalize is do_normalize
    assert upstream.record()["do_normalize_source"] == "processor_config.json"
    if reader is HuggingFace:
        wave = 0.01 * torch.randn(1, 3200, generator=torch.Generator().manual_seed(0))
        found, _ = upstream.input(wave, torch.tensor([3200]))
        expected = extractor(wave[0].numpy(), sampling_rate=16000, return_tensors="pt").input_values
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_a_processor_file_of_old_says_nothing_of_audio(copied: Callable[[str], Path]) -> None:
    folder = copied("xls_r")
    edit(folder / "processor_config.json", processor_class="Wav2Vec2Processor")
    assert HuggingFace(checkpoint=str(folder)).record()["do_normalize_source"] == "preprocessor_config.json"


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("hubert_base", {"sampling_rate": 8000}, "reads 8000 Hz audio"),
        ("hubert_base", {"sampling_rate": "16000"}, "reads '16000' Hz audio"),
        ("hubert_base", {"feature_size": 80}, "says feature_size=80, but only feature_size=1 can be made"),
        ("hubert_base", {"do_normalize": "false"}, "says do_normalize='false'; it must be true or false"),
        ("w2v_bert", {"num_mel_bins": 40}, "says num_mel_bins=40, but only feature_size=80, num_mel_bins=80, stride=2"),
        ("w2v_bert", {"stride": 1}, "says stride=1"),
        ("seamless_v1", {"feature_size": 128}, "says feature_size=128"),
        ("whisper", {"feature_size": 128}, "says feature_size=128"),
        ("whisper", {"hop_length": 200}, "says hop_length=200"),
        ("whisper", {"n_fft": 512}, "says n_fft=512"),
        ("voxtral", {"feature_size": 80}, "says feature_size=80, but only feature_size=128"),
        ("parakeet", {"feature_size": 128}, "says feature_size=128, but only feature_size=80"),
        ("parakeet", {"preemphasis": None}, "says preemphasis=None"),
        ("parakeet", {"win_length": 512}, "says win_length=512"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_audio_that_cannot_be_prepared_so_is_refused(
    nested: bool, family: str, changes: dict[str, Any], message: str, copied: Callable[[str], Path]
) -> None:
    folder = copied(family)
    edit(folder / "preprocessor_config.json", **changes)
    if nested:
        as_transformers_5_writes_it(folder)
    reader = READERS[family]
    (problem,) = reader.problems(checkpoint=str(folder))  # type: ignore[attr-defined]
    assert message in problem
    with pytest.raises(ValueError, match=r"Hz audio|can be made|must be true"):
        reader(checkpoint=str(folder))


def test_two_files_that_disagree_are_refused(copied: Callable[[str], Path]) -> None:
    folder = copied("hubert_base")
    edit(folder / "preprocessor_config.json", do_normalize=True)
    edit(folder / "processor_config.json", feature_extractor={"do_normalize": False})
    with pytest.raises(
        ValueError, match=r"processor_config\.json says do_normalize=False, preprocessor_config\.json True"
    ):
        HuggingFace(checkpoint=str(folder))
    edit(folder / "processor_config.json", feature_extractor=[1])
    with pytest.raises(ValueError, match=r"feature_extractor in processor_config\.json is no JSON object"):
        HuggingFace(checkpoint=str(folder))


@pytest.mark.parametrize("family", READERS)
def test_an_adapter_beside_the_weights_is_refused(family: str, copied: Callable[[str], Path]) -> None:
    """transformers attaches it unasked, and the record would not say so."""
    folder = copied(family)
    edit(folder / "adapter_config.json", **PEFT)
    save_file({"base_model.model.x.lora_A.weight": torch.zeros(2, 2)}, folder / "adapter_model.safetensors")
    message = r"also holds an adapter \(adapter_config\.json\), which would change the model unseen. Move it out"
    with pytest.raises(ValueError, match=message):
        READERS[family](checkpoint=str(folder))
    (problem,) = READERS[family].problems(checkpoint=str(folder))  # type: ignore[attr-defined]
    assert "also holds an adapter" in problem


@pytest.mark.parametrize(
    ("family", "asked"),
    [
        *(
            (family, "flash_attention_2")
            for family in ("hubert_base", "wavlm_base", "w2v_bert", "whisper", "seamless_v1", "parakeet", "voxtral")
        ),
        *(("hubert_base", asked) for asked in ("flash_attention_3", "kernels-community/flash-attn", "flex_attention")),
    ],
)
def test_other_attention_is_not_taken(family: str, asked: str, checkpoints: dict[str, Path], copied: Any) -> None:
    folder = copied(family)
    edit(folder / "config.json", attn_implementation=asked)
    wave, lengths = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0)), torch.tensor([4000, 3000])
    one, other = (READERS[family](checkpoint=str(path)).eval() for path in (checkpoints[family], folder))
    with torch.inference_mode():
        for expected, found in zip(one(wave, lengths).layers, other(wave, lengths).layers, strict=True):
            assert torch.equal(expected, found)


@pytest.mark.parametrize("family", READERS)
def test_quantised_checkpoints_are_refused(family: str, copied: Callable[[str], Path]) -> None:
    folder = copied(family)
    edit(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(ValueError, match=r"Its weights are quantised \(config\.json: quantization_config, gptq\)"):
        READERS[family](checkpoint=str(folder))


ODD_CONFIGS: dict[str, dict[str, Any]] = {
    "a number as text": {"hidden_size": "32"},
    "a number as a list": {"num_attention_heads": [2]},
    "no number": {"num_hidden_layers": None},
    "a list of another model": {"model_type": "wav2vec2", "hidden_size": [32]},
    "a text for a list": {"conv_kernel": "10"},
    "heads that do not divide": {"num_attention_heads": 7},
    "an unknown activation": {"hidden_act": "no such thing"},
    "nothing": {"hidden_size": 0},
    "less than nothing": {"num_hidden_layers": -1},
    "a type that is none": {"model_type": ["hubert"]},
    "quantised by a list": {"quantization_config": [1]},
    "dropped": {"hidden_dropout": "much"},
}


@pytest.mark.parametrize("changes", ODD_CONFIGS.values(), ids=ODD_CONFIGS)
def test_odd_settings_are_one_sentence_with_the_folder(changes: dict[str, Any], copied: Callable[[str], Path]) -> None:
    folder = copied("hubert_base")
    edit(folder / "config.json", **changes)
    HuggingFace.problems(checkpoint=str(folder))
    with pytest.raises(ValueError, match=rf"{folder}.*(config\.json|model_type)"):
        HuggingFace(checkpoint=str(folder))


@pytest.mark.parametrize("content", [b"[1, 2]", b"3", b"{", b"\xff\xfe", b"", b"null", b"[" * 100_000])
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "processor_config.json"])
def test_files_that_are_no_json_object_are_named(name: str, content: bytes, copied: Callable[[str], Path]) -> None:
    folder = copied("xls_r")
    (folder / name).write_bytes(content)
    for call in (HuggingFace.problems, HuggingFace):
        with pytest.raises(ValueError, match=rf"{name} (is not JSON|holds no JSON object)"):
            raise ValueError(*call(checkpoint=str(folder)))  # type: ignore[misc]  # problems gives a list of them
    if name == "config.json":
        with pytest.raises(ValueError, match=r"config\.json (is not JSON|holds no JSON object)"):
            HuggingFace.depth({"checkpoint": str(folder), "revision": "main"})


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _junk(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def _index(folder: Path, content: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(content)


def _bin(folder: Path, content: Any) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(content, folder / "pytorch_model.bin")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut": _cut,
    "a pointer of git-lfs": _junk,
    "empty": _no_weights,
    "an index that is a list": lambda folder: _index(folder, "[]"),
    "an index of nothing": lambda folder: _index(folder, "{}"),
    "an index of files that are not there": lambda folder: _index(folder, '{"metadata": {}, "weight_map": {"a": "b"}}'),
    "a list in place of tensors": lambda folder: _bin(folder, [torch.zeros(1)]),
    "a number in place of a tensor": lambda folder: _bin(folder, {"encoder.layer_norm.weight": 3}),
    "a tensor": lambda folder: _bin(folder, torch.zeros(3)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_weights_are_one_sentence_with_the_folder(
    damage: Callable[[Path], None], copied: Callable[[str], Path]
) -> None:
    folder = copied("hubert_base")
    damage(folder)
    with pytest.raises(ValueError, match=rf"upstream\.checkpoint={folder}"):
        HuggingFace(checkpoint=str(folder))


def test_other_settings_of_the_same_weights_are_another_model(copied: Callable[[str], Path]) -> None:
    folder = copied("hubert_base")
    then = HuggingFace(checkpoint=str(folder)).record()
    edit(folder / "config.json", transformers_version="9", dtype="float16", architectures=["X"], _name_or_path="a")
    assert HuggingFace(checkpoint=str(folder)).record() == then, "what computes nothing does not count"
    edit(folder / "config.json", hidden_act="relu")
    now = HuggingFace(checkpoint=str(folder)).record()
    assert now["sha256"] == then["sha256"]
    assert not same_record(then, now)
    older = {name: value for name, value in then.items() if name != "config"}
    assert same_record(older, now), "of a run from before this was recorded"
    assert same_record(then, then | {"checkpoint": "elsewhere"}), "files are known by their hashes"
    assert not same_record(then, then | {"do_normalize": True})
    assert config_digest({"a": 1, "_b": 2}) == config_digest({"a": 1}) != config_digest({"a": 2})


def test_weights_still_load(checkpoints: dict[str, Path]) -> None:
    tensors = load_file(checkpoints["hubert_base"] / "model.safetensors")
    model = HuggingFace(checkpoint=str(checkpoints["hubert_base"])).model
    assert torch.equal(model.state_dict()["encoder.layer_norm.weight"], tensors["encoder.layer_norm.weight"])
