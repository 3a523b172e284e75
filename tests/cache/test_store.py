"""Files of features: whole or not there, never believed blindly, within their room."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mlsuperb.cache import budget as budget_module
from mlsuperb.cache import store as store_module
from mlsuperb.cache.budget import DROPPED, IN_USE, LOCK
from mlsuperb.cache.codec import Kept, decode, encode
from mlsuperb.cache.store import LEFTOVER_S, Store, audio_key

GB = 10**9
LAYERS = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
KEY = audio_key(np.ones(7, np.float32))


def store(root: Path, *, name: str = "tiny", revision: int = 0, max_bytes: float = GB) -> Store:
    return Store(root, name=name, identity={"revision": revision}, max_bytes=max_bytes)


@pytest.mark.parametrize("dtype", ["fp32", "int16", "bf16", "int8"])
def test_what_was_written_is_read_by_another_process_to_the_bit(tmp_path: Path, dtype: str) -> None:
    kept = encode(LAYERS, dtype)  # type: ignore[arg-type]
    store(tmp_path).write(KEY, kept)
    read = pickle.loads(pickle.dumps(store(tmp_path))).read(KEY)  # as a worker process gets it
    assert read is not None
    assert read.tensors.keys() == kept.tensors.keys()
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in kept.tensors.items())


def test_rounding_is_that_of_the_dtype() -> None:
    assert torch.equal(decode(encode(LAYERS, "fp32")), LAYERS)
    assert torch.equal(decode(encode(LAYERS, "bf16")), LAYERS.bfloat16())
    kept = encode(LAYERS, "int8")
    assert kept.scales is not None
    half_a_step = kept.scales[..., None] / 2
    exact = kept.values.float() * kept.scales[..., None]
    assert ((exact - LAYERS).abs() <= 1.001 * half_a_step).all()
    assert (decode(kept).float() - exact).abs().max() <= 2**-6 * LAYERS.abs().max()
    assert torch.equal(decode(encode(torch.zeros(1, 2, 4), "int8")), torch.zeros(1, 2, 4).bfloat16())


def test_int16_takes_the_steps_of_each_features_own_range() -> None:
    """Whatever the constant part of a feature; and padding stays zero, whatever stands beside an utterance."""
    layers = torch.stack([LAYERS, 100 * LAYERS + 5000, torch.full_like(LAYERS, 3.0)], dim=1)  # (L, B, F, D)
    frames = [5, 4, 1]
    for row, length in enumerate(frames):
        layers[:, row, length:] = 0
    together = decode(encode(layers, "int16", frames), frames)
    for row, length in enumerate(frames):
        alone = layers[:, row, :length]
        kept = encode(alone, "int16")
        assert torch.equal(decode(kept), together[:, row, :length])
        assert (together[:, row, length:] == 0).all()
        half_a_step = (alone.amax(1, keepdim=True) - alone.amin(1, keepdim=True)) / 65_534 / 2
        rounding = 2**-23 * alone.abs().amax()  # of fp32
        assert ((decode(kept) - alone).abs() <= 1.01 * half_a_step + rounding).all()
        assert kept.num_bytes == alone.nbytes // 2 + 2 * 4 * alone[:, 0].numel()
    assert torch.equal(together[:, 2, :1], layers[:, 2, :1]), "one frame is exact"
    assert decode(encode(LAYERS * torch.inf, "int16")).isnan().all(), "what is not finite is not hidden"


def test_the_key_is_of_the_sound_alone() -> None:
    wave = np.linspace(-1, 1, 100, dtype=np.float32)
    assert audio_key(wave) == audio_key(np.repeat(wave, 2)[::2])
    assert audio_key(wave) != audio_key(np.append(wave, np.float32(0)))


def test_other_settings_are_another_folder(tmp_path: Path) -> None:
    store(tmp_path, revision=1).write(KEY, encode(LAYERS, "fp32"))
    assert store(tmp_path, revision=2).read(KEY) is None
    assert len(list(tmp_path.glob("tiny-*/about.json"))) == 2


def flip_a_byte(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def no_header(path: Path) -> None:
    path.write_bytes(b"")


def of_other_audio(path: Path) -> None:
    save_file(load_file(path), path, metadata={"identity": "0", "key": KEY, "crc32": "0"})


def of_a_neighbour(path: Path) -> None:
    key, one = audio_key(np.zeros(7, np.float32)), store(path.parents[2])
    one.write(key, encode(LAYERS, "bf16"))
    one.path(key).replace(path)


def of_another_program(path: Path) -> None:
    save_file(load_file(path), path)


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        (flip_a_byte, "damaged"),
        (cut_short, "damaged"),
        (no_header, "damaged"),
        (of_other_audio, "stale"),
        (of_a_neighbour, "stale"),
        (of_another_program, "stale"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_removed_with_a_message(
    tmp_path: Path, harm: object, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    one = store(tmp_path)
    one.write(KEY, encode(LAYERS, "bf16"))
    harm(one.path(KEY))  # type: ignore[operator]
    other = store(tmp_path)
    used_bytes, size = other.used_bytes, one.path(KEY).stat().st_size
    with caplog.at_level(logging.WARNING):
        assert other.read(KEY) is None
    assert other.used_bytes == used_bytes - size
    assert f"{one.path(KEY)} is {kind}" in caplog.text
    assert "computed again" in caplog.text
    assert not other.path(KEY).exists()
    other.write(KEY, encode(LAYERS, "bf16"))
    assert other.read(KEY) is not None


def test_a_file_that_cannot_be_opened_stays_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    one = store(tmp_path)
    one.write(KEY, encode(LAYERS, "bf16"))
    with monkeypatch.context() as patched:
        patched.setattr(store_module, "safe_open", refuse)
        assert one.read(KEY) is None
    assert "cannot be read" in caplog.text
    assert one.read(KEY) is not None


def test_a_killed_writer_leaves_nothing_that_is_read(tmp_path: Path) -> None:
    """Killed at many moments while it writes one file after another."""
    script = (
        "import sys, torch; from pathlib import Path\n"
        "from mlsuperb.cache.store import Store; from mlsuperb.cache.codec import Kept\n"
        "one = Store(Path(sys.argv[1]), name='tiny', identity={'revision': 0}, max_bytes=1e9)\n"
        "print('ready', flush=True)\n"
        "for n in range(10**6): one.write(f'{n:032x}', Kept(torch.full((4, 50, 64), float(n))))\n"
    )
    for delay_s in (0.05, 0.2):
        writer = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(delay_s)
        writer.kill()
        writer.wait()
    one = store(tmp_path)
    names = [path.stem for path in one.folder.glob("*/*.safetensors")]
    assert len(names) > 10
    for name in names:
        kept = one.read(name)
        assert kept is not None
        assert (kept.values == int(name, 16)).all()


def test_leftovers_of_killed_processes_are_removed_in_time(tmp_path: Path) -> None:
    one = store(tmp_path)
    one.write(KEY, encode(LAYERS, "bf16"))
    old, new = (one.path(KEY).with_name(f".{name}.1") for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, time.time() - 2 * LEFTOVER_S))
    store(tmp_path)
    assert not old.exists()
    assert new.exists()  # a process may be writing it


def test_the_room_is_kept_to_and_that_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    size = encode(LAYERS, "fp32").num_bytes + 512
    one = store(tmp_path, max_bytes=4.5 * size)
    start = one.used_bytes
    with caplog.at_level(logging.WARNING):
        for number in range(8):
            one.write(f"{number:032x}", encode(LAYERS, "fp32"))
    assert start + 3 * size <= one.used_bytes <= 4.5 * size
    kept = [one.read(f"{number:032x}") is not None for number in range(8)]
    assert kept == sorted(kept, reverse=True)  # the first stay: each pass over a corpus needs all of them once
    assert caplog.text.count("no more features are kept") == 1
    assert "cache.max_gb" in caplog.text


def test_an_upstream_that_nobody_uses_is_evicted_and_one_in_use_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    size = encode(LAYERS, "fp32").num_bytes + 512

    def fill(one: Store, number: int) -> int:
        for index in range(number):
            one.write(f"{index:032x}", encode(LAYERS, "fp32"))
        return sum(one.read(f"{index:032x}") is not None for index in range(number))

    unused, used = store(tmp_path, name="unused"), store(tmp_path, name="used")
    assert fill(unused, 3) == fill(used, 3) == 3
    unused.close()
    os.utime(unused.folder / IN_USE, (0, 0))
    third = store(tmp_path, name="third", max_bytes=8.5 * size)
    with caplog.at_level(logging.INFO):
        assert fill(third, 4) == 4
    evicted = f"evicted 0.0 GB of features of the least recently used upstream ({unused.folder})"
    assert [one.message for one in caplog.records] == [evicted]
    assert not unused.folder.exists()
    assert fill(used, 3) == 3


def test_the_least_recently_used_upstreams_are_evicted_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    others = [store(tmp_path, name=name) for name in ("last", "first", "second")]
    for used_at, one in zip((3, 1, 2), others, strict=True):
        one.write(KEY, encode(LAYERS, "fp32"))
        one.close()
        os.utime(one.folder / IN_USE, (used_at, used_at))
    used_bytes = store(tmp_path, name="fourth").used_bytes
    fourth = store(tmp_path, name="fourth", max_bytes=used_bytes)
    with caplog.at_level(logging.INFO):
        for number in range(3):
            fourth.write(f"{number:032x}", encode(LAYERS, "fp32"))
    evicted = [name for one in caplog.messages for name in ("first", "second", "last") if f"/{name}-" in one]
    assert evicted == ["first", "second", "last"]


def test_reserved_room_of_a_killed_process_comes_back(tmp_path: Path) -> None:
    one = store(tmp_path)
    used = one.used_bytes
    one._budget.reserve(10**6)
    one.close()  # as its end does
    assert store(tmp_path).used_bytes == pytest.approx(used, abs=2000)


def test_a_start_beside_others_believes_their_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = store(tmp_path, name="one")
    one.write(KEY, encode(LAYERS, "fp32"))
    used_bytes, counted = one.used_bytes, []
    monkeypatch.setattr(budget_module, "_size_of", lambda folder: counted.append(folder) or 7)
    other = store(tmp_path, name="other")
    assert other.used_bytes == used_bytes
    assert not counted
    one.close()
    other.close()
    assert store(tmp_path, name="third").used_bytes == 7
    assert counted == [tmp_path]


def test_a_full_disk_ends_keeping_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    one = store(tmp_path)
    before = one.used_bytes
    monkeypatch.setattr(store_module, "save_file", fail)
    with caplog.at_level(logging.WARNING):
        one.write(KEY, encode(LAYERS, "fp32"))
        one.write(KEY, encode(LAYERS, "fp32"))
    assert caplog.text.count("the disk is full") == 1
    assert one.read(KEY) is None
    assert one.used_bytes == before
    assert not list(one.folder.glob("*/.*"))


def test_the_last_gigabytes_of_a_disk_are_left_to_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(budget_module, "LEFT_FREE", 10**18)
    one = store(tmp_path)
    used_bytes = one.used_bytes
    with caplog.at_level(logging.WARNING):
        one.write(KEY, Kept(LAYERS))
    assert one.read(KEY) is None
    assert one.used_bytes == used_bytes
    assert "GB left, which features never take" in caplog.text


def test_a_disk_too_full_to_count_on_ends_keeping_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    one = store(tmp_path)
    monkeypatch.setattr(budget_module, "_write", fail)
    with caplog.at_level(logging.WARNING):
        one.write(KEY, encode(LAYERS, "fp32"))
    assert caplog.text.count("the disk is full") == 1


def test_processes_that_start_together_share_a_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:  # a lock of a file's is of whoever opened it, a thread as well
        stores = list(threads.map(lambda _: store(tmp_path), range(32)))
    assert len({one.folder for one in stores}) == 1


def test_a_worker_forked_while_bytes_are_counted_does_not_keep_the_lock(tmp_path: Path) -> None:
    one = store(tmp_path)
    with one._budget.alone():
        worker = os.fork()
        if worker == 0:
            time.sleep(60)
            os._exit(0)
    try:
        with (tmp_path / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)


def test_what_a_killed_process_was_dropping_is_gone_at_the_next_start(tmp_path: Path) -> None:
    leftover = tmp_path / f"{DROPPED}other" / "ab"
    leftover.mkdir(parents=True)
    (leftover / "file").write_bytes(b"0" * 10**6)
    assert store(tmp_path).used_bytes < 10**5
    assert not leftover.parent.exists()
