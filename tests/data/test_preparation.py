from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from corpus_trees import ListCorpus, utterance, write_wave

from mlsuperb.commands.data import main
from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.data.audio import load_audio
from mlsuperb.data.corpora.ml_superb import MLSuperb
from mlsuperb.data.corpora.several import Several
from mlsuperb.data.dataset import SpeechDataset
from mlsuperb.data.manifest import records, to_frame, validate
from mlsuperb.data.preparation import CUT, IN_DROP_LIST, JOINED, TOO_LONG, TOO_SHORT, VALIDATION, Preparation
from mlsuperb.data.prepared import prepare
from mlsuperb.data.sampling import Draw
from mlsuperb.data.skips import SkipReport
from mlsuperb.types import Utterance


def manifest(*rows: tuple[Any, ...]) -> pd.DataFrame:
    """Rows of (id, seconds) in one cell, with further columns as a last item."""
    changes = [row[2] if len(row) > 2 else {} for row in rows]
    named = zip(rows, changes, strict=True)
    return to_frame(utterance(f"/{row[0]}.wav", **{"duration_s": float(row[1]), **other}) for row, other in named)


def applied(frame: pd.DataFrame, **settings: Any) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
    """The seconds of each utterance after a preparation without a validation set, and its report."""
    report = SkipReport()
    made = Preparation(**{"num_valid": 0, **settings}).apply(frame, report)
    validate(made)
    return dict(zip(made["id"], made["duration_s"].round(6), strict=True)), report.to_dict()


def test_short_clips_are_joined_in_order_until_they_are_long_enough() -> None:
    frame = manifest(("a", 1), ("long", 5), ("b", 1), ("c", 0.5), ("d", 1.9), ("e", 0.2))
    kept, report = applied(frame)
    assert kept == {"a+2": 2.5, "long": 5.0, "d+1": 2.1}
    assert report == {
        JOINED: {
            "count": 5, "splits": {"train": 5}, "examples": ["a", "b", "c", "d", "e"], "kept": True, "seconds": {"d": 4.6}
        }
    }  # fmt: skip


def test_what_is_left_over_is_added_where_there_is_room() -> None:
    assert applied(manifest(("x", 29.5), ("y", 10), ("z", 10), ("a", 1)))[0] == {"x": 29.5, "y+1": 11.0, "z": 10.0}
    assert applied(manifest(("x", 10), ("a", 1), ("b", 1.5), ("c", 1)))[0] == {"x": 10.0, "a+2": 3.5}
    one_by_one = manifest(("x", 29), ("y", 10), ("a", 0.9), ("b", 0.2))
    assert applied(one_by_one)[0] == {"x+1": 29.9, "y+1": 10.2}
    assert applied(manifest(("y", 10), ("x", 29), ("a", 0.9), ("b", 0.2)))[0] == {"y+2": 11.1, "x": 29.0}
    assert applied(manifest(("a", 1), ("x", 10)))[0] == {"x+1": 11.0}
    assert applied(manifest(("a", 1.5), ("b", 1.5), ("c", 1.5)))[0] == {"a+2": 4.5}
    kept, report = applied(manifest(("x", 29.5), ("y", 40), ("a", 1)))
    assert kept == {"x": 29.5}
    assert {reason: (entry["examples"], entry["seconds"]) for reason, entry in report.items()} == {
        TOO_SHORT: (["a"], {"d": 1.0}),
        TOO_LONG: (["y"], {"d": 40.0}),
    }


def test_clips_are_joined_with_their_own_kind_only() -> None:
    kinds = [{"language": "deu"}, {"dataset": "e"}, {"split": "dev"}, {"split": "test"}, {}]
    kept, report = applied(manifest(*((f"{number}", 1.5, kind) for number, kind in enumerate([*kinds, {}]))))
    assert kept == {"3": 1.5, "4+1": 3.0}, "test stays as it is"
    assert report[TOO_SHORT]["examples"] == ["0", "1", "2"]
    speakers = manifest(*((f"{number}", 1.5, {"speaker": name}) for number, name in enumerate("abab")))
    assert applied(speakers)[0] == {"0+1": 3.0, "2+1": 3.0}
    assert applied(speakers, join_speakers=False)[0] == {"0+1": 3.0, "1+1": 3.0}
    assert applied(speakers, join_short=False)[0] == {}


