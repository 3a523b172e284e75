"""`mlsuperb export hub|upstream|challenge|card|fairseq ...`: turn what was trained into something that others can use.

mlsuperb export hub RUN DIR          a folder for the Hugging Face hub (--push OWNER/NAME uploads it), for transcribe and evaluate
mlsuperb export upstream RUN DIR     the trained upstream as a Hugging Face folder, for upstream=hf
mlsuperb export challenge RUN DIR    a submission folder of the ML-SUPERB 2.0 challenge
mlsuperb export card RUN             RUN/README.md, the model card, written again
mlsuperb export fairseq FOLDER FILE  a HuBERT in transformers' layout as a checkpoint of fairseq
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from mlsuperb.commands.settings import add_config_dir, bring_own


def hub(options: argparse.Namespace) -> str:
    """Write a folder for the Hugging Face hub: weights, settings, tokens, scores, model card."""
    from mlsuperb.export.hub import export_hub, push

    folder = export_hub(options.run, options.folder, name=options.push)
    if options.push is None:
        return f"{folder} is ready. Choose a licence in its README.md, then: hf upload OWNER/NAME {folder}"
    url = push(folder, options.push)
    return f"{folder} is at {url}, which is private. Before you make it public, choose a licence in its README.md"


def upstream(options: argparse.Namespace) -> str:
    """Write the trained upstream as a Hugging Face folder, for upstream=hf."""
    from mlsuperb.export.upstream import export_upstream

    done = export_upstream(options.run, options.folder)
    return (
        f"{done.folder} holds the trained upstream of {options.run} (loaded again, its layers differ by {done.difference:.1e} "
        f"at most). Use it: mlsuperb run {done.overrides} ..."
    )


def challenge(options: argparse.Namespace) -> str:
    """Write a submission folder of the ML-SUPERB 2.0 challenge."""
    from mlsuperb.export.challenge import export_challenge

    folder = export_challenge(options.run, options.folder)
    size_mb = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    return f"{folder} is the submission ({size_mb:,.0f} MB); {folder / 'README.md'} says what could not be verified"


def card(options: argparse.Namespace) -> str:
    """Write RUN/README.md, the model card, again from RUN/result.json."""
    from mlsuperb.benchmark.card import write_card

    return f"{write_card(options.run)} is the model card; fill in its licence"


def fairseq(options: argparse.Namespace) -> str:
    """Write a HuBERT in transformers' layout as a checkpoint that fairseq can fine-tune."""
    from mlsuperb.pretraining.fairseq_export import export_fairseq

    num_units = export_fairseq(options.folder, options.file)
    head = "without a prediction head" if num_units is None else f"with a prediction head for {num_units} units"
    return f"{options.file} is the checkpoint, {head}"


COMMANDS = {"hub": hub, "upstream": upstream, "challenge": challenge, "card": card, "fairseq": fairseq}
RUN = ("run", "RUN", "folder of a trained run, e.g. exp/demo-1a2b3c4d")
DIR = ("folder", "DIR", "folder to make")
MODEL = ("folder", "FOLDER", "folder with config.json and model.safetensors, e.g. of mlsuperb import_fairseq")
FILE = ("file", "FILE", "file to make, e.g. checkpoint.pt")
ARGUMENTS = {
    "hub": (RUN, DIR),
    "upstream": (RUN, DIR),
    "challenge": (RUN, DIR),
    "card": (RUN,),
    "fairseq": (MODEL, FILE),
}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="mlsuperb export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="|".join(COMMANDS))
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.__doc__)
        for argument, metavar, explained in ARGUMENTS[name]:
            one.add_argument(argument, type=Path, metavar=metavar, help=explained)
        if name == "hub":
            one.add_argument("--push", metavar="OWNER/NAME", help="upload it as a private repository of this name")
        add_config_dir(one)
    options = parser.parse_args(arguments)
    bring_own(options)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    sys.stdout.write(COMMANDS[options.command](options) + "\n")
