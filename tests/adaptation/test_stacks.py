"""Every adaptation on either stack of a model that has two, and several side by side."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from test_all_adaptations import ADAPTATIONS, tensors
from torch import nn
from two_stacks import DECODER, ENCODER, TinyTranslator

from mlsuperb.adaptation.base import Adaptation
from mlsuperb.adaptation.bottleneck import Pfeiffer
from mlsuperb.adaptation.frozen import Frozen
from mlsuperb.adaptation.full import Full
from mlsuperb.adaptation.lora import LoRA
from mlsuperb.adaptation.partial import Partial
from mlsuperb.adaptation.qlora import QLoRA
from mlsuperb.adaptation.several import Several
from mlsuperb.config.build import instantiate
from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.config.options import check_overrides
from mlsuperb.training.checkpoint import average, load_trained, save_weights, trained_tensors
from mlsuperb.upstreams.base import inside
from mlsuperb.upstreams.fbank import Fbank
from mlsuperb.upstreams.modes import set_train_mode
from mlsuperb.upstreams.random_hubert import RandomHubert

STACKS = {"encoder": ENCODER, "decoder": DECODER}
OF_A_STACK = [name for name in ADAPTATIONS if name not in ("frozen", "bitfit")]  # these adapt a whole model
each_stack = pytest.mark.parametrize("stack", list(STACKS))


@cache
def _original() -> TinyTranslator:
    return TinyTranslator()


def make() -> TinyTranslator:
    return copy.deepcopy(_original())


def modules_of(stack: str) -> tuple[str, ...]:
    return (STACKS[stack].whole, *STACKS[stack].front)


def updated(model: nn.Module) -> set[str]:
    """Names of the parameters and buffers that three updates change; each update sees a gradient of what is trained, and of
    nothing else."""
    before = tensors(model)
    wanted = {name for name, one in model.named_parameters() if one.requires_grad}
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-2, weight_decay=0)
    for seed in range(3):
        torch.manual_seed(seed)
        optimizer.zero_grad(set_to_none=True)
        model().backward()
        assert {name for name, one in model.named_parameters() if one.grad is not None} == wanted
        optimizer.step()
    return {name for name, one in tensors(model).items() if not torch.equal(one, before[name])}


@each_stack
@pytest.mark.parametrize("adaptation", OF_A_STACK)
def test_only_the_stack_is_adapted(adaptation: str, stack: str) -> None:
    model = make().eval()
    torch.manual_seed(1)
    expected = model().detach()
    trained = ADAPTATIONS[adaptation](stack=stack).apply(model)
    assert trained
    assert all(inside(name, modules_of(stack)) for name in trained)
    assert trained == [name for name, one in model.named_parameters() if one.requires_grad]
    torch.manual_seed(1)
    torch.testing.assert_close(
        model.eval()().detach(), expected, **({"rtol": 0.05, "atol": 0} if "qlora" in adaptation else {})
    )
    set_train_mode(model, trained=trained)
    assert updated(model) == set(trained)


@each_stack
def test_full_trains_all_of_a_stack_and_its_front_by_choice(stack: str) -> None:
    for convolutions in (True, False):
        model = make()
        trained = set(Full(stack=stack, convolutions=convolutions).apply(model))
        names = {name for name, _ in model.named_parameters() if inside(name, modules_of(stack))}
        assert trained == {name for name in names if convolutions or not inside(name, STACKS[stack].front)}
        assert any("layer_norm" in name and ".layers." not in name for name in trained), "the final norm"


def test_dropout_is_on_in_the_stack_that_is_trained_alone() -> None:
    model = make()
    set_train_mode(model, trained=Partial(stack="decoder", layers=2).apply(model))
    on = {name for name, module in model.named_modules() if module.training}
    assert on
    assert all(f"{name}.".startswith("model.text_decoder.layers.1.") for name in on)
    set_train_mode(model, trained=Full(stack="decoder").apply(model))
    assert model.model.text_decoder.training
    assert not any(module.training for module in model.model.speech_encoder.modules())


SEVERAL: dict[str, tuple[Adaptation, Adaptation]] = {
    "lora and bottleneck": (LoRA(rank=2), Pfeiffer(width=3, activation="relu")),
    "lora twice": (LoRA(rank=2), LoRA(rank=3, attention=[], ffn=True, layers="2-3", dora=True)),
    "qlora and lora": (QLoRA(rank=2, compute_type="fp32"), LoRA(rank=2)),
    "checkpointed": (Pfeiffer(width=3, activation="relu", gradient_checkpointing=True), Partial(layers=1)),
    "one of them frozen": (LoRA(rank=2), Frozen()),
}
each_several = pytest.mark.parametrize("parts", list(SEVERAL))


def several(parts: str) -> Several:
    encoder, decoder = copy.deepcopy(SEVERAL[parts])
    return Several(stacks={"encoder": encoder, "decoder": decoder})


@each_several
def test_several_are_what_each_is_alone(parts: str, tmp_path: Path) -> None:
    model, names = make(), {}
    for stack, part in several(parts).stacks.items():
        names[stack] = set(part.apply(make()))
    torch.manual_seed(2)
    trained = several(parts).apply(model)
    assert names["encoder"] | names["decoder"] == set(trained)
    assert not names["encoder"] & names["decoder"]
    assert len(trained) == len(set(trained))
    set_train_mode(model, trained=trained)
    assert updated(model) == set(trained)

    save_weights(trained_tensors(model), tmp_path / "weights.safetensors")
    loaded = make()
    several(parts).apply(loaded)
    load_trained(loaded, tmp_path / "weights.safetensors")
    assert torch.equal(loaded.eval()(), model.eval()())


def test_adapters_side_by_side_are_exported_by_stack_and_open_in_peft(tmp_path: Path) -> None:
    model = make()
    both = several("lora twice")
    for name in both.apply(model):
        parameter = model.get_parameter(name)
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    both.export(model, tmp_path)
    opened = make()
    expected, plain = model.eval()().detach(), opened.eval()().detach()
    assert not torch.allclose(expected, plain, atol=1e-4)
    peft: Any = PeftModel.from_pretrained(opened.model, tmp_path / "encoder" / "peft_adapter", adapter_name="encoder")
    peft.load_adapter(tmp_path / "decoder" / "peft_adapter", adapter_name="decoder")
    peft.base_model.set_adapter(["encoder", "decoder"])
    torch.testing.assert_close(opened.eval()(), expected)
    alone = make()
    PeftModel.from_pretrained(alone.model, tmp_path / "decoder" / "peft_adapter")
    assert not torch.allclose(alone.eval()(), plain, atol=1e-5)


REFUSED: dict[str, tuple[Adaptation, Any, str]] = {
    "unknown": (
        LoRA(stack="vocoder"),
        TinyTranslator,
        r"LoRA .* the stack 'vocoder', but .* only encoder, decoder\. Give one",
    ),
    "not in an upstream": (
        Full(stack="decoder"),
        RandomHubert,
        r"this model \(RandomHubert\) has only encoder\. Give one",
    ),
    "no stacks": (
        Several(stacks={"encoder": LoRA()}),
        Fbank,
        r"LoRA works on Transformer blocks, but this upstream \(Fbank\) has none\. Choose another upstream",
    ),
    "too few blocks": (
        Several(stacks={"encoder": LoRA(), "decoder": Partial(layers=9)}),
        TinyTranslator,
        r"adaptation\.layers is 9, but .* 4 Transformer blocks",
    ),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_what_is_refused_has_its_reason(case: str) -> None:
    adaptation, build, reason = REFUSED[case]
    with pytest.raises(ValueError, match=reason):
        adaptation.apply(build())


class EveryBias(Adaptation):
    """Works on a whole model."""

    def apply(self, model: nn.Module) -> list[str]:
        return []


def test_several_of_none_or_of_what_knows_no_stack_are_refused() -> None:
    with pytest.raises(ValueError, match=r"adaptation\.stacks is empty, so nothing would be trained"):
        Several(stacks={})
    with pytest.raises(
        ValueError, match=r"adaptation\.stacks\.decoder is EveryBias, which does not work on a single stack"
    ):
        Several(stacks={"decoder": EveryBias()})


SETTINGS: dict[str, tuple[list[str], str | None]] = {
    "as it is": ([], None),
    "another": (["adaptation@adaptation.stacks.encoder=houlsby"], None),
    "two": (
        ["+adaptation@adaptation.stacks.decoder=houlsby", "+adaptation.stacks.decoder.stack=encoder"],
        "adaptation.stacks.decoder.stack=encoder: the stack is given by the name",
    ),
    "none": (["~adaptation@adaptation.stacks.encoder"], "adaptation.stacks is empty"),
    "range": (["adaptation.stacks.encoder.rank=0"], "adaptation.stacks.encoder.rank=0 should be greater than 0"),
    "its own": (["adaptation.stacks.encoder.attention=[]"], "nothing would be trained: give projections"),
    "unread": (["+adaptation.stacks.encoder.width=3"], "nothing reads the setting 'adaptation.stacks.encoder.width'"),
    "no node": (["+adaptation.stacks.decoder=3"], "is not what this setting takes"),
}


@pytest.mark.parametrize("case", list(SETTINGS))
def test_settings_of_each_part_are_checked(case: str) -> None:
    overrides, problem = SETTINGS[case]
    arguments = ["adaptation=several", *overrides]
    assert check_overrides(arguments) == []
    config = compose(arguments)
    found = find_problems(config, groups=("adaptation",))
    if problem is None:
        assert found == []
        assert set(instantiate(config["adaptation"]).stacks) == {"encoder"}
    else:
        (only,) = found
        assert problem in only


def test_presets_of_a_stack_are_parts() -> None:
    arguments = [
        "adaptation=several", "adaptation@adaptation.stacks.encoder=encoder_adapters",
        "+adaptation@adaptation.stacks.decoder=decoder_adapters",
    ]  # fmt: skip
    config = compose(arguments)
    assert find_problems(config, groups=("adaptation",)) == []
    parts = instantiate(config["adaptation"]).stacks
    assert [(name, part.stack) for name, part in parts.items()] == [("encoder", "encoder"), ("decoder", "decoder")]


def test_an_upstream_is_adapted_by_several_as_by_one(tmp_path: Path) -> None:
    one, other = RandomHubert(num_blocks=2), RandomHubert(num_blocks=2)
    torch.manual_seed(0)
    names = LoRA(rank=2).apply(one)
    torch.manual_seed(0)
    assert Several(stacks={"encoder": LoRA(rank=2)}).apply(other) == names
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("dora", [False, True])
def test_adapters_of_runs_from_before_stacks_had_names_are_loaded(dora: bool, tmp_path: Path) -> None:
    """peft's name for an adapter was `default`."""
    old, new = RandomHubert(num_blocks=2), RandomHubert(num_blocks=2)
    for name in LoRA(rank=2, dora=dora).apply(old):
        parameter = old.get_parameter(name)
        parameter.data.add_(torch.randn_like(parameter))
    saved = trained_tensors(old)
    former = {name.replace(".encoder.weight", ".default.weight"): tensor for name, tensor in saved.items()}
    assert len(former) == len(saved) == 2 * 4 * (3 if dora else 2)
    assert all(".default." in name for name in former)
    save_weights(former, tmp_path / "model.safetensors")
    assert LoRA(rank=2, dora=dora).apply(new) == list(saved), "an optimiser's state is kept in this order"
    load_trained(new, tmp_path / "model.safetensors")
    save_weights(trained_tensors(new), tmp_path / "resumed.safetensors")
    mean = average([tmp_path / "model.safetensors", tmp_path / "resumed.safetensors"])  # epochs from before and after
    assert mean.keys() == saved.keys()
    assert all(torch.equal(mean[name], tensor) for name, tensor in saved.items())
    assert all(torch.equal(a, b) for a, b in zip(old.parameters(), new.parameters(), strict=True))
