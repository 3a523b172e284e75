"""What a recogniser makes of whole utterances, stage by stage: the mean of each stage's frames.

Letters: B batch, F frames, D size of a stage, N utterances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from mlsuperb.benchmark.recogniser import Recogniser
from mlsuperb.data.dataset import SpeechDataset
from mlsuperb.layers.masks import zero_padding
from mlsuperb.types import Encoded, Features

# Utterances differ by less than this part of a frame's size: rounding. A linear head behind `input_norm=mean` gives all
# utterances the same mean, as each mean is what was taken away.
ROUNDING = 1e-5


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """The mean frame of each utterance at each stage.

    Args:
        ids: of the N utterances.
        stages: name -> (N, D) float32, from the upstream to the posteriors; a stage that equals an earlier one is left out.
        constant: stages that give all utterances the same mean, so that there is nothing to see.
    """

    ids: tuple[str, ...]
    stages: dict[str, np.ndarray]
    constant: tuple[str, ...]


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
    with _watched(recogniser, all_layers=all_layers) as seen:
        for batch in tqdm(recogniser.loading.inference(dataset), desc="embed", unit="batch", dynamic_ncols=True):
            moved = batch.to(recogniser.device)
            encoded = model.encode(moved)
            seen.add("head output", encoded)
            seen.add("log posteriors", model.objective.log_probs(encoded))
            for name, (mean_BD, square) in seen.take().items():
                means.setdefault(name, []).append(mean_BD)
                squares[name] = max(squares.get(name, 0.0), square)
            ids += batch.ids
    place = {one: index for index, one in enumerate(ids)}
    order = [place[dataset.utterance(index).id] for index in range(len(dataset))]
    stages: dict[str, np.ndarray] = {}
    for name, parts in means.items():
        vectors_ND = np.concatenate(parts)[order]
        if not any(np.array_equal(vectors_ND, earlier) for earlier in stages.values()):
            stages[name] = vectors_ND
    constant = tuple(name for name, vectors_ND in stages.items() if _constant(vectors_ND, squares[name] ** 0.5))
    varied = {name: vectors_ND for name, vectors_ND in stages.items() if name not in constant}
    return Embeddings(ids=tuple(ids[index] for index in order), stages=varied, constant=constant)


@dataclass
class _Seen:
    """The stages of one batch, as means over valid frames, in the order in which they were made."""

    means: dict[str, tuple[np.ndarray, float]] = field(default_factory=dict)

    def add(self, name: str, stage: Encoded) -> None:
        """Keep the mean frame of each utterance, and the mean square of a value (which says what is rounding)."""
        values_BFD = zero_padding(stage.values.float(), stage.lengths_B)
        frames_B1 = stage.lengths_B[:, None].clamp(min=1)
        mean_BD = values_BFD.sum(1) / frames_B1
        square = values_BFD.square().sum() / (frames_B1.sum() * values_BFD.shape[-1])
        self.means[name] = (mean_BD.cpu().numpy(), float(square))

    def take(self) -> dict[str, tuple[np.ndarray, float]]:
        """What was added since the last time."""
        taken, self.means = self.means, {}
        return taken


@contextmanager
def _watched(recogniser: Recogniser, *, all_layers: bool) -> Iterator[_Seen]:
    """While it is open, what upstream, featurizer and head make on the way is kept."""
    model, seen = recogniser.model, _Seen()
    lengths: dict[str, Tensor] = {}

    def upstream(_module: nn.Module, _inputs: Any, output: Features) -> None:
        lengths["features"] = output.lengths_B
        lengths["head"] = model.head.num_frames(output.lengths_B)
        last = len(output.layers) - 1
        for number in range(0 if all_layers else last, last + 1):
            seen.add(f"upstream layer {number}", Encoded(output.layers[number], output.lengths_B))

    def stage(name: str, counted: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: seen.add(name, Encoded(output, lengths[counted]))

    hooks = [
        model.upstream.register_forward_hook(upstream),
        model.featurizer.register_forward_hook(stage("features", "features")),
        *(module.register_forward_hook(stage(name, "head")) for name, module in model.head.stages.items()),
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _constant(vectors_ND: np.ndarray, frame_size: float) -> bool:
    return bool(vectors_ND.std(0).max() <= ROUNDING * frame_size)


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
