"""`mlsuperb expansion base=RUN one=RUN ... --new wol`: what systems of language expansion gain and forget, one line per system.

mlsuperb expansion base=RUN one=RUN two=RUN --new wol                              systems that were taught the same
mlsuperb expansion zero_shot=RUN encoder=RUN,RUN,RUN --new swa                     several seeds of a system
mlsuperb expansion base=RUN kat=RUN tur=RUN --sequence [--alone tur=RUN]           one model that was taught kat, then tur

Each RUN is a benchmark run that trained the same head on a system (recipes/expand.sh --exp NAME makes them), or an adapted model
of speech and text itself (recipes/seamless.sh); the first is the base. Changes are differences to it with paired bootstrap
intervals over utterances. BWT (forgetting is negative), FWT (positive where earlier languages helped) and IM (positive where less
was learnt) are those of CL-MASR.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsuperb.commands.settings import ByName, markdown_file, named_folders, named_path
from mlsuperb.runtime.files import write_atomic
from mlsuperb.runtime.records import strict_json

if TYPE_CHECKING:
    from mlsuperb.scoring.table import Cells
    from mlsuperb.types import TaskFacts


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mlsuperb expansion", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("systems", nargs="+", type=named_folders, action=ByName, metavar="SYSTEM=RUN[,RUN]", help="the base first")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--new", type=lambda text: text.split(","), metavar="a,b", help="languages that were taught")
    kind.add_argument(
        "--sequence", action="store_true", help="each system was made of the one before, by the language it is named by"
    )
    alone: dict[str, Any] = {"metavar": "LANG=RUN", "help": "taught LANG right after the base, for FWT"}
    labels: dict[str, Any] = {"metavar": "SYSTEM=LABELS", "help": "units of the new languages: PNMI"}
    pooled = labels | {"help": "units of new and old ones"}
    for flag, settings in (("--alone", alone), ("--units", labels), ("--pooled-units", pooled)):
        add(flag, nargs="+", type=named_path, action=ByName, default={}, **settings)
    add("--phones", type=Path, metavar="FILE", help="phone marks, for units")
    add("--joint", metavar="SYSTEM", help="the system that has learnt all languages together, for IM")
    add(
        "--rate",
        choices=("wer", "cer"),
        help="of words or characters after the 2025 challenge's normalisation (the task's own rate)",
    )
    add("--split", default="test", help="(test)")
    add(
        "--out",
        type=markdown_file,
        metavar="FILE",
        help="write the table as markdown; beside it as JSON, and a picture",
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.sequence:
        if options.rate:
            parser.error("--sequence shows the task's own rate: leave out --rate")
        if options.units or options.pooled_units or options.phones:
            parser.error("--sequence shows no units: measure them by `mlsuperb units quality`")
        _sequence(options)
        return
    if options.alone:
        parser.error("--alone goes with --sequence")
    fits = {"pnmi": options.units, "pooled_pnmi": options.pooled_units}
    if bool(fits["pnmi"] or fits["pooled_pnmi"]) != bool(options.phones):
        parser.error("--units or --pooled-units and --phones go together")
    if unknown := {name for units in fits.values() for name in units} - set(options.systems):
        parser.error(f"units of {', '.join(sorted(unknown))}: the systems are {', '.join(options.systems)}")
    _systems(options, fits)


def _systems(options: argparse.Namespace, fits: Mapping[str, Mapping[str, Path]]) -> None:
    """Systems that were taught the same languages; `fits`: their units."""
    from mlsuperb.analysis.expansion import compare_systems, expansion_table, records, with_units
    from mlsuperb.analysis.expansion_chart import expansion_chart
    from mlsuperb.scoring.protocols.wer_cer import RATES

    runs = options.systems
    systems = compare_systems(runs, new=options.new, split=options.split, joint=options.joint, rate=options.rate)
    if options.phones:
        from mlsuperb.units.phones import read_phones

        phones = read_phones(options.phones)
        for name, units in fits.items():
            systems = with_units(systems, units, phones, pooled=name == "pooled_pnmi", new=options.new)
    facts = _facts(runs)
    if options.rate:
        facts = replace(facts, unit_name=RATES[options.rate])
    show(
        expansion_table(systems, facts, new=options.new, split=options.split),
        records(systems),
        out=options.out,
        remarks=["*: the interval of the change excludes 0"],
    )
    chart = expansion_chart(systems, name=options.out.stem, rate=facts.unit_name) if options.out else None
    if chart is not None:
        chart.save(options.out.parent)


def _sequence(options: argparse.Namespace) -> None:
    """One model after each language that it was taught."""
    from mlsuperb.analysis.expansion_sequence import compare_sequence, sequence_rates, sequence_table

    runs = options.systems
    if options.joint is not None and options.joint not in runs:
        raise ValueError(f"--joint {options.joint} is none of the systems: {', '.join(runs)}")
    stages = {name: name for name in runs if name != options.joint}
    alone = {language: f"{language} alone" for language in options.alone}
    rates = sequence_rates(
        runs | {alone[name]: [folder] for name, folder in options.alone.items()}, split=options.split
    )
    measures = compare_sequence(rates, stages, alone=alone, joint=options.joint)
    cells = sequence_table(rates, measures, stages, unit=_facts(runs).unit_name)
    named = [{"name": name, **asdict(one), "rates": rates[name]} for name, one in zip(stages, measures, strict=True)]
    show(
        cells,
        named,
        out=options.out,
        remarks=["in brackets: not taught yet; the mean is of what was taught, all old languages as one task"],
    )


def _facts(runs: Mapping[str, Sequence[Path]]) -> TaskFacts:
    """The task of runs that can be compared."""
    from mlsuperb.runs import store
    from mlsuperb.scoring.result import SCORED

    return store.read(next(iter(runs.values()))[0], *SCORED).facts


def show(cells: Cells, records: Sequence[Mapping[str, object]], *, out: Path | None, remarks: Sequence[str]) -> None:
    """Print a table with its remarks; with `out` write it as markdown, and the records as JSON beside it."""
    from mlsuperb.scoring.table import table_console, tell

    console = table_console()
    console.print(cells.to_rich())
    tell(console, *remarks)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(out, [cells.to_markdown()])
        write_atomic(out.with_suffix(".json"), [strict_json(records, name=str(out), indent=2), "\n"])
