"""Which reader reads what lies in a file or folder, and with which settings (`mlsuperb data new`)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mlsuperb.data.audio_file import EXTENSIONS
from mlsuperb.data.corpora import fleurs, hub_files, lhotse, librispeech, table, voxlingua
from mlsuperb.data.corpora.common_voice import language_folders
from mlsuperb.data.corpora.tables import FORMATS, column_names
from mlsuperb.data.corpora.usual_names import COLUMNS, split_in
from mlsuperb.data.languages import is_language, nearest
from mlsuperb.data.parquet import holds_audio, parquet_schema
from mlsuperb.data.shards import is_folder_of_shards
from mlsuperb.runtime.lines import read_objects

HELD_OUT = {"held_out": "0.1"}
FORMS = (
    "ML-SUPERB's tree; FLEURS, Multilingual LibriSpeech, LibriSpeech, Common Voice, VoxLingua107 as they unpack; Kaldi folders "
    "(wav.scp); tables (CSV, TSV, JSON lines, Parquet), one per split or one with a column split; Parquet with audio inside, "
    "audiofolder (metadata.csv) and what datasets saved; lhotse's manifests and Shar; audio in <dataset>/<language>/"
)
_SOME = 1000  # entries of a folder that are looked at


@dataclass(frozen=True)
class Form:
    """A form of data.

    Attributes:
        what: the form in words.
        reader: the option of `data` that reads it.
        settings: of `data`, as on a command line.
    """

    what: str
    reader: str
    settings: dict[str, str] = field(default_factory=dict)


def recognise(path: Path) -> Form | None:
    """The form of what lies at `path`; None where it is none that is known.

    Raises:
        ValueError: there is nothing; or its form is known, and something is wrong with it.
    """
    if not path.exists():
        raise ValueError(
            f"{path}: there is no such file or folder. A data set of the hub needs none: data=hf data.path=OWNER/NAME."
        )
    tests: tuple[Callable[[Path], Form | None], ...] = (_lhotse_file, _table_file)
    if path.is_dir():
        tests = (
            _shar, _ml_superb, _kaldi, _common_voice, _fleurs, _mls, _librispeech, _lhotse, _hub, _tables, _voxlingua,
            _audio_tree,
        )  # fmt: skip
    return next((form for test in tests if (form := test(path)) is not None), None)


def unknown_form(path: Path) -> str:
    """What to say of something that is in no known form."""
    names = [entry.name for entry in _some(path)] if path.is_dir() else [path.name]
    suffixes = {"".join(Path(name).suffixes[-2:]).lower() for name in names}
    hint = ""
    if suffixes & {".tar.gz", ".tgz", ".zip", ".tar"}:
        hint = " It has archives: unpack them first."
    elif any(Path(name).suffix.lower() in EXTENSIONS for name in names):
        hint = " It has audio: put a table beside it, with the columns audio, text, language and split."
    shown = ", ".join(sorted(names)[:5]) or "nothing"
    return f"{path} is in no form that is known here; it has {shown}.{hint} Known are {FORMS} (data/README.md)."


def _some(folder: Path) -> Iterator[Path]:
    return itertools.islice(folder.iterdir(), _SOME)


def _root(path: Path) -> dict[str, str]:
    return {"root": str(path)}


def _has_audio(folder: Path) -> bool:
    return any(one.suffix.lower() in EXTENSIONS for one in _some(folder))


def _lhotse_file(path: Path) -> Form | None:
    if not path.name.endswith(lhotse.SUFFIXES):
        return None
    lines = lhotse.objects(path) if path.suffix == ".gz" else read_objects(path)
    item = next((item for _, item in lines), {})
    if {"supervisions", "tracks", "recording_id"} & item.keys():
        return Form("a manifest of lhotse", "lhotse", {"train": str(path), **HELD_OUT})
    return None


def _table_file(path: Path) -> Form | None:
    if path.suffix.lower() not in FORMATS:
        return None
    if _has_audio_inside(path):
        return Form("a Parquet file with audio inside", "hf", {"path": str(path), **HELD_OUT})
    if {"split", *COLUMNS["split"]} & set(column_names(path)):
        return Form("a table with a column of splits", "table", {"path": str(path)})
    return Form("a table", "table", {"train": str(path), **HELD_OUT})


def _has_audio_inside(path: Path) -> bool:
    return path.suffix in (".parquet", ".arrow") and any(holds_audio(kind) for kind in parquet_schema(path).types)


def _shar(path: Path) -> Form | None:
    if is_folder_of_shards(path) or any(path.glob("*/cuts.*.jsonl*")):
        return Form("shards (lhotse's Shar)", "shar", _root(path))
    return None


def _ml_superb(path: Path) -> Form | None:
    for size in ("1h", "10min"):
        if next(path.glob(f"*/*/transcript_{size}_train.txt"), None):
            return Form("ML-SUPERB's tree", f"ml_superb_{size}", _root(path))
    return None


def _kaldi(path: Path) -> Form | None:
    root, folders = path, sorted(scp.parent.name for scp in path.glob("*/wav.scp"))
    if (path / "wav.scp").is_file():
        root, folders = path.parent, [path.name]
    if not folders:
        return None
    found = {split: name for name in reversed(folders) if (split := split_in(name)) is not None} or {
        "train": folders[0]
    }
    named = {split: found.get(split, "null") for split in ("train", "dev", "test") if found.get(split) != split}
    missing = HELD_OUT if len(found) < len(("train", "dev", "test")) else {}
    return Form("Kaldi folders", "kaldi", {**_root(root), **named, **missing})


def _common_voice(path: Path) -> Form | None:
    return Form("Common Voice", "common_voice", _root(path)) if language_folders(path) else None


def _fleurs(path: Path) -> Form | None:
    base = path / "data" if (path / "data").is_dir() else path
    folders = [base / name for name in fleurs.languages() if (base / name).is_dir()]
    shards = next((path for folder in folders for path in folder.rglob("*.parquet")), None)
    has_shards = shards is not None and {"transcription", "raw_transcription"} <= set(parquet_schema(shards).names)
    if has_shards or any((folder / "train.tsv").is_file() for folder in folders):
        return Form("FLEURS", "fleurs", _root(path))
    return None


def _mls(path: Path) -> Form | None:
    if found := next(path.glob("mls_*/*/transcripts.txt"), None):
        opus = {"suffix": ".opus"} if found.parents[1].name.endswith("_opus") else {}
        return Form("Multilingual LibriSpeech", "mls", _root(path) | opus)
    return None


def _librispeech(path: Path) -> Form | None:
    parts = {found.parents[2].name for found in librispeech.base_folder(path).glob("*/*/*/*.trans.txt")}
    if not parts:
        return None
    usual = {"train": librispeech.TRAIN, "dev": ["dev-clean"], "test": ["test-clean"]}
    settings = _root(path)
    for split, named in usual.items():
        there = sorted(part for part in parts if split_in(part) == split)
        if there and not set(there) & set(named):
            settings[split] = f"[{','.join(there)}]"
    return Form("LibriSpeech", "librispeech", settings)


def _lhotse(path: Path) -> Form | None:
    splits = {split for split, _ in lhotse.manifests_in(path)}
    if not splits:
        return None
    return Form("manifests of lhotse", "lhotse", _root(path) | ({} if {"dev", "test"} <= splits else HELD_OUT))


def _hub(path: Path) -> Form | None:
    card = path / hub_files.CARD
    known = hub_files.card_of(card.read_text(encoding="utf-8")) if card.is_file() else {}
    files = hub_files.data_files(hub_files.local_paths(path), known)
    if not any(Path(file.path).name in hub_files.METADATA or _has_audio_inside(path / file.path) for file in files[:1]):
        return None
    configs = list(dict.fromkeys(file.config for file in files))
    settings = {"path": str(path)}
    if len(configs) > 1:
        settings["config"] = f"[{','.join(configs)}]"
    splits = {split_in(file.split) for file in files}
    for split in ("train", "dev", "test"):
        own = sorted({file.split for file in files if split_in(file.split) == split})
        if own and not hub_files.of_split(files, split):
            settings[split] = "+".join(own)
    kind = (
        "audio files with metadata (audiofolder)"
        if Path(files[0].path).name in hub_files.METADATA
        else "the hub's form"
    )
    return Form(f"a data set in {kind}", "hf", settings | ({} if {"dev", "test"} <= splits else HELD_OUT))


def _tables(path: Path) -> Form | None:
    if not any(one.suffix.lower() in FORMATS for one in _some(path)):
        return None
    found = table.tables_at(path)
    if None in found:
        alone = _table_file(found[None])
        return alone and Form(alone.what, alone.reader, alone.settings)
    settings = {"path": str(path)} | ({} if {"dev", "test"} <= found.keys() else HELD_OUT)
    return Form("a folder of tables, one per split", "table", settings)


def _voxlingua(path: Path) -> Form | None:
    folders = [one for one in voxlingua.languages(path) if _has_audio(one)]
    codes = [one for one in folders if is_language(one.name) or nearest(one.name)]
    if folders and len(codes) == len(folders):
        return Form("audio in a folder per language, as VoxLingua107 has it", "voxlingua107", _root(path))
    return None


def _audio_tree(path: Path) -> Form | None:
    languages = [one for one in itertools.islice(path.glob("*/*"), _SOME) if one.is_dir() and is_language(one.name)]
    if any(
        any(Path(name).suffix.lower() in EXTENSIONS for name in names)
        for one in languages
        for _, _, names in os.walk(one)
    ):
        return Form("audio without transcripts, for pre-training", "audio_tree", _root(path))
    return None
