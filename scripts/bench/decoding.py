"""Time decoding from given posteriors beside ESPnet's, which decodes one utterance at a time; print whether the texts are
equal, and the ratios. Run it with the Python that `scripts/parity_espnet.py` describes:

    .venv-espnet/bin/python scripts/bench/decoding.py --threads 2 [--search greedy] [--vocab-size 100] [--device cuda] [--quick]

Utterances of 6 s (150 frames of 40 ms, 75 tokens as spikes in the posteriors), the same in both. Searches:

    greedy        the best token of every frame; ESPnet's own is `_decode_interctc` of espnet2/bin/asr_inference.py, which
                  goes through a tensor frame by frame; "with a list" is what it would take after `.tolist()`
    prefix_beam   the official decoding of ML-SUPERB: beam 1, CTC alone (`BatchBeamSearch` with `CTCPrefixScorer`)
    joint_beam    beam 10 with the decoder of conf/objective/ctc_attention.yaml, random weights, on frames of 256

Each side of each search runs in a process of its own, the sides in turn; medians of the rounds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.harness import Figures, Table, command_line, in_turns, machine, peak_gb, save, seconds, set_up

NUM_FRAMES, NUM_SPIKES, SIZE = 150, 75, 256
BEAMS = {"greedy": 1, "prefix_beam": 1, "joint_beam": 10}
TOLERANCE = 1e-6  # of scores, relative
Found = list[tuple[list[int], float]]


def posteriors(settings: argparse.Namespace) -> Any:
    """(B, F, V) log posteriors, the same on both sides."""
    import torch

    from scripts.parity.decoding import speech_like

    torch.manual_seed(0)
    shape = (NUM_FRAMES, settings.vocab_size)
    logits = [speech_like(*shape, num_tokens=NUM_SPIKES) for _ in range(settings.batch_size)]
    return torch.stack(logits).log_softmax(-1).to(settings.device)


def objective_and_frames(settings: argparse.Namespace) -> tuple[Any, Any]:
    """The attention decoder and the frames it attends to, the same on both sides."""
    import torch

    from mlsuperb.objectives.ctc_attention import CTCAttention

    torch.manual_seed(1)
    objective = CTCAttention(input_size=SIZE, vocab_size=settings.vocab_size).eval().to(settings.device)
    return objective, torch.randn(settings.batch_size, NUM_FRAMES, SIZE).to(settings.device)


def ours(settings: argparse.Namespace, log_probs_BFV: Any) -> Callable[[], Found]:
    """Our search of the whole batch."""
    import torch

    from mlsuperb.decoding.greedy import Greedy
    from mlsuperb.decoding.joint_beam import JointBeam
    from mlsuperb.decoding.prefix_beam import PrefixBeam
    from mlsuperb.types import Encoded

    lengths_B = torch.full((len(log_probs_BFV),), NUM_FRAMES, device=log_probs_BFV.device)
    name, attention = settings.search, None
    search: Any = Greedy() if name == "greedy" else PrefixBeam(beam_size=BEAMS[name])
    if name == "joint_beam":
        search = JointBeam(beam_size=BEAMS[name])
        objective, frames_BFH = objective_and_frames(settings)
        attention = objective.attention(Encoded(frames_BFH, lengths_B))
    return lambda: [(one.tokens, one.score) for one in search(log_probs_BFV, lengths_B, attention)]


def espnet(settings: argparse.Namespace, log_probs_BFV: Any) -> Callable[[], Found]:
    """ESPnet's search, utterance after utterance; of greedy decoding and prefix search the texts alone are compared."""
    from scripts.parity.decoding import espnet_search

    rows = log_probs_BFV[: settings.num_espnet]
    end = log_probs_BFV.shape[-1] - 1
    if settings.search == "prefix_beam":
        return lambda: [(espnet_search(row, BEAMS["prefix_beam"]), 0.0) for row in rows]
    if settings.search == "joint_beam":
        return espnet_joint(settings, rows)

    def greedy(log_probs_FV: Any) -> list[int]:
        best_F = log_probs_FV[None].argmax(2)[0]
        best = best_F if settings.side == "ESPnet" else best_F.tolist()
        return [int(x[0]) for x in groupby(best) if x[0] not in (0, end, end)]

    return lambda: [(greedy(row), 0.0) for row in rows]


