"""The names that a command line can hold, read from the YAML files: groups, their options, settings; the nearest where one does
not exist; `--help` and shell completion. Light: all of this is answered before Hydra, let alone torch, loads."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml

from mlsuperb.runtime.conf import conf_dir
from mlsuperb.runtime.ranks import launched

# What the files in conf/hydra/launcher/ build on: its package and our name for it; Hydra's own message names neither.
LAUNCHERS = {
    "hydra/launcher=slurm": ("hydra-submitit-launcher", "slurm"),
    "hydra/launcher=local": ("hydra-joblib-launcher", "sweep"),
}

_OVERRIDE = re.compile(r"^(?P<prefix>\+{0,2}|~)(?P<key>[\w/.@][\w/.@-]*)=(?P<value>.*)$")
_NOT_SETTINGS = ("_target_", "_partial_", "name")  # not proposed; they pass where they are given


def yaml_folders(arguments: Sequence[str]) -> list[Path]:
    """Folders with YAML files: ours, and those of `--config-dir` that exist (Hydra refuses the others)."""
    return [conf_dir(), *(folder for folder in _config_dirs(arguments) if folder.is_dir())]


def groups_in(folders: Sequence[Path]) -> list[str]:
    """Names of the groups (`upstream`, `exp`, `job`), Hydra's own apart."""
    return sorted({path.name for folder in folders for path in folder.iterdir() if path.is_dir()} - {"hydra"})


def options(group: str, folders: Sequence[Path]) -> list[str]:
    """Names of the choices of a group (`upstream`), those in sub-folders included (`v1/lid`), unless a sub-folder is a group
    of its own (`loading/sampling`)."""
    found = (path.relative_to(folder / group) for folder in folders for path in (folder / group).rglob("*.yaml"))
    inner = {one.rpartition("/")[2] for one in inner_groups(group)}
    return sorted({path.with_suffix("").as_posix() for path in found if path.parts[0] not in inner})


def inner_groups(group: str) -> list[str]:
    """Groups of parts of a group's part, which are added to it: `+loading/sampling=two_level`. Experiments have none."""
    folders = [path for path in (conf_dir() / group).glob("*") if path.is_dir() and group not in ("exp", "hydra")]
    return sorted(f"{group}/{path.name}" for path in folders)


def second_parts(folders: Sequence[Path]) -> dict[str, str]:
    """Second parts of a job that are options of the same group, by their places: `{"text_loading": "loading"}`."""
    jobs = (path for folder in folders for path in folder.glob("job/*.yaml"))
    entries = (entry for path in jobs for entry in read_yaml(path).get("defaults", []) if isinstance(entry, dict))
    placed = (key.partition("@") for entry in entries for key in entry)
    return {place: group.lstrip("/") for group, at, place in placed if at}


def settings(head: str, folders: Sequence[Path], *, option: str | None = None) -> dict[str, Any]:
    """Settings by their full names, with the values in the YAML files: those of the group `head` in one of its options, or in
    all of them; those of the runs and their jobs where `head` is no group."""
    if group := second_parts(folders).get(head):
        return {
            f"{head}.{name.partition('.')[2]}": value for name, value in settings(group, folders, option=option).items()
        }
    found: dict[str, Any] = {}
    if head not in groups_in(folders):
        for path in (folders[0] / "config.yaml", *(path for folder in folders for path in folder.glob("job/*.yaml"))):
            found |= _flatten(read_yaml(path))
        return {name: value for name, value in found.items() if not name.startswith(("defaults", "hydra"))}
    for path in _files(head, folders, option):
        content = read_yaml(path)
        if path.read_text(encoding="utf-8").startswith("# @package _global_"):  # a job, an experiment
            content = content.get(head) or {}
        for base in content.pop("defaults", ()):  # an option that builds on another one
            found |= settings(head, folders, option=base) if isinstance(base, str) and base != "_self_" else {}
        found |= _flatten(content, f"{head}.")
    for inner in inner_groups(head):
        for path in _files(inner, folders, None):
            found |= _flatten(read_yaml(path), f"{inner.replace('/', '.')}.")
    return found


