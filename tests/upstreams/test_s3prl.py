"""What s3prl adds to a model: a frame for every 320 samples begun, and its own normalisation of waves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from mlsuperb.upstreams.huggingface import HuggingFace
from mlsuperb.upstreams.s3prl import MIN_SAMPLES, S3prl


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
        assert (own.normalise, own.wave_eps) == (layer_norms, 1e-5)
        assert (taken.normalise, taken.wave_eps) == (not layer_norms, 1e-7)
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
