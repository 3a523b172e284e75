"""Read speech for training from shards and from files, whole and in windows, and what it takes on disk:

    python scripts/bench/shards.py --speech FOLDER --threads 1             # sizes and speeds; any folder of audio files
    python scripts/bench/shards.py --io-files 10000                        # the disk alone: bytes of 100 kB files, not decoded
    python scripts/bench/shards.py --plan-rows 25000000                    # what planning a pass costs, without audio

A side reads one pass of training batches in its own process, without workers: plan, read, decode, pad. `cold` begins with files
that the operating system does not hold (`posix_fadvise`), `warm` is the pass after; hours per processor second are of one core.
Audio that was coded with losses before takes less space than recordings do: see what the folder holds. Needs the extra `lhotse`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.harness import (
    Figures,
    Table,
    command_line,
    in_child,
    in_turns,
    machine,
    peak_gb,
    save,
    seconds,
    set_up,
)

SIDES = ("files", "shards, each utterance where it lies", "shards, in windows")
SIZE = 100_000  # bytes of an utterance where nothing is decoded
CODECS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "opus": ("OGG", "OPUS")}


def prepare(settings: argparse.Namespace) -> Figures:
    """Write the speech as files of each kind and as shards; sizes, and how fast shards are written."""
    import numpy as np
    import soundfile

    from mlsuperb.data.audio import load_audio
    from mlsuperb.data.audio_file import EXTENSIONS
    from mlsuperb.data.manifest import to_frame
    from mlsuperb.data.shard_writing import Sharding, write_shards
    from mlsuperb.types import Utterance

    set_up(settings)
    left_s, rows = 60 * settings.minutes, []
    for path in sorted(Path(settings.speech).rglob("*")):
        if path.suffix not in EXTENSIONS or left_s <= 0:
            continue
        samples_T = np.round(load_audio(path) * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16)
        duration_s, left_s = len(samples_T) / 16000, left_s - len(samples_T) / 16000
        for codec, (form, subtype) in CODECS.items():
            soundfile.write(new_file_of(settings, codec, len(rows)), samples_T, 16000, format=form, subtype=subtype)
        rows.append(
            Utterance(
                id=f"u{len(rows):06d}", audio=str(file_of(settings, "wav", len(rows))), start_s=0.0, duration_s=duration_s,
                text="", language="und", dataset="bench", split="train",
            )
        )  # fmt: skip
    frame, found = to_frame(rows), {}
    hours = float(frame["duration_s"].sum() / 3600)
    for codec in ("flac", "opus"):
        sharding, out = Sharding(codec=codec, hours_per_shard=hours / 16), Path(settings.folder) / f"shards-{codec}"
        found[f"write {codec}"] = seconds(lambda s=sharding, o=out: write_shards(frame, o, sharding=s))
    for kind in ("wav", "flac", "opus", "shards-flac", "shards-opus"):
        found[f"bytes {kind}"] = sum(
            path.stat().st_size for path in Path(settings.folder, kind).rglob("*") if path.is_file()
        )
    return {"hours": hours, "files": len(rows), **found}


def file_of(settings: argparse.Namespace, codec: str, number: int) -> Path:
    """A file of the corpus; a hundred lie in a folder."""
    return Path(settings.folder, codec, f"{number // 100:04d}", f"{number:06d}.{codec}")


def new_file_of(settings: argparse.Namespace, codec: str, number: int) -> Path:
    """The same, for writing."""
    path = file_of(settings, codec, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def read(settings: argparse.Namespace) -> Figures:
    """Seconds of a pass by one side, cold and warm, and bytes that came from the disk in the cold one."""
    from mlsuperb.data.batching import BucketedBatches
    from mlsuperb.data.dataset import SpeechDataset
    from mlsuperb.data.loading import Loading
    from mlsuperb.data.shards import read_index

    device = set_up(settings)
    frame = read_index(Path(settings.folder, f"shards-{settings.codec}"))
    if settings.side == SIDES[0]:
        frame["audio"] = [str(file_of(settings, settings.codec, int(name[1:]))) for name in frame["id"]]
    windows = settings.hours / 4 if settings.side == SIDES[2] else None
    loading = Loading(train=BucketedBatches(max_batch_s=175), num_workers=0, keep_audio_gb=0, window_h=windows)
    wanted_s = float(frame["duration_s"].sum())

    def one_pass() -> None:
        stream, seen_s = loading.training(SpeechDataset(frame), seed=0)(0), 0.0
        while seen_s < wanted_s - 0.5:
            seen_s += next(stream).audio_s

    forget(Path(settings.folder))
    before = from_disk()
    cold = seconds(one_pass)
    return {"cold": cold, "disk": from_disk() - before, "warm": seconds(one_pass), "machine": machine(device)}


def forget(folder: Path) -> None:
    """Have the operating system hold none of the files below a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def write_bytes(settings: argparse.Namespace) -> Figures:
    """Write random bytes as files, a hundred in a folder, and once more as archives of 1,000 of them."""
    import numpy as np

    rng = np.random.default_rng(0)
    for first in range(0, settings.io_files, 1000):
        with Path(settings.folder, f"{first // 1000:04d}.tar").open("wb") as archive:
            for number in range(first, min(first + 1000, settings.io_files)):
                content = rng.bytes(SIZE)
                archive.write(content)
                new_file_of(settings, "bin", number).write_bytes(content)
    return {}


