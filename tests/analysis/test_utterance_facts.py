from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from fake_runs import make_run

from mlsuperb.analysis import utterance_facts
from mlsuperb.analysis.utterance_facts import add_sound, bandwidth_hz, measure, snr_db, text_facts
from mlsuperb.scoring.utterances import utterance_counts
from mlsuperb.types import Hypothesis, TaskFacts

BOTH = TaskFacts(name="asr_lid", has_text=True, has_language=True)


def test_the_ratio_of_bursts_in_noise_is_found() -> None:
    generator = np.random.default_rng(0)
    for wanted_db in (0.0, 10.0, 30.0):
        noise_T = 0.01 * generator.standard_normal(160_000)
        speech_T = 0.01 * 10 ** (wanted_db / 20) * generator.standard_normal(160_000)
        speech_T[(np.arange(160_000) // 16_000) % 2 == 0] = 0  # half of it is a pause
        found = snr_db((noise_T + speech_T).astype(np.float32))
        # percentiles of energies that scatter: a few dB of room
        assert found == pytest.approx(wanted_db, abs=2.5)


def test_silence_and_shreds_have_no_ratio_and_no_bandwidth() -> None:
    assert snr_db(np.zeros(16_000, np.float32)) is None
    assert bandwidth_hz(np.zeros(16_000, np.float32)) is None
    assert snr_db(np.ones(300, np.float32)) is None
    assert bandwidth_hz(np.ones(300, np.float32)) is None


def test_bandwidth_is_where_the_energy_ends() -> None:
    generator = np.random.default_rng(0)
    for edge_hz in (1000, 3400, 7000):
        spectrum_K = np.fft.rfft(generator.standard_normal(64_000))
        spectrum_K[np.fft.rfftfreq(64_000, 1 / 16_000) > edge_hz] = 0
        found = bandwidth_hz(np.fft.irfft(spectrum_K).astype(np.float32))
        assert found == pytest.approx(0.99 * edge_hz, abs=70)
    tone_T = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert bandwidth_hz(tone_T + 5.0) == pytest.approx(440, abs=70)  # a constant is no sound


def utterance(reference: str, hypothesis: str, **changes: object) -> Hypothesis:
    return Hypothesis(
        **{
            "id": "a_eng_000001",
            "dataset": "a",
            "language": "eng",
            "split": "test",
            "audio": "a.wav",
            "start_s": 0.0,
            "duration_s": 2.0,
            "reference": reference,
            "hypothesis": hypothesis,
            "predicted_language": None,
        }
        | changes
    )


def facts(one: Hypothesis, *, task: str = "asr_lid", tokens: list[str] | None = None) -> pd.Series:
    how = replace(BOTH, name=task, has_text=task != "lid")
    return text_facts([one], utterance_counts([one], how), how, tokens=tokens).iloc[0]


def test_what_the_text_tells() -> None:
    found = facts(utterance("ab, cd!", "[deu] AX CD"), tokens=["A", "B", "<space>"])
    assert found["units_per_s"] == 2.0  # ABCD in two seconds; commas are normalised away
    assert found["unseen_share"] == 0.5  # C and D
    assert found["score"] == pytest.approx(100 / 6)  # as scored: a leading space, five characters
    assert found["named"] == "deu"
    assert math.isnan(facts(utterance("ab", "[eng] AB"))["unseen_share"])
    assert math.isnan(facts(utterance("", "[eng] AB"), tokens=["A"])["score"])
    assert facts(utterance("ab", "[deu]"), task="lid")["score"] == 100
    assert facts(utterance("ab", "[eng]"), task="lid")["score"] == 0


def table_of(folder: Path) -> pd.DataFrame:
    from mlsuperb.runs.hypotheses import read_hypotheses

    ones = read_hypotheses(folder / "hypotheses.jsonl")
    return text_facts(ones, utterance_counts(ones, BOTH), BOTH, tokens=None)


def test_what_was_measured_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(make_run(tmp_path / "run", languages=("nan", "eng")))
    lost = Path(table["audio"][0])
    kept = lost.read_bytes()
    lost.unlink()
    cache = tmp_path / "analysis" / "utterances.csv"
    first = add_sound(table, cache=cache)
    assert first["audio_problem"].tolist() == ["there is no such file", *[""] * 7]
    assert first["snr_db"].notna().sum() == first["bandwidth_hz"].notna().sum() == 7

    asked = []
    monkeypatch.setattr(utterance_facts, "measure", lambda *a, **k: asked.append(a[0]) or measure(*a, **k))
    lost.write_bytes(kept)
    second = add_sound(table, cache=cache)
    assert asked == [str(lost)]  # audio that has come back, and nothing else
    assert second["audio_problem"].tolist() == [""] * 8
    columns = ["snr_db", "bandwidth_hz"]
    pd.testing.assert_frame_equal(second[columns][1:], first[columns][1:])
    assert pd.read_csv(cache, keep_default_na=False)["language"].tolist() == ["nan"] * 4 + ["eng"] * 4

    asked.clear()
    wave_T, rate_hz = soundfile.read(lost)
    soundfile.write(lost, 0.5 * wave_T + 0.1, rate_hz)  # in place: as long as before
    os.utime(lost, ns=(1, 1))
    third = add_sound(table, cache=cache)
    assert asked == [str(lost)]
    assert (
        third["snr_db"][0] == measure(str(lost), start_s=table["start_s"][0], duration_s=table["duration_s"][0]).snr_db
    )

    cache.write_text("cut o")
    assert add_sound(table, cache=cache)["snr_db"].notna().all()


def test_a_file_that_is_no_audio_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("text")
    assert "cannot be read as audio" in measure(str(tmp_path / "a.wav"), start_s=0.0, duration_s=1.0).problem
    soundfile.write(tmp_path / "b.wav", np.zeros(16_000), 16_000)
    assert "cut short" in measure(str(tmp_path / "b.wav"), start_s=0.5, duration_s=3.0).problem