def completions(word: str, others: Sequence[str]) -> list[str]:
    """Whole words that begin as an override does, `word`, on a command line that holds `others` too."""
    folders = yaml_folders(others)
    groups = groups_in(folders)
    prefix = re.match(r"\+{0,2}|~", word)[0]  # type: ignore[index]
    key, is_value, value = word.removeprefix(prefix).partition("=")
    if is_value:
        start = word[: len(word) - len(value.rpartition(",")[2])]  # a,b: what stands before the last is there already
        if key in (*groups, *inner_groups(key.partition("/")[0]), "hydra/launcher"):
            return [start + one for one in options(key, folders)]
        known = settings(key.partition(".")[0], folders).get(key)
        return [f"{start}{one}" for one in ("true", "false")] if isinstance(known, bool) else []
    head, is_setting, _ = key.partition(".")
    if is_setting and head in (*groups, *second_parts(folders)):
        chosen = _chosen(head, others, folders)
        return _as_words({name for option in chosen for name in settings(head, folders, option=option)}, prefix)
    choices = [group for group in groups if group != "exp"]
    choices += [inner for group in choices for inner in inner_groups(group)]
    of_runs = [name for name in settings("", folders) if name.partition(".")[0] not in groups]
    inside = [f"{prefix}{group}." for group in choices if head and group != "job"]
    return ["+exp=", *inside, *_as_words([*choices, "hydra/launcher", *of_runs], prefix)]


def _as_words(names: Iterable[str], prefix: str) -> list[str]:
    return [f"{prefix}{name}=" for name in _leaves(names) if name.rpartition(".")[2] not in _NOT_SETTINGS]


def _chosen(group: str, words: Sequence[str], folders: Sequence[Path]) -> list[str | None]:
    """The options of a group that a command line chooses: itself, by its experiment or by its job; [None] if none is found."""
    given = {match["key"]: match["value"] for word in words if (match := _OVERRIDE.match(word))}
    if group in given:
        return list(given[group].split(","))
    experiment = f"exp/{given.get('exp', '')}"
    job = given.get("job") or _default("job", experiment, folders) or "benchmark"
    for chooser in (experiment, f"job/{job}"):
        if found := _default(group, chooser, folders):
            return [found]
    return [None]


def _default(group: str, chooser: str, folders: Sequence[Path]) -> str | None:
    """The option of `group` in the defaults of a YAML file (`exp/v1/lid`), or of those that it builds on."""
    for path in _files("", folders, chooser):
        for entry in reversed(read_yaml(path).get("defaults", [])):
            if isinstance(entry, str):
                if found := _default(group, entry.lstrip("/"), folders):
                    return found
            elif option := {key.split()[-1].lstrip("/"): option for key, option in entry.items()}.get(group):
                return str(option)
    return None


def nearest(name: str, known: Iterable[str], number: int = 3) -> list[str]:
    """The known names most like `name`, best first."""
    return difflib.get_close_matches(name, list(known), n=number, cutoff=0.5)


def refuse_unknown(arguments: Sequence[str], *, config_dirs: Sequence[Path] = ()) -> None:
    """Refuse names that exist neither in our YAML files nor in those of `config_dirs` (`check_overrides`).

    Raises:
        ValueError: names them all.
        FileNotFoundError: a folder of `config_dirs` does not exist.
    """
    for folder in config_dirs:
        if not folder.is_dir():
            raise FileNotFoundError(f"--config-dir {folder}: there is no such folder")
    if messages := check_overrides([*(f"--config-dir={folder}" for folder in config_dirs), *arguments]):
        raise ValueError("\n".join(messages))


def check_overrides(arguments: Sequence[str]) -> list[str]:
    """One message for each override that names a choice or a setting that does not exist, with the nearest that do."""
    folders = yaml_folders(arguments)
    groups = groups_in(folders)
    groups += [inner for group in groups for inner in inner_groups(group)]
    messages = []
    for launcher, (package, extra) in LAUNCHERS.items():
        if launcher in arguments and not _is_installed(f"hydra_plugins.{package.replace('-', '_')}"):
            messages.append(f"{launcher} needs {package}, which is not installed here: pip install 'mlsuperb[{extra}]'")
    if launched() > 1 and not {"-m", "--multirun"}.isdisjoint(arguments):
        messages.append(
            f"a sweep (-m) is started once, not by {launched()} processes: give the command without torchrun or accelerate; "
            "with hydra/launcher=slurm each of its runs can have several processes (docs/scaling.md)"
        )
    for argument in arguments:
        match = _OVERRIDE.match(argument)
        if match is None or match["prefix"] == "~" or match["key"].startswith("hydra"):
            continue
        key, values = match["key"].split("@")[0], match["value"]
        if key in groups and not (key == "exp" and not match["prefix"]):
            messages += [m for value in _choices(values) if (m := _check_choice(key, value, folders))]
        elif match["prefix"] == "":
            own = _check_own(key, arguments, folders) if key.count(".") == 1 else None
            messages += filter(None, [_check_key(key, groups, folders) or own])
    return messages


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False


