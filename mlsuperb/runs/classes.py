"""Which classes a configuration may name, and the one place where they are imported.

To build what a configuration names (`_target_`, a protocol's address) is to run its code. Configurations also come from the
folders of other people's runs, so a class is imported only if a YAML file of this package names it (`conf/`), or if the user has
brought it: on the command line of `mlsuperb run`, or in the YAML files of a `--config-dir`. A run's folder is never asked.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from mlsuperb.runtime.conf import conf_dir
from mlsuperb.runtime.messages import one_line

TARGET, PARTIAL = "_target_", "_partial_"
_NAMED = re.compile(r"\b_target_:\s*([\w.]+)")  # in a YAML file of ours
_OPTIMISER = re.compile(r"torch\.optim\.[A-Z]\w*")  # any of torch's own
_brought: set[str] = set()


def bring(names: Iterable[str]) -> None:
    """Let configurations of this process name these, too: addresses such as `my_module.MyClass`, which the user has given."""
    _brought.update(names)


def named_in(config: Any) -> Iterator[tuple[str, str]]:
    """Settings that name something to import, and its address: `("head._target_", "mlsuperb.heads.linear.LinearHead")`."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            if key == TARGET:
                yield key, str(value)
            elif key == "protocols" and isinstance(value, list):
                yield from ((key, one) for one in map(str, value) if "." in one)
            else:
                yield from ((f"{key}.{place}", name) for place, name in named_in(value))
    elif isinstance(config, list):
        for number, value in enumerate(config):
            yield from ((f"{number}.{place}", name) for place, name in named_in(value))


def named_in_files(folder: Path) -> set[str]:
    """The addresses that are named by the YAML files below a folder of the user.

    Raises:
        ValueError: there is no such folder, or a file in it is no YAML.
    """
    if not folder.is_dir():
        raise ValueError(f"--config-dir {folder}: there is no such folder")
    found: set[str] = set()
    for path in folder.rglob("*.yaml"):
        try:
            found |= {name for _, name in named_in(yaml.safe_load(path.read_text(encoding="utf-8")))}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} cannot be read as YAML ({one_line(error)[:200]}); mend it") from error
    return found


@cache
def _offered() -> frozenset[str]:
    # by a pattern, since parsing all files takes a second; conf/hydra and the files beside the groups are for Hydra alone
    files = (
        path for path in conf_dir().rglob("*.yaml") if path.relative_to(conf_dir()).parts[0] not in ("hydra", path.name)
    )
    return frozenset(name for path in files for name in _NAMED.findall(path.read_text(encoding="utf-8")))


def may_be_built(name: str) -> bool:
    """Whether a class or a protocol may be imported."""
    return name in _offered() or name in _brought or _OPTIMISER.fullmatch(name) is not None


def refuse_strangers(config: Mapping[str, Any], place: Path) -> None:
    """Look through a configuration that lies in somebody's folder, before anything that it names is imported.

    Raises:
        ValueError: it names what may not be built.
    """
    if strangers := [f"{setting}: {name}" for setting, name in named_in(config) if not may_be_built(name)]:
        raise ValueError(
            f"{place} names what is no part of mlsuperb ({'; '.join(strangers)}), and to build it would run its code. If it is "
            "your own, give --config-dir DIR, the folder with the YAML file that names it; if not, do not trust this folder"
        )


def class_named(name: Any) -> Any:
    """The class, or other object, at an address.

    Raises:
        ValueError: it may not be built, or is not there.
    """
    name = str(name)  # a setting may be anything
    module, _, attribute = name.rpartition(".")
    if not may_be_built(name):
        raise ValueError(
            f"{name!r} is no part of mlsuperb, and the user has not given it (on the command line of mlsuperb run, or in a YAML "
            "file of --config-dir)"
        )
    # python -m looks in the current folder, a console script does not
    if name not in _offered() and "" not in sys.path:
        sys.path.append("")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ValueError(f"{name} cannot be imported: {error}") from error
