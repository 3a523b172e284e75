"""Tasks: what a model has to say of an utterance. A module here has one task."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlsuperb.tasks.base import Task


def names() -> list[str]:
    """The tasks of this package. Imports none of them."""
    return [module.name for module in iter_modules(__path__) if module.name != "base"]


def known() -> dict[str, type[Task]]:
    """The tasks of this package, by name."""
    modules = [import_module(f"{__name__}.{name}") for name in names()]
    classes = [one for module in modules for one in vars(module).values() if getattr(one, "name", None) in names()]
    return {one.name: one for one in classes}
