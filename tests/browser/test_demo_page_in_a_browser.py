"""A visitor of the demo in a real browser: from a file to its text."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from levels import recogniser, say

from mlsuperb.demo.app import build, serve
from mlsuperb.runs.windows import Windowing

SAID = [
    ("<blank>", 0.5),
    ("[eng]", 0.2),
    ("<space>", 0.1),
    ("A", 0.2),
    ("B", 0.2),
    ("<space>", 0.1),
    ("C", 0.4),
    ("<blank>", 1.0),
]


def test_a_visitor_uploads_a_file(browser, tmp_path: Path, screenshots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio", reason="needs the extra `demo` (gradio)")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    path = say(tmp_path / "talk.wav", SAID)
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    page_to_serve = build(recogniser(), Windowing(), title="Transcribe with demo-1a2b")
    address = serve(page_to_serve, host="127.0.0.1", port=None, max_mb=0.2)
    context = browser.new_context(viewport={"width": 1000, "height": 1100})
    try:
        page, requests = context.new_page(), []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        page.locator("input[type=file]").set_input_files(path)
        page.get_by_text("0.80–1.20").wait_for()
        assert page.get_by_label("Text").input_value() == "AB C"
        assert page.get_by_text("English (eng)").count() >= 1
        words = page.locator(".words li")
        assert words.all_inner_texts() == ["AB\n0.80–1.20", "C\n1.30–1.70"]
        assert page.get_by_label("Share").count() == 0, "nothing is sent to somebody else's server"
        page.screenshot(path=screenshots / "demo.png")
        outside = [url for url in requests if urlsplit(url).hostname not in ("127.0.0.1", "localhost", None)]
        assert outside == [], "it works without a network"
        page.reload()
        page.locator("input[type=file]").set_input_files(tmp_path / "bad.wav")
        page.get_by_text("bad.wav: cannot be read as audio").wait_for()
        page.screenshot(path=screenshots / "demo-error.png")
        large = {"name": "a.wav", "mimeType": "audio/wav", "buffer": bytes(400_000)}
        assert context.request.post(f"{address}gradio_api/upload", multipart={"files": large}).status == 413
    finally:
        context.close()
        page_to_serve.close()
