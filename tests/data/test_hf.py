from __future__ import annotations

import fnmatch
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RevisionNotFoundError
from own_forms import ROWS, hub_table, wave, write_audiofolder, write_hub, write_saved, write_table

from mlsuperb.data import parquet
from mlsuperb.data.audio import load_audio
from mlsuperb.data.corpora.hf import NO_SPLIT, PARTIAL, HubData
from mlsuperb.data.corpora.hub_files import CONVERTED, DataFile, card_of, data_files, of_split
from mlsuperb.data.corpora.shar import Shar
from mlsuperb.data.manifest import records
from mlsuperb.data.prepared import Prepared, prepare
from mlsuperb.data.shard_writing import Sharding, write_shards
from mlsuperb.types import Utterance


def corpus_of(path: Path | str, tmp_path: Path, **settings: Any) -> HubData:
    return HubData(path=str(path), audio_folder=str(tmp_path / "written"), **settings)


def found(prepared: Prepared) -> list[tuple[str, str, str, str]]:
    return [(row.split, row.id, row.language, row.text) for row in records(prepared.manifest, Utterance)]


def write_parquet(path: Path, table: pa.Table) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def write_configs(root: Path, *, names: tuple[str, ...] = ("de_de", "sw_ke")) -> Path:
    """CONFIG/SPLIT/0000.parquet, as the hub converts, without a column of languages."""
    for config in names:
        for split, rows in ROWS.items():
            table = hub_table(root.parent / "made", [row for row in rows if row[2] == config[:2]], with_label=False)
            write_parquet(root / config / split / "0000.parquet", table)
    return root


def test_rows_are_numbered_and_named_by_the_data_set(tmp_path: Path) -> None:
    prepared = prepare(corpus_of(write_hub(tmp_path / "words"), tmp_path), folder=None)
    assert found(prepared) == [
        ("train", "train_000001", "deu", "guten Tag"),
        ("train", "train_000002", "swa", "habari"),
        ("train", "train_000003", "deu", 'er sagte "ja"'),
        ("dev", "dev_000001", "deu", "auf Wiedersehen"),
        ("dev", "dev_000002", "swa", "kwaheri"),
        ("test", "test_000001", "deu", "bitte"),
        ("test", "test_000002", "swa", "asante"),
    ]
    assert set(prepared.manifest["dataset"]) == {"words"}
    names = [name for rows in ROWS.values() for name, *_ in rows]
    for row, name in zip(records(prepared.manifest, Utterance), names, strict=True):
        assert Path(row.audio).read_bytes() == (tmp_path / "made" / f"{name}.wav").read_bytes()


def test_audio_is_written_once(tmp_path: Path) -> None:
    corpus = corpus_of(write_hub(tmp_path / "words"), tmp_path)

    def times() -> dict[str, int]:
        return {path.as_posix(): path.stat().st_mtime_ns for path in (tmp_path / "written").rglob("*.wav")}

    first = prepare(corpus, folder=tmp_path / "manifest")
    written = times()
    assert len(written) == 7
    assert prepare(corpus, folder=tmp_path / "manifest").manifest.equals(first.manifest)
    assert prepare(corpus, folder=None).manifest.equals(first.manifest)
    assert times() == written


