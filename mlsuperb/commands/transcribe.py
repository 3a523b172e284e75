"""`mlsuperb transcribe RUN FILES...`: what a trained run hears in audio files."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mlsuperb.types import Hypothesis


def transcribe(run: Path, files: Sequence[Path], *, device: str = "auto") -> list[Hypothesis]:
    """Decode whole files with the model of a run folder.

    Raises:
        ValueError: `run` holds no trained model, or a file cannot be read; all unreadable files are named.
    """
    from mlsuperb.data.audio import audio_info

    problems, rows = [], []
    for file in files:
        if not file.is_file():
            problems.append(
                f"{file}: there is no such file" if not file.exists() else f"{file} is a folder; give {file}/*"
            )
            continue
        try:
            info = audio_info(file)
        except ValueError:
            problems.append(f"{file}: no audio that can be read; convert it to WAV, FLAC or Ogg")
            continue
        rows.append(
            {"id": str(file), "audio": str(file), "start_s": 0.0, "duration_s": info.duration_s, "text": "",
             "language": "", "dataset": "", "split": "files", "speaker": ""}
        )  # fmt: skip
    if problems:
        raise ValueError("; ".join(problems))
    import pandas as pd

    from mlsuperb.config.build import job_of
    from mlsuperb.runs.decoding import decode
    from mlsuperb.runs.store import read_config

    transcriber = job_of(read_config(run)).load(run, device=device)
    dataset = transcriber.loading.dataset(pd.DataFrame(rows), encode=None, resample=True)
    with tempfile.TemporaryDirectory() as folder:
        return decode(dataset, Path(folder) / "hypotheses.jsonl", transcriber).hypotheses


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="mlsuperb transcribe", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a trained run, e.g. exp/demo-1a2b3c4d")
    parser.add_argument("files", type=Path, nargs="+", help="audio files, any format and rate that libsndfile reads")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    parser.add_argument("--json", action="store_true", help="one JSON object a file instead of columns")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    try:
        hypotheses = transcribe(options.run, options.files, device=options.device)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    for one in hypotheses:
        text = one.hypothesis.removeprefix(f"[{one.predicted_language}]").strip()
        if options.json:
            line = json.dumps(
                {"audio": one.audio, "language": one.predicted_language, "text": text}, ensure_ascii=False
            )
        else:
            line = f"{one.audio}\t{one.predicted_language or '-'}\t{text}"
        sys.stdout.write(line + "\n")