def test_limits_are_those_of_the_authors() -> None:
    kept, _ = applied(manifest(("two", 2), ("more", 2.01), ("thirty", 30), ("beyond", 30.01)), join_short=False)
    assert kept == {"more": 2.01, "thirty": 30.0}


def test_joined_clips_as_a_second_implementation_makes_them() -> None:
    """Cell by cell, with lists."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(400):
        cell = {"language": str(rng.choice(["eng", "deu"])), "dataset": str(rng.choice(["d", "e", "f"]))}
        seconds = float(rng.choice([rng.uniform(0.1, 2), rng.uniform(2.1, 30), 35.0], p=[0.6, 0.3, 0.1]))
        rows.append((f"u{number}", seconds, cell))
    expected: dict[tuple[str, str], list[list[str]]] = {}
    cells: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for name, seconds, cell in rows:
        cells.setdefault((cell["dataset"], cell["language"]), []).append((name, seconds))
    lasts = {name: seconds for name, seconds, _ in rows}
    for key, members in cells.items():
        groups = [[name] for name, seconds in members if 2 < seconds <= 30]
        open_group: list[str] = []
        for name, seconds in members:
            if seconds <= 2:
                open_group.append(name)
            if sum(lasts[one] for one in open_group) > 2:
                groups.append(open_group)
                open_group = []
        singles = [group for group in groups if len(group) == 1]
        groups = [group for group in groups if len(group) > 1]
        for name in open_group:
            for candidates in (groups, singles):
                fitting = [group for group in candidates if sum(lasts[one] for one in [*group, name]) <= 30]
                if fitting:
                    fitting[0].append(name)
                    if candidates is singles:
                        groups.append(fitting[0])
                        singles.remove(fitting[0])
                    break
        place = [name for name, _ in members].index
        heads = sorted(groups + singles, key=lambda group: place(group[0]))
        expected[key] = [sorted(group, key=place) for group in heads]
    made = Preparation(num_valid=0).apply(manifest(*rows), SkipReport())
    found: dict[tuple[str, str], list[list[str]]] = {}
    for row in records(made, Utterance):
        names = [f"u{part.split('.wav')[0]}" for part in row.audio.split("/u")[1:]]
        found.setdefault((row.dataset, row.language), []).append(names)
        assert row.duration_s == pytest.approx(sum(lasts[name] for name in names))
    assert found == expected
    assert max(len(group) for groups in found.values() for group in groups) > 2


def test_no_second_is_lost_without_being_counted() -> None:
    rng = np.random.default_rng(1)
    lengths = rng.gamma(1.2, 8, 500)
    rows = [(f"{n}", s, {"speaker": f"{n % 7}", "dataset": f"{n % 3}"}) for n, s in enumerate(lengths)]
    frame = manifest(*rows)
    for settings in ({}, {"join_speakers": False}, {"long": "cut"}, {"join_short": False}):
        report = SkipReport()
        made = Preparation(num_valid=2, **settings).apply(frame, report)  # type: ignore[arg-type]
        validate(made)
        lost = [entry for entry in report.to_dict().values() if "kept" not in entry]
        for dataset, before in frame.groupby("dataset")["duration_s"].sum().items():
            after = made.loc[made["dataset"] == dataset, "duration_s"].sum()
            assert before == pytest.approx(after + sum(entry["seconds"].get(dataset, 0) for entry in lost), abs=0.01)
        assert made["duration_s"].between(2, 30, inclusive="right").all()


def test_long_utterances_are_cut_into_equal_pieces() -> None:
    frame = manifest(
        ("x", 61, {"start_s": 4.0, "text": "many words"}), ("y", 30, {"text": "few"}), ("z", 99, {"split": "test"})
    )
    report = SkipReport()
    made = Preparation(num_valid=0, long="cut").apply(frame, report)
    rows = [(row.id, round(row.start_s, 3), round(row.duration_s, 3), row.text) for row in records(made, Utterance)]
    assert rows == [
        ("x#0", 4.0, 20.333, ""), ("x#1", 24.333, 20.333, ""), ("x#2", 44.667, 20.333, ""), ("y", 0.0, 30.0, "few"),
        ("z", 0.0, 99.0, "a b"),
    ]  # fmt: skip
    assert report.to_dict()[CUT]["seconds"] == {"d": 61.0}


@pytest.fixture
def clips(tmp_path: Path) -> ListCorpus:
    """Six clips of 1 s, two of them parts of one file and one at another rate, of three speakers."""
    wave = write_wave(tmp_path / "long.wav", duration_s=4.0)
    rows = [
        utterance(write_wave(tmp_path / "a.flac"), speaker="s", text="ein"),
        utterance(wave, id="b", start_s=1.0, duration_s=1.0, speaker="s", text=""),
        utterance(wave, id="c", start_s=3.0, duration_s=1.0, speaker="s", text="wort"),
        utterance(write_wave(tmp_path / "d.wav", rate_hz=48_000), speaker="s"),
        utterance(write_wave(tmp_path / "e.wav"), speaker="t"),
        utterance(write_wave(tmp_path / "f.wav"), speaker="t"),
    ]
    return ListCorpus(given=rows, files=[], text="optional", preparation=Preparation(num_valid=0))


def test_joined_audio_is_its_pieces_one_after_the_other(clips: ListCorpus, tmp_path: Path) -> None:
    made = prepare(clips, folder=tmp_path / "m").manifest
    one, other = records(prepare(clips, folder=tmp_path / "m").manifest, Utterance)
    assert records(made, Utterance) == [one, other], "as read from the disk"
    assert (one.id, one.text, one.speaker, one.start_s, one.duration_s) == ("a+2", "ein wort", "s", 0.0, 3.0)
    assert (other.id, other.speaker, other.duration_s) == ("d+2", "", 3.0)
    whole = np.concatenate([load_audio(row.audio, start_s=row.start_s, duration_s=1.0) for row in clips.given])
    dataset = SpeechDataset(made)
    np.testing.assert_array_equal(np.concatenate([dataset[0].wave_T, dataset[1].wave_T]), whole)
    for start_s, duration_s in ((0.0, 1.0), (0.5, 1.0), (0.25, 2.5), (1.0, 1.0), (2.9, 0.1)):
        first, num = round(start_s * 16_000), round(duration_s * 16_000)
        part = dataset[Draw(0, start_s, duration_s)].wave_T
        np.testing.assert_array_equal(part, whole[first : first + num])
    assert len(dataset[Draw(1, 0.5, 1.0)].wave_T) == 16_000, "of two rates"


def test_labels_are_cut_with_joined_audio(clips: ListCorpus) -> None:
    made = prepare(clips, folder=None).manifest
    dataset = SpeechDataset(made, encode=lambda row: np.arange(round(row.duration_s * 50)), target_rate_hz=50)
    assert dataset[Draw(0, 0.5, 1.0)].target.tolist() == list(range(25, 75))


def test_audio_that_is_gone_is_named_by_its_piece(clips: ListCorpus, tmp_path: Path) -> None:
    dataset = SpeechDataset(prepare(clips, folder=None).manifest)
    (tmp_path / "e.wav").unlink()
    with pytest.raises(ValueError, match=r"e\.wav: there is no such audio file"):
        dataset[1]
    with pytest.raises(
        ValueError, match=r"asked for from 3\.00 s on, of pieces that together last 3\.00 s: .*a\.flac and others"
    ):
        load_audio(dataset.utterance(0).audio, start_s=3.0, duration_s=1.0)


def test_audio_at_the_wrong_rate_in_a_piece_is_refused_where_it_must_be(clips: ListCorpus) -> None:
    dataset = SpeechDataset(prepare(clips, folder=None).manifest, resample=False)
    with pytest.raises(ValueError, match=r"d\.wav has 48000 samples a second"):
        dataset[1]


def validation(frame: pd.DataFrame, **settings: Any) -> set[str]:
    made = Preparation(**settings).apply(frame, SkipReport())
    return set(made.loc[made["split"] == "dev", "id"])


def test_five_random_utterances_of_each_pair_are_for_validation() -> None:
    pairs = [("deu", "d"), ("deu", "e"), ("eng", "d")]
    rows = [
        (f"{language}{dataset}{number}", 5, {"language": language, "dataset": dataset})
        for language, dataset in pairs
        for number in range(40)
    ]
    frame = manifest(*rows)
    report = SkipReport()
    made = Preparation().apply(frame, report)
    dev = made[made["split"] == "dev"]
    assert dev.groupby(["language", "dataset"]).size().to_dict() == dict.fromkeys(pairs, 5)
    assert made["id"].tolist() == frame["id"].tolist(), "the order stays"
    assert report.to_dict()[VALIDATION] | {"examples": 0} == {
        "count": 15, "splits": {"train": 15}, "examples": 0, "kept": True, "seconds": {"d": 50.0, "e": 25.0}
    }  # fmt: skip
    chosen = validation(frame)
    assert chosen == set(dev["id"])
    assert chosen != validation(frame, seed=1)
    assert {one for one in chosen if one.startswith("engd")} == validation(frame[frame["language"] == "eng"]), (
        "whatever other pairs there are"
    )
    numbers = [{int(one[4:]) for one in chosen if one.startswith(pair)} for pair in ("deud", "deue", "engd")]
    assert numbers[0] != numbers[1] != numbers[2], "each pair is drawn for itself"


def test_validation_is_drawn_evenly() -> None:
    frame = manifest(*((f"{number}", 5) for number in range(10)))
    seen = Counter(one for seed in range(400) for one in validation(frame, seed=seed))
    assert len(seen) == 10
    assert all(abs(count - 200) < 60 for count in seen.values())  # six standard deviations


def test_validation_leaves_something_to_train_on_and_dev_as_it_is() -> None:
    assert len(validation(manifest(*((f"{number}", 5) for number in range(7))))) == 3
    assert validation(manifest(("a", 5))) == set()
    with_dev = manifest(*((f"{number}", 5) for number in range(40)), ("mine", 5, {"split": "dev"}))
    assert validation(with_dev) == {"mine"}
    assert len(validation(with_dev, valid="everywhere")) == 6
    assert validation(with_dev, valid="everywhere", num_valid=0) == {"mine"}
    twice = manifest(("a", 5), ("b", 5), ("a", 5, {"split": "dev"}))
    for seed in range(9):
        validate(Preparation(valid="everywhere", seed=seed).apply(twice, SkipReport()))


def test_a_list_of_ids_is_dropped_with_its_reasons(tmp_path: Path) -> None:
    listed = tmp_path / "drop.txt"
    listed.write_text("a\tmusic\nb\n\nc\tmusic\nelsewhere\tnoise\nt\tmusic\n")
    frame = manifest(*((name, 5) for name in "abcd"), ("t", 5, {"split": "test"}))
    kept, report = applied(frame, drop_list=str(listed))
    assert set(kept) == {"d", "t"}
    assert {reason: entry["examples"] for reason, entry in report.items()} == {
        f"{IN_DROP_LIST}: music": ["a", "c"],
        IN_DROP_LIST: ["b"],
    }
    listed.write_text(listed.read_text() + "a\tnoise\n")  # lists of two measures, one after the other
    assert applied(frame, drop_list=str(listed)) == (kept, report)
    listed.write_bytes(b"a\tmusic\n\xe4\n")
    with pytest.raises(ValueError, match=r"drop\.txt, line 2: this is not UTF-8"):
        applied(frame, drop_list=str(listed))
    listed.write_text("a\tmusic\nb\n\nc\tmusic\nelsewhere\tnoise\nt\tmusic\n")
    with pytest.raises(ValueError, match=r"has 5 ids, the first of them 'a', and none is of a train or dev utterance"):
        applied(manifest(("x", 5)), drop_list=str(listed))
    with pytest.raises(ValueError, match=r"drop_list=.*gone: there is no such file"):
        applied(frame, drop_list=str(tmp_path / "gone"))


def test_it_is_part_of_the_fingerprint(clips: ListCorpus, tmp_path: Path) -> None:
    listed = tmp_path / "drop.txt"
    listed.write_text("a\n")

    def ids(**settings: Any) -> list[str]:
        corpus = replace(clips, preparation=Preparation(num_valid=0, **settings))
        return prepare(corpus, folder=tmp_path / "m").manifest["id"].tolist()

    assert ids() == ["a+2", "d+2"]
    assert ids(min_s=3.5) == ["a+5"]
    assert ids(drop_list=str(listed)) == ["b+4"]
    listed.write_text("b\n")
    os.utime(listed, (1, 1))
    assert ids(drop_list=str(listed)) == ["a+4"], "a changed list"


def test_limits_of_the_corpus_give_way_and_may_not_be_set_beside_it(tmp_path: Path) -> None:
    rows = [utterance(tmp_path / "a.wav", id=name, duration_s=length) for name, length in (("x", 25.0), ("y", 0.05))]
    soundfile.write(tmp_path / "a.wav", np.zeros(26 * 8000), 8000)
    corpus = ListCorpus(given=rows, files=[], preparation=Preparation(num_valid=0))
    whole = Several(corpora={"a": replace(corpus, preparation=None)}, preparation=corpus.preparation)
    for one in (corpus, whole):
        assert prepare(one, folder=None).manifest["id"].tolist() == ["x+1"]
    message = r"data\.max_duration_s=15\.0 is not looked at where there is a data\.preparation.*Set max_s there"
    with pytest.raises(ValueError, match=message):
        prepare(replace(corpus, max_duration_s=15.0), folder=None)
    part = replace(corpus, preparation=None, max_duration_s=15.0)
    with pytest.raises(ValueError, match=f"^data.corpora.a: {message}"):
        prepare(replace(whole, corpora={"a": part}), folder=None)


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    corpus = ListCorpus(given=[utterance(write_wave(tmp_path / "a.wav"))], files=[], preparation=Preparation())
    with pytest.raises(
        ValueError, match=r"nothing can be used of any.*1 x not longer than preparation\.min_s, not joined"
    ):
        prepare(corpus, folder=None)


def test_settings_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    words = ["data=synthetic", "+data/preparation=mhubert_147"]
    config = compose([*words, "seed=7"])
    assert find_problems(config, groups=("data",)) == []
    assert config["data"]["preparation"]["seed"] == 7
    assert {key: value for key, value in config["data"]["preparation"].items() if key not in ("_target_", "seed")} == {
        key: value for key, value in vars(Preparation()).items() if key != "seed"
    }
    for override, message in (
        ("data.preparation.min_s=16", "two short utterances could be too long together"),
        ("data.preparation.long=keep", "data.preparation.long='keep' should be 'drop' or 'cut'"),
        ("data.preparation.drop_list=gone", "there is no such file"),
        ("+data.max_duration_s=9", "data.max_duration_s=9 is not looked at"),
    ):
        (problem,) = find_problems(compose([*words, override]), groups=("data",))
        assert message in problem


def test_hours_of_each_reason_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, length in enumerate((1.25, 1.5, 1.25, 8.0, 36.0, 36.0)):
        write_wave(tmp_path / "tree" / f"set{number % 2}" / "deu" / f"{number}.wav", duration_s=length)
    words = [
        "data=audio_tree",
        f"data.root={tmp_path / 'tree'}",
        "+data/preparation=mhubert_147",
        f"output_root={tmp_path}",
    ]
    assert main(["describe", *words]) == 0
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if line.startswith(("│ lost", "│ kept"))]
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in rows]
    assert cells[0] == ["lost: longer than preparation.max_s", "2", "0.01", "0.01", "0.02"]
    assert cells[1][:2] == ["kept: not longer than preparation.min_s, joined", "3"]
    assert "hours by reason (0.02 lost)" in printed


def test_a_prepared_copy_of_a_release_is_not_the_release() -> None:
    corpus = MLSuperb(root="x", size="1h", preparation=Preparation())
    assert any("data.preparation=" in change for change in corpus._changes())
