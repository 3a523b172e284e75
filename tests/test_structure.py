"""The walls of the house: who may import whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import mlsuperb

PACKAGE = Path(mlsuperb.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# Each room, and the rooms it may import from; every room may import mlsuperb.types. Entry points may import everything.
ALLOWED: dict[str, set[str]] = {
    "types": set(),
    "files": set(),
    "masks": set(),
    "options": {"ranks"},
    "ranks": set(),
    "experiment": {"files", "ranks"},
    "data": {"data", "files", "ranks"},
    "cache": {"cache", "data", "files", "training", "upstreams"},
    "layers": {"layers", "masks", "ranks"},
    "upstreams": {"upstreams", "layers", "masks", "espnet"},
    "adaptation": {"adaptation", "upstreams"},
    "featurizer": {"masks"},
    "specaug": {"masks"},
    "heads": {"heads", "layers", "masks"},
    "objectives": {"objectives", "layers", "masks"},
    "decoding": {"decoding", "masks"},
    "tasks": {"tasks", "data"},
    "scoring": {"scoring", "data", "files"},
    "training": {"training", "files", "ranks"},
    "model": {"upstreams", "featurizer", "heads", "objectives"},
    "macs": {"layers", "model", "upstreams"},
    "inference": {"data", "decoding", "model", "ranks", "scoring", "tasks", "training"},
    "settings": {"experiment", "options", "scoring"},
    "benchmark": {"experiment", "scoring", "settings"},
    "analysis": {"analysis", "data", "files", "inference", "masks", "scoring"},
    "summary": {"analysis", "benchmark", "experiment", "macs", "model", "ranks", "scoring", "training"},
    "espnet": {"espnet", "files", "training"},
    "export": {"adaptation", "analysis", "build", "experiment", "export", "files", "inference", "scoring", "upstreams"},
}
ENTRY_POINTS = {
    "run",
    "build",
    "sweep",
    "table",
    "leaderboard",
    "compare",
    "report",
    "analyse",
    "export.__main__",
    "folders",
    "evaluate",
    "transcribe",
    "largest_batch",
    "import_espnet",
    "score",
    "data.__main__",
    "__init__",
}
HYDRA = {"run", "build", "settings", "sweep"}


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
        if name in ENTRY_POINTS:
            continue
        room = name.split(".")[0]
        assert room in ALLOWED, f"{name}: which room is this?"
        for module, _ in imports(path):
            if module.startswith("mlsuperb."):
                other = module.split(".")[1]
                assert other == "types" or other in ALLOWED[room], f"{name} imports {module}"


def test_hydra_is_known_to_four_modules() -> None:
    users = {
        name_of(path) for path in FILES for module, _ in imports(path) if module.split(".")[0] in ("hydra", "omegaconf")
    }
    assert users == HYDRA


def test_scoring_and_text_need_no_torch() -> None:
    light = [path for path in FILES if name_of(path).split(".")[0] in ("scoring", "types", "options")]
    light += [PACKAGE / "score.py", PACKAGE / "data" / "text.py"]
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
