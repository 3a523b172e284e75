"""`mlsuperb expansion base=RUN one=RUN ... --new wol`: what systems of language expansion gain and forget, one line per system.

Each RUN is a benchmark run that trained the same head on a system (recipes/expand.sh --exp NAME makes them); the first is the
base. Changes are differences to it with paired bootstrap intervals. BWT (forgetting is negative) and IM are those of CL-MASR.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mlsuperb.runtime.files import strict_json, write_atomic


def _named(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"{text} is not SYSTEM=FOLDER")
    return name, Path(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mlsuperb expansion", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("systems", nargs="+", type=_named, metavar="SYSTEM=RUN", help="the base first")
    add("--new", required=True, type=lambda text: text.split(","), metavar="a,b", help="languages that were taught")
    add("--units", nargs="+", type=_named, default=[], metavar="SYSTEM=LABELS", help="units of the new languages: PNMI")
    add("--pooled-units", nargs="+", type=_named, default=[], metavar="SYSTEM=LABELS", help="units of new and old ones")
    add("--phones", type=Path, metavar="FILE", help="phone marks, for units")
    add("--joint", metavar="SYSTEM", help="the system that has learnt all languages together, for IM")
    add("--split", default="test", help="(test)")
    add("--out", type=Path, metavar="FILE", help="write the table as markdown, and beside it as JSON")
    return parser


def main(arguments: Sequence[str]) -> None:
    parser = _parser()
    options = parser.parse_args(arguments)
    runs = dict(options.systems)
    fits = {"pnmi": dict(options.units), "pooled_pnmi": dict(options.pooled_units)}
    if bool(fits["pnmi"] or fits["pooled_pnmi"]) != bool(options.phones):
        parser.error("--units or --pooled-units and --phones go together")
    if unknown := {name for units in fits.values() for name in units} - set(runs):
        parser.error(f"units of {', '.join(sorted(unknown))}: the systems are {', '.join(runs)}")
    from mlsuperb.analysis.expansion import compare_systems, expansion_table, records, with_units
    from mlsuperb.runs import store
    from mlsuperb.scoring.result import BenchmarkResult
    from mlsuperb.scoring.table import table_console, tell

    systems = compare_systems(runs, new=options.new, split=options.split, joint=options.joint)
    if options.phones:
        from mlsuperb.units.phones import read_phones

        phones = read_phones(options.phones)
        for name, units in fits.items():
            systems = with_units(systems, units, phones, pooled=name == "pooled_pnmi", new=options.new)
    facts = store.read(next(iter(runs.values())), BenchmarkResult).facts  # of all, since they can be compared
    cells = expansion_table(systems, facts, new=options.new, split=options.split)
    console = table_console()
    console.print(cells.to_rich())
    tell(console, "*: the interval of the change excludes 0")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(options.out, [cells.to_markdown()])
        text = strict_json(records(systems), name=str(options.out), indent=2)
        write_atomic(options.out.with_suffix(".json"), [text, "\n"])
