"""The official ML-SUPERB 1.0 settings (`+exp=v1/asr_lid`) for 20 iterations on every family of upstreams, on the built-in
corpus: does it run, how long is an iteration, how much memory does it take?

    python scripts/bench/family_steps.py                                            # a tiny random model of each family
    python scripts/bench/family_steps.py --only fbank --real hubert_base --real xls_r_300m --json steps.json
    python scripts/bench/family_steps.py --only hubert_base --real xls_r_300m --blocks 1     # a cut-down one, to try it

Models are saved with `save_pretrained` and read back as `upstream=hf upstream.checkpoint=FOLDER`, as a published one would be.
Each runs in a process of its own, through the real loop: batches, SpecAugment, head, CTC, 5 updates of 4 iterations, one
validation, decoding, scoring. The time of an iteration is the median over the updates after the first, divided by 4, loading
of audio included. Peak memory is that of the training: on a GPU torch's, on a CPU the whole process with its libraries.
Not measured on a GPU so far; there, too, every step is waited for before the clock is read.
OMP_NUM_THREADS sets the threads of a CPU run.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

# Nothing heavy here: Linux hands the peak memory of a process on to the programs that it starts.

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import real_models  # noqa: E402

TINY = ("hubert_base", "hubert_large", "wav2vec2_base", "xls_r", "mms", "wavlm_base", "wavlm_large", "w2v_bert")
ITERATIONS, ACCUMULATE = 20, 4


def make_checkpoint(kind: str, name: str, folder: Path, *, blocks: int | None) -> None:
    """Save a random model of a family (`tiny`) or of a published size (`real`), as it would lie on the hub."""
    if kind == "tiny":
        sys.path.insert(0, str(ROOT / "tests" / "upstreams"))
        import tiny_checkpoints

        assert set(TINY) == set(tiny_checkpoints.FAMILIES), "a family came or went"
        tiny_checkpoints.write_checkpoint(folder, name)
        return
    real_models.save_model(name, folder, blocks=blocks)


def measure(overrides: list[str], target: Path) -> None:
    """Run an experiment in this process and write its figures to `target`."""
    import torch

    from mlsuperb.benchmark import build
    from mlsuperb.config.compose import compose
    from mlsuperb.run import run_experiment
    from mlsuperb.runtime.device import describe_device
    from mlsuperb.runtime.speed import peak_memory_gb

    config = compose(overrides)
    assert config["trainer"]["accumulate"] == ACCUMULATE, "the official settings changed"
    figures: dict[str, Any] = {}
    ends_s: list[float] = []
    step, train = torch.optim.Adam.step, build.train

    def timed_step(*arguments: Any, **keywords: Any) -> Any:
        found = step(*arguments, **keywords)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        ends_s.append(time.perf_counter())
        return found

    def watched_train(config: Any, recogniser: Any, **keywords: Any) -> Any:
        progress = train(config, recogniser, **keywords)
        upstream, figures["device"] = recogniser.model.upstream, describe_device(recogniser.device)
        figures["layers"], figures["size"] = upstream.num_layers, upstream.layer_size
        figures["peak_memory_gb"] = round(peak_memory_gb(recogniser.device), 2)
        figures["losses"] = [progress.history[-1][name] for name in ("train_loss", "valid_loss")]
        return progress

    torch.optim.Adam.step = timed_step  # type: ignore[method-assign]
    build.train = watched_train
    run_experiment(config)
    assert len(ends_s) == ITERATIONS // ACCUMULATE, f"{len(ends_s)} updates"
    updates_s = [later - earlier for earlier, later in pairwise(ends_s)]
    figures["iteration_s"] = round(statistics.median(updates_s) / ACCUMULATE, 4)
    hypotheses = Path(config["output_root"]) / config["run_id"] / "hypotheses.jsonl"
    figures["num_hypotheses"] = len(hypotheses.read_text(encoding="utf-8").splitlines())
    target.write_text(json.dumps(figures | {"torch": torch.__version__}), encoding="utf-8")


def bench(kind: str, name: str, folder: Path, *, blocks: int | None, settings: list[str]) -> dict[str, Any]:
    """One row of the table; `error` says why there is none."""
    row = {"model": name if kind == "fbank" else f"{name} ({kind}{f', {blocks} blocks' if blocks else ''})"}
    place = folder / f"{kind}-{name}{f'-{blocks}' if blocks else ''}"
    upstream = ["upstream=fbank"]
    if kind != "fbank":
        if not (place / "preprocessor_config.json").is_file():  # written last
            done = start("--make", kind, name, str(place), str(blocks or 0))
            if done.returncode:
                return row | {"error": done.stderr[-2000:]}
        upstream = ["upstream=hf", f"upstream.checkpoint={place}"]
    with tempfile.TemporaryDirectory(dir=folder) as runs:
        target = Path(runs) / "figures.json"
        done = start("--measure", str(target), "+exp=v1/asr_lid", *upstream, *settings, f"output_root={runs}")
        if done.returncode:
            return row | {"error": done.stderr[-2000:]}
        return row | json.loads(target.read_text(encoding="utf-8"))


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    """This script in a process of its own."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})


