"""Texts that have more tokens than the model gives frames: said, or refused, before training."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlsuperb.benchmark.frames import check_frames
from mlsuperb.data.dataset import SpeechDataset
from mlsuperb.layers.frontends import SHORTENING
from mlsuperb.types import Utterance

RATE_HZ = 12.5


def speech(*texts: str) -> SpeechDataset:
    """Utterances of one second."""
    rows = [
        Utterance(
            id=str(number), audio="none.wav", start_s=0.0, duration_s=1.0, text=text, language="deu", dataset="d", split="train",
        )
        for number, text in enumerate(texts)
    ]  # fmt: skip
    return SpeechDataset(
        pd.DataFrame([vars(row) for row in rows]), encode=lambda row: np.array([ord(letter) for letter in row.text])
    )


def check(
    data: SpeechDataset, *, frontend: str = "linear", has_text: bool = True, utterance_level: bool = False
) -> None:
    config = {"upstream": {"name": "slow"}, "head": {"frontend": frontend}}
    recogniser: Any = SimpleNamespace(
        task=SimpleNamespace(has_text=has_text),
        model=SimpleNamespace(
            objective=SimpleNamespace(utterance_level=utterance_level),
            head=SimpleNamespace(num_frames=lambda frames_B: frames_B // SHORTENING[frontend]),
            upstream=SimpleNamespace(num_frames=lambda samples_B: samples_B // 1280, frame_rate_hz=RATE_HZ),
        ),
    )
    check_frames(config, recogniser, data)


def test_a_training_that_ctc_can_align_passes(caplog: pytest.LogCaptureFixture) -> None:
    check(speech("abcdefghijkl"))  # 12 frames
    check(speech("abcdef"), frontend="conv1d2")
    assert not caplog.records


def test_most_texts_too_long_are_refused_with_the_remedy() -> None:
    with pytest.raises(
        ValueError,
        match=r"2 of 3 train utterances have more tokens than frames: upstream=slow gives 12\.5 per second, of which "
        r"head\.frontend=conv1d2 leaves one in 2\..* Set head\.frontend=linear$",
    ):
        check(speech("abcdefg", "abc", "aabbcc"), frontend="conv1d2")  # the last needs blanks between equal letters
    with pytest.raises(
        ValueError, match=r"1 of 1 .* gives 12\.5 per second. .* Take an upstream with more frames per second$"
    ):
        check(speech("abcdefghijklm"))


def test_some_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check(speech("abcdefghijklm", "a", "b"))
    assert "1 of 3 train utterances have more tokens than frames" in caplog.text


def test_what_is_not_aligned_needs_no_frames() -> None:
    data = speech("abcdefghijklmnop")
    check(data, has_text=False)
    check(data, utterance_level=True)


def test_of_a_large_corpus_a_thousand_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    data = speech(*["ab"] * 5000)
    seen: list[int] = []
    plain = data.without_wave
    monkeypatch.setattr(data, "without_wave", lambda index: seen.append(index) or plain(index))
    check(data)
    assert (len(seen), seen[0], seen[-1]) == (1000, 0, 4999)
