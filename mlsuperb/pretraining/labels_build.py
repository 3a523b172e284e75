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
from mlsuperb.runs.corpus import prepared_corpus
from mlsuperb.runs.run import Run
from mlsuperb.runtime import ranks
from mlsuperb.runtime.speed import Speed
from mlsuperb.units.clustering import Clustering
from mlsuperb.units.codebook import CODEBOOK_FILE, Codebook
from mlsuperb.units.labels import LABELS, About, LabelFolder
from mlsuperb.units.sample import BYTES_PER_NUMBER, sample

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SpeechToLabel:
    """The rows to label, the features that are clustered, and the corpus for the result."""

    manifest: pd.DataFrame
    features: LayerFeatures
    record: dict[str, Any]


def build_speech(config: Mapping[str, Any], *, run: Run) -> SpeechToLabel:
    """Prepare the corpus and the upstream; both are pinned to the run.

    Raises:
        ValueError: a split has no utterances, or the upstream no such layer.
    """
    settings: LabelSettings = instantiate(config["labelling"])
    corpus = instantiate(config["data"])
    manifest, record = prepared_corpus(corpus, config)
    features = instantiate(config["extraction"]).of(instantiate(config["upstream"]), resample=corpus.resample)
    run.pin("data", record["splits"])
    run.pin("features", features.record(config["upstream"]))
    chosen = chosen_rows(manifest, settings.splits, name=config["data"]["name"])
    return SpeechToLabel(manifest=chosen, features=features, record=record)


def chosen_rows(manifest: pd.DataFrame, splits: Sequence[str], *, name: str) -> pd.DataFrame:
    """The rows of some splits, in the order of the manifest.

    Raises:
        ValueError: one of them has none.
    """
    for split in splits:
        if not (manifest["split"] == split).any():
            raise ValueError(
                f"data={name} has no {split} utterance to label after filtering (labelling.splits={list(splits)}). Look at "
                "data.* filters and `mlsuperb data describe data=...`, or leave the split out"
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
        codebook = fit(config, speech) if other is None else of_another_run(Path(other), speech.features)
        folder.mkdir(parents=True, exist_ok=True)
        codebook.save(folder)
        return codebook

    return ranks.main_first(find)


def of_another_run(run: Path, features: LayerFeatures) -> Codebook:
    """The codebook of a run.

    Raises:
        ValueError: it is for other features than these.
    """
    codebook = Codebook.load(run / LABELS)
    if (codebook.feature_size, codebook.rate_hz) != (features.size, features.rate_hz):
        raise ValueError(
            f"labelling.run={run} has a codebook for {codebook.described()}, features of size {codebook.feature_size}; "
            f"these have size {features.size} and {features.rate_hz:g} Hz. Choose its upstream and layer, or fit a new codebook"
        )
    return codebook


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
    encoded = tqdm(features.of_rows(sampled), total=len(rows), desc="sample", unit="utt", dynamic_ncols=True)
    found = {row: features_FD.cpu().numpy() for row, features_FD in encoded}
    stacked_FD = np.concatenate([found[row] for row, number in enumerate(copies) for _ in range(number)])
    return clustering.fit(
        stacked_FD, rate_hz=features.rate_hz, seed=config["seed"],
        record={
            "features": features.record(config["upstream"]),
            "sample": {"utterances": len(drawn), "frames": len(stacked_FD)},
        },
    )  # fmt: skip


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
    missing, codebook, speed = ranks.from_main(folder.missing), codebook.to(speech.features.device), Speed(skip=0)
    mine = missing[ranks.rank() :: ranks.world()]
    for number, shard in enumerate(tqdm(mine, desc="label", unit="shard", disable=not ranks.is_main()), 1):
        rows = folder.rows(shard)
        part = speech.manifest.iloc[rows.start : rows.stop].reset_index(drop=True)
        labels = {row: codebook.assign(one).cpu().numpy() for row, one in speech.features.of_rows(part)}
        folder.write(shard, [labels[row] for row in range(len(part))])
        speed.add(audio_s=float(part["duration_s"].sum()))
        run.status(shards_done=about.num_shards - len(missing) + number * ranks.world(), num_shards=about.num_shards)
    speed.over(ranks.gather(speed))
    ranks.wait()
    return speed
