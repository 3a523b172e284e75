"""`result.json`: one run's numbers with everything needed to trust, recompute and compare them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlsuperb.data.text import VERSIONS
from mlsuperb.runs.hypotheses import read_hypotheses
from mlsuperb.runtime.files import load_strict_json, strict_json, write_atomic
from mlsuperb.scoring.score import NOT_APPLICABLE
from mlsuperb.scoring.utterances import TaskName, UnitName

RESULT_FILE = "result.json"
SCHEMA_VERSION = 1
# Of everything in this package that is not a protocol's own: alignment, counts. Raise it when a number may change.
SCORER_VERSION = "1"

# Every key of a result, and the keys that must be inside
SCHEMA: dict[str, tuple[str, ...]] = {
    "schema_version": (),
    "run_id": (),
    "status": (),
    "official": (),
    "not_official_because": (),
    "synthetic": (),
    "benchmark": (),
    "task": ("name", "units"),
    "normaliser": ("name", "version"),
    "data": ("name", "splits"),
    "scorer": ("version", "protocols"),
    "upstream": (),
    "adaptation": (),
    "head": (),
    "num_trainable": (),
    "num_total": (),
    "config": (),
    "seed": (),
    "code": ("commit", "dirty", "package_version"),
    "env": (),
    "protocols": (),
    "training": (),
    "cost": (),
    "hypotheses": ("path", "sha256", "num_utterances"),
    "date": (),
}
# Keys that older results have not, and the keys that must be inside where one is there and not null
OPTIONAL: dict[str, tuple[str, ...]] = {"featurizer": ("name", "layer_weights")}


def scoring_settings(result: Mapping[str, Any]) -> dict[str, Any]:
    """How the texts of a result are compared: `task`, `normaliser` and `units`, as `mlsuperb.scoring.utterances` takes them."""
    return {
        "task": result["task"]["name"],
        "normaliser": result["normaliser"]["name"],
        "units": result["task"]["units"],
    }


def build_result(
    *,
    run_id: str,
    task: TaskName,
    normaliser: str,
    units: UnitName,
    data: Mapping[str, Any],
    protocols: Mapping[str, Any],
    hypotheses: Path,
    upstream: Mapping[str, Any],
    adaptation: Mapping[str, Any],
    head: Mapping[str, Any],
    num_trainable: int,
    num_total: int,
    config: Mapping[str, Any],
    seed: int,
    environment: Mapping[str, Any],
    training: Mapping[str, Any],
    cost: Mapping[str, Any],
    date: str,
    benchmark: Mapping[str, Any] | None = None,
    featurizer: Mapping[str, Any] | None = None,
    status: str = "finished",
    not_official_because: Sequence[str] = (),
) -> dict[str, Any]:
    """A complete result.

    Args:
        data: name, `synthetic`, `splits` (split -> sha256, num_utterances, duration_s), `skipped`.
        protocols: what `mlsuperb.scoring.score.score` returned.
        hypotheses: the file that was scored; its hash and size go into the result.
        environment: of the process: `package_version`, `code` (commit, dirty), versions, machine.
        featurizer: `name`, `num_layers`, `layer_weights` (the share of each layer; None where it learns none).
        training: unaligned utterances, steps, ...   cost: steps, wall time, memory, ...
        not_official_because: what the caller knows against this result; synthetic data, changed code and utterances
            without a hypothesis are found here.

    Raises:
        ValueError: a key is missing.
    """
    counted = _count_splits(hypotheses)
    reasons = [*not_official_because, *_reasons(data, environment, counted)]
    result = {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "status": status,
        "official": not reasons,
        "not_official_because": reasons,
        "synthetic": bool(data.get("synthetic", False)),
        "benchmark": benchmark,
        "task": {"name": task, "units": units},
        "normaliser": {"name": normaliser, "version": VERSIONS[normaliser]},
        "data": data,
        "scorer": {
            "version": SCORER_VERSION,
            "protocols": {name: section["version"] for name, section in protocols.items() if name != NOT_APPLICABLE},
        },
        "upstream": upstream,
        "adaptation": adaptation,
        "head": head,
        "featurizer": featurizer,
        "num_trainable": num_trainable,
        "num_total": num_total,
        "config": config,
        "seed": seed,
        "code": {**environment["code"], "package_version": environment["package_version"]},
        "env": {key: value for key, value in environment.items() if key not in ("code", "package_version")},
        "protocols": protocols,
        "training": training,
        "cost": cost,
        "hypotheses": {"path": hypotheses.name, "sha256": _sha256(hypotheses), "num_utterances": counted},
        "date": date,
    }
    _check(result, place=f"result of {run_id}")
    return result


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result, whole or not at all.

    Raises:
        ValueError: a key is missing, or a number is NaN or infinite.
        OSError: the file cannot be written.
    """
    _check(result, place=str(path))
    write_atomic(path, [strict_json(result, name=str(path), indent=2), "\n"])


