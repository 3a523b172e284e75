"""So many hours of each language and dataset to train on (`data.max_train_hours`)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mlsuperb.data.preparation import pair_rng


def beyond_hours(frame: pd.DataFrame, *, max_hours: float, seed: int | None) -> pd.Index:
    """The rows of the training set beyond `max_hours` of their language and dataset, taken in the order of the corpus, or in
    one drawn by `seed`, for each language and dataset by itself: which other languages there are makes no difference."""
    train = frame[frame["split"] == "train"]
    pairs = train.groupby(["dataset", "language"], sort=False)
    if seed is not None:
        orders = [pair_rng(seed, pair).permutation(places) for pair, places in pairs.indices.items()]
        train = train.iloc[np.concatenate([np.empty(0, np.int64), *orders])]
    hours = train.groupby(["dataset", "language"])["duration_s"].cumsum() / 3600
    return hours.index[hours > max_hours]
