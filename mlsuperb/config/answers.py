"""What `mlsuperb run` answers before anything is loaded: help, version, names that do not exist."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mlsuperb import __version__
from mlsuperb.config.options import read_yaml, refuse_unknown, yaml_folders
from mlsuperb.runtime.conf import conf_dir
from mlsuperb.runtime.refusals import check_address_space


def answer(arguments: Sequence[str]) -> None:
    """Answer what needs nothing loaded: print the help for `--help`, the version for `--version`, and end the program.

    Raises:
        ValueError: nothing was chosen, names do not exist, Hydra's own completion was asked for, or the libraries could not be
            loaded here.
    """
    if not arguments:
        raise ValueError("nothing was chosen: give an experiment, such as +exp=demo, or look at --help")
    if not {"-sc", "--shell-completion", "--shell_completion"}.isdisjoint(arguments):
        raise ValueError(
            "completion comes from `mlsuperb completion bash` (zsh, fish), which knows more than Hydra's own"
        )
    if "--version" in arguments:
        sys.stdout.write(f"mlsuperb {__version__}\n")
        sys.exit()
    refuse_unknown(arguments)
    if {"--help", "-h"} & set(arguments):
        sys.stdout.write(f"{help_text(arguments)}\n")
        sys.exit()
    check_address_space()


def help_text(arguments: Sequence[str]) -> str:
    """What Hydra prints for `--help` by `hydra.help` of conf/config.yaml; loading it would take ten times as long."""
    shown = read_yaml(conf_dir() / "config.yaml")["hydra"]["help"]
    found: dict[str, set[str]] = {}
    for folder in yaml_folders(arguments):
        for path in folder.rglob("*.yaml"):
            group = path.parent.relative_to(folder).as_posix()
            if group.split("/")[0] not in (".", "hydra"):
                found.setdefault(group, set()).add(path.stem)
    groups = "\n".join(f"{group}: {', '.join(sorted(found[group]))}" for group in sorted(found))
    text = str(shown["template"]).replace("$APP_CONFIG_GROUPS", f"{groups}\n")
    for part in ("header", "footer"):
        text = text.replace(f"${{hydra.help.{part}}}", shown[part])
    return text
