from __future__ import annotations

import shutil

import pytest
from corpus_trees import write_pair

from mlsuperb.data.corpora.ml_superb import MLSuperb
from mlsuperb.data.corpora.ml_superb_release import (
    check_release,
    dataset_of,
    few_shot_ids,
    mono_settings,
    published_pairs,
)
from mlsuperb.data.manifest import records
from mlsuperb.data.prepared import prepare
from mlsuperb.types import Utterance


@pytest.fixture
def root(tmp_path):
    tree = tmp_path / "tree"
    write_pair(
        tree,
        "commonvoice",
        "org_jpn",
        {
            "10min_train": ["cv_jpn_000001\t1.0\tこれ は\u2028日本 [x]", "cv_jpn_000002 A  two  words "],
            "1h_train": ["cv_jpn_000001 1 one", "cv_jpn_000002 1 two", "cv_jpn_000003 1 three"],
            "10min_dev": ["cv_jpn_000004 1 dev"],
            "10min_test": ["cv_jpn_000005 1 test", "cv_jpn_000006 1", "", "cv_jpn_000007"],
        },
    )
    # a reserved language: two of its five named ids are here, and two others
    dan = [f"NST_dan_{number:06d} 1 text {number}" for number in (7, 8, 72, 9)]
    lines = {"10min_train": dan, "10min_dev": ["NST_dan_000100 1 d"], "10min_test": ["NST_dan_000101 1 t"]}
    write_pair(tree, "NST", "dan", lines, suffix=".flac")
    eng = {
        "10min_train": ["mls_eng_000001 1 a"],
        "10min_dev": ["mls_eng_000002 1 b"],
        "10min_test": ["mls_eng_000003 1 c"],
    }
    folder = write_pair(tree, "mls", "eng", eng)
    (folder / "utt2spk").write_text("mls_eng_000001 speaker7\n")
    write_pair(tree, "swc", "eng", {name: [lines[0].replace("mls", "swc")] for name, lines in eng.items()})
    (tree / ".DS_Store").write_text("")
    (tree / "mls" / ".DS_Store").mkdir()
    (tree / "licences").mkdir()
    return tree


def rows_of(root, **settings):
    prepared = prepare(MLSuperb(root=str(root), **{"size": "10min", **settings}), folder=None)
    return records(prepared.manifest, Utterance), prepared.skipped


def ids(rows, split):
    return [row.id for row in rows if row.split == split]


def test_the_tree_is_read(root):
    rows, skipped = rows_of(root)
    assert ids(rows, "train") == [
        "NST_dan_000007", "NST_dan_000072", "cv_jpn_000001", "cv_jpn_000002", "mls_eng_000001", "swc_eng_000001"
    ]  # fmt: skip
    assert ids(rows, "dev") == ["NST_dan_000100", "cv_jpn_000004", "mls_eng_000002", "swc_eng_000002"]
    assert ids(rows, "test") == ["NST_dan_000101", "cv_jpn_000005", "mls_eng_000003", "swc_eng_000003"]
    by_id = {row.id: row for row in rows}
    row = by_id["cv_jpn_000001"]
    assert (row.text, row.language, row.dataset) == ("これ は\u2028日本 [x]", "org_jpn", "commonvoice")
    assert by_id["cv_jpn_000002"].text == "two  words"
    assert by_id["NST_dan_000007"].audio == str(root / "NST" / "dan" / "wav" / "NST_dan_000007.flac")
    assert by_id["mls_eng_000001"].speaker == "speaker7"
    assert {reason: entry["count"] for reason, entry in skipped.items()} == {
        "file or folder that does not belong to the corpus": 3,
        "few-shot: not among the named training utterances": 2,
        "few-shot: named training utterance that the corpus does not have": 3,
        "transcript line with fewer than three fields": 3,
    }
    assert "NST_dan_000008" in skipped["few-shot: not among the named training utterances"]["examples"]


def test_few_shot_all_and_size(root):
    rows, skipped = rows_of(root, few_shot="all")
    assert ids(rows, "train")[:4] == ["NST_dan_000007", "NST_dan_000008", "NST_dan_000072", "NST_dan_000009"]
    assert not any(reason.startswith("few-shot") for reason in skipped)
    rows, skipped = rows_of(root, size="1h", languages=["org_jpn", "dan"])
    assert ids(rows, "train") == ["cv_jpn_000001", "cv_jpn_000002", "cv_jpn_000003"]
    assert ids(rows, "dev") == ["NST_dan_000100", "cv_jpn_000004"], "1h shares dev and test with 10min"
    assert skipped["missing transcript file"]["examples"] == ["NST/dan/transcript_1h_train.txt"]


