"""`mlsuperb transcribe RUN FILES...`: transcribe audio files and identify their language with a trained run."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from mlsuperb.types import Hypothesis


def transcribe(run: Path, files: Sequence[Path], *, device: str = "auto") -> list[Hypothesis]:
    """Decode whole files with the model of a run folder.

    Raises:
        ValueError: `run` holds no trained model, or a file cannot be read; all unreadable files are named.
    """
    from mlsuperb.config.build import job_of
    from mlsuperb.runs.decoding import transcribe_files
    from mlsuperb.runs.store import read_config

    return transcribe_files(files, lambda: job_of(read_config(run)).load(run, device=device))


def main(arguments: Sequence[str]) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="mlsuperb transcribe", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a trained run, e.g. exp/demo-1a2b3c4d")
    parser.add_argument("files", type=Path, nargs="+", help="audio files, any format and rate that libsndfile reads")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    parser.add_argument("--json", action="store_true", help="one JSON object per file instead of columns")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    for one in transcribe(options.run, options.files, device=options.device):
        text = one.hypothesis.removeprefix(f"[{one.predicted_language}]").strip()
        if options.json:
            line = json.dumps(
                {"audio": one.audio, "language": one.predicted_language, "text": text}, ensure_ascii=False
            )
        else:
            line = f"{one.audio}\t{one.predicted_language or '-'}\t{text}"
        sys.stdout.write(line + "\n")
