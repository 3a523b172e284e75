"""Every cell of upstream x adaptation x head x objective x task, trained for a few steps on tiny models, and the trained
parameters of every ML-SUPERB 2.0 experiment on models of real size; writes docs/matrix.md (and docs/matrix.csv with
`--csv`). Exits with 1 if a cell fails.

    python scripts/matrix.py                        # everything: some 20 minutes on one core
    python scripts/matrix.py --upstream xls_r --adaptation lora --adaptation qlora --no-real --out /tmp/matrix.md

A cell is a line of configuration: the parts are composed, checked and built as `mlsuperb.run` does. It trains on one batch of
noise with the targets of its task. Its settings are those of its YAML files, sizes cut down (`SMALL`). A cell that the checks or
a part refuse is illegal, and its refusal is shown. Options that are another's with other values (`PRESETS`) are tried with one
head.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import transformers
from hydra.utils import get_object
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
for folder in (ROOT / "tests" / "upstreams", ROOT / "scripts", ROOT):
    sys.path.insert(0, str(folder))

import matrix_report  # noqa: E402
import tiny_checkpoints  # noqa: E402

from mlsuperb.benchmark import build  # noqa: E402
from mlsuperb.benchmark.frames import FEW_FRAMES_HZ  # noqa: E402
from mlsuperb.config.check import find_problems  # noqa: E402
from mlsuperb.config.compose import compose  # noqa: E402
from mlsuperb.config.options import conf_dir, options  # noqa: E402
from mlsuperb.data.vocabulary import Vocabulary  # noqa: E402
from mlsuperb.tasks.base import Task  # noqa: E402
from mlsuperb.training.parameters import count_trained  # noqa: E402
from mlsuperb.types import Batch, Utterance  # noqa: E402
from mlsuperb.upstreams.base import Upstream  # noqa: E402
from scripts.bench.ours import batch_of  # noqa: E402

HEADS = ("linear", "bilstm", "transformer", "conformer", "e_branchformer")
OBJECTIVES = {"ctc": "greedy", "ctc_attention": "greedy", "classifier": "argmax"}
TASKS = ("asr", "lid", "asr_lid")
STEPS, MOST_STEPS = 4, 40
PRESETS = (
    "lora_all", "lora_v2", "lora_peft_study", "partial_bottom", "partial_middle", "partial_top", "qlora_peft_study",
)  # fmt: skip
UTTERANCES = tuple(
    Utterance(id=code, audio="", start_s=0, duration_s=1, text=text, language=code, dataset="noise", split="train")
    for code, text in (("eng", "so it"), ("swa", "ni"))
)
# Sizes of what is not the point here; a setting that an option does not have is left out
SMALL: dict[str, dict[str, Any]] = {
    "head": {"size": 32, "num_heads": 4, "ffn_size": 32, "num_blocks": 1, "cgmlp_size": 32, "projection": 16},
    "objective": {"num_blocks": 1, "ffn_size": 32, "num_heads": 4},
    "adaptation": {"width": 8, "rank": 4},
}
# for models of more than one stack of blocks: those of job=translation
OF_STACKS = {"several", "everything", "encoder_adapters", "decoder_adapters", "length_adaptor"}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What became of one cell. `refusal`: why it is illegal; `failure`: why it should have worked and did not."""

    upstream: str
    adaptation: str
    head: str
    objective: str
    task: str
    num_trained: int = 0
    first_loss: float = float("nan")
    last_loss: float = float("nan")
    step_s: float = float("nan")
    refusal: str = ""
    failure: str = ""

    @property
    def outcome(self) -> str:
        return "failed" if self.failure else "refused" if self.refusal else "trained"


@cache
def option(group: str, name: str) -> dict[str, Any]:
    """The settings of one option, cut down."""
    node: dict[str, Any] = compose([f"{group}={name}"])[group]
    return node | {key: value for key, value in SMALL.get(group, {}).items() if key in node}


@cache
def rest() -> dict[str, Any]:
    """All groups that are the same in every cell."""
    return compose(["data=synthetic", "trainer=debug", "specaug=light"])


