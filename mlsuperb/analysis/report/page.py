"""From a page's blocks to one HTML file."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from mlsuperb.analysis.report.blocks import Page


def render(page: Page, *, figures: str) -> str:
    """The whole page: no link, font, picture or script from anywhere else, and a policy that forbids them. All text is
    escaped; figures are the only markup that comes from outside the template. `figures`: folder of their files."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    folder = files("mlsuperb.analysis.report")
    style, script, template = (
        (folder / name).read_text(encoding="utf-8") for name in ("style.css", "script.js", "report.html.jinja")
    )
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["svg"] = lambda chart: Markup(chart.svg())
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return environment.from_string(template).render(
        page=page,
        folder=figures,
        style=Markup(style),
        script=Markup(script),
        script_hash=digest,
    )
