"""The model that comes with the package: `models/mhubert_tiny`."""

from __future__ import annotations

import json

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import AutoFeatureExtractor, AutoModel

from mlsuperb.config.compose import compose
from mlsuperb.types import SAMPLE_RATE_HZ
from mlsuperb.upstreams.bundled import Bundled, models_folder, revision_of

FOLDER = models_folder() / "mhubert_tiny"


@pytest.fixture(scope="module")
def upstream() -> Bundled:
    return Bundled(model="mhubert_tiny", revision=revision_of(FOLDER)).eval()


@pytest.mark.parametrize("num_samples", [16_000, 23_456])
def test_plain_transformers_gives_our_layers(upstream: Bundled, num_samples: int) -> None:
    wave_T = 0.3 + 0.1 * torch.randn(num_samples, generator=torch.Generator().manual_seed(0))
    extractor, model = AutoFeatureExtractor.from_pretrained(FOLDER), AutoModel.from_pretrained(FOLDER).eval()
    inputs = extractor(wave_T.numpy(), sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
    with torch.inference_mode():
        theirs = model(**inputs, output_hidden_states=True).hidden_states
        ours = upstream(wave_T[None], torch.tensor([num_samples])).layers
    assert len(ours) == len(theirs) == 7
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-5 * float(other.abs().max()), rtol=0)


def test_it_is_small(upstream: Bundled) -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 12e6
    assert sum(one.numel() for one in upstream.parameters()) < 6e6
    assert {str(one.dtype) for one in upstream.parameters()} == {"torch.float32"}
    assert {one.dtype for one in load_file(FOLDER / "model.safetensors").values()} == {torch.float16}


def test_its_card_is_valid_and_complete() -> None:
    card = ModelCard.load(FOLDER / "README.md")
    card.data.to_yaml()
    assert (card.data.license, card.data.library_name, card.data.model_name) == (
        "cc-by-sa-4.0",
        "transformers",
        FOLDER.name,
    )
    assert len(card.data.language) >= 30
    for said in ("festvox", "African Storybook", "CC BY-SA", "BSD"):
        assert said in card.text


def test_its_record_names_no_folder_of_a_machine() -> None:
    for path in FOLDER.glob("*.json"):
        assert '": "/' not in path.read_text(encoding="utf-8")
    assert json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))["dtype"] == "float32"


def test_a_name_that_there_is_not_is_answered_with_those_there_are() -> None:
    (problem,) = Bundled.problems(model="mhubert_giant", revision="00000000")
    assert "mhubert_tiny" in problem


def test_other_weights_are_another_model() -> None:
    """Else runs with the weights of before would count as runs with these."""
    settings = compose(["upstream=mhubert_tiny"])["upstream"]
    assert Bundled.problems(model=settings["model"], revision=settings["revision"]) == []
    (problem,) = Bundled.problems(model="mhubert_tiny", revision="00000000")
    assert f"the weights in {FOLDER} are {settings['revision']}" in problem
