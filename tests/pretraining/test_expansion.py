"""Language expansion: pre-training that goes on with an adaptation."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from masked_batches import masked_batch, small_model
from peft import PeftModel
from pretraining_runs import SMALL, killed, labels_of, on_two_ranks, pretraining_of, run, speech_tree, without_chance
from safetensors.torch import load_file
from transformers import AutoModel, HubertConfig, HubertModel

from mlsuperb.adaptation.lora import LoRA
from mlsuperb.config.build import instantiate
from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.data.batching import BucketedBatches
from mlsuperb.data.loading import Loading
from mlsuperb.data.sampling import Crops
from mlsuperb.pretraining.head import StoredHead, take_projection
from mlsuperb.pretraining.masking import SpanMasking
from mlsuperb.pretraining.model import MaskedPrediction, MaskedPredictionModel
from mlsuperb.pretraining.preservation import ElasticWeights, of_upstream
from mlsuperb.pretraining.records import PretrainingResult
from mlsuperb.pretraining.targets import Targets
from mlsuperb.runs.store import read
from mlsuperb.training.consolidation import WeightAnchor
from mlsuperb.training.parameters import count_trained, num_parameters
from mlsuperb.training.schedules import ExponentialDecay
from mlsuperb.upstreams.selfsupervised import SelfSupervised

OF_TRAINING = tuple(word for word in SMALL if not word.startswith("upstream"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speech_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def labels(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(labels_of(tree, tmp_path_factory.mktemp("labels")))


@pytest.fixture(scope="module")
def base(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(pretraining_of(labels, tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def new_labels(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other units, of one language."""
    return run(labels_of(tree, tmp_path_factory.mktemp("new"), "data.languages=[swa]", "clustering.num_units=5"))


def expansion_of(base: Path, labels: Path, out: Path, *more: str, exp: str = "adapt") -> list[str]:
    words = [f"+exp=expand/{exp}", f"upstream.run={base}", f"targets.run={labels}", f"output_root={out}", *OF_TRAINING]
    return [*words, "trainer.optimizer.lr=1e-2", *more]


