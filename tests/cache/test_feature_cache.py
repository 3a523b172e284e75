"""Batches with features: the same numbers whether they were computed before or not, on disk, on the device or nowhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from torch import Tensor

from mlsuperb.cache.codec import bytes_per_second
from mlsuperb.cache.features import CachedSpeech, FeatureCache
from mlsuperb.cache.settings import Cache
from mlsuperb.data.batching import SortedBatches
from mlsuperb.data.dataset import SpeechDataset
from mlsuperb.data.loading import Loading
from mlsuperb.data.sampling import Draw
from mlsuperb.types import Batch, Features, Utterance
from mlsuperb.upstreams.fbank import Fbank
from mlsuperb.upstreams.frozen import frozen_features
from mlsuperb.upstreams.random_hubert import RandomHubert

NUM, CPU = 7, torch.device("cpu")
SETTINGS = {"name": "tiny", "_target_": "RandomHubert"}


class Counting(RandomHubert):
    """Counts the utterances it hears."""

    num_heard = 0

    def forward(self, wave_BT: Tensor, lengths_B: Tensor) -> Features:
        self.num_heard += len(wave_BT)
        return super().forward(wave_BT, lengths_B)


@pytest.fixture(scope="module")
def upstream() -> Counting:
    return Counting(num_blocks=2, hidden_size=32, conv_channels=16).eval()


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return manifest_of([8000 + 640 * number for number in range(NUM)], tmp_path_factory.mktemp("audio"))


def manifest_of(lengths: list[int], folder: Path) -> pd.DataFrame:
    """Noise of so many samples each."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for number, length in enumerate(lengths):
        wave = 0.1 * torch.randn(length, generator=generator)
        path = folder / f"u{number}.wav"
        soundfile.write(path, wave.numpy(), 16_000)
        rows.append(
            Utterance(
                id=path.stem, audio=str(path), start_s=0.0, duration_s=len(wave) / 16_000, text="a" * number,
                language="eng", dataset="d", split="train",
            )
        )  # fmt: skip
    return pd.DataFrame([vars(row) for row in rows])


@pytest.fixture
def speech(manifest: pd.DataFrame) -> SpeechDataset:
    return SpeechDataset(manifest, encode=lambda row: np.ones(len(row.text), np.int64))


@pytest.fixture
def long_speech(tmp_path: Path) -> SpeechDataset:
    """Two utterances that share a batch, and not their length."""
    manifest = manifest_of([30 * 16_000, 28 * 16_000], tmp_path)
    return SpeechDataset(manifest, encode=lambda row: np.ones(len(row.text), np.int64))


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def loading(num_workers: int = 0) -> Loading:
    return Loading(train=SortedBatches(batch_size=2), eval_batch_s=2.0, num_workers=num_workers)


def open_cache(upstream: Counting, folder: Path, *, device_gb: float = 0.0, **settings: Any) -> FeatureCache:
    cache = Cache(**{"dtype": "fp32", "folder": str(folder), "max_gb": 1.0, **settings})
    opened = cache.open(upstream, SETTINGS, device=CPU, precision="fp32", trained=False)
    assert opened is not None
    opened.room_bytes = device_gb * 1e9  # a GPU's part, on the CPU
    return opened


def batches(data: Any, num_workers: int = 0) -> list[Batch]:
    return list(loading(num_workers).inference(data))


def layers_of(batch: Batch) -> list[Tensor]:
    assert batch.features is not None
    return list(batch.features.layers)


