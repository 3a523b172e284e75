"""Every recipe on the built-in corpus, a few steps a run: killed in training, carried on to its table, and once more at once.

    python scripts/check_recipes.py [FOLDER] [--only RECIPE ...] [--lanes 2]

Prints one line per call with its seconds; what a call printed lies in FOLDER/<recipe>-<call>.log. Exits 1 where a call failed,
trained what it had trained before, or left out a table. `make check-recipes` and CI run it.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SMALL = [
    *("--data", "synthetic", "--data.minutes", "0.2", "--data.test_minutes", "0.1", "--upstream", "tiny", "--trainer", "debug"),
    *("--head.num_blocks", "1", "--head.size", "16", "--head.num_heads", "2", "--head.ffn_size", "32"),
]  # fmt: skip
TINY_HUBERT = [  # for pre-training, which has no head and no upstream to choose
    *("--data", "synthetic", "--data.minutes", "0.3", "--data.test_minutes", "0.1", "--model", "hubert_new_tiny"),
    *("--trainer", "debug", "--loading.train.max_batch_s", "10", "--units", "20,30", "--layers", "1"),
    *("--upstream.num_blocks", "2", "--upstream.hidden_size", "32", "--upstream.ffn_size", "64"),
    *("--upstream.position_groups", "2", "--upstream.conv_channels", "[8,8,8,8,16,16,32]"),
]  # fmt: skip
EXPANSION = [
    *("--base", "mhubert_tiny", "--data", "synthetic", "--data.minutes", "0.3", "--data.test_minutes", "0.1"),
    *("--trainer", "debug", "--loading.train.max_batch_s", "10", "--units", "20", "--layer", "3", "--systems", "combined"),
    *("--exp", "demo", "--exp-settings", "trainer=debug data.minutes=0.3 data.test_minutes=0.1 head.num_blocks=1 head.size=16 "
      "head.num_heads=2 head.ffn_size=32"),
]  # fmt: skip
SEAMLESS = [
    *("--model", "seamless_new", "--model.size", "32", "--model.encoder_blocks", "1", "--model.decoder_blocks", "1"),
    *("--model.ffn_size", "64", "--width", "4", "--wide", "8", "--data", "synthetic", "--data.minutes", "0.2"),
    *("--data.test_minutes", "0.1", "--text", "synthetic", "--text.num_train", "40", "--text.num_dev", "10"),
    *("--text.num_test", "10", "--loading.train.max_batch_s", "10", "--search", "greedy", "--search.max_tokens", "5"),
    *("--preservation.num_utterances", "5", "--trainer", "debug"),
]  # fmt: skip
ROW = ["--languages", "eng,fra,deu,rus,swa,swe,jpn,cmn,xty,dan"]  # of the monolingual track, and one reserved
TWO = ["--languages", "deu,spa"]
KILLED = 137
NUM_STEPS = 3  # a run of trainer=debug has 4; this many are taken before the kill, each with a checkpoint


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe with its flags.

    Args:
        num_runs: that it trains.
        shows: what its tables and figures say.
        base: flags that make it small.
        num_untrained: runs of another kind (labels) beside these.
        share: name of the folder of runs.
        has_runs: another recipe of this folder has trained them all.
    """

    name: str
    flags: Sequence[str]
    num_runs: int
    shows: Sequence[str]
    base: Sequence[str] = tuple(SMALL)
    num_untrained: int = 0
    share: str = ""
    has_runs: bool = False


# What runs one after another, since it is in one folder. The longest come first: whoever is free takes the next.
CHAINS = (
    (
        Recipe(
            name="peft_study", flags=["--adaptation", "frozen,qlora_peft_study"], num_runs=20,
            shows=("20 runs on synthetic", "SUPERB_s"),
        ),
    ),
    (
        Recipe(
            name="expand", flags=["--new", "kat", "--old", "deu,spa"], num_runs=4, num_untrained=10, base=tuple(EXPANSION),
            shows=("combined: upstream=pretrained", "Language expansion by kat", "PNMI new"),
        ),
    ),
    (
        Recipe(
            name="seamless", flags=["--target", "swa", "--pivot", "tur", "--keep", "deu"], num_runs=11, num_untrained=1,
            base=tuple(SEAMLESS), shows=("12 runs on several", "Adaptation to swa", "length_adaptor"),
        ),
    ),
    (
        Recipe(name="all_v1", flags=ROW, num_runs=16, shows=("SUPERB_s", "16 runs on synthetic"), share="row"),
        Recipe(name="monolingual", flags=ROW, num_runs=13, shows=("13 runs on synthetic",), share="row", has_runs=True),
        Recipe(name="multilingual_asr", flags=ROW, num_runs=1, shows=("1 run on synthetic",), share="row", has_runs=True),
        Recipe(name="lid", flags=ROW, num_runs=1, shows=("1 run on synthetic",), share="row", has_runs=True),
        Recipe(name="asr_lid", flags=ROW, num_runs=1, shows=("1 run on synthetic",), share="row", has_runs=True),
    ),
    (Recipe(name="v2", flags=TWO, num_runs=13, shows=("13 runs on synthetic",)),),
    (
        Recipe(
            name="pretrain", flags=TWO, num_runs=2, num_untrained=2, base=tuple(TINY_HUBERT),
            shows=("labels of iteration 2", "upstream=pretrained upstream.run="),
        ),
    ),
    (Recipe(name="layer_sweep", flags=[*TWO, "--num-blocks", "3"], num_runs=7, shows=("7 runs on synthetic",)),),
    (
        Recipe(
            name="evidence", flags=[*TWO, "--parts", "transfer"], num_runs=2,
            shows=("2 runs on synthetic", "evidence.tar.xz holds 2 runs and 2 evaluations"),
        ),
    ),
    (Recipe(name="fleurs", flags=[*TWO, "--head", "transformer"], num_runs=3, shows=("3 runs on synthetic",)),),
    (Recipe(name="challenge", flags=TWO, num_runs=1, shows=("Protocol challenge",)),),
    (Recipe(name="transfer", flags=["--languages", "spa,fra"], num_runs=2, shows=("2 runs on synthetic",)),),
    (
        Recipe(
            name="transfer", flags=["--across", "datasets", "--datasets", "studio,phone", "--languages", "deu"], num_runs=2,
            shows=("2 runs on synthetic",), share="transfer_datasets",
        ),
    ),
)  # fmt: skip


