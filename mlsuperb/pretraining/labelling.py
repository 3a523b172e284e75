"""The job that gives every frame of a corpus a unit: take a sample, cluster it, label everything.

Features are computed twice, for the sample and for the labels, and never stored: at 90,000 hours they would be 50 TB.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from mlsuperb.data.sampling import TwoLevel
from mlsuperb.units.labels import LABELS

if TYPE_CHECKING:
    import pandas as pd

    from mlsuperb.pretraining.features import LayerFeatures
    from mlsuperb.runs.decoding import Transcriber
    from mlsuperb.runs.run import Run
    from mlsuperb.units.codebook import Codebook
    from mlsuperb.units.labels import LabelFolder

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class LabelSettings:
    """What is labelled, and with which codebook.

    Args:
        run: folder of a run whose codebook is used; None fits a new one.
        splits: of the corpus to label; a codebook is fitted on `train`.
        sampling: how much of each language and dataset the clustering sees; None: as much as the corpus has.
        sample_gb: features that are held in memory for clustering, at most.
        frames_per_unit: of these features, at most. k-means looks at 256 drawn at random; the more there are to draw from, the
            more utterances they come from.
        rows_per_shard: utterances in a file of labels: what a killed run has to compute again, at most.
    """

    not_science: ClassVar = ("rows_per_shard",)

    run: str | None = None
    splits: tuple[str, ...] = ("train", "dev")
    sampling: TwoLevel | None = None
    sample_gb: PositiveFloat = 4.0
    frames_per_unit: PositiveInt = 1024
    rows_per_shard: Annotated[PositiveInt, Field(le=10**6)] = 1000

    @classmethod
    def problems(cls, *, run: str | None, splits: Sequence[str], **_: Any) -> list[str]:
        """What can be seen from the settings and the folder of the other run."""
        found = []
        if run is not None and not (Path(run) / LABELS).is_dir():
            found.append(
                f"labelling.run={run} is not the folder of a run of job=labels: it has no {LABELS}/ with a codebook"
            )
        if run is None and "train" not in splits:
            found.append(
                f"labelling.splits={list(splits)}: a new codebook is fitted on train; add it, or give labelling.run"
            )
        return found


class Labelling:
    """See `mlsuperb.runs.job.Job`. Leaves `labels/` in the run's folder (`mlsuperb.units.labels`)."""

    groups: ClassVar = ("upstream", "extraction", "clustering", "data", "labelling")
    settings: ClassVar = ()
    runtime: ClassVar[dict[str, frozenset[str]]] = {}

    @classmethod
    def misfits(cls, config: Mapping[str, Any], groups: Sequence[str]) -> Iterator[str]:
        """A layer that the upstream will not have."""
        from mlsuperb.pretraining.misfits import layer_misfits

        return layer_misfits(config, groups)

    def __call__(self, config: Mapping[str, Any], run: Run) -> None:
        """The data flow."""
        from mlsuperb.config.build import instantiate
        from mlsuperb.pretraining.labels_result import save_result
        from mlsuperb.runs.corpus import prepared_corpus
        from mlsuperb.runtime import ranks
        from mlsuperb.units.labels import About, LabelFolder

        settings: LabelSettings = instantiate(config["labelling"])
        corpus = instantiate(config["data"])
        manifest, record = prepared_corpus(corpus, config)
        manifest = chosen_rows(manifest, settings.splits, name=config["data"]["name"])
        features = instantiate(config["extraction"]).of(instantiate(config["upstream"]))
        run.pin("data", record["splits"])
        run.pin("features", features.record(config["upstream"]))
        codebook = ranks.main_first(
            lambda: find_codebook(config, settings, manifest, features, folder=run.folder / LABELS)
        )
        about = About(
            codebook=codebook.sha256, rate_hz=codebook.rate_hz, num_units=codebook.num_units, num_rows=len(manifest),
            rows_per_shard=settings.rows_per_shard,
        )  # fmt: skip
        folder = LabelFolder(run.folder / LABELS, about)
        ranks.main_first(lambda: folder.begin(manifest))
        speed = write_labels(folder, manifest, features, codebook, resample=corpus.resample, run=run)
        save_result(config, run, record=record, codebook=codebook, speed=speed)

    def load(self, folder: Path, *, device: str) -> Transcriber:
        """Nothing: labels are no text.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"{folder} holds units, no text: it cannot be evaluated or transcribe. See mlsuperb units --help"
        )

    def show(self, folder: Path) -> None:
        """Codebook, units in use, where the labels are."""
        from mlsuperb.pretraining.labels_result import show

        show(folder)


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


def find_codebook(
    config: Mapping[str, Any], settings: LabelSettings, manifest: pd.DataFrame, features: LayerFeatures, *, folder: Path
) -> Codebook:
    """The codebook of this run: as an earlier start left it, that of another run, or a new one; saved in `folder`.

    Raises:
        ValueError: it is for other features, or the sample is too small for it.
    """
    from mlsuperb.units.codebook import CODEBOOK_FILE, Codebook

    if (folder / CODEBOOK_FILE).is_file():
        return Codebook.load(folder)
    codebook = (
        fitted(config, settings, manifest, features)
        if settings.run is None
        else Codebook.load(Path(settings.run) / LABELS)
    )
    if (codebook.feature_size, codebook.rate_hz) != (features.size, features.rate_hz):
        raise ValueError(
            f"labelling.run={settings.run} has a codebook for {codebook.described()}, features of size {codebook.feature_size}; "
            f"these have size {features.size} and {features.rate_hz:g} Hz. Choose its upstream and layer, or fit a new codebook"
        )
    folder.mkdir(parents=True, exist_ok=True)
    codebook.save(folder)
    return codebook


def fitted(
    config: Mapping[str, Any], settings: LabelSettings, manifest: pd.DataFrame, features: LayerFeatures
) -> Codebook:
    """A new codebook, fitted on a sample of the training utterances."""
    import numpy as np

    from mlsuperb.config.build import instantiate
    from mlsuperb.units.sample import BYTES_PER_NUMBER, sample

    train = manifest[manifest["split"] == "train"].reset_index(drop=True)
    clustering = instantiate(config["clustering"])
    wanted_gb = settings.frames_per_unit * clustering.num_units * features.size * BYTES_PER_NUMBER / 2**30
    drawn = sample(
        train["duration_s"].to_numpy(), languages=train["language"].to_numpy(), datasets=train["dataset"].to_numpy(),
        law=settings.sampling, budget_gb=min(settings.sample_gb, wanted_gb), feature_size=features.size, rate_hz=features.rate_hz,
        seed=config["seed"],
    )  # fmt: skip
    rows, copies = np.unique(drawn, return_counts=True)
    sampled = train.iloc[rows].reset_index(drop=True)
    log.info("clustering: %d of %d utterances, %.2f h", len(rows), len(train), sampled["duration_s"].sum() / 3600)
    found = {row: one.cpu().numpy() for row, one in shown(features.of_rows(sampled), len(rows), "sample")}
    stacked_FD = np.concatenate([found[row] for row, number in enumerate(copies) for _ in range(number)])
    record = {
        "features": features.record(config["upstream"]),
        "sample": {"utterances": len(drawn), "frames": len(stacked_FD)},
    }
    codebook: Codebook = clustering.fit(stacked_FD, rate_hz=features.rate_hz, seed=config["seed"], record=record)
    return codebook


def write_labels(
    folder: LabelFolder,
    manifest: pd.DataFrame,
    features: LayerFeatures,
    codebook: Codebook,
    *,
    resample: bool,
    run: Run,
) -> Any:
    """Write the shards that are missing, each process its own; returns how fast they were made (`Speed`)."""
    from mlsuperb.runtime import ranks
    from mlsuperb.runtime.speed import Speed

    missing, on_device, speed = ranks.from_main(folder.missing), codebook.to(features.device), Speed(skip=0)
    for shard in shown(missing[ranks.rank() :: ranks.world()], None, "label"):
        rows = folder.rows(shard)
        part = manifest.iloc[rows.start : rows.stop].reset_index(drop=True)
        labels: dict[int, Any] = {}
        for row, features_FD in features.of_rows(part, resample=resample):
            labels[row] = on_device.assign(features_FD).cpu().numpy()
        folder.write(shard, [labels[row] for row in range(len(part))])
        speed.add(audio_s=float(part["duration_s"].sum()))
        run.status(shards_done=folder.about.num_shards - len(missing) + 1, num_shards=folder.about.num_shards)
    speed.over(ranks.gather(speed))
    ranks.wait()
    return speed


def shown(items: Any, total: int | None, description: str) -> Any:
    """`items` with a progress bar."""
    from tqdm.auto import tqdm

    from mlsuperb.runtime import ranks

    return tqdm(items, total=total, desc=description, dynamic_ncols=True, disable=not ranks.is_main())
