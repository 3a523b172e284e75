"""Embeddings of whole utterances at each stage of a recogniser: the mean of the stage's frames.

Letters: B batch, F frames, D size of a stage, N utterances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from mlsuperb.analysis.projection import check_utterances, knn_table, points_table
from mlsuperb.benchmark import build
from mlsuperb.benchmark.recogniser import Recogniser
from mlsuperb.config.build import job_of
from mlsuperb.data.dataset import SpeechDataset
from mlsuperb.layers.masks import zero_padding
from mlsuperb.runs.hypotheses import hypotheses_of_split
from mlsuperb.scoring.result import BenchmarkResult
from mlsuperb.types import Encoded, Features, Hypothesis

# Utterances differ by less than this part of a frame's size: rounding. A linear head behind `input_norm=mean` gives all
# utterances the same mean, as each mean is what was taken away.
ROUNDING = 1e-5


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """The mean frame of each utterance at each stage.

    Args:
        ids: of the N utterances.
        stages: name -> (N, D) float32, from the upstream to the posteriors; a stage that equals an earlier one is left out.
        constant: names of stages that give all utterances the same mean, which are left out.
    """

    ids: tuple[str, ...]
    stages: dict[str, np.ndarray]
    constant: tuple[str, ...]


def stage_tables(
    run: Path,
    result: BenchmarkResult,
    *,
    device: str,
    num_utterances: int,
    split: str,
    all_layers: bool,
    k: int,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """`points_table` and `knn_table` of a run's utterances, and the stages that are constant.

    Raises:
        ValueError: no trained run, no such split, too few utterances or languages, or a corpus that has lost utterances.
    """
    hypotheses = hypotheses_of_split(run, split)
    chosen = [hypotheses[i] for i in balanced([one.language for one in hypotheses], num=num_utterances, seed=seed)]
    languages = [one.language for one in chosen]
    check_utterances(languages, place=f"split {split} of {run}", k=k)
    config = build.load_config(run)
    rows = _rows(config, chosen, split=split, run=run)
    recogniser: Any = job_of(config).load(run, device=device)
    dataset = recogniser.loading.dataset(rows, encode=None, resample=build.build_corpus(config).resample)
    embeddings = embed(recogniser, dataset, all_layers=all_layers)
    predicted = [one.predicted_language for one in chosen] if result.task.has_language else None
    points = points_table(embeddings.stages, ids=embeddings.ids, languages=languages, predicted=predicted, seed=seed)
    named = zip(rows["dataset"], rows["speaker"], strict=True)  # a speaker's name is unique within a dataset
    speakers = [f"{dataset}/{speaker}" if speaker else "" for dataset, speaker in named]
    return points, knn_table(embeddings.stages, languages, speakers=speakers, k=k), list(embeddings.constant)


def _rows(config: dict[str, Any], chosen: Sequence[Hypothesis], *, split: str, run: Path) -> pd.DataFrame:
    """The manifest rows of the chosen utterances, in their order."""
    manifest, _ = build.read_data(config)
    rows = manifest[manifest["split"] == split].set_index("id", drop=False)
    if gone := [one.id for one in chosen if one.id not in rows.index]:
        raise ValueError(
            f"{len(gone)} hypotheses of {run} (such as {gone[0]}) are of utterances that are no longer in its corpus "
            f"(data={config['data']['name']}): restore the corpus as it was, or train and decode again"
        )
    return rows.loc[[one.id for one in chosen]]


@torch.inference_mode()
def embed(recogniser: Recogniser, dataset: SpeechDataset, *, all_layers: bool = False) -> Embeddings:
    """Embeddings of `dataset` in its order, in fp32: upstream layers, the featurizer's stream (`features`), the stages that
    the head names, its output, the objective's log posteriors.

    Args:
        dataset: of one split, in which an id is one utterance.
        all_layers: every layer of the upstream, not the last alone.
    """
    model = recogniser.model
    means: dict[str, list[np.ndarray]] = {}
    squares: dict[str, float] = {}
    ids: list[str] = []

    def add(name: str, stage: Encoded) -> None:
        """Keep the mean frame of each utterance, and the largest mean square of a value (which says what is rounding)."""
        values_BFD = zero_padding(stage.values.float(), stage.lengths_B)
        frames_B1 = stage.lengths_B[:, None].clamp(min=1)
        square = values_BFD.square().sum() / (frames_B1.sum() * values_BFD.shape[-1])
        means.setdefault(name, []).append((values_BFD.sum(1) / frames_B1).cpu().numpy())
        squares[name] = max(squares.get(name, 0.0), float(square))

    with _watched(recogniser, add, all_layers=all_layers):
        for batch in tqdm(recogniser.loading.inference(dataset), desc="embed", unit="batch", dynamic_ncols=True):
            encoded = model.encode(batch.to(recogniser.device))
            add("head output", encoded)
            add("log posteriors", model.objective.log_probs(encoded))
            ids += batch.ids
    place = {one: index for index, one in enumerate(ids)}
    order = [place[dataset.utterance(index).id] for index in range(len(dataset))]
    stages: dict[str, np.ndarray] = {}
    for name, parts in means.items():
        vectors_ND = np.concatenate(parts)[order]
        if not any(np.array_equal(vectors_ND, earlier) for earlier in stages.values()):
            stages[name] = vectors_ND
    constant = tuple(name for name in stages if stages[name].std(0).max() <= ROUNDING * squares[name] ** 0.5)
    varied = {name: vectors_ND for name, vectors_ND in stages.items() if name not in constant}
    return Embeddings(ids=tuple(ids[index] for index in order), stages=varied, constant=constant)


@contextmanager
def _watched(recogniser: Recogniser, add: Callable[[str, Encoded], None], *, all_layers: bool) -> Iterator[None]:
    """While the context is open, `add` is called with each stage of upstream, featurizer and head as it is computed."""
    model = recogniser.model
    lengths: dict[str, Tensor] = {}

    def featurizer(_module: nn.Module, inputs: tuple[Features], output: Tensor) -> None:
        """Takes the upstream's layers from here, where they are of the whole batch: a frozen one is called per utterance."""
        (features,) = inputs
        lengths["head"] = model.head.num_frames(features.lengths_B)
        last = len(features.layers) - 1
        for number in range(0 if all_layers else last, last + 1):
            add(f"upstream layer {number}", Encoded(features.layers[number], features.lengths_B))
        add("features", Encoded(output, features.lengths_B))

    def stage(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: add(name, Encoded(output, lengths["head"]))

    hooks = [
        model.featurizer.register_forward_hook(featurizer),
        *(module.register_forward_hook(stage(name)) for name, module in model.head.stages.items()),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def balanced(languages: Sequence[str], *, num: int, seed: int) -> list[int]:
    """Indices of up to `num` utterances, in order: as many of each language as there are, up to an equal share; what small
    languages leave is shared out among the others. Drawn anew for each seed."""
    rng = np.random.default_rng(seed)
    queues = {
        language: rng.permutation([index for index, one in enumerate(languages) if one == language]).tolist()
        for language in sorted(set(languages))
    }
    chosen: list[int] = []
    while queues and len(chosen) < num:
        for language in list(queues):
            chosen.append(queues[language].pop())
            if not queues[language]:
                del queues[language]
    return sorted(chosen[:num])
