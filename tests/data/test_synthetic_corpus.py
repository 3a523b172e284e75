"""The built-in corpus as files and as a reader."""

from __future__ import annotations

import wave
from pathlib import Path

import pytest

pytest.importorskip("espeakng_loader")
pytest.importorskip("babel")

from mlsuperb.data.corpora import synthetic
from mlsuperb.data.corpora.synthetic import Synthetic
from mlsuperb.data.manifest import prepare
from mlsuperb.data.synthesis import tree as tree_module
from mlsuperb.data.synthesis.tree import TreeSettings, make_tree

SMALL = {"languages": ("fin", "swa"), "datasets": ("phone", "studio"), "minutes": 0.5, "test_minutes": 0.3, "seed": 0}


def make(root: Path, **changes) -> Path:
    return make_tree(root, TreeSettings(**(SMALL | changes)))


def contents(tree: Path, pattern: str = "*/*") -> dict[str, bytes]:
    files = {
        path.relative_to(tree).as_posix(): path.read_bytes()
        for pair in tree.glob(pattern)
        for path in pair.rglob("*")
        if path.is_file()
    }
    assert len(files) > 10
    return files


def lines(pair: Path, name: str) -> list[list[str]]:
    return [line.split("\t") for line in (pair / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return make(tmp_path_factory.mktemp("synthetic"))


def test_same_settings_same_bytes_and_another_seed_others(small, tmp_path):
    same = contents(make(tmp_path / "a", languages=("swa", "fin"), datasets=("studio", "phone")))
    assert same == contents(small)
    other = contents(make(tmp_path / "b", seed=1))
    both = [name for name in same if name in other and name.endswith(".wav")]
    assert len(both) > 10
    assert all(same[name] != other[name] for name in both)


def test_a_pair_does_not_depend_on_the_other_pairs(small, tmp_path):
    alone = make(tmp_path, languages=("swa",), datasets=("studio",))
    assert contents(alone) == contents(small, "studio/swa")


def test_more_minutes_only_add_utterances(small, tmp_path):
    longer = make(tmp_path, languages=("fin",), datasets=("phone",), minutes=1.0, test_minutes=0.5)
    short_files, long_files = contents(small, "phone/fin"), contents(longer, "phone/fin")
    wavs = {name: audio for name, audio in short_files.items() if name.endswith(".wav")}
    assert wavs.items() <= long_files.items()
    for split in ("train", "dev", "test"):
        name = f"phone/fin/transcript_10min_{split}.txt"
        assert long_files[name].startswith(short_files[name])


def test_files_are_those_of_ml_superb(small):
    pairs = sorted(small.glob("*/*"))
    assert [pair.relative_to(small).as_posix() for pair in pairs] == [
        "phone/fin",
        "phone/swa",
        "studio/fin",
        "studio/swa",
    ]
    num_utterances = 0
    for pair in pairs:
        speakers = dict(lines(pair, "utt2spk"))
        for split in ("train", "dev", "test"):
            for utterance_id, seconds, text in lines(pair, f"transcript_10min_{split}.txt"):
                dataset, language, number = utterance_id.split("_")
                assert (dataset, language, len(number)) == (pair.parent.name, pair.name, 6)
                assert utterance_id in speakers
                assert text
                with wave.open(str(pair / "wav" / f"{utterance_id}.wav")) as file:
                    assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (16000, 2, 1)
                    assert file.getnframes() / 16000 == pytest.approx(float(seconds), abs=0.006)
                num_utterances += 1
        assert len(list((pair / "wav").iterdir())) == len(speakers)
    assert num_utterances > 40
    assert "synthetic" in (small.parent / "README.md").read_text().lower()


def test_speakers_and_sentences_of_the_splits_are_disjoint(tmp_path):
    tree = make(tmp_path, languages=("spa",), datasets=("phone", "room", "studio"), minutes=1.5, test_minutes=1.0)
    speakers: dict[str, set[str]] = {}
    sentences: dict[str, set[str]] = {}
    for pair in tree.glob("*/*"):
        speaker_of = dict(lines(pair, "utt2spk"))
        for split in ("train", "dev", "test"):
            for utterance_id, _, text in lines(pair, f"transcript_10min_{split}.txt"):
                speakers.setdefault(split, set()).add(speaker_of[utterance_id])
                sentences.setdefault(split, set()).add(text)
    for left, right in (("train", "dev"), ("train", "test"), ("dev", "test")):
        assert not speakers[left] & speakers[right]
        assert not sentences[left] & sentences[right]
    assert len(speakers["train"]) > 20
    assert len(sentences["test"]) > 40


def test_above_ten_minutes_there_is_a_1h_list(tmp_path, monkeypatch):
    monkeypatch.setattr(tree_module, "SMALL_MINUTES", 0.4)
    pair = make(tmp_path, languages=("fin",), datasets=("studio",), minutes=0.8) / "studio" / "fin"
    small, large = lines(pair, "transcript_10min_train.txt"), lines(pair, "transcript_1h_train.txt")
    assert large[: len(small)] == small
    assert len(large) > len(small)
    assert sum(float(seconds) for _, seconds, _ in small) <= 24.1
    assert not (pair / "transcript_1h_test.txt").exists()


def test_an_interrupted_tree_is_finished(small, tmp_path, monkeypatch):
    written = []
    whole = tree_module._PairWriter.write

    def stop_at_third(writer):
        if len(written) == 2:
            (writer.folder / "wav").mkdir(parents=True)
            (writer.folder / "wav" / "torn.txt").write_text("")
            raise KeyboardInterrupt
        written.append(writer.folder.name)
        whole(writer)

    monkeypatch.setattr(tree_module._PairWriter, "write", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path)
    assert not list(tmp_path.glob("*/settings.json"))
    monkeypatch.setattr(tree_module._PairWriter, "write", lambda writer: (written.append("again"), whole(writer)))
    tree = make(tmp_path)
    assert written[2:] == ["again", "again"]
    (tree / "phone" / "swa" / "wav" / "torn.txt").unlink()
    assert contents(tree) == contents(small)
    make(tmp_path)
    assert len(written) == 4


def test_reader_gives_the_tree_and_skips_nothing(tmp_path):
    corpus = Synthetic(root=str(tmp_path), languages=["fin", "cmn"], minutes=0.5, test_minutes=0.3)
    prepared = prepare(corpus, folder=tmp_path / "manifest")
    frame = prepared.manifest
    assert prepared.skipped == {}
    assert set(frame["language"]) == {"fin", "cmn"}
    assert set(frame["dataset"]) == {"studio"}
    minutes = frame.groupby(["language", "split"])["duration_s"].sum() / 60
    assert len(minutes) == 6
    assert minutes.xs("train", level="split").between(0.35, 0.5).all()
    assert frame["speaker"].str.startswith("espeak-").all()
    assert frame.loc[frame["language"] == "cmn", "text"].str.contains(" ").sum() == 0
    assert Synthetic.synthetic
    assert prepare(corpus, folder=tmp_path / "manifest").manifest.equals(frame)


def test_default_settings_name_six_available_languages():
    corpus = Synthetic()
    assert len(set(corpus.languages)) == 6
    assert set(corpus.languages) <= set(synthetic.available_languages())
    assert Synthetic.problems(languages=corpus.languages, datasets=corpus.datasets) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"languages": ["xho"]}, r"no language 'xho'.*speaks these \d\d"),
        ({"languages": ["de"]}, "Did you mean 'deu'"),
        ({"datasets": ["fone"]}, "no dataset 'fone'. Did you mean 'phone'"),
    ],
)
def test_mistakes_are_explained(settings, message, tmp_path):
    import re

    problems = Synthetic.problems(**settings)
    assert len(problems) == 1
    assert re.search(message, problems[0])
    with pytest.raises(ValueError, match=message):
        prepare(Synthetic(root=str(tmp_path), **settings), folder=None)
    assert not list(tmp_path.iterdir())


def test_absent_packages_are_a_problem(monkeypatch):
    monkeypatch.setattr(synthetic, "find_spec", lambda name: None)
    assert any('pip install "mlsuperb[synthetic]"' in problem for problem in Synthetic.problems())
