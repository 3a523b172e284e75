"""From a manifest to batches: padding, segments, what is kept in memory, worker processes."""

from __future__ import annotations

import itertools
import pickle
import random
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from corpus_trees import utterance, write_wave

from mlsuperb.data import dataset as module
from mlsuperb.data.audio import joined
from mlsuperb.data.batching import BucketedBatches, SortedBatches
from mlsuperb.data.dataset import Example, SpeechDataset, collate
from mlsuperb.data.loading import Loading
from mlsuperb.data.manifest import to_frame
from mlsuperb.data.sampling import Crops, Draw, TwoLevel
from mlsuperb.data.text import raw
from mlsuperb.data.vocabulary import Vocabulary
from mlsuperb.types import Batch, Features, Utterance

SPECIALS = ("<blank>", "<unk>", "<sos/eos>")


def length_of_text(row: Utterance) -> np.ndarray:
    return np.full(len(row.text), len(row.text))


@pytest.fixture
def rows(tmp_path: Path) -> list[Utterance]:
    """Ten utterances of 0.5 to 1.4 s."""
    return [
        utterance(
            write_wave(tmp_path / f"u{n}.wav", duration_s=0.5 + n / 10),
            duration_s=0.5 + n / 10,
            text="abc"[: 1 + n % 3],
        )
        for n in range(10)
    ]


def loading(num_workers: int) -> Loading:
    return Loading(train=SortedBatches(batch_size=3), eval_batch_s=3.0, num_workers=num_workers)


def same(one: Batch, other: Batch) -> bool:
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(Batch)]
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def test_collate_pads_with_zeros_and_keeps_the_lengths() -> None:
    waves = [np.array([0.5, -0.5, 0.25], np.float32), np.array([1.0], np.float32)]
    examples = [
        Example(utterance("a.wav", language="eng"), waves[0], np.array([7])),
        Example(utterance("b.wav", language="nan"), waves[1], np.array([3, 4])),
    ]
    batch = collate(examples)
    assert (batch.ids, batch.languages) == (("a", "b"), ("eng", "nan"))
    assert batch.wave_BT.tolist() == [[0.5, -0.5, 0.25], [1.0, 0.0, 0.0]]
    assert (batch.wave_BT.dtype, batch.lengths_B.tolist()) == (torch.float32, [3, 1])
    assert batch.targets_BS.tolist() == [[7, 0], [3, 4]]
    assert (batch.targets_BS.dtype, batch.target_lengths_B.tolist()) == (torch.long, [1, 2])
    without = collate([Example(one.utterance, one.wave_T, module.NO_TARGET) for one in examples])
    assert (without.targets_BS.shape, without.target_lengths_B.tolist()) == ((2, 0), [0, 0])
    alone = collate(examples[:1])
    alone.wave_BT.zero_()
    assert waves[0].tolist() == [0.5, -0.5, 0.25], "a batch never shares memory with the waves that are kept"


def test_a_row_is_its_segment_of_the_file(tmp_path: Path) -> None:
    path = write_wave(tmp_path / "long.wav", duration_s=3.0)
    whole_T = soundfile.read(path, dtype="float32")[0]
    cuts = [(0.0, 1.0), (0.5, 0.25), (2.0, 1.0)]
    rows = [utterance(path, id=str(n), start_s=start, duration_s=size) for n, (start, size) in enumerate(cuts)]
    dataset = SpeechDataset(to_frame(rows))
    assert len(dataset) == 3
    assert dataset.durations_s.tolist() == [1.0, 0.25, 1.0]
    for index, (start_s, duration_s) in enumerate(cuts):
        example = dataset[index]
        assert (example.utterance, example.target.tolist()) == (rows[index], []), "without `encode` there is no target"
        first = round(16_000 * start_s)
        np.testing.assert_array_equal(example.wave_T, whole_T[first : first + round(16_000 * duration_s)])


def test_other_rates_are_resampled_or_refused(tmp_path: Path) -> None:
    row = utterance(write_wave(tmp_path / "a.wav", rate_hz=8_000), duration_s=1.0)
    assert len(SpeechDataset(to_frame([row]))[0].wave_T) == 16_000
    with pytest.raises(ValueError, match=r"a\.wav has 8000 samples a second.*data\.resample=true"):
        SpeechDataset(to_frame([row]), resample=False)[0]


