"""The report of one run."""

from __future__ import annotations

from pathlib import Path

from mlsuperb.analysis.chart import Chart
from mlsuperb.analysis.languages import language_bars
from mlsuperb.analysis.layer_weights import layer_weights_chart, why_no_weights
from mlsuperb.analysis.report import details, overview, pictures, utterances
from mlsuperb.analysis.report.blocks import Figures, Note, Page, Section
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
        _embeddings(run.folder),
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


def _embeddings(folder: Path) -> Section:
    """t-SNE and nearest neighbours by stage, where `mlsuperb.analyse` has left them."""
    paths = [folder / ANALYSIS / name for name in ("tsne.csv", "knn.csv")]
    if not all(path.is_file() for path in paths):
        text = "Not made yet: python -m mlsuperb.analyse tsne RUN writes them, then make this report again."
        return Section(id="embeddings", title="Language in the layers", blocks=(Note(text=text),))
    points, neighbours = map(read_table, paths)
    charts = (tsne_chart(points, neighbours), knn_chart(neighbours))
    return Section(id="embeddings", title="Language in the layers", blocks=(Figures(charts=charts, wide=True),))
