"""The submission folder of the ML-SUPERB 2.0 challenge (Interspeech 2025).

Its form is that of the challenge's own template (`wanchichen/ml_superb_dynabench_submission`, `submission_template/
dynalab-mlsuperb-base`): `requirements.txt`, and `app/` with the web service, `ModelController` and the schemas; what the
model needs lies in `app/resources`. How it is called is in `mlcommons/dynabench` (`backend/app/domain/services/
builder_and_evaluation/{builder,evaluation}.py`, `backend/dockerfiles/Dockerfile`).
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import mlsuperb
from mlsuperb.benchmark import build
from mlsuperb.benchmark.recogniser import Recogniser
from mlsuperb.config.build import job_of
from mlsuperb.export.folder import as_checkpoint, new_folder, origin
from mlsuperb.runs.classes import class_named
from mlsuperb.runs.hypotheses import HYPOTHESES_FILE, read_hypotheses
from mlsuperb.runs.places import without_places
from mlsuperb.runtime.conf import conf_dir
from mlsuperb.runtime.files import write_atomic, write_json
from mlsuperb.runtime.messages import printable
from mlsuperb.runtime.records import json_object
from mlsuperb.scoring.escaping import page
from mlsuperb.scoring.table import SYNTHETIC

TEMPLATE = Path(__file__).with_name("submission")  # README.md.jinja, and the service in `app`
NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.pyc")
# In the template's requirements.txt, of which its README says not to take any away
SERVER_PACKAGES = (
    "fastapi",
    "mangum",
    "pydantic",
    "python-dotenv",
    "typing-extensions",
    "uvicorn",
    "jwt",
    "torch",
    "torchaudio",
)
CHECKPOINT_FILES = ("*.json", "model*.safetensors", "pytorch_model*.bin")
RUN_FILES = ("tokens.txt", "model.safetensors", "training.json")


def export_challenge(run: Path, folder: Path) -> Path:
    """Write the submission of `run` to `folder`: a service that needs no network, the run's hypotheses in the lines that the
    public scorer reads (`<utterance> [iso] text`), and a README that says what could not be verified.

    Raises:
        ValueError: the run does not name languages and transcribe, its upstream cannot be copied, or `folder` is
            somebody else's.
    """
    config = build.load_config(run)
    task = class_named(config["task"]["_target_"])
    if not (task.has_language and task.has_text):
        raise ValueError(
            f"{run} is a run of task={config['task']['name']}, but the challenge asks for the language and the text of every "
            "recording: choose a run of a task that gives both (task=asr_lid)"
        )
    recogniser: Any = job_of(config).load(run, device="cpu")
    about = without_places(origin(run, config, what="challenge"))
    with new_folder(folder, about) as unfinished:
        shutil.copytree(TEMPLATE / "app", unfinished / "app", ignore=NOT_COPIED)
        resources = unfinished / "app" / "resources"
        shutil.copytree(Path(mlsuperb.__file__).parent, resources / "mlsuperb", ignore=NOT_COPIED)
        # it says which classes a run may name; in a checkout it lies beside the package
        shutil.copytree(conf_dir(), resources / "mlsuperb" / "conf", dirs_exist_ok=True)
        _copy_run(run, resources / "run", config, recogniser)
        write_atomic(unfinished / "requirements.txt", [f"{line}\n" for line in requirements()])
        splits = _write_hypotheses(run, unfinished / "hypotheses")
        write_atomic(unfinished / "README.md", [submission_readme(about, name=folder.name, splits=splits)])
    return folder


def submission_readme(about: Mapping[str, Any], *, name: str, splits: Mapping[str, int]) -> str:
    """The submission's page, as Markdown.

    Args:
        about: content of `mlsuperb_export.json`.
        name: of the folder.
        splits: lines of each file of hypotheses.
    """
    text = (TEMPLATE / "README.md.jinja").read_text(encoding="utf-8")
    return page(text, about=about, name=name, splits=splits, synthetic_warning=SYNTHETIC).rstrip() + "\n"


def _copy_run(run: Path, folder: Path, config: dict[str, Any], recogniser: Recogniser) -> None:
    """Copy the run without settings of its corpus and machine, with its upstream beside it, and load it from there once."""
    folder.mkdir()
    for name in RUN_FILES:
        shutil.copyfile(run / name, folder / name)
    moved = {key: value for key, value in config.items() if key not in ("data", "manifests", "output_root", "hydra")}
    moved["trainer"] = config["trainer"] | {"device": "auto", "trackers": []}
    upstream = as_checkpoint(run, config["upstream"], by=("run", "model"))
    if "checkpoint" in upstream:
        _copy_checkpoint(recogniser, folder / build.UPSTREAM, name=config["upstream"]["name"])
        moved["upstream"] = upstream | {"checkpoint": build.UPSTREAM, "revision": "main"}
    write_atomic(folder / "config.yaml", [yaml.safe_dump(without_places(moved), allow_unicode=True, sort_keys=False)])
    write_json(folder / f"{build.TOKENS}.json", recogniser.vocabulary.record())
    write_json(folder / f"{build.UPSTREAM}.json", {})  # for load_config; of another place, so it cannot be the run's
    here = build.load_config(folder)
    here["trainer"]["device"] = "cpu"
    again = build.build_recogniser(here, vocabulary=recogniser.vocabulary)
    write_json(folder / f"{build.UPSTREAM}.json", without_places(build.upstream_record(again)))
    job_of(here).load(folder, device="cpu")


def _copy_checkpoint(recogniser: Recogniser, folder: Path, *, name: str) -> None:
    """The files that the upstream was loaded from, whether they lie in a folder or in the hub's cache.

    Raises:
        ValueError: it is none that transformers reads.
    """
    from huggingface_hub import snapshot_download

    record = recogniser.model.upstream.record()
    checkpoint, commit = str(record["checkpoint"]), record.get("commit")
    source = (
        Path(snapshot_download(checkpoint, revision=str(commit), local_files_only=True)) if commit else Path(checkpoint)
    )
    files = [path for pattern in CHECKPOINT_FILES for path in sorted(source.glob(pattern))]
    if not {path.suffix for path in files} & {".safetensors", ".bin"}:
        raise ValueError(
            f"upstream={name} cannot be copied: {source} holds no weights in the format of transformers "
            f"({', '.join(CHECKPOINT_FILES[1:])}). Choose a run on a checkpoint of that format"
        )
    if any(path.suffix == ".safetensors" for path in files):
        files = [path for path in files if path.suffix != ".bin"]  # the same weights, which are not read then
    folder.mkdir()
    for path in files:
        if path.suffix == ".json":
            write_json(folder / path.name, without_places(json_object(path, remedy="Restore a copy of the checkpoint")))
        else:
            shutil.copyfile(path, folder / path.name)


def requirements() -> list[str]:
    """The template's packages and ours, with our bounds where both name one."""
    stated = [line for line in importlib.metadata.requires("mlsuperb") or () if "extra ==" not in line]
    own = {_package(line): line.split(";")[0].strip() for line in stated}
    return [own.pop(name, name) for name in SERVER_PACKAGES] + [own[name] for name in sorted(own)]


def _package(requirement: str) -> str:
    return re.split(r"[<>=!~\[; ]", requirement)[0].lower()


def _write_hypotheses(run: Path, folder: Path) -> dict[str, int]:
    """Write one file per split, as ESPnet's `egs2/ml_superb2/asr1/local/score.py` reads hypotheses; return how many lines each
    has. A run without hypotheses (an imported one) has none."""
    if not (run / HYPOTHESES_FILE).is_file():
        return {}
    lines: dict[str, list[str]] = {}
    for one in read_hypotheses(run / HYPOTHESES_FILE):
        if Path(one.split).name != one.split:
            raise ValueError(f"{run / HYPOTHESES_FILE} has a split {one.split!r}, which cannot be the name of a file")
        lines.setdefault(one.split, []).append(f"{printable(one.id, but='')} {' '.join(one.hypothesis.split())}\n")
    folder.mkdir()
    for split, found in lines.items():
        write_atomic(folder / f"{split}.txt", found)
    return {split: len(found) for split, found in lines.items()}
