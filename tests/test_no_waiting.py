"""A step never makes the host wait for a GPU: seen on any machine with tensors that have a device and no values.
They have no backward pass; that is torch's own but for a `torch.autograd.Function` of the CPU's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mlsuperb.heads.base import Head
from mlsuperb.heads.conformer import ConformerHead
from mlsuperb.heads.e_branchformer import EBranchformerHead
from mlsuperb.heads.featurizer import WeightedSum
from mlsuperb.heads.linear import LinearHead
from mlsuperb.heads.specaug import SpecAugment
from mlsuperb.heads.transformer import TransformerHead
from mlsuperb.objectives.ctc import CTC
from mlsuperb.objectives.ctc_dro import CTCDRO
from mlsuperb.training.losses import PendingLosses, share_of
from mlsuperb.training.progress import Progress
from mlsuperb.types import Batch, Encoded, Features, Loss

LAYERS, BATCH, FRAMES, SIZE, VOCAB_SIZE = 5, 3, 40, 96, 20
SMALL = {"size": 16, "num_blocks": 1, "num_heads": 2, "ffn_size": 32}
# not the BiLSTM: packed sequences want their lengths on the host
HEADS: dict[str, Callable[..., Head]] = {
    "transformer": partial(TransformerHead, **SMALL),
    "conv1d2": partial(TransformerHead, frontend="conv1d2", **SMALL),
    "conformer": partial(ConformerHead, **SMALL),
    "e_branchformer": partial(EBranchformerHead, **SMALL),
    "linear": LinearHead,
}


class NothingComesBack(TorchDispatchMode):
    """Refuses to copy from the GPU to the host. (Reading a value, and shapes that depend on one, are refused by tensors that
    have none.)"""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        found = func(*args, **(kwargs or {}))
        assert not (_devices(found) == {"cpu"} and "cuda" in _devices((args, kwargs))), f"{func} comes back to the host"
        return found


def _devices(values: Any) -> set[str]:
    leaves: Iterable[Any] = tree_leaves(values)
    return {leaf.device.type for leaf in leaves if isinstance(leaf, Tensor)}


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterable[None]:
    """Whatever is made inside lies on a GPU that is not there."""

    def ctc_loss(log_probs_FBV: Tensor, *_: Any, **__: Any) -> Tensor:
        return log_probs_FBV.sum((0, 2))

    monkeypatch.setattr(nn.functional, "ctc_loss", ctc_loss)  # torch's has no such form; see `CTC` for what it does
    with FakeTensorMode(), NothingComesBack(), torch.device("cuda"):
        yield


@pytest.mark.parametrize("name", HEADS)
def test_the_way_to_the_loss_never_waits(name: str, on_gpu: None) -> None:
    featurizer = WeightedSum(num_layers=LAYERS, layer_size=SIZE)
    specaug, head = SpecAugment(), HEADS[name](input_size=SIZE)
    objective = CTC(input_size=head.output_size, vocab_size=VOCAB_SIZE)
    features = Features(
        torch.randn(LAYERS, BATCH, FRAMES, SIZE, dtype=torch.bfloat16), torch.full((BATCH,), FRAMES), 50.0
    )
    encoded = head(specaug(featurizer(features), features.lengths_B), features.lengths_B)
    loss = objective(encoded, torch.full((BATCH, 5), 3), torch.full((BATCH,), 5))
    assert encoded.values.device.type == loss.loss.device.type == "cuda"
    assert loss.loss.shape == loss.counts["num_unaligned"].shape == ()


def test_weighting_languages_never_waits(on_gpu: None) -> None:
    objective = CTCDRO(input_size=SIZE, vocab_size=VOCAB_SIZE)
    objective.begin(["deu", "swa"])
    encoded = Encoded(torch.randn(BATCH, FRAMES, SIZE), torch.full((BATCH,), FRAMES))
    loss = objective.train()(encoded, torch.full((BATCH, 5), 3), torch.full((BATCH,), 5), ["deu"] * BATCH).loss
    assert (loss.device.type, loss.shape) == ("cuda", ())


def test_remembering_a_loss_its_rates_and_its_gradient_norm_never_waits(on_gpu: None) -> None:
    losses = PendingLosses(Progress(), eager=False)
    tensors = ("wave_BT", "lengths_B", "targets_BS", "target_lengths_B")
    batch = Batch(ids=("a",), languages=("deu",), **dict.fromkeys(tensors, torch.zeros(1)))
    num = torch.tensor(3)
    result = Loss(torch.zeros(()), {"num": num}, weight=num, rates={"accuracy": (torch.zeros(()), num)})
    losses.add(1, batch, result, share=share_of(batch, result))
    losses.add_gradient_norm(torch.zeros(()))
    with pytest.raises((DataDependentOutputException, AssertionError)):
        losses.flush()


@pytest.mark.parametrize(
    "wait",
    [
        lambda lengths_B: lengths_B.max().item(),
        lambda lengths_B: lengths_B.tolist(),
        lambda lengths_B: bool(lengths_B.any()),
        lambda lengths_B: lengths_B[lengths_B > 1],
        lambda lengths_B: lengths_B.cpu(),
    ],
)
def test_waiting_is_noticed(wait: Callable[[Tensor], Any], on_gpu: None) -> None:
    with pytest.raises((DataDependentOutputException, DynamicOutputShapeException, AssertionError)):
        wait(torch.full((BATCH,), FRAMES))
