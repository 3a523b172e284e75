"""`mlsuperb listen page|scores ...`: a blind listening test, and the mean opinion scores of its ratings.

mlsuperb listen page SYSTEM=DIR SYSTEM=DIR... --out page.html    one file for listeners, and page.key.json, which is for you alone
mlsuperb listen scores page.key.json ratings-*.csv               MOS of each system from the files that listeners send back

A system is a folder of <utterance id>.wav. Give the recordings as a system, too: they show how high ratings can be.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path


def page(options: argparse.Namespace) -> None:
    """Make the page of a listening test."""
    from mlsuperb.analysis.judging.inputs import split_words
    from mlsuperb.analysis.listening.page import listening_test
    from mlsuperb.runtime.files import write_atomic, write_json
    from mlsuperb.scoring.table import table_console, tell

    systems, settings = split_words(options.systems)
    if settings:
        raise ValueError(f"{settings[0]!r}: a system cannot be called data; give it another name")
    out: Path = options.out
    key_path = out.with_suffix(".key.json")
    if existing := [path for path in (out, key_path) if path.exists()]:
        raise ValueError(
            f"{existing[0]} exists, and ratings of it would be lost with its key; give another --out, or remove the page and "
            "its key first"
        )
    html, key = listening_test(systems, num=options.num, seed=options.seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(key_path, key)
    write_atomic(out, [html])
    console = table_console()
    tell(console, f"{out} ({out.stat().st_size / 1e6:.1f} MB): {len(key['samples']):,} samples, for listeners")
    tell(console, f"{key_path}: which sample is of which system. Keep it to yourself")


def scores(options: argparse.Namespace) -> None:
    """Turn ratings into mean opinion scores."""
    from mlsuperb.analysis.listening.scores import opinion_scores, read_key, read_ratings, score_remarks, score_table
    from mlsuperb.analysis.unit_tables import show

    key = read_key(options.key)
    ratings = read_ratings(options.ratings, key)
    found = opinion_scores(ratings, key["systems"])
    records = [one.record() for one in found]
    show(score_table(found), records, score_remarks(ratings, found, key), form=options.format, charts=tuple, out=None)


COMMANDS = {"page": page, "scores": scores}


def main(arguments: Sequence[str]) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="mlsuperb listen", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="|".join(COMMANDS))
    made = {name: commands.add_parser(name, help=command.__doc__) for name, command in COMMANDS.items()}
    add = made["page"].add_argument
    add("systems", nargs="+", metavar="SYSTEM=DIR", help="folder of <utterance id>.wav of each system")
    add("--out", type=Path, required=True, metavar="FILE", help="the page; its key is written beside it")
    add("--num", type=int, default=20, help="utterances, each of which is heard of every system (default: 20)")
    add("--seed", type=int, default=0, help="of the choice of utterances (default: 0)")
    add = made["scores"].add_argument
    add("key", type=Path, metavar="KEY", help="the .key.json of the page")
    add("ratings", nargs="+", type=Path, metavar="RATINGS", help="CSV files of listeners")
    add("--format", choices=("md", "csv", "json"), help="print markdown, or all figures as CSV or JSON")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    COMMANDS[options.command](options)
