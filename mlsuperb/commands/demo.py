"""`mlsuperb demo RUN`: a page in the browser that transcribes a file or what is said into the microphone."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from mlsuperb.commands.settings import add_config_dir, bring_own
from mlsuperb.commands.transcribe import add_run, add_windowing, loader


def main(arguments: Sequence[str]) -> None:
    """Load the model, then serve the page until Ctrl-C.

    Raises:
        ValueError: Gradio is not installed, or `run` holds no trained model.
    """
    parser = argparse.ArgumentParser(prog="mlsuperb demo", description=__doc__)
    add_run(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    parser.add_argument("--language", help="code (ISO 639-3) of the language to write, for runs of job=translation")
    parser.add_argument(
        "--host", default="127.0.0.1",
        help="address to listen at (default: 127.0.0.1, for this machine alone; 0.0.0.0 lets everybody in who reaches it)",
    )  # fmt: skip
    parser.add_argument("--port", type=int, help="port to listen at (default: the first free one from 7860 on)")
    parser.add_argument("--max-mb", type=float, default=100.0, help="largest upload, in MB (default: 100)")
    add_windowing(parser)
    add_config_dir(parser)
    options = parser.parse_args(arguments)
    if find_spec("gradio") is None:
        raise ValueError(
            'mlsuperb demo draws its page with Gradio, which is not installed: pip install "mlsuperb[demo]"'
        )
    bring_own(options)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    from mlsuperb.demo.app import build, serve
    from mlsuperb.runs.windows import Windowing

    windowing = Windowing(length_s=options.window, overlap_s=options.overlap)
    transcriber = loader(options.run, device=options.device, language=options.language)()
    page = build(transcriber, windowing, title=f"Transcribe with {Path(options.run).resolve().name}")
    address = serve(page, host=options.host, port=options.port, max_mb=options.max_mb)
    sys.stdout.write(f"{address} is open until Ctrl-C\n")
    sys.stdout.flush()
    page.block_thread()
