"""The door, `python -m mlsuperb.run +exp=...`: settings, then the job they choose, in the run's folder."""

from __future__ import annotations

import sys
from typing import Any

from mlsuperb.commands.errors import end, for_user
from mlsuperb.config.options import answer, conf_dir
from mlsuperb.runtime.refusals import check_address_space


def main(cfg: Any) -> None:
    """Run the experiment of a Hydra configuration. A second start with the same settings resumes, or shows the result."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from mlsuperb.config.compose import plain

    message = None
    try:
        run_experiment(plain(cfg))
    except KeyboardInterrupt:
        sys.exit("\ninterrupted: give the same command again, it goes on from the last checkpoint")
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        message = for_user(error)
        if message is None or HydraConfig.get().mode is RunMode.MULTIRUN:
            raise  # ours, which shows its traceback; a sweep goes on with its next job
    if message is not None:  # out here the error and all that it holds are gone, worker processes too
        sys.exit(f"\n{message}\n(traceback in {cfg.output_root}/{cfg.run_id}/run.log)")


def run_experiment(config: dict[str, Any]) -> None:
    """Do the job of a configuration in the run's folder, and show its result."""
    from mlsuperb.config.build import job_of
    from mlsuperb.config.check import check
    from mlsuperb.runs.run import Run
    from mlsuperb.runtime import ranks

    with ranks.joined(), Run(config) as run:
        if not run.finished:
            check(config)
            run.begin()
            job_of(config)(config, run)
        if ranks.is_main():
            job_of(config).show(run.folder)


def start() -> None:
    """Answer help and names that do not exist before anything is loaded, else run what the command line says."""
    answer(sys.argv[1:])
    check_address_space()
    import hydra

    from mlsuperb.config.compose import register_resolvers

    register_resolvers()
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(main)()


def cli() -> None:
    """Entry point."""
    end(start)


if __name__ == "__main__":
    cli()