def test_monolingual_runs_train_on_one_dataset_and_test_on_all(root):
    rows, _ = rows_of(root, mono="eng1")
    assert ids(rows, "train") == ["mls_eng_000001"]
    assert ids(rows, "dev") == ["mls_eng_000002"]
    assert ids(rows, "test") == ["mls_eng_000003", "swc_eng_000003"]
    assert rows == rows_of(root, languages=["eng"], train_datasets=["mls"])[0]
    with pytest.raises(ValueError, match=r"no dataset nchlt.*It has NST, commonvoice, mls, swc"):
        rows_of(root, mono="eng2")
    with pytest.raises(ValueError, match=r"leave data\.languages"):
        rows_of(root, mono="eng1", languages=["eng"])


def test_missing_audio_is_counted(root):
    (root / "mls" / "eng" / "wav" / "mls_eng_000003.wav").unlink()
    shutil.rmtree(root / "swc" / "eng" / "wav")
    rows, skipped = rows_of(root)
    assert skipped["missing audio file"]["splits"] == {"train": 1, "dev": 1, "test": 2}
    assert not [row for row in rows if row.dataset == "swc"]


def test_a_stored_manifest_notices_new_pairs_and_new_audio(root, tmp_path):
    def size():
        corpus = MLSuperb(root=str(root), size="10min")
        return len(prepare(corpus, folder=tmp_path / "m").manifest)

    before = size()
    write_pair(root, "ALFFA", "swa", {"10min_test": ["ALFFA_swa_000001 1 x"]})
    assert size() == before + 1
    with open(root / "ALFFA" / "swa" / "transcript_10min_test.txt", "a") as file:
        file.write("ALFFA_swa_000002 1 y\n")
    assert size() == before + 1, "counted as missing"
    wav = root / "ALFFA" / "swa" / "wav"
    shutil.copy(wav / "ALFFA_swa_000001.wav", wav / "ALFFA_swa_000002.wav")
    assert size() == before + 2


def test_a_wrong_root_is_explained(root, tmp_path):
    for wrong, message in [
        (tmp_path / "gone", r"no such folder.*data/README\.md"),
        (tmp_path, r"Did you mean data\.root=.*tree\?"),
        (root / "mls" / "eng" / "wav", r"holds no <dataset>/<language>"),
    ]:
        with pytest.raises(ValueError, match=message):
            rows_of(wrong)


def test_a_transcript_in_another_encoding_is_named(root):
    path = root / "mls" / "eng" / "transcript_10min_dev.txt"
    path.write_bytes("mls_eng_000002 1 é".encode("latin-1"))
    with pytest.raises(ValueError, match=r"transcript_10min_dev\.txt, line 1: this is not UTF-8"):
        rows_of(root)


def test_a_speaker_named_twice_is_refused(root):
    with (root / "mls" / "eng" / "utt2spk").open("a") as file:
        file.write("mls_eng_000001 speaker8\n")
    with pytest.raises(ValueError, match=r"utt2spk: mls_eng_000001 has more than one line"):
        rows_of(root)


def test_published_lists():
    """ESPnet's README and the paper: 141 and 143 languages, 269 and 271 pairs, 20 x 5 few-shot utterances."""
    eighth, seventh = published_pairs("8th"), published_pairs("7th")
    assert (len(eighth), len(seventh)) == (269, 271)
    assert seventh - eighth == {("azz", "mexico-el"), ("nor", "NST")}
    assert len({language for language, _ in eighth}) == 141
    assert len({dataset for _, dataset in eighth}) == 14
    few_shot = few_shot_ids()
    assert len(few_shot) == 20
    assert {len(named) for named in few_shot.values()} == {5}
    assert sum(language in few_shot for language, _ in eighth) == 30
    assert "googlei18n-asr_sun_000041" in few_shot["sun"]
    assert set(mono_settings().values()) <= eighth
    assert len(mono_settings()) == 13


def test_the_dataset_of_an_id():
    for utterance_id, dataset in [
        ("cv_jpn_000001", "commonvoice"),
        ("googlei18n-tts_eus_000001", "googlei18n_tts"),
        ("M-AILABS_deu_000001", "M-AILABS"),
        ("ms_speech_tam_000001", "ms_speech"),
        ("odd", None),
    ]:
        assert dataset_of(utterance_id) == dataset


def test_check_release(tmp_path):
    """A tree with every pair of the 8th archive (and of the 7th) is whole; whatever is taken away is named."""
    names = ("10min_train", "1h_train", "10min_dev", "10min_test")
    for language, dataset in published_pairs("8th"):
        folder = tmp_path / dataset / language
        folder.mkdir(parents=True)
        for name in names:
            (folder / f"transcript_{name}.txt").write_text("")
    assert check_release(tmp_path).whole
    assert check_release(tmp_path).release == "8th"
    for dataset, language in [("NST", "nor"), ("mexico-el", "azz")]:
        write_pair(tmp_path, dataset, language, {name: ["x_y_000001 1 t"] for name in names})
    assert check_release(tmp_path).whole
    assert check_release(tmp_path).release == "7th"
    shutil.rmtree(tmp_path / "mls" / "eng")
    (tmp_path / "swc" / "eng" / "transcript_1h_train.txt").unlink()
    (tmp_path / "NST" / "nor" / "wav" / "x_y_000001.wav").unlink()
    write_pair(tmp_path, "mine", "eng", {name: ["m_eng_000001 1 t"] for name in names})
    found = check_release(tmp_path)
    assert not found.whole
    assert (found.release, found.num_pairs) == ("7th", 271)
    assert (found.missing_pairs, found.additional_pairs) == (["mls/eng"], ["mine/eng"])
    assert found.missing_transcripts == ["swc/eng/transcript_1h_train.txt"]
    assert len(found.missing_audio) == found.to_dict()["num_missing_audio"] == 1


