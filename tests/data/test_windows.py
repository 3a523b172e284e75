"""Passes over shards in windows: the law, what is read and when, resuming, ranks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from shar_folders import row, wave_of, write_shar

from mlsuperb.data import windows as module
from mlsuperb.data.batching import BucketedBatches, DealtBatches, TrainingBatches
from mlsuperb.data.corpora.shar import Shar
from mlsuperb.data.dataset import SpeechDataset
from mlsuperb.data.loading import Loading
from mlsuperb.data.manifest import to_frame
from mlsuperb.data.prepared import prepare
from mlsuperb.data.sampling import Crops, Draw, TwoLevel
from mlsuperb.data.windows import ReadAhead, ShardWindows

# 12 shards of 25 utterances; 6 of one large language, 2 of each of three small ones
RNG = np.random.default_rng(0)
SHARD_N = np.repeat(np.arange(12), 25)[RNG.permutation(300)]
LANGUAGE_N = np.array(["eng"] * 6 + ["deu"] * 2 + ["swa"] * 2 + ["nan"] * 2)[SHARD_N]
DURATIONS_S = np.round(RNG.uniform(2, 20, 300), 2)
PATHS = [f"/shards/{number}.tar" for number in range(12)]
BATCHING = BucketedBatches(max_batch_s=60, max_batch_size=8)


def windows_of(shard_N: np.ndarray = SHARD_N, *, hours: float = 0.5) -> ShardWindows:
    return ShardWindows(shard_N, PATHS, DURATIONS_S, hours=hours, read=False)


def batches(start: int, number: int, **settings: object) -> list[list[Draw]]:
    given = {"batching": BATCHING, "seed": 3, "windows": windows_of(), **settings}
    return list(islice(iter(TrainingBatches(DURATIONS_S, start=start, **given)), number))  # type: ignore[arg-type]


def test_a_pass_sees_every_utterance_once_and_each_shard_in_one_window() -> None:
    passes = [list(windows_of().of_pass(None, np.random.default_rng(seed))) for seed in (0, 1)]
    for found in passes:
        assert sorted(np.concatenate([one.rows for one in found])) == list(range(300))
        archives = [set(one.archives) for one in found]
        assert sum(map(len, archives)) == len(set().union(*archives)) == 12
        for one in found:
            assert {PATHS[shard] for shard in SHARD_N[one.rows]} == set(one.archives)
        hours = [DURATIONS_S[one.rows].sum() / 3600 for one in found]
        assert len(found) == 2
        longest_s = max(DURATIONS_S[shard == SHARD_N].sum() for shard in range(12))
        assert all(abs(one - sum(hours) / 2) <= longest_s / 3600 for one in hours)
    assert [one.archives for one in passes[0]] != [one.archives for one in passes[1]]


def test_one_window_holds_a_whole_pass_where_it_is_large_enough() -> None:
    (only,) = windows_of(hours=1000).of_pass(None, np.random.default_rng(0))
    assert sorted(only.rows) == list(range(300))


def counts(shard_N: np.ndarray, repeats: np.ndarray, passes: int) -> np.ndarray:
    total = np.zeros(300)
    for number in range(passes):
        for window in windows_of(shard_N).of_pass(repeats, np.random.default_rng([7, number])):
            np.add.at(total, window.rows, 1)
    return total / passes


@pytest.mark.parametrize("pure", [True, False])
def test_utterances_are_seen_as_often_as_the_two_level_law_says(pure: bool) -> None:
    """In shards of one language, and in shards that mix them, of which not all is used at each visit."""
    law = TwoLevel(alpha=0.3, beta=1.0)
    repeats = law.repeats(DURATIONS_S, languages=LANGUAGE_N, datasets=np.array(["a"] * 300))
    assert repeats is not None
    assert repeats.sum() == pytest.approx(300)
    assert repeats.min() < 0.7
    assert repeats.max() > 1.3
    shard_N = SHARD_N if pure else RNG.permutation(SHARD_N)
    passes = 400
    seen = counts(shard_N, repeats, passes)
    # a visit of a shard is one chance for all of its rows: the standard error of a language is that of its shards
    for language in np.unique(LANGUAGE_N):
        of = language == LANGUAGE_N
        num_shards = len(np.unique(shard_N[of]))
        assert seen[of].mean() == pytest.approx(repeats[of].mean(), abs=4 * 0.5 / np.sqrt(passes * num_shards))
    assert np.abs(seen - repeats).max() < 5 * np.sqrt(0.7 / passes)


def test_a_shard_of_one_language_is_used_whole_and_no_other_is_read() -> None:
    repeats = np.where(LANGUAGE_N == "eng", 0.4, 2.5)
    read: Counter[str] = Counter()
    for window in windows_of(hours=0.1).of_pass(repeats, np.random.default_rng(1)):
        visits = Counter(PATHS[shard] for shard in SHARD_N[window.rows])
        assert set(visits) == set(window.archives)
        assert {number % 25 for number in visits.values()} == {0}
        read += visits
    small = [read[PATHS[shard]] / 25 for shard in range(6, 12)]
    assert set(small) <= {2, 3}
    assert 0 < sum(shard in read for shard in PATHS[:6]) < 6


def test_repeats_of_a_small_language_are_spread_over_a_pass() -> None:
    repeats = np.where(LANGUAGE_N == "nan", 20.0, 1.0)
    spread = [
        np.isin("nan", LANGUAGE_N[one.rows]) for one in windows_of(hours=0.3).of_pass(repeats, np.random.default_rng(0))
    ]
    assert len(spread) > 8
    assert np.mean(spread) > 0.9


def test_nothing_wanted_at_all_is_a_pass_over_everything() -> None:
    found = list(windows_of().of_pass(np.full(300, 1e-9), np.random.default_rng(0)))
    assert sum(len(one.archives) for one in found) == 12


@pytest.mark.parametrize("start", [0, 1, 26, 27, 28, 60, 111])
def test_a_resumed_stream_goes_on_with_the_next_batch(start: int) -> None:
    repeats = np.where(LANGUAGE_N == "eng", 0.4, 2.5)
    settings = {"crops": Crops(max_s=6.0), "repeats": repeats}
    assert batches(start, 130 - start, **settings) == batches(0, 130, **settings)[start:]


def test_no_two_batches_have_the_same_crops() -> None:
    drawn = [tuple(batch) for batch in batches(0, 200, crops=Crops(max_s=3.0))]
    starts = [draw.start_s for batch in drawn for draw in batch if draw.start_s]
    assert len(set(starts)) == len(starts)


@pytest.mark.parametrize("world", [2, 5])
def test_ranks_share_each_batch(world: int) -> None:
    whole = batches(0, 60)
    dealt = [
        list(islice(DealtBatches(TrainingBatches(DURATIONS_S, batching=BATCHING, seed=3, windows=windows_of()),
                                 DURATIONS_S, rank=rank, world=world), 60))
        for rank in range(world)
    ]  # fmt: skip
    for number, batch in enumerate(whole):
        if len(batch) >= world:
            together = sorted(draw.index for one in dealt for draw in one[number])
            assert together == sorted(draw.index for draw in batch)


class Recorder:
    """Stands for the thread that reads."""

    def __init__(self, log: list[str], files: Sequence[str]) -> None:
        self.files, self._log = files, log
        log.append(f"read {','.join(files)}")

    def wait(self) -> None:
        self._log.append(f"wait {','.join(self.files)}")


def test_a_window_is_read_before_its_first_batch_and_the_next_one_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    monkeypatch.setattr(module, "_Reading", lambda files: Recorder(log, files))
    monkeypatch.setattr(module, "_let_go", lambda files: log.append(f"drop {','.join(sorted(files))}"))
    ahead = ReadAhead()
    for now, following in ((["a", "b"], ["c"]), (["c"], ["a", "d"]), (["a", "d"], ["e"]), (["e"], [])):
        ahead.begin(now, following)
        log.append(f"batches of {','.join(now)}")
    assert log == [
        "read a,b", "wait a,b", "read c", "batches of a,b",
        "wait c", "read a,d", "batches of c",
        "wait a,d", "drop b", "read e", "batches of a,d",
        "wait e", "drop c", "read ", "batches of e",
    ]  # fmt: skip


def test_windows_that_a_resumed_run_has_seen_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    monkeypatch.setattr(module, "_Reading", lambda files: Recorder(log, files))
    monkeypatch.setattr(module, "_let_go", lambda files: None)

    def read_by(start: int) -> list[str]:
        log.clear()
        windows = ShardWindows(SHARD_N, PATHS, DURATIONS_S, hours=0.3, read=True)
        next(iter(TrainingBatches(DURATIONS_S, batching=BATCHING, seed=3, start=start, windows=windows)))
        return [line for line in log if line.startswith("read")]

    whole = [one.archives for one in windows_of(hours=0.3).of_pass(None, np.random.default_rng([3, 0]))]
    assert read_by(0) == [f"read {','.join(whole[0])}", f"read {','.join(whole[1])}"]
    later = read_by(45)
    assert later[0] in [f"read {','.join(one)}" for one in whole[1:]]


def test_files_are_read_and_let_go(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("a", "b", "c", "d")]
    for path in paths:
        Path(path).write_bytes(b"x" * 100)
    ahead = ReadAhead()
    for number, path in enumerate(paths):
        ahead.begin([path], paths[number + 1 : number + 2])
    with pytest.raises(ValueError, match=r"a shard cannot be read: .*missing.*mlsuperb data shard"):
        ahead.begin([str(tmp_path / "missing")], [])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shar")
    shards = [[row(f"u{shard}_{n}", duration_s=0.5 + n / 10, language=("deu", "swa")[shard % 2]) for n in range(6)]
              for shard in range(4)]  # fmt: skip
    write_shar(root / "train", shards)
    return root


def loading(num_workers: int, **changes: object) -> Loading:
    usual = {"train": BucketedBatches(max_batch_s=4.0), "crops": Crops(max_s=0.8), "window_h": 9 / 3600}
    return Loading(num_workers=num_workers, **{**usual, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_from_any_iteration_on_equal_those_of_an_uninterrupted_stream(folder: Path, num_workers: int) -> None:
    manifest = prepare(Shar(root=str(folder)), folder=None).manifest
    law = TwoLevel(alpha=0.5, beta=1.0)
    whole = list(islice(loading(0, sampling=law).training(SpeechDataset(manifest), seed=0)(0), 30))
    resumed = list(islice(loading(num_workers, sampling=law).training(SpeechDataset(manifest), seed=0)(13), 17))
    assert len({batch.ids for batch in whole}) > 10
    for one, other in zip(whole[13:], resumed, strict=True):
        assert one.ids == other.ids
        assert torch.equal(one.wave_BT, other.wave_BT)


def test_batches_hold_the_samples_of_the_shards(folder: Path) -> None:
    manifest = prepare(Shar(root=str(folder)), folder=None).manifest
    for batch in islice(loading(0, crops=None).training(SpeechDataset(manifest), seed=0)(0), 8):
        for name, wave_T, length in zip(batch.ids, batch.wave_BT, batch.lengths_B, strict=True):
            duration_s = float(manifest.set_index("id").loc[name, "duration_s"])
            assert (wave_T[:length].numpy() * 2**15).round().tolist() == wave_of(name, duration_s).tolist()


def test_windows_of_speech_that_is_not_in_shards_are_refused(tmp_path: Path) -> None:
    dataset = SpeechDataset(to_frame([row("u1", audio=str(tmp_path / "u1.wav"))]))
    with pytest.raises(ValueError, match=r"1 of 1 utterances do not lie in one \(u1: .*mlsuperb data shard"):
        loading(0).training(dataset, seed=0)
