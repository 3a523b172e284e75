"""Where `conf/` is, `--help`, and the nearest names for an option that is not there. Light: the command line asks before
Hydra, let alone torch, loads."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml

from mlsuperb.runtime.ranks import launched

# What the files in conf/hydra/launcher/ build on, a package each and our name for it; Hydra's own message names neither.
LAUNCHERS = {
    "hydra/launcher=slurm": ("hydra-submitit-launcher", "slurm"),
    "hydra/launcher=local": ("hydra-joblib-launcher", "sweep"),
}

_OVERRIDE = re.compile(r"^(?P<prefix>\+{0,2}|~)(?P<key>[\w/.@-]+)=(?P<value>.*)$")


def conf_dir() -> Path:
    """Folder with the YAML files: inside an installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"no conf/config.yaml in or beside {package}; reinstall mlsuperb")


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


def nearest(name: str, known: Iterable[str], number: int = 3) -> list[str]:
    """The known names most like `name`, best first."""
    return difflib.get_close_matches(name, list(known), n=number, cutoff=0.5)


def answer(arguments: Sequence[str]) -> None:
    """End the program with what needs no program: nothing was chosen, names do not exist, `--help`."""
    if not arguments:
        sys.exit("nothing was chosen: give an experiment, such as +exp=demo, or look at --help")
    if messages := check_overrides(arguments):
        sys.exit("\n".join(messages))
    if {"--help", "-h"} & set(arguments):
        sys.stdout.write(f"{help_text(arguments)}\n")
        sys.exit()


def check_overrides(arguments: Sequence[str]) -> list[str]:
    """One message for each override that names a choice or a setting that does not exist, with the nearest that do."""
    folders = _folders(arguments)
    outer = {path.name for folder in folders for path in folder.iterdir() if path.is_dir() and path.name != "hydra"}
    groups = sorted({*outer, *(inner for group in outer for inner in inner_groups(group))})
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
        elif match["prefix"] == "" and (m := _check_key(key, groups, folders)):
            messages.append(m)
    return messages


def help_text(arguments: Sequence[str]) -> str:
    """What Hydra prints for `--help` by `hydra.help` of conf/config.yaml; loading it would take ten times as long."""
    shown = _read(conf_dir() / "config.yaml")["hydra"]["help"]
    found: dict[str, set[str]] = {}
    for folder in _folders(arguments):
        for path in folder.rglob("*.yaml"):
            group = path.parent.relative_to(folder).as_posix()
            if group.split("/")[0] not in (".", "hydra"):
                found.setdefault(group, set()).add(path.stem)
    groups = "\n".join(f"{group}: {', '.join(sorted(found[group]))}" for group in sorted(found))
    text = str(shown["template"]).replace("$APP_CONFIG_GROUPS", f"{groups}\n")
    for part in ("header", "footer"):
        text = text.replace(f"${{hydra.help.{part}}}", shown[part])
    return text


def _folders(arguments: Sequence[str]) -> list[Path]:
    """With YAML files: ours, and those of `--config-dir` that are there (Hydra refuses the others)."""
    return [conf_dir(), *(folder for folder in _config_dirs(arguments) if folder.is_dir())]


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
    listed = f"nearest: {', '.join(close)}" if close else f"there are: {', '.join(known)}"
    return f"{group} has no option '{value}'; {listed}"


def _check_key(key: str, groups: Sequence[str], folders: Sequence[Path]) -> str | None:
    head, _, _ = key.partition(".")
    if head in groups:
        known = {
            f"{group.replace('/', '.')}.{name}"
            for group in (head, *inner_groups(head))
            for one in options(group, folders)
            for name in _group_keys(group, one, folders)
        }
    else:  # settings of every run, or of a job
        tops = [folders[0] / "config.yaml", *(path for folder in folders for path in (folder / "job").glob("*.yaml"))]
        known = {name for top in tops for name in _flatten(_read(top)) if not name.startswith(("defaults", "hydra"))}
        known |= set(groups)
    leaves = {name for name in known if not any(other.startswith(f"{name}.") for other in known)}
    if key in known or any(key.startswith(f"{leaf}.") for leaf in leaves):
        return None
    if head == "exp":
        return f"an experiment is added with a plus sign: +{key}=..."
    settings = sorted(name for name in known if name.rpartition(".")[2] not in ("_target_", "_partial_", "name"))
    close = nearest(key, settings)
    listed = f"nearest: {', '.join(close)}" if close else f"known: {', '.join(settings)}"
    return f"there is no setting '{key}'; {listed}"


def _group_keys(group: str, option: str, folders: Sequence[Path]) -> list[str]:
    path = next(
        folder / group / f"{option}.yaml" for folder in folders if (folder / group / f"{option}.yaml").is_file()
    )
    return list(_flatten(_read(path)))


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return content


def _flatten(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
