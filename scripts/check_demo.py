"""Check that the newest demo run learned: `python scripts/check_demo.py exp`. CI calls it after `make demo`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

MAX_CER, MIN_LID, MIN_UTTERANCES = 35.0, 85.0, 200


def main(root: Path) -> None:
    results = sorted(root.glob("demo-*/result.json"), key=lambda path: path.stat().st_mtime)
    if not results:
        sys.exit(f"no demo-*/result.json in {root}: run `make demo` first")
    metrics = json.loads(results[-1].read_text(encoding="utf-8"))["protocols"]["v1"]["metrics"]
    print(results[-1], metrics)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
