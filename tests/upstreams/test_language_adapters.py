"""MMS models with an adapter for each language in every block: which one is inside, and that it is not touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_checkpoints import FAMILIES, save
from transformers import Wav2Vec2ForCTC

from mlsuperb.upstreams.base import same_record
from mlsuperb.upstreams.huggingface import HuggingFace


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As facebook/mms-1b-all lies on the hub: a recogniser whose main file has one language's adapter, another one beside it."""
    folder = tmp_path_factory.mktemp("mms-1b-all")
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = Wav2Vec2ForCTC(FAMILIES["mms"][1])
        with torch.no_grad():  # adapters that do something, as in trained models
            for name, parameter in model.named_parameters():
                if "adapter_layer" in name:
                    parameter.add_(0.3 * torch.randn_like(parameter))
        save(folder, model, do_normalize=True)
        others = {name: torch.randn_like(value) for name, value in model._get_adapters().items()}
    save_file(others, folder / "adapter.swh.safetensors", metadata={"format": "pt"})
    return folder


@torch.no_grad()
def test_the_adapter_of_the_main_file_is_inside(folder: Path) -> None:
    wave_BT = 0.1 * torch.randn(1, 9000, generator=torch.Generator().manual_seed(0))
    upstream = HuggingFace(checkpoint=str(folder)).eval()
    found = upstream(wave_BT, torch.tensor([9000])).layers
    model = Wav2Vec2ForCTC.from_pretrained(folder).eval()
    normalised_BT = (wave_BT - wave_BT.mean()) / (wave_BT.var(unbiased=False) + 1e-7).sqrt()

    def theirs() -> tuple[torch.Tensor, ...]:
        output = model.wav2vec2(normalised_BT, output_hidden_states=True)
        return (*output.hidden_states[:-1], output.last_hidden_state)

    for layer, expected in zip(found, theirs(), strict=True):
        torch.testing.assert_close(layer, expected, rtol=1e-4, atol=1e-4)
    model.load_adapter("swh")
    assert not torch.allclose(found[1], theirs()[1], atol=0.1), "the other language's is another encoder"
    for block in upstream.stacked_blocks():  # and the adapter is no idle part
        block.adapter_layer.linear_2.bias.add_(1.0)
    assert not torch.allclose(found[1], upstream(wave_BT, torch.tensor([9000])).layers[1], atol=0.5)


def test_the_record_says_so(folder: Path, checkpoints: dict[str, Path]) -> None:
    record = HuggingFace(checkpoint=str(folder)).record()
    assert record["language_adapter"] == {"size": 4, "from": "main file"}
    assert "language_adapter" not in HuggingFace(checkpoint=str(checkpoints["xls_r"])).record()
    older = {name: value for name, value in record.items() if name != "language_adapter"}
    assert same_record(older, record), "of a run from before this was recorded"


def test_a_main_file_without_an_adapter_is_refused(folder: Path, tmp_path: Path) -> None:
    """transformers would leave it random, which its output does not show."""
    tensors = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in tensors.items() if "adapter_layer" not in name}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"24 missing \(encoder\.layers\.0\.adapter_layer"):
        HuggingFace(checkpoint=str(tmp_path))