def show(row: dict[str, Any], write: Callable[[str], None] = print) -> None:
    """A line of the table."""
    if "error" in row:
        write(f"{row['model']:28} FAILED: {row['error']}")
        return
    finite = "yes" if all(map(math.isfinite, row["losses"])) else "NO"
    size = f"{row['layers']} x {row['size']}"
    figures = f"{row['iteration_s']:8.3f} {row['peak_memory_gb']:8.2f} {finite:>7} {row['num_hypotheses']:>7}"
    write(f"{row['model']:28} {size:>9} {figures}")


def main(arguments: argparse.Namespace) -> int:
    """Measure and print; 1 if something failed."""
    chosen = [("fbank", "fbank"), *(("tiny", name) for name in TINY)]
    chosen = [one for one in chosen if not arguments.only or one[1] in arguments.only]
    chosen += [("real", name) for name in arguments.real]
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        settings = [
            "data=synthetic", f"data.root={folder}/synthetic", f"manifests={folder}/manifests",
            f"data.languages=[{arguments.languages}]", f"data.minutes={arguments.minutes}", "data.test_minutes=0.3",
            "trainer=ml_superb_multi", f"trainer.iterations_per_epoch={ITERATIONS}", "trainer.max_epochs=1",
            f"trainer.device={arguments.device}",
        ]  # fmt: skip
        print(f"{'upstream':28} {'layers':>9} {'s/it':>8} {'peak GB':>8} {'finite':>7} {'hyps':>7}", flush=True)
        rows = []
        for kind, name in chosen:
            blocks = arguments.blocks if kind == "real" else None
            rows.append(bench(kind, name, folder, blocks=blocks, settings=settings))
            show(rows[-1])
            sys.stdout.flush()
    good = [row for row in rows if "error" not in row]
    if good:
        print(f"{good[0]['device']}, torch {good[0]['torch']}")
    if arguments.json:
        content = {"settings": settings, "iterations": ITERATIONS, "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return int(len(good) < len(rows) or not all(map(math.isfinite, (loss for row in good for loss in row["losses"]))))


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--real", action="append", default=[], choices=real_models.REAL, help="repeatable: a model of real size"
    )
    parser.add_argument("--only", action="append", choices=("fbank", *TINY), help="repeatable: these tiny ones only")
    parser.add_argument("--blocks", type=int, help="cut the real ones to so many Transformer blocks")
    parser.add_argument("--languages", default="deu,swa", help="of the corpus (default: deu,swa)")
    parser.add_argument("--minutes", type=float, default=1.5, help="training speech a language (default: 1.5)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    parser.add_argument("--folder", type=Path, help="where models and corpus stay for the next call (default: scratch)")
    parser.add_argument("--json", type=Path, help="write everything to a file")
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        make_checkpoint(sys.argv[2], sys.argv[3], Path(sys.argv[4]), blocks=int(sys.argv[5]) or None)
    elif sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[3:], Path(sys.argv[2]))
    else:
        sys.exit(main(parse()))
