"""Text, language and times of windows, on posteriors made by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from levels import TOKENS, Levels, recogniser, say
from torch import nn

from mlsuperb.benchmark.pieces import cut, language_probabilities, timed
from mlsuperb.data.dataset import SpeechDataset, collate
from mlsuperb.data.inputs import readable
from mlsuperb.decoding.joint_beam import JointBeam
from mlsuperb.decoding.prefix_beam import PrefixBeam
from mlsuperb.objectives.ctc_attention import CTCAttention
from mlsuperb.runs.transcription import transcribe_files
from mlsuperb.runs.transcripts import Transcript
from mlsuperb.runs.windows import Window, Windowing
from mlsuperb.tasks.asr import ASR
from mlsuperb.types import Batch, Encoded

BLANK = "<blank>"


def test_the_kept_frames_of_windows() -> None:
    values_BFV = torch.arange(24.0).view(2, 12, 1)
    encoded = Encoded(values_BFV, torch.tensor([12, 6]))
    found = cut(encoded, [Window(0.0, 1.2, 0.0, 1.0), Window(1.0, 1.6, 1.2, 1.6)])
    assert found.lengths_B.tolist() == [10, 4]
    assert found.values[0, :, 0].tolist() == list(range(10))
    assert found.values[1, :4, 0].tolist() == [14, 15, 16, 17]
    whole = [Window.whole(1.2), Window.whole(0.6)]
    assert cut(encoded, whole) is encoded


def test_the_probability_of_a_language_is_that_of_beginning_with_its_token() -> None:
    """Two frames; by hand: P(begins with A) = P(A at 0) + P(blank at 0) P(A at 1)."""
    probs_FV = torch.tensor([[0.5, 0.3, 0.1, 0.1], [0.2, 0.1, 0.6, 0.1], [0.0, 0.9, 0.05, 0.05]])
    posteriors = Encoded(probs_FV.log()[None], torch.tensor([2]))
    (found,) = language_probabilities(posteriors, {1: "eng", 2: "deu"})
    eng, deu = 0.3 + 0.5 * 0.1, 0.1 + 0.5 * 0.6
    assert found == {"eng": pytest.approx(eng / (eng + deu)), "deu": pytest.approx(deu / (eng + deu))}


def test_the_probability_of_a_class_of_a_classifier() -> None:
    posteriors = Encoded(torch.tensor([[0.2, 0.7, 0.1]]).log()[None], torch.tensor([1]))
    (found,) = language_probabilities(posteriors, {0: "eng", 1: "deu", 2: "swa"})
    assert found == {"eng": pytest.approx(0.2), "deu": pytest.approx(0.7), "swa": pytest.approx(0.1)}


def test_tokens_have_the_times_of_their_frames() -> None:
    """Token 1 in frames 2 and 3 of five, in a window of 1 s that begins at 10 s and is kept from 10.2 s on."""
    log_probs_FV = torch.full((4, 3), -5.0)
    for frame, token in enumerate((0, 1, 1, 2)):
        log_probs_FV[frame, token] = math.log(0.9)
    first, second = timed(log_probs_FV, [1, 2], ["A", "B"], Window(10.0, 11.0, 10.2, 11.0), 5)
    assert (first.text, first.start_s, first.end_s) == ("A", pytest.approx(10.4), pytest.approx(10.8))
    assert (second.text, second.start_s, second.end_s) == ("B", pytest.approx(10.8), 11.0)
    assert first.confidence == pytest.approx(0.9)


def test_more_tokens_than_frames_have_the_whole_stretch() -> None:
    found = timed(torch.zeros(2, 3).log_softmax(-1), [1, 1], ["A", "A"], Window.whole(1.0), 2)
    assert [(one.start_s, one.end_s, one.confidence) for one in found] == [(0.0, 1.0, 0.0)] * 2


# 4.6 s: "[eng] AB CC", each token 0.2 s
SAID = [
    (BLANK, 0.4), ("[eng]", 0.2), ("<space>", 0.2), ("A", 0.2), (BLANK, 0.2), ("B", 0.2), (BLANK, 0.6), ("<space>", 0.2),
    ("C", 0.2), (BLANK, 0.2), ("C", 0.4), (BLANK, 1.6),
]  # fmt: skip


def heard(path: Path, **settings: float) -> Transcript:
    (found,) = transcribe_files([path], recogniser, windowing=Windowing(**settings))
    return found


def times(one: Transcript) -> list[tuple[str, float, float]]:
    assert one.words is not None
    return [
        (word.text, pytest.approx(word.start_s, abs=1e-6), pytest.approx(word.end_s, abs=1e-6)) for word in one.words
    ]


def test_words_of_a_synthetic_utterance(tmp_path: Path) -> None:
    one = heard(say(tmp_path / "a.wav", SAID))
    assert (one.hypothesis, one.predicted_language, one.text) == ("[eng] AB CC", "eng", "AB CC")
    assert times(one) == [("AB", 0.8, 1.4), ("CC", 2.2, 3.0)]
    assert one.duration_s == pytest.approx(4.6)
    assert next(iter(one.languages)) == "eng"
    assert sum(one.languages.values()) == pytest.approx(1)


@pytest.mark.parametrize("settings", [{"length_s": 1.6}, {"length_s": 2.0, "overlap_s": 1.0}, {"length_s": 4.0}])
@pytest.mark.parametrize("decoder", [None, PrefixBeam()])
def test_windows_give_what_the_whole_gives(settings: dict[str, float], decoder: object, tmp_path: Path) -> None:
    """Also where a seam goes through a token."""
    path = say(tmp_path / "a.wav", SAID)
    (found,) = transcribe_files([path], lambda: recogniser(decoder=decoder), windowing=Windowing(**settings))
    whole = heard(path)
    assert len(Windowing(**settings).cut(whole.duration_s, whole_s=30.0)) > 1
    assert (found.hypothesis, found.predicted_language) == (whole.hypothesis, whole.predicted_language)
    assert times(found) == times(whole)


def test_every_seam_gives_what_the_whole_gives(tmp_path: Path) -> None:
    path = say(tmp_path / "a.wav", SAID)
    whole = heard(path)
    for length in range(120, 460, 20):
        found = heard(path, length_s=length / 100)
        assert (found.hypothesis, times(found)) == (whole.hypothesis, times(whole)), length


def test_several_files_and_languages_in_windows(tmp_path: Path) -> None:
    """Words of the second minute have times of the second minute; the language is that which is said most surely."""
    paths = []
    for number, (code, word) in enumerate([("eng", "A"), ("deu", "B"), ("eng", "C")]):
        said = [(BLANK, 0.5), (f"[{code}]", 0.5), ("<space>", 0.5)]
        said += [(BLANK, 30.0 * number), (word, 0.5), (BLANK, 31.0)]
        paths.append(say(tmp_path / f"{number}.wav", said))
    found = transcribe_files(paths, lambda: recogniser(batch_s=100.0))
    assert [one.audio for one in found] == [str(path) for path in paths], "longest first inside, in order outside"
    assert [(one.predicted_language, one.text) for one in found] == [("eng", "A"), ("deu", "B"), ("eng", "C")]
    assert [times(one) for one in found] == [[("A", 1.5, 2.0)], [("B", 31.5, 32.0)], [("C", 61.5, 62.0)]]


def test_what_is_read_of_a_long_recording_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = say(tmp_path / "a.wav", [("A", 1.0), (BLANK, 299.0)])
    model, sizes = recogniser(batch_s=60.0), []
    encode = model.encode

    def watched(batch):
        sizes.append(tuple(batch.wave_BT.shape))
        return encode(batch)

    monkeypatch.setattr(model, "encode", watched)
    (found,) = transcribe_files([path], lambda: model)
    assert found.text == "A"
    assert max(rows * samples for rows, samples in sizes) <= 60 * 16_000
    assert len(sizes) > 5


def test_a_model_without_languages(tmp_path: Path) -> None:
    path = say(tmp_path / "a.wav", [("A", 0.5), ("<space>", 0.5), ("B", 0.5), (BLANK, 1.5)])
    (found,) = transcribe_files([path], lambda: recogniser(task=ASR()), windowing=Windowing(length_s=1.6))
    assert (found.hypothesis, found.predicted_language, found.languages) == ("A B", None, {})
    assert times(found) == [("A", 0.0, 0.5), ("B", 1.0, 1.5)]


def test_silence_and_very_short_audio(tmp_path: Path) -> None:
    (silent, short) = (say(tmp_path / "s.wav", [(BLANK, 3.0)]), say(tmp_path / "b.wav", [("B", 0.01)]))
    first, second = transcribe_files([silent, short], recogniser, windowing=Windowing(length_s=1.0))
    assert (first.hypothesis, first.words) == ("", ())
    assert (second.hypothesis, times(second)) == ("B", [("B", 0.0, 0.01)])
    assert readable(short, tmp_path) == (short, 0.01)
    assert np.isclose(sum(first.languages.values()), 1)
    assert len(TOKENS) == 9


class Attending(Levels):
    """The same frames, with an attention decoder beside CTC."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.objective = CTCAttention(input_size=8, vocab_size=len(TOKENS), num_blocks=1, num_heads=2, ffn_size=8)

    def encode(self, batch: Batch) -> Encoded:
        encoded = super().encode(batch)
        return Encoded(nn.functional.one_hot(encoded.values, len(TOKENS))[..., :8].float(), encoded.lengths_B)