def test_targets_are_those_of_the_vocabulary(rows: list[Utterance]) -> None:
    vocabulary = Vocabulary.build((raw(row.text) for row in rows[:2]), specials=SPECIALS)  # has no "c"
    dataset = SpeechDataset(to_frame(rows), encode=lambda row: vocabulary.encode(row.text))
    assert dataset[1].target.tolist() == [2, 3]
    assert dataset[2].target.tolist() == [2, 3, vocabulary.tokens.index("<unk>")]


def test_no_more_is_kept_than_was_allowed(rows: list[Utterance], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    load = module.load_audio
    monkeypatch.setattr(
        module, "load_audio", lambda path, **kwargs: read.append(Path(path).stem) or load(path, **kwargs)
    )
    num_bytes = [round(4 * 16_000 * row.duration_s) for row in rows]
    room = sum(num_bytes[:3]) + num_bytes[0]  # for the first three, and not for the fourth
    dataset = SpeechDataset(to_frame(rows), encode=length_of_text, keep_gb=room / 2**30)
    first = [dataset[index] for index in range(10)]
    assert read == [f"u{n}" for n in range(10)]
    second = [dataset[index] for index in range(10)]
    assert read[10:] == [f"u{n}" for n in range(3, 10)], "the first three were kept"
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.wave_T, other.wave_T)
        np.testing.assert_array_equal(one.target, other.target)
    nothing = SpeechDataset(to_frame(rows), keep_gb=0.0)
    read.clear()
    assert [len(nothing[0].wave_T), len(nothing[0].wave_T)] == [8000, 8000]
    assert read == ["u0", "u0"]


def test_workers_share_the_memory_that_may_be_kept(rows: list[Utterance]) -> None:
    rooms = [
        loading(num_workers).dataset(to_frame(rows), encode=None, resample=True)._room for num_workers in (0, 1, 4)
    ]
    assert rooms == [2 * 2**30, 2 * 2**30, 2**29]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_does_not_touch_the_global_random_state(rows: list[Utterance], num_workers: int) -> None:
    def states() -> tuple[object, ...]:
        keys, position = np.random.get_state(legacy=True)[1:3]
        return torch.get_rng_state().tolist(), random.getstate(), keys.tolist(), position

    torch.manual_seed(1)
    before, loader = states(), loading(num_workers)
    dataset = loader.dataset(to_frame(rows), encode=length_of_text, resample=True)
    assert len(list(itertools.islice(loader.training(dataset, seed=0)(2), 5))) == 5
    assert sum(len(batch.ids) for batch in loader.inference(dataset)) == 10
    assert states() == before


def test_workers_give_the_same_batches_as_none(rows: list[Utterance]) -> None:
    found = []
    for num_workers in (0, 2):
        loader = loading(num_workers)
        loader.train = BucketedBatches(max_batch_s=4.0)
        dataset = loader.dataset(to_frame(rows), encode=length_of_text, resample=True)
        training = itertools.islice(loader.training(dataset, seed=3)(1), 8)
        found.append([*training, *loader.inference(dataset)])
    assert len(found[0]) == len(found[1]) >= 12
    assert all(same(one, other) for one, other in zip(*found, strict=True))


def test_inference_batches_stay_within_their_seconds(rows: list[Utterance]) -> None:
    loader = loading(0)
    dataset = loader.dataset(to_frame(rows), encode=None, resample=True)
    batches = list(loader.inference(dataset))
    assert sorted(name for batch in batches for name in batch.ids) == sorted(row.id for row in rows)
    assert all(batch.wave_BT.numel() <= 3.0 * 16_000 for batch in batches)
    assert batches[0].ids[0] == "u9", "longest first"


@pytest.mark.parametrize("num_workers", [0, 1])
def test_audio_that_went_bad_is_named_whoever_reads_it(rows: list[Utterance], num_workers: int) -> None:
    """In one paragraph: torch would put the traceback of the worker process before it."""
    Path(rows[4].audio).write_bytes(b"no audio any more")
    loader = loading(num_workers)
    dataset = loader.dataset(to_frame(rows), encode=length_of_text, resample=True)
    for batches in (loader.training(dataset, seed=0)(0), iter(loader.inference(dataset))):
        with pytest.raises(ValueError, match=r"^\S*u4\.wav: cannot be read as audio") as raised:
            list(itertools.islice(batches, 20))
        assert "Traceback" not in str(raised.value)


