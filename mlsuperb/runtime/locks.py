"""Locks on files, by which processes keep out of each other's way, on one machine or on several that share a file system."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from functools import cache
from typing import IO, Any

log = logging.getLogger(__name__)

# flock(2) and its file systems: Lustre without `-o flock`, some NFS and FUSE mounts
_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})


def lock(file: IO[Any], *, shared: bool = False, wait: bool = True, unknown: bool = True) -> bool:
    """Lock an open file until it is closed, or `unlock` is called.

    Args:
        shared: with other processes that say so, too.
        wait: until another process lets go of it.
        unknown: what is returned, with a warning, where the file system has no locks, so that nobody can know.

    Returns:
        Whether this process may go on; False: another process has the lock.

    Raises:
        OSError: something else is wrong with the file.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
            return False
        if error.errno in _NO_LOCKS:
            _warn(os.path.dirname(os.path.abspath(file.name)), os.strerror(error.errno))
            return unknown
        raise OSError(error.errno, f"{file.name} cannot be locked: {error.strerror}") from error
    return True


def unlock(file: IO[Any]) -> None:
    """Let go of a lock before the file is closed; nothing happens where there is none."""
    try:
        fcntl.flock(file, fcntl.LOCK_UN)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


@cache
def _warn(folder: str, reason: str) -> None:
    log.warning(
        "the file system of %s has no locks (flock: %s), so processes cannot see each other there: start no two that write to "
        "the same folder at the same time",
        folder,
        reason,
    )
