"""`mlsuperb transcribe RUN FILES...`: transcribe audio files and identify their language with a trained run.

Language tokens of the output ([deu]) are left out of the text: the first is the language. <unk> stays where the model emits it,
since it has no token for what was said.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from mlsuperb.commands.settings import add_config_dir, bring_own

if TYPE_CHECKING:
    from mlsuperb.runs.decoding import Transcriber
    from mlsuperb.runs.transcripts import Transcript
    from mlsuperb.runs.windows import Windowing

FORMATS = ("text", "json", "srt", "ctm", "tsv")


def loader(
    run: Path | str, *, device: str = "auto", language: str | None = None, times: str = ""
) -> Callable[[], Transcriber]:
    """What loads the model of a run folder, or of a run on the Hugging Face hub by its id.

    Args:
        language: ISO 639-3 code of what is written, for a model that is told it (job=translation).
        times: the format that needs the time of each word, if one does.

    Raises:
        ValueError: (what is returned) `run` holds no trained model, the model is told no language or does not have this one, or
            it does not say when words are said.
    """

    def load() -> Transcriber:
        from mlsuperb.config.build import job_of
        from mlsuperb.runs.hub import run_folder
        from mlsuperb.runs.store import config_to_build

        folder = run_folder(run)
        transcriber = job_of(config_to_build(folder)).load(folder, device=device)
        if times and not transcriber.aligns:
            raise ValueError(
                f"--format {times} needs the time of each word, which this model does not give: a CTC model that writes text "
                "does. Use --format text or json"
            )
        if language is not None:
            transcriber.write_in(language)
        return transcriber

    return load


def transcribe(
    run: Path | str,
    files: Sequence[Path],
    *,
    device: str = "auto",
    language: str | None = None,
    windowing: Windowing | None = None,
    on_bad: Callable[[str], None] | None = None,
) -> list[Transcript]:
    """Transcribe audio files, those in folders and standard input (`-`) with the model of a run folder, or of a run on the hub.

    Args:
        language: ISO 639-3 code of what is written, for a model that is told it (job=translation).
        windowing: how long recordings are cut.
        on_bad: called with a sentence for each file that cannot be read, which is left out; None: such a file is an error.

    Raises:
        ValueError: `run` holds no trained model, a file cannot be read, all such files being named, or the model is told no
            language or does not have this one.
    """
    from mlsuperb.runs.transcription import transcribe_files

    load = loader(run, device=device, language=language)
    return transcribe_files(files, load, windowing=windowing, on_bad=on_bad)


def main(arguments: Sequence[str]) -> None:
    """Transcribe what can be read, then name what cannot (exit status 1)."""
    options = _parser().parse_args(arguments)
    bring_own(options)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    bad: list[str] = []
    for line in _written(options, bad.append):
        sys.stdout.write(line)
    if bad:
        raise ValueError("; ".join(bad))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mlsuperb transcribe", description=__doc__)
    add_run(parser)
    parser.add_argument(
        "files", type=Path, nargs="+",
        help="audio files of any format and rate; folders: all audio in them; -: an audio file from standard input",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument(
        "--format", choices=FORMATS, default="text", help="json, srt, ctm and tsv have the times of words"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write a file per input there, and print nothing")
    shape.add_argument("--json", action="store_true", help="one JSON object per file: audio, language, text")
    parser.add_argument("--language", help="code (ISO 639-3) of the language to write, for runs of job=translation")
    add_windowing(parser)
    add_config_dir(parser)
    return parser


def add_run(parser: argparse.ArgumentParser) -> None:
    """Let a command be told whose model is used."""
    parser.add_argument(
        "run", help="folder of a trained run, e.g. exp/demo-1a2b3c4d, or a run on the hub: OWNER/NAME[@REVISION]"
    )


def add_windowing(parser: argparse.ArgumentParser) -> None:
    """Let a command be told how long recordings are cut (`mlsuperb.runs.windows.Windowing`)."""
    parser.add_argument(
        "--window", type=float, metavar="SECONDS",
        help="cut longer recordings into overlapping windows of this length (default: 30, or what the model was trained on)",
    )  # fmt: skip
    parser.add_argument("--overlap", type=float, metavar="SECONDS", help="of windows, at least (default: a sixth)")


def _written(options: argparse.Namespace, on_bad: Callable[[str], None]) -> Iterator[str]:
    """What is printed: everything, in the order of the files; nothing where it goes into files."""
    from mlsuperb.data.inputs import expanded
    from mlsuperb.runs import transcript_formats as formats
    from mlsuperb.runs.transcription import each_transcript
    from mlsuperb.runs.windows import Windowing
    from mlsuperb.runtime.files import write_atomic

    name = "short_json" if options.json else options.format
    windowing = Windowing(length_s=options.window, overlap_s=options.overlap)
    files, places = zip(*expanded(options.files), strict=True)
    if name == "srt" and len(files) > 1 and options.out is None:
        raise ValueError(f"--format srt is a file per recording, and {len(files):,} are given: add --out DIR")
    paths = formats.targets(places, options.out, name) if options.out else []
    times = name if name in ("srt", "ctm", "tsv") else ""
    load = loader(options.run, device=options.device, language=options.language, times=times)
    found = each_transcript(files, load, windowing=windowing, on_bad=on_bad)
    if options.out is None:
        yield formats.TSV_HEADER if name == "tsv" else ""
        yield from (formats.FORMATS[name](one) for _, one in sorted(found, key=itemgetter(0)))
        return
    for place, one in found:
        paths[place].parent.mkdir(parents=True, exist_ok=True)
        write_atomic(paths[place], [formats.as_file(one, name)])
