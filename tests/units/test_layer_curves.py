"""Quality by layer, of an upstream whose layers are known to be good, bad and in between."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from labelled_runs import NAMES, made_phones
from torch import Tensor

from mlsuperb.data.audio import load_audio
from mlsuperb.types import SAMPLE_RATE_HZ
from mlsuperb.units.codebook import Codebook
from mlsuperb.units.layers import LayerCurve, SpokenPhones, kmeans, layer_curve, layer_features, spoken
from mlsuperb.units.phones import read_phones
from mlsuperb.units.quality import measure
from mlsuperb.upstreams.base import Front, Upstream
from mlsuperb.upstreams.mfcc import MFCC
from mlsuperb.upstreams.random_hubert import RandomHubert

SPEECH = "MLSUPERB_SPEECH_PHONES"  # names a folder with wav/*.ogg and phones.tsv of Debian's festvox-ru
HOP = SAMPLE_RATE_HZ // 50


class Heard(Upstream):
    """Reads the phone, which the wave's level tells, into four features: layer 0 hardly, layer 1 clearly, layer 2 in part."""

    num_layers, layer_size, frame_rate_hz = 3, len(NAMES) + 1, 50.0

    def run_front(self, wave_BT: Tensor, lengths_B: Tensor) -> Front:
        centres_BF = wave_BT[:, HOP // 2 :: HOP]
        hidden_BFD = torch.nn.functional.one_hot((10 * centres_BF).round().long(), self.layer_size).float()
        return Front(hidden_BFD, self.num_frames(lengths_B))

    def encode(self, hidden_BFD: Tensor, lengths_B: Tensor) -> list[Tensor]:
        noise = torch.randn(hidden_BFD.shape, generator=torch.Generator().manual_seed(int(lengths_B[0])))
        return [hidden_BFD + strength * noise for strength in (9.0, 0.05, 0.5)]

    def num_frames(self, lengths_B: Tensor) -> Tensor:
        return lengths_B // HOP


def utterances(num: int = 16) -> list[SpokenPhones]:
    found = []
    for number, intervals in enumerate(made_phones(num).values()):
        wave_T = np.zeros(round(intervals[-1].end_s * SAMPLE_RATE_HZ), np.float32)
        for one in intervals:
            level = ("SIL", *NAMES).index(one.phone) / 10
            wave_T[round(one.start_s * SAMPLE_RATE_HZ) : round(one.end_s * SAMPLE_RATE_HZ)] = level
        found.append(SpokenPhones(wave_T, intervals, f"s{number % 2}"))
    return found


@pytest.fixture(scope="module")
def curve() -> LayerCurve:
    return layer_curve(Heard(), utterances(), fit=lambda *a, **k: kmeans(*a, **k, num_units=10))


def test_the_layer_with_the_clearest_phones_is_the_best(curve: LayerCurve) -> None:
    pnmi = [one.quality.pnmi for one in curve.layers]
    abx = [one.abx for one in curve.layers]
    assert curve.best_layer("pnmi") == curve.best_layer("abx") == 1
    assert pnmi[1] > 0.95 > pnmi[2] > 0.3 > pnmi[0]
    # a b b and a a b cannot be told apart where durations do not count
    assert abx[1] < 0.1 < abx[0]
    assert abx[1] <= abx[2] < abx[0]
    assert (curve.num_units, curve.held_out) == (10, 0.0)
    assert [one.quality.num_utterances for one in curve.layers] == [16] * 3
    assert all(one.within and one.across and one.within.num_cells > 10 for one in curve.layers)


def test_an_utterance_that_was_not_clustered_can_be_scored() -> None:
    seen: list[int] = []

    def fit(features_FD: np.ndarray, *, rate_hz: float, seed: int, record: Mapping[str, Any]) -> Codebook:
        seen.append(len(features_FD))
        assert np.abs(features_FD.mean(0)).max() < 1e-3
        assert features_FD.std(0) == pytest.approx(1, abs=1e-3)
        assert (rate_hz, seed, record["features"]["layer"]) == (50.0, 3, len(seen) - 1)
        return kmeans(features_FD, rate_hz=rate_hz, seed=seed, record=record, num_units=7)

    listed = utterances()
    held = layer_curve(Heard(), listed, fit=fit, held_out=0.25, with_abx=False, seed=3)
    quality = held.layers[1].quality
    total = sum(len(one.wave_T) // HOP for one in listed)
    assert quality.num_utterances == 4
    assert seen[0] + quality.unit_frames == total
    assert quality.pnmi > 0.95
    assert held.layers[1].within is None
    assert math.isnan(held.layers[1].abx)
    with pytest.raises(ValueError, match="no ABX error was measured"):
        held.best_layer("abx")
    with pytest.raises(ValueError, match="too few to hold out 25%"):
        layer_curve(Heard(), listed[:1], held_out=0.25)


def test_features_are_those_of_utterances_alone() -> None:
    upstream = RandomHubert(num_blocks=1)
    waves = [
        np.random.default_rng(number).standard_normal(4000 + 1000 * number).astype(np.float32) for number in range(3)
    ]
    layers = layer_features(upstream, waves, device="cpu")
    assert len(layers) == upstream.num_layers
    for number, wave_T in enumerate(waves):
        with torch.no_grad():
            alone = upstream.eval()(torch.from_numpy(wave_T)[None], torch.tensor([len(wave_T)]))
        for layer, of_layer in enumerate(layers):
            assert np.array_equal(of_layer[number], alone.layers[layer][0].numpy())


def test_utterances_of_a_split_are_chosen_up_to_the_minutes(tmp_path: Path) -> None:
    phones = made_phones(6)
    for name in phones:
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(2 * SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    manifest = pd.DataFrame(
        {
            "id": [*phones, "unmarked"], "audio": [str(tmp_path / f"{name}.wav") for name in [*phones, "unmarked"]],
            "start_s": 0.0, "duration_s": 2.0, "text": "", "language": "deu", "dataset": "made",
            "split": ["train", *["dev"] * 6], "speaker": "s",
        }
    )  # fmt: skip
    chosen = spoken(manifest, phones, split="dev", minutes=0.1)
    assert [len(one.wave_T) for one in chosen] == [2 * SAMPLE_RATE_HZ] * 3
    assert len(spoken(manifest, phones, split="dev", minutes=10)) == 5
    assert len(spoken(manifest, phones, split="dev", minutes=0.01)) == 1
    with pytest.raises(ValueError, match=r"no split test; give one of dev, train"):
        spoken(manifest, phones, split="test", minutes=1)
    with pytest.raises(ValueError, match="no utterance of split dev has phones: its ids are like utt_swa_001"):
        spoken(manifest, {"other": []}, split="dev", minutes=1)


@pytest.mark.skipif(SPEECH not in os.environ, reason=f"{SPEECH} names no folder of festvox-ru")
def test_units_of_real_speech_have_the_quality_that_was_measured_elsewhere() -> None:
    """70 sentences of festvox-ru, 39-d cepstra, 20 ms, K = 100, standardised, scored on the same frames: PNMI 0.431 by an
    independent measurement (on the original recordings), with deltas as differences of 10-ms neighbours."""
    root = Path(os.environ[SPEECH])
    phones = read_phones(root / "phones.tsv")
    names = sorted(phones)[::6][:70]
    waves = [load_audio(root / "wav" / f"{name}.ogg") for name in names]
    (cepstra,) = layer_features(MFCC(num_coefficients=13, num_mels=23, hop_length=160), waves, device="cpu")
    features = []
    for static_FD in cepstra:
        deltas_FD = np.gradient(static_FD, axis=0)
        features.append(np.concatenate([static_FD, deltas_FD, np.gradient(deltas_FD, axis=0)], axis=1)[::2])
    frames_FD = np.concatenate(features)
    mean_D, deviation_D = frames_FD.mean(0), frames_FD.std(0)
    book = kmeans((frames_FD - mean_D) / deviation_D, rate_hz=50.0, seed=0, record={})
    units = [book.assign(torch.from_numpy((one - mean_D) / deviation_D)).numpy() for one in features]
    quality = measure(units, [phones[name] for name in names], rate_hz=50.0, num_units=100)
    assert quality.pnmi == pytest.approx(0.43, abs=0.02)
    assert quality.phone_purity == pytest.approx(0.42, abs=0.02)
    assert quality.num_active == 100
