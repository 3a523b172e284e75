"""Writes docs/results.md, and its lines in README.md: what came out on real speech, from what `mlsuperb results pack` put into
docs/results/.

    python scripts/results.py                                  # of the packed runs
    python scripts/results.py exp/evidence --out look.md       # of runs that are not packed yet, to look

The runs are those of recipes/evidence.sh. No number on the page is typed; a system without a run is left out, a table without two
systems is named.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from claims_runs import PACKED, Run, find_runs, select, unpacked  # noqa: E402
from jinja2 import Environment, StrictUndefined  # noqa: E402

from mlsuperb.data.languages import language_name  # noqa: E402
from mlsuperb.runs.store import EVALUATIONS  # noqa: E402
from mlsuperb.runtime.files import write_atomic  # noqa: E402
from mlsuperb.scoring.comparison.bootstrap import difference_interval, rate_interval  # noqa: E402
from mlsuperb.scoring.counts import Counts, Rate  # noqa: E402

PAGE, README = ROOT / "docs" / "results.md", ROOT / "README.md"
TEMPLATE = ROOT / "scripts" / "results.md.jinja"
UPSTREAMS = {"fbank": "log-mels", "mhubert_tiny": "mhubert_tiny", "whisper_base": "Whisper base"}
HEADS = {"transformer_light": "Transformer", "conformer_small": "Conformer", "e_branchformer_small": "E-Branchformer"}
ADAPTATIONS = {
    "frozen": "frozen", "full": "full", "partial_bottom": "bottom layers", "partial_middle": "middle layers",
    "partial_top": "top layers", "houlsby": "adapters", "lora": "LoRA", "lora_mixture": "mixture of LoRA", "qlora": "QLoRA",
}  # fmt: skip
NUM_LAYERS = 7
ONE_VOICE, TRANSFER = "One voice, 10 minutes of read Russian", "From one language to another"
# pictures that `mlsuperb analyse` draws beside the packed runs: name of the file -> heading, text
FIGURES = {
    "layer_sweep": (
        "Scores by layer",
        'CER and language accuracy of the runs of the table "Layers", by the layer that the head reads, with 95 % intervals '
        "(`mlsuperb analyse layer_sweep`).",
    ),
    "layer_weights": (
        "Layers by their weights",
        "The featurizer's softmax weights after training, of Whisper base and mhubert_tiny on 10min, by seed (`mlsuperb analyse "
        "layer_weights`). A weight says what the head reads, not how much a layer knows: the runs of one layer above say that.",
    ),
    "tsne": (
        "Languages in the model",
        "t-SNE of 300 test utterances at each stage of Whisper base with its head (ASR + LID, 1h, one seed): each point is the "
        "mean of an utterance's frames (`mlsuperb analyse tsne`).",
    ),
    "knn": (
        "Languages of the nearest neighbours",
        "The same utterances in the space itself: the share whose five nearest neighbours are mostly of their own language. As "
        "most languages are one voice here, much of that is the voice and the room: see the line of other speakers.",
    ),
    "transfer_matrix": (
        "One language for another",
        "CER of Whisper base under a head that was trained on one language alone, tested on all (one seed; framed: the language "
        "of its training data), with 95 % intervals (`mlsuperb analyse transfer`).",
    ),
}
RATES: tuple[Rate, ...] = ("error_rate", "lid_accuracy")


@dataclass(frozen=True, kw_only=True)
class System:
    """Runs that differ in their seeds alone: those of a name, a pattern as of file names."""

    name: str
    runs: str

    def of(self, found: Sequence[Run]) -> list[Run]:
        """Its runs, one per seed."""
        return [run for run in select(found, {"run_name": self.runs}) if run.folder.parent.name != EVALUATIONS]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Systems, beside the first of them that has runs."""

    title: str
    systems: Sequence[System]
    note: str = ""


def _name(
    upstream: str = "whisper_base",
    head: str = "transformer_light",
    loss: str = "ctc",
    task: str = "asr_lid",
    *,
    size: str = "10min",
) -> str:
    return f"evidence-{upstream}-{head}-{loss}-{task}-ml_superb_{size}-s*"


