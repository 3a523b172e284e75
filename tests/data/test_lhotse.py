from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from own_forms import ROWS, cut_of, wave, write_cuts, write_lines, write_supervisions

from mlsuperb.data.corpora.lhotse import CHANGED, NO_RECORDING, ONE_CHANNEL, OTHER_CUT, Lhotse
from mlsuperb.data.manifest import records
from mlsuperb.data.prepared import prepare
from mlsuperb.types import Utterance


def rows_of(corpus: Lhotse) -> list[Utterance]:
    return records(prepare(corpus, folder=None).manifest, Utterance)


@pytest.fixture
def cut(tmp_path: Path) -> dict[str, Any]:
    return cut_of(wave(tmp_path, "a.wav"), ("a", "guten Tag", "deu", "s"))


def corpus_of(tmp_path: Path, *objects: dict[str, Any], **settings: Any) -> Lhotse:
    return Lhotse(train=str(write_lines(tmp_path / "cuts.jsonl", objects)), **settings)


def test_lhotse_itself_writes_what_is_read(tmp_path: Path) -> None:
    """Its cuts, and its recordings and supervisions; by its own classes."""
    lhotse = pytest.importorskip("lhotse")
    audio = wave(tmp_path, "long.wav")
    recording = lhotse.Recording.from_file(audio, recording_id="long")
    said = [
        lhotse.SupervisionSegment(
            id=f"u{number}",
            recording_id="long",
            start=start_s,
            duration=0.2,
            text=text,
            language="German",
            speaker="s1",
        )
        for number, (start_s, text) in enumerate([(0.0, "eins"), (0.25, "zwei")])
    ]
    recordings, supervisions = (
        lhotse.RecordingSet.from_recordings([recording]),
        lhotse.SupervisionSet.from_segments(said),
    )
    for folder in ("m", "c"):
        (tmp_path / folder).mkdir()
    recordings.to_file(tmp_path / "m" / "x_recordings_train.jsonl.gz")
    supervisions.to_file(tmp_path / "m" / "x_supervisions_train.jsonl.gz")
    cuts = lhotse.CutSet.from_manifests(recordings=recordings, supervisions=supervisions).trim_to_supervisions()
    cuts.to_file(tmp_path / "c" / "x_cuts_train.jsonl.gz")
    for folder in ("m", "c"):
        rows = rows_of(Lhotse(root=str(tmp_path / folder)))
        assert [(row.audio, row.start_s, row.duration_s, row.text, row.language, row.speaker) for row in rows] == [
            (str(audio), 0.0, 0.2, "eins", "deu", "s1"),
            (str(audio), 0.25, 0.2, "zwei", "deu", "s1"),
        ]
    assert [row.id for row in rows_of(Lhotse(root=str(tmp_path / "m")))] == ["u0", "u1"]


def test_segments_and_several_supervisions(tmp_path: Path, cut: dict[str, Any]) -> None:
    first, second = (dict(cut["supervisions"][0], text=text, start=start) for text, start in (("b", 0.1), ("a", 0.0)))
    part = {
        **cut,
        "id": "p",
        "start": 0.1,
        "duration": 0.3,
        "supervisions": [first, second],
        "custom": {"dataset": "radio"},
    }
    silent = {**cut, "id": "q", "supervisions": []}
    rows = rows_of(corpus_of(tmp_path, part, silent, language="swa", text="optional"))
    assert [(row.id, row.start_s, row.duration_s, row.text, row.language, row.dataset) for row in rows] == [
        ("p", 0.1, 0.3, "a b", "deu", "radio"),
        ("q", 0.0, 0.5, "", "swa", "lhotse"),
    ]


def test_cuts_that_are_no_part_of_one_file_are_counted(tmp_path: Path, cut: dict[str, Any]) -> None:
    stereo = {**cut["recording"], "sources": [{**cut["recording"]["sources"][0], "channels": [0, 1]}]}
    fast = {**cut["recording"], "transforms": [{"name": "Speed", "kwargs": {"factor": 1.1}}]}
    others = [
        {"id": "mixed", "tracks": [], "type": "MixedCut"},
        {**cut, "id": "left", "recording": stereo},
        {**cut, "id": "both", "recording": stereo, "channel": [0, 1]},
        {**cut, "id": "fast", "recording": fast},
        {key: value for key, value in {**cut, "id": "features"}.items() if key != "recording"},
    ]
    prepared = prepare(corpus_of(tmp_path, cut, *others), folder=None)
    assert prepared.manifest["id"].tolist() == ["a", "both"]
    assert {reason: one["examples"] for reason, one in prepared.skipped.items()} == {
        OTHER_CUT: ["mixed"], ONE_CHANNEL: ["left"], CHANGED: ["fast"], NO_RECORDING: ["features"],
    }  # fmt: skip


