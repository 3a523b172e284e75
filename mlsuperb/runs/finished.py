"""A run that has finished: what becomes of it when it is started once more, and how it is shown."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mlsuperb.runs import store
from mlsuperb.runs.hypotheses import HYPOTHESES_FILE
from mlsuperb.runs.job import Evaluates, Job
from mlsuperb.runtime import ranks
from mlsuperb.runtime.files import held
from mlsuperb.runtime.messages import one_line, reported

log = logging.getLogger(__name__)


def revisit(job: Job, config: Mapping[str, Any], folder: Path) -> None:
    """Bring a finished run up to what is asked of it now: decode hypotheses that were removed, score by other protocols. A
    warning names what else was removed. The result stays as it was where any of this fails."""
    log.info("this run has ended before; here is its result (remove %s to run it again)", folder)
    leaves = getattr(job, "leaves", lambda _: ())(config)  # a user's own job may not say
    lost = [name for name in leaves if not (folder / name).exists()]
    if others := [name for name in lost if name != HYPOTHESES_FILE]:
        log.warning(
            "removed since this run has ended: %s. Its result stands, but what needs these (evaluate, transcribe, export) cannot "
            "be done with it; to have them again, remove %s and give the same command",
            ", ".join(others),
            folder,
        )
    if not isinstance(job, Evaluates):
        return
    _tell_of_other_data(job, config, folder)
    decode = HYPOTHESES_FILE in lost and not others
    try:
        other_scores = HYPOTHESES_FILE not in lost and _other_scoring(folder, config)
        if not (decode or other_scores):
            return
        with held(folder) if ranks.is_main() else nullcontext():
            if decode:
                log.warning("%s was removed: decoding again", folder / HYPOTHESES_FILE)
                job.decode_again(folder, config)
            if ranks.is_main():
                job.score_again(folder, config)
    except Exception as error:
        if ranks.world() > 1:  # the others wait
            raise
        log.warning("the result stands as it was: %s", one_line(error))


def _tell_of_other_data(job: Evaluates, config: Mapping[str, Any], folder: Path) -> None:
    """Warn where the data of a finished run are others now, which its result does not show."""
    result = store.read(folder, store.Result).model_dump()
    if ranks.world() > 1 or result.get("synthetic"):  # synthetic data would be made where they were removed
        return
    try:
        now = job.data_splits(config)
    except (ValueError, OSError) as error:
        log.info("its data cannot be looked at any more: %s", one_line(error))
        return
    then = result["data"]["splits"]
    if changed := [name for name in {**then, **now} if _hash(then, name) != _hash(now, name)]:
        log.warning(
            "its data have changed since (%s), and its scores are of those of then: run_name=... trains and scores with what is "
            "there now",
            ", ".join(changed),
        )


def refuse_other_data(folder: Path, splits: Mapping[str, Any]) -> None:
    """Refuse data that are not those of a run, as they stand in its result.

    Raises:
        ValueError: a split is another one.
    """
    if changed := changed_data(folder, splits):
        raise ValueError(
            f"the data have changed since {folder} was made ({', '.join(changed)}), so they are not decoded again"
        )


def changed_data(folder: Path, splits: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The splits that were decoded for the result of a folder and hold other utterances now.

    Args:
        splits: as they are now: split -> its record, with `sha256`.

    Raises:
        ValueError: the folder has no result.
    """
    result = store.read(folder, store.Result).model_dump()
    then = result["data"]["splits"]
    tested = [*result["hypotheses"]["num_utterances"], *(name for name in splits if name not in ("train", "dev"))]
    return [name for name in dict.fromkeys(tested) if _hash(then, name) != _hash(splits, name)]


def _hash(splits: Mapping[str, Mapping[str, Any]], name: str) -> str | None:
    return splits[name]["sha256"] if name in splits else None


def _other_scoring(folder: Path, config: Mapping[str, Any]) -> bool:
    return bool(store.read(folder, store.Result).config.get("scoring") != config.get("scoring"))


def show(job: Job, folder: Path) -> None:
    """Print the result of a finished run; where that fails, the log says so. A run whose table cannot be printed has finished
    all the same."""
    if not ranks.is_main():
        return
    with reported(f"this run has finished ({folder}), but its result could not be shown"):
        job.show(folder)
