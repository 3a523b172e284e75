"""`mlsuperb upstreams [WORD ...]`: the speech models that `upstream=` knows, one row each, or all that is known of one.

A WORD is a part of a name, a licence or a corpus: `mlsuperb upstreams whisper apache voxpopuli`. A whole name shows all that is
known of that one first. No weights are read, and nothing is downloaded.

params: millions of parameters of what is loaded (of a model with a decoder, its encoder alone). layers: how many the upstream
returns. loader checked on: the real weights; or tiny random weights of the same classes, and, where it says so, the model built
in its published shapes without weights, its parameters counted. A dash: not known, or it depends on the checkpoint.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlsuperb.config.options import nearest, options, settings, yaml_folders

GROUP = "upstream"
COLUMNS = {
    "params_m": "params (M)",
    "layers": "layers",
    "size": "size",
    "frame_rate_hz": "frames/s",
    "licence": "licence of the weights",
    "checked_on": "loader checked on",
    "pretrained_on": "pre-trained on",
}
CHECKED_ON = {"real": "the real weights", "shapes": "tiny weights; published shapes", "tiny": "tiny weights"}
ABSENT, NUM_SHOWN = "-", 3  # corpora of a row


def cards(words: Iterable[str] = (), *, config_dirs: Sequence[Path] = ()) -> dict[str, dict[str, Any]]:
    """The settings of each upstream that has one of `words` in its name, licence or corpora, of all without words; its card is
    under `card`.

    Raises:
        ValueError: a word is in none.
    """
    folders = yaml_folders([word for folder in config_dirs for word in ("--config-dir", str(folder))])
    names = options(GROUP, folders)
    found = {name: _settings(name, folders) for name in names}
    texts = {name: _searched(name, node["card"]) for name, node in found.items()}
    words = [word.lower() for word in words]
    for word in words:
        if not any(word in text for text in texts.values()):
            close = nearest(word, names)
            hint = f"nearest: {', '.join(close)}" if close else "mlsuperb upstreams lists them all"
            raise ValueError(f"no upstream has {word!r} in its name, licence or corpora; {hint}")
    return {name: node for name, node in found.items() if not words or any(word in texts[name] for word in words)}


def _searched(name: str, card: Mapping[str, Any]) -> str:
    return "\n".join([name, str(card.get("licence") or ""), *map(str, card.get("pretrained_on") or ())]).lower()


def _settings(name: str, folders: Sequence[Path]) -> dict[str, Any]:
    flat = {key.partition(".")[2]: value for key, value in settings(GROUP, folders, option=name).items()}
    card = {key.partition(".")[2]: value for key, value in flat.items() if key.startswith("card.")}
    return {key: value for key, value in flat.items() if not key.startswith("card")} | {"card": card}


def table(found: Mapping[str, Mapping[str, Any]], *, shown: int | None = None) -> Any:
    """One row per upstream (`Cells`), with at most `shown` corpora."""
    from mlsuperb.scoring.table import Cells

    rows = tuple((name, *(_cell(key, node, shown=shown) for key in COLUMNS)) for name, node in found.items())
    return Cells(
        f"{len(rows)} upstream{'s' * (len(rows) != 1)}",
        (GROUP, *COLUMNS.values()),
        rows,
        num_names=1,
        last_is_name=True,
    )


def _cell(key: str, node: Mapping[str, Any], *, shown: int | None = None) -> str:
    value = node["card"].get(key)
    if key == "checked_on" and value is not None and not {"checkpoint", "model"} & node.keys():
        return "no weights"
    if value is None:
        return ABSENT
    if key == "pretrained_on" and isinstance(value, list):
        more = f" and {len(value) - shown} more" if shown is not None and len(value) > shown else ""
        return f"{', '.join(map(str, value[:shown]))}{more}" or "nothing"
    return CHECKED_ON.get(value, str(value)) if key == "checked_on" else str(value)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="mlsuperb upstreams", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="parts of names")
    parser.add_argument(
        "-cd", "--config-dir", type=Path, action="append", default=[], help="folder with own YAML files"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table as markdown, too")
    given = parser.parse_args(arguments)
    found = cards(given.words, config_dirs=given.config_dir)
    from mlsuperb.scoring.table import table_console, tell

    console = table_console()
    names = given.words if len(found) > 1 else [*found]
    tell(console, *(line for name in names if name in found for line in _facts(name, found[name])))
    if len(found) > 1:
        console.print(table(found, shown=NUM_SHOWN).to_rich())
    if given.out is not None:
        from mlsuperb.runtime.files import write_atomic

        write_atomic(given.out, [table(found).to_markdown()])
        tell(console, f"Written to {given.out}")


def _facts(name: str, node: Mapping[str, Any]) -> list[str]:
    """All that is known of one, a line each."""
    checkpoint = str(node.get("checkpoint", ABSENT))
    lines = {"checkpoint": "upstream.checkpoint=..." if checkpoint == "???" else checkpoint}
    lines |= {title: _cell(key, node) for key, title in COLUMNS.items()}
    lines |= {"source": str(node["card"].get("source") or ABSENT)}
    width = max(map(len, lines))
    return [f"upstream={name}", *(f"  {key:<{width}}  {value}" for key, value in lines.items())]
