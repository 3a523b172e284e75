from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlsuperb.runs.transcript_formats import FORMATS, as_file, targets
from mlsuperb.runs.transcripts import Timed, Transcript

WORDS = (
    Timed("HELLO", 0.32, 0.8, 0.987),
    Timed("世", 3599.9996, 3600.25, 0.5),
    Timed("界", 3600.25, 3600.5, 0.25, spaced=False),
)
ONE = Transcript(
    audio="talks/my talk.m4a", duration_s=3601.5, hypothesis="[eng] HELLO 世界", predicted_language="eng",
    languages={"eng": 0.75, "cmn": 0.25}, words=WORDS,
)  # fmt: skip


def test_text_and_the_json_of_before() -> None:
    assert FORMATS["text"](ONE) == "talks/my talk.m4a\teng\tHELLO 世界\n"
    assert FORMATS["short_json"](ONE) == '{"audio": "talks/my talk.m4a", "language": "eng", "text": "HELLO 世界"}\n'
    assert as_file(ONE, "text") == "HELLO 世界\n"


def test_json_has_words_and_languages() -> None:
    assert json.loads(FORMATS["json"](ONE)) == {
        "audio": "talks/my talk.m4a",
        "language": "eng",
        "text": "HELLO 世界",
        "duration_s": 3601.5,
        "languages": {"eng": 0.75, "cmn": 0.25},
        "words": [
            {"word": "HELLO", "start_s": 0.32, "end_s": 0.8, "confidence": 0.987},
            {"word": "世", "start_s": 3600.0, "end_s": 3600.25, "confidence": 0.5},
            {"word": "界", "start_s": 3600.25, "end_s": 3600.5, "confidence": 0.25},
        ],
    }


def test_subtitles() -> None:
    assert FORMATS["srt"](ONE) == (
        "1\n00:00:00,320 --> 00:00:00,800\nHELLO\n\n2\n01:00:00,000 --> 01:00:00,500\n世界\n"
    )


def test_a_subtitle_is_not_too_long() -> None:
    many = [Timed(f"word{number:02}", number / 2, number / 2 + 0.4, 1.0) for number in range(30)]
    one = Transcript(
        audio="a.wav", duration_s=15.0, hypothesis="", predicted_language=None, languages={}, words=tuple(many)
    )
    cues = FORMATS["srt"](one).split("\n\n")
    assert [len(cue.splitlines()[2].split()) for cue in cues] == [12, 12, 6], "84 characters"
    slow = [Timed("w", number * 1.5, number * 1.5 + 1.5, 1.0) for number in range(6)]
    one = Transcript(
        audio="a.wav", duration_s=9.0, hypothesis="", predicted_language=None, languages={}, words=tuple(slow)
    )
    assert [cue.splitlines()[1] for cue in FORMATS["srt"](one).split("\n\n")] == [
        "00:00:00,000 --> 00:00:06,000", "00:00:06,000 --> 00:00:09,000"
    ]  # fmt: skip


def test_ctm_and_tsv() -> None:
    assert FORMATS["ctm"](ONE).splitlines() == [
        "my_talk 1 0.320 0.480 HELLO 0.987",
        "my_talk 1 3600.000 0.250 世 0.500",
        "my_talk 1 3600.250 0.250 界 0.250",
    ]
    assert as_file(ONE, "tsv").splitlines()[:2] == [
        "audio\tstart_s\tend_s\tword\tconfidence",
        "talks/my talk.m4a\t0.320\t0.800\tHELLO\t0.987",
    ]


def test_a_terminal_is_not_titled_by_a_name() -> None:
    bad = Transcript(
        audio="\x1b]0;x\x07.wav", duration_s=1.0, hypothesis="A\tB", predicted_language=None, languages={}, words=()
    )
    assert FORMATS["text"](bad) == "\\x1b]0;x\\x07.wav\t-\tA\\tB\n"


def test_where_files_are_written(tmp_path: Path) -> None:
    places = [Path("a.b.wav"), Path("sub/a.m4a"), Path("-")]
    assert targets(places, tmp_path, "srt") == [tmp_path / name for name in ("a.b.srt", "sub/a.srt", "stdin.srt")]
    assert targets(places[:1], tmp_path, "short_json") == [tmp_path / "a.b.json"]
    with pytest.raises(ValueError, match=r"several inputs would be written to .*a.txt: rename one"):
        targets([Path("a.wav"), Path("a.mp3")], tmp_path, "text")
    (tmp_path / "a.txt").write_text("my own")
    with pytest.raises(ValueError, match=r"a.txt: there already. Remove what was written before"):
        targets([Path("a.wav")], tmp_path, "text")
