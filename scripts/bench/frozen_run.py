"""A whole run on a frozen HuBERT-base with the official 10-minute monolingual settings (`+exp=v1/mono_asr`): 500 iterations of 8
sorted utterances, an update every 4, one validation; through our real loop with its feature cache, beside the ordinary way:
transformers' HuBERT in fp32, without gradients, in every step, then s3prl's weighted sum and ESPnet's modules
(`scripts/bench/ordinary.py`), on the same padded batches in the same order. Run it with the Python that
`scripts/parity_espnet.py` describes:

    .venv-espnet/bin/python scripts/bench/frozen_run.py --threads 2 --precision bf16 --cache bf16
    .venv-espnet/bin/python scripts/bench/frozen_run.py --precision fp32 --cache fp32
    .venv-espnet/bin/python scripts/bench/frozen_run.py --quick           # 40 iterations on a minute of speech
    .venv-espnet/bin/python scripts/bench/frozen_run.py --device cuda     # not measured so far

HuBERT-base is the published configuration with random weights; the corpus is the built-in one (10 minutes of training speech,
10 of dev speech) as wav files, which both sides read. Ours is run whole, from an empty cache. The other side is extrapolated:
`--ordinary-steps` batches, spread evenly over the lengths of all, and `--ordinary-valid` of the dev set's (8 utterances each,
as ESPnet has them; the loss alone, no error rates) are timed, and every batch of the run takes what a line through them gives
for its padded seconds. A process a side, one after the other; loading of models and corpus is not counted. Cache filling is the
time inside the upstream; a steady step is the median over the updates in which it was not called.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

# Nothing heavy here: Linux hands the peak memory of a process on to the programs that it starts.

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
RATE_HZ, BATCH = 16_000, 8


def overrides(arguments: argparse.Namespace, side: str) -> list[str]:
    """The settings of the run: the official ones, where they do not say where."""
    folder = arguments.folder
    return [
        "+exp=v1/mono_asr", "data=synthetic", f"data.mono={arguments.mono}", f"data.minutes={arguments.minutes}",
        f"data.test_minutes={arguments.minutes}", f"data.root={folder}/synthetic", f"manifests={folder}/manifests",
        "upstream=hf", f"upstream.checkpoint={folder}/hubert_base", f"cache={arguments.cache}",
        f"cache.folder={folder}/{side}/features", f"trainer.precision={arguments.precision}",
        f"trainer.iterations_per_epoch={arguments.iterations}", "trainer.max_epochs=1",
        f"trainer.device={arguments.device}", f"output_root={folder}/{side}",
    ]  # fmt: skip


class Watch:
    """Notes when some functions were called and when they ended, by both clocks; the device is waited for."""

    def __init__(self) -> None:
        self.spans: dict[str, list[tuple[Any, Any]]] = {}

    def wrap(self, owner: Any, attribute: str, name: str) -> None:
        import torch

        from scripts.bench.machine import clocks

        inner: Callable[..., Any] = getattr(owner, attribute)
        spans = self.spans.setdefault(name, [])

        def timed(*arguments: Any, **keywords: Any) -> Any:
            start = clocks()
            found = inner(*arguments, **keywords)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            spans.append((start, clocks()))
            return found

        setattr(owner, attribute, timed)

    def seconds(self, name: str) -> list[float]:
        """All calls together."""
        return [sum(float(end[clock] - start[clock]) for start, end in self.spans[name]) for clock in range(2)]

    def between(self, name: str, *, without: str) -> Any:
        """(N, 2) from the end of a call to that of the next, where `without` was not called."""
        import numpy as np

        ends = [end for _, end in self.spans[name]]
        others = [end[0] for _, end in self.spans[without]]
        return np.array([b - a for a, b in pairwise(ends) if not any(a[0] < one < b[0] for one in others)])


def measure_ours(arguments: argparse.Namespace) -> dict[str, Any]:
    """Our run, whole, in this process."""
    import numpy as np
    import torch

    from mlsuperb.benchmark import build
    from mlsuperb.benchmark.recogniser import Recogniser
    from mlsuperb.config.check import check
    from mlsuperb.config.compose import compose
    from mlsuperb.runs.run import Run
    from mlsuperb.runtime.speed import peak_memory_gb
    from scripts.bench.machine import clocks, describe_machine

    torch.set_num_threads(arguments.threads)
    config, watch = compose(overrides(arguments, "ours")), Watch()
    check(config)
    with Run(config) as run:
        run.begin()
        data = build.build_data(config, run=run)
        recogniser = build.build_recogniser(config, vocabulary=data.vocabulary)
        watch.wrap(recogniser.model.upstream, "forward", "upstream")
        watch.wrap(torch.optim.Adam, "step", "update")
        watch.wrap(Recogniser, "validate", "validation")
        start = clocks()
        with build.features_kept(config, recogniser, data.train, data.dev) as (train, dev):
            build.train(config, recogniser, train=train, dev=dev, run=run)
        whole_s = clocks() - start
    steady = watch.between("update", without="upstream")
    assert len(steady), "every update heard something new: more iterations, or fewer minutes"
    return {
        "whole_s": whole_s.tolist(),
        "fill_s": watch.seconds("upstream"),
        "step_s": (np.median(steady, axis=0) / config["trainer"]["accumulate"]).tolist(),
        "validation_s": watch.seconds("validation"),
        "peak_gb": peak_memory_gb(recogniser.device),
        "audio_min": [float(one.durations_s.sum()) / 60 for one in (data.train, data.dev)],
        "machine": describe_machine(recogniser.device),
    }


def measure_ordinary(arguments: argparse.Namespace) -> dict[str, Any]:
    """Some steps of the ordinary way, and from them the whole run."""
    import torch

    from mlsuperb.benchmark import build
    from mlsuperb.config.compose import compose
    from mlsuperb.runs.run import Run
    from mlsuperb.runtime.speed import peak_memory_gb
    from scripts.bench.ordinary import OrdinaryTraining

    torch.set_num_threads(arguments.threads)
    logging.getLogger().setLevel(logging.ERROR)
    config = compose(overrides(arguments, "ordinary"))
    with Run(config) as run:
        run.begin()
        data = build.build_data(config, run=run)
    recogniser = build.build_recogniser(config, vocabulary=data.vocabulary)
    side = OrdinaryTraining(arguments.folder / "hubert_base", recogniser.model.cpu(), recogniser.device)
    recogniser.model = None  # type: ignore[assignment]
    train, dev = (
        (speech, _batches(config, speech, num=num))
        for speech, num in ((data.train, arguments.iterations), (data.dev, len(data.dev) // BATCH))
    )
    step = _times(side, *train, num=arguments.ordinary_steps, warm_up=1)
    side.top.eval()
    with torch.no_grad():
        valid = _times(side, *dev, num=arguments.ordinary_valid, warm_up=0)
    return {
        "whole_s": (step.sum(0) + valid.sum(0)).tolist(),
        "step_s": step.mean(0).tolist(),
        "validation_s": valid.sum(0).tolist(),
        "measured": [arguments.ordinary_steps, arguments.ordinary_valid],
        "peak_gb": peak_memory_gb(recogniser.device),
    }


def _batches(config: dict[str, Any], speech: Any, *, num: int) -> list[list[int]]:
    """The first batches of a run; of one pass for the dev set."""
    from mlsuperb.config.build import instantiate
    from mlsuperb.data.batching import TrainingBatches

    batching = instantiate(config["loading"]["train"])
    plan = iter(TrainingBatches(speech.durations_s, batching=batching, seed=config["seed"], start=0))
    return [[draw.index for draw in next(plan)] for _ in range(num)]


def _times(side: Any, speech: Any, batches: list[list[int]], *, num: int, warm_up: int) -> Any:
    """(N, 2) seconds of all batches by both clocks, along a line through `num` of them, spread over their padded lengths."""
    import numpy as np

    from mlsuperb.data.dataset import collate

    padded_s = np.array([len(one) * float(speech.durations_s[one].max()) for one in batches])
    order = np.argsort(padded_s, kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, num).round().astype(int)]
    shuffled = np.random.default_rng(0).permutation(chosen)  # a machine that slows down must not look like a slope
    visited = [*shuffled[:warm_up], *shuffled]
    seconds = [side.step(lambda index=index: collate([speech[one] for one in batches[index]])) for index in visited]
    if len(np.unique(padded_s[shuffled])) == 1:  # a corpus of one batch
        return np.tile(np.mean(seconds[warm_up:], axis=0), (len(batches), 1))
    lines = np.polyfit(padded_s[shuffled], np.array(seconds[warm_up:]), 1)
    return padded_s[:, None] * lines[0] + lines[1]


def child(arguments: argparse.Namespace, side: str) -> dict[str, Any]:
    """One side in a process of its own."""
    target = arguments.folder / f"{side}.json"
    done = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], "--folder", str(arguments.folder), "--side", side], check=False,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, "TRANSFORMERS_VERBOSITY": "error"},
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{side} ended with {done.returncode}: {done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    return found


def show(arguments: argparse.Namespace, ours: dict[str, Any], ordinary: dict[str, Any]) -> None:
    """The table."""
    train_min, dev_min = ours["audio_min"]
    print(
        f"{arguments.iterations} iterations, {train_min:.1f} min of training and {dev_min:.1f} min of dev speech, "
        f"precision {arguments.precision}, cache {arguments.cache}; {ours['machine']}\n"
    )
    print(f"| | ours | ordinary ({' and '.join(map(str, ordinary['measured']))} batches measured) | ratio |")
    print("|---|---:|---:|---:|")
    names = {"whole_s": "whole run", "step_s": "steady step", "validation_s": "validation"}
    for clock, unit in enumerate(("s", "processor s")):
        for key, name in names.items():
            us, them = ours[key][clock], ordinary[key][clock]
            print(f"| {name}, {unit} | {us:.3f} | {them:.3f} | {them / us:.1f} x |")
        print(f"| of the whole run, inside the upstream, {unit} | {ours['fill_s'][clock]:.1f} | | |")
    memory = [f"{one['peak_gb']:.2f}" for one in (ours, ordinary)]
    print(f"| peak memory, GB | {memory[0]} | {memory[1]} | {ordinary['peak_gb'] / ours['peak_gb']:.2f} x |")


def main(arguments: argparse.Namespace) -> None:
    """Measure both sides and print."""
    import real_models

    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        arguments.folder = Path(scratch)
        save = "import sys, real_models; real_models.save_model('hubert_base', __import__('pathlib').Path(sys.argv[1]))"
        environment = {**os.environ, "PYTHONPATH": str(Path(real_models.__file__).parent)}
        subprocess.run([sys.executable, "-c", save, str(arguments.folder / "hubert_base")], check=True, env=environment)
        show(arguments, child(arguments, "ours"), child(arguments, "ordinary"))


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ... (default: cpu)")
    parser.add_argument("--precision", default="bf16", choices=("fp32", "bf16"), help="of our training (default: bf16)")
    parser.add_argument("--cache", default="bf16", choices=("fp32", "bf16", "int8"), help="default: bf16")
    parser.add_argument("--iterations", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=10.0, help="of training and of dev speech (default: 10)")
    parser.add_argument("--mono", default="eng1", help="data.mono: which monolingual run (default: eng1)")
    parser.add_argument("--ordinary-steps", type=int, default=20, help="training batches to measure (default: 20)")
    parser.add_argument("--ordinary-valid", type=int, default=4, help="dev batches to measure (default: 4)")
    parser.add_argument("--folder", type=Path, help="where the scratch folder goes (default: the system's)")
    parser.add_argument("--quick", action="store_true", help="40 iterations on a minute of speech, 3 measured steps")
    parser.add_argument("--side", choices=("ours", "ordinary"), help=argparse.SUPPRESS)  # what a child process measures
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.iterations, arguments.minutes = 40, 1.0
        arguments.ordinary_steps, arguments.ordinary_valid = 3, 2
    return arguments


if __name__ == "__main__":
    given = parse()
    if given.side:
        figures = {"ours": measure_ours, "ordinary": measure_ordinary}[given.side](given)
        (given.folder / f"{given.side}.json").write_text(json.dumps(figures), encoding="utf-8")
    else:
        main(given)