@pytest.fixture
def whole(tmp_path):
    """A tree with every pair of the 8th archive, one utterance for each transcript of some."""
    names = ("10min_train", "1h_train", "10min_dev", "10min_test")
    for language, dataset in published_pairs("8th"):
        folder = tmp_path / dataset / language
        folder.mkdir(parents=True)
        for name in names:
            (folder / f"transcript_{name}.txt").write_text("")
    for dataset in ("swc", "mls"):
        write_pair(tmp_path, dataset, "eng", {name: [f"{dataset}_eng_00000{i} 1 t"] for i, name in enumerate(names)})
    return tmp_path


def release(root, **settings):
    return MLSuperb(root=str(root), **{"size": "10min", **settings}).release()


def test_a_whole_tree_is_its_release(whole):
    assert release(whole) == {"name": "8th", "whole": True, "why": "all 269 pairs, transcripts and audio"}
    for dataset, language in [("NST", "nor"), ("mexico-el", "azz")]:
        names = ("10min_train", "1h_train", "10min_dev", "10min_test")
        write_pair(whole, dataset, language, {name: ["x_y_000001 1 t"] for name in names})
    assert (release(whole)["name"], release(whole)["whole"]) == ("7th", True)
    shutil.rmtree(whole / "NST" / "nor")
    assert (release(whole)["name"], release(whole)["whole"]) == ("7th", False)
    assert "missing pairs: NST/nor" in release(whole)["why"]


def test_restrictions_are_what_was_asked_for_and_are_named(whole):
    for settings, why in [
        ({"mono": "eng1"}, "all 9 pairs with data.mono=eng1, transcripts and audio"),
        ({"languages": ["jpn"]}, "all 2 pairs with data.languages=['jpn'], transcripts and audio"),
        ({"pairs": [["eng", "mls"]]}, "all 1 pairs with data.pairs=[['eng', 'mls']], transcripts and audio"),
        ({"few_shot": "all", "languages": ["eng"]}, "all 9 pairs with data.languages=['eng'], transcripts and audio"),
    ]:
        assert release(whole, **settings) == {"name": "8th", "whole": True, "why": why}
    (whole / "swc" / "eng" / "wav" / "swc_eng_000003.wav").unlink()
    assert release(whole, pairs=[["eng", "mls"]])["whole"]
    found = release(whole, mono="eng1")
    assert not found["whole"]
    assert found["why"] == "of 9 pairs with data.mono=eng1: missing audio: swc_eng_000003"


def test_other_data_than_published_are_no_whole_release(whole):
    for settings, change in [
        ({"max_train_hours": 0.1}, "data.max_train_hours=0.1"),
        ({"max_duration_s": 30.0}, "data.max_duration_s=30.0"),
        ({"few_shot": "all"}, "data.few_shot=all"),
    ]:
        found = release(whole, **settings)
        assert (found["whole"], found["why"]) == (False, f"of 269 pairs: other data than published: {change}")


def test_other_data_in_the_layout_of_the_archives_are_no_release(tmp_path):
    write_pair(tmp_path, "festvox", "rus", {"10min_train": ["a - б"]})
    assert release(tmp_path) is None


def test_what_a_release_lacks_is_named(whole):
    (whole / "mls" / "eng" / "transcript_1h_train.txt").unlink()
    assert release(whole)["whole"], "which the 10min set does not read"
    assert "missing transcripts: mls/eng/transcript_1h_train.txt" in release(whole, size="1h")["why"]
    write_pair(whole, "mine", "eng", {"10min_train": ["m_eng_000001 1 t"]})
    found = release(whole)
    assert not found["whole"]
    assert "pairs of no release: mine/eng" in found["why"]
    assert "missing transcripts: mine/eng/transcript_10min_dev.txt, mine/eng/transcript_10min_test.txt" in found["why"]


def test_a_part_of_a_tree_may_be_of_either_release(whole):
    shutil.rmtree(whole / "fleurs")
    found = release(whole, mono="rus", languages=None)
    assert not found["whole"]
    assert "102 of all 269 pairs are absent, so that it may be a part of the 7th archive" in found["why"]
    assert "missing pairs: fleurs/rus" in found["why"]
