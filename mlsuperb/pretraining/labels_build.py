"""The steps of labelling: speech and features, a codebook, the labels of each shard.

Features are computed twice, for the sample and for the labels, and never stored: at 90,000 hours they would be 50 TB.
Letters: F frames, D feature size.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from mlsuperb.config.build import instantiate
from mlsuperb.pretraining.features import LayerFeatures
from mlsuperb.pretraining.labelling import LabelSettings
from mlsuperb.runs import store
from mlsuperb.runs.corpus import prepared_corpus
from mlsuperb.runs.run import Run
from mlsuperb.runtime import ranks
from mlsuperb.runtime.speed import Speed
from mlsuperb.units.clustering import Clustering
from mlsuperb.units.codebook import CODEBOOK_FILE, Codebook
from mlsuperb.units.labels import LABELS, TOLERANCE_S, About, LabelFolder
from mlsuperb.units.sample import BYTES_PER_NUMBER, sample
from mlsuperb.upstreams.base import NEWER, same_record

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SpeechToLabel:
    """The rows to label and the features that are clustered; for the result, what these and the corpus are, and the runs that
    the codebook and the upstream are from."""

    manifest: pd.DataFrame
    features: LayerFeatures
    features_record: dict[str, Any]
    data_record: dict[str, Any]
    inputs: dict[str, Any]


def build_speech(config: Mapping[str, Any], *, run: Run) -> SpeechToLabel:
    """Prepare the corpus and the upstream; both are pinned to the run.

    Raises:
        ValueError: a split has no utterances, the upstream no such layer, or a run that is used has not finished.
    """
    settings: LabelSettings = instantiate(config["labelling"])
    inputs = store.as_inputs({"codebook": settings.run, "upstream": config["upstream"].get("run")})
    corpus = instantiate(config["data"])
    prepared, record = prepared_corpus(corpus, config)
    features = instantiate(config["extraction"]).of(instantiate(config["upstream"]), resample=corpus.resample)
    features_record = features.record(config["upstream"])
    run.pin("data", record["splits"])
    run.pin("features", features_record, same=_same_features)
    chosen = chosen_rows(prepared.manifest, settings.splits, name=config["data"]["name"])
    return SpeechToLabel(
        manifest=chosen, features=features, features_record=features_record, data_record=record, inputs=inputs
    )


def chosen_rows(manifest: pd.DataFrame, splits: Sequence[str], *, name: str) -> pd.DataFrame:
    """The rows of some splits, in the order of the manifest.

    Raises:
        ValueError: one of them has none.
    """
    for split in splits:
        if not (manifest["split"] == split).any():
            raise ValueError(
                f"data={name} has no {split} utterance to label after filtering (labelling.splits={list(splits)}). Look at "
                "data.* filters and `mlsuperb data describe data=...`; +data/preparation=mhubert_147 sets dev utterances apart"
            )
    return manifest[manifest["split"].isin(list(splits))].reset_index(drop=True)


def find_codebook(config: Mapping[str, Any], speech: SpeechToLabel, *, folder: Path) -> Codebook:
    """The codebook of this run: as an earlier start left it, that of another run, or a new one; saved in `folder`.

    Raises:
        ValueError: it is for other features, or the sample is too small for it.
    """

    def find() -> Codebook:
        if (folder / CODEBOOK_FILE).is_file():
            return Codebook.load(folder)
        other = config["labelling"].get("run")
        codebook = fit(config, speech) if other is None else of_another_run(Path(other), speech)
        folder.mkdir(parents=True, exist_ok=True)
        codebook.save(folder)
        return codebook

    return ranks.main_first(find)


def of_another_run(run: Path, speech: SpeechToLabel) -> Codebook:
    """The codebook of a run.

    Raises:
        ValueError: it is for other features than these.
    """
    codebook, here, rate_hz = Codebook.load(run / LABELS), speech.features_record, speech.features.rate_hz
    there = codebook.record.get("features", {})
    weights = "the same" if _weights(there, here) == _weights(here, there) else "other"
    fits = (codebook.feature_size, codebook.rate_hz, there.get("layer")) == (here["size"], rate_hz, here["layer"])
    if not fits or weights == "other":
        raise ValueError(
            f"labelling.run={run} has a codebook for {codebook.described()}, features of size {codebook.feature_size}; these are "
            f"{here['name']}, layer {here['layer']}, {rate_hz:g} Hz, of size {here['size']}, of {weights} weights. A codebook is "
            "for one layer and the very weights that it was fitted on: any speech is allowed, and another path to them, but "
            "no model that was adapted or trained further. Choose its upstream and layer, or fit a new one: labelling.run=null"
        )
    return codebook


def _same_features(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return same_record(then["upstream"], now["upstream"]) and {**then, "upstream": 0} == {**now, "upstream": 0}


def _weights(features: Mapping[str, Any], other: Mapping[str, Any]) -> Any:
    """What tells the weights that features are of from others, of a record of them, as far as an `other` record says it, too; the
    upstream's name where it has none."""
    loaded = features.get("upstream", {})
    names = ["weights", "seed", "num_parameters", "commit", "sha256", "adapter", "do_normalize", "conventions"]
    names += [name for name in NEWER if name in other.get("upstream", {})]
    return {name: loaded[name] for name in names if loaded.get(name) is not None} or features.get("name")


