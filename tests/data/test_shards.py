"""Speech in shards: what is written and read again, by us and by lhotse; what is missing or damaged."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus_trees import ListCorpus
from shar_folders import row, wave_of, write_shar

from mlsuperb.data.audio import load_audio
from mlsuperb.data.audio_file import audio_info
from mlsuperb.data.corpora.shar import Shar
from mlsuperb.data.manifest import records, split_hash, to_frame
from mlsuperb.data.prepared import Prepared, prepare
from mlsuperb.data.shard_writing import Sharding, Units, planned, write_shards
from mlsuperb.data.shards import in_shards, read_index
from mlsuperb.types import Utterance


def need_lhotse() -> None:
    pytest.importorskip("lhotse", reason="the extra lhotse is not installed", exc_type=ImportError)


def corpus(folder: Path) -> list[Utterance]:
    """Utterances of two splits, two languages and two datasets, in files; ids with slashes and dots, transcripts with quotes."""
    rows = []
    for number in range(24):
        language, dataset = ("deu", "swa")[number % 2], ("a", "b")[number // 2 % 2]
        name, duration_s = f"{dataset}/{language}/u.{number}", round(0.3 + number / 50, 2)
        path = folder / f"{number}.wav"
        soundfile.write(path, wave_of(name, duration_s + 0.5), 16_000)
        rows.append(
            row(
                name, audio=str(path), start_s=0.25, duration_s=duration_s, text=f'"{number}" ünïcödé', language=language,
                dataset=dataset, split="dev" if number >= 20 else "train", speaker=f"s{number % 3}",
            )
        )  # fmt: skip
    return rows


def segment(one: Utterance) -> list[int]:
    """Its 16-bit samples, read by soundfile."""
    start = round(one.start_s * 16_000)
    stop = start + round(one.duration_s * 16_000)
    return soundfile.read(one.audio, start=start, stop=stop, dtype="int16")[0].tolist()


SMALL = Sharding(hours_per_shard=1.5 / 3600)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Utterance], Path]:
    need_lhotse()
    folder = tmp_path_factory.mktemp("shards")
    rows = corpus(folder)
    assert write_shards(to_frame(rows), folder / "out", sharding=SMALL, units=units(rows)) == 0
    return rows, folder / "out"


def units(rows: Sequence[Utterance]) -> Units:
    """Units of some utterances, which are numbered in another order than theirs."""
    last_first = rows[::-1]
    return Units(
        about={"codebook": "abc", "num_units": 500}, rate_hz=50.0, named=to_frame(last_first)[["split", "id"]],
        of=lambda number: labels_of(last_first[number]),
    )  # fmt: skip


def labels_of(one: Utterance) -> np.ndarray:
    return np.random.default_rng(sum(one.id.encode())).integers(0, 500, round(one.duration_s * 50)).astype(np.uint16)


def loaded(folder: Path, **settings: object) -> Prepared:
    return prepare(Shar(root=str(folder), **settings), folder=None)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, str]:
    files = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    # without its time
    plain = {path: gzip.decompress(one) if path.suffix == ".gz" else one for path, one in files.items()}
    return {str(path.relative_to(folder)): hashlib.sha256(one).hexdigest() for path, one in plain.items()}


def test_what_is_written_comes_back_with_every_column_and_sample(written: tuple[list[Utterance], Path]) -> None:
    rows, folder = written
    found = {one.id: one for one in records(loaded(folder).manifest, Utterance)}
    assert set(found) == {one.id for one in rows}
    for given in rows:
        one = found[given.id]
        assert replace(one, audio=given.audio, start_s=given.start_s) == given
        assert (load_audio(one.audio) * 2**15).round().tolist() == segment(given)
        assert audio_info(one.audio).num_samples == len(segment(given))
        part_T = load_audio(one.audio, start_s=0.1, duration_s=0.15)
        assert (part_T * 2**15).round().tolist() == segment(given)[1600:4000]
    for split in ("train", "dev"):
        ours, theirs = (frame[frame["split"] == split] for frame in (loaded(folder).manifest, to_frame(rows)))
        assert split_hash(ours) == split_hash(theirs)


def test_lhotse_reads_what_is_written(written: tuple[list[Utterance], Path]) -> None:
    from lhotse import CutSet

    rows, folder = written
    cuts = {cut.id: cut for split in ("train", "dev") for cut in CutSet.from_shar(in_dir=folder / split)}
    assert set(cuts) == {one.id for one in rows}
    for one in rows:
        cut = cuts[one.id]
        assert (cut.load_audio()[0] * 2**15).round().tolist() == segment(one)
        (said,) = cut.supervisions
        assert (said.text, said.language, said.speaker) == (one.text, one.language, one.speaker)
        assert (cut.dataset, cut.sampling_rate) == (one.dataset, 16_000)
        assert cut.load_units().dtype == np.uint16
        assert cut.load_units().tolist() == labels_of(one).tolist()


def test_lhotse_s_own_shards_are_read(written: tuple[list[Utterance], Path], tmp_path: Path) -> None:
    from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
    from lhotse.shar import SharWriter

    rows, cuts = written[0], []
    for one in rows[:10]:
        said = SupervisionSegment(one.id, one.id, 0.0, one.duration_s, text=one.text, language=one.language)
        recording = Recording.from_file(one.audio, recording_id=one.id)
        cuts.append(MonoCut(one.id, one.start_s, one.duration_s, 0, supervisions=[said], recording=recording))
    with SharWriter(str(tmp_path / "train"), fields={"recording": "flac"}, shard_size=4) as writer:
        (tmp_path / "train").mkdir()
        for cut in CutSet.from_cuts(cuts):
            writer.write(cut)
    found = {one.id: one for one in records(loaded(tmp_path, dataset="theirs").manifest, Utterance)}
    assert len(found) == 10
    for one in rows[:10]:
        assert (found[one.id].text, found[one.id].language, found[one.id].dataset) == (one.text, one.language, "theirs")
        theirs_T = load_audio(found[one.id].audio) * 2**15
        assert np.abs(theirs_T - segment(one)).max() <= 1  # lhotse writes floats, of which libsndfile makes 16 bits


def test_opus_is_smaller_and_as_long(tmp_path: Path) -> None:
    need_lhotse()
    rows = corpus(tmp_path)
    write_shards(to_frame(rows), tmp_path / "out", sharding=Sharding(codec="opus"))
    found = {one.id: one for one in records(read_index(tmp_path / "out"), Utterance)}
    for one in rows:
        wave_T = load_audio(found[one.id].audio)
        assert len(wave_T) == len(segment(one))
        assert np.corrcoef(wave_T, segment(one))[0, 1] > 0.5  # of noise, the worst there is


def test_a_shard_is_of_one_split_language_and_dataset_and_all_are_about_as_long() -> None:
    rng = np.random.default_rng(0)
    rows = [
        row(f"u{number}", duration_s=float(rng.uniform(1, 20)), language=("deu", "swa", "nan")[number % 3],
            dataset=("a", "b")[number % 2], split=("train", "train", "dev")[number // 6 % 3])
        for number in range(600)
    ]  # fmt: skip
    frame, sharding = to_frame(rows), Sharding(hours_per_shard=0.1)
    shards = planned(frame, sharding)
    assert sorted(np.concatenate([at for _, at in shards])) == list(range(600))
    hours = {}
    for shard, at in shards:
        assert frame.iloc[at][["split", "language", "dataset"]].drop_duplicates().shape[0] == 1
        assert frame["split"].iloc[at[0]] == shard.split
        hours[shard] = frame["duration_s"].iloc[at].sum() / 3600
    assert all(0.05 <= one <= 0.16 for one in hours.values())
    numbers = [shard.number for shard in hours if shard.split == "train"]
    assert numbers == list(range(len(numbers)))
    first = [at.tolist() for _, at in shards]
    assert any(sorted(at) != at for at in first)
    shuffled = frame.sample(frac=1, random_state=0).reset_index(drop=True)
    again = [shuffled["id"].iloc[at].tolist() for _, at in planned(shuffled, sharding)]
    assert again == [frame["id"].iloc[at].tolist() for at in first]
    other = planned(frame, replace(sharding, seed=1))
    assert [at.tolist() for _, at in other] != first


def test_processes_share_the_work_and_what_is_missing_is_written_again(
    written: tuple[list[Utterance], Path], tmp_path: Path
) -> None:
    rows, whole = written
    frame = to_frame(rows)
    left = write_shards(frame, tmp_path, sharding=SMALL, units=units(rows), part=(0, 2))
    assert 0 < left < len(list(whole.glob("index/*")))
    with pytest.raises(ValueError, match=rf"lacks {left} of .* shards .*it goes on where it stopped"):
        loaded(tmp_path)
    assert write_shards(frame, tmp_path, sharding=SMALL, units=units(rows), part=(1, 2)) == 0
    assert contents(tmp_path) == contents(whole)
    (tmp_path / "train/recording.000001.tar").unlink()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tar")}
    write_shards(frame, tmp_path, sharding=SMALL, units=units(rows))
    assert contents(tmp_path) == contents(whole)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_units_can_be_added_later(written: tuple[list[Utterance], Path], tmp_path: Path) -> None:
    rows, whole = written
    write_shards(to_frame(rows), tmp_path, sharding=SMALL)
    assert not list(tmp_path.rglob("units*"))
    assert write_shards(to_frame(rows), tmp_path, sharding=SMALL, units=units(rows)) == 0
    assert contents(tmp_path) == contents(whole)


def test_a_folder_keeps_to_one_corpus_and_its_settings(written: tuple[list[Utterance], Path]) -> None:
    rows, folder = written
    before = contents(folder)
    for frame, sharding, labels in (
        (to_frame(rows[1:]), SMALL, units(rows)),
        (to_frame(rows), replace(SMALL, codec="opus"), units(rows)),
        (to_frame(rows), SMALL, replace(units(rows), about={"codebook": "def"})),
    ):
        with pytest.raises(ValueError, match=r"holds shards of other speech.*Give another folder"):
            write_shards(frame, folder, sharding=sharding, units=labels)
    assert contents(folder) == before


def test_audio_that_cannot_be_read_is_left_out_or_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    need_lhotse()
    rows = corpus(tmp_path)
    Path(rows[3].audio).write_bytes(b"RIFF but no audio")
    frame = to_frame(rows)
    with pytest.raises(ValueError, match=r"3\.wav: cannot be read as audio"):
        write_shards(frame, tmp_path / "strict", sharding=SMALL, skip_bad=False)
    with caplog.at_level(logging.WARNING):
        assert write_shards(frame, tmp_path / "out", sharding=SMALL) == 0
        moved = in_shards(frame, tmp_path / "out")
    assert f"{rows[3].id} is left out" in caplog.text
    assert "lacks 1 of 24 utterances" in caplog.text
    assert moved.index.tolist() == [number for number in range(24) if number != 3]
    assert [load_audio(audio).tolist() for audio in moved["audio"][:3]] == [
        (np.array(segment(one)) / 2**15).astype(np.float32).tolist() for one in rows[:3]
    ]


def test_a_shard_of_which_nothing_can_be_read_is_empty(tmp_path: Path) -> None:
    need_lhotse()
    rows = corpus(tmp_path)
    lost = replace(rows[0], id="lost", language="fra", audio=str(tmp_path / "lost.wav"))
    Path(lost.audio).write_bytes(b"RIFF but no audio")
    frame = to_frame([*rows, lost])
    labels = units([*rows, lost])
    assert write_shards(frame, tmp_path / "out", sharding=SMALL, units=labels) == 0
    assert (len(in_shards(frame, tmp_path / "out")), len(loaded(tmp_path / "out").manifest)) == (24, 24)
    before = contents(tmp_path / "out")
    assert write_shards(frame, tmp_path / "out", sharding=SMALL, units=labels) == 0
    assert contents(tmp_path / "out") == before
    from lhotse import CutSet

    assert len(list(CutSet.from_shar(in_dir=tmp_path / "out" / "train"))) == 20


def test_shards_of_other_speech_are_no_place_for_a_manifest(written: tuple[list[Utterance], Path]) -> None:
    rows, folder = written
    with pytest.raises(ValueError, match=r"holds other speech: 0 of 1 utterances are there"):
        in_shards(to_frame([row("elsewhere")]), folder)
    others = [row(f"elsewhere{number}") for number in range(3)]
    with pytest.raises(ValueError, match=rf"holds other speech: {len(rows)} of {len(rows) + 3} utterances are there"):
        in_shards(to_frame([*rows, *others]), folder)
    with pytest.raises(ValueError, match=r"holds other speech: 1 of 1 .* differ by up to 2\.00 s"):
        in_shards(to_frame([replace(rows[0], duration_s=rows[0].duration_s + 2)]), folder)


def test_only_the_index_of_the_wanted_splits_is_read(written: tuple[list[Utterance], Path], tmp_path: Path) -> None:
    rows, folder = written
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    for path in copy.glob("index/train.*"):
        path.unlink()
    frame = to_frame(rows)
    dev = frame[frame["split"] == "dev"]
    moved = in_shards(dev, copy)
    assert moved.index.tolist() == dev.index.tolist()
    assert moved["audio"].str.replace(str(copy), str(folder)).tolist() == in_shards(dev, folder)["audio"].tolist()
    with pytest.raises(ValueError, match=r"lacks .* shards \(index/train\."):
        in_shards(frame, copy)


def test_an_id_of_two_splits_is_found_in_each(written: tuple[list[Utterance], Path]) -> None:
    rows, folder = written
    elsewhere = replace(rows[0], split="dev")  # a row of train
    moved = in_shards(to_frame([*rows, elsewhere]), folder)
    assert moved.index.tolist() == list(range(len(rows)))


def test_utterances_without_units_are_refused_by_name(written: tuple[list[Utterance], Path], tmp_path: Path) -> None:
    rows, _ = written
    train = [one for one in rows if one.split == "train"]
    with pytest.raises(ValueError, match=r"no units of \S+ of split train: give --labels"):
        write_shards(to_frame(rows), tmp_path / "some", sharding=SMALL, units=units(train[1:]))
    assert write_shards(to_frame(rows), tmp_path / "train", sharding=SMALL, units=units(train)) == 0
    assert not list((tmp_path / "train/dev").glob("units*")), "a split without units"


def test_without_lhotse_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lhotse", None)
    with pytest.raises(ValueError, match=r"lhotse, which writes the shards, .*pip install 'mlsuperb\[lhotse\]'"):
        write_shards(to_frame(corpus(tmp_path)), tmp_path / "out", sharding=SMALL)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def shar(tmp_path: Path) -> Path:
    """Six utterances in two shards of Shar, without an index."""
    rows = [row(f"u{number}", duration_s=0.5 + number / 10) for number in range(6)]
    write_shar(tmp_path / "train", [rows[:3], rows[3:]], silent=["u4"])
    return tmp_path


def test_shards_without_an_index_are_read_by_their_cuts(shar: Path) -> None:
    prepared = loaded(shar)
    found = records(prepared.manifest, Utterance)
    assert [one.id for one in found] == ["u0", "u1", "u2", "u3", "u5"]
    for one in found:
        assert (load_audio(one.audio) * 2**15).round().tolist() == wave_of(one.id, one.duration_s).tolist()
        assert (one.text, one.language, one.dataset, one.split) == (f"text of {one.id}", "deu", "a", "train")
    assert prepared.skipped["missing audio file"]["examples"] == ["u4"]
    with pytest.raises(ValueError, match=r"1 cuts of .* have no audio: u4.*data\.on_bad=skip"):
        loaded(shar, on_bad="error")


def test_the_language_of_cuts_that_name_none_has_to_be_given(tmp_path: Path) -> None:
    write_shar(tmp_path / "train", [[row("u1", language="")]])
    with pytest.raises(ValueError, match=r"u1: this cut names no language.*data\.language"):
        loaded(tmp_path)
    assert loaded(tmp_path, language="swa").manifest["language"].tolist() == ["swa"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:-30], r"cuts\.000001\.jsonl\.gz: these are no cuts"),
        (lambda content: b"no gzip", r"cuts\.000001\.jsonl\.gz: these are no cuts"),
        (lambda content: gzip.compress(b"[1]\n"), r"no cuts .*line 1 is no object with an id"),
        (lambda content: gzip.compress(b"{\n"), r"000001\.jsonl\.gz: these are no cuts"),
        (lambda content: changed_cut(content, duration="soon"), r"000001\.jsonl\.gz, line 2: this is no cut .*'soon'"),
        (
            lambda content: changed_cut(content, duration=float("nan")),
            r"line 2: this is no cut .*duration is not finite",
        ),
        (
            lambda content: changed_cut(content, supervisions=[{"text": ["a"], "language": "deu"}]),
            r"line 2: this is no cut",
        ),
        (
            lambda content: changed_cut(content, supervisions=[{"text": "\ud83d", "language": "deu"}]),
            r"line 2: this is no cut",
        ),
        (lambda content: changed_cut(content, supervisions="deu"), r"line 2: this is no cut"),
        (lambda content: changed_cut(content, supervisions=[{"language": ["deu"]}]), r"line 2: this is no cut"),
    ],
)
def test_damaged_cuts_are_named_with_their_line(shar: Path, change: Callable[[bytes], bytes], message: str) -> None:
    cuts = shar / "train/cuts.000001.jsonl.gz"
    cuts.write_bytes(change(cuts.read_bytes()))
    with pytest.raises(ValueError, match=message):
        loaded(shar)


def changed_cut(content: bytes, **changes: object) -> bytes:
    """The second of some cuts changed."""
    cuts = [json.loads(line) for line in gzip.decompress(content).splitlines()]
    cuts[1] |= changes
    return gzip.compress("\n".join(map(json.dumps, cuts)).encode())


def test_cuts_that_change_in_place_make_a_stored_manifest_stale(shar: Path, tmp_path: Path) -> None:
    corpus = Shar(root=str(shar))
    assert prepare(corpus, folder=tmp_path / "m").manifest["language"].tolist() == ["deu"] * 5
    cuts = shar / "train/cuts.000001.jsonl.gz"
    cuts.write_bytes(gzip.compress(gzip.decompress(cuts.read_bytes()).replace(b'"deu"', b'"swa"')))
    assert prepare(corpus, folder=tmp_path / "m").manifest["language"].tolist() == ["deu"] * 3 + ["swa"] * 2


def test_a_shard_that_is_cut_short_or_missing_is_named(shar: Path) -> None:
    prepared, archive = loaded(shar).manifest, shar / "train/recording.000001.tar"
    content = archive.read_bytes()
    last = prepared["audio"].iloc[-1]
    os.truncate(archive, int(last.rpartition("#")[2].split("+")[0]) + 100)
    with pytest.raises(
        ValueError, match=r"recording\.000001\.tar#.*ends [\d,]+ bytes too early\. Copy the shard again"
    ):
        load_audio(last)
    with pytest.raises(ValueError, match=r"recording\.000001\.tar"):
        loaded(shar)
    archive.unlink()
    with pytest.raises(ValueError, match=r"recording\.000001\.tar: this is no uncompressed tar archive"):
        loaded(shar)
    archive.write_bytes(content.replace(b"fLaC", b"FLAC"))
    with pytest.raises(ValueError, match=r"these bytes cannot be read as audio .*Copy the shard again"):
        load_audio(loaded(shar).manifest["audio"].iloc[-1])


def test_an_index_that_does_not_fit_its_archive_is_found_before_anything_is_read(
    written: tuple[list[Utterance], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(written[1], tmp_path / "copy"))
    archive = folder / "train/recording.000000.tar"
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 4])
    with pytest.raises(
        ValueError, match=r"recording\.000000\.tar has [\d,]+ bytes, but at least .*mlsuperb data shard"
    ):
        loaded(folder)
    archive.unlink()
    with pytest.raises(ValueError, match=r"recording\.000000\.tar is missing\. Copy the shard again"):
        loaded(folder)


def test_cuts_that_do_not_belong_to_their_archive_are_refused(shar: Path) -> None:
    os.replace(shar / "train/cuts.000000.jsonl.gz", shar / "train/cuts.000001.jsonl.gz")
    with pytest.raises(ValueError, match=r"recording\.000001\.tar does not hold the 3 cuts"):
        loaded(shar)


def test_a_folder_without_shards_is_a_problem_of_the_settings(tmp_path: Path) -> None:
    for root in (tmp_path / "none", tmp_path):
        (problem,) = Shar.problems(root=str(root))
        assert "Give the folder of shards" in problem


def test_rows_of_shards_pass_through_other_readers(shar: Path) -> None:
    """A reader that opens headers, such as one of a list, takes them from within archives."""
    rows = [replace(one, duration_s=float("nan")) for one in records(loaded(shar).manifest, Utterance)]
    frame = prepare(ListCorpus(given=rows, files=[]), folder=None).manifest
    assert frame["duration_s"].tolist() == pytest.approx([0.5, 0.6, 0.7, 0.8, 1.0])
