"""What stands behind an upstream, on a GPU that is not there (`absent_gpu`; the upstreams and heads: tests/upstreams): no tensor
on the other device, the CPU's values, and the host waits where a table here says so and nowhere else."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from absent_gpu import GPU, AbsentGPU, on_gpu, on_host
from levels import FRAME, recogniser

from mlsuperb.adaptation.base import Adaptation
from mlsuperb.adaptation.bitfit import BitFit
from mlsuperb.adaptation.bottleneck import ESPnetHoulsby, Houlsby, Pfeiffer
from mlsuperb.adaptation.full import Full
from mlsuperb.adaptation.lora import LoRA
from mlsuperb.adaptation.mixture import LoRAMixture
from mlsuperb.adaptation.partial import Partial
from mlsuperb.cache.features import FeatureCache
from mlsuperb.cache.store import Store
from mlsuperb.data.batching import SortedBatches
from mlsuperb.data.dataset import SpeechDataset
from mlsuperb.data.loading import Loading
from mlsuperb.decoding.argmax import Argmax
from mlsuperb.decoding.base import Decoder
from mlsuperb.decoding.greedy import Greedy
from mlsuperb.decoding.joint_beam import JointBeam
from mlsuperb.decoding.prefix_beam import PrefixBeam
from mlsuperb.heads.featurizer import Featurizer, LastLayer, OneLayer, WeightedSum, WeightedSumPerDimension
from mlsuperb.objectives.base import Objective
from mlsuperb.objectives.classifier import UtteranceClassifier
from mlsuperb.objectives.ctc import CTC
from mlsuperb.objectives.ctc_attention import CTCAttention
from mlsuperb.objectives.ctc_dro import CTCDRO
from mlsuperb.objectives.ctc_hierarchical import HierarchicalCTC
from mlsuperb.training.losses import PendingLosses, share_of
from mlsuperb.training.progress import Progress
from mlsuperb.types import Batch, Encoded, Features, Loss, Utterance
from mlsuperb.upstreams.random_hubert import RandomHubert

LAYERS, BATCH, FRAMES, SIZE, VOCAB_SIZE = 5, 3, 40, 16, 20
LENGTHS = [FRAMES, 31, 17]
LOSS = "objectives/ctc.py: losses"
FEATURIZERS: dict[str, Callable[..., Featurizer]] = {
    "weighted_sum": WeightedSum,
    "per_dimension": WeightedSumPerDimension,
    "one_layer": partial(OneLayer, 2),
    "last_layer": LastLayer,
}
DECODER = {"num_blocks": 1, "num_heads": 2, "ffn_size": 16}
OBJECTIVES: dict[str, tuple[Callable[..., Objective], set[str]]] = {
    "ctc": (CTC, {LOSS}),
    "ctc_dro": (CTCDRO, {LOSS}),
    "ctc_hierarchical": (HierarchicalCTC, {LOSS}),
    "ctc_attention": (partial(CTCAttention, **DECODER), {LOSS}),
    "classifier": (UtteranceClassifier, set()),
    "classifier_attentive": (partial(UtteranceClassifier, pooling="attentive_statistics"), set()),
    "classifier_ecapa": (partial(UtteranceClassifier, pooling="channel_attentive_statistics"), set()),
}
# Where a search waits: once for what comes out; a beam at every step, for what has ended and what is left
BEAM = {f"decoding/beam.py: {name}" for name in ("start", "search", "select", "results")} | {
    "decoding/joint_beam.py: _search"
}
ATTENTION = {f"layers/transformer_decoder.py: {name}" for name in ("start", "select", "_tidied")}
DECODERS: dict[str, tuple[Decoder, set[str]]] = {
    "argmax": (Argmax(), {"decoding/argmax.py: __call__"}),
    "greedy": (Greedy(), {"decoding/greedy.py: __call__"}),
    "prefix": (PrefixBeam(beam_size=2), BEAM),
    "joint": (JointBeam(beam_size=3), BEAM | ATTENTION),
    "joint_ctc_alone": (JointBeam(beam_size=3, ctc_weight=1.0), BEAM),
    "joint_decoder_alone": (JointBeam(beam_size=3, ctc_weight=0.0), BEAM | ATTENTION),
}
ADAPTATIONS: dict[str, Callable[[], Adaptation]] = {  # not QLoRA: bitsandbytes has kernels of its own
    "bitfit": BitFit,
    "full": Full,
    "partial": partial(Partial, layers="2-3"),
    "houlsby": partial(Houlsby, width=4, activation="gelu"),
    "pfeiffer": partial(Pfeiffer, width=5, activation="silu"),
    "espnet_houlsby": partial(ESPnetHoulsby, width=4, activation="gelu"),
    "lora": partial(LoRA, rank=2, dropout=0.1),
    "dora": partial(LoRA, rank=2, dora=True),
    "lora_mixture": partial(LoRAMixture, rank=2, num_experts=3),
}


def encoded(device: str) -> Encoded:
    values_BFH = torch.randn(BATCH, FRAMES, SIZE, generator=torch.Generator().manual_seed(0))
    values_BFH = values_BFH.to(device)
    return Encoded(values_BFH, torch.tensor(LENGTHS, device=device), inner={1: values_BFH})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", FEATURIZERS)
def test_layers_become_one(name: str, dtype: torch.dtype) -> None:
    featurizer = FEATURIZERS[name](num_layers=LAYERS, layer_size=SIZE)
    layers = torch.randn(LAYERS, BATCH, FRAMES, SIZE).to(dtype)
    with torch.no_grad():
        expected = featurizer(Features(layers, torch.tensor(LENGTHS), 50.0))
        with AbsentGPU() as gpu:
            found = on_gpu(featurizer)(Features(layers.to("cuda"), torch.tensor(LENGTHS, device="cuda"), 50.0))
    torch.testing.assert_close(on_host(found), expected)
    assert not gpu.reads


@pytest.mark.parametrize(("name", "training"), [*((name, False) for name in OBJECTIVES), ("ctc_dro", True)])
def test_losses(name: str, training: bool) -> None:
    """In training CTC-DRO moves its weights."""
    build, waits = OBJECTIVES[name]
    torch.manual_seed(0)
    objective = build(input_size=SIZE, vocab_size=VOCAB_SIZE).train(training)
    objective.begin(["deu", "swa"])
    there = copy.deepcopy(objective)
    targets_BS = torch.tensor([[3, 4, 4], [5, 6, 0], [7, 0, 0]])[:, : 1 if objective.utterance_level else 3]
    target_lengths_B = torch.tensor([1, 1, 1] if objective.utterance_level else [3, 2, 1])
    with torch.no_grad():
        expected = objective(encoded("cpu"), targets_BS, target_lengths_B, ["deu", "swa", "deu"])
        posteriors = objective.log_probs(encoded("cpu"))
        with AbsentGPU() as gpu:
            given = (one.to("cuda") for one in (targets_BS, target_lengths_B))
            found = on_gpu(there)(encoded("cuda"), *given, ["deu", "swa", "deu"])
            assert set(gpu.reads) == waits
            log_probs = there.log_probs(encoded("cuda"))
            assert set(gpu.reads) == waits
    torch.testing.assert_close(on_host(found.loss), expected.loss)
    torch.testing.assert_close(on_host(log_probs.values), posteriors.values)
    assert {name: int(on_host(one)) for name, one in found.counts.items()} == {
        name: int(one) for name, one in expected.counts.items()
    }


@pytest.mark.parametrize("name", DECODERS)
def test_searches(name: str) -> None:
    decoder, waits = DECODERS[name]
    torch.manual_seed(0)
    objective = CTCAttention(input_size=SIZE, vocab_size=VOCAB_SIZE, **DECODER).eval()
    with torch.no_grad():
        for layer in (objective.decoder.out, objective.ctc.out):
            layer.weight *= 6
        expected = _search(decoder, objective, encoded("cpu"))
        with AbsentGPU() as gpu:
            found = _search(decoder, on_gpu(objective), encoded("cuda"))
    assert [one.tokens for one in found] == [one.tokens for one in expected]
    assert [one.score for one in found] == pytest.approx([one.score for one in expected], rel=1e-5)
    assert set(gpu.reads) == waits


def _search(decoder: Decoder, objective: CTCAttention, frames: Encoded) -> list[Any]:
    posteriors = objective.log_probs(frames)
    return decoder(posteriors.values, posteriors.lengths_B, objective.attention(frames))


@pytest.mark.parametrize("name", ADAPTATIONS)
def test_adapted_upstreams(name: str) -> None:
    upstream = RandomHubert(num_blocks=3, hidden_size=32, conv_channels=16)
    ADAPTATIONS[name]().apply(upstream)
    wave_BT, lengths_B = torch.randn(2, 6400), torch.tensor([6400, 5000])
    with torch.no_grad():
        expected = upstream.eval()(wave_BT, lengths_B).layers
        with AbsentGPU() as gpu:
            found = on_gpu(upstream)(wave_BT.to("cuda"), lengths_B.to("cuda")).layers
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(on_host(one), other, rtol=1e-4, atol=1e-5)
    assert not gpu.reads


def test_features_of_the_cache_are_put_together_there(tmp_path: Path, speech: SpeechDataset) -> None:
    """Computed, from the disk, and from the memory of the GPU; three utterances in batches of two."""
    upstream = RandomHubert(num_blocks=2, hidden_size=32, conv_channels=16).eval()
    loading = Loading(train=SortedBatches(batch_size=2), eval_batch_s=1.0, num_workers=0)
    with torch.no_grad():
        alone = {
            speech.utterance(index).id: torch.stack(
                upstream(torch.as_tensor(speech[index].wave_T)[None], torch.tensor([len(speech[index].wave_T)])).layers
            )[:, 0]
            for index in range(len(speech))
        }
    on_gpu(upstream)
    for room, kept in ((0.0, "computed"), (0.0, "on disk"), (1e9, "on disk"), (1e9, "in memory")):
        with AbsentGPU() as gpu:
            if kept != "in memory":
                store = Store(tmp_path / "features", name="tiny", identity={}, max_bytes=1e9)
                cache = FeatureCache(
                    upstream, device=GPU, precision="fp32", dtype="fp32", store=store, device_bytes=room
                )
                data = cache.of(speech)
            batches = list(loading.inference(data))
            if room == 0.0:
                cache.close()
        assert set(gpu.reads) == (
            {"cache/features.py: _computed", "cache/store.py: _save"} if kept == "computed" else set()
        ), kept
        for batch in batches:
            assert batch.features is not None
            for row, name in enumerate(batch.ids):
                frames = alone[name].shape[1]
                found = on_host(batch.features.layers)[:, row]
                torch.testing.assert_close(found[:, :frames], alone[name], rtol=1e-4, atol=1e-5)
                assert not found[:, frames:].any()


@pytest.fixture
def speech(tmp_path: Path) -> SpeechDataset:
    rows = []
    for number, num_samples in enumerate((4000, 5600, 7200)):
        wave_T = 0.1 * torch.randn(num_samples, generator=torch.Generator().manual_seed(number))
        path = tmp_path / f"u{number}.wav"
        soundfile.write(path, wave_T.numpy(), 16_000)
        rows.append(
            Utterance(
                id=path.stem, audio=str(path), start_s=0.0, duration_s=num_samples / 16_000, text="ab", language="eng",
                dataset="d", split="train",
            )
        )  # fmt: skip
    return SpeechDataset(pd.DataFrame([vars(row) for row in rows]), encode=lambda row: np.ones(len(row.text), np.int64))


def test_a_search_has_a_stream_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU is told, in order; torch's streams ask for a driver."""
    told: list[str] = []

    class Stream:
        def __init__(self, device: torch.device) -> None:
            told.append(f"stream on {device}")

        def record_event(self) -> str:
            told.append("encoded")
            return "encoded"

        def wait_event(self, event: str) -> None:
            told.append(f"wait until {event}")

        def synchronize(self) -> None:
            told.append("searched")

    @contextmanager
    def inside(stream: Stream) -> Iterator[None]:
        yield

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", inside)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    here = recogniser()
    there = replace(here, device=GPU)
    wave_BT = (torch.tensor([[3, 5, 5, 0, 6], [4, 7, 0, 0, 0]]) / 10).repeat_interleave(FRAME, 1)
    lengths_B = torch.tensor([5 * FRAME, 2 * FRAME])
    targets_BS, target_lengths_B = torch.tensor([[3, 5], [4, 7]]), torch.tensor([2, 2])
    batch = Batch(
        ids=("a", "b"), languages=("deu", "eng"), wave_BT=wave_BT, lengths_B=lengths_B, targets_BS=targets_BS,
        target_lengths_B=target_lengths_B,
    )  # fmt: skip
    expected = here.texts(here.encode(batch))
    assert expected == [("[deu]AB", "deu"), ("[eng]C", "eng")]
    told.clear()
    with AbsentGPU() as gpu:
        encoding = there.encode(batch)
        assert not gpu.reads
        assert there.texts(encoding) == expected
    assert told == ["stream on cuda:0", "encoded", "wait until encoded", "searched"]


def test_remembering_a_loss_its_rates_and_its_gradient_norm_never_waits() -> None:
    tensors = ("wave_BT", "lengths_B", "targets_BS", "target_lengths_B")
    with AbsentGPU() as gpu:
        losses = PendingLosses(Progress(), eager=False)
        batch = Batch(ids=("a",), languages=("deu",), **dict.fromkeys(tensors, torch.zeros(1, device="cuda")))
        num = torch.tensor(3, device="cuda")
        rates = {"accuracy": (torch.tensor(2.0, device="cuda"), num)}
        result = Loss(torch.tensor(5.0, device="cuda"), {"num": num}, weight=num, rates=rates)
        losses.add(1, batch, result, share=share_of(batch, result))
        losses.add_gradient_norm(torch.ones((), device="cuda"))
        assert not gpu.reads
        losses.flush()
    assert set(gpu.reads) == {"training/losses.py: flush", "training/losses.py: _sums"}
