"""`python -m mlsuperb.run +exp=...`: train one model, decode its test sets, score them, write one result."""

from __future__ import annotations

import sys
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from mlsuperb.options import check_overrides, conf_dir
from mlsuperb.settings import check, plain, register_resolvers

register_resolvers()


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")
def main(cfg: DictConfig) -> None:
    """Run one experiment. A second start with the same settings resumes, or shows the result."""
    try:
        run_experiment(plain(cfg))
    except KeyboardInterrupt:
        sys.exit("\ninterrupted: give the same command again, it goes on from the last checkpoint")
    except (ValueError, OSError) as error:  # for the user to mend; what else is raised is ours, and shows its traceback
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            raise  # a sweep goes on with its next job
        sys.exit(f"\n{error}\n(traceback in {cfg.output_root}/{cfg.run_id}/run.log)")


def run_experiment(config: dict[str, Any]) -> None:
    """The data flow of a run."""
    from mlsuperb import build, summary
    from mlsuperb.experiment import Run

    with Run(config) as run:
        if not run.finished:
            check(config)
            run.begin()
            data = build.build_data(config, run=run)
            recogniser = build.build_recogniser(config, vocabulary=data.vocabulary)
            build.pin_upstream(recogniser, run)
            with build.features_kept(config, recogniser, data.train, data.dev, data.test) as (train, dev, test):
                progress = build.train(config, recogniser, train=train, dev=dev, run=run)
                hypotheses = recogniser.decode(test, run.folder / summary.HYPOTHESES_FILE)
            summary.save_result(
                config,
                run.folder,
                record=data.record,
                model=recogniser.model,
                hypotheses=hypotheses,
                progress=progress,
                environment=run.environment,
            )
        summary.show(run.folder)


def cli() -> None:
    """Entry point: names that do not exist are answered with the nearest ones, before anything is loaded."""
    if not sys.argv[1:]:
        sys.exit("nothing was chosen: give an experiment, such as +exp=demo, or look at --help")
    if messages := check_overrides(sys.argv[1:]):
        sys.exit("\n".join(messages))
    main()


if __name__ == "__main__":
    cli()
