"""`mlsuperb folders OVERRIDES`: the folders of the runs that `mlsuperb run OVERRIDES` would make.

Prints one per line, in the order in which they would run; nothing is made or read. With `--unfinished`, prints only those that
have no result, each with the reason; the exit status is 1 if there is one.

With `--sweeps` sweeps are read from the standard input, one per line, with tabs between their overrides; an empty line stands
behind the folders of each.

With `--chain` the runs are read from the standard input, one per line: a name and its overrides, with tabs between them. There
`targets.run=@units` stands for the folder of the run `units`, which has to be above.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mlsuperb.config.options import refuse_unknown


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="mlsuperb folders", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="as for mlsuperb.run")
    parser.add_argument("--chain", action="store_true", help="runs that build upon each other, from the standard input")
    parser.add_argument("--sweeps", action="store_true", help="several sweeps, from the standard input")
    parser.add_argument("-m", "--multirun", action="store_true", help="the overrides are a sweep")
    parser.add_argument(
        "-cd", "--config-dir", type=Path, action="append", default=[], help="folder with own YAML files"
    )
    parser.add_argument("--unfinished", action="store_true", help="only those without a result, with the reason")
    options = parser.parse_intermixed_args(arguments)
    if options.chain:
        sys.stdout.writelines(f"{folder}\n" for folder in chained(sys.stdin, config_dirs=options.config_dir))
        return 0
    if options.sweeps:
        for line in sys.stdin:
            found = _folders(line.rstrip("\n").split("\t"), config_dirs=options.config_dir, multirun=True)
            sys.stdout.writelines(f"{one}\n" for one in [*found, ""])
        return 0
    if not options.overrides:
        parser.error("the following arguments are required: OVERRIDE")
    folders = _folders(options.overrides, config_dirs=options.config_dir, multirun=options.multirun)
    if not options.unfinished:
        sys.stdout.writelines(f"{folder}\n" for folder in folders)
        return 0
    from mlsuperb.runs.store import why_unfinished

    reasons = {folder: reason for folder in folders if (reason := why_unfinished(folder))}
    sys.stdout.writelines(f"{folder} {reason}\n" for folder, reason in reasons.items())
    return 1 if reasons else 0


def _folders(overrides: Sequence[str], *, config_dirs: Sequence[Path], multirun: bool) -> list[Path]:
    # where runs are launched from makes no difference, and its plugin may not be here
    refuse_unknown([one for one in overrides if not one.startswith("hydra")], config_dirs=config_dirs)
    from mlsuperb.commands.sweep import run_folders

    return run_folders(overrides, config_dirs=config_dirs, multirun=multirun)


def chained(lines: Iterable[str], *, config_dirs: Sequence[Path] = ()) -> Iterator[Path]:
    """Folders of runs, each of which may take something from the ones before it.

    Raises:
        ValueError: a run that is named is not above.
    """
    from mlsuperb.commands.sweep import run_folders

    made: dict[str, Path] = {}

    def folder_of(found: re.Match[str]) -> str:
        if found[1] not in made:
            raise ValueError(f"@{found[1]} is none of the runs above it: {', '.join(made) or 'there are none'}")
        return f"={made[found[1]]}"

    for line in lines:
        name, *overrides = line.rstrip("\n").split("\t")
        words = [re.sub(r"=@(.+)$", folder_of, word) for word in overrides]
        refuse_unknown(words, config_dirs=config_dirs)
        (made[name],) = run_folders(words, config_dirs=config_dirs)
        yield made[name]
