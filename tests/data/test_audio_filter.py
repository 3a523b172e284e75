from __future__ import annotations

import json
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from corpus_trees import ListCorpus, spoil, utterance, write_wave

from mlsuperb.commands.data import main
from mlsuperb.data import audio_filter
from mlsuperb.data.audio_filter import Rule, filter_corpus, no_energy_s, smoothed
from mlsuperb.data.corpora.several import Several
from mlsuperb.data.preparation import Preparation
from mlsuperb.data.prepared import prepare


def viterbi(active_F: np.ndarray) -> np.ndarray:
    """Frame by frame, with the log probabilities of inaSpeechSegmenter: states 0 (no energy) and 1."""
    emission = np.where(np.stack([~active_F, active_F], axis=1), np.log(1 - 1e-10), np.log(1e-10))
    transition = np.array([[-5.0, -150 * np.log(10)], [-150 * np.log(10), 0.0]])
    best, back = emission[0], []
    for row in emission[1:]:
        scores = best[:, None] + transition
        back.append(scores.argmax(axis=0))
        best = scores.max(axis=0) + row
    states = [int(best.argmax())]
    for origins in reversed(back):
        states.append(int(origins[states[-1]]))
    return np.array(states[::-1], dtype=bool)


def test_smoothing_is_viterbi_frame_by_frame() -> None:
    rng = np.random.default_rng(0)
    num_changes = []
    for _ in range(60):
        lengths = rng.integers(1, 120, rng.integers(1, 12))
        active_F = np.repeat(np.arange(len(lengths)) % 2 == rng.integers(2), lengths)
        expected = viterbi(active_F)
        np.testing.assert_array_equal(smoothed(active_F), expected)
        num_changes.append(int((expected[1:] != expected[:-1]).sum()))
    assert len(set(num_changes)) > 4, "some gaps are bridged and some are not"


def noise(seconds: float, *, level: float = 0.1) -> np.ndarray:
    return np.random.default_rng(1).uniform(-level, level, round(seconds * 16_000)).astype(np.float32)


def test_seconds_without_energy() -> None:
    sound, silence = noise(3.0), noise(2.0, level=1e-4)
    assert no_energy_s(sound) == 0.0
    assert no_energy_s(np.concatenate([sound, silence, sound])) == pytest.approx(2.0, abs=0.05)
    assert no_energy_s(np.concatenate([silence, sound])) == pytest.approx(2.0, abs=0.05)
    assert no_energy_s(np.concatenate([sound, silence[:3200], sound])) == 0.0, "a pause of 0.2 s is part of speech"
    assert no_energy_s(np.zeros(32_000, np.float32)) == pytest.approx(2.0, abs=0.05)
    assert no_energy_s(np.concatenate([sound, np.zeros(32_000, np.float32)])) == pytest.approx(2.0, abs=0.05)
    assert no_energy_s(sound[:100]) == 0.0
    mixed = np.concatenate([sound, silence, sound])
    assert no_energy_s(mixed * 0.01) == no_energy_s(mixed), "loudness does not count"


def test_the_rule_is_that_of_the_authors() -> None:
    rule = Rule()
    assert rule.reason({"music": 2.0, "noise": 2.0, "noEnergy": 5.0, "speech": 1.0}) == ""
    assert rule.reason({"music": 2.1, "noise": 9.0}) == "more than 2 s of music"
    assert rule.reason({"noise": 2.1, "noEnergy": 9.0}) == "more than 2 s of noise"
    assert rule.reason({"noEnergy": 5.1}) == "more than 5 s without energy"
    assert rule.reason({}) == ""


@pytest.fixture
def corpus(tmp_path: Path) -> ListCorpus:
    """Speech, silence, speech at another rate, a file that goes bad, one of test."""
    silent = np.concatenate([noise(7.0), noise(7.0, level=1e-4)])
    soundfile.write(tmp_path / "silent.wav", silent, 16_000)
    rows = [
        utterance(write_wave(tmp_path / "good.wav", duration_s=3.0)),
        utterance(tmp_path / "silent.wav"),
        utterance(tmp_path / "silent.wav", id="start", duration_s=1.0),
        utterance(write_wave(tmp_path / "bad.wav", duration_s=2.0), dataset="e"),
        utterance(tmp_path / "silent.wav", id="tested", split="test"),
    ]
    return ListCorpus(given=rows, files=[])


def test_what_is_listed_is_dropped_by_the_preparation(corpus: ListCorpus, tmp_path: Path) -> None:
    prepare(corpus, folder=tmp_path / "out")
    spoil(tmp_path / "bad.wav")
    report = filter_corpus(corpus, tmp_path / "out", measure="energy")
    assert report == {
        "more than 5 s without energy": {
            "count": 1, "splits": {"train": 1}, "examples": ["silent"], "seconds": {"d": 14.0}
        },
        "audio that cannot be read": {"count": 1, "splits": {"train": 1}, "examples": ["bad"], "seconds": {"e": 2.0}},
    }  # fmt: skip
    listed = tmp_path / "out" / "drop_list.txt"
    assert listed.read_text() == "silent\tmore than 5 s without energy\nbad\taudio that cannot be read\n"
    corpus.preparation = Preparation(num_valid=0, drop_list=str(listed))
    write_wave(tmp_path / "bad.wav", duration_s=2.0)
    prepared = prepare(corpus, folder=None)
    assert prepared.manifest["id"].tolist() == ["good+1", "tested"]
    assert prepared.skipped["in preparation.drop_list: more than 5 s without energy"]["examples"] == ["silent"]


