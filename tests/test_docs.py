"""The documents are true: their commands name things that exist, and the exercises of CONTRIBUTING.md work."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

import mlsuperb
from mlsuperb.__main__ import names as command_names
from mlsuperb.commands.completion import WITH_SETTINGS
from mlsuperb.config.options import check_overrides, conf_dir, options

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("data/*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("conf/**/*.yaml")]
]
# calls of our commands and targets of make that are checked; too few say that a spelling is no longer understood
MIN_COMMANDS = {
    "README.md": 20, "CONTRIBUTING.md": 15, "data/README.md": 8, "docs/scaling.md": 7, "docs/claims.md": 3,
    "docs/benchmark.md": 15, "docs/boards.md": 12, "docs/tutorials/first_run.md": 7, "docs/tutorials/pretrain.md": 4,
}  # fmt: skip
MIN_LINKS = {"README.md": 15, "CONTRIBUTING.md": 4, "docs/index.md": 12}

SHELL = ("bash", "sh", "shell", "console")
FEW_LANGUAGES = "data.languages=[deu,spa]"  # of the six of the built-in corpus, to save time
HYDRA_FLAGS = {"-m", "--multirun", "--help", "--cfg", "--config-dir"}
PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_]*|\.\.\.")  # `upstream=MODEL`, `data=...`
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
PROGRAM = re.compile(r"(.*/)?mlsuperb")  # as pip installs it
TYPED = re.compile(
    r"(\w+=\S+ )*(make \S|(\S*/)?python\d? |(\S*/)?mlsuperb(-run)? \S|torchrun |accelerate |(\./)?recipes/)"
)


@dataclass
class Exercise:
    """A section of CONTRIBUTING.md that adds a part.

    `files` holds whole files, `edits` (path, diff) pairs, `commands` argument lists.
    """

    title: str
    files: dict[str, str] = field(default_factory=dict)
    edits: list[tuple[str, str]] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)

    def write(self, tree: Path) -> None:
        for name, content in self.files.items():
            path = tree / name
            assert not path.exists(), f"{name} is there already"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        for name, diff in self.edits:
            lines = diff.splitlines(keepends=True)
            before, after = ("".join(line[1:] for line in lines if line[0] in kept) for kept in (" -", " +"))
            text = (tree / name).read_text(encoding="utf-8")
            assert text.count(before) == 1, f"CONTRIBUTING.md changes lines of {name} that are not there:\n{before}"
            (tree / name).write_text(text.replace(before, after), encoding="utf-8")

    def overrides(self, module: str) -> list[list[str]]:
        """Arguments of its commands `python -m MODULE`."""
        return [command[3:] for command in self.commands if command[:3] == ["python", "-m", module]]


def test_every_extra_is_in_the_table_of_extras() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = project.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    known = set(re.findall(r"^(\w+) = ", section, re.MULTILINE))
    table = (ROOT / "docs" / "index.md").read_text(encoding="utf-8").partition("## Extras")[2]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == known
    assert len(known) >= 15


def read(name: str) -> str:
    """A document; of a YAML file, its comments, those that are indented commands as a shell block."""
    text = (ROOT / name).read_text(encoding="utf-8")
    if not name.endswith(".yaml"):
        return text
    comments = re.findall(r"^\s*# ?(.*)$", text, re.MULTILINE)
    shell = [line.strip() for line in comments if line[:1] == " " and TYPED.match(line.strip())]
    return "\n".join([*(line for line in comments if line.strip() not in shell), "", "```bash", *shell, "```", ""])


def split_commands(text: str) -> Iterator[list[str]]:
    """The commands of a piece of shell, as argument lists."""
    rest = ""
    for line in text.replace("\\\n", " ").splitlines():
        rest += line.removeprefix("$ ") + "\n"
        lexer = shlex.shlex(rest, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            tokens = list(lexer)
        except ValueError:  # a quotation that ends in a later line
            continue
        rest = ""
        command: list[str] = []
        for token in [*tokens, ";"]:
            if set(token) <= set("();<>|&"):
                if command:
                    yield command
                command = []
            elif command or not (re.fullmatch(r"\w+=.*", token) or token in ("do", "then", "time", "!")):
                command.append(token)
    assert not rest, f"unbalanced quotation: {rest}"


def commands(name: str) -> list[list[str]]:
    """Everything that a document gives to type, in blocks and in running text."""
    text = read(name)
    blocks = [body for language, body in FENCE.findall(text) if language in SHELL]
    spans = re.findall(r"`((?:[^`\n]|\n(?!\n))+)`", FENCE.sub("", text))
    typed = [" ".join(span.split()) for span in spans if TYPED.match(span)]
    return [command for piece in [*blocks, *typed] for command in split_commands(piece)]


def calls_of_ours(found: list[list[str]]) -> list[tuple[str, list[str]]]:
    """(command, arguments) of every call of one of our commands, in any of its spellings: `mlsuperb table RUN`, `python -m
    mlsuperb table RUN`, `python -m mlsuperb.run ...`, `mlsuperb-run ...`, the latter two as the command `run`."""
    calls = []
    for command in found:
        modules = [
            place for place, (flag, name) in enumerate(pairwise(command)) if (flag, name[:8]) == ("-m", "mlsuperb")
        ]
        if command[0] == "mlsuperb-run":
            calls.append(("run", command[1:]))
        elif PROGRAM.fullmatch(command[0]):
            calls.append(split_call(command[1:]))
        elif modules:
            module, rest = command[modules[0] + 1], command[modules[0] + 2 :]
            calls.append(split_call(rest) if module == "mlsuperb" else (module.removeprefix("mlsuperb."), rest))
    return calls


def split_call(words: list[str]) -> tuple[str, list[str]]:
    """The command and its arguments; "" where only flags are given (`mlsuperb --help`)."""
    return (words[0], words[1:]) if words and not words[0].startswith("-") else ("", words)


def filled(argument: str, folders: list[Path], *, unknown_folder: bool) -> str:
    """`upstream=MODEL` with a choice that exists in place of the placeholder; so, too, `upstream=mine` where the reader's
    `--config-dir DIR` may have it."""
    match = re.fullmatch(r"(\+*)(\w+)=(.*)", argument)
    known = options(match[2], folders) if match else []
    if match is None or not known or not (PLACEHOLDER.fullmatch(match[3]) or unknown_folder):
        return argument
    return argument if match[3] in known else f"{match[1]}{match[2]}={known[0]}"


def call_problems(command: str, arguments: list[str], own: list[Path]) -> list[str]:
    """What of a call does not exist; `own` are folders like `conf` that count too."""
    if command not in ("", "COMMAND", *command_names()):
        return [f"there is no command {command}"]
    module = "mlsuperb.__main__" if command in ("", "COMMAND") else f"mlsuperb.commands.{command}"
    spec = find_spec("mlsuperb.run" if command == "run" else module)
    assert spec is not None, command
    assert spec.origin is not None, command
    known = Path(spec.origin).read_text(encoding="utf-8")
    flags = {argument.partition("=")[0] for argument in arguments if re.match(r"--?[a-z]", argument)}
    missing = [flag for flag in flags if flag not in HYDRA_FLAGS and f'"{flag}"' not in known]
    extra = [part for folder in own for part in ("--config-dir", str(folder))]
    unknown_folder = False
    if "--config-dir" in arguments:
        place = arguments.index("--config-dir")
        unknown_folder = bool(PLACEHOLDER.fullmatch(arguments[place + 1]))
        arguments = arguments[:place] + arguments[place + 2 :]
    if command not in WITH_SETTINGS:
        arguments = [word for word in arguments if "=" not in word]
    elif command == "judge":  # its systems have names of the user's own
        arguments = [word for word in arguments if "=" not in word or word.startswith("data")]
    settings = [filled(argument, [conf_dir(), *own], unknown_folder=unknown_folder) for argument in arguments]
    problems = check_overrides([*extra, *settings]) if settings else []
    return [f"mlsuperb {command} has no {flag}" for flag in missing] + problems


@pytest.fixture(scope="module")
def exercise() -> Exercise:
    """That of CONTRIBUTING.md, which has one."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = []
    for section in re.split(r"^##+ ", text, flags=re.MULTILINE):
        exercise = Exercise(section.partition("\n")[0])
        for path, language, body in re.findall(
            r"(?:^`([^`\n]+)`\n\n)?^```(\w*)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL
        ):
            if language in SHELL:
                exercise.commands += split_commands(body)
            elif language == "diff":
                exercise.edits.append((path, body))
            else:
                assert path, f"{exercise.title}: a block without a path:\n{body}"
                exercise.files[path] = body
        if exercise.files:
            found.append(exercise)
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def tree(exercise: Exercise, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository after the exercise."""
    tree = tmp_path_factory.mktemp("repository")
    for name in ("mlsuperb", "conf", "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    exercise.write(tree)
    return tree


def call(*arguments: str, tree: Path) -> str:
    """Python in a tree and with its package; what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def check_result(path: Path) -> dict[str, Any]:
    """A result that comes from a training whose losses are finite; its configuration."""
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    losses = [epoch[name] for epoch in result["training"]["history"] for name in ("train_loss", "valid_loss")]
    assert len(losses) == 4
    assert all(math.isfinite(loss) for loss in losses)
    assert result["training"]["num_unaligned"] == 0
    assert result["protocols"]["v1"]["metrics"]["test"]
    config: dict[str, Any] = result["config"]
    return config


def test_the_exercise_keeps_the_style(exercise: Exercise, tree: Path) -> None:
    changed = [*exercise.files, *(name for name, _ in exercise.edits)]
    inside = sorted({name for name in changed if name.endswith(".py")})
    assert len(inside) == 2
    for arguments in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        call("-m", "ruff", *arguments, *inside, tree=tree)


def test_the_exercise_passes_the_tests_it_names(exercise: Exercise, tree: Path) -> None:
    ((path, flag, chosen),) = exercise.overrides("pytest")
    assert flag == "-k"
    files = [path, "tests/test_structure.py", "tests/config/test_settings.py"]
    names = f"{chosen} or test_structure or composed_by_the_tests_below"
    shown = call("-m", "pytest", "-p", "no:cacheprovider", *files, "-k", names, tree=tree)
    (passed,) = re.findall(r"(\d+) passed", shown)
    assert int(passed) > 15
    assert "skipped" not in shown


def test_the_exercise_trains(exercise: Exercise, tree: Path) -> None:
    (arguments,) = exercise.overrides("mlsuperb.run")
    call("-m", "mlsuperb.run", *arguments, FEW_LANGUAGES, tree=tree)
    (path,) = tree.glob("exp/*/result.json")
    assert check_result(path)["head"]["name"] == "convolutional"


def test_the_tutorial_on_own_methods_trains(tmp_path: Path) -> None:
    text = (ROOT / "docs/tutorials/own_method.md").read_text(encoding="utf-8")
    files = re.findall(r"^`([^`\n]+)`[^\n]*\n\n```(?:yaml|python)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in files] == ["DIR/head/mine.yaml", "my_heads.py"]
    for name, content in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    command, arguments = calls_of_ours(commands("docs/tutorials/own_method.md"))[0]
    small = [FEW_LANGUAGES, "data.minutes=0.3", "data.test_minutes=0.1", "upstream=tiny", "trainer=debug"]
    done = subprocess.run(
        [sys.executable, "-m", "mlsuperb", command, *arguments, *small],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (path,) = tmp_path.glob("exp/*/result.json")
    assert check_result(path)["head"]["_target_"] == "my_heads.MyHead"


@pytest.mark.parametrize("name", sorted({*DOCUMENTS, *MIN_COMMANDS}))
def test_commands_name_what_exists(name: str, tree: Path) -> None:
    """Commands, flags, choices and settings of `mlsuperb ...`; targets of `make`. Values that stand for the user's own are
    written in capitals (`data.root=FOLDER`)."""
    own = [tree / "conf"] if name == "CONTRIBUTING.md" else []
    found = commands(name)
    calls = calls_of_ours(found)
    targets = [word for command in found if command[0] == "make" for word in command[1:] if re.match(r"[a-z]", word)]
    known = re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    problems = [
        problem
        for command, arguments in calls
        for problem in call_problems(command, arguments, own)
        if "which is not installed here: pip install" not in problem  # an extra is named, and missing here
    ]
    problems += [f"the Makefile has no target {target}" for target in targets if target not in known]
    scripts = [
        word for command in found for word in command if re.match(r"(\./)?(recipes|scripts)/\S+\.(sh|py)$", word)
    ]
    problems += [f"there is no {script}" for script in scripts if not (ROOT / script).is_file()]
    modules = re.findall(r"mlsuperb\.commands\.\w+", read(name))
    problems += [f"{module} is a module, not a command that can be given" for module in modules]
    assert not problems, "\n".join(problems)
    assert len(calls) + len(targets) >= MIN_COMMANDS.get(name, 0)


def test_the_heads_of_the_yaml_files_give_commands() -> None:
    given = [name for name in DOCUMENTS if name.startswith("conf/exp/") and calls_of_ours(commands(name))]
    assert len(given) >= 30


@pytest.mark.parametrize("name", sorted(name for name in {*DOCUMENTS, *MIN_LINKS} if name.endswith(".md")))
def test_links_lead_somewhere_in_the_repository(name: str) -> None:
    text = FENCE.sub("", read(name))
    links = [link for link in LINK.findall(text) if not re.match(r"\w+://|mailto:", link)]
    for link in links:
        target, _, anchor = link.partition("#")
        path = (ROOT / name).parent / target if target else ROOT / name
        assert path.exists(), f"{name} links to {link}"
        assert path.resolve().is_relative_to(ROOT), f"{name} links to {link}, outside the repository"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            slugs |= set(re.findall(r'<a id="([^"]+)">', path.read_text(encoding="utf-8")))
            assert anchor in slugs, f"{name} links to {link}"
    assert len(links) >= MIN_LINKS.get(name, 0)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("mlsuperb run +exp=EXPERIMENT upstream=hubrt", "upstream has no option 'hubrt'"),
        ("mlsuperb-run +exp=EXPERIMENT upstream=hubrt", "upstream has no option 'hubrt'"),
        ("python -m mlsuperb.run --config-dir DIR trainer.max_epoch=1", "there is no setting 'trainer.max_epoch'"),
        ("torchrun --standalone -m mlsuperb.run trainer.max_epoch=1", "there is no setting 'trainer.max_epoch'"),
        ("mlsuperb data describe data=... --splt train", "mlsuperb data has no --splt"),
        (".venv/bin/mlsuperb data describe data=... --splt train", "mlsuperb data has no --splt"),
        ("python -m mlsuperb tabel RUN", "there is no command tabel"),
        ("mlsuperb tabel RUN", "there is no command tabel"),
        ("python -m mlsuperb.commands.table RUN", "there is no command commands.table"),
        ("python -m mlsuperb.no_such", "there is no command no_such"),
        ("mlsuperb --hlp", "mlsuperb  has no --hlp"),
    ],
)
def test_a_wrong_command_is_found(line: str, problem: str) -> None:
    ((command, arguments),) = calls_of_ours(list(split_commands(line)))
    (found,) = call_problems(command, arguments, [])
    assert found.startswith(problem)


@pytest.mark.parametrize(
    "line", ["mlsuperb --help", "mlsuperb COMMAND --help", "mlsuperb table RUNS --show hours,memory"]
)
def test_a_right_command_has_no_problem(line: str) -> None:
    (call_found,) = calls_of_ours(list(split_commands(line)))
    assert call_problems(*call_found, []) == []


def test_commands_are_taken_apart() -> None:
    text = """for x in a b; do
  A=1 mlsuperb data describe data=table \\
    'data.columns={audio: path, text: sentence}' | less   # look
done && make lint && python -m mlsuperb table RUN"""
    found = [command for command in split_commands(text) if command[0] in ("python", "make", "mlsuperb")]
    assert found == [
        ["mlsuperb", "data", "describe", "data=table", "data.columns={audio: path, text: sentence}"],
        ["make", "lint"],
        ["python", "-m", "mlsuperb", "table", "RUN"],
    ]
    described = ("data", ["describe", "data=table", "data.columns={audio: path, text: sentence}"])
    assert calls_of_ours(found) == [described, ("table", ["RUN"])]


def test_forms_and_workflows_are_yaml() -> None:
    found = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in ROOT.glob(".github/**/*.yml")}
    assert {"ci.yml", "bug.yml", "result.yml", "config.yml"} <= found.keys()
    assert all("jobs" in found[name] for name in found if name == "ci.yml")
    assert all(one["type"] == "textarea" for name in ("bug.yml", "result.yml") for one in found[name]["body"])


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == mlsuperb.__version__
    assert citation["license"] == "Apache-2.0"
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == mlsuperb.__version__
