"""`python -m mlsuperb.run +exp=...`: train one model, decode its test sets, score them, write one result."""

from __future__ import annotations

import sys
from typing import Any

from mlsuperb.options import answer, conf_dir


def main(cfg: Any) -> None:
    """Run the experiment of a Hydra configuration. A second start with the same settings resumes, or shows the result."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from mlsuperb.settings import plain

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
    from mlsuperb import build, ranks, summary
    from mlsuperb.experiment import Run
    from mlsuperb.settings import check

    with ranks.joined(), Run(config) as run:
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
                decoding=recogniser.decoding,
                hypotheses=hypotheses,
                progress=progress,
                environment=run.environment,
            )
        summary.show(run.folder)


def cli() -> None:
    """Entry point: help and names that do not exist are answered before anything is loaded."""
    answer(sys.argv[1:])
    import hydra

    from mlsuperb.settings import register_resolvers

    register_resolvers()
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(main)()


if __name__ == "__main__":
    cli()
