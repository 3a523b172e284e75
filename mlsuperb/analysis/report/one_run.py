"""The report of one run."""

from __future__ import annotations

import json

from mlsuperb.analysis.chart import Chart
from mlsuperb.analysis.languages import language_bars
from mlsuperb.analysis.layer_weights import layer_weights_chart, why_no_weights
from mlsuperb.analysis.report import details, overview, pictures, utterances
from mlsuperb.analysis.report.blocks import Block, Figures, Note, Page, Section
from mlsuperb.analysis.report.loaded import ANALYSIS, LoadedRun
from mlsuperb.analysis.report.sound import SoundBox
from mlsuperb.analysis.stage_charts import knn_chart, read_table, tsne_chart
from mlsuperb.scoring.table import SYNTHETIC


def one_run_page(run: LoadedRun, *, max_audio: int) -> Page:
    """Everything that the run's folder tells."""
    history = {str(run.result["run_id"]): run.result["training"].get("history", [])}
    sections = [
        overview.headline(run),
        overview.signatures(run),
        overview.scores(run),
        pictures.languages(run),
        pictures.datasets(run),
        pictures.training(history, averaged=run.result["training"].get("averaged", ())),
        pictures.reasons(run),
        pictures.confusion(run),
        _layers(run),
        _embeddings(run),
        utterances.examples(run, sounds=SoundBox(max_num=max_audio)),
        details.data(run),
        details.settings(run),
        details.cost(run),
    ]
    kept = tuple(section for section in sections if section is not None)
    bars = language_bars(run.language_scores(), rate=run.rate)
    return Page(
        title=str(run.result["run_id"]),
        subtitle=f"{run.result['upstream']['name']}, {run.result['adaptation']['name']}, {run.task}, {run.result['date']}",
        sections=kept,
        banner=SYNTHETIC if run.result["synthetic"] else "",
        charts=(*([bars] if bars else []), *section_charts(kept)),
    )


def section_charts(sections: tuple[Section, ...]) -> list[Chart]:
    """The figures of a page, in their order."""
    return [
        chart
        for section in sections
        for block in section.blocks
        if isinstance(block, Figures)
        for chart in block.charts
    ]


def _layers(run: LoadedRun) -> Section:
    reason = why_no_weights(run.result)
    if reason:
        return pictures.layers([], [f"No layer weights: {reason}."])
    return pictures.layers([layer_weights_chart([run.result], labels=[str(run.result["upstream"]["name"])])], [])


def _embeddings(run: LoadedRun) -> Section:
    """t-SNE and nearest neighbours by stage, where `mlsuperb.commands.analyse` has left them."""
    tables = [run.folder / ANALYSIS / name for name in ("tsne.csv", "knn.csv")]
    stamp = run.folder / ANALYSIS / "tsne.json"  # written last: without it the tables may be of two analyses
    title, command = "Language in the layers", f"mlsuperb analyse tsne {run.folder}"
    if not all(path.is_file() for path in (*tables, stamp)):
        text = (
            f"t-SNE and nearest neighbours by layer are not there. {command} makes them (with --all-layers of every layer of "
            "the upstream, not of the last alone); then make this report again."
        )
        return Section(id="embeddings", title=title, blocks=(Note(text=text),))
    stored = json.loads(stamp.read_text(encoding="utf-8"))
    points, neighbours = map(read_table, tables)
    constant = stored["constant"]
    charts = (
        tsne_chart(points, neighbours, constant=constant),
        knn_chart(neighbours, constant=constant),
    )
    blocks: list[Block] = [Figures(charts=charts, wide=True)]
    if stored["made_of"]["hypotheses"] != run.result["hypotheses"]["sha256"]:
        text = f"These figures were made of other hypotheses than this result; {command} makes them again."
        blocks.insert(0, Note(text=text, tone="warning"))
    return Section(id="embeddings", title=title, blocks=tuple(blocks))
