"""A run's corpus: prepared once for every run that has the same settings, with a record for results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mlsuperb.data.checks import FILTERED_SPLITS
from mlsuperb.data.corpora.base import Corpus
from mlsuperb.data.manifest import split_hash
from mlsuperb.data.phones.source import GivenPhones
from mlsuperb.data.prepared import Prepared, prepare
from mlsuperb.runs.identity import signature
from mlsuperb.runtime import ranks

log = logging.getLogger(__name__)


def manifest_folder(config: Mapping[str, Any]) -> Path:
    """Where the prepared corpus of a configuration is kept, for every run that uses it."""
    return Path(config["manifests"]) / f"{config['data']['name']}-{signature({'data': config['data']})}"


def prepared_corpus(corpus: Corpus, config: Mapping[str, Any]) -> tuple[Prepared, dict[str, Any]]:
    """A configuration's corpus, and its record for the result."""
    prepared = ranks.main_first(lambda: prepare(corpus, folder=manifest_folder(config)))
    splits = {
        str(split): {
            "sha256": split_hash(rows),
            "num_utterances": len(rows),
            "duration_s": round(float(rows["duration_s"].sum()), 2),
        }
        for split, rows in prepared.manifest.groupby("split", sort=True)
    }
    for asked, (other, why) in corpus.stand_ins().items():
        log.warning("%s stands in for %s: %s", other, asked, why)
    record = {
        "name": config["data"]["name"],
        "synthetic": corpus.synthetic,
        "release": corpus.release(),
        "stand_ins": {asked: other for asked, (other, _) in corpus.stand_ins().items()},
        "splits": splits,
        "languages": {str(split): sorted(set(rows["language"])) for split, rows in prepared.manifest.groupby("split")},
        "datasets": {str(split): _datasets(rows) for split, rows in prepared.manifest.groupby("split")},
        "skipped": prepared.skipped,
    }
    return prepared, record


def same_training_data(corpus: Corpus) -> Callable[[Mapping[str, Any], Mapping[str, Any]], bool]:
    """A comparison of two records of splits, for `Run.pin`, that leaves out the splits on which nothing is trained or chosen: a
    run may end on another test set than it began with, as when a file cannot be read any more. A warning names what changed."""
    tested = [split for split in corpus.evaluation_splits() if split not in FILTERED_SPLITS]

    def same(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
        for split in tested:
            if earlier.get(split) != now.get(split):
                log.warning("split %s changed since this run was started; its result is of what there is now", split)
        first, second = ({key: value for key, value in one.items() if key not in tested} for one in (earlier, now))
        return first == second

    return same


def test_rows(corpus: Corpus, manifest: pd.DataFrame, *, record: Mapping[str, Any]) -> pd.DataFrame:
    """The rows that results are made of.

    Args:
        manifest, record: of the corpus (`prepared_corpus`).

    Raises:
        ValueError: there is none.
    """
    splits = corpus.evaluation_splits()
    rows = manifest[manifest["split"].isin(splits)]
    if rows.empty:
        raise ValueError(
            nothing_left(corpus, record, what=f"utterance to test on ({' or '.join(splits)})", splits=splits)
        )
    return rows


def nothing_left(corpus: Corpus, record: Mapping[str, Any], *, what: str, splits: Sequence[str]) -> str:
    """That a corpus has nothing of some splits, for what reasons that was skipped, and which settings to look at."""
    lost = {
        reason: number
        for reason, entry in record["skipped"].items()
        if not entry.get("kept") and (number := sum(entry["splits"].get(split, 0) for split in splits))
    }
    skipped = f" (skipped: {'; '.join(f'{number:,} x {reason}' for reason, number in lost.items())})" if lost else ""
    given = [f"data.phones.path={corpus.phones.path}"] if isinstance(corpus.phones, GivenPhones) else []
    settings = ", ".join(["data.languages", "data.datasets", *given])
    return (
        f"data={record['name']} has no {what} after filtering{skipped}; look at {settings} and `mlsuperb data describe "
        f"data=...`{corpus.split_remedy}"
    )


def _datasets(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The datasets of a split: how much there is of each, in which languages."""
    return {
        str(dataset): {
            "num_utterances": len(part),
            "duration_s": round(float(part["duration_s"].sum()), 2),
            "languages": sorted(set(part["language"])),
        }
        for dataset, part in rows.groupby("dataset", sort=True, observed=True)
    }
