"""`mlsuperb evaluate RUN data=...`: decode and score other data with a trained run.

What else may be given, as in mlsuperb.run: settings of data, decoding, scoring and loading; the rest is the run's own.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlsuperb.config.options import refuse_unknown
from mlsuperb.runs.hypotheses import HYPOTHESES_FILE

log = logging.getLogger(__name__)

CHANGEABLE = ("data", "decoding", "scoring", "loading")


def evaluate(run: Path, overrides: Sequence[str], *, device: str = "auto") -> Path:
    """Decode every split of the given data that is neither `train` nor `dev`, score it, and return the folder of the
    result: `<run>/evaluations/<data>-<signature of what was given>`. What was evaluated before is not decoded again.

    Raises:
        ValueError: the run holds no trained model, or the data cannot be read.
    """
    from mlsuperb.benchmark import build
    from mlsuperb.config.check import check
    from mlsuperb.runs import store
    from mlsuperb.runs.identity import signature
    from mlsuperb.scoring.result import SCORED

    config = build.load_config(run) | _changes(overrides) | {"benchmark": None}  # it was of the run's own data
    check(config)
    given = signature({name: config[name] for name in CHANGEABLE})
    folder = run / "evaluations" / f"{config['data']['name']}-{given}"
    done = store.why_unfinished(folder) is None
    # protocols are no part of the folder's name
    if done and store.read(folder, *SCORED).config["scoring"] == config["scoring"]:
        log.info("evaluated before; here is its result (remove %s to do it again)", folder)
        return folder
    _decode(run, config, folder, device=device)
    return folder


def _decode(run: Path, config: dict[str, Any], folder: Path, *, device: str) -> None:
    """Decode and score into `folder`."""
    from mlsuperb.benchmark import build
    from mlsuperb.benchmark.result import save_result
    from mlsuperb.runs.corpus import test_rows
    from mlsuperb.runs.decoding import decode
    from mlsuperb.runs.environment import environment
    from mlsuperb.runtime.files import held
    from mlsuperb.training.progress import PROGRESS_FILE, Progress

    recogniser = build.load_recogniser(run, config | {"trainer": config["trainer"] | {"device": device}})
    manifest, record = build.read_data(config)
    corpus = build.build_corpus(config)
    test = test_rows(corpus, manifest, name=config["data"]["name"])
    unknown = sorted(set(test["language"]) - {token.strip("[]") for token in recogniser.vocabulary.tokens})
    if recogniser.task.has_language and unknown:
        log.warning("not in the training data, so never recognised: %s", ", ".join(unknown))
    with held(folder):
        dataset = recogniser.loading.dataset(test, encode=None, resample=corpus.resample)
        with build.features_kept(config, recogniser, dataset) as (speech,):
            decoded = decode(speech, folder / HYPOTHESES_FILE, recogniser)
        save_result(
            config,
            folder,
            record=record,
            model=recogniser.model,
            decoded=decoded,
            progress=Progress.load(run / PROGRESS_FILE),
            environment=environment(),
        )


def _changes(overrides: Sequence[str]) -> dict[str, Any]:
    """The groups that `overrides` change, whole.

    Raises:
        ValueError: one may not be changed, or is changed in part, which would mix a default choice with the run's.
    """
    from mlsuperb.config.compose import compose

    keys = {override.lstrip("+~").partition("=")[0] for override in overrides}
    groups = {key.partition(".")[0] for key in keys} - {"manifests"}
    if refused := groups - set(CHANGEABLE):
        raise ValueError(
            f"{', '.join(sorted(refused))} cannot be changed for a trained run; give settings of {', '.join(CHANGEABLE)}"
        )
    if "data" not in keys:
        raise ValueError("say which data to evaluate on: data=..., as in mlsuperb.run")
    if partial := sorted(groups - keys):
        raise ValueError(
            f"say which {partial[0]} the settings are of: {partial[0]}=... beside {partial[0]}.setting=..."
        )
    given = compose(overrides)
    return {name: given[name] for name in (*groups, "manifests")}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="mlsuperb evaluate", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a trained run, e.g. exp/demo-1a2b3c4d")
    parser.add_argument("overrides", nargs="+", metavar="data=...", help="the data, as in mlsuperb.run")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    refuse_unknown(options.overrides)
    folder = evaluate(options.run, options.overrides, device=options.device)
    from mlsuperb.scoring.scored_run import show

    show(folder)
