"""Hydra's side: from overrides and YAML files to a plain dictionary."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mlsuperb.runs.classes import bring, named_in
from mlsuperb.runs.identity import present, signature, without_later
from mlsuperb.runtime.conf import conf_dir

_READ_AS_IT_IS = re.compile(r"[\w./:@%+-]*", re.ASCII)  # values that are plain text to Hydra, without asking it


def register_resolvers() -> None:
    """`${run_signature:}`, `${num_gpus:}` (1 where there is none), and `${choose:key,{a: 1, b: 2}}`, which looks a value up
    (`default` where `key` is not in it)."""
    OmegaConf.register_new_resolver("run_signature", _run_signature, replace=True)
    OmegaConf.register_new_resolver("choose", _choose, replace=True)
    OmegaConf.register_new_resolver("num_gpus", _num_gpus, replace=True)


def _run_signature(*, _root_: DictConfig) -> str:
    raw = OmegaConf.to_container(_root_, resolve=False)
    assert isinstance(raw, dict)
    kept = OmegaConf.create({key: value for key, value in raw.items() if key not in ("run_id", "run_name", "hydra")})
    resolved = OmegaConf.to_container(kept, resolve=True)
    assert isinstance(resolved, dict)
    _bring_all(resolved)
    return signature(without_later(resolved))  # type: ignore[arg-type]


def _num_gpus() -> int:
    import torch

    return max(1, torch.cuda.device_count())


def _choose(key: Any, table: Mapping[Any, Any]) -> Any:
    if key not in table and "default" not in table:
        raise ValueError(f"{key!r} is not one of {', '.join(map(str, table))}")
    return table.get(key, table.get("default"))


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The resolved configuration as plain Python types. What it names may be built: the user has composed it.

    Raises:
        ValueError: it cannot be resolved.
    """
    try:
        container = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise ValueError(f"the configuration cannot be resolved: {error}") from error
    assert isinstance(container, dict)
    config = present(without_later(container))  # type: ignore[arg-type]
    _bring_all(config)
    return config


def _bring_all(config: Mapping[Any, Any]) -> None:
    bring(name for _, name in named_in(config))


def compose(overrides: Sequence[str], *, config_dirs: Sequence[Path] = ()) -> dict[str, Any]:
    """The configuration that `python -m mlsuperb.run OVERRIDES` would run, with `--config-dir` for each of `config_dirs`.

    Raises:
        ValueError: there is no such choice or setting.
    """
    register_resolvers()
    overrides = as_texts(overrides)
    try:
        if GlobalHydra.instance().is_initialized():  # inside a run
            return plain(hydra_compose("config", overrides=overrides))
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            search_first(config_dirs)
            return plain(hydra_compose("config", overrides=overrides))
    except HydraException as error:
        raise ValueError(str(error)) from error


def as_texts(overrides: Sequence[str]) -> list[str]:
    """Overrides with quotes around the values that Hydra's grammar cannot read: a path with `=`, `(`, `#`, an apostrophe or an é
    is taken as it is.

    Raises:
        ValueError: a value may have been meant as a list or a sweep; says how it is quoted.
    """
    return [_as_text(override) for override in overrides]


def _as_text(override: str) -> str:
    match = re.match(r"(\+{0,2}[\w/.@][\w/.@-]*=)(.*)", override, flags=re.DOTALL)
    if match is None or _READ_AS_IT_IS.fullmatch(match[2]):
        return override
    try:
        OverridesParser.create().parse_override(override)
    except HydraException as error:
        key, value = match.groups()
        quoted = key + _quoted(value)
        if "," in value or value[0] in "[{'\"":
            why, plainly = str(error).splitlines()[0], not re.search(r'["$`\\!]', quoted)
            raise ValueError(
                f"{override} cannot be read ({why}). If it is one text, such as a path, quote it for Hydra and for the shell: "
                + (f'"{quoted}"' if plainly else shlex.quote(quoted))
            ) from error
        return quoted
    return override


def _quoted(value: str) -> str:
    """For Hydra's grammar, in which a backslash escapes quotes, and itself before them."""
    escaped = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), value)
    return f"'{escaped}'"


def search_first(config_dirs: Iterable[Path]) -> None:
    """Have Hydra, which is initialised, look into these folders before our own, as its command line does for `--config-dir`."""
    loader: Any = GlobalHydra.instance().config_loader()
    for folder in config_dirs:
        loader.get_search_path().prepend("command-line", f"file://{folder.resolve()}", anchor="schema")
    loader.repository.initialize_sources(loader.get_search_path())
