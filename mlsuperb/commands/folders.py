"""`mlsuperb folders OVERRIDES`: the folders of the runs that `python -m mlsuperb.run OVERRIDES` would make.

One a line, in the order in which they would run, `-m` and `--config-dir` included; nothing is made or read. With `--unfinished`,
those of them alone that have no result, each with the reason; exit status 1 if there is one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mlsuperb.config.options import check_overrides
from mlsuperb.runs.store import why_unfinished


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
    from mlsuperb.commands.sweep import run_folders

    try:
        folders = run_folders(overrides)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    if not unfinished:
        sys.stdout.writelines(f"{folder}\n" for folder in folders)
        return
    reasons = {folder: reason for folder in folders if (reason := why_unfinished(folder))}
    sys.stdout.writelines(f"{folder} {reason}\n" for folder, reason in reasons.items())
    sys.exit(1 if reasons else 0)