def test_a_preparation_is_left_out_but_its_long_utterances_are_measured(tmp_path: Path) -> None:
    rows = [utterance(write_wave(tmp_path / f"{length}.wav", duration_s=length)) for length in (0.5, 25.0)]
    part = ListCorpus(given=rows, files=[])
    whole = Several(corpora={"a": part}, preparation=Preparation())
    for number, corpus in enumerate((replace(part, preparation=Preparation()), whole)):
        folder = tmp_path / f"out{number}"
        assert filter_corpus(corpus, folder, measure="energy") == {}
        lines = (folder / "verdicts-00000.jsonl").read_text().splitlines()
        assert [json.loads(line)["id"] for line in lines] == ["0.5", "25.0"]


def test_work_is_shared_and_resumed_by_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_filter, "ROWS_PER_SHARD", 2)
    rows = [utterance(write_wave(tmp_path / "a.wav"), id=f"{number}") for number in range(7)]
    corpus, folder, seen = ListCorpus(given=rows, files=[]), tmp_path / "out", []

    def measure() -> Any:
        return lambda wave_T: seen.append(len(wave_T)) or {"music": 3.0 * (len(seen) % 2)}  # type: ignore[func-returns-value]

    monkeypatch.setitem(audio_filter.MEASURES, "ina", measure)
    assert filter_corpus(corpus, folder, measure="ina", part=(1, 2)) is None
    assert (len(seen), sorted(path.stem for path in folder.glob("verdicts*"))) == (
        3,
        ["verdicts-00001", "verdicts-00003"],
    )
    report = filter_corpus(corpus, folder, measure="ina", part=(0, 2))
    assert report is not None
    assert (len(seen), report["more than 2 s of music"]["count"]) == (7, 4)
    assert filter_corpus(corpus, folder, measure="ina") == report
    (folder / "verdicts-00002.jsonl").unlink()
    filter_corpus(corpus, folder, measure="ina")
    assert len(seen) == 9, "only the shard that was missing"
    with pytest.raises(
        ValueError, match=r"another measure \(ina on 7 utterances; now energy on 7\)\. Give another folder"
    ):
        filter_corpus(corpus, folder, measure="energy")
    corpus.given.pop()
    with pytest.raises(ValueError, match=r"other speech .*now ina on 6\)"):
        filter_corpus(corpus, tmp_path / "out", measure="ina")


def test_ina_is_given_16_khz_files_and_its_labels_are_added_up(
    corpus: ListCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in: the package itself was not available where this was written."""
    given = []

    class Segmenter:
        def __init__(self, *, detect_gender: bool) -> None:
            assert not detect_gender

        def __call__(self, path: str) -> list[tuple[str, float, float]]:
            given.append(soundfile.info(path))
            return [("speech", 0.0, 0.5), ("music", 0.5, 2.0), ("speech", 2.0, 2.2), ("music", 2.2, 3.0)]

    module = types.ModuleType("inaSpeechSegmenter")
    module.Segmenter = Segmenter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "inaSpeechSegmenter", module)
    monkeypatch.setattr(audio_filter.shutil, "which", lambda name: name)
    corpus.given = corpus.given[:1]
    report = filter_corpus(corpus, tmp_path / "out", measure="ina")
    assert report is not None
    assert list(report) == ["more than 2 s of music"]
    verdict = json.loads((tmp_path / "out" / "verdicts-00000.jsonl").read_text())
    assert verdict == {"id": "good", "seconds": {"speech": 0.7, "music": 2.3}}
    assert [(one.samplerate, one.frames, one.channels) for one in given] == [(16_000, 48_000, 1)]


def test_what_is_not_installed_is_named(corpus: ListCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "inaSpeechSegmenter", None)
    with pytest.raises(
        ValueError, match=r"not installed here.*pip install 'mlsuperb\[filter\]', or give --measure energy"
    ):
        filter_corpus(corpus, tmp_path / "out", measure="ina")
    module = types.ModuleType("inaSpeechSegmenter")
    module.Segmenter = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "inaSpeechSegmenter", module)
    monkeypatch.setattr(audio_filter.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="needs the program ffmpeg"):
        filter_corpus(corpus, tmp_path / "out", measure="ina")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_wave(tmp_path / "tree" / "radio" / "deu" / "good.wav")
    soundfile.write(
        tmp_path / "tree" / "radio" / "deu" / "silent.wav", np.concatenate([noise(7), noise(7) * 1e-3]), 16_000
    )
    words = ["data=audio_tree", f"data.root={tmp_path / 'tree'}", f"output_root={tmp_path}"]
    out = ["--out", str(tmp_path / "out")]
    assert main(["filter", *words, *out, "--measure", "energy"]) == 0
    printed = capsys.readouterr().out
    assert "lost: more than 5 s without energy" in printed
    assert "drop_list.txt with 1 utterances" in printed
    assert main(["filter", *words, "--measure", "energy"]) == 2
    assert "needs --out FOLDER" in capsys.readouterr().err
    assert main(["filter", *words, *out, "--part", "2/2"]) == 2
    assert "--part 2/2: give I/N" in capsys.readouterr().err
