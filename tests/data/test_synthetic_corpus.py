"""The built-in corpus as files and as a reader."""

from __future__ import annotations

import wave
from pathlib import Path

import pytest

pytest.importorskip("espeakng_loader")
pytest.importorskip("babel")

from mlsuperb.data.corpora import synthetic
from mlsuperb.data.corpora.ml_superb_release import mono_settings
from mlsuperb.data.corpora.synthetic import Synthetic
from mlsuperb.data.prepared import prepare
from mlsuperb.data.synthesis import espeak
from mlsuperb.data.synthesis import tree as tree_module
from mlsuperb.data.synthesis.tree import TreeSettings, make_tree

SMALL = {"minutes": 0.5, "test_minutes": 0.3, "seed": 0}


def make(root: Path, *, languages=("fin", "swa"), datasets=("phone", "studio"), **changes) -> Path:
    pairs = [(language, dataset) for language in languages for dataset in datasets]
    return make_tree(root, TreeSettings(**(SMALL | changes)), pairs=pairs)


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


def test_corpora_of_the_same_settings_share_their_pairs(small, tmp_path, monkeypatch):
    made = []
    whole = tree_module._PairWriter.write
    monkeypatch.setattr(
        tree_module._PairWriter, "write", lambda writer: (made.append(writer.folder.parts[-2:]), whole(writer))
    )
    make(tmp_path, languages=("swa",), datasets=("studio",))
    tree = make(tmp_path, datasets=("studio",))
    assert make(tmp_path) == make(tmp_path) == tree
    assert made == [("studio", "swa"), ("studio", "fin"), ("phone", "fin"), ("phone", "swa")]
    assert contents(tree) == contents(small)
    assert sorted(path.name for path in tree.parent.iterdir()) == [".lock", "README.md", "corpus", "settings.json"]


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


def test_the_1h_list_begins_with_the_10min_list(tmp_path, monkeypatch):
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
    monkeypatch.setattr(tree_module._PairWriter, "write", lambda writer: (written.append("again"), whole(writer)))
    tree = make(tmp_path)
    assert written[2:] == ["again", "again"]
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
    assert Synthetic()._wanted() == sorted((language, "studio") for language in synthetic.DEFAULT_LANGUAGES)
    assert len(set(synthetic.DEFAULT_LANGUAGES)) == 6
    assert Synthetic.problems(languages=list(synthetic.DEFAULT_LANGUAGES), datasets=["studio"]) == []


TINY = {"minutes": 0.4, "test_minutes": 0.1}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One tree for the tests below."""
    return str(tmp_path_factory.mktemp("shared"))


def cells(frame) -> dict[str, set[tuple[str, str]]]:
    """(language, dataset) of every split."""
    return {split: set(zip(rows["language"], rows["dataset"], strict=True)) for split, rows in frame.groupby("split")}


def test_monolingual_runs_train_on_one_condition_and_test_on_all(shared):
    every = {"studio", "phone", "room"}
    for mono, language, dataset in [("eng1", "eng", "studio"), ("eng3", "eng", "room"), ("jpn", "jpn", "studio")]:
        found = cells(prepare(Synthetic(root=shared, mono=mono, **TINY), folder=None).manifest)
        assert found["train"] == found["dev"] == {(language, dataset)}
        assert found["test"] == {(language, condition) for condition in every}
    pairs = [synthetic.mono_pair(name) for name in mono_settings()]
    assert len(set(pairs)) == 13
    assert {language for language, _ in pairs} == {language for language, _ in mono_settings().values()}
    assert [synthetic.mono_pair(name)[1] for name in ("eng1", "eng2", "eng3", "fra2", "swe")] == [
        "studio", "phone", "room", "phone", "studio"
    ]  # fmt: skip


def test_a_language_that_cannot_be_spoken_has_a_named_stand_in(shared):
    for asked in ({"mono": "xty"}, {"languages": ["xty"]}, {"pairs": [["xty", "studio"]]}):
        corpus = Synthetic(root=shared, **asked, **TINY)
        (code, (other, why)) = next(iter(corpus.stand_ins().items()))
        assert (code, other, "Mixtec" in why, len(corpus.stand_ins())) == ("xty", "que", True, 1)
        prepared = prepare(corpus, folder=None)
        assert set(prepared.manifest["language"]) == {"que"}
        assert not Synthetic.problems(**asked)
    assert Synthetic(mono="swe").stand_ins() == {}
    assert "stands in for 'xty'" in Synthetic.problems(languages=["xty", "que"])[0]


def test_reserved_languages_keep_five_training_utterances(shared):
    def train_ids(**settings):
        prepared = prepare(Synthetic(root=shared, languages=["dan", "swa"], **settings), folder=None)
        train = prepared.manifest.query("split == 'train'")
        return {code: list(rows["id"]) for code, rows in train.groupby("language")}, prepared.skipped

    sizes = {"minutes": 0.8, "test_minutes": 0.1}
    ids, skipped = train_ids(datasets=["phone", "studio"], **sizes)
    assert ids["dan"] == [
        "phone_dan_000000", "phone_dan_000001", "phone_dan_000002", "studio_dan_000000", "studio_dan_000001"
    ]  # fmt: skip
    everything, _ = train_ids(datasets=["phone", "studio"], few_shot="all", **sizes)
    assert len(everything["dan"]) > 10
    assert skipped["few-shot: not among the named training utterances"]["count"] == len(everything["dan"]) - 5
    assert everything["swa"] == ids["swa"]
    alone, _ = train_ids(train_datasets=["studio"], **sizes)
    assert alone["dan"] == [f"studio_dan_{number:06d}" for number in range(5)]


def test_both_sizes_can_be_small_and_a_1h_set_is_longer_by_default(shared):
    small, large = (
        prepare(Synthetic(root=shared, languages=["swa"], size=size, **TINY), folder=None).manifest
        for size in ("10min", "1h")
    )
    assert list(small["id"]) == list(large["id"])
    assert Synthetic(size="1h")._tree_settings().minutes == 60
    assert Synthetic()._tree_settings().minutes == 10


def test_training_on_one_dataset_tests_on_all(shared):
    corpus = Synthetic(root=shared, languages=["swa"], train_datasets=["phone"], **TINY)
    found = cells(prepare(corpus, folder=None).manifest)
    assert found["train"] == {("swa", "phone")}
    assert len(found["test"]) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"languages": ["xho"]}, r"no language 'xho'.*speaks these \d\d"),
        ({"languages": ["de"]}, "Did you mean 'deu'"),
        ({"datasets": ["fone"]}, "no dataset 'fone'. Did you mean 'phone'"),
        ({"pairs": [["swa", "fone"]]}, "no dataset 'fone'"),
        ({"pairs": [["xho", "phone"]]}, "data.pairs: the built-in corpus has no language 'xho'"),
        ({"mono": "eng1", "languages": ["eng"]}, "leave data.languages"),
        ({"minutes": 30.0}, "Add data.size=1h"),
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
    monkeypatch.setattr(espeak, "find_spec", lambda name: None)
    assert any('pip install "mlsuperb[synthetic]"' in problem for problem in Synthetic.problems())
