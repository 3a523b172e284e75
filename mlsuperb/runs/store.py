"""The runs on disk: what lies in their folders, which of them have finished."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import yaml
from pydantic import ValidationError

from mlsuperb.runs.classes import refuse_strangers
from mlsuperb.runs.identity import present
from mlsuperb.runs.result import SCHEMA_VERSION, Kind, Result
from mlsuperb.runtime.files import write_atomic
from mlsuperb.runtime.messages import one_line
from mlsuperb.runtime.records import load_strict_json, strict_json

RESULT_FILE, CONFIG_FILE, STATUS_FILE = "result.json", "config.yaml", "status.json"
EVALUATIONS = "evaluations"  # in a run's folder
_DAMAGED = "Restore a copy, or remove the folder and start the run again"
BENCHMARK = {"name": "benchmark", "_target_": "mlsuperb.benchmark.job.Benchmark"}  # of runs from before there were jobs


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a run, as this version reads it, to be looked at; to build what it names see `config_to_build`.

    Raises:
        ValueError: the folder is not that of a run, or its configuration is damaged.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise ValueError(
            f"{folder} is not the folder of a run: {CONFIG_FILE} missing. Give the folder that a run printed"
        )
    return present({"job": BENCHMARK, **parsed_config(path)})


def parsed_config(path: Path) -> dict[str, Any]:
    """The content of a run's configuration file.

    Raises:
        ValueError: it is damaged.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        json.dumps(config, default=str)  # fails at a mapping that holds itself, and so has no end
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as YAML ({one_line(error)[:200]}). {_DAMAGED}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds no settings. {_DAMAGED}")
    return config


def config_to_build(folder: Path) -> dict[str, Any]:
    """`read_config`, of which parts will be built.

    Raises:
        ValueError: as there; or it names what is no part of this package, and was not brought by the user.
    """
    config = read_config(folder)
    refuse_strangers(config, folder / CONFIG_FILE)
    return config


def why_unfinished(folder: Path) -> str | None:
    """Why a run's folder has no result, in words; None where it has one."""
    if (folder / RESULT_FILE).is_file():
        return None
    path = folder / STATUS_FILE
    if not path.is_file():
        return "not started"
    try:
        status = json.loads(path.read_text(encoding="utf-8"))
        # a process that was killed had no time to say so
        words = "not finished" if status["state"] == "running" else str(status["state"])
        if "num_iterations" in status:
            words += f" after {status['iteration']:,} of {status['num_iterations']:,} iterations"
    except (ValueError, TypeError, KeyError, OSError):
        return f"{path.name} cannot be read"
    lines = str(status.get("error", "")).strip().splitlines()
    return words + (f": {lines[0]}" if lines else "") + (" ... (run.log has it all)" if len(lines) > 1 else "")


@dataclass(frozen=True, kw_only=True)
class Found(Generic[Kind]):
    """What a search for runs found: `runs` have a result of the kind that was asked for, by their folders in alphabetical
    order within each folder given; `left_out`: folder -> why it gives no result (it has none, or one of another job)."""

    runs: Mapping[Path, Kind]
    left_out: Mapping[Path, str]

    def required(self) -> Found[Kind]:
        """This, if there is a run in it.

        Raises:
            ValueError: there is none; names every folder and its reason.
        """
        if not self.runs:
            reasons = (
                "; ".join(f"{folder}: {why}" for folder, why in self.left_out.items()) or "the folders hold no run"
            )
            raise ValueError(
                f"no finished run: {reasons}. Give folders of runs, or a folder that they are in, such as exp"
            )
        return self


