"""`python -m mlsuperb.evaluate RUN data=...`: decode and score other data with a trained run.

What else may be given, as in mlsuperb.run: settings of data, decoding, scoring and loading; the rest is the run's own.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from mlsuperb.options import check_overrides

CHANGEABLE = ("data", "decoding", "scoring", "loading")


def evaluate(run: Path, overrides: Sequence[str], *, device: str = "auto") -> Path:
    """Decode every split of the given data that is neither `train` nor `dev`, score it, and return the folder of the
    result: `<run>/evaluations/<data>-<signature of what was given>`.

    Raises:
        ValueError: the run holds no trained model, or the data cannot be read.
    """
    from mlsuperb import build, summary
    from mlsuperb.experiment import signature
    from mlsuperb.settings import check, compose
    from mlsuperb.training.progress import PROGRESS_FILE, Progress

    changed = {override.lstrip("+~").partition("=")[0].partition(".")[0] for override in overrides}
    if refused := changed - {*CHANGEABLE, "manifests"}:
        raise ValueError(
            f"{', '.join(sorted(refused))} cannot be changed for a trained run; give settings of {', '.join(CHANGEABLE)}"
        )
    if "data" not in changed:
        raise ValueError("say which data to evaluate on: data=..., as in mlsuperb.run")
    given = compose(overrides)
    groups = sorted(changed & set(CHANGEABLE))
    check(given, groups=groups)
    recogniser, config = build.load_recogniser(run, {name: given[name] for name in groups}, device=device)
    config["manifests"] = given["manifests"]
    manifest, record = build.read_data(config)
    test = build.test_rows(config, manifest)
    folder = run / "evaluations" / f"{config['data']['name']}-{signature({name: config[name] for name in groups})}"
    folder.mkdir(parents=True, exist_ok=True)
    dataset = recogniser.loading.dataset(test, encode=None, resample=build.build_corpus(config).resample)
    hypotheses = recogniser.decode(dataset, folder / "hypotheses.jsonl")
    summary.save_result(
        config,
        folder,
        record=record,
        model=recogniser.model,
        hypotheses=hypotheses,
        progress=Progress.load(run / PROGRESS_FILE),
    )
    return folder


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m mlsuperb.evaluate", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a trained run, e.g. exp/demo-1a2b3c4d")
    parser.add_argument("overrides", nargs="+", metavar="data=...", help="the data, as in mlsuperb.run")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if messages := check_overrides(options.overrides):
        sys.exit("\n".join(messages))
    try:
        folder = evaluate(options.run, options.overrides, device=options.device)
    except ValueError as error:
        sys.exit(str(error))
    from mlsuperb import summary

    summary.show(folder)


if __name__ == "__main__":
    main()
