"""From blocks to one HTML file that loads nothing from anywhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

HERE = "mlsuperb.scoring.page"
PARTS = "parts.jinja"  # macros by the names of blocks, in small letters
_NO_FILTERS: Mapping[str, Callable[[Any], str]] = {}


def render(
    template: str, *, rooms: Sequence[str], markup: Mapping[str, Callable[[Any], str]] = _NO_FILTERS, **values: Any
) -> str:
    """A whole page: no font, picture or script from anywhere else, and a policy that forbids them. All text is escaped.

    Args:
        template: a file of the last of `rooms`, which extends `frame.jinja`; it calls `draw(block)`.
        rooms: packages with templates, macros (`parts.jinja`) and scripts (`*.js`), this one left out.
        markup: filters whose result is markup: the only one that comes from outside the templates.
        values: what the template takes.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    every = [HERE, *rooms]
    environment = Environment(
        loader=FunctionLoader(lambda name: _read(*name.rsplit("/", 1))),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters.update({name: _marked(made, Markup) for name, made in markup.items()})
    macros: list[Any] = []

    def draw(block: object) -> Any:
        name = type(block).__name__.lower()
        return next(getattr(module, name) for module in macros if hasattr(module, name))(block)

    environment.globals["draw"] = draw
    macros += [
        environment.get_template(f"{room}/{PARTS}", globals=values).module for room in every if _has(room, PARTS)
    ]
    script = "\n".join(_scripts(every))
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    frame = {"style": Markup(_read(HERE, "style.css")), "script": Markup(script), "script_hash": digest}
    return environment.get_template(f"{every[-1]}/{template}").render(**frame, **values)


def _marked(made: Callable[[Any], str], markup: type) -> Callable[[Any], Any]:
    return lambda value: markup(made(value))


def _scripts(rooms: Sequence[str]) -> list[str]:
    found = [path for room in rooms for path in sorted(files(room).iterdir(), key=lambda path: path.name)]
    return [path.read_text(encoding="utf-8") for path in found if path.name.endswith(".js")]


def _has(room: str, name: str) -> bool:
    return files(room).joinpath(name).is_file()


def _read(room: str, name: str) -> str:
    return files(room).joinpath(name).read_text(encoding="utf-8")
