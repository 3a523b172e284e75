"""The runs of a sweep: their folders before it, one table of them after it."""

from __future__ import annotations

import atexit
import copy
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import CompactHydraException, HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from mlsuperb.commands.table import show_runs
from mlsuperb.config.compose import as_texts, register_resolvers, search_first
from mlsuperb.runtime.conf import conf_dir
from mlsuperb.runtime.messages import reported

log = logging.getLogger(__name__)

SWEEP = "MLSUPERB_SWEEP"  # path of the sweep's list of runs; an environment variable, since launchers start processes


class SweepTable(Callback):
    """Keeps a list of a sweep's runs in `<output_root>/sweeps/`, and shows and writes their table when the last has ended
    (`hydra.callbacks` of conf/config.yaml)."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Begin the list."""
        name = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        path = Path(config.output_root).resolve() / "sweeps" / f"{name}-{os.getpid()}.txt"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:  # Hydra would turn an exception into a warning, and end in a traceback of its own
            sys.exit(f"output_root={config.output_root} cannot be written ({error.strerror}): give a folder that can")
        os.environ[SWEEP] = str(path)
        atexit.register(end_sweep)  # where a run failed or was interrupted, Hydra does not call `on_multirun_end`

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Add a run, in whatever process it is started."""
        if path := os.environ.get(SWEEP):
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(f"{Path(config.output_root).resolve() / config.run_id}\n")

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Name a run that failed: Hydra shows one of a sweep's errors, after the last run."""
        if job_return.status is JobStatus.FAILED and SWEEP in os.environ:
            log.error("%s failed: %s", config.run_id, job_return._return_value)  # `return_value` raises it

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Every run has finished."""
        end_sweep()


def refusal(message: str) -> BaseException:
    """What ends a run with a message: the program, or one job of a sweep, whose message Hydra shows after the last job."""
    return CompactHydraException(message) if HydraConfig.get().mode is RunMode.MULTIRUN else SystemExit(f"\n{message}")


def end_sweep() -> None:
    """Show the table of what has finished, if a sweep was begun and has not shown it."""
    name = os.environ.pop(SWEEP, None)
    if name is None:
        return
    path = Path(name)
    folders = [Path(line) for line in dict.fromkeys(path.read_text(encoding="utf-8").splitlines())]
    with reported("no table"):
        show_runs(folders, file=path.with_suffix(".md"), seeds="each_and_mean")


def run_folders(overrides: Sequence[str], *, config_dirs: Sequence[Path] = (), multirun: bool = False) -> list[Path]:
    """Folders of the runs that `python -m mlsuperb.run` would make of these overrides (with `--config-dir`, `-m`), in their
    order, each once. Nothing is run, and launchers make no difference.

    This calls Hydra's loader. A launcher that prints would have to be a class of a package `hydra_plugins`, would leave the
    sweeper's multirun.yaml on disk, and would compose each job from its files, twice: 46 s for 78 runs against 5 s.

    Raises:
        ValueError: there is no such choice or setting.
        FileNotFoundError: a folder of `config_dirs` does not exist.
    """
    for folder in config_dirs:
        if not folder.is_dir():
            raise FileNotFoundError(f"--config-dir {folder}: there is no such folder")
    overrides = [one for one in as_texts(overrides) if not re.match(r"\+*hydra[/.]launcher", one)]
    register_resolvers()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            loader: Any = GlobalHydra.instance().config_loader()
            search_first(config_dirs)
            compose = partial(loader.load_configuration, "config", overrides, from_shell=False)
            master = compose(run_mode=RunMode.MULTIRUN, validate_sweep_overrides=False)
            if not multirun and master.hydra.mode is not RunMode.MULTIRUN:
                configs = iter([compose(run_mode=RunMode.RUN)])
            else:
                params = [f"{key}={value}" for key, value in (master.hydra.sweeper.params or {}).items()]
                # `${...}` is a job's own
                task: Any = OmegaConf.to_container(master.hydra.overrides.task, resolve=False)
                sweep = OverridesParser.create(config_loader=loader).parse_overrides([*params, *task])
                [jobs] = BasicSweeper.split_arguments(sweep, max_batch_size=None)
                configs = _compose_jobs(loader, master, jobs)
            return list(dict.fromkeys(Path(config.output_root) / config.run_id for config in configs))
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(str(error)) from error


def _compose_jobs(loader: Any, master: DictConfig, jobs: Iterable[Sequence[str]]) -> Iterator[DictConfig]:
    """What Hydra's `loader.load_sweep_config` gives for each job. The YAML files are read once for each choice of options,
    not once a job: settings are put into a copy, as Hydra puts them in (four times as fast where seeds or rates differ)."""
    parser = OverridesParser.create()
    composed: dict[tuple[str, ...], DictConfig] = {}
    for job in jobs:
        overrides = parser.parse_overrides(list(job))
        are_choices = [  # hydra._internal.defaults_list.Overrides
            loader.repository.group_exists(one.key_or_group) and not isinstance(one.value(), dict) for one in overrides
        ]
        choices = tuple(word for word, is_choice in zip(job, are_choices, strict=True) if is_choice)
        if choices not in composed:
            composed[choices] = loader.load_sweep_config(master, list(choices))
            with open_dict(composed[choices]):
                del composed[choices]["hydra"]
        config = copy.deepcopy(composed[choices])
        settings = [one for one, is_choice in zip(overrides, are_choices, strict=True) if not is_choice]
        loader._apply_overrides_to_config(settings, config)
        yield config