def read_bytes(settings: argparse.Namespace) -> Figures:
    """Seconds to read all of it from the disk by one side, in random order or in sequence."""
    import numpy as np

    from mlsuperb.data.windows import _Reading

    order = np.random.default_rng(1).permutation(settings.io_files).tolist()
    archives = sorted(map(str, Path(settings.folder).glob("*.tar")))

    def files() -> None:
        for number in order:
            file_of(settings, "bin", number).read_bytes()

    def anywhere() -> None:
        opened = [open(path, "rb", buffering=0) for path in archives]  # noqa: SIM115
        for number in order:
            os.pread(opened[number // 1000].fileno(), SIZE, number % 1000 * SIZE)

    def in_sequence() -> None:
        _Reading(archives).wait()

    forget(Path(settings.folder))
    return {"seconds": seconds(dict(zip(SIDES, (files, anywhere, in_sequence), strict=True))[settings.side])}


def show_io(settings: argparse.Namespace) -> Figures:
    """Measure and print what the disk gives."""
    in_child(write_bytes, settings)
    found = in_turns(
        {name: (read_bytes, argparse.Namespace(**vars(settings), side=name)) for name in SIDES}, rounds=settings.rounds
    )
    print(f"{settings.io_files:,} utterances of {SIZE / 1e3:g} kB, from the disk\n")
    table = Table("side", "s", "MB / s", "of files", "processor s")
    first = found[SIDES[0]]["seconds"][0]
    for name, row in found.items():
        wall_s, processor_s = row["seconds"]
        speed = settings.io_files * SIZE / 1e6 / wall_s
        table.row(name, f"{wall_s:.2f}", f"{speed:,.0f}", f"{first / wall_s:.2f} x", f"{processor_s:.2f}")
    return found


def from_disk() -> int:
    """Bytes that this process has had read from the disk so far."""
    return int(Path("/proc/self/io").read_text(encoding="utf-8").partition("read_bytes:")[2].split()[0])


def plan(settings: argparse.Namespace) -> Figures:
    """Seconds to plan all batches of a pass over many rows, and peak memory, in windows of shards or as a whole."""
    import numpy as np

    from mlsuperb.data.batching import BucketedBatches
    from mlsuperb.data.sampling import TwoLevel
    from mlsuperb.data.windows import ShardWindows

    device, rng = set_up(settings), np.random.default_rng(0)
    durations_s = np.clip(rng.lognormal(2.4, 0.5, settings.plan_rows), 2, 30)
    shard_N = (durations_s.cumsum() / 7200).astype(int)  # two hours each, a language after the other
    edges = 147 * (np.arange(shard_N[-1] + 1) / (shard_N[-1] + 1)) ** 0.3
    languages = edges.astype(int)[shard_N]
    repeats = TwoLevel(alpha=0.7, beta=0.9).repeats(durations_s, languages=languages, datasets=np.zeros(len(languages)))
    archives, batching, num = (
        [f"{number}.tar" for number in range(shard_N[-1] + 1)],
        BucketedBatches(max_batch_s=5600),
        [0],
    )

    def in_windows() -> None:
        windows = ShardWindows(shard_N, archives, durations_s, hours=200, read=False)
        for window in windows.of_pass(repeats, np.random.default_rng(1)):
            num[0] += len(batching.plan(durations_s[window.rows], rng=np.random.default_rng(2)))

    def whole() -> None:
        seen = np.repeat(np.arange(len(durations_s)), rng.poisson(repeats))
        num[0] += len(batching.plan(durations_s[seen], rng=np.random.default_rng(2)))

    taken = seconds({"in windows": in_windows, "as a whole": whole}[settings.side])
    return {"seconds": taken, "peak_gb": peak_gb(device), "batches": num[0], "hours": float(durations_s.sum() / 3600)}


def show_plans(settings: argparse.Namespace) -> Figures:
    """Measure and print what planning takes."""
    sides = {name: (plan, argparse.Namespace(**vars(settings), side=name)) for name in ("as a whole", "in windows")}
    found = in_turns(sides, rounds=settings.rounds)
    print(f"{settings.plan_rows:,} rows, {found['in windows']['hours']:,.0f} h, shards of 2 h, windows of 200 h\n")
    table = Table("a pass planned", "s", "processor s", "peak, GB", "batches")
    for name, row in found.items():
        table.row(name, *(f"{one:.1f}" for one in row["seconds"]), f"{row['peak_gb']:.2f}", f"{row['batches']:,.0f}")
    return found


def show_reading(settings: argparse.Namespace) -> Figures:
    """Measure and print sizes and speeds."""
    made = in_child(prepare, settings)
    hours = made["hours"]
    print(f"{hours:.2f} h in {made['files']:,} utterances\n")
    sizes = Table("kind", "MB per hour")
    for kind in ("wav", "flac", "opus", "shards-flac", "shards-opus"):
        sizes.row(kind, f"{made[f'bytes {kind}'] / hours / 1e6:.1f}")
    print()
    for codec in ("flac", "opus"):
        wall_s, processor_s = made[f"write {codec}"]
        print(
            f"writing {codec} shards of wav: {hours * 3600 / processor_s:,.0f} times real time per core ({wall_s:.1f} s)"
        )
    found = {}
    for codec in ("flac", "opus"):
        given = vars(settings) | {"codec": codec, "hours": hours}
        sides = {name: (read, argparse.Namespace(**given, side=name)) for name in SIDES}
        found[codec] = in_turns(sides, rounds=settings.rounds)
        print(f"\n{codec}; {found[codec][SIDES[0]]['machine']}\n")
        table = Table("side", "cold: h / s", "of files", "MB from disk", "warm: h / s", "h / processor s", "of files")
        first = found[codec][SIDES[0]]
        for name, row in found[codec].items():
            (cold_s, _), (warm_s, core_s) = row["cold"], row["warm"]
            table.row(
                name, f"{hours / cold_s:.3f}", f"{first['cold'][0] / cold_s:.2f} x", f"{row['disk'] / 1e6:.1f}",
                f"{hours / warm_s:.3f}", f"{hours / core_s:.3f}", f"{first['warm'][1] / core_s:.2f} x",
            )  # fmt: skip
    return {"made": made, "read": found}


def main() -> int:
    """Measure and print."""
    parser = command_line(__doc__, rounds=3, device="cpu")
    parser.add_argument("--speech", type=Path, help="a folder of audio files")
    parser.add_argument("--minutes", type=float, default=60.0, help="of it, at most (default: 60)")
    parser.add_argument("--plan-rows", type=int, help="plan a pass over so many rows instead")
    parser.add_argument("--io-files", type=int, help="read the bytes of so many files instead")
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    options = parser.parse_args()
    if not (options.plan_rows or options.io_files or options.speech):
        parser.error("give --speech FOLDER, --io-files N or --plan-rows N")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        options.folder = Path(folder)
        show = show_plans if options.plan_rows else show_io if options.io_files else show_reading
        found = show(options)
    save(options, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
