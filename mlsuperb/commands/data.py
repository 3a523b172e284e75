"""The data command line.

mlsuperb data prepare  data=...   read a corpus, write its manifest
mlsuperb data describe data=...   hours a split, minutes a language and dataset, what was skipped
mlsuperb data check    data=...   is the copy whole? Exit status 1 if it is not
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from mlsuperb.config.options import check_overrides
from mlsuperb.data.languages import language_name

if TYPE_CHECKING:
    from mlsuperb.data.corpora.base import Corpus
    from mlsuperb.data.corpora.ml_superb_release import ReleaseCheck
    from mlsuperb.data.manifest import Prepared

WIDTH_WITHOUT_TERMINAL = 200  # columns: a file or pipe should get the whole table
NUM_SHOWN = 12


def main(arguments: Sequence[str]) -> int:
    """Run one command; 0 if all is well, 1 if `check` found something, 2 if the user must correct something."""
    options = _parser().parse_intermixed_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL, highlight=False)
    try:
        corpus, folder = _corpus(options.overrides)
        from mlsuperb.data.manifest import prepare, skip_text, summary

        if options.command == "check":
            return run_check(corpus, console=console, as_json=options.json)
        prepared = prepare(corpus, folder=folder)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if options.json:
        console.print_json(data={"synthetic": corpus.synthetic, **description(prepared, folder=folder)})
    elif options.command == "describe":
        show(prepared, synthetic=corpus.synthetic, split=options.split, console=console)
    else:
        console.print(_splits_table(summary(prepared.manifest)["splits"], synthetic=corpus.synthetic))
        console.print(f"skipped: {skip_text(prepared.skipped)}", markup=False)
        console.print(f"written: {folder / 'manifest.parquet'} and skipped.json", markup=False, soft_wrap=True)
    return 0


def description(prepared: Prepared, *, folder: Path) -> dict[str, Any]:
    """Sizes, skips and the manifest's place, for JSON."""
    from mlsuperb.data.manifest import summary

    return {"manifest": str(folder / "manifest.parquet"), **summary(prepared.manifest), "skipped": prepared.skipped}


def show(prepared: Prepared, *, synthetic: bool, split: str | None, console: Console) -> None:
    """Print hours a split, minutes a language and dataset (of one split, or of all), and what was skipped."""
    from mlsuperb.data.manifest import skip_text, summary

    sizes = summary(prepared.manifest)
    if split is not None and split not in sizes["splits"]:
        raise SystemExit(f"--split {split}: there is none. Splits are {', '.join(sizes['splits'])}.")
    console.print(_splits_table(sizes["splits"], synthetic=synthetic))
    console.print(_matrix([cell for cell in sizes["cells"] if split in (None, cell["split"])], split=split))
    console.print(f"skipped: {skip_text(prepared.skipped)}", markup=False)


def run_check(corpus: Corpus, *, console: Console, as_json: bool) -> int:
    """Open every audio header; set an ML-SUPERB tree against the published archives. 0 if the copy is whole, else 1."""
    from mlsuperb.data.checks import AUDIO_FAULTS
    from mlsuperb.data.corpora.ml_superb import MLSuperb
    from mlsuperb.data.corpora.ml_superb_release import check_release
    from mlsuperb.data.manifest import prepare, skip_text

    prepared = prepare(corpus, folder=None)
    faults = {reason: prepared.skipped[reason] for reason in AUDIO_FAULTS if reason in prepared.skipped}
    # A subclass is a corpus of its own, such as the synthetic one, and no copy of the archives
    release = check_release(Path(corpus.root)) if type(corpus) is MLSuperb else None
    whole = not faults and (release is None or release.whole)
    if as_json:
        found = {"whole": whole, "release": release and release.to_dict(), "skipped": prepared.skipped}
        console.print_json(data=found)
        return 0 if whole else 1
    if release is not None:
        console.print(_release_text(release), markup=False)
    console.print(f"skipped: {skip_text(prepared.skipped)}", markup=False)
    console.print("whole" if whole else "NOT WHOLE: results on this copy are not comparable with published ones")
    return 0 if whole else 1


def _corpus(overrides: Sequence[str]) -> tuple[Corpus, Path]:
    """The corpus of a configuration, and where runs keep its manifest."""
    if messages := check_overrides(overrides):
        raise ValueError("\n".join(messages))
    from mlsuperb.benchmark.build import build_corpus, manifest_folder
    from mlsuperb.config.check import check
    from mlsuperb.config.compose import compose

    config = compose(overrides)
    check(config, ("data",))
    return build_corpus(config), manifest_folder(config)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mlsuperb data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("prepare", "describe", "check"))
    parser.add_argument("overrides", nargs="*", metavar="setting=value", help="as for a run: data=kaldi data.root=DIR")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--split", help="describe: the minutes of this split only")
    return parser


def _splits_table(splits: Mapping[str, Mapping[str, Any]], *, synthetic: bool) -> Table:
    table = Table("split", title="SYNTHETIC speech: no substitute for a real corpus" if synthetic else None)
    for heading in ("utterances", "hours", "languages", "datasets"):
        table.add_column(heading, justify="right")
    for split, size in splits.items():
        numbers = (size["num_utterances"], size["num_languages"], size["num_datasets"])
        table.add_row(split, f"{numbers[0]:,}", f"{size['hours']:.2f}", str(numbers[1]), str(numbers[2]))
    return table


def _matrix(cells: Sequence[Mapping[str, Any]], *, split: str | None) -> Table:
    """Minutes: languages down, datasets across."""
    minutes: dict[tuple[str, str], float] = {}
    for cell in cells:
        key = (cell["language"], cell["dataset"])
        minutes[key] = minutes.get(key, 0.0) + cell["minutes"]
    datasets = sorted({dataset for _, dataset in minutes})
    table = Table("language", title=f"minutes of {split or 'all splits'}")
    for heading in (*datasets, "total"):
        table.add_column(heading, justify="right")
    for language in sorted({language for language, _ in minutes}):
        row = [minutes.get((language, dataset)) for dataset in datasets]
        texts = ["" if value is None else f"{value:.1f}" for value in row]
        table.add_row(f"{language} {language_name(language)}", *texts, f"{sum(filter(None, row)):.1f}")
    return table


def _release_text(release: ReleaseCheck) -> str:
    lists = {
        "missing": release.missing_pairs,
        "not in the release": release.additional_pairs,
        "missing transcripts": release.missing_transcripts,
        "missing audio": release.missing_audio,
    }
    numbers = {**{name: len(items) for name, items in lists.items()}, "missing audio": release.num_missing_audio}
    lines = [f"{release.num_pairs} (language, dataset) pairs; nearest release: the {release.release} archive"]
    for name, items in lists.items():
        if items:
            more = ", ..." if numbers[name] > NUM_SHOWN else ""
            lines.append(f"{numbers[name]} {name}: {', '.join(items[:NUM_SHOWN])}{more}")
    return "\n".join(lines)