def espnet_joint(settings: argparse.Namespace, rows: Any) -> Callable[[], Found]:
    """ESPnet's joint search with our decoder's weights, its CTC layer giving the posteriors of the utterance."""
    from torch import Tensor, nn

    from mlsuperb.decoding.joint_beam import JointBeam
    from scripts.parity.decoding import tokens_of
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
        return tokens_of(best, end=objective.sos_eos), float(best.score)

    return lambda: [decode(row) for row in range(len(rows))]


def measure(settings: argparse.Namespace) -> Figures:
    """One side of one search: seconds per utterance, peak memory, what was found."""
    import torch

    device = set_up(settings, as_it_comes=settings.side != "ours")
    with torch.inference_mode():
        run = (ours if settings.side == "ours" else espnet)(settings, posteriors(settings))
        found = run()  # warm; the lightest search is repeated, so that a clock can see it
        per_call = seconds(run, times=20 if settings.search == "greedy" else 1, device=device)
    per_utterance = [one / len(found) for one in per_call]
    return {"seconds": per_utterance, "peak_gb": peak_gb(device), "found": {"of": found}, "machine": machine(device)}


def same(search: str, ours: Any, theirs: Any) -> bool:
    """Whether tokens are equal; in the joint search scores, too."""
    return ours[0] == theirs[0] and (search != "joint_beam" or abs(ours[1] - theirs[1]) <= TOLERANCE * abs(ours[1]))


def bench(search: str, options: argparse.Namespace, table: Table) -> dict[str, Figures]:
    """The figures of every side of a search, as rows of the table; `missed` counts utterances that differ from ours."""
    names = ["ours", "ESPnet", *(["ESPnet with a list"] if search == "greedy" else [])][: 1 if options.alone else None]
    given = vars(options) | {"search": search}
    given["num_espnet"] = options.batch_size if search == "greedy" else min(options.num_espnet, options.batch_size)
    sides = {name: (measure, argparse.Namespace(**given, side=name)) for name in names}
    rows = in_turns(sides, rounds=options.rounds)
    truth = rows["ours"]["found"]["of"]
    for name, row in rows.items():
        pairs = list(zip(truth, row.pop("found")["of"], strict=False))
        row["missed"] = sum(not same(search, *pair) for pair in pairs)
        milliseconds = [f"{1000 * one:.3f}" for one in row["seconds"]]
        ratios = [f"{a / b:.1f} x" for a, b in zip(row["seconds"], rows["ours"]["seconds"], strict=True)]
        equal = f"{len(pairs) - row['missed']} of {len(pairs)}"
        table.row(f"{search}, beam {BEAMS[search]}", name, *milliseconds, *ratios, f"{row['peak_gb']:.2f}", equal)
    return rows


def main() -> int:
    """Measure and print; 1 if a text differs."""
    parser = command_line(__doc__, rounds=3, device="cpu")
    parser.add_argument("--search", action="append", choices=tuple(BEAMS), help="repeatable (default: all)")
    parser.add_argument("--batch-size", type=int, default=64, help="utterances that we decode at a time (default 64)")
    parser.add_argument(
        "--num-espnet", type=int, default=4, help="utterances that ESPnet's beam searches decode (default 4)"
    )
    parser.add_argument("--alone", action="store_true", help="our side alone, where there is no ESPnet")
    parser.add_argument("--vocab-size", type=int, default=2000)
    parser.add_argument("--quick", action="store_true", help="one round, without the joint search")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.num_espnet = 1, 2
    searches = options.search or (["greedy", "prefix_beam"] if options.quick else list(BEAMS))
    columns = ("ms an utterance", "of processor time", "ratio", "processor", "peak, GB", "equal texts")
    table = Table("search", "side", *columns, text=2)
    found: dict[str, dict[str, Figures]] = {}
    for search in searches:
        found[search] = bench(search, options, table)
        save(options, found, unfinished=True)
    rows = [row for sides in found.values() for row in sides.values()]
    print(f"\n{options.batch_size} utterances at a time, vocabulary {options.vocab_size:,}, fp32, {rows[0]['machine']}")
    save(options, found)
    return int(any(row["missed"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
