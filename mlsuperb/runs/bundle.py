"""Finished runs in one file, to be sent and merged: results and hypotheses, no weights, no audio.

A tar archive, compressed as a whole, since references repeat from run to run: manifest.json, then the files of the runs, each
`RUN/NAME` or `RUN/evaluations/EVALUATION/NAME`. No path in them is of the machine that packed them.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml

import mlsuperb
from mlsuperb.runs.hypotheses import HYPOTHESES_FILE
from mlsuperb.runs.places import audio_without_place, roots_of, without_places
from mlsuperb.runs.result import Result
from mlsuperb.runs.store import CONFIG_FILE, EVALUATIONS, RESULT_FILE, STATUS_FILE, find, read, validated
from mlsuperb.runtime.files import made, replaced, whole_folder
from mlsuperb.runtime.lines import read_objects
from mlsuperb.runtime.records import load_strict_json, strict_json

MANIFEST, KIND, VERSION = "manifest.json", "mlsuperb results", 1
TRAINING = "training.json"
FILES = (RESULT_FILE, CONFIG_FILE, STATUS_FILE, TRAINING, HYPOTHESES_FILE)  # of a run, as far as it has them
_LARGEST_MANIFEST = 2**26  # bytes
_PRESET = 9 | lzma.PRESET_EXTREME  # 9: what was seen 64 MiB before is found again, the hypotheses of hundreds of runs
_UNREADABLE = (lzma.LZMAError, tarfile.TarError, EOFError, OSError, ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What was packed: number of results by run (its evaluations included), and folder -> why it was left out."""

    runs: Mapping[str, int]
    left_out: Mapping[Path, str]
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class Merged:
    """Folders of results that were written, and of those that were there already."""

    written: Sequence[Path]
    there: Sequence[Path]


def pack(folders: Sequence[Path], out: Path, *, scorer: Mapping[str, Any]) -> Packed:
    """Write the finished runs in `folders` (each a run, or what holds runs), with their evaluations, to one file.

    Args:
        scorer: versions of the scoring code, for the manifest.

    Raises:
        ValueError: no run has finished, two have the same name, or hypotheses are not those that a result is of.
        OSError: the file cannot be written.
    """
    found = find(folders, Result).required()
    left_out = {folder: why for folder, why in found.left_out.items() if folder.parent.name != EVALUATIONS}
    runs: dict[str, Path] = {}
    for folder in found.runs:
        name = folder.resolve().name
        if name in runs:
            raise ValueError(f"two runs are called {name}: {runs[name]} and {folder}. Pack them into two files")
        runs[name] = folder
    inside = {name: _results_in(folder) for name, folder in runs.items()}
    files = {
        f"{name}/{place}{file}": content
        for name, places in inside.items()
        for place, folder in places.items()
        for file, content in _contents(folder).items()
    }
    num_bytes = _write(out, files, about={"runs": sorted(runs), "scorer": dict(scorer)})
    return Packed(runs={name: len(places) for name, places in inside.items()}, left_out=left_out, num_bytes=num_bytes)


def _results_in(run: Path) -> dict[str, Path]:
    """Folders with results in a run by their place in it: the run itself, and its finished evaluations."""
    inside = sorted(path.parent for path in (run / EVALUATIONS).glob(f"*/{RESULT_FILE}"))
    return {"": run} | {f"{EVALUATIONS}/{folder.name}/": folder for folder in inside}


