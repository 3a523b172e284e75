"""A leaderboard as text: terminal, markdown, CSV, LaTeX, HTML. What users named is escaped in each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from mlsuperb.runtime.console import Console
from mlsuperb.runtime.records import strict_json
from mlsuperb.scoring.boards.blocks import Block
from mlsuperb.scoring.boards.leaderboard import Leaderboard
from mlsuperb.scoring.escaping import csv, latex, line, markdown
from mlsuperb.scoring.page.blocks import Cell, Table
from mlsuperb.scoring.page.html import render
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
    for number, block in enumerate(found.blocks, start=1):
        label = "tab:" + "-".join(re.findall(r"\w+", f"{found.title.lower()} {number}"))
        lines += _latex_table(block.cells, caption=" ".join([f"{block.cells.title}.", *block.notes]), label=label)
    lines += [f"% {line(one)}" for title, listed in found.lists.items() for one in (f"{title}:", *listed)]
    return "\n".join([*lines, ""])


def _latex_table(cells: Cells, *, caption: str, label: str) -> Iterator[str]:
    def row(values: Iterable[str], number: int | None = None) -> str:
        """Bold: the names of our rows, and the best value of each column."""
        texts = []
        for column, value in enumerate(map(latex, values)):
            bold = (number in cells.bold and cells.is_name(column)) or (number, column) in cells.best
            texts.append(rf"\textbf{{{value}}}" if bold and value else value)
        return " & ".join(texts) + r" \\"

    layout = "".join("l" if cells.is_name(number) else "r" for number in range(len(cells.columns)))
    yield from (
        r"\begin{table}",
        rf"\caption{{{latex(caption)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{{layout}}}",
    )
    yield from (r"\toprule", row(cells.columns), r"\midrule")
    yield from (row(values, number) for number, values in enumerate(cells.rows))
    yield from (r"\bottomrule", r"\end{tabular}", r"\end{table}")


def to_json(found: Leaderboard) -> str:
    """What stands in the CSV file, with the text around it; numbers (which have no separators of thousands) are numbers."""
    rows = [
        {name: _plain(value) for name, value in record.items()} for block in found.blocks for record in block.records
    ]
    whole = {"title": found.title, "about": found.about, "rows": rows, "lists": found.lists}
    return strict_json(whole, name="the leaderboard", indent=2) + "\n"


def _plain(value: str) -> str | float | None:
    return (float(value) if "." in value else int(value)) if re.fullmatch(r"-?\d+(\.\d+)?", value) else value or None


def to_html(found: Leaderboard) -> str:
    """One page that needs no other file, in the style of reports."""
    tables = [
        (_html_table(block, f"board-{number}"), block.notes) for number, block in enumerate(found.blocks, start=1)
    ]
    lists = {title: [(one.strip(), _is_command(one)) for one in lines] for title, lines in found.lists.items()}
    return render(
        "leaderboard.jinja",
        rooms=["mlsuperb.scoring.boards"],
        board=found,
        tables=tables,
        lists=lists,
        synthetic=SYNTHETIC,
    )


def _html_table(block: Block, name: str) -> Table:
    """Sortable; whose a row is and its adaptation stand below the system; the column that ranks has bars."""
    cells = block.cells
    ranking = _ranking_column(block)
    full = max((row[ranking] or 0.0 for row in block.values), default=0.0)
    rows = []
    for number, (whose, system, adaptation, *texts) in enumerate(cells.rows):
        rank = block.ranks[number]
        row = [Cell(text=rank, value=float(rank) if rank else None), Cell(text=system, sub=f"{adaptation}, {whose}")]
        for column, text in enumerate(texts, start=cells.num_names):
            value = block.values[number][column]
            share = (
                min(100.0, max(0.0, 100 * value / full))
                if column == ranking and value is not None and full > 0
                else None
            )
            row.append(Cell(text=text, value=value, share=share, tone="best" if (number, column) in cells.best else ""))
        rows.append(tuple(row))
    titles = cells.columns[cells.num_names :]
    return Table(
        name=name,
        title=cells.title,
        columns=("rank", "system", *titles),
        rows=tuple(rows),
        texts=("system", *(titles[-1:] if cells.last_is_name else ())),
        sortable=True,
        label="systems",
        level=2,
        marked=cells.bold if len(cells.bold) < len(cells.rows) else frozenset(),
    )


def _ranking_column(block: Block) -> int:
    """SUPERB_s, or else the first column of scores."""
    titles = list(block.cells.columns)
    return next((place for place, title in enumerate(titles) if title.startswith("SUPERB_s")), block.cells.num_names)


def _is_command(text: str) -> bool:
    return text.startswith("  python ")


FORMATS: Mapping[str, Callable[[Leaderboard], str]] = {
    "md": to_markdown,
    "csv": to_csv,
    "latex": to_latex,
    "html": to_html,
    "json": to_json,
}
