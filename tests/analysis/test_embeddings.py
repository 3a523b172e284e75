"""Embeddings of every head and objective: named stages, means that padding does not move, constant stages named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from mlsuperb.analysis.embeddings import balanced, embed
from mlsuperb.benchmark.model import SpeechModel
from mlsuperb.benchmark.recogniser import Recogniser
from mlsuperb.data.batching import SortedBatches
from mlsuperb.data.dataset import SpeechDataset
from mlsuperb.data.loading import Loading
from mlsuperb.data.vocabulary import Vocabulary
from mlsuperb.decoding.greedy import Greedy
from mlsuperb.heads.base import Head
from mlsuperb.heads.bilstm import BiLSTMHead
from mlsuperb.heads.conformer import ConformerHead
from mlsuperb.heads.e_branchformer import EBranchformerHead
from mlsuperb.heads.featurizer import Featurizer, LastLayer, OneLayer, WeightedSum
from mlsuperb.heads.linear import LinearHead
from mlsuperb.heads.specaug import Identity
from mlsuperb.heads.transformer import TransformerHead
from mlsuperb.objectives.base import Objective
from mlsuperb.objectives.classifier import UtteranceClassifier
from mlsuperb.objectives.ctc import CTC
from mlsuperb.objectives.ctc_attention import CTCAttention
from mlsuperb.tasks.asr_lid import ASRLID
from mlsuperb.upstreams.random_hubert import RandomHubert

SIZE = {"projection": 12, "frontend": "conv1d2", "size": 16, "num_heads": 2, "ffn_size": 16, "num_blocks": 2}
BLOCKS = ["front end", "block 1", "block 2"]
HEADS: dict[str, tuple[Callable[..., Head], list[str]]] = {
    "linear": (partial(LinearHead, size=20), []),
    "bilstm": (partial(BiLSTMHead, size=16, frontend="conv1d2"), ["front end"]),
    "transformer": (partial(TransformerHead, **SIZE), BLOCKS),
    "conformer": (partial(ConformerHead, **SIZE, conv_kernel=5), BLOCKS),
    "e_branchformer": (
        partial(EBranchformerHead, **SIZE, cgmlp_size=24, cgmlp_kernel=5, merge_kernel=3),
        BLOCKS,
    ),
}
OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "ctc": CTC,
    "ctc_attention": partial(CTCAttention, num_blocks=1, num_heads=2, ffn_size=16),
    "classifier": UtteranceClassifier,
}
LENGTHS = (4000, 9000, 16000, 12345)


def speech(folder: Path, lengths: Sequence[int]) -> SpeechDataset:
    """Noises of so many samples."""
    rng = np.random.default_rng(0)
    rows = []
    for number, length in enumerate(lengths):
        path = folder / f"{number}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(length), 16000)
        common = {"audio": str(path), "start_s": 0.0, "duration_s": length / 16000, "text": "a", "dataset": "d"}
        rows.append({"id": f"u{number}", **common, "language": "eng", "split": "test", "speaker": ""})
    return SpeechDataset(pd.DataFrame(rows))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SpeechDataset:
    return speech(tmp_path_factory.mktemp("waves"), LENGTHS)


@pytest.fixture(scope="module")
def upstream() -> RandomHubert:
    return RandomHubert(num_blocks=2, hidden_size=32, conv_channels=16, initializer_range=0.2)


def recogniser(
    upstream: RandomHubert,
    make_head: Callable[..., Head],
    make_objective: Callable[..., Objective] = CTC,
    *,
    featurizer: Featurizer | None = None,
    batch_s: float = 100.0,
) -> Recogniser:
    torch.manual_seed(0)
    featurizer = featurizer or WeightedSum(num_layers=upstream.num_layers, layer_size=upstream.layer_size)
    head = make_head(input_size=upstream.layer_size)
    model = SpeechModel(
        upstream,
        trained=(),
        featurizer=featurizer,
        specaug=Identity(),
        head=head,
        objective=make_objective(input_size=head.output_size, vocab_size=6),
    )
    return Recogniser(
        model=model.eval(),
        task=ASRLID(),
        vocabulary=Vocabulary(["<blank>", "<unk>", "[eng]", "<space>", "A", "<sos/eos>"]),
        decoder=Greedy(),
        loading=Loading(train=SortedBatches(batch_size=2), eval_batch_s=batch_s, num_workers=0),
        device=torch.device("cpu"),
        precision="fp32",
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("head", HEADS)
def test_stages_are_named_and_padding_moves_no_mean(
    upstream: RandomHubert, dataset: SpeechDataset, head: str, objective: str
) -> None:
    make_head, blocks = HEADS[head]
    make_objective = OBJECTIVES[objective]
    together = embed(recogniser(upstream, make_head, make_objective), dataset)
    alone = embed(recogniser(upstream, make_head, make_objective, batch_s=0.1), dataset)
    expected = ["upstream layer 2", "features", *blocks, "head output", "log posteriors"]
    assert list(together.stages) == list(alone.stages) == expected
    assert together.ids == ("u0", "u1", "u2", "u3")
    assert not together.constant
    for name, vectors_ND in together.stages.items():
        assert vectors_ND.shape[0] == len(LENGTHS)
        np.testing.assert_allclose(vectors_ND, alone.stages[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_means_are_those_of_the_model_step_by_step(upstream: RandomHubert, dataset: SpeechDataset) -> None:
    one = recogniser(upstream, partial(TransformerHead, **SIZE))
    found = embed(one, dataset, all_layers=True)
    assert list(found.stages)[:4] == [*(f"upstream layer {number}" for number in range(3)), "features"]
    wave_BT = torch.from_numpy(dataset[3].wave_T)[None]
    with torch.inference_mode():
        features = one.model.upstream(wave_BT, torch.tensor([LENGTHS[3]]))
        feats_BFD = one.model.featurizer(features)
        encoded = one.model.head(feats_BFD, features.lengths_B)
        posteriors = one.model.objective.log_probs(encoded)
    expected = {f"upstream layer {number}": layer for number, layer in enumerate(features.layers)}
    expected |= {"features": feats_BFD, "head output": encoded.values, "log posteriors": posteriors.values}
    for name, values_BFD in expected.items():
        np.testing.assert_allclose(found.stages[name][3], values_BFD[0].mean(0).numpy(), rtol=1e-3, atol=1e-5)
    # the last block stands before the final norm: normalised frame by frame, it is the output
    assert not np.allclose(found.stages["block 2"], found.stages["head output"])


def test_in_one_batch_each_mean_is_over_the_frames_of_its_utterance(upstream: RandomHubert, tmp_path: Path) -> None:
    """Lengths that are alike, or inference would make several batches of them."""
    near, found = speech(tmp_path, (16_000, 15_500, 14_600)), {}
    for batch_s in (0.1, 100.0):
        one = recogniser(upstream, partial(TransformerHead, **SIZE), batch_s=batch_s)
        assert len(list(one.loading.inference(near))) == (3 if batch_s < 1 else 1)
        found[batch_s] = embed(one, near, all_layers=True).stages
    assert list(found[0.1]) == list(found[100.0])
    for name, vectors_ND in found[0.1].items():
        np.testing.assert_allclose(found[100.0][name], vectors_ND, rtol=1e-4, atol=1e-5, err_msg=name)


def test_no_hook_is_left_behind(upstream: RandomHubert, dataset: SpeechDataset) -> None:
    one = recogniser(upstream, partial(TransformerHead, **SIZE))
    before = [len(module._forward_hooks) for module in one.model.modules()]
    assert len(before) > 20
    embed(one, dataset)
    assert [len(module._forward_hooks) for module in one.model.modules()] == before


def test_a_stage_that_is_an_earlier_one_is_left_out(upstream: RandomHubert, dataset: SpeechDataset) -> None:
    size = {"num_layers": upstream.num_layers, "layer_size": upstream.layer_size}
    last = embed(recogniser(upstream, LinearHead, featurizer=LastLayer(**size)), dataset)
    assert list(last.stages) == ["upstream layer 2", "log posteriors"]  # features and an empty head are that layer, too
    first = embed(recogniser(upstream, LinearHead, featurizer=OneLayer(0, **size)), dataset)
    assert list(first.stages) == ["upstream layer 2", "features", "log posteriors"]


def test_a_stage_without_differences_is_named(upstream: RandomHubert, dataset: SpeechDataset) -> None:
    """The mean of each utterance was taken away in front of a linear head."""
    found = embed(recogniser(upstream, partial(LinearHead, size=20, input_norm="mean")), dataset)
    assert found.constant == ("head output",)
    assert "head output" not in found.stages
    assert embed(recogniser(upstream, partial(BiLSTMHead, size=16)), dataset).constant == ("front end",)  # a linear one


def test_balanced_takes_equal_shares_and_fills_up() -> None:
    languages = ["a"] * 100 + ["b"] * 3 + ["c"] * 50
    chosen = balanced(languages, num=43, seed=0)
    assert Counter(languages[index] for index in chosen) == {"a": 20, "b": 3, "c": 20}
    assert chosen == sorted(set(chosen)) == balanced(languages, num=43, seed=0)
    assert chosen != balanced(languages, num=43, seed=1)
    assert balanced(languages, num=1000, seed=0) == list(range(153))