def _contents(folder: Path) -> dict[str, bytes]:
    """The files of a result, without places."""
    result = load_strict_json((folder / RESULT_FILE).read_text(encoding="utf-8"))
    read(folder, Result)  # an evaluation was not looked at before
    found: dict[str, bytes] = {}
    for name in (STATUS_FILE, TRAINING):
        if (folder / name).is_file():
            found[name] = _json(without_places(load_strict_json((folder / name).read_text(encoding="utf-8"))), name)
    if (folder / CONFIG_FILE).is_file():
        config = yaml.safe_load((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        found[CONFIG_FILE] = yaml.safe_dump(without_places(config), allow_unicode=True, sort_keys=False).encode()
    changed = without_places(result)
    if record := result.get("hypotheses"):
        lines = _hypotheses(folder / record["path"], record["sha256"], roots_of(result["config"].get("data", {})))
        found[HYPOTHESES_FILE] = lines
        changed["hypotheses"] |= {"path": HYPOTHESES_FILE, "sha256": hashlib.sha256(lines).hexdigest()}
    return {RESULT_FILE: _json(changed, str(folder / RESULT_FILE), indent=2), **found}


def _hypotheses(path: Path, sha256: str, roots: Sequence[str]) -> bytes:
    if not path.is_file():
        raise ValueError(f"{path} was removed: give the command of its run again, which decodes anew, or leave it out")
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ValueError(
            f"{path} is not what {path.parent / RESULT_FILE} was made from: restore it, or remove it and give the command of "
            "its run again, which decodes and scores anew"
        )
    rows = (row | {"audio": audio_without_place(str(row["audio"]), roots)} for _, row in read_objects(path))
    return b"".join(_json(row, str(path)) for row in rows)


def _json(value: Any, name: str, *, indent: int | None = None) -> bytes:
    return f"{strict_json(value, name=name, indent=indent)}\n".encode()


def _write(out: Path, files: Mapping[str, bytes], *, about: Mapping[str, Any]) -> int:
    """Write the archive; the same files are the same bytes. Returns how many."""
    listed = {name: {"sha256": hashlib.sha256(files[name]).hexdigest(), "bytes": len(files[name])} for name in files}
    manifest = {"kind": KIND, "version": VERSION, "package_version": mlsuperb.__version__, **about, "files": listed}
    out.parent.mkdir(parents=True, exist_ok=True)
    with replaced(out) as temporary:
        with lzma.open(temporary, "wb", preset=_PRESET) as packed, tarfile.open(fileobj=packed, mode="w|") as archive:
            _add(archive, MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode())
            for name in sorted(files, key=lambda one: (Path(one).name, one)):  # what is alike lies side by side
                _add(archive, name, files[name])
        return temporary.stat().st_size


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def merge(paths: Sequence[Path], into: Path) -> Merged:
    """Write the runs of bundles below a folder; nothing is written before all of them were read and found whole.

    Raises:
        ValueError: a file is no bundle, or damaged, or holds another result by a name that is there already; names it.
    """
    from_files: dict[str, tuple[Path, dict[str, bytes]]] = {}
    for path in paths:
        for place, files in _results(path).items():
            if place in from_files and not _same(from_files[place][1], files):
                raise ValueError(
                    f"{from_files[place][0]} and {path} hold different results by the name {place}: merge into two folders"
                )
            from_files.setdefault(place, (path, files))
    there = [place for place, (path, files) in from_files.items() if _is_there(into / place, files, path=path)]
    written = sorted(place for place in from_files if place not in there)  # a run before its evaluations
    for place in written:
        made((into / place).parent)
        with whole_folder(into / place) as unfinished:
            for name, content in from_files[place][1].items():
                (unfinished / name).write_bytes(content)
    return Merged(written=[into / place for place in written], there=[into / place for place in there])


def _is_there(folder: Path, files: Mapping[str, bytes], *, path: Path) -> bool:
    if not folder.exists():
        return False
    inside = (folder / RESULT_FILE).is_file() and {RESULT_FILE: (folder / RESULT_FILE).read_bytes()}
    if not inside or not _same(inside, files):
        raise ValueError(
            f"{folder} is there already and is not the result that {path} holds: merge into another folder"
        )
    return True


def _same(first: Mapping[str, bytes], second: Mapping[str, bytes]) -> bool:
    """Whether two results are of one run: it may have been scored anew since."""
    contents = [json.loads(one[RESULT_FILE]) for one in (first, second)]
    a, b = ([one["run_id"], one["date"], one.get("hypotheses", {}).get("sha256")] for one in contents)
    return a == b


def _results(path: Path) -> dict[str, dict[str, bytes]]:
    """The files of a bundle by the place of their result: `RUN` or `RUN/evaluations/EVALUATION`.

    Raises:
        ValueError: it is no bundle, or damaged.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}; mlsuperb results pack makes one")
    found: dict[str, dict[str, bytes]] = {}
    for name, content in _members(path):
        place, _, file = name.rpartition("/")
        found.setdefault(place, {})[file] = content
    for place, files in found.items():
        if RESULT_FILE not in files:
            raise ValueError(f"{path} is damaged: {place} has no {RESULT_FILE}. Get it again")
        content = load_strict_json(files[RESULT_FILE].decode())
        validated(content, Result, place=f"{path}: {place}/{RESULT_FILE}")
        given = hashlib.sha256(files.get(HYPOTHESES_FILE, b"")).hexdigest()
        if (record := content.get("hypotheses")) and (record["path"], record["sha256"]) != (HYPOTHESES_FILE, given):
            raise ValueError(
                f"{path} is damaged: {place}/{HYPOTHESES_FILE} is not what its result was made from. Get it again"
            )
    return found


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file of a bundle, held against the manifest."""
    listed: dict[str, Any] | None = None
    try:
        with lzma.open(path) as packed, tarfile.open(fileobj=packed, mode="r|") as archive:
            for member in archive:
                if listed is None:
                    listed = _manifest(path, archive, member)
                    continue
                yield member.name, _checked(path, archive, member, listed.pop(member.name, None))
            while packed.read(2**20):  # to its end, whose checksum is looked at there
                pass
    except _RefusedError:
        raise
    except _UNREADABLE as error:
        what = "is damaged" if listed is not None else "is no bundle of results, or damaged"
        raise ValueError(f"{path} {what} ({error}). Get it again; mlsuperb results pack makes such files") from error
    if listed is None or listed:
        raise ValueError(f"{path} is damaged: it does not hold {next(iter(listed or [MANIFEST]))}. Get it again")


class _RefusedError(ValueError):
    """A sentence of ours about a bundle."""


def _manifest(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Any]:
    """Its list of files."""
    if member.name != MANIFEST or not member.isreg() or member.size > _LARGEST_MANIFEST:
        raise _RefusedError(
            f"{path} is no bundle of results: it does not begin with {MANIFEST}. Give what mlsuperb results pack wrote"
        )
    manifest = json.loads(_content(archive, member))
    if manifest.get("kind") != KIND or manifest.get("version") != VERSION:
        raise _RefusedError(
            f"{path} is a file of {manifest.get('kind')!r}, version {manifest.get('version')!r}; this version of mlsuperb reads "
            f"{KIND!r}, version {VERSION}"
        )
    return dict(manifest["files"])


def _checked(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo, listed: Any) -> bytes:
    if not member.isreg() or not _allowed(member.name):
        raise _RefusedError(
            f"{path} is refused: it holds {member.name!r}, which no bundle of results has (mlsuperb results pack)"
        )
    if listed is None or member.size != listed["bytes"]:
        raise _RefusedError(f"{path} is damaged: {member.name} is not what its manifest lists. Get it again")
    content = _content(archive, member)
    if hashlib.sha256(content).hexdigest() != listed["sha256"]:
        raise _RefusedError(
            f"{path} is damaged: {member.name} has another SHA-256 than its manifest says. Get it again"
        )
    return content


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file: IO[bytes] | None = archive.extractfile(member)
    assert file is not None, "a regular file"
    return file.read()


def _allowed(name: str) -> bool:
    """Whether a name is that of a file of a run or of an evaluation, and leads nowhere else."""
    *folders, file = name.split("/")
    shape = len(folders) == 1 or (len(folders) == 3 and folders[1] == EVALUATIONS)
    return (
        shape
        and file in FILES
        and all(one and one.isprintable() and one[0] != "." and "\\" not in one for one in folders)
    )
