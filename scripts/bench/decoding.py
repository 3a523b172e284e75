"""Time decoding from given posteriors beside ESPnet's, which decodes one utterance at a time; print whether the texts are
equal, and the ratios. Run it with the Python that `scripts/parity_espnet.py` describes:

    .venv-espnet/bin/python scripts/bench/decoding.py --threads 2 [--search greedy] [--vocab-size 100] [--device cuda] [--quick]

Utterances of 6 s (150 frames of 40 ms, 75 tokens as spikes in the posteriors), the same in both. Searches:

    greedy        the best token of every frame; ESPnet's own is `_decode_interctc` of espnet2/bin/asr_inference.py, which
                  goes through a tensor frame by frame; "with a list" is what it would take after `.tolist()`
    prefix_beam   the official decoding of ML-SUPERB: beam 1, CTC alone (`BatchBeamSearch` with `CTCPrefixScorer`)
    joint_beam    beam 10 with the decoder of conf/objective/ctc_attention.yaml, random weights, on frames of 256

Each side of each search runs in a process of its own, so that its peak memory can be told, the sides in turn; medians of the
rounds. Wall and processor seconds: on a machine that others use, too, the latter are the ones to go by.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

# Nothing heavy here: Linux hands the peak memory of a process on to the programs that it starts.

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]
NUM_FRAMES, NUM_SPIKES, SIZE = 150, 75, 256
BEAMS = {"greedy": 1, "prefix_beam": 1, "joint_beam": 10}
SIDES = {
    "greedy": ("ours", "ESPnet", "ESPnet with a list"),
    "prefix_beam": ("ours", "ESPnet"),
    "joint_beam": ("ours", "ESPnet"),
}
TOLERANCE = 1e-6  # of scores, relative


def posteriors(settings: dict[str, Any]) -> Any:
    """(B, F, V) log posteriors, the same on both sides."""
    import torch

    from scripts.parity.decoding import speech_like

    torch.manual_seed(0)
    logits = [
        speech_like(NUM_FRAMES, settings["vocab_size"], num_tokens=NUM_SPIKES) for _ in range(settings["batch_size"])
    ]
    return torch.stack(logits).log_softmax(-1).to(settings["device"])


def objective_and_frames(settings: dict[str, Any]) -> tuple[Any, Any]:
    """The attention decoder and what it listens to, the same on both sides."""
    import torch

    from mlsuperb.objectives.ctc_attention import CTCAttention

    torch.manual_seed(1)
    objective = CTCAttention(input_size=SIZE, vocab_size=settings["vocab_size"]).eval().to(settings["device"])
    return objective, torch.randn(settings["batch_size"], NUM_FRAMES, SIZE).to(settings["device"])


def ours(settings: dict[str, Any], log_probs_BFV: Any) -> Callable[[], list[tuple[list[int], float]]]:
    """Our search of the whole batch."""
    import torch

    from mlsuperb.decoding.greedy import Greedy
    from mlsuperb.decoding.joint_beam import JointBeam
    from mlsuperb.decoding.prefix_beam import PrefixBeam
    from mlsuperb.types import Encoded

    lengths_B = torch.full((len(log_probs_BFV),), NUM_FRAMES, device=log_probs_BFV.device)
    name, attention = settings["search"], None
    search: Any = Greedy() if name == "greedy" else PrefixBeam(beam_size=BEAMS[name])
    if name == "joint_beam":
        search = JointBeam(beam_size=BEAMS[name])
        objective, frames_BFH = objective_and_frames(settings)
        attention = objective.attention(Encoded(frames_BFH, lengths_B))
    return lambda: [(one.tokens, one.score) for one in search(log_probs_BFV, lengths_B, attention)]


def espnet(settings: dict[str, Any], log_probs_BFV: Any) -> Callable[[], list[tuple[list[int], float]]]:
    """ESPnet's search, utterance after utterance; of greedy decoding and prefix search the texts alone are compared."""
    from scripts.parity.decoding import espnet_search

    rows = log_probs_BFV[: settings["num_espnet"]]
    end = log_probs_BFV.shape[-1] - 1
    if settings["search"] == "prefix_beam":
        return lambda: [(espnet_search(row, BEAMS["prefix_beam"]), 0.0) for row in rows]
    if settings["search"] == "joint_beam":
        return espnet_joint(settings, rows)
    as_list = settings["side"] != "ESPnet"

    def greedy(log_probs_FV: Any) -> list[int]:
        best_F = log_probs_FV[None].argmax(2)[0]
        return [int(x[0]) for x in groupby(best_F.tolist() if as_list else best_F) if x[0] not in (0, end, end)]

    return lambda: [(greedy(row), 0.0) for row in rows]