def find(folders: Sequence[Path], *kinds: type[Kind]) -> Found[Kind]:
    """The finished runs in `folders`, however deep, whose results are of one of `kinds`: each folder may be a run or hold runs.
    Evaluations in a run's folder are left out, unless they, or the folder `evaluations`, are given themselves.

    Raises:
        ValueError: none of the folders exists.
    """
    absent = {folder: "there is no such folder" for folder in folders if not folder.is_dir()}
    if absent and len(absent) == len(set(folders)):
        raise ValueError(f"there is no folder {', '.join(map(str, absent))}; give folders of runs, such as exp")
    runs: dict[Path, Kind] = {}
    left_out: dict[Path, str] = dict(absent)
    found: set[str] = set()  # a run may be given twice, by two names
    for given in (one for one in folders if one not in absent):
        inside = list(_run_folders(given))
        left_out |= {} if inside else {given: "it holds no run"}
        for folder in inside:
            evaluation = folder.parent.name == EVALUATIONS and given.resolve() not in (
                folder.resolve(), folder.parent.resolve(),
            )  # fmt: skip
            why = "an evaluation of a trained run on data it was given later" if evaluation else why_unfinished(folder)
            if (real := os.path.realpath(folder)) in found:
                continue
            try:
                if why is None:
                    runs[folder] = read(folder, *kinds)
                    found.add(real)
            except ValueError as error:
                why = str(error)
            if why is not None:
                left_out[folder] = why
    others = {folder: why for folder, why in left_out.items() if os.path.realpath(folder) not in found}
    return Found(runs=runs, left_out=others)


def _run_folders(folder: Path) -> Iterator[Path]:
    """Folders of runs and of their evaluations, in alphabetical order; links are followed. What else a run holds is not
    looked through, nor are hidden folders."""
    seen: set[str] = set()
    for name, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(name)) in seen:  # links may go in circles
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        started = RESULT_FILE in files or STATUS_FILE in files
        if started or CONFIG_FILE in files:
            yield Path(name)
        if started:
            folders[:] = [one for one in folders if one == EVALUATIONS]


def read(folder: Path, *kinds: type[Kind]) -> Kind:
    """The result in a folder, of one of several kinds.

    Raises:
        ValueError: there is none, it is of another job or of another version, or something is missing in it.
    """
    path = folder / RESULT_FILE
    if not path.is_file():
        raise ValueError(f"there is no file {path}; a run writes it when it has finished")
    try:
        content = load_strict_json(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not a result ({error}); was the file edited? Start its run again") from error
    return validated(content, *kinds, place=str(path))


def validated(content: Any, *kinds: type[Kind], place: str) -> Kind:
    """`content` as a result of that of `kinds` whose job it names; `place` is named in errors.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"{place} is not a result: expected a JSON object")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(
            f"{place}: schema_version is {content.get('schema_version')!r}, this version of mlsuperb reads {SCHEMA_VERSION}"
        )
    job = content.get("job", "benchmark")
    kind = next((one for one in kinds if one.kind in ("", job)), None)
    if kind is None:
        raise ValueError(f"{place} is a result of job {job}, not of {' or '.join(one.kind for one in kinds)}")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg'].lower()}" for one in error.errors()[:5])
        raise ValueError(f"{place} is not a whole result: {problems}. Start its run again") from error


def finished_problem(setting: str, run: str, kind: type[Result], *, job: str, holds: str) -> str | None:
    """Why a folder is not that of a finished run of a job, with a file or folder `holds` in it; else None. `setting`: what it was
    given by."""
    folder = Path(run)
    try:
        found = read(folder, kind).job
        there = None if (folder / holds).exists() else f"it has no {holds}"
        why = there if found == job else f"it is a run of job={found}"
    except ValueError as error:
        why = why_unfinished(folder) or str(error)
    return why and (
        f"{setting}={run} is not the folder of a finished run of job={job} ({why}). Give the folder that it printed, or its "
        "command again: it goes on where it stopped"
    )


def as_input(folder: Path) -> dict[str, str]:
    """A finished run as `Result.inputs` names it: its id, and the sha256 of its result.

    Raises:
        ValueError: it has no result.
    """
    run_id = read(folder, Result).run_id
    return {"run_id": run_id, "sha256": hashlib.sha256((folder / RESULT_FILE).read_bytes()).hexdigest()}


def as_inputs(given: Mapping[str, str | None]) -> dict[str, dict[str, str]]:
    """Finished runs, by name, as `Result.inputs` has them; those without a folder are left out.

    Raises:
        ValueError: one of them has no result.
    """
    return {name: as_input(Path(folder)) for name, folder in given.items() if folder}


def write(folder: Path, result: Result) -> None:
    """Write `result.json`, whole or not at all.

    Raises:
        ValueError: a number is NaN or infinite.
        OSError: the file cannot be written.
    """
    path = folder / RESULT_FILE
    write_atomic(
        path, [strict_json(result.model_dump(mode="python", exclude_unset=True), name=str(path), indent=2), "\n"]
    )
