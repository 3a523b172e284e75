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
for its padded seconds. A process a side, in turns, medians over `--rounds`; loading of models and corpus is not counted.
Filling is the time inside the upstream; a steady step is the median over the updates in which it was not called.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.harness import (
    Figures,
    Table,
    clocks,
    command_line,
    in_child,
    in_turns,
    machine,
    median,
    peak_gb,
    save,
    set_up,
)

BATCH = 8


def overrides(settings: argparse.Namespace, side: str) -> list[str]:
    """The official settings of the run, and where its files are."""
    folder = settings.folder
    own = f"{folder}/{side}-{settings.round}"  # no round finds what one before it left
    return [
        "+exp=v1/mono_asr", "data=synthetic", f"data.mono={settings.mono}", f"data.minutes={settings.minutes}",
        f"data.test_minutes={settings.minutes}", f"data.root={folder}/synthetic", f"manifests={folder}/manifests",
        "upstream=hf", f"upstream.checkpoint={folder}/hubert_base", f"cache={settings.cache}",
        f"cache.folder={own}/features", f"trainer.precision={settings.precision}",
        f"trainer.iterations_per_epoch={settings.iterations}", "trainer.max_epochs=1",
        f"trainer.device={settings.device}", f"output_root={own}",
    ]  # fmt: skip


class Watch:
    """Notes when some functions were called and when they ended, by both clocks; the device is waited for."""

    def __init__(self, device: Any) -> None:
        self.device = device
        self.spans: dict[str, list[tuple[Any, Any]]] = {}

    def wrap(self, owner: Any, attribute: str, name: str) -> None:
        inner: Callable[..., Any] = getattr(owner, attribute)
        spans = self.spans.setdefault(name, [])

        def timed(*arguments: Any, **keywords: Any) -> Any:
            start = clocks()
            found = inner(*arguments, **keywords)
            spans.append((start, clocks(self.device)))
            return found

        setattr(owner, attribute, timed)

    def seconds(self, name: str) -> list[float]:
        """All calls together."""
        return [sum(end[clock] - start[clock] for start, end in self.spans[name]) for clock in range(2)]

    def between(self, name: str, *, without: str) -> list[list[float]]:
        """Seconds from the end of a call to that of the next, where `without` was not called."""
        ends = [end for _, end in self.spans[name]]
        others = [end[0] for _, end in self.spans[without]]
        quiet = [(a, b) for a, b in pairwise(ends) if not any(a[0] < one < b[0] for one in others)]
        return [[after - before for before, after in zip(a, b, strict=True)] for a, b in quiet]


def make_checkpoint(settings: argparse.Namespace) -> None:
    """HuBERT-base with random weights."""
    from scripts import real_models

    real_models.save_model("hubert_base", Path(settings.folder) / "hubert_base")


def measure_ours(settings: argparse.Namespace) -> Figures:
    """Our run, whole."""
    import torch

    from scripts.bench import ours

    set_up(settings)
    with ours.run_of(*overrides(settings, "ours")) as (config, run, data, recogniser):
        watch = Watch(recogniser.device)
        watch.wrap(recogniser.model.upstream, "forward", "upstream")
        watch.wrap(torch.optim.Adam, "step", "update")
        watch.wrap(type(recogniser), "validate", "validation")
        watch.wrap(ours, "train", "whole")
        ours.train(config, run, data, recogniser)
    steady = watch.between("update", without="upstream")
    assert steady, "every update had new features: more iterations, or fewer minutes"
    return {
        "whole_s": watch.seconds("whole"),
        "fill_s": watch.seconds("upstream"),
        "step_s": [one / config["trainer"]["accumulate"] for one in median(steady)],
        "validation_s": watch.seconds("validation"),
        "peak_gb": peak_gb(recogniser.device),
        "audio_min": [float(one.durations_s.sum()) / 60 for one in (data.train, data.dev)],
        "machine": machine(recogniser.device),
    }


