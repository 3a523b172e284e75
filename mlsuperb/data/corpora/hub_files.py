"""The files of a data set as the Hugging Face Hub has them: which configuration and split each belongs to, and how they come
here. Known layouts:

README.md with `configs:` in its head          patterns of the files of each configuration and split
data/train-00000-of-00002.parquet              of the one configuration `default`; likewise without `data`
<config>/train-00000-of-00002.parquet          of several
<config>/train/0000.parquet                    the hub's own conversion (branch `refs/convert/parquet`)
train/metadata.csv (.jsonl, .parquet)          audio files beside it, named in its column `file_name` (audiofolder)
train/data-00000-of-00001.arrow                a folder that `datasets` saved (`save_to_disk`)
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from mlsuperb.data.checks import some
from mlsuperb.data.corpora.usual_names import split_in, split_named
from mlsuperb.runtime.hub_errors import hub_errors

DEFAULT = "default"  # the configuration of a data set that has one
CONVERTED = "refs/convert/parquet"
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
CARD = "README.md"

_log = logging.getLogger(__name__)
_SHARD = re.compile(r"(?P<split>.+?)-\d{5}-of-\d{5}")
_HEAD = re.compile(r"\A---\s*\n(.*?)^---\s*$", re.MULTILINE | re.DOTALL)
_PARTIAL = "partial-"  # of a split of which the hub has converted no more than the first 5 GB


@dataclass(frozen=True)
class DataFile:
    """A file with rows. `path` is relative to the data set; `partial`: the hub holds no more of its split in this form."""

    path: str
    config: str
    split: str
    partial: bool = False


def local_paths(folder: Path) -> list[str]:
    """The files with rows in a folder, relative to it, in a fixed order."""
    found = [path for pattern in ("*.parquet", "*.arrow", *METADATA) for path in folder.rglob(pattern)]
    return sorted({path.relative_to(folder).as_posix() for path in found})


def data_files(paths: Iterable[str], card: Mapping[str, Any]) -> list[DataFile]:
    """The files with rows among `paths`, in a fixed order; `card` is the head of README.md."""
    known = sorted(path for path in paths if _has_rows(PurePosixPath(path)))
    return _of_card(known, card) or [_of_path(PurePosixPath(path)) for path in known]


def card_of(text: str) -> dict[str, Any]:
    """The head of a README.md; empty where it has none that can be read."""
    head = _HEAD.match(text)
    try:
        found = yaml.safe_load(head[1]) if head else None
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def chosen_configs(files: Sequence[DataFile], asked: Sequence[str], *, place: str) -> list[str]:
    """The configurations that are read: those that were asked for, or the only one, or the one called `default`.

    Raises:
        ValueError: there is no such one, or there are several to choose from.
    """
    there = list(dict.fromkeys(file.config for file in files))
    if unknown := [name for name in asked if name not in there]:
        raise ValueError(f"data.config: {place} has no {', '.join(unknown)}; its configurations are {some(there)}.")
    if asked:
        return list(asked)
    if len(there) == 1 or DEFAULT in there:
        return there if len(there) == 1 else [DEFAULT]
    raise ValueError(
        f"{place} has {len(there)} configurations: {some(there)}. Choose with data.config=NAME, or several as languages with "
        f"'data.config=[{','.join(there[:2])}]'."
    )


def of_split(files: Sequence[DataFile], asked: str) -> list[DataFile]:
    """The files of a split, or of several joined with `+`: each by its own name, else by what the name means (`validation` is
    `dev`)."""
    return [file for name in asked.split("+") for file in _named(files, name)]


def _named(files: Sequence[DataFile], name: str) -> list[DataFile]:
    exact = [file for file in files if file.split == name]
    return exact or [
        file for file in files if split_named(name) is not None and split_named(file.split) == split_named(name)
    ]


def fetch(repo: str, *, revision: str | None, configs: Sequence[str]) -> tuple[Path, list[str]]:
    """Download the files of some configurations of a data set (none named: of what `chosen_configs` says); returns the folder
    and the paths in it. What the hub's branch of conversions has is taken where the data set itself has no files with rows.

    Raises:
        ValueError: the hub does not give them, or there are none.
    """
    try:
        for branch in (revision,) if revision is not None else (None, CONVERTED):
            if found := _fetch_branch(repo, branch, configs):
                return found
    except hub_errors() as error:
        if (cached := _cached(repo, revision)) is not None:
            return cached
        raise ValueError(
            f"data.path={repo} is neither a folder nor a data set that the hub gives ({' '.join(str(error).split())}). "
            "Correct the name, log in (hf auth login) if it is gated, or download it where there is a network "
            f"(hf download {repo} --repo-type dataset --local-dir FOLDER) and give the folder."
        ) from error
    raise ValueError(
        f"data.path={repo}: the data set has no Parquet files, neither of its own nor converted ({CONVERTED}), and no "
        f"{METADATA[0]}. Download it, and see `mlsuperb data new FOLDER`."
    )


def _fetch_branch(repo: str, branch: str | None, configs: Sequence[str]) -> tuple[Path, list[str]] | None:
    """The same from one branch; None where it has no files with rows, or there is no such branch."""
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        paths = HfApi().list_repo_files(repo, repo_type="dataset", revision=branch)
    except RevisionNotFoundError:
        if branch == CONVERTED:
            return None
        raise
    card = {}
    if CARD in paths:
        text = Path(hf_hub_download(repo, CARD, repo_type="dataset", revision=branch)).read_text(encoding="utf-8")
        card = card_of(text)
    files = data_files(paths, card)
    if not files:
        return None
    chosen = set(chosen_configs(files, configs, place=repo))
    wanted = [pattern for file in files if file.config in chosen for pattern in _with_audio(file.path)]
    patterns = [CARD, *dict.fromkeys(wanted)]
    folder = snapshot_download(repo, repo_type="dataset", revision=branch, allow_patterns=patterns)
    return Path(folder), [file.path for file in files if file.config in chosen]


def _cached(repo: str, revision: str | None) -> tuple[Path, list[str]] | None:
    """What an earlier download has left, without the network."""
    from huggingface_hub import snapshot_download

    for branch in (revision,) if revision is not None else (None, CONVERTED):
        try:  # the pattern keeps it from missing files of other configurations
            found = snapshot_download(
                repo, repo_type="dataset", revision=branch, allow_patterns=[CARD], local_files_only=True
            )
        except hub_errors():
            continue
        if paths := local_paths(Path(found)):
            _log.warning(
                "the hub does not answer: %s is read as an earlier download left it, %d files", repo, len(paths)
            )
            return Path(found), paths
    return None


def _with_audio(path: str) -> list[str]:
    """Patterns for a file and, where it is metadata, for the audio beside it."""
    parent = PurePosixPath(path).parent.as_posix()
    beside = "*" if parent == "." else f"{parent}/*"
    return [path, beside] if PurePosixPath(path).name in METADATA else [path]


def _has_rows(path: PurePosixPath) -> bool:
    if any(part.startswith((".", "__")) for part in path.parts):
        return False
    return path.suffix == ".parquet" or path.name in METADATA or (path.suffix == ".arrow" and "cache-" not in path.name)


def _of_card(paths: Sequence[str], card: Mapping[str, Any]) -> list[DataFile]:
    """The files by the patterns in the head of README.md."""
    found = []
    for config in card.get("configs") or ():
        if not isinstance(config, Mapping):
            continue
        name = str(config.get("config_name") or DEFAULT)
        folder = PurePosixPath(config.get("data_dir") or "").as_posix().strip("./")
        if folder and not config.get("data_files"):  # all that is below it, by the names there
            below = [PurePosixPath(path).relative_to(folder) for path in paths if path.startswith(f"{folder}/")]
            found += [replace(_of_path(path), path=f"{folder}/{path}", config=name) for path in below]
        for split, patterns in _patterns(config.get("data_files")):
            for pattern in patterns:
                whole = re.compile(_regex(f"{folder}/{pattern}" if folder else pattern))
                found += [DataFile(path, name, split) for path in paths if whole.fullmatch(path)]
    return list(dict.fromkeys(found))


def _patterns(files: Any) -> list[tuple[str, list[str]]]:
    """(split, patterns) of an entry `data_files`, in any of the forms that the hub takes."""
    if isinstance(files, Mapping):
        files = [{"split": split, "path": path} for split, path in files.items()]
    entries = [files] if isinstance(files, str) else list(files or ())
    found = []
    for entry in entries:
        given = entry if isinstance(entry, Mapping) else {"split": "train", "path": entry}
        paths = given.get("path") or ()
        listed = [paths] if isinstance(paths, str) else paths
        found.append((str(given.get("split", "train")), [str(path).removeprefix("./") for path in listed]))
    return found


def _regex(pattern: str) -> str:
    """A pattern of the hub: `*` stays in its folder, `**` does not."""
    pattern = f"{pattern}**" if pattern.endswith("/") else pattern
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    meant = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(meant.get(part, re.escape(part)) for part in parts)


def _of_path(path: PurePosixPath) -> DataFile:
    """A file by the names of its folders and its own."""
    folders = [part for part in path.parent.parts if part != "data"]
    shard = _SHARD.match(path.stem)
    if path.suffix == ".arrow" or re.fullmatch(r"\d{4}", path.stem):
        split = folders.pop() if folders else "train"
    elif shard:
        split = shard["split"]
    else:
        split = split_in(path) or "train"
        folders = [part for part in folders if split_in(part) is None]
    partial = split.startswith(_PARTIAL)
    config = "/".join(folders) or DEFAULT
    return DataFile(path.as_posix(), config, split.removeprefix(_PARTIAL), partial)