def fit(config: Mapping[str, Any], speech: SpeechToLabel) -> Codebook:
    """A new codebook, fitted on a sample of the training utterances."""
    settings: LabelSettings = instantiate(config["labelling"])
    clustering: Clustering = instantiate(config["clustering"])
    features, manifest = speech.features, speech.manifest
    train = manifest[manifest["split"] == "train"].reset_index(drop=True)
    wanted_gb = settings.frames_per_unit * clustering.num_units * features.size * BYTES_PER_NUMBER / 2**30
    drawn = sample(
        train["duration_s"].to_numpy(), languages=train["language"].to_numpy(), datasets=train["dataset"].to_numpy(),
        law=settings.sampling, budget_gb=min(settings.sample_gb, wanted_gb), feature_size=features.size,
        rate_hz=features.rate_hz, seed=config["seed"],
    )  # fmt: skip
    rows, copies = np.unique(drawn, return_counts=True)
    sampled = train.iloc[rows].reset_index(drop=True)
    log.info("clustering: %d of %d utterances, %.2f h", len(rows), len(train), sampled["duration_s"].sum() / 3600)
    stacked_FD = stacked(features, sampled, copies)
    return clustering.fit(
        stacked_FD, rate_hz=features.rate_hz, seed=config["seed"],
        record={
            "features": speech.features_record,
            "sample": {"utterances": len(drawn), "frames": len(stacked_FD)},
        },
    )  # fmt: skip


def stacked(features: LayerFeatures, rows: pd.DataFrame, copies_N: np.ndarray) -> np.ndarray:
    """The features (F, D) of some rows one behind the other, each as often as `copies_N` says. They are in memory once: each
    utterance is written to a place that is long enough, and moved to the end of the one before when all are there.

    Raises:
        ValueError: an utterance has more frames than its duration gives.
    """
    most_N = np.ceil((rows["duration_s"].to_numpy() + TOLERANCE_S) * features.rate_hz).astype(np.int64)
    starts_N = np.cumsum(most_N * copies_N) - most_N * copies_N
    stacked_FD = np.empty((int(most_N @ copies_N), features.size), np.float32)  # takes memory as it is written
    frames_N = np.zeros(len(rows), np.int64)
    encoded = tqdm(features.of_rows(rows), total=len(rows), desc="sample", unit="utt", dynamic_ncols=True)
    for row, features_FD in encoded:
        if len(features_FD) > most_N[row]:
            raise ValueError(
                f"{rows['id'][row]} has {len(features_FD)} frames at {features.rate_hz:g} Hz for {rows['duration_s'][row]:.2f} s "
                "of audio. The audio has changed since its manifest was made: remove the manifest, and start again"
            )
        frames_N[row] = len(features_FD) * copies_N[row]
        place_FD = stacked_FD[starts_N[row] : starts_N[row] + frames_N[row]]
        place_FD.reshape(copies_N[row], len(features_FD), features.size)[:] = features_FD.cpu().numpy()
    end = 0
    for start, num in zip(starts_N.tolist(), frames_N.tolist(), strict=True):
        stacked_FD[end : end + num] = stacked_FD[start : start + num]
        end += num
    return stacked_FD[:end]


def write_labels(config: Mapping[str, Any], speech: SpeechToLabel, codebook: Codebook, *, run: Run) -> Speed:
    """Write the shards that are missing, each process its own; returns how fast they were made.

    Raises:
        ValueError: audio cannot be read, or features are not finite.
    """
    about = About(
        codebook=codebook.sha256, rate_hz=codebook.rate_hz, num_units=codebook.num_units, num_rows=len(speech.manifest),
        rows_per_shard=config["labelling"]["rows_per_shard"],
    )  # fmt: skip
    folder = LabelFolder(run.folder / LABELS, about)
    ranks.main_first(lambda: folder.begin(speech.manifest))
    num_shards = folder.about.num_shards
    missing, codebook, speed = ranks.from_main(folder.missing), codebook.to(speech.features.device), Speed(skip=0)
    mine = missing[ranks.rank() :: ranks.world()]
    for number, shard in enumerate(tqdm(mine, desc="label", unit="shard", disable=not ranks.is_main()), 1):
        rows = folder.rows(shard)
        part = speech.manifest.iloc[rows.start : rows.stop].reset_index(drop=True)
        labels = {row: codebook.assign(one).cpu().numpy() for row, one in speech.features.of_rows(part)}
        folder.write(shard, [labels[row] for row in range(len(part))])
        speed.add(audio_s=float(part["duration_s"].sum()))
        made = min(number * ranks.world(), len(missing))  # by all processes, about
        run.status(shards_done=num_shards - len(missing) + made, num_shards=num_shards)
    speed.over(ranks.gather(speed))
    ranks.wait()
    return speed