def measure_ordinary(settings: argparse.Namespace) -> Figures:
    """Some steps of the ordinary way, and from them the whole run."""
    import torch

    from scripts.bench import ours
    from scripts.bench.ordinary import OrdinaryTraining

    with ours.run_of(*overrides(settings, "ordinary")) as (config, _, data, recogniser):
        device = recogniser.device
        side = OrdinaryTraining(Path(settings.folder) / "hubert_base", recogniser.model.cpu(), device)
    recogniser.model = None
    set_up(settings, as_it_comes=True)
    sizes = ((data.train, settings.iterations), (data.dev, len(data.dev) // BATCH))
    train, dev = ((speech, ours.training_plan(config, speech, num=num)) for speech, num in sizes)
    step = _times(side, *train, num=settings.ordinary_steps, warm_up=1)
    side.top.eval()
    with torch.no_grad():
        valid = _times(side, *dev, num=settings.ordinary_valid, warm_up=0)
    return {
        "whole_s": (step.sum(0) + valid.sum(0)).tolist(),
        "step_s": step.mean(0).tolist(),
        "validation_s": valid.sum(0).tolist(),
        "measured": [settings.ordinary_steps, settings.ordinary_valid],
        "peak_gb": peak_gb(device),
    }


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


def show(settings: argparse.Namespace, ours: Figures, ordinary: Figures) -> None:
    """The table."""
    train_min, dev_min = ours["audio_min"]
    print(
        f"{settings.iterations} iterations, {train_min:.1f} min of training and {dev_min:.1f} min of dev speech, "
        f"precision {settings.precision}, cache {settings.cache}; medians of {settings.rounds}; {ours['machine']}\n"
    )
    table = Table("", "ours", f"ordinary ({' and '.join(map(str, ordinary['measured']))} batches measured)", "ratio")
    names = {"whole_s": "whole run", "step_s": "steady step", "validation_s": "validation"}
    for clock, unit in enumerate(("s", "processor s")):
        for key, name in names.items():
            us, them = ours[key][clock], ordinary[key][clock]
            table.row(f"{name}, {unit}", f"{us:.3f}", f"{them:.3f}", f"{them / us:.1f} x")
        table.row(f"of the whole run, inside the upstream, {unit}", f"{ours['fill_s'][clock]:.1f}", "", "")
    peaks = [one["peak_gb"] for one in (ours, ordinary)]
    table.row("peak memory, GB", *(f"{one:.2f}" for one in peaks), f"{peaks[1] / peaks[0]:.2f} x")


def main() -> int:
    """Measure both sides and print."""
    parser = command_line(__doc__, rounds=1, device="cpu")
    parser.add_argument("--precision", default="bf16", choices=("fp32", "bf16"), help="of our training (default: bf16)")
    parser.add_argument("--cache", default="bf16", choices=("fp32", "int16", "bf16", "int8"), help="default: bf16")
    parser.add_argument("--iterations", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=10.0, help="of training and of dev speech (default: 10)")
    parser.add_argument("--mono", default="eng1", help="data.mono: which monolingual run (default: eng1)")
    parser.add_argument("--ordinary-steps", type=int, default=20, help="training batches to measure (default: 20)")
    parser.add_argument("--ordinary-valid", type=int, default=4, help="dev batches to measure (default: 4)")
    parser.add_argument("--folder", type=Path, help="where the scratch folder goes (default: the system's)")
    parser.add_argument("--quick", action="store_true", help="40 iterations on a minute of speech, 3 measured steps")
    options = parser.parse_args()
    if options.quick:
        options.iterations, options.minutes, options.ordinary_steps, options.ordinary_valid = 40, 1.0, 3, 2
    with tempfile.TemporaryDirectory(dir=options.folder) as options.folder:
        in_child(make_checkpoint, options)
        found = in_turns(
            {"ours": (measure_ours, options), "ordinary": (measure_ordinary, options)}, rounds=options.rounds
        )
    show(options, found["ours"], found["ordinary"])
    save(options, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
