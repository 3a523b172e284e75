"""`mlsuperb results pack|merge ...`: finished runs in one small file, to send, and back into a folder.

mlsuperb results pack RUNS... --out FILE     results and hypotheses of finished runs, their evaluations too; no weights
mlsuperb results merge FILES... --into DIR   unpack, score again, and say where that differs; then: mlsuperb table DIR
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def pack(options: argparse.Namespace) -> list[str]:
    """Write finished runs to one file."""
    from mlsuperb.runs.bundle import pack as write
    from mlsuperb.scoring.scored_run import scorer_versions

    done = write(options.runs, options.out, scorer=scorer_versions())
    evaluations = sum(done.runs.values()) - len(done.runs)
    beside = f" and {evaluations} evaluation{'s' * (evaluations != 1)}" if evaluations else ""
    size = f"{done.num_bytes / 1e3:,.1f} kB, {done.num_bytes / 1e3 / len(done.runs):,.1f} kB per run"
    lines = [f"not packed: {folder}: {why}" for folder, why in done.left_out.items()]
    return [*lines, f"{options.out} holds {len(done.runs)} run{'s' * (len(done.runs) != 1)}{beside} ({size})"]


def merge(options: argparse.Namespace) -> list[str]:
    """Unpack files of runs into a folder, and score all hypotheses again."""
    from mlsuperb.runs.bundle import merge as unpack
    from mlsuperb.scoring.scored_run import score_afresh

    done = unpack(options.files, options.into)
    lines = [f"{folder} was there already" for folder in done.there]
    scored = [score_afresh(folder) for folder in done.written]
    changed = [f"{folder}: {line}" for folder, found in zip(done.written, scored, strict=True) for line in found]
    lines += [f"scores differ: {line}" for line in changed]
    summary = "every score is what was recorded" if not changed else "where scores differ, its results have today's"
    return [*lines, f"{options.into}: {len(done.written)} results added and scored again: {summary}"]


COMMANDS = {"pack": pack, "merge": merge}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="mlsuperb results", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="|".join(COMMANDS))
    made = {name: commands.add_parser(name, help=command.__doc__) for name, command in COMMANDS.items()}
    add = made["pack"].add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished run, or of runs")
    add("--out", required=True, type=Path, metavar="FILE", help="file to make, e.g. results.tar.xz")
    add = made["merge"].add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="what mlsuperb results pack wrote")
    add("--into", required=True, type=Path, metavar="DIR", help="folder of the runs, made if need be")
    options = parser.parse_args(arguments)
    from mlsuperb.runtime.messages import printable

    for line in COMMANDS[options.command](options):
        sys.stdout.write(f"{printable(line)}\n")
