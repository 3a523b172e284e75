"""What every adaptation promises on every family of upstreams, in the model that trains it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from tiny_checkpoints import READERS, write_checkpoint
from torch import Tensor, nn

from mlsuperb.adaptation.base import Adaptation
from mlsuperb.adaptation.bitfit import BitFit
from mlsuperb.adaptation.bottleneck import ESPnetHoulsby, Houlsby, Pfeiffer
from mlsuperb.adaptation.frozen import Frozen
from mlsuperb.adaptation.full import Full
from mlsuperb.adaptation.lora import LoRA
from mlsuperb.adaptation.mixture import LoRAMixture
from mlsuperb.adaptation.partial import Partial
from mlsuperb.adaptation.qlora import QLoRA
from mlsuperb.benchmark.model import SpeechModel
from mlsuperb.heads.base import Head
from mlsuperb.heads.featurizer import WeightedSum
from mlsuperb.objectives.ctc import CTC
from mlsuperb.training.checkpoint import load_trained, save_weights, trained_tensors
from mlsuperb.training.parameters import check_gradients
from mlsuperb.training.trainable import Advice
from mlsuperb.types import Batch, Encoded
from mlsuperb.upstreams.base import Upstream
from mlsuperb.upstreams.fbank import Fbank
from mlsuperb.upstreams.random_hubert import RandomHubert

ADAPTATIONS: dict[str, Callable[[], Adaptation]] = {
    "bitfit": BitFit,
    "frozen": Frozen,
    "full": Full,
    "full_checkpointed": partial(Full, convolutions=False, gradient_checkpointing=True),
    "partial": partial(Partial, layers="2-3"),
    "partial_middle_and_front": partial(Partial, layers="middle", convolutions=True),
    "houlsby": partial(Houlsby, width=4, activation="gelu"),
    "pfeiffer": partial(Pfeiffer, width=5, activation="silu", layers=[1, 3], gradient_checkpointing=True),
    "espnet_houlsby": partial(ESPnetHoulsby, width=4, activation="gelu"),
    "lora": partial(LoRA, rank=2, dropout=0.1),
    "lora_ffn": partial(LoRA, rank=2, attention=[], ffn=True, rslora=True, layers="2-3"),
    "dora": partial(LoRA, rank=2, attention=["k", "q", "v"], dora=True, gradient_checkpointing=True),
    "lora_mixture": partial(LoRAMixture, rank=2, num_experts=3),
    "qlora": partial(QLoRA, rank=2, compute_type="fp32"),
    "qlora_bf16": partial(QLoRA, rank=2, attention=["q"], ffn=True, dora=True, double_quantisation=False),
}
BUILDERS: dict[str, Callable[[], Upstream]] = {"tiny": RandomHubert, "fbank": Fbank}
SAME_BLOCKS = ("omniasr", "voxtral", "phonetic_xeus")  # as xls_r, whisper, xeus: another reader of the same modules
UPSTREAMS = [
    *(family for family in READERS if not family.endswith(("_padded", "_pieces")) and family not in SAME_BLOCKS),
    *BUILDERS,
]
REFUSED = {
    **{
        ("fbank", adaptation): "has none. Choose another upstream"
        for adaptation in ADAPTATIONS
        if adaptation != "frozen"
    },
    **{
        (family, adaptation): r"WavLM's attention reads the weights .* without calling them.*adaptation\.ffn=true"
        for family in ("wavlm_base", "wavlm_large")
        for adaptation in ("lora", "dora", "lora_mixture", "qlora", "qlora_bf16")
    },
}
CELLS = [(family, adaptation) for family in UPSTREAMS for adaptation in ADAPTATIONS]
LEGAL = [cell for cell in CELLS if cell not in REFUSED]
each_cell = pytest.mark.parametrize(("family", "adaptation"), LEGAL)

LENGTHS = [4000, 2600]


@cache
def _original(family: str) -> Upstream:
    if family in BUILDERS:
        return BUILDERS[family]()
    checkpoint, reader, settings = READERS[family]
    with TemporaryDirectory() as folder:
        return reader(checkpoint=str(write_checkpoint(Path(folder), checkpoint)), **settings)


def make_upstream(family: str) -> Upstream:
    return copy.deepcopy(_original(family))


class LinearHead(Head):
    """The smallest head there is."""

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.output_size = 8
        self.projection = nn.Linear(input_size, 8)

    def forward(self, feats_BFD: Tensor, lengths_B: Tensor) -> Encoded:
        return Encoded(self.projection(feats_BFD), lengths_B)

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return lengths_B


def make_model(family: str, adaptation: str, *, seed: int = 1) -> tuple[SpeechModel, list[str]]:
    upstream = make_upstream(family)
    torch.manual_seed(seed)
    trained = ADAPTATIONS[adaptation]().apply(upstream)
    model = SpeechModel(
        upstream,
        trained=trained,
        featurizer=WeightedSum(num_layers=upstream.num_layers, layer_size=upstream.layer_size),
        specaug=nn.Identity(),
        head=LinearHead(upstream.layer_size),
        objective=CTC(input_size=8, vocab_size=6),
    )
    model.specaug.forward = lambda feats_BFD, lengths_B: feats_BFD
    return model, trained


def make_batch() -> Batch:
    wave_BT = 0.1 * torch.randn(2, LENGTHS[0], generator=torch.Generator().manual_seed(3))
    wave_BT[1, LENGTHS[1] :] = 0
    return Batch(
        ids=("a", "b"),
        languages=("eng", "eng"),
        wave_BT=wave_BT,
        lengths_B=torch.tensor(LENGTHS),
        targets_BS=torch.tensor([[1, 2], [3, 0]]),
        target_lengths_B=torch.tensor([2, 1]),
    )


def make_optimizer(model: SpeechModel) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0)


def backward(model: SpeechModel, seed: int) -> dict[str, Tensor]:
    """The gradients of a batch; `seed` decides the dropout."""
    torch.manual_seed(seed)
    model.zero_grad(set_to_none=True)
    model.train()(make_batch()).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def train(model: SpeechModel, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        backward(model, step)
        optimizer.step()


@torch.no_grad()
def evaluate(model: SpeechModel) -> Tensor:
    batch = make_batch()
    encoded = model.eval().encode(batch)
    return model.objective.log_probs(encoded).values


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """A copy of everything: parameters and buffers, the non-persistent ones, too."""
    return {name: one.detach().clone() for name, one in (*model.named_parameters(), *model.named_buffers())}


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm().clamp(min=1e-9))


def test_the_table_is_whole() -> None:
    assert len(CELLS) == len(ADAPTATIONS) * len(UPSTREAMS) >= 13 * 14
    assert set(REFUSED) <= set(CELLS)
    assert len(LEGAL) == len(CELLS) - (len(ADAPTATIONS) - 1) - 2 * 5


@pytest.mark.parametrize(("family", "adaptation"), list(REFUSED))
def test_illegal_cells_are_refused_with_their_reason(family: str, adaptation: str) -> None:
    upstream = make_upstream(family)
    with pytest.raises(ValueError, match=REFUSED[family, adaptation]):
        ADAPTATIONS[adaptation]().apply(upstream)


@torch.no_grad()
@each_cell
def test_the_output_is_unchanged_at_the_start(family: str, adaptation: str) -> None:
    batch, upstream = make_batch(), make_upstream(family).eval()
    expected = upstream(batch.wave_BT, batch.lengths_B)
    names = set(upstream.state_dict())
    ADAPTATIONS[adaptation]().apply(upstream)
    found = upstream.eval()(batch.wave_BT, batch.lengths_B)
    tolerance = 0.3 if "qlora" in adaptation else 1e-6  # 4 bits: see test_qlora.py for the exact comparison
    assert len(found.layers) == upstream.num_layers
    for layer, unchanged in zip(found.layers, expected.layers, strict=True):
        assert relative_error(layer, unchanged) < tolerance
    if "lora" not in adaptation and adaptation != "dora":  # peft puts `base_layer` into the names
        assert names <= set(upstream.state_dict())


@each_cell
def test_what_is_named_is_trained_and_nothing_else(family: str, adaptation: str) -> None:
    model, trained = make_model(family, adaptation)
    assert len(set(trained)) == len(trained)
    expected = {f"upstream.{name}" for name in trained}
    expected |= {name for name, _ in model.named_parameters() if not name.startswith("upstream.")}
    assert expected == {name for name, one in model.named_parameters() if one.requires_grad}
    before, optimizer = tensors(model), make_optimizer(model)

    backward(model, 0)
    check_gradients(model, Advice())
    optimizer.step()
    gradients = backward(model, 1)
    assert set(gradients) == expected
    assert not [name for name in trained if not gradients[f"upstream.{name}"].abs().max() > 0]
    optimizer.step()
    train(model, optimizer, range(2, 3))
    after = tensors(model)
    assert set(after) == set(before)
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved == (expected if len(model.featurizer.weights) > 1 else expected - {"featurizer.logits_L"})


@each_cell
def test_training_survives_evaluations_saving_and_resuming(family: str, adaptation: str, tmp_path: Path) -> None:
    model, _ = make_model(family, adaptation)
    optimizer = make_optimizer(model)
    train(model, optimizer, range(2))
    before = backward(model, 2)
    output = evaluate(model)
    assert torch.equal(evaluate(model), output)
    after = backward(model, 2)
    assert set(after) == set(before)
    assert all(torch.equal(after[name], before[name]) for name in before)

    saved = trained_tensors(model)
    buffers = {name.rpartition(".")[2] for name in saved.keys() - after.keys()}
    assert buffers <= {"running_mean", "running_var", "num_batches_tracked"}  # of a batch norm that is trained
    save_weights(saved, tmp_path / "weights.safetensors")
    resumed, _ = make_model(family, adaptation, seed=2)
    load_trained(resumed, tmp_path / "weights.safetensors")
    assert torch.equal(evaluate(resumed), output)
    resumed_optimizer = make_optimizer(resumed)
    resumed_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for one, its_optimizer in ((model, optimizer), (resumed, resumed_optimizer)):
        train(one, its_optimizer, range(3, 5))
    assert torch.equal(evaluate(resumed), evaluate(model))


@torch.no_grad()
@each_cell
def test_padding_never_changes_a_result(family: str, adaptation: str) -> None:
    model, trained = make_model(family, adaptation)
    for name in trained:  # away from the start, where the adapters do nothing
        parameter = model.upstream.get_parameter(name)
        parameter.add_(0.05 * torch.randn_like(parameter))
    batch, upstream = make_batch(), model.eval().upstream
    together = upstream(batch.wave_BT, batch.lengths_B)
    alone = upstream(batch.wave_BT[1:, : LENGTHS[1]], batch.lengths_B[1:])
    frames = int(alone.lengths_B)
    tolerance = 0.02 if adaptation == "qlora_bf16" else 1e-4  # bf16: products of another shape round otherwise
    for layer, expected in zip(together.layers, alone.layers, strict=True):
        assert relative_error(layer[1, :frames], expected[0, :frames]) < tolerance
        assert layer[1, frames:].abs().sum() == 0
