"""`mlsuperb adapters list|merge|switch ...`: LoRA adapters of runs, or as peft writes them.

mlsuperb adapters list FOLDER...                             base, rank, layers, size and languages of the adapters in there
mlsuperb adapters merge ADAPTER... --base BASE --out DIR     a checkpoint with their updates in its weights, for upstream=hf
mlsuperb adapters switch ADAPTER|none [--base BASE]          print the settings with which a run uses BASE with the adapter

ADAPTER is a run with adaptation=lora, or a folder with adapter_config.json; BASE an id on the hub, a folder, or a run of
job=pretrain. `switch` changes no file: a run adds the updates to the weights in memory, and another adapter is another setting,

  mlsuperb run $(mlsuperb adapters switch exp/expand-wol-...) data=...
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

NONE = "none"  # no adapter


def list_(options: argparse.Namespace) -> None:
    """List the adapters in folders, one row each."""
    from mlsuperb.export.adapters import adapters_table, as_json, facts_of, find_adapters
    from mlsuperb.scoring.table import table_console

    rows = [facts_of(adapter) for adapter in find_adapters(options.folders)]
    if options.format == "json":
        sys.stdout.write(json.dumps(as_json(rows), indent=2, ensure_ascii=False) + "\n")
    else:
        table_console().print(adapters_table(rows).to_rich())


def merge(options: argparse.Namespace) -> None:
    """Add the updates of adapters to the weights of their base."""
    from mlsuperb.export.adapters import merge_adapters

    difference = merge_adapters(options.adapters, base=options.base, out=options.out, revision=options.revision)
    sys.stdout.write(
        f"{options.out} is the merged checkpoint (its layers differ from the unmerged ones by {difference:.1e} at most, "
        f"relative to a layer's largest value). Use it: mlsuperb run upstream=hf upstream.checkpoint={options.out} ...\n"
    )


def switch(options: argparse.Namespace) -> None:
    """Print the settings with which a run uses an adapter, or the base alone."""
    from mlsuperb.export.adapters import settings_for

    adapter = None if options.adapter == NONE else Path(options.adapter)
    sys.stdout.write(settings_for(adapter, base=options.base, revision=options.revision) + "\n")


COMMANDS = {"list": list_, "merge": merge, "switch": switch}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mlsuperb adapters", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="|".join(COMMANDS))
    made = {name: commands.add_parser(name, help=command.__doc__) for name, command in COMMANDS.items()}
    add = made["list"].add_argument
    add("folders", nargs="+", type=Path, metavar="FOLDER", help="run, adapter, or folder that holds some, e.g. exp")
    add("--format", choices=("table", "json"), default="table", help="print a table, or all figures as JSON")
    add = made["merge"].add_argument
    add(
        "adapters", nargs="+", type=Path, metavar="ADAPTER",
        help="each trained on BASE, or on BASE with the one before merged in",
    )  # fmt: skip
    add("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    made["switch"].add_argument("adapter", metavar="ADAPTER|none", help="run or adapter; none: the base alone")
    for name in ("merge", "switch"):
        add = made[name].add_argument
        asked = "" if name == "merge" else " (default: what the adapter was trained on)"
        add("--base", required=name == "merge", metavar="BASE", help=f"hub id, folder or run of job=pretrain{asked}")
        add("--revision", default="main", help="branch, tag or commit of a base on the hub (default: main)")
    return parser


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    COMMANDS[options.command](options)