def test_few_rows_with_audio_are_held_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the column is called, and in both kinds of files."""
    table = hub_table(tmp_path / "made", [(f"u{number}", "x", "de", "s") for number in range(9)])
    table = table.rename_columns(["speech", *table.column_names[1:]]).replace_schema_metadata(table.schema.metadata)
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=9)
    with pa.OSFile(str(tmp_path / "t.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    monkeypatch.setattr(parquet, "_ROWS_WITH_AUDIO", 2)
    for name, batches in (("t.parquet", parquet._parquet_batches), ("t.arrow", parquet._arrow_batches)):
        path = tmp_path / name
        assert max(batch.num_rows for batch in batches(path, ["speech", "sentence"])) == 2
        assert [batch.num_rows for batch in batches(path, ["sentence", "speech.path"])] == [9]
        rows = [row for _, row in parquet.parquet_rows(path, ["sentence", "speech.path"])]
        assert rows[8] == {"sentence": "x", "speech": {"path": "u8.wav"}}
        assert parquet.num_rows(path) == 9
    monkeypatch.undo()
    prepared = prepare(corpus_of(tmp_path / "t.parquet", tmp_path, held_out=0.2), folder=None)
    assert prepared.manifest["split"].value_counts().to_dict() == {"train": 5, "test": 2, "dev": 2}
    assert set(prepared.manifest["dataset"]) == {"t"}


def test_a_file_is_not_held_in_memory(tmp_path: Path) -> None:
    """20 MB in 20 row groups: a few of them are there at a time."""
    rng = np.random.default_rng(0)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    audio = [{"bytes": rng.bytes(2**16), "path": None} for _ in range(16 * 20)]
    pq.write_table(pa.table({"audio": pa.array(audio, kind)}), tmp_path / "t.parquet", row_group_size=16)
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() for _ in parquet.parquet_rows(tmp_path / "t.parquet", ["audio"]))
    assert most - before < 12e6


def test_configurations_as_languages(tmp_path: Path) -> None:
    root = write_configs(tmp_path / "words")
    prepared = prepare(corpus_of(root, tmp_path, config=["de_de", "sw_ke"]), folder=None)
    assert [row for row in found(prepared) if row[0] == "test"] == [
        ("test", "de_de_test_000001", "deu", "bitte"),
        ("test", "sw_ke_test_000001", "swa", "asante"),
    ]
    assert len(prepared.manifest) == 7
    only = prepare(corpus_of(root, tmp_path, config=["de_de", "sw_ke"], languages=["swa"]), folder=None)
    assert set(only.manifest["language"]) == {"swa"}
    alone = prepare(corpus_of(root, tmp_path, config="sw_ke"), folder=None)
    assert {row[2] for row in found(alone)} == {"swa"}
    other = prepare(corpus_of(root, tmp_path, config=["de_de", "sw_ke"], codes={"sw_ke": "swh"}), folder=None)
    assert set(other.manifest["language"]) == {"deu", "swh"}
    with pytest.raises(
        ValueError, match=r"has 2 configurations: de_de, sw_ke\. Choose with data\.config=NAME.*\[de_de,sw_ke\]"
    ):
        prepare(corpus_of(root, tmp_path), folder=None)
    with pytest.raises(ValueError, match=r"has no fr_fr; its configurations are de_de, sw_ke"):
        prepare(corpus_of(root, tmp_path, config="fr_fr"), folder=None)


def test_configurations_may_name_their_splits_otherwise(tmp_path: Path) -> None:
    root = write_configs(tmp_path / "words")
    (root / "sw_ke" / "validation").rename(root / "sw_ke" / "dev")
    prepared = prepare(corpus_of(root, tmp_path, config=["de_de", "sw_ke"]), folder=None)
    assert set(prepared.manifest["language"][prepared.manifest["split"] == "dev"]) == {"deu", "swa"}
    assert prepared.skipped == {}


def test_names_of_configurations_that_are_no_language(tmp_path: Path) -> None:
    """`all` is a code of ISO 639-3, too: a column of languages counts for more, unless a list was given."""
    table = hub_table(tmp_path / "made", ROWS["train"])
    write_parquet(tmp_path / "words" / "all" / "train" / "0000.parquet", table)
    prepared = prepare(corpus_of(tmp_path / "words", tmp_path, config="all"), folder=None)
    assert prepared.manifest["language"].tolist() == ["deu", "swa", "deu"]
    root = write_configs(tmp_path / "other", names=("de_clean",))
    (root / "de_clean").rename(root / "clean")
    with pytest.raises(
        ValueError, match=r"no column for language; it has audio, sentence, client_id\. Give data\.language"
    ):
        prepare(corpus_of(root, tmp_path), folder=None)
    assert set(prepare(corpus_of(root, tmp_path, language="deu"), folder=None).manifest["language"]) == {"deu"}


def test_a_split_that_is_missing_is_counted_or_held_out(tmp_path: Path) -> None:
    rows = {"train": [(f"u{number:02d}", "x", "de", "s") for number in range(20)]}
    root = write_hub(tmp_path / "words", rows)
    prepared = prepare(corpus_of(root, tmp_path), folder=None)
    assert prepared.skipped == {NO_SPLIT: {"count": 2, "splits": {"dev": 1, "test": 1}, "examples": ["default"] * 2}}
    prepared = prepare(corpus_of(root, tmp_path, held_out=0.1), folder=None)
    assert prepared.manifest["split"].value_counts().to_dict() == {"train": 16, "dev": 2, "test": 2}
    assert prepared.skipped["held out of train for dev"]["count"] == 2
    with pytest.raises(ValueError, match=r"has no split valid or x; it has train\. Name one with data\.train=NAME"):
        prepare(corpus_of(root, tmp_path, train=None, dev="valid", test="x"), folder=None)


def test_every_one_of_joined_splits_is_read_or_refused(tmp_path: Path) -> None:
    rows = {"train": ROWS["train"], "dev": ROWS["validation"], "validated": ROWS["test"]}
    root = write_hub(tmp_path / "words", rows)
    corpus = corpus_of(root, tmp_path, train="validated+validation", dev=None, test=None)
    assert [row.text for row in records(prepare(corpus, folder=None).manifest, Utterance)] == [
        *(text for _, text, *_ in (*ROWS["test"], *ROWS["validation"])),
    ]
    with pytest.raises(ValueError, match=r"has no split validatd; it has dev, train, validated\. Name one"):
        prepare(corpus_of(root, tmp_path, train="train+validatd"), folder=None)


def test_clips_of_one_size_in_another_order_are_written_again(tmp_path: Path) -> None:
    root, rows = tmp_path / "words", ROWS["train"]
    path = write_parquet(root / "train.parquet", hub_table(tmp_path / "made", rows))
    for ordered in (rows, rows[::-1]):
        write_parquet(path, hub_table(tmp_path / "made", ordered))
        prepared = prepare(corpus_of(root, tmp_path), folder=None)
        assert [(row.text, Path(row.audio).read_bytes()) for row in records(prepared.manifest, Utterance)] == [
            (text, (tmp_path / "made" / f"{name}.wav").read_bytes()) for name, text, *_ in ordered
        ]


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda table: table.drop_columns("sentence"), {}, r"no column for text; it has audio, locale, cl.* 'data\.col"),
        (
            lambda table: table.append_column("transcript", table["sentence"]),
            {},
            r"has the columns sentence and transcript, each of which may be text.*'data\.columns=\{text: sentence\}'",
        ),
        (lambda table: table, {"columns": {"text": "words"}}, r"has no column 'words' for text; it has audio, sent"),
        (lambda table: table, {"columns": {"words": "x"}}, r"data\.columns: there is no words\. Columns are audio, text"),
        (
            lambda table: table.set_column(1, "sentence", pa.array([["a"]] * len(table))),
            {},
            r"the column 'sentence' holds list<.*>, neither text nor numbers",
        ),
        (lambda table: table.drop_columns("audio"), {}, r"no column for audio; it has sentence"),
        (
            lambda table: table.set_column(0, "audio", pa.array([[0.1, 0.2]] * len(table))),
            {},
            r"the column 'audio' holds list<.*>, neither audio files \(struct<bytes, path>\) nor paths of them",
        ),
    ],
)  # fmt: skip
def test_columns_that_cannot_be_told(
    tmp_path: Path, change: Callable[[pa.Table], pa.Table], settings: dict[str, Any], message: str
) -> None:
    write_parquet(tmp_path / "w" / "train.parquet", change(hub_table(tmp_path / "made", ROWS["train"])))
    with pytest.raises(ValueError, match=message):
        prepare(corpus_of(tmp_path / "w", tmp_path, **settings), folder=None)


def test_columns_that_were_named(tmp_path: Path) -> None:
    table = hub_table(tmp_path / "made", ROWS["train"]).append_column("raw", pa.array(["A", "B", None]))
    table = table.append_column("nr", pa.array([7, 8, 9])).append_column("part", pa.array(["x", "y", "x"]))
    write_parquet(tmp_path / "w" / "train.parquet", table)
    columns = {"text": "raw", "id": "nr", "dataset": "part"}
    prepared = prepare(corpus_of(tmp_path / "w", tmp_path, columns=columns), folder=None)
    rows = records(prepared.manifest, Utterance)
    assert [(row.id, row.text, row.dataset) for row in rows] == [("7", "A", "x"), ("8", "B", "y")]
    assert prepared.skipped["empty text"]["examples"] == ["9"]


def test_rows_without_audio_and_with_a_path_beside(tmp_path: Path) -> None:
    wave(tmp_path / "w" / "clips", "there.wav")
    audio = [None, {"bytes": None, "path": "clips/there.wav"}, {"bytes": None, "path": "clips/gone.wav"}]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"audio": pa.array(audio, kind), "text": list("abc"), "language": ["deu"] * 3})
    write_parquet(tmp_path / "w" / "train.parquet", table)
    prepared = prepare(corpus_of(tmp_path / "w", tmp_path), folder=None)
    assert prepared.manifest["audio"].tolist() == [str(tmp_path / "w" / "clips" / "there.wav")]
    assert prepared.skipped["missing audio file"]["count"] == 2


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_audiofolder(tmp_path: Path, suffix: str) -> None:
    root = write_audiofolder(tmp_path / "words", suffix=suffix)
    prepared = prepare(corpus_of(root, tmp_path), folder=None)
    assert prepared.manifest["audio"].iloc[0] == str(root / "train" / "clips" / "a1.flac")
    assert [row[3] for row in found(prepared)][:2] == ["guten Tag", "habari"]
    assert not (tmp_path / "written").exists()


def test_what_datasets_saved_without_splits(tmp_path: Path) -> None:
    """`Dataset.save_to_disk`, not of a DatasetDict."""
    root = write_saved(tmp_path / "words")
    prepared = prepare(corpus_of(root / "train", tmp_path, held_out=0.3), folder=None)
    assert sorted(row[3] for row in found(prepared)) == sorted(text for _, text, *_ in ROWS["train"])
    (root / "train" / "data-00000-of-00001.arrow").write_bytes(b"ARROW1")
    with pytest.raises(ValueError, match=r"data-00000-of-00001\.arrow: this is no Arrow file that can be read"):
        prepare(corpus_of(root / "train", tmp_path), folder=None)


LAYOUTS = {
    "data/train-00000-of-00002.parquet": ("default", "train", False),
    "de/validation-00000-of-00001-abc123.parquet": ("de", "validation", False),
    "clean/train.100/0000.parquet": ("clean", "train.100", False),
    "clean/partial-train/0003.parquet": ("clean", "train", True),
    "all/train.other.500-00000-of-00009.parquet": ("all", "train.other.500", False),
    "data/sw_ke/test.parquet": ("sw_ke", "test", False),
    "valid/metadata.jsonl": ("default", "dev", False),
    "metadata.csv": ("default", "train", False),
    "part/eval/clips.parquet": ("part", "test", False),
    "train/data-00000-of-00001.arrow": ("default", "train", False),
    "latest.parquet": ("default", "train", False),
}


def test_layouts() -> None:
    others = ["README.md", ".git/x/train.parquet", "train/cache-1.arrow", "a.wav", "metadata.txt", "train.csv"]
    files = data_files([*LAYOUTS, *others], {})
    assert {file.path: (file.config, file.split, file.partial) for file in files} == LAYOUTS
    names = [file.split for file in of_split(files, "train.100+train.other.500")]
    assert names == ["train.100", "train.other.500"]
    assert {file.path for file in of_split(files, "validation")} == {"de/validation-00000-of-00001-abc123.parquet"}
    assert {file.split for file in of_split(files, "valid")} == {"validation", "dev"}


def test_the_head_of_a_readme_says_which_files_belong_together() -> None:
    card = card_of(
        """---