def test_a_dataset_goes_to_a_worker_process_by_pickle(rows: list[Utterance]) -> None:
    """As it must where processes are not forked: macOS, and Python 3.14 on Linux."""
    dataset = pickle.loads(pickle.dumps(loading(2).dataset(to_frame(rows), encode=length_of_text, resample=True)))
    np.testing.assert_array_equal(dataset[3].wave_T, soundfile.read(rows[3].audio, dtype="float32")[0])
    assert dataset[3].target.tolist() == [1]


def test_a_draw_is_a_part_of_its_utterance_and_of_a_target_that_runs_along(tmp_path: Path) -> None:
    path = write_wave(tmp_path / "long.wav", duration_s=5.0)
    wave_T = soundfile.read(path, dtype="float32")[0]
    frame = to_frame([utterance(path, start_s=1.0, duration_s=3.0)])
    labels = np.arange(150, dtype=np.float32)
    dataset = SpeechDataset(frame, encode=lambda row: labels, target_rate_hz=50.0, keep_gb=1.0)
    for start_s, duration_s in ((0.5, 1.0), (0.5, None), (0.0, 2.0)):
        example, end_s = dataset[Draw(0, start_s, duration_s)], start_s + (duration_s or 3.0 - start_s)
        np.testing.assert_array_equal(
            example.wave_T, wave_T[round(16_000 * (1 + start_s)) : round(16_000 * (1 + end_s))]
        )
        assert example.target.tolist() == labels[round(50 * start_s) : round(50 * end_s)].tolist()
        assert example.utterance.start_s == 1.0 + start_s
    assert len(dataset[0].wave_T) == len(dataset[Draw(0)].wave_T) == 48_000, "a part is not kept as the whole"
    assert len(SpeechDataset(frame)[Draw(0, 1.0, 0.5)].wave_T) == 8_000
    transcribed = SpeechDataset(frame, encode=length_of_text)
    with pytest.raises(ValueError, match=r"0\.50 s of its 3\.00 s were drawn, .*loading\.crops"):
        transcribed[Draw(0, 1.0, 0.5)]


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg"])
def test_a_part_is_the_same_samples_whether_the_whole_is_kept_or_not(tmp_path: Path, rate_hz: int, suffix: str) -> None:
    """What is kept depends on what was read before: a resumed training has to see the same."""
    path = write_wave(tmp_path / f"a{suffix}", duration_s=4.0, rate_hz=rate_hz)
    on_and_off_grid = [utterance(path, start_s=start_s, duration_s=3.0) for start_s in (0.25, 0.10003)]
    same_parts(on_and_off_grid)


def test_a_part_of_opus_and_of_joined_pieces_is_the_same_whether_the_whole_is_kept_or_not(tmp_path: Path) -> None:
    noise_T = np.random.default_rng(0).uniform(-0.3, 0.3, 64_000)
    soundfile.write(tmp_path / "a.opus", noise_T, 16_000, format="OGG", subtype="OPUS")
    wav, other = (write_wave(tmp_path / name, duration_s=2.0) for name in ("a.wav", "b.flac"))
    pieces = joined([(str(wav), 0.10003, 1.50004), (str(other), 0.2, 1.49996)])
    same_parts([utterance(tmp_path / "a.opus", duration_s=3.0), utterance(pieces, duration_s=3.0)])


def same_parts(rows: list[Utterance]) -> None:
    """Parts of utterances of 3 s, cut anew and of wholes that are kept."""
    rng = np.random.default_rng(0)
    anew, kept = (SpeechDataset(to_frame(rows), keep_gb=keep_gb) for keep_gb in (0.0, 1.0))
    for index in range(len(rows)):
        for start_s in rng.uniform(0, 1.5, 12).tolist():
            draw = Draw(index, start_s, 1.5)
            np.testing.assert_array_equal(anew[draw].wave_T, kept[draw].wave_T)
            assert 23_998 <= len(anew[draw].wave_T) <= 24_000


def test_no_more_of_lossless_audio_at_16_khz_is_read_than_was_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        utterance(write_wave(tmp_path / f"{rate_hz}.flac", rate_hz=rate_hz, duration_s=3.0), duration_s=3.0)
        for rate_hz in (16_000, 48_000)
    ]
    read: list[int] = []
    plain = soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile, "read", lambda self, num, **given: read.append(num) or plain(self, num, **given)
    )
    dataset = SpeechDataset(to_frame(rows))
    assert [len(dataset[Draw(index, 1.0, 0.5)].wave_T) for index in (0, 1)] == [8_000, 8_000]
    assert read == [8_000, 3 * 48_000], "resampled audio is cut from the whole"