def _config_dirs(arguments: Sequence[str]) -> Iterator[Path]:
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        if argument in ("--config-dir", "-cd"):
            yield Path(following)
        elif argument.startswith("--config-dir="):
            yield Path(argument.partition("=")[2])


def _choices(values: str) -> list[str]:
    """The names in `a` or `a,b`; none where a sweep's functions or an interpolation make it anything else."""
    names = values.split(",")
    return names if all(re.fullmatch(r"[\w/.-]+", name) for name in names) else []


def _check_choice(group: str, value: str, folders: Sequence[Path]) -> str | None:
    known = options(group, folders)
    if value in known or value == "null":
        return None
    close = nearest(value, known) or nearest(value, known, 8)
    listed = f"nearest: {', '.join(close)}" if close else f"options: {', '.join(known)}"
    return f"{group} has no option '{value}'; {listed}"


def _check_key(key: str, groups: Sequence[str], folders: Sequence[Path]) -> str | None:
    head, _, _ = key.partition(".")
    known = {*settings(head, folders), *(() if head in groups else groups)}
    if key in known or any(key.startswith(f"{leaf}.") for leaf in _leaves(known)):
        return None
    if head == "exp":
        return f"an experiment is added with a plus sign: +{key}=..."
    proposed = sorted(name for name in known if name.rpartition(".")[2] not in _NOT_SETTINGS) or sorted(known)
    close = nearest(key, proposed)
    listed = f"nearest: {', '.join(close)}" if close else f"known: {', '.join(proposed)}"
    return f"there is no setting '{key}'; {listed}"


def _check_own(key: str, words: Sequence[str], folders: Sequence[Path]) -> str | None:
    """A setting that only other options of its group have than the one that is chosen."""
    group, _, name = key.partition(".")
    chosen = [option for option in _chosen(group, words, folders) if option]
    experiments = [f"exp/{word.partition('=')[2]}" for word in words if word.startswith("+exp=")]
    if not chosen or any(key in settings(group, folders, option=option) for option in chosen):
        return None
    having = [option for option in options(group, folders) if key in settings(group, folders, option=option)]
    if not having or any(key in _body(one, folders) for one in experiments):
        return None
    return f"{group}={','.join(chosen)} has no setting '{name}', unlike {', '.join(f'{group}={one}' for one in having[:3])}"


def _body(chooser: str, folders: Sequence[Path]) -> set[str]:
    """The settings that a YAML file (`exp/v1/lid`), or one that it builds on, gives itself."""
    found: set[str] = set()
    for content in map(read_yaml, _files("", folders, chooser)):
        bases = [entry for entry in content.pop("defaults", []) if isinstance(entry, str)]
        found |= {*_flatten(content), *(key for base in bases for key in _body(base.lstrip("/"), folders))}
    return found


def _leaves(names: Iterable[str]) -> list[str]:
    """The names that are not a part of another one."""
    ordered = sorted(set(names))
    parents = {name[:place] for name in ordered for place, letter in enumerate(name) if letter == "."}
    return [name for name in ordered if name not in parents]


def _files(group: str, folders: Sequence[Path], option: str | None) -> list[Path]:
    """YAML files of a group's option, or of all."""
    names = options(group, folders) if option is None else [option]
    return [path for folder in folders for name in names if (path := folder / group / f"{name}.yaml").is_file()]


def read_yaml(path: Path) -> dict[str, Any]:
    """The content of a YAML file; empty where it has none."""
    return deepcopy(_parsed(path, path.stat().st_mtime_ns))


@cache
def _parsed(path: Path, _changed_ns: int) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return content


def _flatten(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.items():
        found[f"{prefix}{key}"] = value
        if isinstance(value, dict):
            found |= _flatten(value, f"{prefix}{key}.")
    return found
