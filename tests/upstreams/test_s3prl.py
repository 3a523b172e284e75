"""What s3prl adds to a model: a frame for every 320 samples begun, and its own normalisation of waves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from hydra.utils import get_object
from safetensors.torch import load_file

from mlsuperb.config.compose import compose
from mlsuperb.config.options import conf_dir, options
from mlsuperb.espnet.upstreams import NATIVE
from mlsuperb.upstreams.conventions import MIN_SAMPLES, Conventions
from mlsuperb.upstreams.huggingface import HuggingFace
from mlsuperb.upstreams.s3prl import S3prl, S3prlKind


@torch.no_grad()
def test_the_last_frame_is_repeated(checkpoints: dict[str, Path]) -> None:
    folder = str(checkpoints["hubert_base"])
    plain, s3prl = HuggingFace(checkpoint=folder).eval(), S3prl(checkpoint=folder).eval()
    seen = []
    for samples in (1, 320, 321, 16_000, 16_001, 16_080):
        lengths_B = torch.tensor([samples])
        wave_BT = torch.randn(1, samples, generator=torch.Generator().manual_seed(samples))
        features = s3prl(wave_BT, lengths_B)
        padded_BT = torch.nn.functional.pad(wave_BT, (0, max(0, MIN_SAMPLES - samples)))
        expected = plain(padded_BT, torch.tensor([padded_BT.shape[1]]))
        frames, own_frames = int(features.lengths_B), int(expected.lengths_B)
        for found, layer in zip(features.layers, expected.layers, strict=True):
            shared = min(frames, own_frames)
            torch.testing.assert_close(found[:, :shared], layer[:, :shared])
            torch.testing.assert_close(found[:, shared:], layer[:, -1:].expand(-1, frames - shared, -1))
        seen.append((frames, own_frames))
    assert seen == [(1, 2), (1, 2), (2, 2), (50, 49), (51, 49), (51, 50)]


def test_its_own_models_normalise_waves_by_their_convolutions(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    for family, layer_norms in (("hubert_base", False), ("xls_r", True)):
        folder = shutil.copytree(checkpoints[family], tmp_path / family)
        (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": not layer_norms}))
        own = S3prl(checkpoint=str(folder))
        taken = S3prl(checkpoint=str(folder), kind="transformers")
        assert (own.normalise, own.s3prl.eps) == (layer_norms, 1e-5)
        assert (taken.normalise, taken.s3prl.eps) == (not layer_norms, 1e-7)
        assert own.record()["do_normalize"] is layer_norms
        assert own.record()["do_normalize_source"] == "s3prl's own model"
        assert own.record()["checkpoint"] == family  # wherever it lies
    quiet_BT, lengths_B = 1e-3 * torch.randn(1, 4000, generator=torch.Generator().manual_seed(0)), torch.tensor([4000])
    with torch.no_grad():
        found = own.eval()(quiet_BT, lengths_B)
        plain = HuggingFace(checkpoint=str(folder)).eval()(torch.nn.functional.layer_norm(quiet_BT, (4000,)), lengths_B)
    frames = int(plain.lengths_B)
    for layer, expected in zip(found.layers, plain.layers, strict=True):
        torch.testing.assert_close(layer[:, :frames], expected, rtol=1e-4, atol=1e-4)


def test_a_model_on_mels_is_refused(checkpoints: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=r"reads no waves, so s3prl has no such model; use upstream=hf"):
        S3prl(checkpoint=str(checkpoints["w2v_bert"]))


@torch.no_grad()
@pytest.mark.parametrize(("kind", "conventions"), [("own", "s3prl"), ("transformers", "s3prl_hf")])
@pytest.mark.parametrize(
    "family", ["hubert_base", "wav2vec2_base", "wavlm_base", "hubert_large", "xls_r", "wavlm_large"]
)
def test_under_its_conventions_any_checkpoint_gives_its_features(
    family: str, kind: S3prlKind, conventions: Conventions, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    """The same bits and frames as upstream=s3prl, of a checkpoint saved either way: as transformers 5 does, and as a pickle
    with the names of weight norm that most published ones have."""
    folder = shutil.copytree(checkpoints[family], tmp_path / "safetensors")
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    weights = load_file(folder / "model.safetensors")
    for new_name, old_name in old.items():
        weights = {name.replace(new_name, old_name): value for name, value in weights.items()}
    torch.save(weights, pickled / "pytorch_model.bin")
    for one in (folder, pickled):
        shutil.copy(checkpoints[family] / "config.json", one)
        (one / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True}))
    s3prl = S3prl(checkpoint=str(folder), kind=kind).eval()
    ours = [HuggingFace(checkpoint=str(one), conventions=conventions).eval() for one in (folder, pickled)]
    lengths_B = torch.tensor([16_043, 15_999, 801, 399, 1, 4_321])
    wave_BT = 0.01 * torch.randn(6, 16_043, generator=torch.Generator().manual_seed(0)) + 0.02
    expected = s3prl(wave_BT, lengths_B)
    assert expected.lengths_B.tolist() == [51, 50, 3, 2, 1, 14]
    for one in ours:
        found = one(wave_BT, lengths_B)
        assert found.lengths_B.tolist() == expected.lengths_B.tolist() == one.num_frames(lengths_B).tolist()
        assert all(torch.equal(a, b) for a, b in zip(found.layers, expected.layers, strict=True))
        assert one.record()["conventions"] == one.conventions == s3prl.conventions == conventions
        assert (
            one.record()["do_normalize"]
            is one.normalise
            is (kind == "transformers" or "large" in family or family == "xls_r")
        )
    assert HuggingFace(checkpoint=str(folder)).conventions == "checkpoint"
    assert "conventions" not in HuggingFace(checkpoint=str(folder)).record(), "or runs from before would not load"


def test_a_model_on_mels_has_no_such_conventions(checkpoints: dict[str, Path]) -> None:
    folder = str(checkpoints["w2v_bert"])
    assert HuggingFace(checkpoint=folder).conventions is None
    with pytest.raises(ValueError, match=r"reads no waves.*; use upstream=hf upstream\.conventions=checkpoint"):
        HuggingFace(checkpoint=folder, conventions="s3prl_hf")
    (problem,) = HuggingFace.problems(checkpoint=folder, conventions="s3prl_hf")
    assert "reads no waves" in problem
    assert HuggingFace.problems(checkpoint=folder) == []


def test_experiments_of_1_0_run_every_model_as_its_published_row() -> None:
    """s3prl's own names are those that ESPnet's models are imported by; whatever else reads waves, it has from transformers."""
    own, seen = {name for _, name in NATIVE.values()}, []
    own.remove("wav2vec2_large_23")  # s3prl has it, too, but ML-SUPERB's rows are of its `hf_wav2vec2_custom`
    asked = "${oc.select:benchmark.conventions,checkpoint}"
    wrapped = "${choose:" + asked + ",{s3prl:s3prl_hf,default:checkpoint}}"
    for option in options("upstream", [conf_dir()]):
        settings = yaml.safe_load((conf_dir() / "upstream" / f"{option}.yaml").read_text(encoding="utf-8"))
        target = get_object(settings.get("_target_", "mlsuperb.upstreams.fbank.Fbank"))
        if issubclass(target, HuggingFace) and option not in ("s3prl", "w2v_bert_2"):
            assert settings["conventions"] == (asked if option in own else wrapped), option
            seen.append(option)
        else:
            assert "conventions" not in settings, option
    assert len(seen) == 34


def test_conventions_of_an_experiment_its_upstreams_and_a_choice() -> None:
    def conventions(*overrides: str) -> str | None:
        return compose(list(overrides))["upstream"].get("conventions")

    v1 = "+exp=v1/lid"
    assert (conventions(v1, "upstream=hubert_base"), conventions(v1, "upstream=mms_1b")) == ("s3prl", "s3prl_hf")
    assert conventions("upstream=mms_1b") is None, "left out, as in runs from before"
    assert conventions(v1, "upstream=hubert_base", "upstream.conventions=checkpoint") is None
    assert conventions("+exp=peft_study/mono_asr") is None
