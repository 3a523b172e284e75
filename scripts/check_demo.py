"""Check that the newest demo run learned: `python scripts/check_demo.py exp`. CI calls it after `make demo`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

MAX_CER, MIN_LID_ACCURACY, MIN_UTTERANCES = 35.0, 85.0, 200


def main(root: Path) -> None:
    results = sorted(root.glob("demo-*/result.json"), key=lambda path: path.stat().st_mtime)
    if not results:
        sys.exit(f"there is no demo-*/result.json in {root}: run `make demo` first")
    metrics = json.loads(results[-1].read_text(encoding="utf-8"))["protocols"]["v1"]["metrics"]["test"]
    cer, accuracy = metrics["all_cer"]["value"], metrics["all_lid_accuracy"]["value"]
    num_utterances = metrics["all_cer"]["num_utterances"]
    print(f"{results[-1].parent.name}: CER {cer:.1f} %, LID {accuracy:.1f} %, {num_utterances} utterances")
    if cer > MAX_CER or accuracy < MIN_LID_ACCURACY or num_utterances < MIN_UTTERANCES:
        sys.exit(f"expected CER <= {MAX_CER}, LID >= {MIN_LID_ACCURACY}, at least {MIN_UTTERANCES} utterances")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
