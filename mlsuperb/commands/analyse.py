"""`mlsuperb analyse WHAT RUN...`: figures of finished runs, as SVG and PNG, with their numbers as CSV."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console

from mlsuperb.analysis.naming import FOLDER, ScoredRun, folder_for, run_labels, subject
from mlsuperb.runs.environment import now
from mlsuperb.runs.hypotheses import HYPOTHESES_FILE, read_hypotheses
from mlsuperb.runs.identity import NOT_SCIENCE
from mlsuperb.runtime.files import write_atomic
from mlsuperb.scoring.result import RESULT_FILE, read_result
from mlsuperb.scoring.table import SYNTHETIC, Cells, table_console
from mlsuperb.types import Hypothesis

if TYPE_CHECKING:
    import pandas as pd

    from mlsuperb.analysis.chart import Chart

CONFIG_FILE = "config.yaml"
TSNE_FILE = "tsne.json"  # what the stored numbers of t-SNE were made of


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an analysis gives: figures, a short table, texts beside the figures (by file name), what the reader must know."""

    charts: Sequence[Chart]
    table: Cells
    texts: dict[str, str] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    synthetic: bool = False


def layer_weights(runs: Sequence[Path]) -> Outcome:
    """The heat map of the runs that learned layer weights.

    Raises:
        ValueError: none did.
    """
    from mlsuperb.analysis.layer_weights import layer_weights_chart, summary, why_no_weights

    results = {run: read_result(run / RESULT_FILE) for run in runs}
    reasons = {run: reason for run, result in results.items() if (reason := why_no_weights(result))}
    shown = [result for run, result in results.items() if run not in reasons]
    if not shown:
        raise ValueError("; ".join(f"{run} has no layer weights to show: {reason}" for run, reason in reasons.items()))
    labels = run_labels(shown, subjects=[subject(result) for result in shown], hidden=NOT_SCIENCE)
    return Outcome(
        charts=[layer_weights_chart(shown, labels=labels)],
        table=summary(shown, labels=labels),
        remarks=[f"not in the figure: {run}: {reason}" for run, reason in reasons.items()],
        synthetic=any(result["synthetic"] for result in shown),
    )


def tsne(run: Path, *, out: Path, device: str, **settings: Any) -> Outcome:
    """t-SNE and nearest neighbours of a run's test set. What an earlier call with the same settings computed from the same
    hypotheses is used again.

    Args:
        settings: `num_utterances`, `split`, `all_layers`, `k`, `seed`.

    Raises:
        ValueError: the run has no such split, or too few utterances or languages in it.
    """
    from mlsuperb.analysis.stage_charts import knn_chart, read_table, summary, tsne_chart

    result = read_result(run / RESULT_FILE)
    made_of = {**settings, "hypotheses": result["hypotheses"]["sha256"]}
    stamp, files = out / TSNE_FILE, [out / "tsne.csv", out / "knn.csv"]
    stored = json.loads(stamp.read_text(encoding="utf-8")) if stamp.is_file() else {}
    if stored.get("made_of") == made_of and all(path.is_file() for path in files):
        points, neighbours = map(read_table, files)
        remarks = [f"the numbers are those of {stored['date']}; remove {stamp} to compute them again"]
    else:
        points, neighbours, constant = _computed(run, result, device=device, **settings)
        remarks, stored = [], {"made_of": made_of, "constant": constant, "date": now()}
        stamp.unlink(missing_ok=True)  # until the new tables are there, none is known to be whole
    constant = stored["constant"]
    return Outcome(
        charts=[
            tsne_chart(points, neighbours, constant=constant),
            knn_chart(neighbours, constant=constant),
        ],
        table=summary(neighbours),
        texts={TSNE_FILE: json.dumps(stored, indent=2) + "\n"},
        remarks=remarks,
        synthetic=result["synthetic"],
    )


