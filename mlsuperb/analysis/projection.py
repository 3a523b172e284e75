"""How well the stages of a model separate languages: t-SNE to look at, nearest neighbours to count.

Letters: N utterances, D size of a stage, k neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

PERPLEXITY = 30.0  # van der Maaten and Hinton 2008 recommend 5 to 50; scikit-learn's default
FEWEST = 8  # utterances below which neighbours say nothing
WRONG, UNKNOWN = "False", ""  # of `correct` in the table of points; else "True"


def check_utterances(languages: Sequence[str], *, place: str, k: int) -> None:
    """Raise `ValueError` for too few utterances, or one language, so that there is nothing to tell apart."""
    if k < 1:
        raise ValueError(f"k is {k}; give the number of neighbours that vote, 1 or more (5 is usual)")
    fewest = max(FEWEST, k + 2)
    if len(languages) < fewest:
        raise ValueError(
            f"{place} gives {len(languages)} utterances, too few for nearest neighbours: {fewest} or more are needed; raise "
            "--num-utterances, or take a larger test set"
        )
    if len(set(languages)) == 1:
        raise ValueError(f"{place} holds one language ({languages[0]}): there is nothing to tell apart")


def unit_directions(vectors_ND: np.ndarray) -> np.ndarray:
    """Unit vectors from the mean of all utterances, so that a dot product is the cosine. Without the mean taken away, what
    all speech has in common makes every cosine nearly 1."""
    centred_ND = vectors_ND.astype(np.float64) - vectors_ND.mean(0, dtype=np.float64)
    lengths_N1 = np.linalg.norm(centred_ND, axis=1, keepdims=True)
    return np.asarray(centred_ND / np.maximum(lengths_N1, 1e-12))


def tsne(vectors_ND: np.ndarray, *, seed: int) -> np.ndarray:
    """(N, 2): t-SNE of the directions, started from their principal components, so that a seed gives the same picture. The
    perplexity is 30, or a third of the neighbours there are."""
    from sklearn.manifold import TSNE

    directions_ND = unit_directions(vectors_ND)
    perplexity = min(PERPLEXITY, (len(directions_ND) - 1) / 3)
    start = "pca" if directions_ND.shape[1] > 1 else "random"
    # of unit vectors, the squared distance is twice one minus the cosine: neighbours are those that are counted
    placed = TSNE(perplexity=perplexity, init=start, learning_rate="auto", random_state=seed, n_jobs=1)
    return np.asarray(placed.fit_transform(directions_ND.astype(np.float32)))


def knn(
    vectors_ND: np.ndarray, languages: Sequence[str], *, k: int, speakers: Sequence[str] | None = None
) -> np.ndarray:
    """(N,) whether the k nearest other utterances (cosine) of each name its language: the one that most of them have, among
    equals that of the nearest.

    Args:
        speakers: neighbours of the same speaker are not counted; an empty name is nobody's.
    """
    directions_ND = unit_directions(vectors_ND)
    cosines_NN = directions_ND @ directions_ND.T
    np.fill_diagonal(cosines_NN, -np.inf)
    if speakers is not None:
        names = np.asarray(speakers)
        cosines_NN[(names[:, None] == names) & (names[:, None] != "")] = -np.inf
    nearest_NK = np.argsort(-cosines_NN, axis=1, kind="stable")[:, :k]
    codes = np.asarray(languages)
    found = []
    for row, nearest in enumerate(nearest_NK):
        votes = codes[nearest[np.isfinite(cosines_NN[row, nearest])]].tolist()
        best = max(votes, key=lambda code: (votes.count(code), -votes.index(code))) if votes else ""
        found.append(best == codes[row])
    return np.array(found)


def knn_table(
    stages: Mapping[str, np.ndarray], languages: Sequence[str], *, speakers: Sequence[str], k: int
) -> pd.DataFrame:
    """Stage by stage, in %: `accuracy` over `num_utterances`; `chance`, what naming the commonest language gives; and
    `accuracy_other_speakers` over those `num_other_speakers` utterances of whose language somebody else speaks, without
    neighbours of their own speaker. It is empty where speakers are not known."""
    voices = {
        code: {voice for one, voice in zip(languages, speakers, strict=True) if one == code} for code in languages
    }
    counted = np.array(
        [bool(voice) and len(voices[code] - {""}) > 1 for code, voice in zip(languages, speakers, strict=True)]
    )
    chance = 100 * max(map(list(languages).count, set(languages))) / len(languages)
    rows = []
    for stage, vectors_ND in stages.items():
        row = {"stage": stage, "k": k, "accuracy": 100 * knn(vectors_ND, languages, k=k).mean()}
        row |= {"num_utterances": len(languages), "chance": chance}
        others = knn(vectors_ND, languages, k=k, speakers=speakers)[counted] if counted.any() else None
        row["accuracy_other_speakers"] = np.nan if others is None else 100 * others.mean()
        rows.append(row | {"num_other_speakers": int(counted.sum())})
    return pd.DataFrame(rows)


def points_table(
    stages: Mapping[str, np.ndarray],
    *,
    ids: Sequence[str],
    languages: Sequence[str],
    predicted: Sequence[str | None] | None,
    seed: int,
) -> pd.DataFrame:
    """Where t-SNE puts each utterance at each stage: `stage, id, language, predicted, correct, x, y`. `predicted` and
    `correct` (`True`, `False`) are empty where the task names no language (None); `predicted` also where none was named."""
    named = predicted or [None] * len(ids)
    correct = [str(one == code) if predicted else UNKNOWN for code, one in zip(languages, named, strict=True)]
    tables = []
    for stage, vectors_ND in stages.items():
        xy_N2 = tsne(vectors_ND, seed=seed).astype(np.float64).round(3)
        shown = {"stage": stage, "id": ids, "language": languages, "predicted": [one or "" for one in named]}
        tables.append(pd.DataFrame({**shown, "correct": correct, "x": xy_N2[:, 0], "y": xy_N2[:, 1]}))
    return pd.concat(tables, ignore_index=True)
