"""`mlsuperb judge SYSTEM=DIR... --asr CHECKPOINT`: how well an ASR model understands re-synthesised speech.

mlsuperb judge base=DIR expanded=DIR --references TABLE --asr openai/whisper-base --baseline base --out FOLDER
mlsuperb judge base=DIR data=kaldi data.root=DIR --split test --asr CHECKPOINT

A system is a folder of <utterance id>.wav. References are a table with a header (utterance or id, language, text), a
manifest.parquet, or a split of a corpus by its settings; in the last two cases the system `recordings`, the corpus' own audio, is
judged first: what the ASR model does not understand there is no system's fault. Durations and mel-cepstra are compared with
`recordings`. With --out, transcripts are kept there as they come, so that a killed call goes on.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsuperb.commands.settings import add_config_dir, configured

if TYPE_CHECKING:
    from mlsuperb.analysis.judging.inputs import References, System

REPORT, RESULT, UTTERANCES = "report.html", "judge.json", "utterances.csv"


def main(arguments: Sequence[str]) -> None:
    """Judge systems, print the table and write what `--out` asks for."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)  # a setting may stand behind a flag
    if wrong := [word for word in rest if word.startswith("-") or "=" not in word]:
        parser.error(f"unknown: {' '.join(wrong)}")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    systems, references = _inputs([*options.words, *rest], options)
    _judge(systems, references, options)


def _inputs(words: Sequence[str], options: argparse.Namespace) -> tuple[list[System], References]:
    """The systems, recordings first, and what they are judged by."""
    from mlsuperb.analysis.judging.inputs import RECORDINGS, read_references, read_system, references_of, split_words

    folders, settings = split_words(words)
    if bool(settings) == bool(options.references):
        raise ValueError(
            "give either --references TABLE or the settings of a corpus (data=... data.root=...), to judge by"
        )
    chosen = {"language": options.language, "split": options.split, "num": options.num}
    if settings:
        from mlsuperb.benchmark.build import read_data

        config, _ = configured(settings, "data", config_dirs=options.config_dir)
        references = references_of(read_data(config)[0], **chosen)
    else:
        references = read_references(options.references, **chosen)
    if references.recordings and RECORDINGS in folders:
        raise ValueError(
            f"{RECORDINGS} are the corpus' own audio here; give the system {folders[RECORDINGS]} another name"
        )
    systems = [read_system(name, folder, references.utterances) for name, folder in folders.items()]
    systems = [*([references.recordings] if references.recordings else []), *systems]
    if not systems:
        raise ValueError("there is no system to judge; give NAME=FOLDER, with the folder of its <utterance id>.wav")
    if options.baseline and options.baseline not in [one.name for one in systems]:
        names = ", ".join(one.name for one in systems)
        raise ValueError(f"--baseline {options.baseline} is none of the systems; give one of {names}")
    return sorted(systems, key=lambda one: one.name != RECORDINGS), references


def _judge(systems: list[System], references: References, options: argparse.Namespace) -> None:
    from mlsuperb.analysis.judging.asr import load_recogniser
    from mlsuperb.analysis.judging.inputs import resampled
    from mlsuperb.analysis.judging.scores import judge, judge_rows
    from mlsuperb.analysis.judging.sound import dnsmos_rater
    from mlsuperb.analysis.judging.table import judge_record, judge_table, remarks, utterance_table
    from mlsuperb.analysis.judging.transcripts import TRANSCRIPTS, Transcripts
    from mlsuperb.analysis.unit_tables import show
    from mlsuperb.runtime.device import choose_device, prepare_process
    from mlsuperb.runtime.files import write_atomic, write_json
    from mlsuperb.scoring.escaping import csv

    out: Path | None = options.out
    if out:
        out.mkdir(parents=True, exist_ok=True)
    device = prepare_process(choose_device(options.device, setting="--device"))
    asr = load_recogniser(options.asr, revision=options.revision, batch_size=options.batch_size, device=device)
    known = Transcripts(out / TRANSCRIPTS if out else None, record=asr.record)
    judged = judge(systems, references.utterances, asr, known, dnsmos=dnsmos_rater(), progress=_bar)
    rows = judge_rows(judged, baseline=options.baseline)
    name = Path(options.asr).name
    said = [*remarks(judged, rows, baseline=options.baseline), *resampled(systems)]
    written = []
    if out:
        record = judge_record(rows, asr=asr.record, baseline=options.baseline)
        write_json(out / RESULT, record | {"remarks": said})
        write_atomic(out / UTTERANCES, [csv(utterance_table(judged))])
        from mlsuperb.analysis.judging.page import judge_page
        from mlsuperb.analysis.report.page import write_page

        page = judge_page(judged, rows, said, judge=name, baseline=options.baseline, num_shown=options.shown)
        write_page(page, out / REPORT)
        written = [str(out / one) for one in (RESULT, UTTERANCES, REPORT)]
    cells = judge_table(rows, judge=name, baseline=options.baseline)
    show(cells, [row.record() for row in rows], [*said, *written], form=options.format, charts=tuple, out=None)


def _bar(steps: Iterable[Any], number: int, what: str) -> Iterable[Any]:
    from tqdm import tqdm

    return tqdm(steps, total=number, desc=what)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mlsuperb judge", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("words", nargs="+", metavar="SYSTEM=DIR", help="systems; and the settings of a corpus, data=... data.root=...")
    add(
        "--asr",
        required=True,
        metavar="CHECKPOINT",
        help="a CTC model or Whisper of transformers: a folder, or an id on the hub",
    )
    add("--revision", default="main", help="branch, tag or commit of the ASR model on the hub (default: main)")
    add("--references", type=Path, metavar="TABLE", help="table (CSV, TSV, JSON lines) or manifest.parquet")
    add("--split", default="test", help="split of the corpus or manifest (default: test)")
    add(
        "--language",
        metavar="CODE",
        help="judge only this language; of a table without languages, the language of all rows",
    )
    add("--num", type=int, metavar="N", help="utterances of each language, chosen at random (default: all)")
    add("--baseline", metavar="SYSTEM", help="show differences to this system, too")
    add(
        "--out", type=Path, metavar="FOLDER", help="write transcripts, judge.json, utterances.csv and report.html there"
    )
    add("--shown", type=int, default=4, metavar="N", help="utterances of each language on the page (default: 4)")
    add("--format", choices=("md", "csv", "json"), help="print markdown, or all figures as CSV or JSON")
    add("--batch-size", type=int, default=8, metavar="N", help="utterances transcribed at a time (default: 8)")
    add("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    add_config_dir(parser)
    return parser
