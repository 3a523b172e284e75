"""`python -m mlsuperb.folders OVERRIDES`: the folders of the runs that `python -m mlsuperb.run OVERRIDES` would make.

One a line, in the order in which they would run, `-m` and `--config-dir` included; nothing is made or read. With `--unfinished`,
those of them alone that have no result, each with the reason; exit status 1 if there is one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from mlsuperb.options import check_overrides
from mlsuperb.sweep import run_folders

RESULT_FILE, STATUS_FILE = "result.json", "status.json"


def state(folder: Path) -> str | None:
    """Why a run has no result, in words; None where it has one."""
    if (folder / RESULT_FILE).is_file():
        return None
    if not (folder / STATUS_FILE).is_file():
        return "not started"
    status = json.loads((folder / STATUS_FILE).read_text(encoding="utf-8"))
    # a process that was killed had no time to say so
    words = "not finished" if status["state"] == "running" else str(status["state"])
    if "iteration" in status:
        words += f" after {status['iteration']:,} of {status['num_iterations']:,} iterations"
    return f"{words}: {status['error']}" if "error" in status else words


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line. Arguments are Hydra's, so that there is no parser of our own between."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or {"-h", "--help"} & set(given):
        sys.exit(__doc__)
    unfinished = "--unfinished" in given
    overrides = [one for one in given if one != "--unfinished"]
    # where runs are launched from makes no difference, and its plugin may not be here
    if messages := check_overrides([one for one in overrides if not one.startswith("hydra")]):
        sys.exit("\n".join(messages))
    try:
        folders = run_folders(overrides)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    if not unfinished:
        sys.stdout.writelines(f"{folder}\n" for folder in folders)
        return
    reasons = {folder: reason for folder in folders if (reason := state(folder))}
    sys.stdout.writelines(f"{folder} {reason}\n" for folder, reason in reasons.items())
    sys.exit(1 if reasons else 0)


if __name__ == "__main__":
    main()
