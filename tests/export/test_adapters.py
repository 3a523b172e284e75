"""`mlsuperb adapters`: tiny HuBERTs saved by save_pretrained, adapters written by peft itself and by our own adaptation."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_checkpoints import write_checkpoint
from transformers import HubertModel

sys.path.insert(0, str(Path(__file__).parents[1] / "pretraining"))
from pretraining_runs import labels_of, run, speech_tree

from mlsuperb.adaptation.lora import LoRA
from mlsuperb.adaptation.qlora import QLoRA
from mlsuperb.commands.adapters import main
from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.config.options import check_overrides
from mlsuperb.upstreams.adapter import Adapter, merge_lora
from mlsuperb.upstreams.base import Upstream
from mlsuperb.upstreams.huggingface import HuggingFace
from mlsuperb.upstreams.pretrained_run import PretrainedRun

ATTENTION = ["q_proj", "k_proj", "v_proj", "out_proj"]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "base", "hubert_base")


def by_peft(base: Path, folder: Path, *, seed: int = 0, **settings: Any) -> Path:
    """An adapter of updates that do something, as peft writes it."""
    torch.manual_seed(seed)
    config = LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": ATTENTION, **settings})
    model = get_peft_model(HubertModel.from_pretrained(base), config)
    _learn(model)
    model.save_pretrained(folder)
    return folder


def by_training(checkpoint: Path, run: Path, *, seed: int = 0, languages: tuple[str, ...] = ("wol",)) -> Path:
    """The folder of a run of job=pretrain with adaptation=lora: peft_adapter/, huggingface/ (merged), result.json."""
    upstream = HuggingFace(checkpoint=str(checkpoint))
    record, adaptation = upstream.record(), LoRA(rank=2, alpha=4, layers="2-3")
    adaptation.apply(upstream)
    torch.manual_seed(seed)
    _learn(upstream)
    run.mkdir(parents=True)
    adaptation.export(upstream, run)
    merge_lora(upstream.model)
    upstream.model.save_pretrained(run / "huggingface")
    (run / "huggingface" / "preprocessor_config.json").write_text('{"do_normalize": false, "sampling_rate": 16000}')
    result = {
        "schema_version": 1, "job": "pretrain", "run_id": run.name, "status": "finished", "config": {}, "seed": 0,
        "code": {"commit": None, "dirty": None, "package_version": "0"}, "env": {}, "training": {}, "cost": {}, "date": "",
        "upstream": {"name": "hf", "record": record}, "data": {"languages": {"train": list(languages)}},
    }  # fmt: skip
    (run / "result.json").write_text(json.dumps(result))
    return run


def _learn(model: torch.nn.Module) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))


@torch.inference_mode()
def layers(upstream: Upstream) -> tuple[torch.Tensor, ...]:
    wave_BT = 0.3 * torch.randn(2, 24_000, generator=torch.Generator().manual_seed(7))
    return upstream.eval()(wave_BT, torch.tensor([24_000, 17_001])).layers


def difference(one: Upstream, other: Upstream) -> float:
    pairs = zip(layers(one), layers(other), strict=True)
    return max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)


def weights(upstream: Upstream) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in upstream.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "settings",
    [{}, {"use_rslora": True, "target_modules": ["intermediate_dense", "output_dense"]}, {"use_dora": True}],
    ids=["lora", "rslora", "dora"],
)
def test_an_adapter_of_peft_is_attached_as_peft_does_it_and_leaves_the_base_as_it_was(
    base: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    adapter = Adapter.open(by_peft(base, tmp_path / "adapter", **settings))
    upstream = HuggingFace(checkpoint=str(base))
    before, flags = weights(upstream), {name: one.requires_grad for name, one in upstream.named_parameters()}
    state = torch.get_rng_state()
    adapter.check(upstream.model, upstream.record(), given="it")
    adapter.attach(upstream.model)
    assert torch.equal(torch.get_rng_state(), state)

    opened = HuggingFace(checkpoint=str(base))
    opened.model = PeftModel.from_pretrained(opened.model, str(adapter.folder)).base_model.model
    assert difference(upstream, opened) < 1e-7
    assert difference(upstream, HuggingFace(checkpoint=str(base))) > 1e-3
    inside = {
        name.replace(".base_layer", ""): one for name, one in upstream.state_dict().items() if "lora_" not in name
    }
    assert equal(inside, before)  # bit by bit, while it is attached
    of_base = {
        name.replace(".base_layer", ""): one.requires_grad
        for name, one in upstream.named_parameters()
        if "lora_" not in name
    }
    assert of_base == flags


def test_merged_and_unmerged_give_the_same_layers(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter, out = by_peft(base, tmp_path / "adapter"), tmp_path / "merged"
    before = {path.name: path.read_bytes() for path in base.iterdir()}
    main(["merge", str(adapter), "--base", str(base), "--out", str(out)])
    assert "is the merged checkpoint (its layers differ from the unmerged ones by" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in base.iterdir()} == before
    unmerged = HuggingFace(checkpoint=str(base))
    Adapter.open(adapter).attach(unmerged.model)
    merged = HuggingFace(checkpoint=str(out))
    assert difference(merged, unmerged) < 1e-5
    assert difference(merged, HuggingFace(checkpoint=str(base))) > 1e-3
    for name in ("config.json", "preprocessor_config.json"):  # with the regularisation that the base has
        assert json.loads((out / name).read_text()) == json.loads(before[name])
    assert load_file(out / "model.safetensors").keys() == load_file(base / "model.safetensors").keys()
    about = json.loads((out / "mlsuperb_export.json").read_text())
    assert about["base"]["sha256"] == HuggingFace(checkpoint=str(base)).record()["sha256"]
    # peft's own merging
    opened = HuggingFace(checkpoint=str(base))
    opened.model = PeftModel.from_pretrained(opened.model, str(adapter)).merge_and_unload()
    assert difference(merged, opened) < 1e-6


def test_a_base_without_preprocessor_file_gets_one_that_says_what_was_done(tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "base", "xls_r")
    (base / "preprocessor_config.json").unlink()
    main(["merge", str(by_peft_xls_r(base, tmp_path)), "--base", str(base), "--out", str(tmp_path / "merged")])
    said = json.loads((tmp_path / "merged" / "preprocessor_config.json").read_text())
    assert (said["do_normalize"], said["sampling_rate"]) == (True, 16000)


def by_peft_xls_r(base: Path, tmp_path: Path) -> Path:
    upstream = HuggingFace(checkpoint=str(base))
    adaptation = LoRA(rank=2)
    adaptation.apply(upstream)
    adaptation.export(upstream, tmp_path)
    return tmp_path


def test_adapters_of_one_base_are_added(base: Path, tmp_path: Path) -> None:
    folders = [by_peft(base, tmp_path / name, seed=seed) for seed, name in enumerate(("one", "two"))]
    main(["merge", *map(str, folders), "--base", str(base), "--out", str(tmp_path / "both")])
    plain, both = (load_file(folder / "model.safetensors") for folder in (base, tmp_path / "both"))
    name = "encoder.layers.1.attention.k_proj"
    expected = plain[f"{name}.weight"].clone()
    for folder in folders:
        update = load_file(folder / "adapter_model.safetensors")
        up, down = (update[f"base_model.model.{name}.lora_{part}.weight"] for part in "BA")
        expected += 8 / 4 * up @ down
    torch.testing.assert_close(both[f"{name}.weight"], expected)
    norms = [one for one in plain if "layer_norm" in one]
    assert norms
    assert all(torch.equal(plain[one], both[one]) for one in norms)


def test_languages_one_after_the_other(base: Path, tmp_path: Path) -> None:
    """The second run is trained on the first one's merged model: base + both is the second one's merged model."""
    first = by_training(base, tmp_path / "first", seed=1)
    second = by_training(first / "huggingface", tmp_path / "second", seed=2)
    main(["merge", str(first), str(second), "--base", str(base), "--out", str(tmp_path / "merged")])
    merged, last = (HuggingFace(checkpoint=str(tmp_path / name)) for name in ("merged", "second/huggingface"))
    assert difference(merged, last) < 1e-5
    with pytest.raises(
        ValueError, match=r"second/peft_adapter was trained on \S*first/huggingface \(weights \w{12}\), and the"
    ):
        main(["merge", str(second), "--base", str(base), "--out", str(tmp_path / "wrong")])
    with pytest.raises(ValueError, match=r"and the base here is \S*base \(weights \w{12}\)"):
        main(["merge", str(second), str(first), "--base", str(base), "--out", str(tmp_path / "wrong")])
    assert not (tmp_path / "wrong").exists()


def test_an_adapter_trained_on_one_in_memory_follows_it(base: Path, tmp_path: Path) -> None:
    first = by_training(base, tmp_path / "first", seed=1)
    upstream = HuggingFace(checkpoint=str(base), adapter=str(first))
    adaptation = LoRA(rank=2)
    adaptation.apply(upstream)
    adaptation.export(upstream, tmp_path / "second")
    main(["merge", str(first), str(tmp_path / "second"), "--base", str(base), "--out", str(tmp_path / "merged")])
    with pytest.raises(
        ValueError, match=r"trained on \S*base \(weights \w{12}, with the adapter \w{12}\), and the base"
    ):
        HuggingFace(checkpoint=str(base), adapter=str(tmp_path / "second"))


def test_doras_are_not_added(base: Path, tmp_path: Path) -> None:
    folders = [by_peft(base, tmp_path / name, use_dora=True) for name in ("one", "two")]
    with pytest.raises(ValueError, match="Merge one at a time"):
        main(["merge", *map(str, folders), "--base", str(base), "--out", str(tmp_path / "both")])


def test_an_adapter_of_other_weights_is_refused(base: Path, tmp_path: Path) -> None:
    run = by_training(base, tmp_path / "run")
    other = tmp_path / "other"
    shutil.copytree(base, other)
    model = HubertModel.from_pretrained(base)
    model.encoder.layer_norm.weight.data += 1e-3
    model.save_pretrained(other)
    message = r"was trained on \S*base \(weights \w{12}\), and the base here is \S*other \(weights \w{12}\)"
    with pytest.raises(ValueError, match=rf"^upstream\.adapter=\S*run {message}"):
        HuggingFace(checkpoint=str(other), adapter=str(run))
    with pytest.raises(ValueError, match=message):
        main(["merge", str(run), "--base", str(other), "--out", str(tmp_path / "out")])
    with pytest.raises(ValueError, match=message):
        main(["switch", str(run), "--base", str(other)])
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_another_size_is_refused(base: Path, tmp_path: Path) -> None:
    """One of peft's, which does not say on which weights it was trained."""
    config = HubertModel.from_pretrained(base).config
    config.hidden_size, config.num_hidden_layers = 48, 2
    HubertModel(config).save_pretrained(tmp_path / "wide")
    adapter = by_peft(base, tmp_path / "adapter")
    with pytest.raises(
        ValueError, match=r"trained on \S*base, and 16 of its 16 updates do not fit \S*wide: .* is 48 x 48, the"
    ):
        HuggingFace(checkpoint=str(tmp_path / "wide"), adapter=str(adapter))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "IA3"}, "an adapter of the type IA3; only LoRA's updates"),
        (None, r"holds no adapter \(adapter_config\.json is missing\)"),
        ("cut", "cannot be read as an adapter"),
    ],
)
def test_what_is_no_lora_is_refused(base: Path, tmp_path: Path, change: Any, message: str) -> None:
    adapter = by_peft(base, tmp_path / "adapter")
    if change == "cut":
        file = adapter / "adapter_model.safetensors"
        file.write_bytes(file.read_bytes()[:100])
    elif change is None:
        (adapter / "adapter_config.json").unlink()
    else:
        settings = json.loads((adapter / "adapter_config.json").read_text())
        (adapter / "adapter_config.json").write_text(json.dumps(settings | change))
    with pytest.raises(ValueError, match=message):
        main(["merge", str(adapter), "--base", str(base), "--out", str(tmp_path / "out")])


