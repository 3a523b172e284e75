"""Folders that an export makes, and the file in each that says where it is from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

import mlsuperb
from mlsuperb.benchmark.build import UPSTREAM
from mlsuperb.data.languages import hub_languages
from mlsuperb.runs.environment import now
from mlsuperb.runs.store import RESULT_FILE, read
from mlsuperb.runtime.files import whole_folder, write_atomic, write_json
from mlsuperb.scoring.escaping import page
from mlsuperb.scoring.result import BenchmarkResult
from mlsuperb.upstreams.huggingface import EXPORT_FILE
from mlsuperb.upstreams.sources import local_folder

_HF = "mlsuperb.upstreams.huggingface.HuggingFace"
CARD_FILE = "README.md"
TEMPLATE = Path(__file__).with_name("card.md.jinja")


@contextmanager
def new_folder(folder: Path, about: Mapping[str, Any]) -> Iterator[Path]:
    """An empty folder to fill; it becomes `folder`, whole or not at all, and replaces an earlier export there. It gets a
    model card (`card`), unless one was written.

    Args:
        about: what `mlsuperb_export.json` will say (`origin`), as it is when the folder is filled.

    Raises:
        ValueError: `folder` holds something that no export wrote.
    """
    empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not (folder / EXPORT_FILE).is_file() and not empty:
        raise ValueError(
            f"{folder} is there already and holds no {EXPORT_FILE}, so this command did not make it and will not "
            "overwrite it: give another folder, or remove it yourself"
        )
    with whole_folder(folder) as unfinished:
        yield unfinished
        write_json(unfinished / EXPORT_FILE, about)
        if not (unfinished / CARD_FILE).exists():
            write_atomic(unfinished / CARD_FILE, [card(about)])


def card(about: Mapping[str, Any]) -> str:
    """The model card of a checkpoint of transformers that an export wrote, in the hub's format.

    Args:
        about: content of `mlsuperb_export.json`.
    """
    from huggingface_hub import ModelCard, ModelCardData
    from markupsafe import Markup

    checkpoint = about["upstream"].get("checkpoint")
    data = about.get("data") or {}
    data = data if isinstance(data, Mapping) else data.model_dump()
    languages = data.get("languages") or []
    languages = languages.get("train", []) if isinstance(languages, Mapping) else languages
    metadata = ModelCardData(
        language=hub_languages(languages) or None,
        library_name="transformers",
        pipeline_tag="feature-extraction",
        tags=["mlsuperb", "speech"],
        base_model=str(checkpoint) if checkpoint and local_folder(str(checkpoint)) is None else None,
    )
    text = page(
        TEMPLATE.read_text(encoding="utf-8"), card_data=Markup(metadata.to_yaml()), about=about, data=data, languages=languages,
        start=PurePath(str(checkpoint)).name if checkpoint else about["upstream"].get("name"),
    )  # fmt: skip
    return f"{ModelCard(text).content.rstrip()}\n"


def as_checkpoint(run: Path, node: Mapping[str, Any], *, by: Collection[str]) -> dict[str, Any]:
    """The settings of a run's upstream where its weights come along in a folder `upstream`, for transformers: one that is
    given by a setting of `by` (`run`: of our own pre-training, `model`: of the package) becomes a checkpoint like others.

    Raises:
        ValueError: it was trained on a checkpoint with an adapter, which is not passed on.
    """
    if node.get("adapter"):
        raise ValueError(
            f"{run} was trained on a checkpoint with an adapter (upstream.adapter={node['adapter']}), which is not passed on. "
            "Merge the two (mlsuperb adapters merge) and train on that"
        )
    kept = {key: value for key, value in node.items() if key not in ("adapter", *by)}
    if not node.keys() & set(by):
        return kept
    return {**kept, "name": "hf", "_target_": _HF, "checkpoint": UPSTREAM, "revision": "main"}


def origin(run: Path, config: Mapping[str, Any], *, what: str) -> dict[str, Any]:
    """The content of `mlsuperb_export.json`.

    `data` names the speech that the run was trained on, with its hashes where they are known: whoever builds on the
    export should not test on it. An imported run knows nothing of its training.
    """
    result = read(run, BenchmarkResult) if (run / RESULT_FILE).is_file() else None
    data = result.data if result else None
    train = data.splits.get("train") if data else None
    upstream = config["upstream"]
    return {
        "what": what,
        "run_id": config["run_id"],
        "task": config["task"]["name"],
        "adaptation": config["adaptation"]["name"],
        "upstream": {"name": upstream["name"], "checkpoint": upstream.get("checkpoint")},
        "pretrained_on": upstream.get("card", {}).get("pretrained_on"),
        "data": {
            "name": data.name if data else None,
            "synthetic": result.synthetic if result else None,
            "release": data.release.model_dump() if data and data.release else None,
            "languages": data.languages.get("train") if data else None,
            "train_sha256": train.sha256 if train else None,
        },
        "code": result.code.model_dump() if result else None,
        "package_version": mlsuperb.__version__,
        "date": now(),
    }
