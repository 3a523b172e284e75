"""`mlsuperb evaluate RUN data=...`: decode and score other data with a trained run.

What else may be given, as in mlsuperb.run: settings of data, decoding (in runs of job=translation: search), scoring and
loading; the rest is the run's own.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsuperb.commands.settings import add_config_dir, bring_own
from mlsuperb.config.options import refuse_unknown

if TYPE_CHECKING:
    from mlsuperb.runs.job import Evaluates

log = logging.getLogger(__name__)

CHANGEABLE = ("data", "decoding", "search", "scoring", "loading")  # as far as the run's job has them


def evaluate(
    run: Path, overrides: Sequence[str], *, device: str = "auto", language: str | None = None,
    config_dirs: Sequence[Path] = (), into: Path | None = None,
) -> Path:  # fmt: skip
    """Decode every split of the given data that is neither `train` nor `dev`, score it, and return the folder of the
    result: `<run>/evaluations/<data>-<signature of what was given>`. What was evaluated before is not decoded again, unless the
    data hold other utterances now.

    Args:
        language: ISO 639-3 code of what is written, whatever the data name, for a model that is told it (job=translation).
        config_dirs: folders with the user's own YAML files, for `overrides`.
        into: folder that takes the place of `<run>` in that of the result.

    Raises:
        ValueError: the run holds no trained model, the data cannot be read, or the model does not take them.
    """
    from mlsuperb.config.build import job_of
    from mlsuperb.config.check import check
    from mlsuperb.runs import store
    from mlsuperb.runs.identity import signature
    from mlsuperb.runs.job import Evaluates
    from mlsuperb.runtime.files import made

    stored = store.config_to_build(run)
    job = job_of(stored)
    if not isinstance(job, Evaluates):
        raise ValueError(f"{run} is a run of job={stored['job']['name']}, which writes no text to evaluate")
    config = job.trained_config(run)
    changeable = [name for name in CHANGEABLE if name in job.groups]
    config |= _changes(overrides, changeable, job=config["job"]["name"], config_dirs=config_dirs)
    if "benchmark" in job.settings:
        config["benchmark"] = None  # it was of the run's own data
    check(config)
    chosen = {name: config[name] for name in changeable} | ({} if language is None else {"language": language})
    folder = (into or run) / "evaluations" / f"{config['data']['name']}-{signature(chosen)}"
    if not _stands(job, config, folder):
        made(folder.parent)
        job.evaluate(run, config | {"trainer": config["trainer"] | {"device": device}}, folder, language=language)
    return folder


def _stands(job: Evaluates, config: Mapping[str, Any], folder: Path) -> bool:
    """Whether a folder holds the evaluation of these data; it is scored again where other protocols are asked for, which are no
    part of the folder's name."""
    from mlsuperb.runs import store
    from mlsuperb.runs.finished import changed_data
    from mlsuperb.runs.hypotheses import HYPOTHESES_FILE
    from mlsuperb.runtime.files import held
    from mlsuperb.scoring.result import SCORED

    if store.why_unfinished(folder) is not None or not (folder / HYPOTHESES_FILE).is_file():
        return False
    if changed := changed_data(folder, job.data_splits(config)):
        log.warning(
            "the data have changed since they were evaluated in %s (%s): decoding anew", folder, ", ".join(changed)
        )
        return False
    if store.read(folder, *SCORED).config["scoring"] == config["scoring"]:
        log.info("evaluated before; here is its result (remove %s to do it again)", folder)
    else:
        with held(folder):
            job.score_again(folder, config)
    return True


def _changes(
    overrides: Sequence[str], changeable: Sequence[str], *, job: str, config_dirs: Sequence[Path]
) -> dict[str, Any]:
    """The groups that `overrides` change, whole.

    Raises:
        ValueError: one may not be changed, or is changed in part, which would mix a default choice with the run's.
    """
    from mlsuperb.config.compose import compose

    keys = {override.lstrip("+~").partition("=")[0] for override in overrides}
    groups = {key.partition(".")[0].partition("/")[0] for key in keys} - {"manifests"}
    if refused := groups - set(changeable):
        raise ValueError(
            f"{', '.join(sorted(refused))} cannot be changed for a trained run; give settings of {', '.join(changeable)}"
        )
    if "data" not in keys:
        raise ValueError("say which data to evaluate on: data=..., as in mlsuperb.run")
    if partial := sorted(groups - keys):
        raise ValueError(
            f"say which {partial[0]} the settings are of: {partial[0]}=... beside {partial[0]}.setting=..."
        )
    given = compose([f"job={job}", *overrides], config_dirs=config_dirs)
    return {name: given[name] for name in (*groups, "manifests")}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="mlsuperb evaluate", description=__doc__)
    parser.add_argument(
        "run", help="folder of a trained run, e.g. exp/demo-1a2b3c4d, or a run on the hub: OWNER/NAME[@REVISION]"
    )
    parser.add_argument("overrides", nargs="+", metavar="data=...", help="the data, as in mlsuperb.run")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    parser.add_argument("--language", help="code (ISO 639-3) of the language to write, for runs of job=translation")
    add_config_dir(parser)
    options = parser.parse_intermixed_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    refuse_unknown(options.overrides, config_dirs=options.config_dir)
    bring_own(options)
    from mlsuperb.config.build import job_of
    from mlsuperb.runs.finished import show
    from mlsuperb.runs.hub import results_folder, run_folder
    from mlsuperb.runs.store import config_to_build

    run = run_folder(options.run)
    folder = evaluate(
        run, options.overrides, device=options.device, language=options.language, config_dirs=options.config_dir,
        into=results_folder(options.run, run),
    )  # fmt: skip
    show(job_of(config_to_build(run)), folder)
