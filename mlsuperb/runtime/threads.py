"""How many threads compute on a CPU, and how they wait for each other."""

from __future__ import annotations

import os

SPINS = "1000"  # microseconds, about: shorter than a time slice of the system, longer than most waits


def share_cores() -> None:
    """Have the threads of torch's OpenMP (GNU's) go to sleep at a barrier after a short while, for this process and those it
    starts; to be called before torch is loaded. Left alone, they turn in a loop for a tenth of a second, which is best for a
    process that has its cores to itself. Where it shares them, a thread that turns keeps out the very one that it waits for: two
    runs of two threads on two cores took six times as long as one (`scripts/bench/two_at_once.py`). What the user has set stays.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPINS


def use_own_cores() -> None:
    """Give torch no more threads than this process may use cores: a container's share of a large machine, which torch does not
    ask for, among them. OMP_NUM_THREADS has the last word."""
    import torch
    from joblib import cpu_count

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), cpu_count()))
