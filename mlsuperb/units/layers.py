"""Which layer of an upstream to cluster: the quality of units of every layer. Letters: T samples, F frames, D feature size.

mHuBERT-147 took layers 6 and 9 of its first and second model, as HuBERT did. SpidR and DiscoPhon choose the layer with the
lowest ABX error; the table here shows both measures for all layers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch

from mlsuperb.data.audio import load_audio
from mlsuperb.data.manifest import records
from mlsuperb.types import Utterance
from mlsuperb.units.abx import AbxError, abx, tokens
from mlsuperb.units.codebook import Codebook
from mlsuperb.units.marked import with_phones
from mlsuperb.units.phones import Interval, Phones
from mlsuperb.units.quality import Quality, measure
from mlsuperb.upstreams.base import Upstream

log = logging.getLogger(__name__)

PUBLISHED_LAYERS, PUBLISHED_BLOCKS = (6, 9), 12  # mHuBERT-147, iterations 2 and 3 (utter-project/mHuBERT-147-scripts)
Features = list[np.ndarray]  # (F, D) of each utterance


class Fit(Protocol):
    """Makes a codebook of features (F, D), float32."""

    def __call__(
        self, features_FD: np.ndarray, *, rate_hz: float, seed: int, record: Mapping[str, Any]
    ) -> Codebook: ...


class SpokenPhones(NamedTuple):
    """An utterance: its wave (T,) at 16 kHz, float32, and its phones."""

    wave_T: np.ndarray
    phones: Sequence[Interval]
    speaker: str


@dataclass(frozen=True, kw_only=True)
class LayerQuality:
    """The units of a layer against phones, and its features by ABX (None: not measured)."""

    layer: int
    quality: Quality
    within: AbxError | None
    across: AbxError | None

    @property
    def abx(self) -> float:
        """The ABX error of the features: the mean of within and across speaker, of those that could be measured."""
        errors = [one.error for one in (self.within, self.across) if one is not None and not np.isnan(one.error)]
        return float(np.mean(errors)) if errors else np.nan


@dataclass(frozen=True, kw_only=True)
class LayerCurve:
    """The quality of every layer.

    Args:
        layers: from layer 0 on.
        num_units: of the codebooks.
        held_out: share of the utterances that were scored and not clustered; 0: those clustered were scored.
    """

    layers: tuple[LayerQuality, ...]
    num_units: int
    held_out: float

    def best_layer(self, by: Literal["pnmi", "abx"]) -> int:
        """The layer with the highest PNMI or the lowest ABX error; of equal ones the first.

        Raises:
            ValueError: ABX was not measured.
        """
        values = np.array([one.quality.pnmi if by == "pnmi" else -one.abx for one in self.layers])
        if np.isnan(values).all():
            raise ValueError("no ABX error was measured: the utterances hold no two phones between the same neighbours")
        return self.layers[int(np.nanargmax(values))].layer


def kmeans(
    features_FD: np.ndarray, *, rate_hz: float, seed: int, record: Mapping[str, Any], num_units: int = 100
) -> Codebook:
    """A codebook by scikit-learn's k-means, over all frames in each of at most 100 iterations. Mini-batches, which large samples
    need, find worse centroids: with 100 units, layer 6 of Whisper base has a PNMI of 0.42 by them and of 0.47 by this."""
    from sklearn.cluster import KMeans

    centroids = KMeans(num_units, n_init=1, max_iter=100, random_state=seed).fit(features_FD).cluster_centers_
    return Codebook(centroids_KP=torch.from_numpy(centroids).float(), rate_hz=rate_hz, record=record)


def spoken(
    manifest: pd.DataFrame, phones: Phones, *, split: str, minutes: float, resample: bool = True, seed: int = 0
) -> list[SpokenPhones]:
    """Utterances of a split that have phones, chosen at random up to `minutes`, at least one.

    Raises:
        ValueError: there is no such split, none of its utterances has phones, or audio cannot be read.
    """
    rows = manifest[manifest["split"] == split]
    if rows.empty:
        raise ValueError(
            f"there is no split {split}; give one of {', '.join(sorted(set(manifest['split'])))} (--split)"
        )
    rows = rows.iloc[with_phones(list(rows["id"]), phones, place=f"split {split}")]
    rows = rows.iloc[np.random.default_rng(seed).permutation(len(rows))]
    rows = rows[(rows["duration_s"].cumsum() <= 60 * minutes) | (np.arange(len(rows)) == 0)]
    return [
        SpokenPhones(
            load_audio(row.audio, start_s=row.start_s, duration_s=row.duration_s, resample=resample),
            phones[row.id],
            row.speaker,
        )
        for row in records(rows, Utterance)
    ]


def layer_curve(
    upstream: Upstream,
    utterances: Iterable[SpokenPhones],
    *,
    fit: Fit = kmeans,
    held_out: float = 0.0,
    with_abx: bool = True,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> LayerCurve:
    """Cluster the features of every layer and compare the units with the phones; the features themselves by ABX. Utterances of
    several languages are measured together, phones of the same name being the same.

    The features of all layers are kept in memory (10 minutes of a base model with 13 layers: 1.2 GB). For clustering they are
    standardised, each dimension to mean 0 and variance 1 over the frames that are clustered.

    Args:
        fit: makes a codebook of the standardised features.
        held_out: share of the utterances, chosen at random, that are scored and not clustered. 0: score the clustered ones.
        with_abx: measure ABX, too: on all utterances, as nothing is trained for it.
        seed: of the choice of utterances, of clustering and of ABX.

    Raises:
        ValueError: there are fewer utterances than the parts they are to make.
    """
    listed, rate_hz = list(utterances), upstream.frame_rate_hz
    clustered, scored = _parts(len(listed), held_out=held_out, seed=seed)
    rows, num_units = [], 0
    for layer, features in enumerate(layer_features(upstream, [one.wave_T for one in listed], device=device)):
        book, units = _units(features, clustered, scored, fit=partial(fit, rate_hz=rate_hz, seed=seed), layer=layer)
        num_units = book.num_units
        quality = measure(units, [listed[at].phones for at in scored], rate_hz=rate_hz, num_units=num_units)
        within, across = abx_errors(features, listed, rate_hz=rate_hz, seed=seed) if with_abx else (None, None)
        rows.append(LayerQuality(layer=layer, quality=quality, within=within, across=across))
        log.info("layer %d: PNMI %.3f, ABX %.3f", layer, quality.pnmi, rows[-1].abx)
    return LayerCurve(layers=tuple(rows), num_units=num_units, held_out=held_out)


def _parts(num: int, *, held_out: float, seed: int) -> tuple[list[int], list[int]]:
    """The utterances to cluster and those to score: all of them both times, where none is held out."""
    if not held_out and num:
        return list(range(num)), list(range(num))
    order = np.random.default_rng(seed).permutation(num).tolist()
    num_scored = round(held_out * num)
    if not 0 < num_scored < num:
        raise ValueError(
            f"{num} utterances with phones are too few to hold out {held_out:.0%} of them; give more, or hold out none"
        )
    return sorted(order[num_scored:]), sorted(order[:num_scored])


def layer_features(upstream: Upstream, waves: Iterable[np.ndarray], *, device: torch.device | str) -> list[Features]:
    """Features of every layer of each utterance, float32. Utterances are encoded one at a time, so that none is padded."""
    upstream = upstream.to(device).eval()
    layers: list[Features] = [[] for _ in range(upstream.num_layers)]
    with torch.inference_mode():
        for wave_T in waves:
            wave_BT = torch.from_numpy(wave_T)[None].to(device)
            features = upstream(wave_BT, torch.tensor([len(wave_T)], device=device))
            for one, layer_BFD in zip(layers, features.layers, strict=True):
                one.append(layer_BFD[0, : int(features.lengths_B[0])].float().cpu().numpy())
    return layers


def abx_errors(
    features: Features, utterances: Sequence[SpokenPhones], *, rate_hz: float, seed: int
) -> tuple[AbxError, AbxError]:
    """ABX of features within and across speaker, by the angle between frames."""
    given = tokens(
        features, [one.phones for one in utterances], speakers=[one.speaker for one in utterances], rate_hz=rate_hz
    )
    within, across = (abx(given, speakers=kind, distance="angular", seed=seed) for kind in ("within", "across"))
    return within, across


def _units(
    features: Features, clustered: Sequence[int], scored: Sequence[int], *, fit: Any, layer: int
) -> tuple[Codebook, list[np.ndarray]]:
    """A codebook of the utterances `clustered`, and the units (F,) of those `scored`."""
    frames_FD = np.concatenate([features[number] for number in clustered])
    mean_D, deviation_D = frames_FD.mean(0), frames_FD.std(0)
    deviation_D[deviation_D == 0] = 1
    book: Codebook = fit(
        (frames_FD - mean_D) / deviation_D, record={"features": {"layer": layer, "standardised": True}}
    )
    return book, [book.assign(torch.from_numpy((features[number] - mean_D) / deviation_D)).numpy() for number in scored]
