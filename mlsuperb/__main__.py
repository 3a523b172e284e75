"""`mlsuperb COMMAND ...`: one command for each thing that can be done. A command is loaded when it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from mlsuperb.commands.errors import end

# What a user wants to do -> command -> one line. The module of a command is mlsuperb.commands.<name>; `run` is mlsuperb.run.
COMMANDS = {
    "Train": {
        "run": "train, decode and score: mlsuperb run +exp=EXPERIMENT upstream=MODEL ...",
        "upstreams": "list the speech models: size, frame rate, licence, what they were pre-trained on",
        "largest_batch": "find the largest batch that fits in this machine's memory",
        "folders": "list the folders of the runs that a command would make",
    },
    "Use a trained run": {
        "transcribe": "transcribe audio files and identify their language",
        "demo": "open a page that transcribes a file or what is said into the microphone",
        "evaluate": "decode and score other data",
        "score": "score hypotheses again, without torch",
        "export": "write a hub folder, the upstream, a submission, a card or a fairseq checkpoint",
        "adapters": "list LoRA adapters, merge them into their base, or use one unmerged",
        "import_espnet": "turn a model trained with ESPnet into a run",
        "import_fairseq": "turn a HuBERT pre-trained with fairseq into a checkpoint of transformers",
    },
    "Look at results": {
        "table": "compare finished runs, one row per run",
        "leaderboard": "place runs beside published rows, with SUPERB_s",
        "expansion": "show what adapted systems gain on new languages and forget of old ones",
        "durations": "compare how languages time their phones, beside what one gained from another",
        "compare": "show where two runs differ, with bootstrap intervals",
        "report": "write one page about a run, or about several",
        "analyse": "draw layer weights, t-SNE, transfer matrices, layer sweeps",
        "results": "pack finished runs into one small file, and merge such files",
    },
    "Units": {
        "units": "measure, draw and extract discrete units",
    },
    "Re-synthesised speech": {
        "judge": "transcribe systems by an ASR model: WER, CER, MCD, a page to listen",
        "listen": "make a blind listening test, and turn its ratings into MOS",
    },
    "Data": {
        "data": "prepare, describe or check a corpus",
    },
    "Shell": {
        "completion": "print a script that lets bash, zsh or fish complete all of this",
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
    return "\n\n".join(
        [
            "mlsuperb: benchmark multilingual speech models",
            "  mlsuperb COMMAND ...        mlsuperb COMMAND --help        mlsuperb --version",
            *blocks,
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Call the command that the first word names, and end the program."""
    end(lambda: _call(list(sys.argv[1:] if arguments is None else arguments)))


def _call(given: Sequence[str]) -> str | int | None:
    """Call the command that the first word names; returns what `sys.exit` takes."""
    first, *rest = given or [""]
    if first == "help":  # `help COMMAND` is `COMMAND --help`
        first, rest = (rest[0], ["--help"]) if rest else ("--help", [])
    if first in ("-h", "--help"):
        sys.stdout.write(f"{usage()}\n")
        return 0
    if first == "--version":
        from mlsuperb import __version__

        sys.stdout.write(f"mlsuperb {__version__}\n")
        return 0
    command = first.replace("-", "_")
    if command not in names():
        sys.stderr.write(f"{_unknown(first)}\n")
        return 2
    if command == "run":
        from mlsuperb.run import start

        sys.argv[1:] = rest  # Hydra reads it
        start()
        return None
    status: int | None = import_module(f"mlsuperb.commands.{command}").main(rest)
    return status


def _unknown(word: str) -> str:
    """The answer to a first word that is no command."""
    from mlsuperb.config.options import nearest

    if not word:
        return usage()
    if "=" in word:
        return f"settings follow a command: mlsuperb run {word} ... (mlsuperb --help lists the commands)"
    close = nearest(word, names())
    listed = f"nearest: {', '.join(close)}" if close else f"commands: {', '.join(names())}"
    return f"there is no command '{word}'; {listed} (mlsuperb --help explains them)"


if __name__ == "__main__":
    main()