def tables() -> list[Table]:
    """The tables of the page."""

    def upstreams(task: str = "asr_lid", *, size: str = "10min") -> list[System]:
        return [System(name=name, runs=_name(one, task=task, size=size)) for one, name in UPSTREAMS.items()]

    heads = [System(name=name, runs=_name(head=one)) for one, name in HEADS.items()]
    heads += [
        System(name=f"{name}, CTC-attention", runs=_name(head=one, loss="ctc_attention")) for one, name in HEADS.items()
    ]
    adapted = [System(name=name, runs=f"evidence-adapted-whisper_base-{one}-*") for one, name in ADAPTATIONS.items()]
    mono = [System(name=name, runs=f"evidence-mono-{one}-*") for one, name in UPSTREAMS.items()]
    layers = [System(name="all, weighted", runs=_name())]
    layers += [
        System(name=f"layer {layer}", runs=f"evidence-layer{layer}-whisper_base-*") for layer in range(NUM_LAYERS)
    ]
    lid = {
        "classifier": "mean",
        "classifier_attentive": "attentive statistics",
        "classifier_ecapa": "ECAPA's statistics",
        "ctc": "no pooling: CTC",
    }
    poolings = [System(name=name, runs=_name(task="lid", loss=loss)) for loss, name in lid.items()]
    robust = [
        System(name=name, runs=_name(task="asr", loss=loss)) for loss, name in (("ctc", "CTC"), ("ctc_dro", "CTC-DRO"))
    ]
    deep = [System(name="CTC", runs=_name()), System(name="hierarchical CTC", runs=_name(loss="ctc_hierarchical"))]
    sums = [
        System(name="one weight per layer", runs=_name()),
        System(name="one per layer and dimension", runs="evidence-weighted_sum_per_dimension-whisper_base-*"),
    ]
    padding = [System(name="alone", runs=_name()), System(name="padded to 30 s", runs="evidence-30s-whisper_base-*")]
    return [
        Table(title="Upstreams, 10min", systems=upstreams()),
        Table(title="Upstreams, 1h", systems=upstreams(size="1h")),
        Table(title="Text alone, 10min", systems=upstreams("asr"), note="Without the language before the text."),
        Table(title="Language alone, 10min", systems=upstreams("lid")),
        Table(title=ONE_VOICE, systems=mono),
        Table(title="Heads and losses", systems=heads, note="Over a frozen Whisper base; two blocks each, of about equal size."),
        Table(title="What is trained inside", systems=adapted, note="Whisper base, 600 updates of 8 utterances, in bf16."),
        Table(title="Layers", systems=layers, note="Layer 0 is the input of the first block."),
        Table(title="Language alone, by pooling", systems=poolings, note="Classifiers (cross-entropy), and CTC of one token."),
        Table(title="For the worst language", systems=robust, note="Text alone."),
        Table(title="CTC in the middle of the head", systems=deep, note="It names the language after the first of two blocks."),
        Table(title="Weights of the layers", systems=sums),
        Table(title="Whisper's 30 seconds", systems=padding, note="The utterance alone, or with silence behind it."),
    ]  # fmt: skip


def cells_of(table: Table, found: Sequence[Run]) -> list[list[str]]:
    """The rows of a table: system, seeds, each rate with its interval and the points by which the system is better than the
    first one; the highest CER of a language, and the points by which the system is better on the first one's such language.
    Empty where fewer than two systems have runs."""
    present = [(system, runs) for system in table.systems if (runs := system.of(found))]
    if len(present) < 2:
        return []
    first = present[0][1]
    return [
        [
            system.name,
            str(len({run.result.seed for run in runs})),
            *(cell for of in RATES for cell in rate_cells(runs, first, of=of)),
            *_worst(runs, first),
        ]
        for system, runs in present
    ]


def _worst(runs: Sequence[Run], first: Sequence[Run]) -> tuple[str, str]:
    """The highest CER of a language, over all seeds; the change in the language that is worst under `first`."""
    own, theirs = _worst_language(runs), _worst_language(first)
    if own is None or theirs is None:
        return "", ""
    return f"{rate_cells(runs, [], of='error_rate', language=own)[0]} ({own})", rate_cells(
        runs, first, of="error_rate", language=theirs
    )[1]


def _worst_language(runs: Sequence[Run]) -> str | None:
    sums: dict[str, Counts] = {}
    for run in runs:
        for one, counts in run.counts():
            sums[one.language] = sums.get(one.language, Counts()) + counts
    rates = {language: rate for language, counts in sums.items() if (rate := counts.error_rate) is not None}
    return max(rates, key=lambda language: rates[language], default=None)