def test_a_setting_chooses_the_adapter(base: Path, tmp_path: Path) -> None:
    run = by_training(base, tmp_path / "run")
    given = HuggingFace(checkpoint=str(base), adapter=str(run))
    assert difference(given, HuggingFace(checkpoint=str(run / "huggingface"))) < 1e-6
    assert given.record()["adapter"] == Adapter.open(run).record()
    assert "adapter" not in HuggingFace(checkpoint=str(base)).record()
    assert all(parameter.requires_grad for parameter in given.parameters())
    second = by_training(run / "huggingface", tmp_path / "second", seed=2)
    on_run = PretrainedRun(run=str(run), adapter=str(second))
    assert difference(on_run, HuggingFace(checkpoint=str(second / "huggingface"))) < 1e-6


def test_labels_of_an_adapted_model_are_made_and_their_codebook_is_its_own(base: Path, tmp_path: Path) -> None:
    adapted, tree = by_training(base, tmp_path / "run"), speech_tree(tmp_path / "tree", num=4, seconds=1.0)
    upstream = ("upstream=hf", f"upstream.checkpoint={base}", "extraction.layer=3")
    chosen = f"+upstream.adapter={adapted}"
    assert not check_overrides([*upstream, chosen])
    labels = run(labels_of(tree, tmp_path / "exp", *upstream, chosen))
    record = json.loads((labels / "result.json").read_text())["features"]["upstream"]
    assert record["adapter"] == Adapter.open(adapted).record()
    with pytest.raises(ValueError, match="of other weights"):  # the base without the adapter
        run(labels_of(tree, tmp_path / "exp", *upstream, f"labelling.run={labels}"))


