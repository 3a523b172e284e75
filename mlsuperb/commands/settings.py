"""What commands make of the settings on their line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsuperb.config.options import refuse_unknown

if TYPE_CHECKING:
    from mlsuperb.data.corpora.base import Corpus


def configured(
    overrides: Sequence[str], *groups: str, config_dirs: Sequence[Path] = ()
) -> tuple[dict[str, Any], Corpus]:
    """The configuration, of which `groups` are checked, and its corpus; `config_dirs` hold YAML files of the user.

    Raises:
        ValueError: a setting is unknown or wrong.
        FileNotFoundError: a folder of `config_dirs` does not exist.
    """
    refuse_unknown(overrides, config_dirs=config_dirs)  # before the packages are loaded that take a second
    from mlsuperb.benchmark.build import build_corpus
    from mlsuperb.config.check import check
    from mlsuperb.config.compose import compose

    config = compose(overrides, config_dirs=config_dirs)
    check(config, groups)
    return config, build_corpus(config)


def add_config_dir(parser: argparse.ArgumentParser) -> None:
    """Let a command be told what the user has brought, as `mlsuperb run` is (`bring_own`)."""
    parser.add_argument(
        "-cd", "--config-dir", type=Path, action="append", default=[],
        help="folder with own YAML files: a run that was made with classes of your own is only built if they name these",
    )  # fmt: skip


def bring_own(options: argparse.Namespace) -> None:
    """Let runs name the classes that the YAML files in the user's folders name.

    Raises:
        ValueError: a folder does not exist, or holds a file that is no YAML.
    """
    from mlsuperb.runs.classes import bring, named_in_files

    for folder in options.config_dir:
        bring(named_in_files(folder))


def named_folders(text: str) -> tuple[str, list[Path]]:
    """NAME=FOLDER[,FOLDER], for argparse."""
    name, equals, folders = text.partition("=")
    if not (name and equals and folders):
        raise argparse.ArgumentTypeError(f"{text} is not NAME=FOLDER")
    return name, [Path(folder) for folder in folders.split(",") if folder]


def named_path(text: str) -> tuple[str, Path]:
    """NAME=PATH, for argparse."""
    name, (path, *others) = named_folders(text)
    if others:
        raise argparse.ArgumentTypeError(f"{text}: give one after {name}=")
    return name, path


class ByName(argparse.Action):
    """Collects what `named_folders` or `named_path` gives in a dict; a name that is given twice is refused."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        found = dict(getattr(namespace, self.dest) or {})
        for name, value in values:
            if name in found:
                raise argparse.ArgumentError(self, f"{name} is given twice; give each a name of its own")
            found[name] = value
        setattr(namespace, self.dest, found)


def markdown_file(text: str) -> Path:
    """A file for a table in markdown, for argparse; not one of those that are written beside it."""
    path = Path(text)
    if path.suffix in (".json", ".svg", ".png", ".csv"):
        raise argparse.ArgumentTypeError(
            f"{text} would be overwritten by what is written beside the table; give a file such as {path.with_suffix('.md')}"
        )
    return path
