"""A leaderboard as text: terminal, markdown, CSV, LaTeX, HTML. What users named is escaped in each."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable, Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mlsuperb.scoring.boards.blocks import ORIGIN, OURS, Block
from mlsuperb.scoring.boards.leaderboard import Leaderboard
from mlsuperb.scoring.table import SYNTHETIC

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "↓": r"$\downarrow$", "↑": r"$\uparrow$", "±": r"$\pm$",
    "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; color: #1b1b1b; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd; text-align: right; }
th { white-space: normal; vertical-align: bottom; }
.name { text-align: left; }
.ours { background: #eef4ff; font-weight: 600; }
.synthetic { color: #8a4b00; font-weight: 600; }
li, p { overflow-wrap: anywhere; }
.command { list-style: none; font-family: monospace; }
@media (prefers-color-scheme: dark) {
  body { color: #e8e8e8; background: #161616; }
  th, td { border-color: #444; }
  .ours { background: #22304a; }
  .synthetic { color: #ffb454; }
}
"""


def show(found: Leaderboard, console: Console) -> None:
    """On a terminal."""
    console.print(f"[bold]{escape(found.title)}[/]")
    for line in found.about:
        console.print(escape(line), highlight=False, soft_wrap=True)
    for block in found.blocks:
        console.print()
        console.print(_rich(block))
        for note in block.notes:
            style = "bold yellow" if note == SYNTHETIC else None
            console.print(f"  {escape(note)}", style=style, highlight=False, soft_wrap=True)
    for title, lines in found.lists.items():
        console.print(f"\n[bold]{escape(title)}[/]")
        for line in lines:
            console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)


def _rich(block: Block) -> Table:
    cells = block.cells
    table = Table(title=escape(cells.title), title_justify="left")
    for number, column in enumerate(cells.columns):
        table.add_column(escape(column), justify="left" if _is_name(block, number) else "right")
    for row in cells.rows:
        table.add_row(*map(escape, row), style="bold" if row[0].startswith(OURS) else None)
    return table


def to_markdown(found: Leaderboard) -> str:
    """GitHub's tables; our rows are bold."""
    parts = [f"# {_markdown(found.title)}", *map(_markdown, found.about)]
    for block in found.blocks:
        cells = block.cells
        rule = ["---" if _is_name(block, number) else "---:" for number in range(len(cells.columns))]
        rows = [[_bold(cell, row[0]) for cell in row] for row in cells.rows]
        table = "\n".join(f"| {' | '.join(row)} |" for row in (map(_markdown, cells.columns), rule, *rows))
        parts += [f"## {_markdown(cells.title)}", table, *(_markdown(note) for note in block.notes)]
    for title, lines in found.lists.items():
        items = "\n".join(f"  `{line.strip()}`" if _is_command(line) else f"- {_markdown(line)}" for line in lines)
        parts += [f"## {_markdown(title)}", items]
    return "\n\n".join(parts) + "\n"


def _bold(cell: str, whose: str) -> str:
    return f"**{_markdown(cell)}**" if cell and whose.startswith(OURS) else _markdown(cell)


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*|<\[\]])", r"\\\1", text)


def to_csv(found: Leaderboard) -> str:
    """Every row of every table, numbers and differences in columns of their own; what has no row is not in it."""
    names = list(dict.fromkeys(name for record in found.records for name in record))
    file = io.StringIO()
    writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(found.records)
    return file.getvalue()


def to_latex(found: Leaderboard) -> str:
    r"""Tables for a document with `\usepackage{booktabs}`; what is said around them stands as comments and captions."""
    return "\n".join(
        [
            *(f"% {line}" for line in (found.title, *found.about)),
            *(line for block in found.blocks for line in _latex_table(block)),
            *(f"% {line}" for title, lines in found.lists.items() for line in (f"{title}:", *lines)),
            "",
        ]
    )


def _latex_table(block: Block) -> Iterable[str]:
    cells = block.cells
    layout = "".join("l" if _is_name(block, number) else "r" for number in range(len(cells.columns)))

    def row(values: Iterable[str], mark: Callable[[str], str] = str) -> str:
        return " & ".join(mark(_latex(value)) if value else "" for value in values) + r" \\"

    def bold(value: str) -> str:
        return rf"\textbf{{{value}}}"

    yield r"\begin{table}"
    yield rf"\caption{{{_latex(' '.join([cells.title + '.', *block.notes]))}}}"
    yield rf"\begin{{tabular}}{{{layout}}}"
    yield r"\toprule"
    yield row(cells.columns)
    yield r"\midrule"
    yield from (row(one, bold if one[0].startswith(OURS) else str) for one in cells.rows)
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def to_html(found: Leaderboard) -> str:
    """One page that needs nothing else."""
    title = html.escape(found.title)
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>',
        f"<h1>{title}</h1>",
        *(f"<p>{html.escape(line)}</p>" for line in found.about),
        *(line for block in found.blocks for line in _html_table(block)),
    ]
    for name, lines in found.lists.items():
        items = (
            f"<li{' class=command' if _is_command(line) else ''}>{html.escape(line.strip())}</li>" for line in lines
        )
        parts += [f"<h2>{html.escape(name)}</h2>", f"<ul>{''.join(items)}</ul>"]
    return "\n".join([*parts, "</body></html>", ""])


def _html_table(block: Block) -> Iterable[str]:
    cells = block.cells

    def row(values: Iterable[str], tag: str, kind: str) -> str:
        inner = (
            f"<{tag}{' class=name' if _is_name(block, number) else ''}>{html.escape(value)}</{tag}>"
            for number, value in enumerate(values)
        )
        return f"<tr{kind}>{''.join(inner)}</tr>"

    yield f"<h2>{html.escape(cells.title)}</h2>"
    yield '<div class="table" tabindex="0"><table><thead>'
    yield row(cells.columns, "th", "")
    yield "</thead><tbody>"
    yield from (row(one, "td", " class=ours" if one[0].startswith(OURS) else "") for one in cells.rows)
    yield "</tbody></table></div>"
    for note in block.notes:
        yield f"<p{' class=synthetic' if note == SYNTHETIC else ''}>{html.escape(note)}</p>"


def _is_name(block: Block, number: int) -> bool:
    return number < block.cells.num_names or block.cells.columns[number] == ORIGIN


def _is_command(line: str) -> bool:
    return line.startswith("  python ")
