"""What the demo shows, without the library that draws it; how it is served, on a stand-in for that."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from levels import recogniser, say

from mlsuperb.commands import demo
from mlsuperb.demo import app
from mlsuperb.demo.page import NOTHING, hear, shown, words_html
from mlsuperb.runs.transcripts import Timed, Transcript
from mlsuperb.runs.windows import Windowing


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    said = [("<blank>", 0.5), ("[eng]", 0.2), ("<space>", 0.1), ("A", 0.2), ("B", 0.2), ("<blank>", 0.3)]
    return say(tmp_path / "recording.wav", said)


def test_a_recording_is_shown(spoken: Path) -> None:
    found = hear(str(spoken), recogniser(), Windowing())
    assert found.text == "AB"
    assert next(iter(found.languages)) == "English (eng)"
    assert sum(found.languages.values()) == pytest.approx(1)
    assert '<b dir="auto">AB</b><small>0.80–1.20</small>' in found.words


def test_what_cannot_be_shown_is_said_without_a_path_of_the_machine(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=NOTHING):
        hear(None, recogniser(), Windowing())
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    with pytest.raises(ValueError, match=r"^bad.wav: cannot be read as audio") as error:
        hear(str(tmp_path / "bad.wav"), recogniser(), Windowing())
    assert str(tmp_path) not in str(error.value)


def test_a_word_is_no_markup() -> None:
    words = (Timed("<script>", 0.0, 0.5, 0.25),)
    assert '<b dir="auto">&lt;script&gt;</b>' in words_html(words)
    assert 'title="confidence 25%" style="opacity: 0.62"' in words_html(words)
    assert "No words" in words_html(())
    assert "does not say when" in words_html(None)


def test_a_translator_names_its_language_without_probabilities() -> None:
    one = Transcript(
        audio="a.wav", duration_s=1.0, hypothesis="hallo", predicted_language="deu", languages={}, words=None
    )
    assert shown(one).languages == {"German (deu)": 1.0}


class FakeGradio(SimpleNamespace):
    """Notes what is made and what happens on a click."""

    class Error(Exception):
        def __init__(self, message: str, *, print_exception: bool) -> None:
            super().__init__(message)

    def __init__(self) -> None:
        super().__init__(made=[], launched={}, answer=None)

    def __getattr__(self, name: str) -> Any:
        def make(*arguments: Any, **settings: Any) -> Any:
            self.made.append((name, arguments, settings))
            return SimpleNamespace(click=0, upload=0, stop_recording=0, kind=name)

        return make

    def Blocks(self, **settings: Any) -> FakeGradio:  # noqa: N802
        self.made.append(("Blocks", (), settings))
        return self

    def __enter__(self) -> FakeGradio:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def on(self, _: Any, answer: Any, **settings: Any) -> None:
        self.answer, self.wired = answer, settings

    def launch(self, **settings: Any) -> tuple[None, str, str]:
        self.launched = settings
        return None, "http://127.0.0.1:7860/", ""


@pytest.fixture
def gradio(monkeypatch: pytest.MonkeyPatch) -> FakeGradio:
    fake = FakeGradio()
    monkeypatch.setitem(sys.modules, "gradio", fake)  # type: ignore[arg-type]
    monkeypatch.delenv("GRADIO_ANALYTICS_ENABLED", raising=False)
    return fake


def test_the_page_stays_on_this_machine(gradio: FakeGradio, spoken: Path) -> None:
    page = app.build(recogniser(), Windowing(), title="Transcribe with x")
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    made = {name: settings for name, _, settings in gradio.made}
    assert made["Blocks"]["analytics_enabled"] is False
    assert made["Audio"]["sources"] == ["upload", "microphone"]
    assert [one.kind for one in gradio.wired["outputs"]] == ["Textbox", "Label", "HTML"]
    text, languages, words = gradio.answer(str(spoken))  # type: ignore[misc]
    assert (text, max(languages, key=languages.get)) == ("AB", "English (eng)")
    assert "0.80–1.20" in words
    with pytest.raises(FakeGradio.Error, match=NOTHING):
        gradio.answer(None)  # type: ignore[misc]
    assert app.serve(page, host="127.0.0.1", port=None, max_mb=20.0) == "http://127.0.0.1:7860/"
    assert gradio.launched["share"] is False
    assert gradio.launched["server_name"] == "127.0.0.1"
    assert gradio.launched["max_file_size"] == 20_000_000


def test_without_gradio_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == "gradio" else found(name))
    with pytest.raises(ValueError, match=r'Gradio, which is not installed: pip install "mlsuperb\[demo\]"'):
        demo.main(["exp/none"])


def test_the_command_listens_to_this_machine_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    called: dict[str, Any] = {}

    class Page:
        def block_thread(self) -> None:
            assert capsys.readouterr().out == "http://127.0.0.1:7860/ is open until Ctrl-C\n"

    monkeypatch.setattr(demo, "find_spec", lambda _: True)
    monkeypatch.setattr(demo, "loader", lambda run, **settings: called.update(run=run, **settings) or (lambda: "model"))
    monkeypatch.setattr(app, "build", lambda *given, title: called.update(given=given, title=title) or Page())
    monkeypatch.setattr(app, "serve", lambda page, **settings: called.update(settings) or "http://127.0.0.1:7860/")
    demo.main([str(tmp_path / "run-1a2b"), "--window", "20"])
    assert called["given"] == ("model", Windowing(length_s=20.0))
    assert called["title"] == "Transcribe with run-1a2b"
    assert (called["host"], called["port"], called["max_mb"]) == ("127.0.0.1", None, 100.0)
