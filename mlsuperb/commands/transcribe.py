"""`mlsuperb transcribe RUN FILES...`: transcribe audio files and identify their language with a trained run."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mlsuperb.commands.settings import add_config_dir, bring_own
from mlsuperb.runtime.messages import printable
from mlsuperb.types import Hypothesis


def transcribe(
    run: Path | str,
    files: Sequence[Path],
    *,
    device: str = "auto",
    language: str | None = None,
    on_bad: Callable[[str], None] | None = None,
) -> list[Hypothesis]:
    """Decode whole files with the model of a run folder, or of a run on the Hugging Face hub by its id.

    Args:
        language: ISO 639-3 code of what is written, for a model that is told it (job=translation).
        on_bad: called with a sentence for each file that cannot be read, which is left out; None: such a file is an error.

    Raises:
        ValueError: `run` holds no trained model, a file cannot be read, all such files being named, or the model is told no
            language or does not have this one.
    """
    from mlsuperb.config.build import job_of
    from mlsuperb.runs.decoding import Transcriber, transcribe_files
    from mlsuperb.runs.hub import run_folder
    from mlsuperb.runs.store import config_to_build

    def load() -> Transcriber:
        folder = run_folder(run)
        transcriber = job_of(config_to_build(folder)).load(folder, device=device)
        if language is not None:
            transcriber.write_in(language)
        return transcriber

    return transcribe_files(files, load, on_bad=on_bad)


def main(arguments: Sequence[str]) -> None:
    """Transcribe what can be read, then name what cannot (exit status 1)."""
    parser = argparse.ArgumentParser(prog="mlsuperb transcribe", description=__doc__)
    parser.add_argument(
        "run", help="folder of a trained run, e.g. exp/demo-1a2b3c4d, or a run on the hub: OWNER/NAME[@REVISION]"
    )
    parser.add_argument("files", type=Path, nargs="+", help="audio files, any format and rate that libsndfile reads")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    parser.add_argument("--json", action="store_true", help="one JSON object per file instead of columns")
    parser.add_argument("--language", help="code (ISO 639-3) of the language to write, for runs of job=translation")
    add_config_dir(parser)
    options = parser.parse_args(arguments)
    bring_own(options)
    logging.basicConfig(level=logging.WARNING)
    bad: list[str] = []
    given = {"device": options.device, "language": options.language, "on_bad": bad.append}
    for one in transcribe(options.run, options.files, **given):
        text = one.hypothesis.removeprefix(f"[{one.predicted_language}]").strip()
        if options.json:
            line = json.dumps(
                {"audio": one.audio, "language": one.predicted_language, "text": text}, ensure_ascii=False
            )
        else:
            cells = (one.audio, one.predicted_language or "-", text)
            line = "\t".join(printable(cell, but="") for cell in cells)
        sys.stdout.write(line + "\n")
    if bad:
        raise ValueError("; ".join(bad))
