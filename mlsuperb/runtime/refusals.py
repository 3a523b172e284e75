"""What the operating system refuses (space, rights, files, memory), in whatever way a library reports it, and what helps."""

from __future__ import annotations

import errno
import os
import re
import resource
from collections.abc import Iterator

FULL = {  # what a full disk looks like: of the machine, of a user, of one file
    errno.ENOSPC: ("no space left on the disk", "free some space"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or ask for more"),
    errno.EFBIG: (
        "the limit on the size of a file is reached",
        "raise the limit (ulimit -f unlimited), or use another file system",
    ),
}
_DENIED = "give a folder that you may write to (output_root=DIR, manifests=DIR, cache.folder=DIR, --out), or change its rights"
_REFUSED = {
    **FULL,
    errno.EROFS: ("the file system is read-only", _DENIED),
    errno.EACCES: ("you have no right to it", _DENIED),
    errno.EPERM: ("the system does not allow it", _DENIED),
    errno.ENOTDIR: ("a file is where a folder should be", "give another folder, or remove it"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n 4096), or set loading.num_workers=0"),
    errno.ENFILE: ("too many files are open on this machine", "close other programs, or set loading.num_workers=0"),
    errno.ENOMEM: (
        "there is too little memory",
        "give the job more, lower loading.train, loading.eval_batch_s or loading.num_workers, or cut long utterances",
    ),
    errno.EAGAIN: (
        "no more processes or threads may start",
        "raise the limit (ulimit -u), or set loading.num_workers=0",
    ),
}
_SHARED_MEMORY = (
    "worker processes and the feature cache need shared memory, and /dev/shm is missing, read-only or too small",
    "mount it larger (docker run --shm-size=8g), or set loading.num_workers=0 cache=off",
)
# what libraries write in place of a number; the first that is found counts
_SIGNS = {
    "shared memory": _SHARED_MEMORY,
    "Bus error": _SHARED_MEMORY,  # how a worker ends when /dev/shm is full
    "SemLock": _SHARED_MEMORY,
    "Too many open files": _REFUSED[errno.EMFILE],
    "can't start new thread": _REFUSED[errno.EAGAIN],
    "CUDA out of memory": _REFUSED[errno.ENOMEM],
    "can't allocate memory": _REFUSED[errno.ENOMEM],
    "Cannot allocate memory": _REFUSED[errno.ENOMEM],
    "killed by signal: Killed": ("a worker process was killed, as the system does when memory runs out",
                                 "lower loading.num_workers or loading.keep_audio_gb, or give the job more memory"),
    "No space left": _REFUSED[errno.ENOSPC],
}  # fmt: skip
_NUMBER = re.compile(r"\((?:os )?error (\d+)\)|\[[Ee]rrno (\d+)\]")  # Rust's (safetensors) and pyarrow's


# A run of the tiny upstream takes 5.5 GB at its peak and ends within 4.5; with 3.2 GB OpenBLAS fails as it is loaded.
MIN_ADDRESS_SPACE = 4 * 10**9


def check_address_space() -> None:
    """
    Raises:
        ValueError: `ulimit -v` leaves less than the libraries take, which would fail somewhere in the middle of them.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit not in (resource.RLIM_INFINITY, -1) and limit < MIN_ADDRESS_SPACE:
        raise ValueError(
            f"this process may use {limit / 1e9:.1f} GB of address space (ulimit -v), and torch with its libraries alone takes "
            f"{MIN_ADDRESS_SPACE / 1e9:g} GB of it, most of which is never memory. Start with ulimit -v unlimited, and limit "
            "memory itself (of a container or a Slurm job) instead"
        )


def number_of(error: BaseException) -> int | None:
    """The system's number of an error: its own, one in its text, or that of what it came from."""
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno is not None:
            return one.errno
        if found := _NUMBER.search(str(one)):
            return int(found[1] or found[2])
    return None


def sentence(error: BaseException) -> str | None:
    """What was refused and what to do, of an error as the system or a library raised it; None where it is another error, or
    was explained where it arose, as a `ValueError` was that came from an error of the system by its number."""
    if isinstance(error, OSError) and error.strerror and error.strerror != os.strerror(error.errno or 0):
        return None
    text = "; ".join(str(one) for one in _chain(error))
    known = None if isinstance(error, ValueError) else _REFUSED.get(number_of(error) or 0)
    if isinstance(error, MemoryError):
        known = _REFUSED[errno.ENOMEM]
    elif not isinstance(error, OSError) or known is None:
        known = next((told for sign, told in _SIGNS.items() if sign in text), known)
    if known is None:
        return None
    where = next((str(one.filename) for one in _chain(error) if isinstance(one, OSError) and one.filename), "")
    said = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())[:200]
    return f"{where + ': ' if where else ''}{known[0]} ({said}): {known[1]}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from, as a traceback would show it."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
