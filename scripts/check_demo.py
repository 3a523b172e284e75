"""Check that the newest demo runs learned, and that pre-training helped: `python scripts/check_demo.py exp`. CI calls it after
`make demo`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

# upstream -> the most that its CER may be, and the least that its LID accuracy may be; measured: docs/mhubert_tiny.md
BOUNDS = {"fbank": (40.0, 73.0), "mhubert_tiny": (29.5, 87.0)}
MIN_GAIN = 0.15  # of the CER, relative: 0.2 is what is claimed, less what another machine's rounding does
MIN_UTTERANCES = 200


def newest(root: Path, upstream: str) -> dict[str, Any]:
    """The metrics of the newest demo run of an upstream."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in root.glob("demo-*/result.json")]
    runs = sorted((one for one in found if one["upstream"]["name"] == upstream), key=lambda one: str(one["date"]))
    if not runs:
        sys.exit(f"there is no demo-*/result.json of upstream={upstream} in {root}: run `make demo` first")
    metrics: dict[str, Any] = runs[-1]["protocols"]["v1"]["metrics"]["test"]
    return metrics


def main(root: Path) -> None:
    cers = {}
    for upstream, (max_cer, min_accuracy) in BOUNDS.items():
        metrics = newest(root, upstream)
        cer, accuracy = metrics["all_cer"]["value"], metrics["all_lid_accuracy"]["value"]
        num_utterances = metrics["all_cer"]["num_utterances"]
        print(f"{upstream}: CER {cer:.1f} %, LID {accuracy:.1f} %, {num_utterances} utterances")
        if cer > max_cer or accuracy < min_accuracy or num_utterances < MIN_UTTERANCES:
            sys.exit(f"expected CER <= {max_cer}, LID >= {min_accuracy}, at least {MIN_UTTERANCES} utterances")
        cers[upstream] = cer
    gain = 1 - cers["mhubert_tiny"] / cers["fbank"]
    print(f"mhubert_tiny has {100 * gain:.0f} % fewer errors than fbank")
    if gain < MIN_GAIN:
        sys.exit(f"expected {100 * MIN_GAIN:.0f} % at least")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
