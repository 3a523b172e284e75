"""The walls of the house: who may import whom."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
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
    "upstreams": {"espnet", "layers", "runtime"},
    "adaptation": {"layers", "runtime", "upstreams"},
    "cache": {"data", "runtime", "upstreams"},
    "heads": {"layers"},
    "objectives": {"layers"},
    "decoding": {"layers"},
    "training": {"runtime"},
    "units": {"data", "runtime", "upstreams"},
    # runs on disk, settings, scores
    "runs": {"data", "runtime"},
    "config": {"runs", "runtime"},
    "scoring": {"data", "runs", "runtime"},
    "espnet": {"runtime", "training"},
    # jobs
    "benchmark": {
        "cache", "config", "data", "decoding", "espnet", "heads", "layers", "objectives", "runs", "runtime", "scoring", "tasks",
        "training", "upstreams",
    },
    "pretraining": {"adaptation", "config", "data", "layers", "runs", "runtime", "scoring", "training", "units", "upstreams"},
    "translation": {
        "adaptation", "config", "data", "layers", "objectives", "runs", "runtime", "scoring", "training", "upstreams",
    },
    "vocoder": {"config", "data", "layers", "runs", "runtime", "training", "units"},
    # what is made of finished runs
    "analysis": {"benchmark", "config", "data", "layers", "pretraining", "runs", "runtime", "scoring", "units", "upstreams"},
    "demo": {"data", "runs"},
    "export": {"adaptation", "benchmark", "config", "data", "pretraining", "runs", "runtime", "scoring", "upstreams"},
}  # fmt: skip
DOORS = {"run", "__main__", "commands", "api", "__init__"}  # may import everything
HYDRA = {"run", "config.compose", "commands.sweep"}


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


def test_rooms_stand_on_rooms_below_them() -> None:
    """Neither rooms nor modules import each other in a circle, also inside functions and for annotations."""
    rooms = {room: others - {room} for room, others in ALLOWED.items()}
    assert circles(rooms) == []
    names = {f"mlsuperb.{name_of(path)}".removesuffix(".__init__"): path for path in FILES}
    assert circles({name: set(imported_modules(path, names)) - {name} for name, path in names.items()}) == []


def imported_modules(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in known else node.module for name in names)


def circles(graph: Mapping[str, set[str]]) -> list[str]:
    """What is left when whatever imports nothing that is left is taken away again and again."""
    left = {name: set(others) for name, others in graph.items()}
    while done := [name for name, others in left.items() if not others & left.keys()]:
        for name in done:
            del left[name]
    return sorted(left)


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["a", "b", "c", "d"]
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


LONG_FUNCTIONS: dict[str, str] = {}  # function -> why it is better in one piece


def test_functions_stay_short() -> None:
    lengths = {
        f"{name_of(path)}.{node.name}": node.end_lineno - node.lineno + 1
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None
    }
    assert len(lengths) > 1000
    assert {name: length for name, length in lengths.items() if length > 40 and name not in LONG_FUNCTIONS} == {}
    assert len(LONG_FUNCTIONS) <= 3


def test_every_file_of_tests_has_a_name_of_its_own() -> None:
    """pytest refuses the second of two files of one name, and leaves its tests out."""
    names = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))
    assert len(names) > 200
    assert [name for name, number in names.items() if number > 1] == []


def test_files_stay_small() -> None:
    long = {
        name_of(path): count for path in FILES if (count := len(path.read_text(encoding="utf-8").splitlines())) > 300
    }
    assert not long
    assert len((PACKAGE / "run.py").read_text(encoding="utf-8").splitlines()) < 70


TASKS = {"asr", "lid", "asr_lid"}
PROTOCOLS = {"v1", "v2", "wer_cer", "challenge", "challenge_server", "per_pfer"}


def names_asked_for(path: Path) -> Iterator[str]:
    """Where a file compares something with, or looks something up by, the name of a task or protocol."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Compare(left=left, comparators=others):
                asked = [left, *others]
            case ast.Subscript(value=ast.Name(id="Literal")):
                continue
            case ast.Subscript(value=value, slice=key):
                asked = [key, *(value.keys if isinstance(value, ast.Dict) else [])]
            case ast.Call(func=ast.Attribute(attr="get" | "startswith" | "endswith" | "pop"), args=arguments):
                asked = arguments[:1]
            case ast.For(iter=names) | ast.comprehension(iter=names):
                asked = [names]
            case ast.MatchValue(value=value):
                asked = [value]
            case _:
                continue
        constants = {
            one.value
            for part in asked
            if isinstance(part, (ast.Constant, ast.Tuple, ast.List, ast.Set))
            for one in ast.walk(part)
            if isinstance(one, ast.Constant)
        }
        if found := constants & (TASKS | PROTOCOLS):
            yield f"{path.relative_to(PACKAGE)}: {', '.join(map(str, sorted(found)))}: {ast.unparse(node)[:80]}"


def test_no_name_of_a_task_or_protocol_outside_its_module() -> None:
    """A new one would otherwise have to be added there."""
    modules = [
        PACKAGE / room / f"{name}.py"
        for room, names in (("tasks", TASKS), ("scoring/protocols", PROTOCOLS))
        for name in names
    ]
    assert all(path.is_file() for path in modules)
    found = [where for path in FILES if path not in modules for where in names_asked_for(path)]
    assert not found, "\n".join(found)
    assert {path.stem for path in (PACKAGE / "scoring/protocols").glob("*.py")} == {*PROTOCOLS, "__init__"}
    assert {path.stem for path in (PACKAGE / "tasks").glob("*.py")} == {*TASKS, "__init__", "base"}