license: cc0-1.0
configs:
- config_name: de
  data_files:
  - split: train
    path: [german/*.parquet, "more/**/de-*.parquet"]
  - split: test
    path: eval_de.parquet
- config_name: sw
  data_dir: swahili
  data_files: {train: "tr*.parquet", dev: sub/}
- config_name: plain
  data_files: "all.parquet"
- config_name: folder
  data_dir: ./mine/
---
# Words
"""
    )
    paths = [
        "all.parquet", "eval_de.parquet", "german/1.parquet", "german/x/2.parquet", "more/a/b/de-1.parquet", "other.parquet",
        "swahili/sub/9.parquet", "swahili/train.parquet", "mine/train-00000-of-00001.parquet", "mine/dev/0.parquet",
    ]  # fmt: skip
    assert set(data_files(paths, card)) == {
        DataFile("german/1.parquet", "de", "train"),
        DataFile("more/a/b/de-1.parquet", "de", "train"),
        DataFile("eval_de.parquet", "de", "test"),
        DataFile("swahili/train.parquet", "sw", "train"),
        DataFile("swahili/sub/9.parquet", "sw", "dev"),
        DataFile("all.parquet", "plain", "train"),
        DataFile("mine/train-00000-of-00001.parquet", "folder", "train"),
        DataFile("mine/dev/0.parquet", "folder", "dev"),
    }
    assert card_of("# no head") == card_of("---\n: [\n---\n") == {}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str | None], Path]:
    """A hub of folders by (data set, revision); what is downloaded is copied."""
    repos: dict[tuple[str, str | None], Path] = {}

    def folder_of(repo: str, revision: str | None) -> Path:
        if (repo, revision) in repos:
            return repos[repo, revision]
        kind = RevisionNotFoundError if any(name == repo for name, _ in repos) else HfHubHTTPError
        error = kind.__new__(kind)
        Exception.__init__(error, "404 Client Error")
        raise error

    def list_files(_: Any, repo: str, *, repo_type: str, revision: str | None) -> list[str]:
        assert repo_type == "dataset"
        root = folder_of(repo, revision)
        return [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]

    def one_file(repo: str, name: str, *, repo_type: str, revision: str | None) -> str:
        return str(folder_of(repo, revision) / name)

    def snapshot(
        repo: str, *, repo_type: str, revision: str | None, allow_patterns: list[str], local_files_only: bool = False
    ) -> str:
        target = tmp_path / "cache" / repo.replace("/", "--") / str(revision)
        if local_files_only:
            if not target.is_dir():
                raise LocalEntryNotFoundError("not in the cache")
            return str(target)
        root = folder_of(repo, revision)
        for name in list_files(None, repo, repo_type=repo_type, revision=revision):
            if any(fnmatch.fnmatch(name, pattern) for pattern in allow_patterns):
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / name, target / name)
        return str(target)

    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", list_files)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", one_file)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    return repos


def cached(tmp_path: Path) -> list[str]:
    root = tmp_path / "cache"
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_a_data_set_of_the_hub(tmp_path: Path, hub: dict[tuple[str, str | None], Path]) -> None:
    root = write_configs(tmp_path / "words", names=("de_de", "sw_ke"))
    (root / "README.md").write_text("---\npretty_name: Words\n---\n")
    (root / "notes.pdf").write_text("large")
    hub["me/words", None] = root
    prepared = prepare(corpus_of("me/words", tmp_path, config=["sw_ke"]), folder=None)
    assert [row[1:3] for row in found(prepared)] == [
        ("sw_ke_train_000001", "swa"), ("sw_ke_dev_000001", "swa"), ("sw_ke_test_000001", "swa"),
    ]  # fmt: skip
    assert set(prepared.manifest["dataset"]) == {"words"}
    names = [f"sw_ke/{split}/0000.parquet" for split in ("test", "train", "validation")]
    assert cached(tmp_path) == [f"me--words/None/{name}" for name in ("README.md", *names)]
    assert all(str(tmp_path / "written" / "me--words") in audio for audio in prepared.manifest["audio"])
    with pytest.raises(ValueError, match=r"me/words has 2 configurations"):
        prepare(corpus_of("me/words", tmp_path), folder=None)
    hub["me/words", "v2"] = write_hub(tmp_path / "newer" / "words")
    newer = prepare(corpus_of("me/words", tmp_path, revision="v2"), folder=None)
    assert len(newer.manifest) == 7
    assert all(str(tmp_path / "written" / "me--words--v2") in audio for audio in newer.manifest["audio"])


def test_the_hubs_own_conversion(tmp_path: Path, hub: dict[tuple[str, str | None], Path]) -> None:
    (tmp_path / "scripted").mkdir()
    (tmp_path / "scripted" / "words.py").write_text("a script")
    hub["me/words", None] = tmp_path / "scripted"
    with pytest.raises(
        ValueError, match=r"me/words: the data set has no Parquet files, neither of its own nor converted"
    ):
        prepare(corpus_of("me/words", tmp_path), folder=None)
    table = hub_table(tmp_path / "made", ROWS["train"])
    write_parquet(tmp_path / "converted" / "default" / "partial-train" / "0000.parquet", table)
    hub["me/words", CONVERTED] = tmp_path / "converted"
    prepared = prepare(corpus_of("me/words", tmp_path), folder=None)
    assert len(prepared.manifest) == 3
    assert prepared.skipped[PARTIAL]["examples"] == ["default/train"]


def test_an_audiofolder_of_the_hub(tmp_path: Path, hub: dict[tuple[str, str | None], Path]) -> None:
    hub["me/words", None] = write_audiofolder(tmp_path / "words")
    assert len(prepare(corpus_of("me/words", tmp_path), folder=None).manifest) == 7


def test_a_hub_that_does_not_answer(
    tmp_path: Path,
    hub: dict[tuple[str, str | None], Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(
        ValueError, match=r"nobody/nothing is neither a folder nor a data set that the hub gives \(404.*hf download"
    ):
        prepare(corpus_of("nobody/nothing", tmp_path), folder=None)
    hub["me/words", None] = write_hub(tmp_path / "words")
    first = prepare(corpus_of("me/words", tmp_path), folder=None)

    def silent(*_: object, **__: object) -> None:
        raise next(kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError")("connection refused")

    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", silent)
    again = prepare(corpus_of("me/words", tmp_path), folder=None)
    assert again.manifest.equals(first.manifest)
    assert "the hub does not answer: me/words is read as an earlier download left it, 4 files" in caplog.text


def test_problems(tmp_path: Path) -> None:
    for path in ("gone", "./gone/x", "a/b/c", "x/t.parquet"):
        (message,) = [one for one in HubData.problems(path=path) if "data.path" in one]
        assert message.startswith(
            f"data.path={path}: there is no such folder or file, and a data set on the hub is called"
        )
    assert HubData.problems(path="google/fleurs") == []
    assert HubData.problems(path="a/b", train=None, dev=None, test=None) == [
        "data.train, data.dev and data.test are all null. Name at least one split."
    ]
    assert "more than 0.4" in HubData.problems(path="a/b", held_out=0.5)[0]
    assert "data.codes: 'xx'" in HubData.problems(path="a/b", codes={"de": "xx"})[0]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty holds no Parquet or Arrow files and no metadata\.csv"):
        prepare(corpus_of(tmp_path / "empty", tmp_path), folder=None)


def test_names_of_classes_are_looked_up(tmp_path: Path) -> None:
    """A class that was not given is -1 in `datasets`."""
    table = hub_table(tmp_path / "made", ROWS["test"])
    table = table.set_column(2, "locale", pa.array([1, None], pa.int64())).replace_schema_metadata(
        table.schema.metadata
    )
    assert json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]["locale"]["names"] == ["de", "sw"]
    write_parquet(tmp_path / "w" / "train.parquet", table)
    with pytest.raises(ValueError, match=r"language of 'train_000002': '' cannot be a language code"):
        prepare(corpus_of(tmp_path / "w", tmp_path), folder=None)
    prepared = prepare(corpus_of(tmp_path / "w", tmp_path, languages=["swa"]), folder=None)
    assert prepared.manifest["text"].tolist() == ["bitte"]


def test_metadata_whose_audio_is_not_named(tmp_path: Path) -> None:
    write_table(tmp_path / "w" / "metadata.csv", [{"text": "a", "language": "deu"}])
    with pytest.raises(ValueError, match=r"metadata\.csv has no column for audio; it has text, language"):
        prepare(corpus_of(tmp_path / "w", tmp_path), folder=None)


def test_it_can_be_written_into_shards(tmp_path: Path) -> None:
    pytest.importorskip("lhotse")
    manifest = prepare(corpus_of(write_hub(tmp_path / "words"), tmp_path), folder=None).manifest
    assert write_shards(manifest, tmp_path / "shards", sharding=Sharding()) == 0
    rows = prepare(Shar(root=str(tmp_path / "shards")), folder=None).manifest
    columns = ["split", "id", "language", "text", "speaker", "duration_s"]
    assert (
        rows.sort_values(columns)[columns].to_numpy().tolist()
        == manifest.sort_values(columns)[columns].to_numpy().tolist()
    )
    waves = [load_audio(frame.set_index("id").loc["dev_000002", "audio"]) for frame in (rows, manifest)]
    assert np.array_equal(*waves)