def check_same(batch: Batch, plain: Batch, upstream: Counting, *, dtype: torch.dtype = torch.float32) -> None:
    """To the bit what the upstream makes of the utterances."""
    with torch.no_grad():
        wanted = frozen_features(upstream, plain.wave_BT, plain.lengths_B)
    assert batch.features is not None
    assert batch.ids == plain.ids
    assert torch.equal(batch.lengths_B, plain.lengths_B)
    assert torch.equal(batch.targets_BS, plain.targets_BS)
    assert torch.equal(batch.features.lengths_B, wanted.lengths_B)
    assert batch.audio_s == pytest.approx(plain.audio_s)
    for got, expected in zip(layers_of(batch), wanted.layers, strict=True):
        torch.testing.assert_close(got, expected.to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("device_gb", [0.0, 1.0])
def test_features_are_computed_once_and_stay_the_same(
    upstream: Counting, speech: SpeechDataset, tmp_path: Path, device_gb: float, num_workers: int
) -> None:
    plain = batches(speech)
    assert any(len(set(batch.lengths_B.tolist())) > 1 for batch in plain), "else nothing is padded"
    cache = open_cache(upstream, tmp_path, device_gb=device_gb)
    upstream.num_heard = 0
    data = cache.of(speech)
    passes = []
    for _ in range(3):
        passes.append(batches(data, num_workers))
        cache._writer.submit(lambda: None).result()  # what was computed is on disk
    assert upstream.num_heard == NUM
    cache.close()
    again = open_cache(upstream, tmp_path)  # another run
    passes.append(batches(again.of(speech), num_workers))
    again.close()
    assert upstream.num_heard == NUM
    assert [sum(batch.cached_s for batch in one) > 0 for one in passes] == [False, True, True, True]
    for one in passes:
        for batch, wanted in zip(one, plain, strict=True):
            check_same(batch, wanted, upstream)


@pytest.mark.parametrize("dtype", ["int16", "bf16", "int8"])
def test_a_hit_and_a_miss_give_the_same_rounded_numbers(
    upstream: Counting, speech: SpeechDataset, tmp_path: Path, dtype: str
) -> None:
    cache = open_cache(upstream, tmp_path, dtype=dtype)
    data = cache.of(speech)
    first, second = batches(data), batches(data)
    cache.close()
    plain = batches(speech)
    for miss, hit, wanted in zip(first, second, plain, strict=True):
        assert all(map(torch.equal, layers_of(miss), layers_of(hit)))
        if dtype == "bf16":
            check_same(miss, wanted, upstream, dtype=torch.bfloat16)
        if dtype == "int16":
            features = upstream(wanted.wave_BT, wanted.lengths_B)
            for got, expected in zip(layers_of(miss), features.layers, strict=True):
                torch.testing.assert_close(got, expected, rtol=0, atol=2e-4 * float(expected.detach().abs().max()))
                assert all((one[length:] == 0).all() for one, length in zip(got, features.lengths_B, strict=True))


def test_a_partial_cache_computes_the_rest_alone(upstream: Counting, speech: SpeechDataset, tmp_path: Path) -> None:
    """Room for about half: in the second pass the other half is computed, in batches with what is there."""
    per_second = bytes_per_second(num_layers=3, size=32, frame_rate_hz=50, dtype="fp32")
    half_gb = (speech.durations_s.sum() / 2 * per_second + 4 * 512) / 1e9
    cache = open_cache(upstream, tmp_path, max_gb=half_gb)
    data = cache.of(speech)
    batches(data)
    cache._writer.submit(lambda: None).result()
    upstream.num_heard = 0
    second = batches(data)
    cache.close()
    assert 0 < upstream.num_heard < NUM
    cached_s = sum(batch.cached_s for batch in second)
    assert 0.2 < cached_s / speech.durations_s.sum() < 0.8
    for batch, wanted in zip(second, batches(speech), strict=True):
        check_same(batch, wanted, upstream)


def test_partly_on_the_device(upstream: Counting, speech: SpeechDataset, tmp_path: Path) -> None:
    cache = open_cache(upstream, tmp_path, device_gb=4e-5, max_gb=0)
    data = cache.of(speech)
    batches(data)
    upstream.num_heard = 0
    second = batches(data)
    cache.close()
    assert 0 < upstream.num_heard < NUM
    for batch, wanted in zip(second, batches(speech), strict=True):
        check_same(batch, wanted, upstream)


def test_a_damaged_file_is_computed_again_in_the_middle_of_a_run(
    upstream: Counting, speech: SpeechDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = open_cache(upstream, tmp_path)
    batches(cache.of(speech))
    cache.close()
    files = sorted(tmp_path.rglob("*.safetensors"))
    assert len(files) == NUM
    files[0].write_bytes(files[0].read_bytes()[:-8])
    files[1].unlink()
    again = open_cache(upstream, tmp_path)
    upstream.num_heard = 0
    second = batches(again.of(speech))
    again.close()
    assert upstream.num_heard == 2
    assert "damaged" in caplog.text
    for batch, wanted in zip(second, batches(speech), strict=True):
        check_same(batch, wanted, upstream)
    assert len(list(tmp_path.rglob("*.safetensors"))) == NUM


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_the_writer_has_no_threads_of_its_own(
    upstream: Counting, long_speech: SpeechDataset, two_threads: None, tmp_path: Path
) -> None:
    """With more OpenMP threads than cores, libgomp has all of them sleep at every barrier."""
    values = torch.ones(2**20)
    values.add_(values)  # the main thread's are there
    before = set(os.listdir("/proc/self/task"))
    cache = open_cache(upstream, tmp_path)
    (batch,) = Loading(train=SortedBatches(batch_size=2), eval_batch_s=100.0, num_workers=0).inference(
        cache.of(long_speech)
    )
    assert all(layer[0].numel() > 2**15 for layer in layers_of(batch))  # enough for torch to share a copy out
    assert cache.store
    ends_s = time.monotonic() + 60
    while len(list(cache.store.folder.rglob("*.safetensors"))) < 2 and time.monotonic() < ends_s:
        time.sleep(0.01)
    assert len(set(os.listdir("/proc/self/task")) - before) == 1
    cache.close()


def test_a_slow_disk_holds_the_run_up_before_memory_is_full(
    upstream: Counting, speech: SpeechDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlsuperb.cache.features.WRITES_WAITING", 2)
    cache = open_cache(upstream, tmp_path)
    assert cache.store
    write = cache.store.write

    def write_slowly(*args: Any) -> None:
        time.sleep(0.1)
        write(*args)

    monkeypatch.setattr(cache.store, "write", write_slowly)
    for _ in loading().inference(cache.of(speech)):
        assert sum(not one.done() for one in cache._writes) <= 2
    cache.close()
    assert len(list(tmp_path.rglob("*.safetensors"))) == NUM


@pytest.mark.parametrize("device_gb", [0.0, 1.0])
def test_waves_of_known_features_are_not_kept(
    device_gb: float, upstream: Counting, manifest: pd.DataFrame, tmp_path: Path
) -> None:
    speech = SpeechDataset(manifest, keep_gb=1.0)
    room = speech._room
    cache = open_cache(upstream, tmp_path, device_gb=device_gb)
    data = cache.of(speech)
    batches(data)
    assert len(speech._kept) == NUM
    for write in cache._writes:
        write.result()
    batches(data)
    assert not speech._kept
    assert speech._room == room
    cache.close()


def test_what_validation_keeps_can_be_trained_on(upstream: Counting, speech: SpeechDataset, tmp_path: Path) -> None:
    cache = open_cache(upstream, tmp_path, device_gb=1.0)
    data = cache.of(speech)
    with torch.inference_mode():
        batches(data)
    weight = torch.ones(3, requires_grad=True)
    batch = batches(data)[0]
    assert batch.features is not None
    (weight @ batch.features.layers.flatten(1)).sum().backward()  # type: ignore[union-attr]
    assert weight.grad is not None
    cache.close()


def test_nothing_is_kept_where_features_change_or_cost_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny = RandomHubert(num_blocks=1, hidden_size=32, conv_channels=16)
    dropping = RandomHubert(num_blocks=1, hidden_size=32, conv_channels=16, dropout_while_frozen=True)
    cases: list[tuple[Any, str | None, bool, str]] = [
        (tiny, None, False, "cache=off"),
        (tiny, "bf16", True, "trained"),
        (dropping, "bf16", False, "dropout_while_frozen"),
        (Fbank(), "bf16", False, "as fast as they are read"),
    ]
    for one, dtype, trained, reason in cases:
        caplog.clear()
        cache = Cache(dtype=dtype, folder=str(tmp_path))  # type: ignore[arg-type]
        with caplog.at_level("INFO"):
            assert cache.open(one, SETTINGS, device=CPU, precision="fp32", trained=trained) is None
        assert reason in caplog.text
    assert not list(tmp_path.iterdir())


def test_the_forecast_says_size_and_share(upstream: Counting, speech: SpeechDataset, tmp_path: Path) -> None:
    settings = Cache(dtype="bf16", folder=str(tmp_path), max_gb=1.0)
    cache = settings.open(upstream, SETTINGS, device=CPU, precision="fp32", trained=False)
    assert cache is not None
    # 3 layers x 32 x 2 bytes x 50 frames = 9,600 bytes a second
    assert "take 0.03 GB (3 layers of 32, bf16)" in settings.forecast(cache, audio_s=3600)
    assert "all of it fits" in settings.forecast(cache, audio_s=3600)
    assert "29 % fits" in settings.forecast(cache, audio_s=100 * 3600).replace("29%", "29 %")
    cache.close()


def test_workers_need_no_model(upstream: Counting, speech: SpeechDataset, tmp_path: Path) -> None:
    cache = open_cache(upstream, tmp_path)
    data = cache.of(speech)
    assert isinstance(data, CachedSpeech)
    assert "_complete" in data.__getstate__()
    assert data.__getstate__()["_complete"] is None
    cache.close()


def test_features_of_a_part_are_refused(upstream: Counting, speech: SpeechDataset, tmp_path: Path) -> None:
    cache = open_cache(upstream, tmp_path)
    with pytest.raises(ValueError, match=r"features are kept of whole utterances: leave out loading\.crops"):
        cache.of(speech)[Draw(0, 0.1, 0.1)]
    cache.close()


@pytest.mark.parametrize(
    "changed", [{"precision": "bf16"}, {"device": torch.device("meta")}, {"settings": {"name": "tiny", "x": 1}}]
)
def test_what_computed_them_is_part_of_the_identity(
    changed: dict[str, Any], upstream: Counting, tmp_path: Path
) -> None:
    def folder_of(settings: dict[str, Any] = SETTINGS, *, precision: str = "fp32", device: torch.device = CPU) -> Path:
        cache = Cache(dtype="fp32", folder=str(tmp_path), max_gb=1.0)
        opened = cache.open(upstream, settings, device=device, precision=precision, trained=False)
        assert opened is not None
        assert opened.store is not None
        opened.close()
        return opened.store.folder

    assert folder_of() == folder_of() != folder_of(**changed)