def test_an_attention_decoder_attends_to_the_kept_frames(tmp_path: Path) -> None:
    model = recogniser(decoder=JointBeam(beam_size=2, ctc_weight=0.3))
    model.model = Attending().eval()  # type: ignore[assignment]
    batch = collate([SpeechDataset(to_rows(say(tmp_path / "a.wav", SAID)))[0]])
    with torch.inference_mode():
        whole = model.encode(batch)
        (uncut,) = model.pieces(whole, [Window.whole(4.6)])
        assert (uncut.text, uncut.language) == model.texts(whole)[0]
        (piece,) = model.pieces(whole, [Window(0.0, 4.6, 1.0, 3.0)])
        kept = Encoded(whole.encoded.values[:, 100:300], torch.tensor([200]))
        objective = model.model.objective
        (expected,) = model.decoder(objective.log_probs(kept).values, kept.lengths_B, objective.attention(kept))
    assert piece.text == model.task.text(model.vocabulary.decode(expected.tokens))
    assert piece.text != uncut.text
    assert piece.tokens is not None
    assert all(1.0 <= one.start_s < one.end_s <= 3.0 for one in piece.tokens)


def to_rows(path: Path) -> pd.DataFrame:
    row = {"id": "a", "audio": str(path), "start_s": 0.0, "duration_s": 4.6, "text": "", "language": "", "dataset": ""}
    return pd.DataFrame([row | {"split": "", "speaker": ""}])
