"""A corpus, ready to use: read into a manifest, or as an earlier call stored it."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mlsuperb.data.corpora.base import Reader, Texts, Usable
from mlsuperb.data.fingerprint import fingerprint
from mlsuperb.data.looks import changed, read_looks, write_looks
from mlsuperb.data.manifest import FINGERPRINT, read_manifest, validate, write_manifest
from mlsuperb.data.phones.source import MISSING_WORDS
from mlsuperb.data.skips import SkipReport
from mlsuperb.runtime.files import write_atomic, write_json

MANIFEST, LOOKS, REPORT = "manifest.parquet", "audio.parquet", "skipped.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A corpus, ready to use: `manifest` with the columns of the corpus' record (`Utterance`, `TextPair`), what was skipped on
    the way (`SkipReport.to_dict()`), and texts of the vocabulary that are not in the manifest (`Usable.texts`)."""

    manifest: pd.DataFrame
    skipped: dict[str, dict[str, Any]]
    texts: Texts = ()


def prepare(corpus: Reader, *, folder: Path | None, look_at_audio: bool = False) -> Prepared:
    """Read a corpus into a manifest.

    With a `folder`, the outcome is stored there (`manifest.parquet`, `audio.parquet`, `skipped.json`; `missing_words.tsv` where
    a lexicon lacks words, also when this fails) and used again as long as
    the settings, the corpus' `sources()` and the sizes and times of its audio files stay as they are. Of more than `MANY_FILES`
    files, only those that could not be used are looked at again. When it is made again, only files that are new or have changed
    are decoded.

    Args:
        look_at_audio: look at however many files.

    Raises:
        ValueError: the settings or the corpus need the user's attention.
    """
    settings = {field.name: getattr(corpus, field.name) for field in fields(corpus)}
    if problems := corpus.problems(**settings):
        raise ValueError(" ".join(problems))
    if folder is not None and (stored := _stored(Path(folder), corpus, look_at_audio=look_at_audio)):
        return stored
    skipped = SkipReport()
    try:
        usable = corpus.read(skipped, known=read_looks(None if folder is None else Path(folder) / LOOKS))
    finally:
        if folder is not None:
            _list_missing_words(skipped, Path(folder) / MISSING_WORDS)
    validate(usable.manifest, corpus.record)
    _log.info("%d rows; %s", len(usable.manifest), skipped)
    if folder is not None:
        # The fingerprint of now, not of before: some readers write audio files, which are sources, while they read.
        _store(usable, skipped, Path(folder), corpus)
    return Prepared(usable.manifest, skipped.to_dict(), usable.texts)


def _stored(folder: Path, corpus: Reader, *, look_at_audio: bool) -> Prepared | None:
    """What an earlier call left in `folder`, if it is whole and nothing has changed since."""
    manifest, looks, report = (folder / name for name in (MANIFEST, LOOKS, REPORT))
    if not all(path.is_file() for path in (manifest, looks, report)):
        return None
    try:
        metadata = pq.read_schema(manifest).metadata or {}
        stored = dict(json.loads(report.read_text(encoding="utf-8")))
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        _log.warning("%s: the stored manifest cannot be read and is made again (%s)", folder, error)
        return None
    known = fingerprint(corpus)
    if metadata.get(FINGERPRINT, b"").decode() != known or stored.get("fingerprint") != known:
        return None
    if changed(read_looks(looks, many=look_at_audio)).any():
        _log.info("audio files have changed since %s was written, which is made again", manifest)
        return None
    _log.info("%s is up to date", manifest)
    return Prepared(read_manifest(manifest, corpus.record), stored["skipped"], [*map(tuple, stored["texts"])])


def _list_missing_words(skipped: SkipReport, path: Path) -> None:
    lines = skipped.lists.get(MISSING_WORDS, [])
    if not lines:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (f"{line}\n" for line in ("language\tword\ttimes", *lines)))
    _log.warning("%s lists the missing words of all languages: %s", path, f"{len(lines):,}")


def _store(usable: Usable, skipped: SkipReport, folder: Path, corpus: Reader) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    known, report = fingerprint(corpus), folder / REPORT
    report.unlink(missing_ok=True)  # written last: where it is, the three belong together
    write_looks(usable.looks, folder / LOOKS)
    write_manifest(usable.manifest, folder / MANIFEST, fingerprint=known, record=corpus.record)
    write_json(report, {"fingerprint": known, "skipped": skipped.to_dict(), "texts": usable.texts})
