"""What a run was made with: versions, machine, code, command, seeds."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import random
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import mlsuperb
from mlsuperb.runtime import ranks
from mlsuperb.runtime.variables import recorded

PACKAGES = ("torch", "torchaudio", "transformers", "accelerate", "hydra-core", "soundfile", "numpy", "rapidfuzz")
# make the phonemes of jpn and cmn, in training and in references
OPTIONAL = ("pyopenjtalk", "pyopenjtalk-plus", "pypinyin")

CODE = ("mlsuperb", "conf", "pyproject.toml")  # what of a checkout makes results


def environment() -> dict[str, Any]:
    """Versions, machine, code and command of this process, and the variables that can change numbers."""
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "package_version": mlsuperb.__version__,
        "code": _code_state(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name in (*PACKAGES, *OPTIONAL) if (version := _version(name))},
        "gpus": gpus,
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "variables": recorded(),
        "processes": ranks.world(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "started": now(),
    }


def _version(package: str) -> str | None:
    """Of an installed package; None if an optional one is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        if package in PACKAGES:
            raise
        return None


def _code_state() -> dict[str, Any]:
    """Commit of a checkout and whether it was changed; an installed package has neither."""
    root = Path(mlsuperb.__file__).resolve().parents[1]

    def git(*arguments: str) -> str:
        # without its index, which `git status` refreshes under a lock: a kill at that moment would leave the lock in the checkout
        command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        if not (root / "pyproject.toml").is_file():
            return {"commit": None, "dirty": None}
        changed = git("status", "--porcelain", "--", *CODE)  # notes and reports beside it change no result
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def set_seed(seed: int) -> None:
    """Seed every global random generator."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
