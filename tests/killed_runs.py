"""Kill runs with SIGKILL at exact moments, start them again, and compare with a run left alone.

    python tests/killed_runs.py FOLDER +exp=demo trainer.iterations_per_epoch=100 trainer.max_epochs=3

Prints one line per moment; exits 1 unless every resumed run started above iteration 0 and ended with the same weights, bit for
bit, and the same hypotheses.jsonl, byte for byte.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MOMENTS = ("step", "validation", "checkpoint", "decoding")


def kill_after(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, until its `calls`-th call, in which the process dies."""
    left = calls

    def counted(*arguments: Any, **keywords: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **keywords)

    return counted


def child(moment: str, overrides: list[str]) -> None:
    """Run, and die at `moment`."""
    import torch

    from mlsuperb import run
    from mlsuperb.benchmark import recogniser as inference
    from mlsuperb.config.compose import compose
    from mlsuperb.runs import decoding
    from mlsuperb.training import checkpoint

    trainer = compose(overrides)["trainer"]
    if moment == "step":  # half-way through the second epoch
        updates = trainer["iterations_per_epoch"] // trainer["accumulate"]
        torch.optim.AdamW.step = kill_after(updates + updates // 2 + 1, torch.optim.AdamW.step)  # type: ignore[method-assign]
    elif moment == "validation":  # the second one, at its first batch
        validate = inference.Recogniser.validate

        def second_validation(self: inference.Recogniser, *arguments: Any, **keywords: Any) -> dict[str, float]:
            if (seen := getattr(self, "seen", 0)) == 1:
                self.loading.inference = kill_after(1, self.loading.inference)  # type: ignore[method-assign]
            self.seen = seen + 1  # type: ignore[attr-defined]
            return validate(self, *arguments, **keywords)

        inference.Recogniser.validate = second_validation  # type: ignore[method-assign]
    elif moment == "checkpoint":  # the second one: weights are there under a temporary name, the rest is not
        checkpoint.torch.save = kill_after(2, torch.save)  # type: ignore[attr-defined]
    else:  # all is decoded, nothing written yet but the partial file
        decoding.write_hypotheses = kill_after(1, decoding.write_hypotheses)
    sys.argv[1:] = overrides
    run.cli()


def start(folder: Path, overrides: list[str], *, moment: str | None = None) -> subprocess.CompletedProcess[str]:
    """One process; with a `moment` it dies there."""
    words = [__file__, "--child", moment] if moment else ["-m", "mlsuperb.run"]
    command = [sys.executable, *words, *overrides, f"output_root={folder}"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})


def outcome(folder: Path) -> tuple[bytes, bytes]:
    """Weights and hypotheses of the one run in `folder`."""
    (result,) = folder.glob("*/result.json")
    return (result.parent / "model.safetensors").read_bytes(), (result.parent / "hypotheses.jsonl").read_bytes()


def main(
    folder: Path,
    overrides: list[str],
    *,
    exact: bool = True,
    moments: Sequence[str] = MOMENTS,
    tell: Callable[..., object] = lambda *_: None,
) -> int:
    """Compare runs killed at some moments with one left alone.

    Args:
        exact: whether all must be equal to the bit, as on a CPU.
        tell: called for each moment with its name, the exit status, the iterations resumed from, whether all was equal.
    """
    overrides = [f"manifests={folder / 'manifests'}", *overrides]
    done = start(folder / "whole", overrides)
    if done.returncode:
        print(done.stdout, done.stderr)
        return 1
    expected = outcome(folder / "whole")
    lines = [json.loads(line) for line in expected[1].decode().splitlines()]
    print(f"left alone: {len(lines)} hypotheses, {sum(bool(one['hypothesis']) for one in lines)} not empty")
    failed = 0
    for moment in moments:
        killed = start(folder / moment, overrides, moment=moment)
        resumed = start(folder / moment, overrides)
        log = next(folder.glob(f"{moment}/*/run.log")).read_text(encoding="utf-8")
        started = re.findall(r"resuming from iteration (\d+)", log)
        same = resumed.returncode == 0 and outcome(folder / moment) == expected
        ended = same if exact else resumed.returncode == 0
        good = killed.returncode == -signal.SIGKILL and started and int(started[-1]) > 0 and ended
        failed += not good
        print(f"killed in a {moment}: exit {killed.returncode}, resumed from iteration {started}, same bytes: {same}")
        tell(moment, killed.returncode, ", ".join(started), same)
        if not good:
            print(killed.stderr[-2000:], resumed.stderr[-2000:])
    return int(failed > 0)


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        child(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
