"""Hooks of mkdocs (mkdocs.yml): pages that are written elsewhere, reference pages from YAML files and `--help`, links.

A page of the site and the same file on a repository's page both have working links: a link to a file that is no page of the
site leads to the repository.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import itertools
import os
import posixpath
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
# Documents outside docs/ that are pages of the site.
ELSEWHERE = {
    "data/README.md": "data.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "README.md": "index.md",
}
# What a browser would fetch from another place while it shows a page.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|audio|link rel="?(?:stylesheet|preload|icon))[^>]*(?:src|href)=["']?(https?:)?//"""
)
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in docs/."""
    pages = {
        page: (ROOT / source).read_text(encoding="utf-8") for source, page in ELSEWHERE.items() if page != "index.md"
    }
    for page, text in {**pages, **reference()}.items():
        files.append(File.generated(config, page, content=text))
    # material of the pages, no part of the site
    for path in [*ROOT.glob("docs/*.yaml"), *ROOT.glob("docs/results/*.xz")]:
        if file := files.get_file_from_path(path.relative_to(ROOT / "docs").as_posix()):
            files.remove(file)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links between files of the repository into links between pages of the site, or to the repository."""
    here = page.file.src_uri
    source = next((path for path, place in ELSEWHERE.items() if place == here and here != "index.md"), f"docs/{here}")

    def led(match: re.Match[str]) -> str:
        target = match[2]
        if re.match(r"\w+:", target):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        place = ELSEWHERE.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(place):
            led_to = posixpath.relpath(place, posixpath.dirname(here) or ".")
        else:
            kind = "tree" if (ROOT / path).is_dir() else "blob"
            led_to = f"{config.repo_url}/{kind}/main/{path}"
        return f"{match[1]}{led_to}{match[3] or ''}{match[4]}"

    pieces, end = [], 0
    for fence in [*FENCE.finditer(markdown), None]:
        pieces.append(LINK.sub(led, markdown[end : fence.start() if fence else None]))
        if fence:
            pieces.append(fence[0])
            end = fence.end()
    return "".join(pieces)


def on_post_build(config: Any) -> None:
    """Refuse pages that need a network."""
    pages = Path(config.site_dir).rglob("*.html")
    if bad := [str(page) for page in pages if FETCHED.search(page.read_text(encoding="utf-8"))]:
        raise PluginError(f"these pages fetch something from elsewhere: {', '.join(bad)}")


@cache
def reference() -> dict[str, str]:
    """The generated pages: path in the site -> markdown."""
    return {
        "reference/commands.md": "\n\n".join(_commands()),
        "reference/experiments.md": "\n\n".join(_yaml_files("Experiments", "exp")),
        "reference/python.md": "\n\n".join(_python()),
        "reference/settings.md": _settings(),
        "reference/upstreams.md": _upstreams(),
        **{f"reference/settings/{group}.md": "\n\n".join(_yaml_files(f"{group}=", group)) for group in _groups()},
    }


def _commands() -> Iterator[str]:
    from mlsuperb.__main__ import COMMANDS

    yield "# Commands\n\nWhat `mlsuperb COMMAND --help` prints."
    for title, commands in COMMANDS.items():
        yield f"## {title}"
        for name, line in commands.items():
            yield f"### {name}\n\n{line[:1].upper()}{line[1:]}.\n\n```text\n{_help(name).strip()}\n```"


def _help(name: str) -> str:
    if name == "run":
        from mlsuperb.config.answers import help_text

        return help_text([])
    width = patch.dict(os.environ, COLUMNS="110")
    with width, contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        import_module(f"mlsuperb.commands.{name}").main(["--help"])
    return printed.getvalue()


def _python() -> Iterator[str]:
    """The public functions, and what they return, by their docstrings."""
    import mlsuperb
    from mlsuperb.api import models, records

    yield "# Python\n\n[How to use it](../api.md), with examples. Letters: L layers, F frames, D feature size, V tokens."
    for name in mlsuperb.__all__:
        one = getattr(mlsuperb, name)
        if callable(one):
            yield _documented(f"mlsuperb.{name}", one, level=2)
    for kind in (models.Model, models.FrozenUpstream, records.Layers, records.Posteriors, records.Transcript):
        yield f"## {kind.__name__}\n\n```text\n{inspect.getdoc(kind)}\n```"
        methods = inspect.getmembers(kind, lambda one: inspect.isfunction(one) and not one.__name__.startswith("_"))
        yield from (_documented(f"{kind.__name__}.{name}", one, level=3) for name, one in methods)


def _documented(name: str, function: Any, *, level: int) -> str:
    signature = str(inspect.signature(function)).replace("'", "")
    return f"{'#' * level} {name}\n\n```text\n{name}{signature}\n\n{inspect.getdoc(function)}\n```"


def _groups() -> list[str]:
    from mlsuperb.config.options import conf_dir, groups_in

    return [group for group in groups_in([conf_dir()]) if group != "exp"]


def _settings() -> str:
    """A list of the groups and their options."""
    from mlsuperb.config.options import conf_dir, options

    head = "# Settings\n\n`GROUP=OPTION` chooses, `GROUP.SETTING=VALUE` changes.\n\n| group | options |\n|---|---|"
    rows = [f"| [{group}](settings/{group}.md) | {', '.join(options(group, [conf_dir()]))} |" for group in _groups()]
    return "\n".join([head, *rows])


def _upstreams() -> str:
    """What their cards say."""
    from mlsuperb.commands.upstreams import cards, table

    return f"# Upstreams\n\nWhat `mlsuperb upstreams` lists.\n\n{table(cards()).markdown_rows()}"


def _yaml_files(title: str, group: str) -> Iterator[str]:
    """The head comment and the settings of every option."""
    yield f"# {title}"
    folder = ROOT / "conf" / group
    for path in sorted(folder.rglob("*.yaml")):
        content = path.read_text(encoding="utf-8")
        head = list(itertools.takewhile(lambda line: line.startswith("#"), content.splitlines()))
        text: list[str] = []
        shell: list[str] = []
        for line in head:
            if line != "# @package _global_":
                (shell if line.startswith("#   ") else text).append(line.removeprefix("#").strip())
        yield f"## {path.relative_to(folder).with_suffix('').as_posix()}\n\n{' '.join(text)}"
        if shell:
            yield "```bash\n" + "\n".join(shell) + "\n```"
        yield "```yaml\n" + "\n".join(content.splitlines()[len(head) :]) + "\n```"
