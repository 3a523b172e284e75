"""Every cell of upstream x adaptation x head x objective x task, trained for a few steps on tiny models, and the trained
parameters of every ML-SUPERB 2.0 experiment on models of real size; writes docs/matrix.md (and docs/matrix.csv with
`--csv`). Exits with 1 if a cell fails.

    python scripts/matrix.py                        # everything: some 20 minutes on one core
    python scripts/matrix.py --upstream tiny_xls_r --adaptation lora --adaptation qlora --no-real --out /tmp/matrix.md

A cell is a line of configuration: the parts are composed, checked and built as `mlsuperb.run` does. It trains on one batch of
noise with random targets. Its settings are those of its YAML files, sizes cut down (`SMALL`). A cell that the checks or a part
refuse is illegal, and its refusal is shown.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "upstreams"), str(ROOT / "scripts")]

import matrix_report  # noqa: E402
import tiny_checkpoints  # noqa: E402

from mlsuperb import build  # noqa: E402
from mlsuperb.settings import GROUPS, compose, find_problems  # noqa: E402
from mlsuperb.training.parameters import count_trained  # noqa: E402
from mlsuperb.types import Batch  # noqa: E402

HEADS = ("linear", "bilstm", "transformer", "conformer", "e_branchformer")
OBJECTIVES = {"ctc": "greedy", "ctc_attention": "greedy", "classifier": "argmax"}
TASKS = ("asr", "lid", "asr_lid")
STEPS, VOCAB_SIZE = 4, 12
# Sizes of what is not the point here; a setting that an option does not have is left out
SMALL: dict[str, dict[str, Any]] = {
    "head": {"size": 32, "num_heads": 4, "ffn_size": 32, "num_blocks": 1, "cgmlp_size": 32, "projection": 16},
    "objective": {"num_blocks": 1, "ffn_size": 32, "num_heads": 4},
    "adaptation": {"width": 8, "rank": 4},
}


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
    """A cell as a plain configuration."""
    chosen = {group: option(group, name) for group, name in names.items() if group != "upstream"}
    decoding = option("decoding", OBJECTIVES[names["objective"]])
    return rest() | chosen | {"upstream": upstreams[names["upstream"]], "decoding": decoding}


def try_cell(names: dict[str, str], upstreams: dict[str, dict[str, Any]]) -> Cell:
    """Check, build, train."""
    config = configuration(names, upstreams)
    if problems := find_problems(config, GROUPS):
        return Cell(**names, refusal=problems[0])
    torch.manual_seed(0)
    try:
        model = build.build_model(config, vocab_size=VOCAB_SIZE)
    except ValueError as error:
        return Cell(**names, refusal=str(error))
    try:
        return Cell(**names, **train(model, batch(names["task"])))
    except Exception as error:  # noqa: BLE001  reported cell by cell, and in the exit status
        return Cell(**names, failure=f"{type(error).__name__}: {error}")


def batch(task: str) -> Batch:
    """Two utterances of noise; targets as long as the task's are."""
    generator = torch.Generator().manual_seed(0)
    lengths_B = torch.tensor([16000, 11000])
    wave_BT = 0.1 * torch.randn(2, 16000, generator=generator)
    wave_BT[1, 11000:] = 0
    num_tokens = 1 if task == "lid" else 4
    targets_BS = torch.randint(2, VOCAB_SIZE - 1, (2, num_tokens), generator=generator)
    return Batch(
        ids=("a", "b"),
        languages=("eng", "swa"),
        wave_BT=wave_BT,
        lengths_B=lengths_B,
        targets_BS=targets_BS,
        target_lengths_B=torch.full((2,), num_tokens),
    )


def train(model: Any, one: Batch) -> dict[str, Any]:
    """A few steps on one batch; the losses are those of eval mode, before and after."""
    model.to("cpu").train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=2e-3)
    first = evaluate(model, one)
    start = time.perf_counter()
    for _ in range(STEPS):
        loss = model(one).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    step_s = (time.perf_counter() - start) / STEPS
    last = evaluate(model, one)
    if not last < first:
        raise RuntimeError(f"the loss went from {first:.3f} to {last:.3f}")
    return {
        "num_trained": sum(count_trained(model).values()), "first_loss": first, "last_loss": last, "step_s": step_s
    }  # fmt: skip


def evaluate(model: Any, one: Batch) -> float:
    model.eval()
    with torch.no_grad():
        loss = float(model(one).loss)
    model.train()
    return loss


def tiny_upstreams(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """A tiny upstream of every family, as a node of a configuration."""
    yield "fbank", option("upstream", "fbank")
    for name, (family, reader, settings) in tiny_checkpoints.READERS.items():
        checkpoint = folder / family
        if not checkpoint.exists():
            tiny_checkpoints.write_checkpoint(checkpoint, family)
        target = f"{reader.__module__}.{reader.__qualname__}"
        yield name, {"name": name, "_target_": target, "checkpoint": str(checkpoint), **settings}


def cells(arguments: argparse.Namespace, upstreams: Sequence[str]) -> list[dict[str, str]]:
    """The whole product, as far as it was asked for."""
    from mlsuperb.options import conf_dir, options

    axes = {
        "upstream": [name for name in upstreams if not arguments.upstream or name in arguments.upstream],
        "adaptation": arguments.adaptation or options("adaptation", [conf_dir()]),
        "head": arguments.head or HEADS,
        "objective": arguments.objective or list(OBJECTIVES),
        "task": TASKS,
    }
    return [dict(zip(axes, names, strict=True)) for names in product(*axes.values())]


def main(arguments: argparse.Namespace) -> int:
    """Try everything, write the report."""
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as scratch:
        upstreams = dict(tiny_upstreams(Path(scratch)))
        found = [try_cell(names, upstreams) for names in tqdm(cells(arguments, list(upstreams)), unit="cell")]
    counts = Counter("failed" if one.failure else "refused" if one.refusal else "trained" for one in found)
    print(", ".join(f"{number:,} cells {what}" for what, number in counts.items()))
    for one in found:
        if one.failure:
            print(f"FAILED {one.upstream} {one.adaptation} {one.head} {one.objective} {one.task}: {one.failure[:300]}")
    real = [] if arguments.no_real else matrix_report.real_counts()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(matrix_report.report(found, real), encoding="utf-8")
    if arguments.csv:
        with arguments.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(asdict(found[0])))
            writer.writeheader()
            writer.writerows(asdict(one) for one in found)
    return int(counts["failed"] > 0)


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for axis in ("upstream", "adaptation", "head", "objective"):
        parser.add_argument(f"--{axis}", action="append", help="repeatable: only these (default: all)")
    parser.add_argument("--no-real", action="store_true", help="leave out the models of real size")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "matrix.md", help="default: docs/matrix.md")
    parser.add_argument("--csv", type=Path, help="every cell as a table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main(parse()))
