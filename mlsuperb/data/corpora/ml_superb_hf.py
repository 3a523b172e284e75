"""ML-SUPERB 2.0 as the 2025 challenge distributes it: Parquet files with the audio inside (`espnet/ml_superb_hf`).

<root>/data/train-00000-of-*.parquet, dev-*.parquet, dev_dialect-*.parquet
columns: id, language, text (`[iso] words ...`), audio = struct{bytes, path}

Audio is written out once, one file per utterance, so that it can be read in any order.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from mlsuperb.data.corpora.base import TO_THE_END_S, Corpus, folder_problems
from mlsuperb.data.corpora.embedded import Row, path_of, rows_with_audio
from mlsuperb.data.corpora.ml_superb_release import dataset_of
from mlsuperb.data.skips import SkipReport
from mlsuperb.types import Utterance

Labels = Literal["raw", "cleaned"]

HF_SPLITS = ("train", "dev", "dev_dialect")
# Rows of the known revision: sums of a public count by language (train, dev); models' cards (dev, dev_dialect)
PUBLISHED_ROWS = {"train": 122_890, "dev": 23_892, "dev_dialect": 7_095}
UNNAMED_DATASET = "ml_superb_hf"  # of an id that does not begin with a dataset's name
# `raw`: ESPnet egs2/ml_superb2 local/download.py before PR #6449 (50779074), what the challenge baseline was trained on.
# `cleaned`: the same file since that PR (2026-08-26); read as local/download_refined.py of the PR's branch (1bb1ce24).
RENAMED: dict[Labels, dict[str, str]] = {
    "raw": {"org_jpn": "jpn"},
    "cleaned": {"org_jpn": "jpn", "lga": "lug", "ory": "ori", "arb": "ara"},
}
DROPPED: dict[Labels, frozenset[str]] = {"raw": frozenset(), "cleaned": frozenset({"nno", "nob", "nor"})}
MS_SPEECH_LANGUAGES = ("tam", "tel", "guj")  # these dialect rows are labelled hin, and their ids tell better
DROPPED_LABEL = "label that labels=cleaned drops (nno, nob, nor)"

_LANGUAGE_TOKEN = re.compile(r"^\s*\[[^\]]*\]\s*")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(kw_only=True)
class MLSuperbHF(Corpus):
    """Reader of the challenge data. Splits are `train`, `dev` and `dev_dialect`: the test set is not public.

    Args:
        root: local folder with the Parquet files; null downloads them from `repo_id`.
        repo_id: dataset on the Hugging Face Hub.
        revision: its commit, all 40 digits: a branch could change under a finished run.
        labels: `cleaned` merges doubled language labels and drops the Norwegian ones, as the recipe does since 2026;
            `raw` is the challenge baseline's (only org_jpn and the mislabelled dialect rows are mended).
        test_from: `dev` evaluates on dev and dev_dialect, the challenge's public evaluation. dev is then both what
            checkpoints are chosen on and what is scored, and results call it dev. `none` keeps dev to itself and
            evaluates on dev_dialect alone.
        audio_folder: where the audio files are written (about 16 GB for the whole set).
    """

    root: str | None = None
    repo_id: str = "espnet/ml_superb_hf"
    revision: str = "5a0634ecdbffdc99d8b55eb2b2486f3deb89691c"
    labels: Labels = "cleaned"
    test_from: Literal["dev", "none"] = "dev"
    audio_folder: str = "data/ml_superb_hf/audio"

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        found = super().problems(**settings)
        if settings.get("root") is not None:
            remedy = "Give the folder that holds the Parquet files, or data.root=null to download them."
            return found + folder_problems(settings["root"], setting="data.root", remedy=remedy)
        if not _COMMIT.fullmatch(str(settings.get("revision", cls.revision))):
            found.append(
                f"data.revision={settings['revision']}: a commit of 40 hexadecimal digits is needed, because a branch "
                f"or a tag can change under a finished run. The known one is {cls.revision}."
            )
        return found

    def release(self) -> dict[str, Any] | None:
        """The challenge's data: whole if the download is of the known commit, or local files have as many rows."""
        flaws = [f"other data than published: {', '.join(changes)}"] if (changes := self._changes()) else []
        if self.root is not None:
            rows = {
                split: sum(pq.read_metadata(path).num_rows for path in _shards(Path(self.root), split))
                for split in HF_SPLITS
            }
            if rows != PUBLISHED_ROWS:
                flaws.append(f"rows {rows}, published {PUBLISHED_ROWS}")
        elif self.revision != type(self).revision:
            flaws.append(f"commit {self.revision}, known is {type(self).revision}")
        asked = f"{self.labels} labels{self._restrictions()}, test_from={self.test_from}"
        why = f"{asked}: {'; '.join(flaws)}" if flaws else f"{asked}, every row"
        revision = self.revision if self.root is None else None
        return {"name": "challenge", "whole": not flaws, "why": why, "revision": revision, "labels": self.labels}

    def evaluation_splits(self) -> tuple[str, ...]:
        return ("dev", "dev_dialect") if self.test_from == "dev" else ("dev_dialect",)

    def sources(self) -> list[Path]:
        """The Parquet files (a download is pinned by its commit) and the folders of written audio."""
        shards = [path for split in HF_SPLITS for path in _shards(Path(self.root), split)] if self.root else []
        return [*shards, *(Path(self.audio_folder) / split for split in HF_SPLITS)]

    def rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        root = Path(self.root) if self.root else self._download()
        shards = [(split, path) for split in HF_SPLITS for path in _shards(root, split)]
        if {split for split, _ in shards} != set(HF_SPLITS):
            raise ValueError(
                f"{root} should hold train-*.parquet, dev-*.parquet and dev_dialect-*.parquet, in it or in its folder "
                f"data/; found are {len(shards)} such files. Download the dataset again (data/README.md)."
            )
        for split, shard in shards:
            folder = Path(os.path.abspath(self.audio_folder)) / split
            texts = ("id", "language", "text")
            for number, row, audio in rows_with_audio(shard, folder, texts=texts, name=_audio_name, named_by=("id",)):
                if row["language"] is None:
                    raise ValueError(f"{shard}, row {number}: {row['id']!r} has no language. Take the row out.")
                language = mend_label(row["language"], split=split, utterance_id=row["id"], labels=self.labels)
                if language is None:
                    skipped.add(DROPPED_LABEL, row["id"], split=split)
                    continue
                yield Utterance(
                    id=row["id"],
                    audio=audio,
                    start_s=0.0,
                    duration_s=TO_THE_END_S,
                    text=_LANGUAGE_TOKEN.sub("", row["text"] or "").strip(),
                    language=language,
                    dataset=dataset_of(row["id"]) or UNNAMED_DATASET,
                    split=split,
                )

    def _download(self) -> Path:
        from huggingface_hub import snapshot_download

        folder = snapshot_download(
            self.repo_id, repo_type="dataset", revision=self.revision, allow_patterns=["*.parquet"]
        )
        return Path(folder)


def mend_label(label: str, *, split: str, utterance_id: str, labels: Labels) -> str | None:
    """The language of a row; None where the row is dropped."""
    fields = utterance_id.split("_")
    if split == "dev_dialect" and utterance_id.startswith("ms_speech_") and fields[2] in MS_SPEECH_LANGUAGES:
        return fields[2]
    label = label.strip().strip("[]")
    if split != "dev_dialect" and label in DROPPED[labels]:
        return None
    return RENAMED[labels].get(label, label)


def _audio_name(_: int, row: Row) -> str:
    """File name of an utterance's audio.

    Raises:
        ValueError: there is no id, or it would lead out of its folder.
    """
    if not row["id"] or Path(row["id"]).name != row["id"]:
        raise ValueError(f"utterance id {row['id']!r} cannot be a file name. The Parquet file is not ML-SUPERB's.")
    return f"{row['id']}{Path(path_of(row) or '').suffix or '.wav'}"


def _shards(root: Path, split: str) -> list[Path]:
    return sorted([*root.glob(f"{split}-*.parquet"), *root.glob(f"data/{split}-*.parquet")])
