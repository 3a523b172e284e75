from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from corpus_trees import ListCorpus, utterance, write_pair, write_wave

from mlsuperb.config.build import instantiate
from mlsuperb.config.check import find_problems
from mlsuperb.config.compose import compose
from mlsuperb.config.options import check_overrides
from mlsuperb.data.corpora.audio_tree import AudioTree
from mlsuperb.data.corpora.ml_superb import MLSuperb
from mlsuperb.data.corpora.several import Several
from mlsuperb.data.corpora.synthetic import Synthetic
from mlsuperb.data.prepared import prepare
from mlsuperb.data.skips import SkipReport


def labelled(root: Path, dataset: str, language: str) -> Path:
    """A small ML-SUPERB tree with three training utterances, one of dev and one of test."""
    names = {"1h_train": ["a", "b", "c"], "10min_train": ["a"], "10min_dev": ["d"], "10min_test": ["t"]}
    lines = {name: [f"{dataset}_{language}_{one} 0 some words" for one in ids] for name, ids in names.items()}
    write_pair(root, dataset, language, lines)
    return root


@pytest.fixture
def pretraining(tmp_path: Path) -> Several:
    """The shape of the data of a small pre-training: synthetic speech, unlabelled speech, two labelled trees."""
    for name in ("kerstin/deu/wav/a.wav", "kerstin/deu/wav/b.ogg", "commonvoice/fas/wav/a.wav"):
        write_wave(tmp_path / "unlabelled" / name)
    phones = labelled(tmp_path / "phones", "festvox", "rus")
    speech = labelled(labelled(tmp_path / "speech", "kerstin", "deu"), "asp", "wol")
    made = Synthetic(root=str(tmp_path / "made"), languages=["spa"], minutes=0.2, test_minutes=0.1, size="1h")
    return Several(
        corpora={
            "synthetic": made,
            "unlabelled": AudioTree(root=str(tmp_path / "unlabelled")),
            "phones": MLSuperb(root=str(phones), size="1h"),
            "speech": MLSuperb(root=str(speech), size="1h"),
        },
        splits={"phones": ["train"], "speech": ["train"]},
    )


def test_a_pretraining_corpus_of_four_parts(pretraining: Several) -> None:
    prepared = prepare(pretraining, folder=None)
    sizes = prepared.manifest.groupby(["dataset", "language", "split"]).size().to_dict()
    studio = {key: sizes.pop(key) for key in list(sizes) if key[0] == "studio"}
    assert set(studio) == {("studio", "spa", split) for split in ("train", "dev", "test")}
    assert min(studio.values()) > 0
    assert sizes == {
        ("asp", "wol", "train"): 3,
        ("commonvoice", "fas", "train"): 1,
        ("festvox", "rus", "train"): 3,
        ("kerstin", "deu", "train"): 5,
    }
    texts = prepared.manifest.set_index("id")["text"]
    assert texts["kerstin_deu_a"] == "some words"
    assert texts["kerstin/deu/wav/a.wav"] == ""
    assert pretraining.text == "optional"
    assert pretraining.synthetic
    assert pretraining.release() is None
    assert pretraining.evaluation_splits() == ("test",)


def of_rows(tmp_path: Path, *ids: str, **settings: Any) -> ListCorpus:
    changes = settings.pop("changes", {})
    rows = [utterance(write_wave(tmp_path / f"{one}.wav"), **changes) for one in ids]
    return ListCorpus(given=rows, files=settings.pop("files", []), **settings)


def test_ids_are_prefixed_where_parts_share_them(tmp_path: Path) -> None:
    both = Several(corpora={"b": of_rows(tmp_path, "x", "y"), "a": of_rows(tmp_path, "y", "z")})
    manifest = prepare(both, folder=None).manifest
    assert manifest["id"].tolist() == ["a/y", "z", "x", "b/y"]
    elsewhere = of_rows(tmp_path, "y", "z", changes={"split": "test"})
    both = Several(corpora={"b": of_rows(tmp_path, "x", "y"), "a": elsewhere})
    assert prepare(both, folder=None).manifest["id"].tolist() == ["a/y", "z", "x", "b/y"], "whatever their splits"