def configuration(names: dict[str, str], upstreams: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A cell as a plain configuration. Where an upstream has so few frames that the checks refuse a head that takes some away,
    this one keeps them, as they advise."""
    chosen = {group: option(group, name) for group, name in names.items() if group != "upstream"}
    rate_hz = upstreams[names["upstream"]].get("card", {}).get("frame_rate_hz")
    if "frontend" in chosen["head"] and rate_hz is not None and rate_hz <= FEW_FRAMES_HZ:
        chosen["head"] = chosen["head"] | {"frontend": "linear"}
    decoding = option("decoding", OBJECTIVES[names["objective"]])
    return rest() | chosen | {"upstream": upstreams[names["upstream"]], "decoding": decoding}


@cache
def loaded(_: str, node: str) -> Upstream:
    """A tiny upstream, read once."""
    upstream: Upstream = build.instantiate(json.loads(node))
    return upstream


def try_cell(names: dict[str, str], upstreams: dict[str, dict[str, Any]]) -> Cell:
    """Check, build, train."""
    config = configuration(names, upstreams)
    if problems := find_problems(config):
        return Cell(**names, refusal=problems[0])
    task = build.instantiate(config["task"])
    specials = get_object(config["objective"]["_target_"]).specials
    vocabulary = Vocabulary.build(map(task.target, UTTERANCES), specials=specials)
    torch.manual_seed(0)
    try:
        upstream = deepcopy(loaded(names["upstream"], json.dumps(config["upstream"])))
        model = build.build_model(config, upstream, vocab_size=len(vocabulary))
    except ValueError as error:
        return Cell(**names, refusal=str(error))
    try:
        return Cell(**names, **train(model, batch(task, vocabulary, frame_rate_hz=upstream.frame_rate_hz)))
    except Exception as error:  # noqa: BLE001  reported cell by cell, and in the exit status
        return Cell(**names, failure=f"{type(error).__name__}: {error}")


def batch(task: Task, vocabulary: Vocabulary, *, frame_rate_hz: float) -> Batch:
    """Two utterances of noise with the targets that the task gives them: 1 s, or more under 25 frames a second, so that heads
    which halve them leave enough for CTC."""
    longer = max(1, round(25 / frame_rate_hz))
    noise_BT = 0.1 * torch.randn(2, longer * 16000, generator=torch.Generator().manual_seed(0))
    targets = [torch.as_tensor(vocabulary.encode(task.target(utterance))) for utterance in UTTERANCES]
    return batch_of([noise_BT[0], noise_BT[1, : longer * 11000]], targets)


def train(model: Any, one: Batch) -> dict[str, Any]:
    """A few steps on one batch; the losses are those of eval mode, before and after."""
    model.to("cpu").train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=2e-3)
    first = last = evaluate(model, one)
    start, num_steps = time.perf_counter(), 0
    while not last < first and num_steps < MOST_STEPS:  # masks and dropout can hide what so few steps have learned
        for _ in range(STEPS):
            loss = model(one).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        num_steps += STEPS
        step_s = (time.perf_counter() - start) / num_steps
        last = evaluate(model, one)
    if not last < first:
        raise RuntimeError(f"the loss went from {first:.3f} to {last:.3f}")
    return {"num_trained": sum(count_trained(model).values()), "first_loss": first, "last_loss": last, "step_s": step_s}


def evaluate(model: Any, one: Batch) -> float:
    model.eval()
    with torch.no_grad():
        loss = float(model(one).loss)
    model.train()
    return loss


def tiny_upstreams(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """A tiny upstream of every family, as a node of a configuration."""
    yield from ((name, option("upstream", name)) for name in ("fbank", "mfcc"))
    for name, (family, reader, settings) in tiny_checkpoints.READERS.items():
        checkpoint = folder / family
        if not checkpoint.exists():
            tiny_checkpoints.write_checkpoint(checkpoint, family)
        target = f"{reader.__module__}.{reader.__qualname__}"
        card = {"frame_rate_hz": reader(checkpoint=str(checkpoint), **settings).frame_rate_hz}
        yield name, {"name": name, "_target_": target, "checkpoint": str(checkpoint), **settings, "card": card}


def cells(arguments: argparse.Namespace, upstreams: Sequence[str]) -> list[dict[str, str]]:
    """The whole product, as far as it was asked for."""
    if unknown := set(arguments.upstream or ()) - set(upstreams):
        sys.exit(f"--upstream {', '.join(sorted(unknown))}: there are {', '.join(upstreams)}")
    axes = {
        "upstream": [name for name in upstreams if not arguments.upstream or name in arguments.upstream],
        "adaptation": arguments.adaptation or sorted({*options("adaptation", [conf_dir()])} - OF_STACKS),
        "head": arguments.head or HEADS,
        "objective": arguments.objective or list(OBJECTIVES),
        "task": TASKS,
    }
    every = (dict(zip(axes, names, strict=True)) for names in product(*axes.values()))
    plain = ("transformer", "ctc")
    return [one for one in every if one["adaptation"] not in PRESETS or (one["head"], one["objective"]) == plain]


def start_worker() -> None:
    """One thread per process: two processes of two threads each would compete for the cores."""
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()


def main(arguments: argparse.Namespace) -> int:
    """Try everything, write the report."""
    with tempfile.TemporaryDirectory() as scratch:
        upstreams = dict(tiny_upstreams(Path(scratch)))
        chosen = cells(arguments, list(upstreams))
        # a worker is replaced now and then: one that lives through all cells grows by gigabytes
        with get_context("spawn").Pool(arguments.jobs, initializer=start_worker, maxtasksperchild=50) as pool:
            trial = partial(try_cell, upstreams=upstreams)
            found = list(tqdm(pool.imap(trial, chosen, chunksize=8), total=len(chosen), unit="cell"))
    counts = Counter(one.outcome for one in found)
    print(", ".join(f"{number:,} cells {what}" for what, number in counts.items()))
    for one in found:
        if one.failure:
            print(f"FAILED {one.upstream} {one.adaptation} {one.head} {one.objective} {one.task}: {one.failure[:300]}")
    real = [] if arguments.no_real else list(matrix_report.real_counts())
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(matrix_report.report(found, real), encoding="utf-8")
    if arguments.csv:
        pd.DataFrame(found).to_csv(arguments.csv, index=False)
    return int(counts["failed"] > 0)


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for axis in ("upstream", "adaptation", "head", "objective"):
        parser.add_argument(f"--{axis}", action="append", help="repeatable: only these (default: all)")
    parser.add_argument("--no-real", action="store_true", help="leave out the models of real size")
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread each (default: 2)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "matrix.md", help="default: docs/matrix.md")
    parser.add_argument("--csv", type=Path, help="every cell as a table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main(parse()))