@pytest.fixture(scope="module")
def expanded(base: Path, new_labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(expansion_of(base, new_labels, tmp_path_factory.mktemp("expanded")))


def test_the_trained_share_is_the_published_one() -> None:
    """2.098 % of arXiv 2406.14092: rank 24 on four projections of 12 blocks of 768, and a table of 1,004 labels of 256."""
    settings = MaskedPrediction()
    with torch.device("meta"):
        upstream = SelfSupervised(HubertModel(HubertConfig()), regularisation="mask_embedding")
        head = settings.head(size=768, num_units=1000)
    LoRA(rank=24).apply(upstream)
    head.final_proj.requires_grad_(False)  # the base's
    model = MaskedPredictionModel(upstream, head=head, settings=settings)
    trained, total = count_trained(model), num_parameters(model.parameters())
    assert trained == {"upstream": 1_769_472, "head": 257_024}
    assert total == 96_595_072
    assert round(100 * sum(trained.values()) / total, 3) == 2.098


def test_merged_weights_and_base_with_adapter_give_the_same_features(base: Path, expanded: Path) -> None:
    before = load_file(base / "huggingface" / "model.safetensors")
    model = AutoModel.from_pretrained(base / "huggingface").eval()
    wave = 0.1 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = model(wave).last_hidden_state
        separate = PeftModel.from_pretrained(model, expanded / "peft_adapter").eval()(wave).last_hidden_state
        merged = AutoModel.from_pretrained(expanded / "huggingface").eval()(wave).last_hidden_state
    torch.testing.assert_close(merged, separate, atol=1e-5, rtol=1e-5)
    assert (merged - plain).abs().max() > 1e-3, "the training has changed nothing"
    after = load_file(base / "huggingface" / "model.safetensors")
    assert all(torch.equal(one, after[name]) for name, one in before.items())
    of_base = {name: one for name, one in model.state_dict().items() if "lora_" not in name}
    for name, one in before.items():
        place = name if name in of_base else f"{name.rpartition('.')[0]}.base_layer.{name.rpartition('.')[2]}"
        assert torch.equal(of_base[place], one), name


def test_only_the_adapter_and_the_table_of_labels_have_changed(base: Path, expanded: Path) -> None:
    before, after = (load_file(one / "huggingface" / "model.safetensors") for one in (base, expanded))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    wanted = {f"encoder.layers.{n}.attention.{one}_proj.weight" for n in (0, 1) for one in ("q", "k", "v", "out")}
    assert changed == wanted
    old, new = (StoredHead.read(one / "huggingface").tensors for one in (base, expanded))
    assert torch.equal(old["final_proj.weight"], new["final_proj.weight"])
    assert (len(old["label_embeddings"]), len(new["label_embeddings"])) == (12, 9)


def test_a_result_says_what_of_the_model_was_trained(base: Path, expanded: Path) -> None:
    result = read(expanded, PretrainingResult)
    assert result.adaptation is not None
    assert (result.adaptation["name"], result.projection) == ("lora", "base")
    assert result.adaptation["trained"] == {"upstream": 2 * 4 * 2 * 32 * 24, "head": 9 * 16}
    assert result.num_trainable == sum(result.adaptation["trained"].values())
    assert result.num_total is not None
    assert result.num_total > result.num_trainable
    assert result.inputs["upstream"].run_id == base.name
    everything = read(base, PretrainingResult)
    assert everything.adaptation is None
    assert everything.num_total == everything.num_trainable


def test_two_ranks_give_what_one_gives(base: Path, new_labels: Path, tmp_path: Path) -> None:
    """Table imprinted, LoRA trained and merged: batches of two and of one utterance, of which one of the ranks has none."""
    # Adam divides a gradient by its own size, so that the last bits of one that is all but 0 would steer a whole step
    more = (
        "prediction.layer_drop=0",
        "trainer.optimizer.eps=1e-3",
        "trainer.max_epochs=1",
        "loading.train.max_batch_s=6",
    )
    with without_chance():
        alone = run(expansion_of(base, new_labels, tmp_path / "one", *more))
    on_two_ranks(expansion_of(base, new_labels, tmp_path / "two", *more), moment="without chance")
    both = tmp_path / "two" / alone.name
    assert json.loads((both / "environment.json").read_text())[0]["processes"] == 2
    one, two = (read(folder, PretrainingResult) for folder in (alone, both))
    for mine, its in zip(one.training["history"], two.training["history"], strict=True):
        assert its == pytest.approx(mine, rel=1e-4)
    assert two.scores["all"] == pytest.approx(one.scores["all"], rel=1e-4)
    assert two.cost["utterances"] == one.cost["utterances"]
    for name in ("model.safetensors", "prediction_head.safetensors"):
        mine, its = (load_file(folder / "huggingface" / name) for folder in (alone, both))
        for tensor in mine:
            torch.testing.assert_close(
                its[tensor], mine[tensor], rtol=1e-3, atol=1e-4, msg=lambda text, at=tensor: f"{at}: {text}"
            )


@pytest.mark.parametrize("moment", ["step", "checkpoint"])
def test_an_expansion_that_was_killed_ends_the_same(
    moment: str, base: Path, new_labels: Path, expanded: Path, tmp_path: Path
) -> None:
    overrides = expansion_of(base, new_labels, tmp_path)
    assert killed(moment, overrides) == -9
    again = run(overrides)
    for name in ("huggingface/model.safetensors", "huggingface/prediction_head.safetensors", "model.safetensors"):
        assert (again / name).read_bytes() == (expanded / name).read_bytes()


@pytest.mark.parametrize(
    ("adaptation", "trained"), [("full", "all"), ("partial", "encoder.layers.0")], ids=["full", "partial"]
)
def test_other_adaptations(adaptation: str, trained: str, base: Path, new_labels: Path, tmp_path: Path) -> None:
    more = ("adaptation.layers=1",) if adaptation == "partial" else ()
    made = run(
        expansion_of(base, new_labels, tmp_path, f"adaptation={adaptation}", "trainer.max_epochs=1", *more, exp="full")
    )
    before, after = (load_file(one / "huggingface" / "model.safetensors") for one in (base, made))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    still = set() if trained == "all" else {name for name in before if not name.startswith(trained)}
    # the keys' bias has no influence on a softmax over keys: its gradient is that of rounding
    assert set(before) - changed - still <= {f"encoder.layers.{n}.attention.k_proj.bias" for n in (0, 1)}
    assert not changed & still


def test_a_base_without_a_head_gets_a_new_projection(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    head = MaskedPrediction().head(size=8, num_units=3)
    with caplog.at_level(logging.WARNING):
        take_projection(head, tmp_path)
    assert f"{tmp_path} has no prediction head: the final projection is new, and trained with the labels" in caplog.text
    assert head.final_proj.weight.requires_grad


def test_a_projection_of_another_size_is_refused(tmp_path: Path) -> None:
    MaskedPrediction(final_size=4).head(size=8, num_units=3).save(tmp_path, label_rate_hz=50)
    with pytest.raises(ValueError, match=r"projects 8 to 4 numbers, .* 8 to 16\. Set prediction\.final_size=4"):
        take_projection(MaskedPrediction(final_size=16).head(size=8, num_units=3), tmp_path)


@pytest.mark.parametrize("adaptation", ["houlsby", "lora_mixture", "qlora", "frozen"])
def test_adaptations_that_leave_no_model_are_refused(adaptation: str, base: Path, labels: Path) -> None:
    config = compose(["+exp=expand/full", f"upstream.run={base}", f"targets.run={labels}", f"adaptation={adaptation}"])
    (problem,) = find_problems(config)
    assert problem.startswith(f"adaptation={adaptation}")
    assert "choose lora, partial or full" in problem


def test_fisher_information_is_the_mean_of_squared_gradients_of_utterances() -> None:
    """Of the prediction loss alone, whatever the feature penalty is, against the training's own backward pass."""
    model = small_model(layer_drop=0.0, feature_penalty=0.0, feature_grad_mult=1.0)
    model.upstream.model.encoder.layers[0].requires_grad_(False)
    batches = [masked_batch(model.upstream, [length], seed=length) for length in (9000, 12000)]
    found = of_upstream(model, batches, num=2)
    wanted: dict[str, torch.Tensor] = {}
    for batch in batches:
        model.zero_grad()
        model(batch).loss.backward()
        for name, one in model.upstream.named_parameters():
            if one.grad is not None:
                wanted[name] = wanted.get(name, torch.zeros(())) + one.grad.square() / 2
    assert not any(name.startswith("model.encoder.layers.0.") for name in found)
    assert {name for name, one in found.items() if one.abs().sum() > 0} <= set(wanted)
    for name, one in wanted.items():
        torch.testing.assert_close(found[name], one, rtol=1e-4, atol=1e-12)


def test_consolidation_holds_the_weights(base: Path, labels: Path, new_labels: Path, tmp_path: Path) -> None:
    rate = "trainer.optimizer.lr=1e-3"
    free = run(expansion_of(base, new_labels, tmp_path, rate, exp="full"))
    ewc = (f"preservation.run={labels}", "preservation.num_utterances=5", "preservation.weight=1e6")
    held = run(expansion_of(base, new_labels, tmp_path, rate, *ewc, exp="ewc"))
    start, moved, kept = (load_file(one / "huggingface" / "model.safetensors") for one in (base, free, held))
    distances = [sum(float((one[name] - start[name]).square().sum()) for name in start) for one in (moved, kept)]
    assert distances[1] < 0.8 * distances[0]
    assert read(held, PretrainingResult).inputs["preservation"].run_id == labels.name
    assert "train_preservation" in read(held, PretrainingResult).training["history"][0]


LOADING = Loading(
    train=BucketedBatches(max_batch_s=8), window_h=1.0, language_temperature=100.0, crops=Crops(max_s=1.0)
)  # fmt: skip


def anchor_of(labels: Path, base: Path, upstream: SelfSupervised, *, num: int = 12) -> WeightAnchor:
    settings = ElasticWeights(run=str(labels), num_utterances=num, weight=2.0)
    return settings.anchor(
        upstream, base=base, settings=MaskedPrediction(), masking=SpanMasking(), loading=LOADING, seed=0
    )


@pytest.fixture
def upstream(base: Path, labels: Path, tmp_path: Path) -> SelfSupervised:
    return instantiate(compose(expansion_of(base, labels, tmp_path))["upstream"])


def test_the_penalty_against_a_computation_by_hand(base: Path, labels: Path, upstream: SelfSupervised) -> None:
    """Each old utterance whole and once, however the training is; the gradient of the loss itself, also of the convolutions;
    the head with the settings that it has, also where the new one's are others."""
    generator_state = torch.get_rng_state()
    anchor = anchor_of(labels, base / "huggingface", upstream)
    assert torch.equal(torch.get_rng_state(), generator_state)
    targets, head = Targets(run=str(labels)), StoredHead.read(base / "huggingface").head()
    opened = targets.open(upstream)
    speech = targets.dataset(opened, "train", upstream=upstream, masking=SpanMasking(), loading=LOADING, fixed=True)
    settings = MaskedPrediction(feature_grad_mult=1.0, feature_penalty=0.0, layer_drop=0.0)
    model = MaskedPredictionModel(upstream, head=head, settings=settings).eval()
    assert len(speech) == 12
    squares: dict[str, torch.Tensor] = {}
    for index in range(len(speech)):
        model.zero_grad()
        model(speech.finish(speech.collate([speech[index]]))).loss.backward()
        for name, one in upstream.named_parameters():
            if one.grad is not None:
                squares[name] = squares.get(name, torch.zeros(())) + one.grad.square() / len(speech)
    expected = 0.0
    for moved in ("feature_extractor", "encoder"):
        with torch.no_grad():
            for name, one in upstream.named_parameters():
                if f".{moved}." in name and name in squares:
                    expected += float(squares[name].sum()) * 0.1**2
                    one += 0.1
        assert anchor().item() == pytest.approx(expected, rel=1e-4)


def test_consolidation_needs_labels_that_the_base_predicts(
    base: Path, new_labels: Path, upstream: SelfSupervised, tmp_path: Path
) -> None:
    said = rf"preservation\.run={new_labels} has other labels .*\(num_units 8 there, 5 here; codebook .*Give the run of job"
    with pytest.raises(ValueError, match=said):
        anchor_of(new_labels, base / "huggingface", upstream)
    with pytest.raises(ValueError, match=rf"preservation\.run={new_labels}: {tmp_path} has no prediction head"):
        anchor_of(new_labels, tmp_path, upstream)


def test_the_rate_of_discophon() -> None:
    """600 updates of warm-up, 9,400 at the full rate, 10,000 down to 1 % (arXiv 2603.18612)."""
    factor = [ExponentialDecay()(update, 20_000) for update in range(20_001)]
    assert factor[599:10_001] == pytest.approx(np.ones(9402))
    assert factor[0] == pytest.approx(1 / 600)
    assert factor[15_000] == pytest.approx(0.1)
    assert factor[20_000] == pytest.approx(0.01)
    assert ExponentialDecay.problems(warmup=0.5, flat=0.5)
