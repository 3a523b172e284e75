"""How many threads compute on a CPU, and how they wait for each other."""

from __future__ import annotations

import os

SPINS = "1000"  # turns of a loop, of libgomp's 300,000 where there is a core for each thread


def share_cores() -> None:
    """Have the threads of torch's OpenMP (GNU's) go to sleep at a barrier after a short while, for this process and those it
    starts; to be called before torch is loaded. Where cores are shared, a thread that turns in a loop keeps out the very one that
    it waits for, and concurrent runs slow each other down many times over; `scripts/bench/two_at_once.py` measures it. What the
    user has set stays (libgomp's GOMP_SPINCOUNT, OMP_WAIT_POLICY)."""
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPINS


def use_own_cores() -> None:
    """Give torch no more threads than this process may use cores: a container's share of a large machine, which torch does not
    ask for, among them. OMP_NUM_THREADS has the last word."""
    import torch
    from joblib import cpu_count

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), cpu_count()))
