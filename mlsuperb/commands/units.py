"""`mlsuperb units quality|layers|phones|extract|synthesise ...`: measure discrete units, choose a layer, hand units on.

mlsuperb units quality RUN... --phones PHONES                   units of runs of job=labels: PNMI, purity, PER, boundaries, ABX
    ... --beside discophon [--by language] [--abx]              the same beside DiscoPhon's published rows
mlsuperb units layers upstream=... data=... --phones PHONES     the quality of every layer of an upstream
mlsuperb units phones data=synthetic ...                        write the phones of the built-in corpus beside its transcripts
mlsuperb units extract RUN --out UNITS [--split test]           units without repetitions and their durations, for vocoders
mlsuperb units synthesise UNITS --vocoder RUN --out DIR         speech from them

PHONES is a table (utterance, start, end, phone; tabs between, seconds), or a folder of tables phones.tsv, of Praat's
<utterance>.TextGrid or of Festival's <utterance>.lab.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mlsuperb.commands.settings import add_config_dir, configured


def quality(options: argparse.Namespace) -> None:
    """Compare the units of runs with phones."""
    from mlsuperb.analysis.unit_board import beside, unit_board
    from mlsuperb.analysis.unit_tables import show, unit_rows, unit_table
    from mlsuperb.analysis.units import unit_charts
    from mlsuperb.units.phones import read_phones

    phones = read_phones(options.phones, tier=options.tier, stress=options.stress)
    if options.one_to_one and options.beside:
        raise ValueError(
            f"--one-to-one: the published rows of {options.beside} are many-to-one. Leave out one of the two"
        )
    runs, remarks = unit_rows(options.runs, phones, with_abx=options.abx, one_to_one=options.one_to_one)
    by_language = options.by is not None
    rows = [row for run in runs for row in run.shown(by_language=by_language)]
    cells, records = unit_table(rows), [row.record() for row in rows]
    if options.beside:
        cells, records, notes = beside(runs, board=unit_board(options.beside), by_language=by_language)
        remarks = [*notes, *remarks]
    show(cells, records, remarks, form=options.format, charts=lambda: unit_charts(rows), out=options.out)


def layers(options: argparse.Namespace) -> None:
    """Compare the layers of an upstream."""
    config, corpus = configured(options.overrides, "upstream", "data", config_dirs=options.config_dir)
    from mlsuperb.analysis.unit_tables import layer_records, layer_remarks, layer_table, show
    from mlsuperb.analysis.units import layer_chart
    from mlsuperb.benchmark.build import read_data
    from mlsuperb.config.build import instantiate
    from mlsuperb.runtime.device import choose_device, prepare_process
    from mlsuperb.units.layers import kmeans, layer_curve, spoken
    from mlsuperb.units.phones import read_phones

    given = {"split": options.split, "minutes": options.minutes, "resample": corpus.resample}
    phones = read_phones(options.phones, tier=options.tier, stress=options.stress)
    curve = layer_curve(
        instantiate(config["upstream"]),
        spoken(read_data(config)[0], phones, **given),
        fit=partial(kmeans, num_units=options.num_units),
        held_out=options.held_out,
        with_abx=options.abx,
        device=prepare_process(choose_device(options.device, setting="--device")),
    )
    if options.best:
        sys.stdout.write(f"{curve.best_layer(options.best)}\n")
        return
    charts = lambda: [layer_chart({config["upstream"]["name"]: curve})]  # noqa: E731
    show(
        layer_table(curve),
        layer_records(curve),
        layer_remarks(curve),
        form=options.format,
        charts=charts,
        out=options.out,
    )


def phones(options: argparse.Namespace) -> None:
    """Write phones.tsv beside the transcripts of the built-in corpus."""
    _, corpus = configured(options.overrides, "data", config_dirs=options.config_dir)
    from mlsuperb.data.corpora.synthetic import Synthetic
    from mlsuperb.data.prepared import prepare

    if not isinstance(corpus, Synthetic):
        raise ValueError(
            "only the phones of the built-in corpus are known: give data=synthetic, or align other speech yourself"
        )
    prepare(corpus, folder=None)
    sys.stdout.writelines(f"{path}\n" for path in corpus.write_phones())


def synthesise(options: argparse.Namespace) -> None:
    """Make speech of units with a trained vocoder."""
    import torch

    from mlsuperb.runtime.device import choose_device, prepare_process
    from mlsuperb.vocoder.synthesis import synthesise

    if options.threads:
        torch.set_num_threads(options.threads)
    done = synthesise(
        options.units, vocoder=options.vocoder, out=options.out, durations=options.durations, speaker=options.speaker,
        language=options.language, batch_s=options.batch_s, overwrite=options.overwrite,
        device=prepare_process(choose_device(options.device, setting="--device")),
    )  # fmt: skip
    sys.stdout.write(f"{done.sentence()}\n{options.out}\n")


def extract(options: argparse.Namespace) -> None:
    """Write the units of a run without repetitions: about.json, units.jsonl and, by choice, units.tsv."""
    from mlsuperb.pretraining.labelling import labels_problem
    from mlsuperb.runs import store
    from mlsuperb.runs.result import Result
    from mlsuperb.units import extraction
    from mlsuperb.units.labels import LABELS

    if problem := labels_problem("RUN", str(options.run)):
        raise ValueError(problem)
    found = extraction.extract(
        options.run / LABELS,
        options.out,
        run_id=store.read(options.run, Result).run_id,
        splits=options.split,
        languages=options.languages,
        tsv=options.tsv,
    )
    sys.stdout.write(f"{options.out}: {found}\n")


def _add_extract(parser: argparse.ArgumentParser) -> None:
    """The arguments of `extract`."""
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="a finished run of job=labels")
    add("--out", type=Path, required=True, metavar="UNITS", help="folder to make")
    add("--split", type=_names, default=(), metavar="SPLIT", help="e.g. test, or dev,test (default: all labelled)")
    add("--languages", type=_names, default=(), metavar="LANG", help="languages, e.g. deu,wol (default: all)")
    add("--tsv", action="store_true", help="also write units.tsv: id, tab, units separated by spaces")


def _names(words: str) -> tuple[str, ...]:
    return tuple(word for word in words.split(",") if word)


COMMANDS = {"quality": quality, "layers": layers, "phones": phones, "extract": extract, "synthesise": synthesise}
WITHOUT_SETTINGS = ("quality", "extract", "synthesise")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mlsuperb units", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="|".join(COMMANDS))
    made = {name: commands.add_parser(name, help=command.__doc__) for name, command in COMMANDS.items()}
    for name in ("layers", "phones"):
        made[name].add_argument(
            "overrides", nargs="+", metavar="SETTING", help="as for mlsuperb run: data=... upstream=..."
        )
        add_config_dir(made[name])
    for name in ("quality", "layers"):
        add = made[name].add_argument
        add("--phones", type=Path, required=True, help="table or folder of phones")
        add("--tier", default="phones", help="tier of TextGrids (default: phones)")
        add("--stress", action="store_true", help="keep stress marks (AH0, ˈa)")
        add("--abx", action=argparse.BooleanOptionalAction, default=name == "layers", help="measure ABX")
        add("--format", choices=("md", "csv", "json"), help="print markdown, or all figures as CSV or JSON")
        add("--out", type=Path, metavar="DIR", help="write figures and their numbers there")
    _add_extract(made["extract"])
    add = made["quality"].add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="a run of job=labels, or its folder labels")
    add("--by", choices=("language",), help="rows of languages as well")
    add("--one-to-one", action="store_true", help="read each unit as another phone, for PER and boundaries")
    add("--beside", choices=("discophon",), help="show published rows, too: DiscoPhon's, arXiv 2603.18612")
    add = made["layers"].add_argument
    add("--split", default="dev", help="split of the utterances (default: dev)")
    add("--minutes", type=float, default=10.0, help="of utterances, chosen at random (default: 10)")
    add("--num-units", type=int, default=100, help="clusters of each layer (default: 100)")
    add(
        "--held-out",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of utterances, scored and not clustered (default: 0)",
    )
    add("--best", choices=("pnmi", "abx"), help="print the number of the best layer and nothing else")
    add("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    _add_synthesis(made["synthesise"])
    return parser


def _add_synthesis(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("units", type=Path, metavar="UNITS", help="folder that mlsuperb units extract wrote")
    add("--vocoder", type=Path, required=True, metavar="RUN", help="a run of job=vocoder, or its folder vocoder")
    add("--out", type=Path, required=True, metavar="DIR", help="write ID.wav there, 16 bits, 16 kHz")
    add("--durations", choices=("own", "predicted"), default="own", help="of the units: their own, or by the vocoder")
    add("--speaker", metavar="X", help="voice of all (default: each utterance's own)")
    add("--language", metavar="X", help="language of all (default: each utterance's own)")
    add("--batch-s", type=float, default=60.0, help="padded seconds of speech in a batch (default: 60)")
    add("--overwrite", action="store_true", help="also files that are there already")
    add("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    add("--threads", type=int, help="of a CPU (default: as many as torch takes)")


def main(arguments: Sequence[str]) -> None:
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)  # a setting may stand behind a flag
    if rest and (options.command in WITHOUT_SETTINGS or any("=" not in word or word.startswith("-") for word in rest)):
        parser.error(f"unknown: {' '.join(rest)}")
    options.overrides = [*getattr(options, "overrides", ()), *rest]
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    COMMANDS[options.command](options)
