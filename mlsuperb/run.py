"""The door, `python -m mlsuperb.run +exp=...`: settings, then the job they choose, in the run's folder."""

from __future__ import annotations

import sys
from typing import Any

from mlsuperb.commands.errors import end, for_user, prepare_terminal
from mlsuperb.config.answers import answer
from mlsuperb.runtime.conf import conf_dir
from mlsuperb.runtime.ending import ended_by


def main(cfg: Any) -> None:
    """Run the experiment of a Hydra configuration. A second start with the same settings resumes, or shows the result."""
    from mlsuperb.commands.sweep import refusal
    from mlsuperb.config.compose import plain

    prepare_terminal()  # a launcher may have started this process
    try:
        return run_experiment(plain(cfg))
    except KeyboardInterrupt as ended:
        ended_by(ended, "interrupted: give the same command again, it goes on from the last checkpoint")
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        if (message := for_user(error)) is None:
            raise  # a bug, which shows its traceback
    raise refusal(message)  # out here the error and all that it holds are gone, worker processes too


def run_experiment(config: dict[str, Any]) -> None:
    """Do the job of a configuration in the run's folder, and show its result, which nothing undoes."""
    from mlsuperb.config.build import job_of
    from mlsuperb.config.check import check, check_finished
    from mlsuperb.runs.finished import revisit, show
    from mlsuperb.runs.run import Run
    from mlsuperb.runtime import ranks

    with ranks.joined():
        run = Run(config)
        if ranks.from_main(lambda: run.finished):
            check_finished(config)
            revisit(job_of(config), config, run.folder)
        else:
            check(config)
            with run:
                run.begin()
                job_of(config)(config, run)
        show(job_of(config), run.folder)


def start() -> None:
    """Answer help and names that do not exist before anything is loaded, else run what the command line says."""
    answer(sys.argv[1:])
    import hydra

    from mlsuperb.config.compose import as_texts, register_resolvers

    register_resolvers()
    sys.argv[1:] = as_texts(sys.argv[1:])
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(main)()


def cli() -> None:
    """Entry point."""
    end(start)


if __name__ == "__main__":
    cli()
