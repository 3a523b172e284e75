"""Writes docs/performance.md from what the measurements of `scripts/bench/` and `scripts/gpu/` saved in docs/performance/.

    python scripts/performance.py                          # write the page
    python scripts/performance.py --take exp/head_step.json   # keep a file that --json wrote, then write the page
    python scripts/performance.py --take $OUT              # those of scripts/gpu/check.sh

A result keeps the name of its file; those of a GPU go to docs/performance/gpu/. The page (scripts/performance.md.jinja) has no
figure that is not in such a file: what has none is named as not measured, with the command that does it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mlsuperb.runtime.files import write_atomic  # noqa: E402
from scripts.bench.cache_hours import BATCH_SIZE, NUM_DEV, NUM_EPOCHS, NUM_TEST, NUM_TRAIN, TOTAL_H  # noqa: E402

PAGE, RESULTS, TEMPLATE = (
    ROOT / "docs" / "performance.md",
    ROOT / "docs" / "performance",
    ROOT / "scripts" / "performance.md.jinja",
)
GPU = "gpu"  # the folder of its results
KEPT = ("command", "date", "commit", "machine", "versions", "tables", "figures", "note")
NEEDED = {"command", "date", "commit", "machine", "versions", "tables"}
STEP_AUDIO_S = 24.0  # of a step of frozen_run: 8 utterances of the built-in corpus, of 3 s (scripts/bench/bound.py)
MAX_KB = 64  # of a result: tables and medians, no raw data


def take(source: Path) -> list[Path]:
    """Keep the results of a file or a folder; returns where they are kept.

    Raises:
        SystemExit: there is none, or one was not written by `scripts/bench/harness.py`.
    """
    files = sorted(source.glob("*.json")) if source.is_dir() else [source]
    if not files:
        sys.exit(f"{source}: no .json file in this folder")
    kept = []
    for file in files:
        found = json.loads(file.read_text(encoding="utf-8"))
        if missing := NEEDED - found.keys():
            sys.exit(f"{file}: no result of a measurement, it lacks {', '.join(sorted(missing))}")
        text = json.dumps({key: found[key] for key in KEPT if key in found}, indent=1, ensure_ascii=False) + "\n"
        if len(text) > 1000 * MAX_KB:
            sys.exit(f"{file}: {len(text) / 1000:.0f} kB; a result has at most {MAX_KB}: medians, no raw data")
        on_gpu = str(found.get("settings", {}).get("device", "")).startswith("cuda")
        to = RESULTS / GPU / file.name if on_gpu else RESULTS / file.name
        to.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(to, [text])
        kept.append(to)
    return kept


def page(folder: Path = RESULTS) -> str:
    """docs/performance.md, of the results in `folder`."""
    used: set[str] = set()

    def result(name: str) -> dict[str, Any] | None:
        used.add(name)
        file = folder / f"{name}.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    text = template.render(result=result, markdown=markdown, row_hours=row_hours)
    if unused := {file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.json")} - used:
        sys.exit(f"{TEMPLATE.name} does not show {', '.join(sorted(unused))}")
    return text


def row_hours(measured: dict[str, Any]) -> dict[str, float]:
    """Hours of the runs of a row of ML-SUPERB 1.0 on a frozen HuBERT-base, from the rates of scripts/bench/frozen_run.py.

    By the arithmetic of scripts/bench/cache_hours.py, which has the utterances of 1h; 10min has a sixth of that training speech.
    """
    ours = measured["figures"]["ours"]
    per_s, fill = ours["step_s"][0] / STEP_AUDIO_S, ours["fill_s"][0] / (60 * sum(ours["audio_min"]))
    utterance_h = TOTAL_H / (NUM_TRAIN + NUM_DEV + NUM_TEST)
    dev_h, test_h = NUM_DEV * utterance_h, NUM_TEST * utterance_h

    def one(iterations: int, *, train_h: float, dev_h: float, test_h: float) -> tuple[float, float]:
        seen_h = iterations * BATCH_SIZE * utterance_h + NUM_EPOCHS * dev_h + test_h
        return per_s * seen_h, fill * (train_h + dev_h + test_h)

    mono = sum(one(15_000, train_h=1 / 6, dev_h=1 / 6, test_h=1 / 6))
    train_h = NUM_TRAIN * utterance_h
    small, small_fill = one(300_000, train_h=train_h / 6, dev_h=dev_h, test_h=test_h)
    large, large_fill = one(600_000, train_h=train_h, dev_h=dev_h, test_h=test_h)
    hours = {"mono": mono, "10min": small + small_fill, "1h": large + large_fill}
    # filled once
    rows = {"row_10min": 13 * mono + 3 * small + small_fill, "row_1h": 13 * mono + 3 * large + large_fill}
    return hours | rows


def markdown(table: dict[str, Any]) -> str:
    """A table as `scripts.bench.harness.Table` saved it."""
    text = table["text"]
    lines = [table["columns"], ["---"] * text + ["---:"] * (len(table["columns"]) - text), *table["rows"]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--take", type=Path, nargs="+", default=[], metavar="RESULT", help="files or folders to keep")
    options = parser.parse_args(arguments)
    for source in options.take:
        print(*take(source), sep="\n")
    write_atomic(PAGE, [page()])
    print(PAGE)


if __name__ == "__main__":
    main()
