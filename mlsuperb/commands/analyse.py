"""`mlsuperb analyse WHAT RUN...`: figures of finished runs as SVG and PNG, with their numbers as CSV."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsuperb.commands.settings import add_config_dir, bring_own
from mlsuperb.runtime.console import Console

if TYPE_CHECKING:
    from mlsuperb.analysis.chart import Outcome
    from mlsuperb.scoring.result import BenchmarkResult

WHAT = {
    "layer_weights": "heat map of learned layer weights, one row per run",
    "tsne": "languages at each stage of a model: t-SNE and nearest neighbours (each run by itself)",
    "transfer": "error rates of runs on the data they were trained on and on other data",
    "layer_sweep": "scores by the layer that is read, or by the window of blocks that is fine-tuned",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mlsuperb analyse", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    for name, text in WHAT.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished run, or of runs")
        command.add_argument("--out", type=Path, metavar="DIR", help="default: analysis, in or beside the runs")
        add_config_dir(command)
        if name != "layer_weights":
            command.add_argument("--split", default="test", help="split of the utterances (default: test)")
    commands.choices["transfer"].add_argument("--by", choices=("language", "dataset"), default="language")
    command = commands.choices["tsne"]
    command.add_argument("--num-utterances", type=int, default=500, help="in total over all languages (default: 500)")
    command.add_argument("--all-layers", action="store_true", help="every layer of the upstream, not only the last")
    command.add_argument("--k", type=int, default=5, help="number of neighbours that vote (default: 5)")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    command.add_argument("--seed", type=int, default=0, help="for the choice of utterances and t-SNE (default: 0)")
    return parser


def main(arguments: Sequence[str]) -> None:
    parsed = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    bring_own(parsed)
    _analyse(**{name: value for name, value in vars(parsed).items() if name != "config_dir"})


def _analyse(*, what: str, runs: Sequence[Path], out: Path | None, **options: Any) -> None:
    from mlsuperb.analysis.layer_sweep import layer_sweep
    from mlsuperb.analysis.layer_weights import layer_weights
    from mlsuperb.analysis.runs import folder_for
    from mlsuperb.analysis.transfer import transfer
    from mlsuperb.runs.store import EVALUATIONS, find
    from mlsuperb.scoring.result import SCORED
    from mlsuperb.scoring.table import table_console, tell

    console = table_console()
    found = find(runs, *SCORED).required()
    started = [folder for folder in found.left_out if folder.parent.name != EVALUATIONS]
    named = started if what == "transfer" else found.left_out
    tell(console, *(f"left out: {folder}: {found.left_out[folder]}" for folder in named))
    if what == "tsne":
        _each_tsne(found.runs, out=out, console=console, **options)
        return
    if what == "layer_sweep":
        options["started"] = started
    analyses = {"layer_weights": layer_weights, "transfer": transfer, "layer_sweep": layer_sweep}
    _save(analyses[what](found.runs, **options), out or folder_for(list(found.runs)), console=console)


def _save(outcome: Outcome, folder: Path, *, console: Console) -> None:
    """Show the table and the remarks, write the figures and texts, and name the files."""
    from mlsuperb.scoring.table import SYNTHETIC, tell

    console.print(outcome.table.to_rich())
    if outcome.synthetic:
        console.print(SYNTHETIC, style="bold yellow")
    paths = list(outcome.save(folder))
    captions = [f"\n{chart.title}. {chart.note}" for chart in outcome.charts]
    tell(console, *outcome.remarks, *captions, "", *paths)


def _each_tsne(runs: Mapping[Path, BenchmarkResult], *, out: Path | None, console: Console, **options: Any) -> None:
    """Run after run; those that show nothing are named at the end.

    Raises:
        ValueError: none shows anything.
    """
    from mlsuperb.analysis.runs import folder_for
    from mlsuperb.analysis.stages import tsne
    from mlsuperb.scoring.table import tell

    refused = {}
    for run, result in runs.items():
        place = folder_for([run]) if out is None else out if len(runs) == 1 else out / run.name
        try:
            _save(tsne(run, result, out=place, **options), place, console=console)
        except ValueError as error:
            refused[run] = str(error)
    if len(refused) == len(runs):
        raise ValueError("\n".join(refused.values()))
    tell(console, *(f"no figure: {reason}" for reason in refused.values()))
