"""`mlsuperb data new|prepare|describe|check|filter|shard`: the corpus that a run would train on.

mlsuperb data new      PATH       what lies there, and the command line that reads it; --out DIR writes a YAML file of it
mlsuperb data prepare  data=...   read a corpus and write its manifest
mlsuperb data describe data=...   hours per split, minutes per language and dataset, what was skipped, hours of each reason
mlsuperb data check    data=...   whether the copy is whole; exit status 1 if it is not, 2 if it cannot be read
mlsuperb data filter   data=...   list recordings of music, noise or silence, for +data/preparation=... with drop_list=...
mlsuperb data shard    data=...   write the corpus into tar archives (lhotse's Shar) that are read in sequence, for data=shar
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsuperb.commands.errors import for_user
from mlsuperb.commands.settings import add_config_dir, configured
from mlsuperb.runtime.messages import printable
from mlsuperb.scoring.fitted import shown
from mlsuperb.scoring.table import tell

if TYPE_CHECKING:
    from rich.table import Table

    from mlsuperb.data.audio_filter import Measure
    from mlsuperb.data.corpora.base import Corpus
    from mlsuperb.data.corpora.ml_superb_release import ReleaseCheck
    from mlsuperb.data.shard_writing import Units
    from mlsuperb.runtime.console import Console

WIDTH_WITHOUT_TERMINAL = 200  # columns: a file or pipe should get the whole table
NUM_SHOWN = 12


def main(arguments: Sequence[str]) -> int:
    """Command line: 0 if all is well, 1 if `check` found something, 2 if the user must correct something."""
    options = _parser().parse_intermixed_args(arguments)
    from mlsuperb.runtime.console import Console

    console = Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL, highlight=False)
    try:
        if options.command == "new" and options.config_dir:
            raise ValueError(
                "mlsuperb data new finds out how data are read, and takes no --config-dir; give --out DIR to write one"
            )
        if options.command == "new":
            from mlsuperb.commands.data_new import new

            return 0 if new(options.overrides, options.out, console=console) else 1
        config, corpus = configured(options.overrides, "data", config_dirs=options.config_dir)
        from mlsuperb.runs.corpus import manifest_folder

        folder = manifest_folder(config)
        if options.command == "check":
            corpus.decode = corpus.decode or options.decode
            return 0 if is_whole(corpus, console=console, as_json=options.json) else 1
        if options.command == "filter":
            list_unwanted(corpus, options.out, measure=options.measure, part=options.part, console=console)
            return 0
        if options.command == "shard":
            shard(corpus, folder, options, console=console)
            return 0
        show(corpus, folder, what="json" if options.json else options.command, split=options.split, console=console)
    except (ValueError, OSError) as error:  # not 1, which says that a copy is not whole
        sys.stderr.write(f"{printable(str(for_user(error)))}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mlsuperb data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("new", "prepare", "describe", "check", "filter", "shard"))
    parser.add_argument(
        "overrides", nargs="*", metavar="setting=value", help="data=kaldi data.root=DIR; of new, a path"
    )
    add_config_dir(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--decode", action="store_true", help="check: decode all audio, also where data.decode is false"
    )
    parser.add_argument("--split", help="describe: the minutes of this split only")
    parser.add_argument("--out", type=Path, help="folder for what filter, shard or new writes")
    parser.add_argument(
        "--measure", choices=("ina", "energy"), default="ina", help="filter: energy needs no extra package"
    )
    part = "filter, shard: share the work among N processes, 0/N, 1/N, ..."
    parser.add_argument("--part", default="0/1", metavar="I/N", help=part)
    parser.add_argument(
        "--hours-per-shard", type=float, default=2.0, help="shard: of audio in each, about (default: 2)"
    )
    parser.add_argument(
        "--codec", choices=("flac", "opus"), default="flac", help="shard: opus takes less space, but loses"
    )
    parser.add_argument(
        "--labels", type=Path, help="shard: folder of a run of job=labels; its units are written beside"
    )
    return parser


def show(corpus: Corpus, folder: Path, *, what: str, split: str | None, console: Console) -> None:
    """Prepare a corpus in `folder` and print its sizes and what was skipped: as JSON (`json`), with the minutes per language and
    dataset of one split or of all (`describe`), or without them (`prepare`)."""
    from mlsuperb.data.manifest import summary
    from mlsuperb.data.prepared import prepare
    from mlsuperb.data.skips import SkipReport

    prepared = prepare(corpus, folder=folder, look_at_audio=what == "prepare")
    sizes = summary(prepared.manifest)
    if what == "json":
        facts = {"synthetic": corpus.synthetic, "manifest": str(folder / "manifest.parquet")}
        console.print_json(data={**facts, **sizes, "skipped": prepared.skipped})
        return
    if split is not None and split not in sizes["splits"]:
        raise ValueError(f"--split {split}: there is none; splits are {', '.join(sizes['splits'])}")
    rows = (
        (name, f"{one['num_utterances']:,}", f"{one['hours']:.2f}", str(one["num_languages"]), str(one["num_datasets"]))
        for name, one in sizes["splits"].items()
    )
    title = "SYNTHETIC speech: no substitute for a real corpus" if corpus.synthetic else None
    console.print(_table(title, ("split", "utterances", "hours", "languages", "datasets"), rows))
    if what == "describe":
        console.print(_minutes([cell for cell in sizes["cells"] if split in (None, cell["split"])], split=split))
    tell(console, f"skipped: {SkipReport(prepared.skipped)}")
    if hours := _hours(prepared.skipped):
        console.print(hours)
    if what == "prepare":
        tell(console, f"written: {folder / 'manifest.parquet'} and skipped.json")


def list_unwanted(corpus: Corpus, folder: Path | None, *, measure: Measure, part: str, console: Console) -> None:
    """Measure the recordings of a corpus and print what its list of unwanted ones holds, once all of them are measured.

    Raises:
        ValueError: the options are wrong, or what is needed to measure is not installed.
    """
    from mlsuperb.data.audio_filter import DROP_LIST, filter_corpus

    if folder is None:
        raise ValueError("mlsuperb data filter needs --out FOLDER, where it keeps what it measures and writes the list")
    found = filter_corpus(corpus, folder, measure=measure, part=_part(part))
    if found is None:
        tell(console, f"this part is done, others are not: the last of them writes {folder / DROP_LIST}")
        return
    if hours := _hours(found):
        console.print(hours)
    total = sum(entry["count"] for entry in found.values())
    tell(console, f"written: {folder / DROP_LIST} with {total:,} utterances")


def shard(corpus: Corpus, manifests: Path, options: argparse.Namespace, *, console: Console) -> None:
    """Write the corpus, prepared in `manifests`, into the shards of the folder `options.out`, and its units if there are labels.

    Raises:
        ValueError: the options are wrong, or lhotse is not installed.
    """
    from mlsuperb.data.prepared import prepare
    from mlsuperb.data.shard_writing import Sharding, write_shards

    if options.out is None or options.hours_per_shard <= 0:
        raise ValueError(
            "mlsuperb data shard needs --out FOLDER, where it writes the shards, and --hours-per-shard above 0"
        )
    sharding, part = Sharding(hours_per_shard=options.hours_per_shard, codec=options.codec), _part(options.part)
    units = None if options.labels is None else _units(options.labels)
    manifest = prepare(corpus, folder=manifests).manifest
    missing = write_shards(
        manifest, options.out, sharding=sharding, units=units, resample=corpus.resample,
        skip_bad=corpus.on_bad == "skip", part=part,
    )  # fmt: skip
    if missing:
        tell(console, f"this part is done; {missing} shards are missing, which other parts have to write")
    else:
        tell(console, f"written: {options.out}; use it with data=shar data.root={options.out}")


def _units(run: Path) -> Units:
    """The units of a run of job=labels.

    Raises:
        ValueError: it has none.
    """
    from dataclasses import asdict

    from mlsuperb.data.shard_writing import Units
    from mlsuperb.units.labels import LABELS, Labels

    labels = Labels(run / LABELS)
    about = {key: value for key, value in asdict(labels.about).items() if key in ("codebook", "rate_hz", "num_units")}
    return Units(about=about, rate_hz=labels.rate_hz, named=labels.columns("split", "id"), of=labels.__getitem__)


def _part(given: str) -> tuple[int, int]:
    first, _, number = given.partition("/")
    if not (first.isdecimal() and number.isdecimal() and int(first) < int(number)):
        raise ValueError(f"--part {given}: give I/N, one of 0/N to N-1/N, such as 0/4")
    return int(first), int(number)


def is_whole(corpus: Corpus, *, console: Console, as_json: bool) -> bool:
    """Look at all audio, compare an ML-SUPERB tree with the published archives, and print what is missing."""
    from mlsuperb.data.checks import AUDIO_FAULTS
    from mlsuperb.data.corpora.ml_superb import MLSuperb
    from mlsuperb.data.corpora.ml_superb_release import check_release
    from mlsuperb.data.prepared import prepare
    from mlsuperb.data.skips import SkipReport

    skipped = prepare(corpus, folder=None).skipped
    # A subclass is a corpus of its own, such as the synthetic one, and no copy of the archives
    release = check_release(Path(corpus.root)) if type(corpus) is MLSuperb else None
    whole = not set(AUDIO_FAULTS) & set(skipped) and (release is None or release.whole)
    if as_json:
        console.print_json(data={"whole": whole, "release": release and release.to_dict(), "skipped": skipped})
        return whole
    if release is not None:
        tell(console, _release_text(release))
    tell(console, f"skipped: {SkipReport(skipped)}")
    tell(console, _verdict(whole, published=release is not None))
    return whole


def _verdict(whole: bool, *, published: bool) -> str:
    if whole:
        return "whole"
    return "NOT WHOLE: " + (
        "results on this copy are not comparable with published ones" if published else "some audio is left out"
    )


def _table(title: str | None, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    from rich.table import Table

    table = Table(title=None if title is None else shown(title, style="table.title"))
    for number, heading in enumerate(headings):
        table.add_column(shown(heading), justify="right" if number else "left")
    for row in rows:
        table.add_row(*map(shown, row))
    return table


def _minutes(cells: Sequence[Mapping[str, Any]], *, split: str | None) -> Table:
    """Languages down, datasets across."""
    from mlsuperb.data.languages import language_name

    minutes: dict[str, dict[str, float]] = {}
    for cell in cells:
        row = minutes.setdefault(cell["language"], {})
        row[cell["dataset"]] = row.get(cell["dataset"], 0.0) + cell["minutes"]
    datasets = sorted({cell["dataset"] for cell in cells})
    rows = (
        (f"{language} {language_name(language)}", *(f"{row[one]:.1f}" if one in row else "" for one in datasets),
         f"{sum(row.values()):.1f}")
        for language, row in sorted(minutes.items())
    )  # fmt: skip
    return _table(f"minutes of {split or 'all splits'}", ("language", *datasets, "total"), rows)


def _hours(skipped: Mapping[str, Mapping[str, Any]]) -> Table | None:
    """The hours that each reason cost each dataset, or that were kept in another form; None where none are known."""
    known = {reason: entry for reason, entry in skipped.items() if "seconds" in entry}
    if not known:
        return None
    datasets = sorted({dataset for entry in known.values() for dataset in entry["seconds"]})
    rows = []
    for reason, entry in sorted(known.items(), key=lambda item: "kept" in item[1]):
        hours = {dataset: seconds / 3600 for dataset, seconds in entry["seconds"].items()}
        cells = [f"{hours[dataset]:.2f}" if dataset in hours else "" for dataset in datasets]
        name = f"{'kept' if 'kept' in entry else 'lost'}: {reason}"
        rows.append((name, f"{entry['count']:,}", *cells, f"{sum(hours.values()):.2f}"))
    lost = sum(sum(entry["seconds"].values()) for entry in known.values() if "kept" not in entry) / 3600
    return _table(f"hours by reason ({lost:.2f} lost)", ("reason", "utterances", *datasets, "total"), rows)


def _release_text(release: ReleaseCheck) -> str:
    lists = {
        "missing": (len(release.missing_pairs), release.missing_pairs),
        "not in the release": (len(release.additional_pairs), release.additional_pairs),
        "missing transcripts": (len(release.missing_transcripts), release.missing_transcripts),
        "missing audio": (len(release.missing_audio), release.missing_audio),
    }
    lines = [f"{release.num_pairs} (language, dataset) pairs; nearest release: the {release.release} archive"]
    for name, (number, items) in lists.items():
        if items:
            lines.append(f"{number} {name}: {', '.join(items[:NUM_SHOWN])}{', ...' if number > NUM_SHOWN else ''}")
    return "\n".join(lines)
