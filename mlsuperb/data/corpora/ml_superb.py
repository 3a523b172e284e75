"""ML-SUPERB 1.0 and 2.0 as their archives unpack (7th and 8th version), and any tree of the same form:

<root>/<dataset>/<language>/wav/<utterance id>.wav
<root>/<dataset>/<language>/transcript_10min_train.txt     utterance id, a field that nobody reads, text
<root>/<dataset>/<language>/transcript_1h_train.txt
<root>/<dataset>/<language>/transcript_10min_dev.txt       there is no 1h dev or test: both sizes share these
<root>/<dataset>/<language>/transcript_10min_test.txt
<root>/<dataset>/<language>/utt2spk                        not in the archives; names the speakers where it is there
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlsuperb.data.corpora.base import TO_THE_END_S, Corpus, folder_problems
from mlsuperb.data.corpora.ml_superb_release import (
    TRANSCRIPTS,
    audio_files,
    check_release,
    few_shot_ids,
    mono_settings,
    pair_folders,
    published_pairs,
)
from mlsuperb.data.skips import SkipReport
from mlsuperb.runtime.lines import read_lines, read_pairs, unique
from mlsuperb.types import Utterance

Mono = Literal[
    "eng1", "eng2", "eng3", "fra1", "fra2", "deu1", "deu2", "rus", "swa", "swe", "jpn", "cmn", "xty"
]  # fmt: skip

SHORT_LINE = "transcript line with fewer than three fields"
MISSING_TRANSCRIPT = "missing transcript file"
STRAY = "file or folder that does not belong to the corpus"
NOT_NAMED = "few-shot: not among the named training utterances"
NAMED_BUT_ABSENT = "few-shot: named training utterance that the corpus does not have"


@dataclass(kw_only=True)
class MLSuperb(Corpus):
    """Reader of an ML-SUPERB tree; language and dataset are the names of the folders.

    Args:
        root: the folder that holds the dataset folders.
        size: which training transcripts are read. The 1h list contains the 10min list.
        few_shot: `official` leaves each of the 20 reserved languages only its five named training utterances;
            `all` trains on everything.
        train_datasets: train and dev come from these datasets only; test keeps all.
        mono: a run of the monolingual track: sets the language and the training dataset as `run_mono.sh` does, and
            tests on every dataset of the language. The few-shot selection has no part in it.
    """

    root: str
    size: Literal["10min", "1h"]
    few_shot: Literal["official", "all"] = "official"  # type: ignore[assignment]
    train_datasets: list[str] | None = None
    mono: Mono | None = None

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        found = super().problems(**settings)
        return found + mono_problems(settings) + _root_problems(settings.get("root"))

    def wants(self, language: str, dataset: str) -> bool:
        if self.mono and language != mono_settings()[self.mono][0]:
            return False
        return super().wants(language, dataset)

    def release(self) -> dict[str, Any] | None:
        """The archive that the tree is nearest to, set against it for the pairs that the settings ask for; None for other data in
        the same layout."""
        transcripts = (f"transcript_{self.size}_train.txt", "transcript_10min_dev.txt", "transcript_10min_test.txt")
        found = check_release(Path(self.root), wants=self.wants, transcripts=transcripts)
        if found.is_other_data:
            return None
        changes = self._changes()
        reserved = [pair for pair in published_pairs("7th") if pair[0] in few_shot_ids()]
        if self.few_shot == "all" and not self.mono and any(self.wants(*pair) for pair in reserved):
            changes.append("data.few_shot=all")
        flaws = [*found.flaws(), *([f"other data than published: {', '.join(changes)}"] if changes else [])]
        asked = f"{found.num_published} pairs{self._restrictions('mono', 'train_datasets')}"
        why = f"of {asked}: {'; '.join(flaws)}" if flaws else f"all {asked}, transcripts and audio"
        return {"name": found.release, "whole": not flaws, "why": why}

    def sources(self) -> list[Path]:
        """Transcripts, speaker lists and `wav` folders of the wanted pairs, and the folders where one may come."""
        root = Path(self.root)
        folders = [folder for dataset, language, folder in pair_folders(root) if self.wants(language, dataset)]
        names = (*TRANSCRIPTS, "utt2spk", "wav")
        parents = sorted({folder.parent for folder in folders})
        return [root, *parents, *(folder / name for folder in folders for name in names)]

    def rows(self, skipped: SkipReport) -> Iterator[Utterance]:
        train_datasets = self._train_datasets()
        seen: set[str] = set()
        named: dict[str, set[str]] = {}
        _count_strays(Path(self.root), skipped)
        for dataset, language, folder in pair_folders(Path(self.root)):
            seen.add(dataset)
            if not self.wants(language, dataset):
                continue
            few_shot = self._few_shot(language)
            found = named.setdefault(language, set()) if few_shot is not None else set()
            splits = ("train", "dev", "test") if train_datasets is None or dataset in train_datasets else ("test",)
            for utterance in self._pair(dataset, language, folder, splits, skipped):
                if utterance.split != "train" or few_shot is None:
                    yield utterance
                elif utterance.id in few_shot:
                    found.add(utterance.id)
                    yield utterance
                else:
                    skipped.add(NOT_NAMED, utterance.id, split="train")
        for language, found in sorted(named.items()):
            for utterance_id in sorted((self._few_shot(language) or frozenset()) - found):
                skipped.add(NAMED_BUT_ABSENT, utterance_id, split="train")
        if train_datasets and (absent := sorted(set(train_datasets) - seen)):
            raise ValueError(
                f"{self.root} has no dataset {', '.join(absent)}, which data.mono or data.train_datasets trains on. It "
                f"has {', '.join(sorted(seen))}. Get the missing part (data/README.md), or choose another."
            )

    def _train_datasets(self) -> list[str] | None:
        return [mono_settings()[self.mono][1]] if self.mono else self.train_datasets

    def _few_shot(self, language: str) -> frozenset[str] | None:
        """The training ids that a reserved language keeps; None where all are kept."""
        return None if self.mono or self.few_shot == "all" else few_shot_ids().get(language)

    def _pair(
        self, dataset: str, language: str, folder: Path, splits: tuple[str, ...], skipped: SkipReport
    ) -> Iterator[Utterance]:
        audio = audio_files(folder)
        wav = Path(os.path.abspath(folder / "wav"))
        spoken = folder / "utt2spk"
        speakers = unique(read_pairs(spoken), path=spoken) if spoken.is_file() else {}
        for split in splits:
            transcript = folder / f"transcript_{self.size if split == 'train' else '10min'}_{split}.txt"
            if not transcript.is_file():
                skipped.add(MISSING_TRANSCRIPT, f"{dataset}/{language}/{transcript.name}", split=split)
                continue
            for number, line in read_lines(transcript):
                utterance_id, _, text = [*line.split(maxsplit=2), "", "", ""][:3]
                if not text and (self.text == "required" or not utterance_id):
                    skipped.add(SHORT_LINE, utterance_id or f"{transcript}:{number}", split=split)
                    continue
                yield Utterance(
                    id=utterance_id,
                    audio=audio.get(utterance_id, str(wav / f"{utterance_id}.wav")),
                    start_s=0.0,
                    duration_s=TO_THE_END_S,
                    text=text,
                    language=language,
                    dataset=dataset,
                    split=split,
                    speaker=speakers.get(utterance_id, ""),
                )


def mono_problems(settings: Mapping[str, Any]) -> list[str]:
    """A sentence if a run of the monolingual track is chosen, and a choice beside it that it makes itself."""
    if not (settings.get("mono") and any(settings.get(name) for name in ("languages", "pairs", "train_datasets"))):
        return []
    return [
        "data.mono sets the language and the training dataset; leave data.languages, data.pairs and data.train_datasets at "
        "null, or set them instead of data.mono."
    ]


def _root_problems(root: str | None) -> list[str]:
    remedy = "data/README.md says where the archives come from; unpack one and give its folder."
    if found := folder_problems(root, setting="data.root", remedy=remedy):
        return found
    tree = Path(str(root))
    if next(tree.glob("*/*/transcript_*.txt"), None):
        return []
    deeper = next(tree.glob("*/*/*/transcript_*.txt"), None)
    hint = f"Did you mean data.root={deeper.parents[2]}?" if deeper else remedy
    return [f"data.root={root} holds no <dataset>/<language>/transcript_*.txt. {hint}"]


def _count_strays(root: Path, skipped: SkipReport) -> None:
    """Count what an archive or a file system left between the folders, such as `.DS_Store`."""
    pairs = {folder for _, _, folder in pair_folders(root)}
    datasets = {folder.parent for folder in pairs}
    for folder in (root, *sorted(datasets)):
        for path in sorted(folder.iterdir()):
            if path not in pairs and path not in datasets:
                skipped.add(STRAY, str(path.relative_to(root)))
