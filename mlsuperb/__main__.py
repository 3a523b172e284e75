"""`mlsuperb COMMAND ...`: everything that can be done, one command each. A command is loaded when it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from mlsuperb.config.options import nearest

# What a user wants to do -> command -> one line. The module of a command is mlsuperb.commands.<name>; `run` is mlsuperb.run.
COMMANDS = {
    "Train": {
        "run": "train, decode and score: mlsuperb run +exp=EXPERIMENT upstream=MODEL ...",
        "largest_batch": "find the largest batch that fits this machine's memory",
        "folders": "list the folders of the runs that a command would make",
    },
    "Use a trained run": {
        "transcribe": "transcribe audio files and identify their language",
        "evaluate": "decode and score other data",
        "score": "score hypotheses again, without torch",
        "export": "write the upstream, a challenge submission or a model card",
        "import_espnet": "turn a model trained with ESPnet into a run",
    },
    "Look at results": {
        "table": "compare finished runs, one row per run",
        "leaderboard": "place runs beside published rows, with SUPERB_s",
        "compare": "show where two runs differ, with bootstrap intervals",
        "report": "write one page about a run, or about several",
        "analyse": "draw layer weights, t-SNE, transfer matrices, layer sweeps",
    },
    "Data": {
        "data": "prepare, describe or check a corpus",
    },
}


def names() -> list[str]:
    """All commands."""
    return [name for group in COMMANDS.values() for name in group]


def usage() -> str:
    """What `mlsuperb --help` prints."""
    width = max(map(len, names()))
    blocks = [
        "\n".join([f"{title}:", *(f"  {name:<{width}}  {line}" for name, line in group.items())])
        for title, group in COMMANDS.items()
    ]
    head = "mlsuperb: benchmark multilingual speech models\n\n  mlsuperb COMMAND ...      mlsuperb COMMAND --help\n"
    return "\n\n".join([head.rstrip(), *blocks])


def main(arguments: Sequence[str] | None = None) -> None:
    """Call one command with the arguments after its name."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        sys.stdout.write(f"{usage()}\n")
        sys.exit(0 if given else 2)
    command, rest = given[0], given[1:]
    if command not in names():
        close = nearest(command, names()) or names()
        sys.exit(f"there is no command '{command}'; nearest: {', '.join(close)} (mlsuperb --help lists all)")
    if command == "run":
        from mlsuperb.run import cli

        sys.argv[1:] = rest
        cli()
    else:
        sys.exit(import_module(f"mlsuperb.commands.{command}").main(rest))


if __name__ == "__main__":
    main()