def read_result(path: Path) -> dict[str, Any]:
    """A result as `write_result` wrote it.

    Raises:
        ValueError: no such file, no JSON, a missing key, or another schema version.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}; a run writes it when it has scored its hypotheses")
    try:
        result = load_strict_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a result ({error}); was the file edited? Start its run again") from error
    _check(result, place=str(path))
    return dict(result)


def comparable(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Why two results may not stand in one table; an empty list if they may.

    The task, its units and normaliser, every split of the data (by hash), the scorer and the protocols that both have
    must be the same, and both data synthetic or both real.
    """
    data = _data_differences(a["data"], b["data"])
    return [*same_scoring(a, b), *data, *_protocol_differences(a["protocols"], b["protocols"])]


def same_scoring(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Why the counts of two results' utterances do not mean the same, whatever data they are of; empty if they do."""
    named = [
        ("task", a["task"]["name"], b["task"]["name"]),
        ("units", a["task"]["units"], b["task"]["units"]),
        ("normaliser", _version(a["normaliser"]), _version(b["normaliser"])),
        ("scorer", a["scorer"]["version"], b["scorer"]["version"]),
    ]
    reasons = [f"{what} differs: {first} and {second}" for what, first, second in named if first != second]
    if a["synthetic"] != b["synthetic"]:
        reasons.append("one is of synthetic data, the other of real data")
    return reasons


def _data_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    reasons = []
    for split in sorted({*a["splits"], *b["splits"]}):
        first, second = (data["splits"].get(split, {}).get("sha256") for data in (a, b))
        if first != second:
            shown = " and ".join(f"sha256 {sha[:8]}" if sha else "none" for sha in (first, second))
            reasons.append(f"data differ in split {split} ({a['name']} and {b['name']}: {shown})")
    return reasons


def _protocol_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    common = [name for name in a if name in b and name != NOT_APPLICABLE]
    if not common:
        return ["no protocol in common"]
    reasons = []
    for name in common:
        first, second = (f"version {s[name]['version']}, normaliser {_version(s[name]['normaliser'])}" for s in (a, b))
        if first != second:
            reasons.append(f"protocol {name} differs: {first}; {second}")
    return reasons


def _version(named: Mapping[str, Any]) -> str:
    return f"{named['name']} {named['version']}"


def _count_splits(hypotheses: Path) -> dict[str, int]:
    counted: dict[str, int] = {}
    for one in read_hypotheses(hypotheses):
        counted[one.split] = counted.get(one.split, 0) + 1
    return counted


def _reasons(data: Mapping[str, Any], environment: Mapping[str, Any], counted: Mapping[str, int]) -> Iterable[str]:
    """What speaks against calling a result official."""
    if data.get("synthetic"):
        yield "synthetic data"
    if environment["code"].get("dirty"):
        yield "the code was changed since its commit"
    tested = [split for split in data["splits"] if split not in ("train", "dev")]
    for split in dict.fromkeys([*tested, *counted]):
        number, expected = counted.get(split, 0), data["splits"].get(split, {}).get("num_utterances", 0)
        if number != expected:
            yield f"split {split}: {number} hypotheses for {expected} utterances"


def _check(result: Any, *, place: str) -> None:
    if not isinstance(result, Mapping):
        raise ValueError(f"{place} is not a result: expected a JSON object")
    if result.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(
            f"{place}: schema_version is {result.get('schema_version')!r}, this code reads {SCHEMA_VERSION}; score the "
            "hypotheses again with mlsuperb score, or use the package version that wrote the file"
        )
    missing = [key for key in SCHEMA if key not in result]
    missing += [f"{key}.{part}" for key in SCHEMA if key in result for part in SCHEMA[key] if part not in result[key]]
    there = [key for key in OPTIONAL if result.get(key) is not None]
    missing += [f"{key}.{part}" for key in there for part in OPTIONAL[key] if part not in result[key]]
    if missing:
        raise ValueError(f"{place}: missing {', '.join(missing)}; build_result makes a result with all its keys")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