def test_the_settings_that_switch_prints_are_a_run_s(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = by_training(base, tmp_path / "run")
    second = by_training(run / "huggingface", tmp_path / "second")

    def shown(*words: object) -> str:
        main(["switch", *map(str, words)])
        return capsys.readouterr().out.strip()

    assert shown(run) == f"upstream=hf upstream.checkpoint={base} +upstream.adapter={run}"
    assert shown(second) == f"upstream=pretrained upstream.run={run} +upstream.adapter={second}"
    assert shown("none", "--base", run) == f"upstream=pretrained upstream.run={run}"
    config = compose(shown(second).split())
    assert config["upstream"]["adapter"] == str(second)
    assert not find_problems(config, groups=("upstream",))
    (problem,) = find_problems(compose([*shown(run).split()[:2], f"+upstream.adapter={base}"]), groups=("upstream",))
    assert "upstream.adapter:" in problem
    assert "holds no adapter" in problem
    with pytest.raises(ValueError, match="Give the base with --base"):
        main(["switch", "none"])


def test_adapters_are_listed(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = by_training(base, tmp_path / "exp" / "run", languages=("deu", "wol"))
    main(["list", str(tmp_path / "exp"), str(by_peft(base, tmp_path / "foreign")), "--format", "json"])
    ours, foreign = json.loads(capsys.readouterr().out)
    record = HuggingFace(checkpoint=str(base)).record()
    size = 2 * 4 * 2 * (32 + 32)  # blocks, projections, rank, inputs and outputs
    assert ours == {
        "name": "run", "folder": str(run / "peft_adapter"), "base": str(base), "rank": 2, "layers": "2-3",
        "base_weights": record["sha256"]["model.safetensors"], "targets": ["k_proj", "out_proj", "q_proj", "v_proj"],
        "num_parameters": size, "share": size / record["num_parameters"], "languages": ["deu", "wol"],
        "size_bytes": sum(path.stat().st_size for path in (run / "peft_adapter").iterdir()),
    }  # fmt: skip
    assert (foreign["name"], foreign["rank"], foreign["layers"]) == ("foreign", 4, "1-4")
    assert (foreign["base_weights"], foreign["share"], foreign["languages"]) == (None, None, [])
    main(["list", str(run)])
    assert f"{size:,}" in capsys.readouterr().out
    with pytest.raises(ValueError, match="holds no adapter"):
        main(["list", str(base)])


def _cut(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _without_a_half(folder: Path) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    kept = {name: one for name, one in tensors.items() if "lora_B" not in name}
    save_file(kept, folder / "adapter_model.safetensors")


def _settings(folder: Path, content: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | content if isinstance(content, dict) else content))


DAMAGES: dict[str, tuple[Any, str]] = {
    "cut": (_cut, "cannot be read as an adapter"),
    "halves": (_without_a_half, "has no whole update"),
    "a list": (lambda folder: _settings(folder, [1]), "holds no JSON object"),
    "junk": (lambda folder: (folder / "adapter_config.json").write_bytes(b"\xff"), "is not JSON"),
    "a rank as text": (lambda folder: _settings(folder, {"r": "4"}), "says r='4', which is no rank"),
    "of a changed base": (lambda folder: _settings(folder, {"init_lora_weights": "pissa"}), "changed first .*pissa"),
    "more layers": (
        lambda folder: _settings(folder, {"layer_replication": [[0, 2]]}),
        "changes more .*layer_replication",
    ),
    "more modules": (lambda folder: _settings(folder, {"modules_to_save": ["x"]}), "changes more .*modules_to_save"),
    "alpha as a list": (lambda folder: _settings(folder, {"lora_alpha": [1]}), "cannot be read as an adapter|is no"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_adapters_are_one_sentence_with_their_folder(
    damage: Any, message: str, base: Path, tmp_path: Path
) -> None:
    folder = by_peft(base, tmp_path / "adapter")
    damage(folder)
    with pytest.raises(ValueError, match=rf"{folder}.*({message})"):
        HuggingFace(checkpoint=str(base), adapter=str(folder))


def test_updates_that_were_trained_beside_4_bits_are_not_added_to_whole_weights(base: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    upstream = HuggingFace(checkpoint=str(base))
    adaptation = QLoRA(rank=2, alpha=4, layers="2-3", compute_type="fp32")
    adaptation.apply(upstream)
    adaptation.export(upstream, tmp_path)
    assert Adapter.open(tmp_path).base["quantised"]["bits"] == 4
    with pytest.raises(ValueError, match=r"trained beside weights of 4 bits \(adaptation=qlora\)"):
        HuggingFace(checkpoint=str(base), adapter=str(tmp_path))


def test_an_adapter_of_the_same_weights_in_another_model_is_refused(base: Path, tmp_path: Path) -> None:
    run = by_training(base, tmp_path / "run")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    with pytest.raises(ValueError, match="was trained on"):
        HuggingFace(checkpoint=str(base), adapter=str(run))
