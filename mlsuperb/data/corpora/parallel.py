"""Parallel text: sentences and their translations, in tables or in two files with one sentence per line in each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pandas as pd
from pydantic import Field, PositiveInt

from mlsuperb.data.checks import FILTERED_SPLITS, refuse_duplicates, refuse_unknown_languages, some
from mlsuperb.data.corpora.base import Codes, Reader, Usable
from mlsuperb.data.corpora.table_columns import chosen_columns, table_problems, to_numbers
from mlsuperb.data.languages import extra_problems, language_problems, nearest
from mlsuperb.data.skips import SkipReport
from mlsuperb.runtime.lines import read_lines
from mlsuperb.types import TextPair

KNOWN = ("id", "source", "target", "source_language", "target_language", "dataset", "quality")
SIDES = ("source", "target")

EMPTY = "empty source or target"
ONE_LANGUAGE = "source and target in the same language"
TOO_LONG = "longer than max_letters"
UNLIKE = "lengths that differ by more than max_length_ratio"
POOR = "quality below min_quality"
OTHER_QUALITY = "quality not among keep_quality"
REPEATED = "pair that occurs before"
SWAPPED = "pair that occurs before with source and target swapped"


@dataclass(kw_only=True)
class TextCorpus(Reader):
    """A reader of parallel text and what to take from it. Test pairs are never filtered by length, quality or repetition.

    Args:
        dataset: the dataset of all pairs.
        source_language: the language of all sources; likewise `target_language`.
        max_letters: train and dev pairs of which a side has more characters are dropped.
        max_length_ratio: train and dev pairs are dropped of which a side has more than this times as many characters as the
            other (9 is the default of Moses' `clean-corpus-n.perl`, which counts tokens).
        min_quality: train and dev pairs whose `quality` is below this are dropped; null keeps all.
        extra_languages: codes outside ISO 639-3 to allow.
    """

    record: ClassVar = TextPair
    group: ClassVar = "text"

    dataset: str | None = "text"
    source_language: str | None = None
    target_language: str | None = None
    max_letters: PositiveInt = 1000
    max_length_ratio: Annotated[float, Field(ge=1)] = 9.0
    min_quality: float | None = None
    extra_languages: Codes = field(default_factory=list)

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        extra, languages = settings.get("extra_languages") or (), [settings.get(f"{side}_language") for side in SIDES]
        found = extra_problems(extra, group=cls.group)
        for side, code in zip(SIDES, languages, strict=True):
            if code is not None:
                setting = f"text.{side}_language"
                found += language_problems([code], setting=setting, extra=extra, group=cls.group)
        if languages[0] is not None and languages[0] == languages[1]:
            found.append(
                f"text.source_language and text.target_language are both {languages[0]!r}. Give two languages."
            )
        return found

    def usable(self, frame: pd.DataFrame, skipped: SkipReport, *, known: pd.DataFrame) -> Usable:
        if frame.empty:
            raise ValueError(
                f"{' and '.join(map(str, self.sources()))}: no pair of sentences. Give files that have some."
            )
        for side in SIDES:
            refuse_unknown_languages(frame, f"{side}_language", extra=self.extra_languages, group=self.group)
        refuse_duplicates(frame, place=("dataset", "source_language", "target_language"), remedy="")
        frame = skipped.drop(frame, (frame["source"] == "") | (frame["target"] == ""), EMPTY)
        frame = skipped.drop(frame, frame["source_language"] == frame["target_language"], ONE_LANGUAGE)
        lengths = pd.concat([frame[side].str.len() for side in SIDES], axis=1)
        longer, shorter = lengths.max(axis=1), lengths.min(axis=1)
        faults = {TOO_LONG: longer > self.max_letters, UNLIKE: longer > self.max_length_ratio * shorter}
        if self.min_quality is not None:
            faults[POOR] = frame["quality"] < self.min_quality
        for reason, fault in (faults | _repetitions(frame)).items():
            frame = skipped.drop(frame, (fault & frame["split"].isin(FILTERED_SPLITS))[frame.index], reason)
        if frame.empty:
            raise ValueError(
                f"nothing can be used of this corpus. Of what it has: {skipped}. Correct the text.* settings."
            )
        return Usable(frame.reset_index(drop=True))


def _repetitions(frame: pd.DataFrame) -> dict[str, pd.Series]:
    """Pairs of a split that occur before, whatever the spaces in them: as they are, and the other way round (which means that
    somewhere sources and targets were swapped)."""
    source, target = (frame[side].str.split().str.join(" ") for side in SIDES)
    place = frame[["split", "source_language", "target_language"]]
    again = place.assign(one=source, other=target).duplicated()
    swapped = source > target
    either_way = place.assign(one=source.mask(swapped, target), other=target.mask(swapped, source)).duplicated()
    return {REPEATED: again, SWAPPED: either_way & ~again}


@dataclass(kw_only=True)
class PairTable(TextCorpus):
    """Reader of one table per split (TSV, CSV, JSON lines or Parquet) with one row per pair.

    Args:
        train: file of the training split. Null: there is none; likewise `dev` and `test`.
        dev: file of the validation split.
        test: file of the test split.
        columns: manifest column -> the file's column, for those that differ. Columns are id, source, target,
            source_language, target_language, dataset and quality; needed are source and target, and the languages and the
            dataset where no setting gives them. Rows without an id are numbered.
        keep_quality: the column `quality` holds labels, such as who translated a pair, and training pairs with others than these
            are dropped (`+text.keep_quality=[human]`). Dev and test keep all, so that trainings on different labels are
            compared on the same pairs. The manifest's quality is 1 with such a label, otherwise 0.
    """

    train: str | None
    dev: str | None
    test: str | None
    columns: dict[str, str] = field(default_factory=dict)
    keep_quality: list[str] | None = None

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        found = super().problems(**settings) + table_problems(settings, known=KNOWN, group=cls.group)
        if settings.get("keep_quality") is not None and settings.get("min_quality") is not None:
            found.append(
                "text.keep_quality reads labels, and text.min_quality reads numbers in the same column. Give one of them."
            )
        return found

    def sources(self) -> list[Path]:
        return [path for _, path in self._split_paths()]

    def rows(self, skipped: SkipReport) -> Iterator[TextPair]:
        constants = {name: getattr(self, name) for name in ("source_language", "target_language", "dataset")}
        for split, path in self._split_paths():
            by_quality = self.min_quality is not None or (self.keep_quality is not None and split == "train")
            needed = (*SIDES, *constants, *(("quality",) if by_quality else ()))
            table = chosen_columns(
                path, known=KNOWN, needed=needed, columns=self.columns, constants=constants, group=self.group
            )
            if self.keep_quality is None:
                table["quality"] = to_numbers(path, table, "quality", empty=0.0)
            else:
                table["quality"] = self._kept(path, table["quality"].str.strip(), split=split).astype(float)
            for side in SIDES:
                table[side] = table[side].str.strip()
            for row in table.itertuples(index=False, name=None):
                yield TextPair(**dict(zip(KNOWN, row, strict=True)), split=split)

    def usable(self, frame: pd.DataFrame, skipped: SkipReport, *, known: pd.DataFrame) -> Usable:
        if self.keep_quality is not None:
            frame = skipped.drop(frame, (frame["quality"] == 0) & (frame["split"] == "train"), OTHER_QUALITY)
        return super().usable(frame, skipped, known=known)

    def _kept(self, path: Path, labels: pd.Series, *, split: str) -> pd.Series:
        """Whether each label is to be kept.

        Raises:
            ValueError: none of the training pairs is.
        """
        kept = labels.isin(self.keep_quality or [])
        if split == "train" and not kept.any():
            raise ValueError(
                f"text.keep_quality={self.keep_quality}: no pair of {path} has such a label; there are "
                f"{some(sorted(set(labels) - {''}))}. Correct the setting, or map another column: text.columns.quality=ITS_NAME"
            )
        return kept


@dataclass(kw_only=True)
class TwoFiles(TextCorpus):
    """Reader of two files per split, as OPUS and WMT distribute them: line n of one is the translation of line n of the
    other.

    Args:
        train: [source file, target file] of the training split. Null: there are none; likewise `dev` and `test`.
        dev: files of the validation split.
        test: files of the test split.
    """

    train: list[str] | None
    dev: list[str] | None
    test: list[str] | None
    source_language: str
    target_language: str
    dataset: str = "text"

    @classmethod
    def problems(cls, **settings: Any) -> list[str]:
        found = super().problems(**settings)
        given = {split: paths for split in ("train", "dev", "test") if (paths := settings.get(split)) is not None}
        if not given:
            found.append("text.train, text.dev and text.test are all null. Give the files of at least one split.")
        for split, paths in given.items():
            setting = f"text.{split}={paths}"
            if len(paths) != 2:
                found.append(f"{setting}: these are {len(paths)} files. Give two, [source file, target file].")
            elif absent := [path for path in paths if not Path(path).is_file()]:
                found.append(f"{setting}: there is no {' and no '.join(absent)}. Correct the path, or give null.")
            elif [nearest(Path(path).suffix[1:]) for path in paths] == [
                settings.get("target_language"), settings.get("source_language")
            ]:  # fmt: skip
                found.append(
                    f"{setting}: by their names, the first file holds the target language and the second the source "
                    "language. Swap them, or rename the files."
                )
        for side in SIDES:
            if settings.get(f"{side}_language") is None:
                found.append(f"text.{side}_language is null. Give the language of all {side} lines, such as 'deu'.")
        if settings.get("min_quality") is not None:
            found.append("text.min_quality is set, but plain files hold no quality. Leave it at null.")
        return found

    def sources(self) -> list[Path]:
        return [Path(path) for paths in (self.train, self.dev, self.test) for path in paths or ()]

    def rows(self, skipped: SkipReport) -> Iterator[TextPair]:
        for split, paths in (("train", self.train), ("dev", self.dev), ("test", self.test)):
            if paths is None:
                continue
            sources, targets = ([text for _, text in read_lines(Path(path), newline="\n")] for path in paths)
            if len(sources) != len(targets):
                raise ValueError(
                    f"{paths[0]} has {len(sources):,} lines and {paths[1]} has {len(targets):,}: they do not belong together, "
                    "or one is cut short. Get the pair of files again."
                )
            for number, (source, target) in enumerate(zip(sources, targets, strict=True), 1):
                yield TextPair(
                    id=f"{self.dataset}_{number:08d}",
                    source=source,
                    target=target,
                    source_language=self.source_language,
                    target_language=self.target_language,
                    dataset=self.dataset,
                    split=split,
                )
