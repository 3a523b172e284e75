"""`mlsuperb durations PIVOT=RUN ... --phones LANG=FILE ...`: how alike languages time their phones, and what one gained.

mlsuperb durations --phones spa=FILE tur=FILE swa=FILE --targets swa                       # before a training: choose a pivot
mlsuperb durations spa=RUN,RUN tur=RUN --base RUN --phones spa=FILE tur=FILE swa=FILE      # after it: distance and gain

Each RUN was trained on the speech of PIVOT alone and tested on others (system `pivot` of recipes/seamless.sh); the base is the
model as it was. FILE is a table of phones, or a folder of TextGrids or label files, as `mlsuperb units` takes them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mlsuperb.commands.expansion import show
from mlsuperb.commands.settings import ByName, markdown_file, named_folders, named_path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mlsuperb durations", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "pivots",
        nargs="*",
        type=named_folders,
        action=ByName,
        metavar="PIVOT=RUN[,RUN]",
        help="trained on PIVOT, one run per seed",
    )
    add("--base", type=Path, metavar="RUN", help="the model before these trainings")
    add(
        "--phones", nargs="+", type=named_path, action=ByName, required=True, metavar="LANG=FILE",
        help="phone marks of each language",
    )  # fmt: skip
    add("--targets", type=lambda text: text.split(","), metavar="a,b", help="(all that have phone marks)")
    add("--tier", default="phones", help="tier of TextGrids that holds the phones (phones)")
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
    runs = options.pivots or {}
    if bool(runs) != bool(options.base):
        parser.error("PIVOT=RUN and --base go together")
    from mlsuperb.analysis.durations import duration_chart, duration_pairs, duration_remarks, duration_table, with_gains
    from mlsuperb.runs import store
    from mlsuperb.scoring.protocols.wer_cer import RATES
    from mlsuperb.scoring.result import SCORED
    from mlsuperb.units.phones import read_phones

    marks = {language: read_phones(path, tier=options.tier) for language, path in options.phones.items()}
    pairs = duration_pairs(marks, list(runs or marks), targets=options.targets)
    unit = None
    if runs:
        pairs = with_gains(pairs, runs, base=options.base, split=options.split, rate=options.rate)
        unit = RATES[options.rate] if options.rate else store.read(options.base, *SCORED).facts.unit_name
    cells = duration_table(pairs, unit=unit)
    show(cells, [asdict(one) for one in pairs], out=options.out, remarks=duration_remarks(pairs))
    chart = duration_chart(pairs, name=options.out.stem, unit=unit) if options.out and unit else None
    if chart is not None:
        chart.save(options.out.parent)