def test_parts_keep_their_settings_and_their_skips_are_added_up(tmp_path: Path) -> None:
    silent = {"text": ""}
    parts = {
        "kept": of_rows(tmp_path, "k1", "k2", changes=silent, text="optional"),
        "dropped": of_rows(tmp_path, "d1", "d2", "said", changes=silent),
        "short": of_rows(tmp_path, "s1", "said2", changes=silent, max_duration_s=0.5, text="optional"),
    }
    parts["dropped"].given[2] = utterance(tmp_path / "said.wav")
    parts["short"].given[1] = utterance(tmp_path / "said2.wav", split="test")
    prepared = prepare(Several(corpora=parts), folder=None)
    assert sorted(prepared.manifest["id"]) == ["k1", "k2", "said", "said2"]
    assert prepared.skipped["empty text"] == {
        "count": 2, "splits": {"train": 2}, "examples": ["dropped: d1", "dropped: d2"], "parts": {"dropped": 2}
    }  # fmt: skip
    long = prepared.skipped["longer than max_duration_s"]
    assert (long["count"], long["parts"], long["seconds"]) == (1, {"short": 1}, {"d": 1.0})
    assert "2 x empty text [train 2; dropped 2]: dropped: d1, dropped: d2" in str(SkipReport(prepared.skipped))


def test_a_reason_of_two_parts_is_one_reason(tmp_path: Path) -> None:
    parts = {
        name: ListCorpus(given=[utterance(tmp_path / f"{name}0.wav"), *of_rows(tmp_path, name).given], files=[])
        for name in ("b", "a")
    }
    skipped = prepare(Several(corpora=parts), folder=None).skipped
    assert skipped["missing audio file"] == {
        "count": 2, "splits": {"train": 2}, "examples": ["a: a0", "b: b0"], "parts": {"a": 1, "b": 1}
    }  # fmt: skip


def test_the_whole_is_restricted_by_language(tmp_path: Path) -> None:
    parts = {
        "a": of_rows(tmp_path, "x", changes={"language": "deu"}),
        "b": of_rows(tmp_path, "y", changes={"language": "xxx"}, extra_languages=["xxx"]),
    }
    assert prepare(Several(corpora=parts, languages=["xxx"]), folder=None).manifest["id"].tolist() == ["y"]
    with pytest.raises(
        ValueError, match=r"data\.languages=eng\. The corpus has the datasets d and the languages deu, xxx"
    ):
        prepare(Several(corpora=parts, languages=["eng"]), folder=None)


def test_texts_of_the_vocabulary_are_those_that_the_restrictions_let_through(tmp_path: Path) -> None:
    parts: dict[str, Any] = {
        name: of_rows(tmp_path, name, f"{name}_short", changes={"language": language})
        for name, language in (("x", "deu"), ("y", "fra"))
    }
    for name, part in parts.items():
        part.given[1] = replace(part.given[1], duration_s=0.05, text=f"short {name}")
    assert [text for _, _, text in prepare(Several(corpora=parts), folder=None).texts] == ["short x", "short y"]
    assert prepare(Several(corpora=parts, languages=["fra"]), folder=None).texts == [("fra", "d", "short y")]


def test_a_change_in_any_part_makes_the_manifest_anew(tmp_path: Path) -> None:
    listing = tmp_path / "list.txt"
    listing.write_text("1")
    parts: dict[str, Any] = {"a": of_rows(tmp_path, "x"), "b": of_rows(tmp_path, "y", files=[listing])}

    def time(**settings: Any) -> int:
        prepare(Several(corpora=parts, **settings), folder=tmp_path / "m")
        return (tmp_path / "m" / "manifest.parquet").stat().st_mtime_ns

    first = time()
    assert time() == first
    os.utime(listing, (1, 1))
    second = time()
    assert second != first, "a source of a part"
    parts["a"] = of_rows(tmp_path, "x", max_duration_s=9.0)
    third = time()
    assert third != second, "a setting of a part"
    fourth = time(splits={"a": ["train"]})
    assert fourth != third
    parts["c"] = parts.pop("b")
    assert time(splits={"a": ["train"]}) != fourth, "the name of a part"


