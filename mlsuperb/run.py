"""`python -m mlsuperb.run +exp=...`: train one model, decode its test sets, score them, write one result."""

from __future__ import annotations

import sys

import hydra
from omegaconf import DictConfig

from mlsuperb.options import check_overrides, conf_dir
from mlsuperb.settings import check, plain, register_resolvers

register_resolvers()


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")
def main(cfg: DictConfig) -> None:
    """The data flow of a run. A second start with the same settings resumes, or shows the result."""
    from mlsuperb import build, report  # noqa: PLC0415 - torch is not needed to say that an option does not exist
    from mlsuperb.experiment import Run  # noqa: PLC0415

    config = plain(cfg)
    with Run(config) as run:
        if not run.finished:
            check(config)
            run.begin()
            data = build.build_data(config, run=run)
            recogniser = build.build_recogniser(config, vocabulary=data.vocabulary)
            progress = build.train(config, recogniser, data=data, run=run)
            hypotheses = recogniser.decode(data.test, run.folder / "hypotheses.jsonl")
            report.save_result(config, run, data=data, model=recogniser.model, progress=progress, hypotheses=hypotheses)
        report.show(run)


def cli() -> None:
    """Entry point: names that do not exist are answered with the nearest ones, before anything is loaded."""
    if messages := check_overrides(sys.argv[1:]):
        sys.exit("\n".join(messages))
    main()


if __name__ == "__main__":
    cli()