def test_relative_paths_begin_where_the_user_says(
    tmp_path: Path, cut: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut["recording"]["sources"][0]["source"] = "a.wav"
    corpus = corpus_of(tmp_path, cut)
    monkeypatch.chdir(tmp_path)
    assert rows_of(corpus)[0].audio == str(tmp_path / "a.wav")
    monkeypatch.chdir("/")
    assert rows_of(replace(corpus, audio_root=str(tmp_path)))[0].audio == str(tmp_path / "a.wav")


def test_all_manifests_of_a_split_are_read(tmp_path: Path) -> None:
    root = write_cuts(tmp_path / "m")
    (root / "mine_cuts_train.jsonl.gz").rename(root / "mine_cuts_train-clean.jsonl.gz")
    write_lines(root / "mine_cuts_train-other.jsonl", [cut_of(wave(tmp_path, "z.wav"), ("z", "zu", "de", "s9"))])
    write_lines(root / "musan_cuts.jsonl.gz", [{"id": "noise"}])
    write_lines(root / "mine_supervisions_train.jsonl", [{"id": "twice"}])
    ids = [(row.split, row.id) for row in rows_of(Lhotse(root=str(root)))]
    assert ids == [
        *(("train", name) for name in ("a1", "a2", "a3", "z")),
        ("dev", "b1"),
        ("dev", "b2"),
        ("test", "c1"),
        ("test", "c2"),
    ]


def test_supervisions_of_a_split_without_cuts_are_read(tmp_path: Path) -> None:
    root = write_cuts(tmp_path / "m", {"train": ROWS["train"]})
    write_supervisions(root, {"train": ROWS["train"], "test": ROWS["test"]})
    ids = [(row.split, row.id) for row in rows_of(Lhotse(root=str(root)))]
    assert ids == [*(("train", row[0]) for row in ROWS["train"]), *(("test", row[0]) for row in ROWS["test"])]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": None}, r"cuts\.jsonl, line 1: this is neither a MonoCut nor a supervision of lhotse"),
        ({"duration": "nan"}, r"line 1: .*its times are not finite"),
        ({"supervisions": [{"text": 7}]}, r"line 1: this is neither"),
        (
            {"supervisions": [{"text": "x"}]},
            r"line 1: 'a' names no language\. Give that of all such rows: data\.language=CODE",
        ),
        ({"id": 7}, r"cuts\.jsonl: this is no manifest of lhotse that can be read \(line 1 is no object with an id\)"),
    ],
)
def test_broken_cuts_are_named(tmp_path: Path, cut: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prepare(corpus_of(tmp_path, {**cut, **change}), folder=None)


def test_audio_that_is_not_in_a_file(tmp_path: Path, cut: dict[str, Any]) -> None:
    cut["recording"]["sources"][0]["type"] = "command"
    with pytest.raises(
        ValueError, match=r"recording a is not one file but command; write its audio out.*save_audios.*data=shar"
    ):
        prepare(corpus_of(tmp_path, cut), folder=None)


def test_what_is_missing(tmp_path: Path) -> None:
    root = write_supervisions(tmp_path / "m")
    (root / "recordings_dev.jsonl").unlink(missing_ok=True)
    (root / "recordings_validation.jsonl").unlink()
    with pytest.raises(
        ValueError, match=r"its recordings are looked for in recordings_validation\.jsonl, which is not there"
    ):
        prepare(Lhotse(root=str(root)), folder=None)
    (root / "recordings_validation.jsonl").write_bytes(b"\x1f\x8b")
    with pytest.raises(
        ValueError, match=r"recordings_validation\.jsonl: this is no manifest of lhotse that can be read"
    ):
        prepare(Lhotse(root=str(root)), folder=None)
    (root / "cuts.yaml").write_text("x")
    (tmp_path / "empty").mkdir()
    cases = {
        r"data\.root, a folder of manifests, or data\.train": {},
        r"not both": {"root": str(root), "train": "x.jsonl"},
        r"empty holds no cuts and no supervisions whose names tell a split": {"root": str(tmp_path / "empty")},
        r"data\.train=gone\.jsonl: there is no such file": {"train": "gone.jsonl"},
        r"cuts\.yaml: the file must end in \.jsonl or \.jsonl\.gz \(lhotse copy": {"train": str(root / "cuts.yaml")},
    }
    for message, settings in cases.items():
        with pytest.raises(ValueError, match=message):
            prepare(Lhotse(**settings), folder=None)
