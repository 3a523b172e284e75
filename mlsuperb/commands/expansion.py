"""`mlsuperb expansion base=RUN one=RUN ... --new wol`: what systems of language expansion gain and forget, one line per system.

Each RUN is a benchmark run that trained the same head on a system (recipes/expand.sh --exp NAME makes them); the first is the
base. Changes are differences to it with paired bootstrap intervals. BWT (forgetting is negative) and IM are those of CL-MASR.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mlsuperb.runtime.files import strict_json, write_atomic


def _named(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"{text} is not SYSTEM=FOLDER")
    return name, Path(folder)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="mlsuperb expansion", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("systems", nargs="+", type=_named, metavar="SYSTEM=RUN", help="the base first")
    parser.add_argument(
        "--new", required=True, type=lambda text: text.split(","), metavar="a,b", help="languages that were taught"
    )
    parser.add_argument(
        "--units", nargs="+", type=_named, default=[], metavar="SYSTEM=LABELS", help="runs of job=labels: PNMI"
    )
    parser.add_argument("--phones", type=Path, metavar="FILE", help="phone marks, for --units")
    parser.add_argument("--joint", metavar="SYSTEM", help="the system that has learnt all languages together, for IM")
    parser.add_argument("--split", default="test", help="(test)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table as markdown, and beside it as JSON")
    options = parser.parse_args(arguments)
    if bool(options.units) != bool(options.phones):
        parser.error("--units and --phones go together")
    from mlsuperb.analysis.expansion import compare_systems, expansion_table, pnmi_of_sides, records
    from mlsuperb.scoring.table import table_console, tell

    runs = dict(options.systems)
    systems = compare_systems(runs, new=options.new, split=options.split, joint=options.joint)
    if options.phones:
        from mlsuperb.units.phones import read_phones

        phones, units = read_phones(options.phones), dict(options.units)
        if unknown := set(units) - set(runs):
            parser.error(f"--units {', '.join(sorted(unknown))}: the systems are {', '.join(runs)}")
        for place, one in enumerate(systems):
            if one.name in units:
                of_new, of_old = pnmi_of_sides(units[one.name], phones, new=options.new)
                systems[place] = replace(one, new=replace(one.new, pnmi=of_new), old=replace(one.old, pnmi=of_old))
    cells = expansion_table(systems, new=options.new, split=options.split)
    console = table_console()
    console.print(cells.to_rich())
    tell(console, "*: the interval of the change excludes 0")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(options.out, [cells.to_markdown()])
        write_atomic(
            options.out.with_suffix(".json"), [strict_json(records(systems), name=str(options.out), indent=2), "\n"]
        )