def espnet_joint(settings: dict[str, Any], rows: Any) -> Callable[[], list[tuple[list[int], float]]]:
    """ESPnet's joint search with our decoder's weights, its CTC layer giving the posteriors of the utterance."""
    from torch import Tensor, nn

    from mlsuperb.decoding.joint_beam import JointBeam
    from scripts.parity.decoding_joint import make_espnet_search

    class Given(nn.Module):
        log_probs_1FV: Tensor

        def log_softmax(self, _: Tensor) -> Tensor:
            return self.log_probs_1FV.clone()

    objective, frames_BFH = objective_and_frames(settings)
    search = make_espnet_search(JointBeam(beam_size=BEAMS["joint_beam"]), objective).to(rows.device)
    search.scorers["ctc"].ctc = given = Given()

    def decode(row: int) -> tuple[list[int], float]:
        given.log_probs_1FV = rows[row][None]
        best = search(frames_BFH[row])[0]
        return [one for one in best.yseq[1:-1].tolist() if one not in (0, objective.sos_eos)], float(best.score)

    return lambda: [decode(row) for row in range(len(rows))]


def measure(settings: dict[str, Any]) -> dict[str, Any]:
    """One side of one search, in this process: seconds an utterance, peak memory, what was found."""
    import torch
    from machine import describe_machine

    from mlsuperb.runtime.speed import peak_memory_gb

    logging.disable(logging.CRITICAL)
    torch.set_num_threads(settings["threads"])
    device = torch.device(settings["device"])
    with torch.inference_mode():
        log_probs_BFV = posteriors(settings)
        run = (ours if settings["side"] == "ours" else espnet)(settings, log_probs_BFV)
        found = run()  # warm; the lightest search is repeated, so that a clock can see it
        times = 20 if settings["search"] == "greedy" else 1
        start = clocks(device)
        for _ in range(times):
            run()
        wall_s, processor_s = (b - a for a, b in zip(start, clocks(device), strict=True))
    seconds = [value / times / len(found) for value in (wall_s, processor_s)]
    return {
        "seconds": seconds,
        "peak_gb": peak_memory_gb(device),
        "found": found,
        "machine": describe_machine(device),
    }


def clocks(device: Any) -> tuple[float, float]:
    """Wall and processor seconds, once the device is done."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
    return time.perf_counter(), time.process_time()


def bench(search: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The figures of every side of a search, medians of the rounds."""
    rounds: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES[search]}
    num_espnet = options.batch_size if search == "greedy" else min(options.num_espnet, options.batch_size)
    for _ in range(options.rounds):
        for side in rounds:
            names = ("batch_size", "vocab_size", "threads", "device")
            settings = {name: getattr(options, name) for name in names}
            settings |= {"search": search, "side": side, "num_espnet": num_espnet}
            command = [sys.executable, __file__, "--measure", json.dumps(settings)]
            environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
            rounds[side].append(json.loads(done.stdout.splitlines()[-1]))
    truth = rounds["ours"][0]["found"]
    rows = []
    for side, found in rounds.items():
        wall_s, processor_s = (statistics.median(one["seconds"][clock] for one in found) for clock in (0, 1))
        peak_gb = statistics.median(one["peak_gb"] for one in found)
        pairs = list(zip(found[0]["found"], truth, strict=False))
        scored = search == "joint_beam"
        equal = sum(a[0] == b[0] and (not scored or abs(a[1] - b[1]) <= TOLERANCE * abs(b[1])) for a, b in pairs)
        rows.append(
            {"search": search, "side": side, "wall_s": wall_s, "processor_s": processor_s, "peak_gb": peak_gb,
             "equal": equal, "num": len(pairs), "machine": found[0]["machine"]}
        )  # fmt: skip
    return rows


def main() -> int:
    """Measure and print; 1 if a text differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--search", action="append", choices=tuple(BEAMS), help="repeatable (default: all)")
    parser.add_argument("--batch-size", type=int, default=64, help="utterances that we decode at a time (default 64)")
    parser.add_argument(
        "--num-espnet", type=int, default=4, help="utterances that ESPnet's beam searches decode (default 4)"
    )
    parser.add_argument("--vocab-size", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="one round, without the joint search")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.num_espnet = 1, 2
    searches = options.search or (["greedy", "prefix_beam"] if options.quick else list(BEAMS))
    print("| search | side | ms an utterance | of processor time | ratio | processor | peak, GB | equal texts |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    rows = []
    for search in searches:
        found = bench(search, options)
        for row in found:
            ratios = [row[clock] / found[0][clock] for clock in ("wall_s", "processor_s")]
            print(
                f"| {search}, beam {BEAMS[search]} | {row['side']} | {1000 * row['wall_s']:.3f} | "
                f"{1000 * row['processor_s']:.3f} | {ratios[0]:.1f} x | {ratios[1]:.1f} x | {row['peak_gb']:.2f} | "
                f"{row['equal']} of {row['num']} |",
                flush=True,
            )
        rows += found
    print(f"\n{options.batch_size} utterances at a time, vocabulary {options.vocab_size:,}, fp32, {rows[0]['machine']}")
    return 0 if all(row["equal"] == row["num"] for row in rows) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(json.loads(sys.argv[2]))))
    else:
        sys.exit(main())
