"""What users and their data named, in formats that have a syntax of their own: Markdown, LaTeX, CSV."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mlsuperb.runtime.messages import printable

if TYPE_CHECKING:
    from pandas import DataFrame

_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "↓": r"$\downarrow$", "↑": r"$\uparrow$", "±": r"$\pm$",
    "<": r"\textless{}", ">": r"\textgreater{}",
})  # fmt: skip
# A spreadsheet takes a cell that begins so for a formula (OWASP, "CSV Injection"); numbers are none.
_FORMULA = re.compile(r"(?![+-]?[\d.]+(?:[eE][+-]?\d+)?$)[=+\-@\t\r]")
_MARKED = re.compile(r"'(?=[=+\-@\t\r])")


def line(text: str) -> str:
    """`text` in one line, control characters written out."""
    return printable(text, but="")


def markdown(text: str) -> str:
    """`text` for Markdown and a cell of its tables: neither links, emphasis, HTML nor new columns. Brackets and stars that can
    make neither a link nor emphasis, as those of intervals, stay as they are."""
    brackets = r"\[\]" if re.search(r"\][(\[:]", text) else ""
    return re.sub(rf"([\\`|<{brackets}]|(?<!\s)\*|\*(?!\s|$))", r"\\\1", line(text))


def code_block(text: str) -> str:
    """A block of text that shows what is in it, also where that is the end of a block."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def latex(text: str) -> str:
    """`text` for LaTeX."""
    return line(text).translate(_LATEX)


def csv(frame: DataFrame) -> str:
    """A table as CSV, without its index. Text that a spreadsheet would calculate has an apostrophe before it."""
    safe = frame.rename(columns=_no_formula)
    for name, kind in safe.dtypes.items():
        if kind.kind == "O":  # text, or of several kinds
            safe[name] = safe[name].map(_no_formula)
    return str(safe.to_csv(index=False, lineterminator="\n"))


def from_csv(text: str) -> str:
    """A cell as it was before `csv` marked it."""
    return _MARKED.sub("", text, count=1) if text.startswith("'") else text


def _no_formula(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def page(template: str, **values: Any) -> str:
    """A Markdown page from a jinja2 template, in which every text is escaped unless it is a `markupsafe.Markup`."""
    from jinja2 import Environment
    from markupsafe import Markup

    def escaped(value: Any) -> Any:
        return Markup(markdown(value)) if isinstance(value, str) and not hasattr(value, "__html__") else value

    return str(Environment(autoescape=True, finalize=escaped).from_string(template).render(**values))
