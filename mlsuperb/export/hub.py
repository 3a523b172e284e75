"""A trained run as a repository of the Hugging Face hub: `mlsuperb transcribe`, `evaluate` and `mlsuperb.load` take its id.

    README.md            model card
    config.json          what it is, for people and the hub
    config.yaml, tokens.txt, tokens.json, upstream.json, training.json, result.json     of the run
    model.safetensors    what was trained
    upstream/            the checkpoint that it was trained on, where the hub does not have that
    peft_adapter/        of a run with LoRA, for peft

No pickle, no state of the training, no text of the corpus, and no place of the machine that it was made on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import mlsuperb
from mlsuperb.benchmark import build
from mlsuperb.benchmark.card import CARD_FILE, base_model, languages, model_card
from mlsuperb.config.build import job_of
from mlsuperb.export.folder import as_checkpoint, new_folder, origin
from mlsuperb.runs.places import without_places
from mlsuperb.runs.store import CONFIG_FILE, RESULT_FILE, config_to_build, read
from mlsuperb.runtime.files import write_atomic, write_json
from mlsuperb.runtime.hub_errors import hub_errors
from mlsuperb.runtime.records import json_object
from mlsuperb.runtime.tensor_files import save_tensors
from mlsuperb.scoring.result import BenchmarkResult
from mlsuperb.types import SAMPLE_RATE_HZ
from mlsuperb.upstreams.adapter import PEFT_FOLDER, WEIGHTS_FILE
from mlsuperb.upstreams.huggingface import RUN_FOLDER
from mlsuperb.upstreams.sources import ADAPTER, local_folder

_RESTORE = "Restore a copy of the run"


def export_hub(run: Path, folder: Path, *, name: str | None = None) -> Path:
    """Write `run` to `folder`, and load it from there where it brings its upstream along.

    Args:
        name: what it will be called on the hub, for the card; None: as `folder`.

    Raises:
        ValueError: it is no finished run of job=benchmark, its upstream cannot be passed on, or `folder` is somebody else's.
    """
    if (job := config_to_build(run)["job"]["name"]) != "benchmark":
        raise ValueError(f"{run} is a run of job={job}; only runs of job=benchmark can be exported for the hub")
    config, result = build.load_config(run), read(run, BenchmarkResult)
    upstream, source = _upstream(run, config["upstream"])
    with new_folder(folder, without_places(origin(run, config, what="hub"))) as unfinished:
        _copy_run(run, unfinished, {**config, "upstream": upstream})
        _copy_adapter(run / PEFT_FOLDER, unfinished / PEFT_FOLDER)
        if source is not None:
            _copy_checkpoint(source, unfinished / build.UPSTREAM)
            _record_again(unfinished)
        shown = BenchmarkResult.model_validate(without_places(result.model_dump(exclude_unset=True)))
        write_atomic(unfinished / CARD_FILE, [model_card(shown, run=name or folder.resolve().name, training=shown)])
        write_json(unfinished / "config.json", _about(shown))
    return folder


def push(folder: Path, repo: str) -> str:
    """Upload a folder as a private repository, made if need be; returns its address.

    Raises:
        ValueError: the hub refuses it, or cannot be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    failures: tuple[type[Exception], ...] = (*hub_errors(), ValueError)
    try:
        url = api.create_repo(repo, private=True, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message=f"mlsuperb {mlsuperb.__version__}")
    except failures as error:
        raise ValueError(
            f"{folder} is written, but could not be pushed to {repo}: {error}. Log in with `hf auth login`, or upload it "
            f"with `hf upload {repo} {folder}`"
        ) from error
    return str(url)


def _upstream(run: Path, node: Mapping[str, Any]) -> tuple[dict[str, Any], Path | None]:
    """The settings of the upstream in the repository, and the folder that is to lie there as `upstream`; None: the hub or the
    package has its weights.

    Raises:
        ValueError: it cannot be passed on.
    """
    moved = as_checkpoint(run, node, by=("run",))
    if "run" in node:  # upstream=pretrained
        return moved, Path(node["run"]) / RUN_FOLDER
    source = local_folder(str(node["checkpoint"])) if "checkpoint" in node else None
    return moved | ({} if source is None else {"checkpoint": build.UPSTREAM}), source


def _copy_run(run: Path, folder: Path, config: Mapping[str, Any]) -> None:
    """Settings, tokens, weights and results."""
    written = without_places(config)
    write_atomic(folder / CONFIG_FILE, [yaml.safe_dump(written, allow_unicode=True, sort_keys=False)])
    for name in (build.TOKENS_FILE, build.MODEL_FILE):
        shutil.copyfile(run / name, folder / name)
    names = (RESULT_FILE, build.PROGRESS_FILE, f"{build.UPSTREAM}.json", f"{build.TOKENS}.json")
    for name in names:
        if (run / name).is_file():  # earlier runs have no tokens.json
            write_json(folder / name, without_places(json_object(run / name, remedy=_RESTORE)))


def _copy_adapter(adapter: Path, folder: Path) -> None:
    """The adapter of a run, if it has one; its own header names the checkpoint, too."""
    if not adapter.is_dir():
        return
    from safetensors import safe_open

    folder.mkdir()
    write_json(folder / ADAPTER, without_places(json_object(adapter / ADAPTER, remedy=_RESTORE)))
    with safe_open(adapter / WEIGHTS_FILE, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        about = {key: _without_places(value) for key, value in (file.metadata() or {}).items()}
    save_tensors(tensors, folder / WEIGHTS_FILE, metadata=about)
    if (adapter / CARD_FILE).is_file():
        shutil.copyfile(adapter / CARD_FILE, folder / CARD_FILE)


def _without_places(text: str) -> str:
    """The same of JSON that is kept as text."""
    try:
        return json.dumps(without_places(json.loads(text)))
    except ValueError:
        return str(without_places(text))


def _copy_checkpoint(source: Path, folder: Path) -> None:
    """The checkpoint of a folder, in the files that transformers reads.

    Raises:
        ValueError: its weights are no safetensors.
    """
    weights = sorted(source.glob("model*.safetensors"))
    if not weights:
        raise ValueError(
            f"the upstream's weights in {source} are no safetensors (model*.safetensors), and nothing else is passed on. Load it "
            "with transformers and save it (save_pretrained); then train on that folder"
        )
    folder.mkdir()
    for path in weights:
        shutil.copyfile(path, folder / path.name)
    for path in sorted(source.glob("*.json")):
        write_json(folder / path.name, without_places(json_object(path, remedy="Restore a copy of the checkpoint")))


def _record_again(folder: Path) -> None:
    """Write down what the upstream is in its new place, and load the run once."""
    config = build.load_config(folder)
    config["trainer"]["device"] = "cpu"
    recogniser: Any = job_of(config).load(folder, device="cpu")
    write_json(folder / f"{build.UPSTREAM}.json", without_places(build.upstream_record(recogniser)))


def _about(result: BenchmarkResult) -> dict[str, Any]:
    """The content of config.json."""
    loaded = result.upstream.loaded
    return {
        "model_type": "mlsuperb",
        "library_name": "mlsuperb",
        "mlsuperb_version": result.code.package_version,
        "run_id": result.run_id,
        "task": result.task.name,
        "upstream": {"name": result.upstream.name, "base_model": base_model(result), "commit": loaded.get("commit")},
        "adaptation": result.adaptation.name,
        "head": result.head.name,
        "languages": languages(result),
        "num_parameters": result.num_total,
        "num_trained": result.num_trainable,
        "sampling_rate": SAMPLE_RATE_HZ,
        "settings": CONFIG_FILE,
    }