def die_in_training(module: str, arguments: Sequence[str]) -> None:
    """`python -m MODULE ARGUMENTS`, but a run dies by SIGKILL after some steps of its optimiser."""
    import runpy

    left = NUM_STEPS

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if module == "mlsuperb.run":
        from torch.optim.optimizer import register_optimizer_step_post_hook

        register_optimizer_step_post_hook(count)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


class Check:
    """The calls of a recipe, in a folder."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder, self.recipe = folder, recipe
        self.label = recipe.share if recipe.share.startswith(recipe.name) else recipe.name
        self.out = folder / (recipe.share or recipe.name)
        self.mortal = folder / "mortal-python"
        if not self.mortal.exists():
            self.mortal.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} --mortal "$@"\n')
            self.mortal.chmod(0o755)

    def call(self, kind: str, *, python: str = sys.executable) -> tuple[int, str]:
        """Exit status and output of a call."""
        log = self.folder / f"{self.label}-{kind}.log"
        command = [
            "bash",
            f"recipes/{self.recipe.name}.sh",
            *self.recipe.base,
            "--out",
            str(self.out),
            *self.recipe.flags,
        ]
        environment = os.environ | {"PYTHON": python, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        start = time.monotonic()
        with log.open("w") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file, cwd=ROOT, env=environment)
            _, code, used = os.wait4(process.pid, 0)
        status, taken = os.waitstatus_to_exitcode(code), time.monotonic() - start
        cpu = used.ru_utime + used.ru_stime
        sys.stdout.write(f"{self.label:18} {kind:8} exit {status:3} {taken:6.1f} s, {cpu:5.1f} s of CPU\n")
        sys.stdout.flush()
        return status, log.read_text(encoding="utf-8")

    def problems(self) -> list[str]:
        """What is wrong with the recipe."""
        if self.recipe.has_runs:
            return [*self._again()]
        found = []
        status, text = self.call("killed", python=str(self.mortal))
        if status != KILLED or "killed (137): give the same command again" not in text:
            found.append(f"{self.label}: killed in training, it ended with {status}")
        status, text = self.call("resumed")
        done = [int(number) for number in re.findall(r"iterations, epochs: \d+; (\d+) done", text)]
        if status != 0:
            found.append(f"{self.label}: ended with {status}")
        if len(done) != self.recipe.num_runs or sum(number > 0 for number in done) != 1:
            found.append(f"{self.label}: one of {self.recipe.num_runs} runs was to be resumed; these were done: {done}")
        return [*found, *self._missing(text), *self._again()]

    def _again(self) -> list[str]:
        status, text = self.call("again")
        found = [f"{self.label}: called again, it ended with {status}"] if status else []
        if "iterations, epochs:" in text:
            found.append(f"{self.label}: called again, it trains again")
        if text.count("this run has ended before") != self.recipe.num_runs + self.recipe.num_untrained:
            found.append(f"{self.label}: called again, it shows {text.count('this run has ended before')} runs")
        return found + self._missing(text)

    def _missing(self, text: str) -> list[str]:
        return [f"{self.label}: '{words}' is nowhere in its output" for words in self.recipe.shows if words not in text]


def chosen(chain: Sequence[Recipe], names: Sequence[str] | None) -> list[Recipe]:
    """The recipes of these names (None: all), and those that train what they only show."""
    wanted = [one for one in chain if names is None or one.name in names]
    untrained = {one.share for one in wanted if one.has_runs}
    return [one for one in chain if one in wanted or (one.share in untrained and not one.has_runs)]


def main() -> int:
    """Run the chains, some at the same time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="for runs and logs (default: a temporary one)")
    parser.add_argument("--only", nargs="+", metavar="RECIPE", help="names, such as lid")
    parser.add_argument("--lanes", type=int, default=2, help="recipes at the same time (default: 2)")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="check_recipes-"))
    folder.mkdir(parents=True, exist_ok=True)
    chains = [chosen(chain, options.only) for chain in CHAINS]

    def run(chain: Sequence[Recipe]) -> list[str]:
        return [problem for recipe in chain for problem in Check(folder.resolve(), recipe).problems()]

    start = time.monotonic()
    with ThreadPoolExecutor(options.lanes) as pool:
        problems = [problem for found in pool.map(run, chains) for problem in found]
    for problem in problems:
        sys.stdout.write(f"{problem}\n")
    sys.stdout.write(f"{len(problems)} problems, {time.monotonic() - start:.0f} s; logs are in {folder}\n")
    return int(bool(problems))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--mortal"]:
        die_in_training(sys.argv[3], sys.argv[4:])  # after -m
    else:
        sys.exit(main())
