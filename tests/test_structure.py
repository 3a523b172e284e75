"""The walls of the house: who may import whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import mlsuperb

PACKAGE = Path(mlsuperb.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# Each room, and the rooms it may import from; every room may import mlsuperb.types.
ALLOWED: dict[str, set[str]] = {
    "types": set(),
    # the ground
    "runtime": set(),
    "layers": {"runtime"},
    # parts
    "data": {"runtime"},
    "tasks": {"data"},
    "upstreams": {"espnet", "layers"},
    "adaptation": {"upstreams"},
    "cache": {"data", "runtime", "upstreams"},
    "heads": {"layers"},
    "objectives": {"layers"},
    "decoding": {"layers"},
    "training": {"runtime"},
    # runs on disk, settings, scores
    "runs": {"data", "runtime"},
    "config": {"runs", "runtime"},
    "scoring": {"data", "runs", "runtime"},
    "espnet": {"runtime", "training"},
    # jobs
    "benchmark": {
        "analysis", "cache", "config", "data", "decoding", "espnet", "heads", "layers", "objectives", "runs", "runtime",
        "scoring", "tasks", "training", "upstreams",
    },
    # what is made of finished runs
    "analysis": {"benchmark", "data", "layers", "runs", "runtime", "scoring"},
    "export": {"adaptation", "analysis", "benchmark", "config", "runs", "runtime", "scoring", "upstreams"},
}  # fmt: skip
DOORS = {"run", "__main__", "commands", "__init__"}  # may import everything
HYDRA = {
    "run",
    "config.compose",
    "config.build",
    "config.check",
    "benchmark.build",
    "benchmark.misfits",
    "commands.sweep",
}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Imported modules, and whether each is imported as the file is loaded."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nested = {
        node for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node not in nested) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "", node not in nested)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def test_imports_run_one_way() -> None:
    assert len(FILES) > 60
    for path in FILES:
        name = name_of(path)
        room = name.split(".")[0]
        if room in DOORS:
            continue
        assert room in ALLOWED, f"{name}: which room is this?"
        for module, _ in imports(path):
            if module.startswith("mlsuperb."):
                other = module.split(".")[1]
                assert other in ("types", room) or other in ALLOWED[room], f"{name} imports {module}"


def test_few_modules_know_hydra() -> None:
    users = {
        name_of(path) for path in FILES for module, _ in imports(path) if module.split(".")[0] in ("hydra", "omegaconf")
    }
    assert users == HYDRA


def test_scoring_and_text_need_no_torch() -> None:
    light = [path for path in FILES if name_of(path).split(".")[0] in ("scoring", "types")]
    light += [PACKAGE / "commands/score.py", PACKAGE / "config/options.py", PACKAGE / "data/text.py"]
    assert len(light) > 10
    for path in light:
        heavy = {module.split(".")[0] for module, at_load in imports(path) if at_load} & {
            "torch",
            "transformers",
            "hydra",
        }
        allowed = {"torch"} if name_of(path) == "types" else set()  # under TYPE_CHECKING
        assert heavy <= allowed, f"{path} imports {heavy}"


def test_files_stay_small() -> None:
    long = {
        name_of(path): count for path in FILES if (count := len(path.read_text(encoding="utf-8").splitlines())) > 300
    }
    assert not long
    assert len((PACKAGE / "run.py").read_text(encoding="utf-8").splitlines()) < 70
