"""A leaderboard as text: terminal, markdown, CSV, LaTeX, HTML. What users named is escaped in each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.resources import files

from rich.console import Console

from mlsuperb.scoring.boards.leaderboard import Leaderboard
from mlsuperb.scoring.escaping import csv, latex, line, markdown
from mlsuperb.scoring.table import SYNTHETIC, Cells, tell


def show(found: Leaderboard, console: Console) -> None:
    """Print a leaderboard on a terminal."""
    tell(console, found.title, style="bold")
    tell(console, *found.about)
    for block in found.blocks:
        console.print()
        console.print(block.cells.to_rich())
        for note in block.notes:
            style = "bold yellow" if note == SYNTHETIC else ""
            tell(console, f"  {note}", style=style)
    for title, lines in found.lists.items():
        tell(console, f"\n{title}", style="bold")
        tell(console, *(f"  {line}" for line in lines))


def to_markdown(found: Leaderboard) -> str:
    """GitHub's tables; our rows are bold."""
    parts = [f"# {markdown(found.title)}", *map(markdown, found.about)]
    for block in found.blocks:
        parts += [f"## {markdown(block.cells.title)}", block.cells.markdown_rows()]
        parts += map(markdown, block.notes)
    for title, lines in found.lists.items():
        items = "\n".join(f"  `{one.strip()}`" if _is_command(one) else f"- {markdown(one)}" for one in lines)
        parts += [f"## {markdown(title)}", items]
    return "\n\n".join(parts) + "\n"


def to_csv(found: Leaderboard) -> str:
    """Every row of every table, with numbers and differences in columns of their own; without notes and lists."""
    import pandas as pd

    records = [record for block in found.blocks for record in block.records]
    return csv(pd.DataFrame(records))


def to_latex(found: Leaderboard) -> str:
    r"""Tables for a document with `\usepackage{booktabs}`; the text around them becomes comments and captions."""
    lines = [f"% {line(one)}" for one in (found.title, *found.about)]
    for block in found.blocks:
        lines += _latex_table(block.cells, caption=" ".join([f"{block.cells.title}.", *block.notes]))
    lines += [f"% {line(one)}" for title, listed in found.lists.items() for one in (f"{title}:", *listed)]
    return "\n".join([*lines, ""])


def _latex_table(cells: Cells, *, caption: str) -> Iterator[str]:
    def row(values: Iterable[str], *, bold: bool = False) -> str:
        escaped = (latex(value) for value in values)
        return " & ".join(rf"\textbf{{{value}}}" if bold and value else value for value in escaped) + r" \\"

    layout = "".join("l" if cells.is_name(number) else "r" for number in range(len(cells.columns)))
    yield from (r"\begin{table}", rf"\caption{{{latex(caption)}}}", rf"\begin{{tabular}}{{{layout}}}")
    yield from (r"\toprule", row(cells.columns), r"\midrule")
    yield from (row(values, bold=number in cells.bold) for number, values in enumerate(cells.rows))
    yield from (r"\bottomrule", r"\end{tabular}", r"\end{table}")


def to_html(found: Leaderboard) -> str:
    """One page that needs no other file."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    template = files("mlsuperb.scoring.boards").joinpath("leaderboard.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(board=found, is_command=_is_command, synthetic=SYNTHETIC)


def _is_command(text: str) -> bool:
    return text.startswith("  python ")


FORMATS: Mapping[str, Callable[[Leaderboard], str]] = {
    "md": to_markdown,
    "csv": to_csv,
    "latex": to_latex,
    "html": to_html,
}