def test_a_training_on_48_khz_goes_on_as_it_would_have_when_little_is_kept(tmp_path: Path) -> None:
    rows = [
        utterance(write_wave(tmp_path / f"u{n}.wav", rate_hz=48_000, duration_s=1 + n / 10), duration_s=1 + n / 10)
        for n in range(8)
    ]
    loader = Loading(train=BucketedBatches(max_batch_s=4.0), num_workers=0, keep_audio_gb=4 * 16_000 * 3.5 / 2**30)
    loader.crops = Crops(max_s=0.8)

    def batches(start: int, number: int) -> list[Batch]:
        dataset = loader.dataset(to_frame(rows), encode=None, resample=True)
        return list(itertools.islice(loader.training(dataset, seed=0)(start), number))

    whole, resumed = batches(0, 16), batches(7, 9)
    assert all(same(one, other) for one, other in zip(whole[7:], resumed, strict=True))


@pytest.mark.parametrize("dtype", [np.int64, np.float32])
def test_the_dtype_of_targets_is_kept(dtype: type) -> None:
    targets = [np.array(values, dtype) for values in ([1, 2, 3], [4], [])]
    batch = collate([Example(utterance(f"{n}.wav"), np.ones(2, np.float32), one) for n, one in enumerate(targets)])
    assert batch.targets_BS.dtype == {np.int64: torch.int64, np.float32: torch.float32}[dtype]
    assert batch.targets_BS.tolist() == [[1, 2, 3], [4, 0, 0], [0, 0, 0]]
    assert batch.target_lengths_B.tolist() == [3, 1, 0]


def test_crops_and_a_law_come_through_the_loader(rows: list[Utterance]) -> None:
    loader = Loading(train=BucketedBatches(max_batch_s=2.0), num_workers=0)
    loader.sampling, loader.crops = TwoLevel(alpha=0.5, beta=1), Crops(max_s=0.6)
    batches = list(itertools.islice(loader.training(SpeechDataset(to_frame(rows)), seed=0)(0), 20))
    assert {tuple(batch.lengths_B.tolist()) for batch in batches} <= {
        (n,) * k for n in (8000, 9600) for k in range(1, 5)
    }
    again = list(itertools.islice(loader.training(SpeechDataset(to_frame(rows)), seed=0)(13), 7))
    assert all(same(one, other) for one, other in zip(batches[13:], again, strict=True))


@pytest.mark.parametrize(("device", "num_workers"), [("cpu", 0), ("cuda:1", 4)])
def test_a_run_on_a_cpu_beside_a_gpu_loads_as_without_one(
    rows: list[Utterance], monkeypatch: pytest.MonkeyPatch, device: str, num_workers: int
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("mlsuperb.data.loading.device_in_use", lambda: torch.device(device))
    loading = Loading(train=BucketedBatches(max_batch_s=2.0))
    loader = loading.inference(SpeechDataset(to_frame(rows)))
    assert (loader.num_workers, loader.pin_memory) == (num_workers, num_workers > 0)
    assert loading.kept_gb == 0.5, "as many workers as there may be: the device is chosen later"


def test_every_tensor_of_a_record_is_changed() -> None:
    """Also those in tuples and in records inside; what is no tensor stays."""
    features = Features((torch.ones(1, 2, 3), torch.ones(1, 2, 3)), torch.tensor([2]), 50.0)
    batch = Batch(
        ids=("a",), languages=("eng",), wave_BT=torch.ones(1, 4), lengths_B=torch.tensor([4]),
        targets_BS=torch.ones(1, 1), target_lengths_B=torch.tensor([1]), features=features,
    )  # fmt: skip
    doubled = batch.each_tensor(lambda tensor: 2 * tensor)
    assert doubled.features is not None
    assert [float(layer.sum()) for layer in doubled.features.layers] == [12, 12]
    assert (doubled.ids, doubled.features.frame_rate_hz, int(doubled.features.lengths_B)) == (("a",), 50.0, 4)
    assert (int(doubled.lengths_B), float(doubled.wave_BT.sum()), int(batch.lengths_B)) == (8, 8, 4)