def rate_cells(runs: Sequence[Run], first: Sequence[Run], *, of: Rate, language: str | None = None) -> tuple[str, str]:
    """A rate with its interval and its deviation over seeds, and the change from `first`, of the seeds that both have; empty
    where there is none."""
    everywhere = _counts(runs, language)
    interval = rate_interval(list(everywhere.values()), of=of)
    if interval is None:
        return "", ""
    each = [one.value for run in runs if (one := rate_interval([*_counts([run], language).values()], of=of))]
    spread = f" ± {statistics.stdev(each):.1f}" if len(each) > 1 else ""
    shown = f"{interval.value:.1f} [{interval.low:.1f}, {interval.high:.1f}]{spread}"
    if runs is first:
        return shown, ""
    seeds = {run.result.seed for run in runs} & {run.result.seed for run in first}
    ours, theirs = (_counts([run for run in side if run.result.seed in seeds], language) for side in (runs, first))
    both = [key for key in ours if key in theirs]
    sides = [[side[key] for key in both] for side in ((ours, theirs) if of == "error_rate" else (theirs, ours))]
    change = difference_interval(*sides, of=of) if both else None
    return shown, "" if change is None else change.as_change()


def _counts(runs: Sequence[Run], language: str | None = None) -> dict[tuple[str, str], Counts]:
    """By utterance (of one language), added up over seeds: one that was decoded by three models is not taken for three."""
    sums: dict[tuple[str, str], Counts] = {}
    for run in runs:
        for one, counts in run.counts():
            if language in (None, one.language):
                sums[one.split, one.id] = sums.get((one.split, one.id), Counts()) + counts
    return sums


def transfer(found: Sequence[Run]) -> list[list[str]]:
    """CER of models that were trained on one language, on the test utterances of each: a row per language of training."""
    tests = [run for run in select(found, {"run_name": "evidence-transfer-*"}) if run.folder.parent.name == EVALUATIONS]
    by_language: dict[str, list[Run]] = {}
    for run in tests:
        (trained_on,) = run.facts["trained_on"]
        by_language.setdefault(trained_on, []).append(run)
    codes = sorted(by_language)
    return [[language_name(one), *(_cell(by_language[one], other) for other in codes)] for one in codes]


def _cell(runs: Sequence[Run], language: str) -> str:
    counts = [one for run in runs for said, one in run.counts() if said.language == language]
    interval = rate_interval(counts)
    return "" if interval is None else f"{interval.value:.0f}"


def page(found: Sequence[Run]) -> str:
    """docs/results.md."""
    every = [(table, cells_of(table, found)) for table in tables()]
    moved = transfer(found)
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    given: dict[str, Any] = {
        "tables": [(table, cells) for table, cells in every if cells],
        "absent": [table.title for table, cells in every if not cells] + [TRANSFER] * (not moved),
        "one_voice": any(cells for table, cells in every if table.title == ONE_VOICE),
        "transfer": moved,
        "transfer_title": TRANSFER,
        "num_runs": len(found),
        "seeds": sorted({run.result.seed for run in found}),
        "figures": _figures(),
    }
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(given)


def summary(found: Sequence[Run]) -> str:
    """The lines of README.md: upstreams on the 1h lists."""
    [table] = (one for one in tables() if one.title == "Upstreams, 1h")
    rows = [f"| {name} | {cer} | {lid} |" for name, _, cer, _, lid, *_ in cells_of(table, found)]
    return "\n".join(["| frozen, 900 updates on the 1h lists (3.1 hours) | CER % | LID % |", "|---|---:|---:|", *rows])


def with_summary(readme: str, found: Sequence[Run]) -> str:
    """README.md with these lines between its marks."""
    before, mark, rest = readme.partition("<!-- results: scripts/results.py -->\n")
    _, end, after = rest.partition("<!-- end of results -->")
    assert mark, "README.md has no place for results"
    assert end, "README.md has no end of results"
    return f"{before}{mark}{summary(found)}\n{end}{after}"


def _figures() -> list[tuple[str, str, str]]:
    """File, heading and text of the pictures beside the packed results.

    Raises:
        ValueError: `FIGURES` has no text for one.
    """
    found = {path.stem for path in PACKED.glob("*.svg")}
    if unknown := sorted(found - FIGURES.keys()):
        raise ValueError(f"scripts/results.py has no text for {', '.join(unknown)}: add it to FIGURES")
    return [(f"results/{name}.svg", *text) for name, text in FIGURES.items() if name in found]


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "runs", nargs="*", type=Path, metavar="RUNS", help="folders of runs; default: docs/results/, packed"
    )
    parser.add_argument("--out", type=Path, default=PAGE, help="default: docs/results.md")
    options = parser.parse_args(arguments)
    if options.runs and options.out == PAGE:
        parser.error(f"{PAGE} is of the packed results alone: give --out FILE for the page of other runs")
    with nullcontext(find_runs(options.runs)[0]) if options.runs else unpacked() as runs:
        write_atomic(options.out, [page(runs)])
        if options.out == PAGE:
            write_atomic(README, [with_summary(README.read_text(encoding="utf-8"), runs)])
    print(f"{options.out}: {len(runs)} results")


if __name__ == "__main__":
    main()