def _computed(
    run: Path,
    result: dict[str, Any],
    *,
    device: str,
    num_utterances: int,
    split: str,
    all_layers: bool,
    k: int,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Points, neighbours, and the stages that show nothing."""
    from mlsuperb.analysis.embeddings import balanced, embed
    from mlsuperb.analysis.projection import check_utterances, knn_table, points_table
    from mlsuperb.benchmark import build

    hypotheses = _of_split(run, split)
    chosen = [hypotheses[i] for i in balanced([one.language for one in hypotheses], num=num_utterances, seed=seed)]
    languages = [one.language for one in chosen]
    check_utterances(languages, place=f"split {split} of {run}", k=k)
    config = build.load_config(run)
    manifest, _ = build.read_data(config)
    rows = manifest[manifest["split"] == split].set_index("id", drop=False)
    if gone := [one.id for one in chosen if one.id not in rows.index]:
        raise ValueError(
            f"{len(gone)} utterances of {run / HYPOTHESES_FILE} (such as {gone[0]}) are no longer in its corpus "
            f"(data={config['data']['name']}): restore the corpus as it was, or train and decode again"
        )
    rows = rows.loc[[one.id for one in chosen]]
    recogniser = build.load_recogniser(run, config | {"trainer": config["trainer"] | {"device": device}})
    dataset = recogniser.loading.dataset(rows, encode=None, resample=build.build_corpus(config).resample)
    embeddings = embed(recogniser, dataset, all_layers=all_layers)
    predicted = [one.predicted_language for one in chosen] if result["task"]["name"] != "asr" else None
    points = points_table(embeddings.stages, ids=embeddings.ids, languages=languages, predicted=predicted, seed=seed)
    named = zip(rows["dataset"], rows["speaker"], strict=True)  # a speaker's name is one within a dataset
    speakers = [f"{dataset}/{speaker}" if speaker else "" for dataset, speaker in named]
    neighbours = knn_table(embeddings.stages, languages, speakers=speakers, k=k)
    return points, neighbours, list(embeddings.constant)


def _of_split(run: Path, split: str) -> list[Hypothesis]:
    hypotheses = read_hypotheses(run / HYPOTHESES_FILE)
    found = [one for one in hypotheses if one.split == split]
    if not found:
        known = ", ".join(sorted({one.split for one in hypotheses}))
        raise ValueError(f"{run / HYPOTHESES_FILE} has no utterance of the split {split!r}; there are {known}")
    return found


def _scored(run: Path, split: str) -> ScoredRun:
    return ScoredRun(place=str(run), result=read_result(run / RESULT_FILE), hypotheses=_of_split(run, split))


def transfer(runs: Sequence[Path], *, by: Any, split: str) -> Outcome:
    """The matrix of what runs heard in training and what they were tested on.

    Raises:
        ValueError: runs that cannot be compared.
    """
    from mlsuperb.analysis import transfer as matrix
    from mlsuperb.analysis import transfer_tables as tables
    from mlsuperb.analysis.transfer_charts import bars_chart, matrix_chart

    results = [read_result(run / RESULT_FILE) for run in runs]
    heard = [matrix.heard_in(result, by=by, split=split) for result in results]
    labels = run_labels(results, subjects=["+".join(sorted(names)) for names in heard], hidden=NOT_SCIENCE)
    rows = []
    for run, label, names in zip(runs, labels, heard, strict=True):
        places = [run, *(path.parent for path in sorted(run.glob(f"evaluations/*/{RESULT_FILE}")))]
        rows.append(matrix.Row(label=label, heard=names, tests=[_scored(place, split) for place in places]))
    measured = matrix.measure(rows, by=by)
    samples = tables.samples_table(measured, dict(zip(labels, results, strict=True)))
    remarks = list(measured.remarks)
    if measured.empty:
        cells = ", ".join(f"{row} on {column}" for row, column in measured.empty)
        remarks.append(f"not measured: {cells}; mlsuperb evaluate RUN data=... does")
    return Outcome(
        charts=[matrix_chart(measured), bars_chart(measured)],
        table=tables.summary(measured),
        texts={
            "transfer_samples.csv": samples.to_csv(index=False),
            "transfer_samples.md": tables.samples_markdown(samples, unit=measured.unit),
        },
        remarks=remarks,
        synthetic=results[0]["synthetic"],
    )


def layer_sweep(runs: Sequence[Path], *, split: str, unfinished: Sequence[Path]) -> Outcome:
    """Scores by layer, or by window of layers.

    Raises:
        ValueError: runs that are not of one sweep.
    """
    from mlsuperb.analysis.layer_sweep import summary, sweep, sweep_chart

    shown = [_scored(run, split) for run in runs]
    started = [path / CONFIG_FILE for path in unfinished if (path / CONFIG_FILE).is_file()]
    configs = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in started]
    found = sweep(shown, hidden=NOT_SCIENCE, unfinished=configs)
    missing = [f"no finished run for {found.kind} {', '.join(found.missing)}"] if found.missing else []
    synthetic = shown[0].result["synthetic"]
    return Outcome(charts=[sweep_chart(found)], table=summary(found), remarks=missing, synthetic=synthetic)


def save(outcome: Outcome, folder: Path, *, console: Console) -> None:
    """Show the table and the remarks, write the figures and texts, and name the files."""
    console.print(outcome.table.to_rich())
    if outcome.synthetic:
        console.print(SYNTHETIC, style="bold yellow")
    for remark in outcome.remarks:
        console.print(remark, highlight=False, soft_wrap=True)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [path for chart in outcome.charts for path in chart.save(folder)]
    for name, text in outcome.texts.items():
        write_atomic(folder / name, [text])
        paths.append(folder / name)
    for chart in outcome.charts:
        console.print(f"\n{chart.title}. {chart.note}", highlight=False, soft_wrap=True)
    console.print("\n" + "\n".join(map(str, paths)), highlight=False, soft_wrap=True)


def _each_tsne(runs: Sequence[Path], *, out: Path | None, console: Console, **options: Any) -> None:
    """Run after run; those that show nothing are named at the end.

    Raises:
        ValueError: none shows anything.
    """
    refused = {}
    for run in runs:
        place = run / FOLDER if out is None else out if len(runs) == 1 else out / run.name
        try:
            save(tsne(run, out=place, **options), place, console=console)
        except ValueError as error:
            refused[run] = str(error)
    if len(refused) == len(runs):
        raise ValueError("\n".join(refused.values()))
    for reason in refused.values():
        console.print(f"no figure: {reason}", highlight=False, soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mlsuperb analyse", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    texts = {
        "layer_weights": "heat map of the weights of the upstream's layers, a row a run",
        "tsne": "languages at each stage of a model: t-SNE and nearest neighbours (each run by itself)",
        "transfer": "error rates of what runs heard in training and what they were evaluated on",
        "layer_sweep": "scores by the layer that is read, or by the window of blocks that is fine-tuned",
    }
    for name, text in texts.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished run, or of runs")
        command.add_argument(
            "--out", type=Path, metavar="DIR", help=f"where files go (default: {FOLDER}, in or beside the runs)"
        )
        if name != "layer_weights":
            command.add_argument("--split", default="test", help="split of the utterances (default: test)")
    commands.choices["transfer"].add_argument("--by", choices=("language", "dataset"), default="language")
    command = commands.choices["tsne"]
    command.add_argument("--num-utterances", type=int, default=500, help="of all languages together (default: 500)")
    command.add_argument("--all-layers", action="store_true", help="every layer of the upstream, not the last alone")
    command.add_argument("--k", type=int, default=5, help="neighbours that vote (default: 5)")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    command.add_argument("--seed", type=int, default=0, help="of the choice of utterances and of t-SNE (default: 0)")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    options = vars(_parser().parse_args(arguments))
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    what, folders, out = (options.pop(name) for name in ("what", "runs", "out"))
    from mlsuperb.runs.store import finished_runs

    console = table_console()
    try:
        runs, unfinished = finished_runs(folders)
        for path in unfinished:
            console.print(f"not looked at, since it has no result: {path}", highlight=False, soft_wrap=True)
        if what == "tsne":
            _each_tsne(runs, out=out, console=console, **options)
            return
        if what == "layer_sweep":
            options["unfinished"] = unfinished
        analyses: dict[str, Callable[..., Outcome]] = {
            "layer_weights": layer_weights,
            "transfer": transfer,
            "layer_sweep": layer_sweep,
        }
        save(analyses[what](runs, **options), out or folder_for(runs), console=console)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
