"""LoRA adapters beside their bases: which there are, merged into a checkpoint, and the settings that use them as they are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

import mlsuperb
from mlsuperb.export.folder import new_folder
from mlsuperb.runs import store
from mlsuperb.runs.environment import now
from mlsuperb.runs.result import Result
from mlsuperb.runtime.files import write_json
from mlsuperb.scoring.table import ABSENT, Cells
from mlsuperb.upstreams.adapter import PEFT_FOLDER, Adapter, described, merge_lora, same_weights
from mlsuperb.upstreams.bundled import models_folder
from mlsuperb.upstreams.checkpoint import checkpoint_problems, load
from mlsuperb.upstreams.folder import preprocessor
from mlsuperb.upstreams.huggingface import KIND, RUN_FOLDER, HuggingFace
from mlsuperb.upstreams.probe import MERGED_TOLERANCE, largest_difference, layers_of_noise
from mlsuperb.upstreams.sources import ADAPTER, PREPROCESSOR, hash_files, local_folder

_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True, kw_only=True)
class AdapterFacts:
    """An adapter, for a table.

    Args:
        base_weights: sha256 of the base's weights, or its commit on the hub.
        targets: names of the linear layers in a block.   layers: Transformer blocks, counted from 1.
        share: its parameters relative to those of the base.
        languages: that its run was trained on.
    """

    name: str
    folder: str
    base: str
    base_weights: str | None
    rank: int
    targets: tuple[str, ...]
    layers: str
    num_parameters: int
    share: float | None
    size_bytes: int
    languages: tuple[str, ...]


def open_adapter(folder: Path) -> Adapter:
    """The adapter in a folder or in that of a run. Where its own file does not say on what it was trained, the run's does.

    Raises:
        ValueError: there is none.
    """
    adapter = Adapter.open(folder)
    upstream = getattr(_result(adapter), "upstream", {})
    return adapter if adapter.base else replace(adapter, base=upstream.get("record") or upstream.get("loaded") or {})


def find_adapters(folders: Iterable[Path]) -> list[Adapter]:
    """The adapters in folders, however deep: folders of runs, adapters, or what holds them.

    Raises:
        ValueError: a folder does not exist, or holds none.
    """
    found: dict[Path, Adapter] = {}
    for folder in folders:
        places = sorted(path.parent for path in folder.rglob(ADAPTER))
        # a hidden folder is one that is still being written
        inside = [one for one in places if not any(part.startswith(".") for part in one.relative_to(folder).parts)]
        if not inside:
            why = "holds no adapter" if folder.is_dir() else "is no folder"
            raise ValueError(
                f"{folder} {why}. Give finished runs with adaptation=lora, folders of adapters, or what holds them"
            )
        found |= {path.resolve(): open_adapter(path) for path in inside}
    return list(found.values())


def facts_of(adapter: Adapter) -> AdapterFacts:
    """What a table shows of an adapter."""
    hashes, total = adapter.base.get("sha256") or {}, adapter.base.get("num_parameters")
    num_parameters = sum(math.prod(shape) for shape in adapter.shapes.values())
    blocks = {int(number) + 1 for name in adapter.modules for number in re.findall(r"\blayers\.(\d+)\.", name)}
    data = getattr(_result(adapter), "data", {})
    return AdapterFacts(
        name=adapter.name, folder=str(adapter.folder), base=adapter.base_name,
        base_weights=" ".join(hashes.values()) or adapter.base.get("commit"), rank=adapter.settings["r"],
        targets=tuple(dict.fromkeys(name.rpartition(".")[2] for name in adapter.modules)), layers=_ranges(blocks),
        num_parameters=num_parameters, share=num_parameters / total if total else None,
        size_bytes=sum(path.stat().st_size for path in adapter.folder.iterdir()),
        languages=tuple(data.get("languages", {}).get("train", ())),
    )  # fmt: skip


def adapters_table(rows: Sequence[AdapterFacts]) -> Cells:
    """Adapters side by side."""
    columns = (
        "adapter",
        "base",
        "its weights",
        "targets",
        "layers",
        "languages",
        "rank",
        "parameters",
        "of base %",
        "MB",
    )
    cells = [
        (
            one.name, one.base, (one.base_weights or ABSENT)[:12], ", ".join(one.targets), one.layers,
            ", ".join(one.languages) or ABSENT, str(one.rank), f"{one.num_parameters:,}",
            ABSENT if one.share is None else f"{100 * one.share:.2f}", f"{one.size_bytes / 1e6:,.1f}",
        )
        for one in rows
    ]  # fmt: skip
    return Cells("Adapters", columns, tuple(cells), num_names=6)


def as_json(rows: Iterable[AdapterFacts]) -> list[dict[str, Any]]:
    """All facts."""
    return [asdict(one) for one in rows]


def merge_adapters(folders: Sequence[Path], *, base: str, out: Path, revision: str = "main") -> float:
    """Add the updates of adapters to the weights of their base and write the result in the hub's layout. All else of the base,
    its config.json and preprocessor_config.json included, stays as it is; a head is left out.

    Args:
        folders: adapters or their runs. The second and later ones were trained on the base, too, or on the base with the ones
            before them merged in.
        base: checkpoint, or run of job=pretrain; `revision`: of one on the hub.
        out: folder to make.

    Returns:
        The largest difference between the layers of the merged and of the unmerged model on noise, relative to the layer's
        largest value.

    Raises:
        ValueError: an adapter was trained on something else, `out` holds something else, or the layers differ.
    """
    adapters, checkpoint = [open_adapter(folder) for folder in folders], checkpoint_of(base)
    if len(adapters) > 1 and any(adapter.settings.get("use_dora") for adapter in adapters):
        raise ValueError(
            "adapters of DoRA depend on the weights below them and cannot be added up. Merge one at a time: --base is the run "
            f"before, whose folder {RUN_FOLDER} has its own adapter merged in"
        )
    unmerged = HuggingFace(checkpoint=checkpoint, revision=revision)
    _check_bases(adapters, unmerged)
    about, prepared = _about(adapters, unmerged.record()), preprocessor(unmerged)
    _attach(adapters, unmerged.model)
    before = layers_of_noise(unmerged)
    del unmerged
    loaded = load(checkpoint, revision=revision, kind=KIND)
    _attach(adapters, loaded.model)
    merge_lora(loaded.model)
    with new_folder(out, about) as unfinished:
        loaded.model.save_pretrained(unfinished)
        write_json(unfinished / PREPROCESSOR, loaded.preprocessor or prepared)
        about["sha256"] = hash_files(unfinished, *_WEIGHTS)
        return _compared(before, unfinished)


def _compared(before: tuple[Tensor, ...], merged: Path) -> float:
    after = layers_of_noise(HuggingFace(checkpoint=str(merged.resolve())))
    difference = largest_difference(before, after)
    if not difference < MERGED_TOLERANCE:
        raise ValueError(
            f"the merged model gives other layers (relative difference {difference:.1e}; {MERGED_TOLERANCE:.0e} is allowed), so "
            "it was not kept. Use the adapter as it is: mlsuperb adapters switch"
        )
    return difference


def settings_for(adapter: Path | None, *, base: str | None = None, revision: str = "main") -> str:
    """The settings of a run that uses an adapter unmerged on disk, or its base alone.

    Args:
        adapter: its folder or run; None: the base alone.
        base: checkpoint or run of job=pretrain; None: what the adapter was trained on.

    Raises:
        ValueError: the base is not to be found, or is another one than the adapter's.
    """
    opened = open_adapter(adapter) if adapter else None
    checkpoint = checkpoint_of(base or (opened.base_name if opened else ""))
    if opened and opened.base.get("adapter"):
        raise ValueError(
            f"{adapter} was trained on {described(opened.base)}: a setting takes one adapter, so merge them first: mlsuperb "
            "adapters merge FIRST SECOND --base BASE --out DIR"
        )
    problems = checkpoint_problems(checkpoint, revision=revision, kind=KIND) if checkpoint else ["No base is given."]
    if problems:
        raise ValueError(f"{' '.join(problems)} Give the base with --base: a checkpoint, or a run of job=pretrain")
    folder = local_folder(checkpoint)
    if opened and folder:
        record = {"checkpoint": checkpoint, "sha256": hash_files(folder, *_WEIGHTS)}
        if same_weights(opened.base, record) is False:
            raise ValueError(
                f"{adapter} was trained on {described(opened.base)}, and the base here is {described(record)}"
            )
    if folder and folder.name == RUN_FOLDER:
        settings = [f"upstream=pretrained upstream.run={folder.parent}"]
    else:
        settings = [f"upstream=hf upstream.checkpoint={checkpoint}"]
        settings += [f"upstream.revision={revision}"] if revision != "main" else []
    return " ".join([*settings, *([f"+upstream.adapter={adapter}"] if adapter else [])])


def checkpoint_of(base: str) -> str:
    """The checkpoint of a base: a run of job=pretrain has it in a folder; so have the models that come with the package."""
    if base and "/" not in base and (models_folder() / base / "config.json").is_file():
        return str(models_folder() / base)
    return str(Path(base) / RUN_FOLDER) if base and (Path(base) / RUN_FOLDER / "config.json").is_file() else base


def _check_bases(adapters: Sequence[Adapter], upstream: HuggingFace) -> None:
    """Each was trained on the base, or on the base with the one before it: as its run wrote it merged, or in memory."""
    record: dict[str, Any] = upstream.record()
    allowed: list[dict[str, Any]] = []
    for adapter in adapters:
        adapter.check(upstream.model, record, *allowed, given=str(adapter.folder))
        merged = adapter.folder.parent / RUN_FOLDER
        allowed = [{"checkpoint": str(merged), "sha256": hash_files(merged, *_WEIGHTS)}] if merged.is_dir() else []
        allowed += [{**record, "adapter": adapter.record()}] if adapter is adapters[0] else []


def _attach(adapters: Sequence[Adapter], model: Any) -> None:
    for number, adapter in enumerate(adapters):
        adapter.attach(model, name=f"adapter{number}")


def _about(adapters: Sequence[Adapter], base: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `mlsuperb_export.json`."""
    last, before = _result(adapters[-1]), base.get("exported_from") or {}
    return {
        "what": "base with adapters merged",
        "run_id": last.run_id if last else None,
        "adaptation": "lora",
        "upstream": {"name": "hf", "checkpoint": base["checkpoint"]},
        "pretrained_on": before.get("pretrained_on"),
        "data": getattr(last, "data", None),
        "base": dict(base),
        "adapters": [{**asdict(facts_of(adapter)), **adapter.record()} for adapter in adapters],
        "package_version": mlsuperb.__version__,
        "date": now(),
    }


def _result(adapter: Adapter) -> Result | None:
    """Of the run whose folder the adapter is in; None where it has been copied out of it."""
    if adapter.folder.resolve().name != PEFT_FOLDER:
        return None
    return next(iter(store.find([adapter.folder.resolve().parent], Result).runs.values()), None)


def _ranges(numbers: Iterable[int]) -> str:
    """1-3, 5 of {1, 2, 3, 5}."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
