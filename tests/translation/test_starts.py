"""Runs that go on from others: whose weights fit, and whose do not."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_runs import run, trained, words_of
from tiny_speech import write_speech
from tiny_translators import write_seamless

from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.translation.build import build_recogniser

NEW = (
    "model=seamless_new", "model.languages=[deu,eng,swa]", "model.scripts=[LATIN]", "model.size=32", "model.encoder_blocks=1",
    "model.decoder_blocks=1", "model.ffn_size=32", "model.num_heads=2",
)  # fmt: skip
FEW = ("trainer.iterations_per_epoch=2", "trainer.max_epochs=1", "search.max_tokens=2", "search.num_beams=1")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_speech(tmp_path_factory.mktemp("tree"), ("deu",))


def new_model(tree: Path, out: Path, *more: str) -> list[str]:
    words = words_of(tree, tree, out, *FEW, *NEW, *more)
    return [one for one in words if not one.startswith("model.checkpoint=")]


@pytest.fixture(scope="module")
def base(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(new_model(tree, tmp_path_factory.mktemp("base"), "adaptation=everything", "trainer.optimizer.lr=1e-2"))


@pytest.mark.parametrize("adaptation", ["lora", "encoder_adapters", "length_adaptor"])
def test_any_adaptation_goes_on_from_a_training_of_all_weights(
    adaptation: str, base: Path, tree: Path, tmp_path: Path
) -> None:
    """LoRA among them, which gives the weights that it wraps other names."""
    words = new_model(tree, tmp_path, f"adaptation={adaptation}", "start=run", f"start.run={base}")
    model = build_recogniser(compose(words), parts=["speech"]).model
    found = {name.replace(".base_layer", ""): one for name, one in model.state_dict().items()}
    for name, tensor in trained(base).items():
        if "text_encoder" not in name:
            assert torch.equal(found[name], tensor), name
    learnt = {name for name, one in model.named_parameters() if one.requires_grad}
    assert learnt
    assert all(("lora_" in one) == (adaptation == "lora") for one in learnt)
    folder = run(words)
    assert set(trained(folder)) == learnt


def test_a_chain_of_adaptations_is_put_in_one_after_the_other(base: Path, tree: Path, tmp_path: Path) -> None:
    """All weights, then LoRA in the encoder, then adapters in the decoder; a last run goes on with the LoRA."""
    before = base
    for adaptation in ("lora", "decoder_adapters", "lora"):
        width = ["adaptation.width=4"] if adaptation == "decoder_adapters" else []
        words = new_model(tree, tmp_path, f"adaptation={adaptation}", *width, "start=run", f"start.run={before}")
        before = run(words)
        assert all(("lora_" in name) == (adaptation == "lora") for name in trained(before))
    names = [name for name in compose(words)["start"]["run"].split("/") if name]
    assert names[-1].startswith("seamless_new-decoder_adapters")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("model.languages=[swa,deu,eng]", r"languages \['deu', 'eng', 'swa'\] there, \['swa', 'deu', 'eng'\] here"),
        ("model.decoder_blocks=2", "decoder_blocks 1 there, 2 here"),
        ("model.scripts=[LATIN,GREEK]", "scripts"),
        ("model.stride=2", "stride 4 there, 2 here"),
    ],
)
def test_another_model_is_refused_before_anything_is_loaded(
    change: str, named: str, base: Path, tree: Path, tmp_path: Path
) -> None:
    """Also where all names and shapes would fit: tokens of languages in another order."""
    words = new_model(tree, tmp_path, "start=run", f"start.run={base}", change)
    (problem,) = find_problems(compose(words))
    assert "the model of" in problem
    assert re.search(named, problem), problem


def test_what_does_not_change_the_weights_may_differ(base: Path, tree: Path, tmp_path: Path) -> None:
    words = new_model(tree, tmp_path, "start=run", f"start.run={base}", "model.dropout=0.0")
    assert find_problems(compose(words)) == []


def test_other_weights_of_the_same_architecture_are_refused(checkpoint: Path, tree: Path, tmp_path: Path) -> None:
    other = write_seamless(tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    save_file({name: one + 1 for name, one in tensors.items()}, other / "model.safetensors", metadata={"format": "pt"})
    first = run(words_of(checkpoint, tree, tmp_path, *FEW, "adaptation.width=4"))
    words = words_of(other, tree, tmp_path, *FEW, "adaptation.width=4", "start=run", f"start.run={first}")
    with pytest.raises(ValueError, match=r"the model of .* has changed since training \(sha256 .* then, .* now\)"):
        build_recogniser(compose(words), parts=["speech"])
    moved = tmp_path / "moved"
    shutil.copytree(checkpoint, moved)
    words = words_of(moved, tree, tmp_path, *FEW, "adaptation.width=4", "start=run", f"start.run={first}")
    build_recogniser(compose(words), parts=["speech"])
