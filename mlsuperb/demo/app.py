"""The page of `mlsuperb demo`, drawn by Gradio. Nothing leaves the machine: no telemetry, no shared link, no fonts of others."""

from __future__ import annotations

import os
from typing import Any

from mlsuperb.demo.page import STYLE, hear
from mlsuperb.runs.decoding import Transcriber
from mlsuperb.runs.windows import Windowing

_MOST_BARS = 5
_KEPT_S = 600  # uploads, once nobody has looked at them for so long


def build(transcriber: Transcriber, windowing: Windowing, *, title: str) -> Any:
    """The page, a `gradio.Blocks`: from a file or a recording to its text, the probabilities of languages, the times of words."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    import gradio

    def answer(path: str | None) -> tuple[str, dict[str, float], str]:
        try:
            found = hear(path, transcriber, windowing)
        except ValueError as error:
            raise gradio.Error(str(error), print_exception=False) from error
        return found.text, found.languages, found.words

    with gradio.Blocks(title=title, analytics_enabled=False, delete_cache=(_KEPT_S, _KEPT_S)) as page:
        gradio.Markdown(f"# {title}")
        audio = gradio.Audio(sources=["upload", "microphone"], type="filepath", label="Speech", buttons=["download"])
        button = gradio.Button("Transcribe", variant="primary")
        text = gradio.Textbox(label="Text", lines=3, interactive=False)
        languages = gradio.Label(label="Language", num_top_classes=_MOST_BARS)
        gradio.Markdown("Words, with the seconds from when to when each is said")
        words = gradio.HTML()
        gradio.on(
            [button.click, audio.upload, audio.stop_recording],
            answer,
            inputs=audio,
            outputs=[text, languages, words],
            concurrency_limit=1,
            api_name="transcribe",
        )
    return page


def serve(page: Any, *, host: str, port: int | None, max_mb: float) -> str:
    """Serve the page from now on, and return its address.

    Args:
        port: None: the first free one from 7860 on.
        max_mb: size of an upload, at most.

    Raises:
        OSError: the port is taken.
    """
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        share=False,
        max_file_size=round(1e6 * max_mb),
        css=STYLE,
        footer_links=[],
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        inbrowser=False,
        quiet=True,
        prevent_thread_lock=True,
    )
    return str(address)