def test_errors_name_the_part(tmp_path: Path) -> None:
    good = of_rows(tmp_path, "x")
    bad = ListCorpus(given=[utterance(tmp_path / "x.wav", language="de")], files=[])
    with pytest.raises(ValueError, match=r"^data\.corpora\.b: language of 'x': 'de' is not an ISO"):
        prepare(Several(corpora={"a": good, "b": bad}), folder=None)
    with pytest.raises(ValueError, match=r"^data\.corpora\.b: data\.root=/gone: there is no such folder"):
        prepare(Several(corpora={"a": good, "b": AudioTree(root="/gone")}), folder=None)
    with pytest.raises(ValueError, match=r"^data\.corpora\.a: nothing can be used of any of its utterances"):
        prepare(Several(corpora={"a": good}, splits={"a": ["dev"]}), folder=None)
    with pytest.raises(ValueError, match=r"data\.corpora is empty\. Add a reader"):
        prepare(Several(corpora={}), folder=None)
    with pytest.raises(ValueError, match=r"data\.splits: there is no part c; parts are a\."):
        prepare(Several(corpora={"a": good}, splits={"c": ["dev"]}), folder=None)


PARTS = ["data=several", "+data@data.corpora.made=synthetic", "+data@data.corpora.read=audio_tree"]
SETTINGS: dict[str, tuple[list[str], str | None]] = {
    "sound": (["data.splits={made: [train]}", "data.corpora.made.minutes=0.2"], None),
    "unread": (["+data.corpora.read.width=3"], "nothing reads the setting 'data.corpora.read.width'"),
    "of the parts": (["+data.max_duration_s=3"], "nothing reads the setting 'data.max_duration_s'"),
    "its own": (["data.corpora.made.languages=[xx1]"], "data.corpora.made: data.languages: 'xx1' is not an ISO"),
    "range": (["data.corpora.read.max_duration_s=0"], "data.corpora.read.max_duration_s=0 should be greater than 0"),
    "no part": (["data.splits={other: [train]}"], "data.splits: there is no part other; parts are made, read."),
    "no split": (["data.splits={made: [valid]}"], "data.splits={'made': ['valid']}"),
    "an unknown code for the whole": (["data.languages=[xx1]"], "data.languages: 'xx1' is not an ISO"),
}


@pytest.mark.parametrize("case", list(SETTINGS))
def test_settings_of_each_part_are_checked(case: str, tmp_path: Path) -> None:
    overrides, problem = SETTINGS[case]
    write_wave(tmp_path / "d" / "deu" / "a.wav")
    arguments = [*PARTS, f"data.corpora.read.root={tmp_path}", *overrides]
    assert check_overrides(arguments) == []
    config = compose(arguments)
    found = find_problems(config, groups=("data",))
    if problem is None:
        assert found == []
        corpus = instantiate(config["data"])
        assert isinstance(corpus, Several)
        assert {name: type(part) for name, part in corpus.corpora.items()} == {"made": Synthetic, "read": AudioTree}
        assert corpus.splits == {"made": ["train"]}
    else:
        (only,) = found
        assert problem in only


def test_the_order_of_parts_on_the_command_line_does_not_count(tmp_path: Path) -> None:
    write_wave(tmp_path / "d" / "deu" / "a.wav")
    root = f"data.corpora.read.root={tmp_path}"
    one, other = (compose([*parts, root]) for parts in (PARTS, [PARTS[0], PARTS[2], PARTS[1]]))
    assert one["run_id"] == other["run_id"]
