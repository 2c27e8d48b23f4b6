"""
The locks of a mirror: one daemon a file, one purge a file.

Each is a `flock` on a file of its own beside the mirror, which the system releases when the holder
ends, however it ends. The holder writes its process number into it for others to read. `is_held`
looks, and never stands in the way of who is about to take it.
"""

import fcntl
import os
import time
from contextlib import AbstractContextManager, suppress
from enum import StrEnum
from pathlib import Path

from semysync.errors import MirrorBusy, MirrorUnusable
from semysync.mirror.access import not_opened, opened, real

HEIR_S = 1  #: so long a dead holder's lock may live on


class Right(StrEnum):
    """What a lock gives: to send and to migrate, or to purge."""

    SENDER = "sender"
    PURGE = "purge"


class Lock(AbstractContextManager["Lock"]):
    """A right over a mirror, held until it is closed. Raises `MirrorBusy` where another holds it."""

    def __init__(self, mirror: Path, right: Right) -> None:
        path = _file_of(mirror, right)
        try:
            self._file = opened(path)
        except OSError as exc:
            raise not_opened(exc)(
                f"cannot open {path}: {exc.strerror}; "
                "check who owns it and its folder, and their modes"
            ) from None
        try:
            self._take()
        except BlockingIOError:
            holder = self._holder()
            os.close(self._file)
            raise MirrorBusy(
                f"process {holder or '(unknown)'} is already at work on {mirror}: "
                "stop it first, or let it do the work"
            ) from None
        except OSError as exc:
            os.close(self._file)
            raise MirrorUnusable(
                f"cannot lock {path}: {exc.strerror}; choose a folder on a disk of this machine"
            ) from None
        with suppress(OSError):  # a full disk: the number is a courtesy, the lock is held
            os.truncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def _take(self) -> None:
        """
        Take the lock; raises `BlockingIOError` where another holds it.

        A program that a holder was just starting when it was killed holds its lock for some more
        milliseconds, until it has become that program: that is waited for.
        """
        ends = time.monotonic() + HEIR_S
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > ends or not _is_dead(self._holder()):
                    raise
                time.sleep(0.01)
            else:
                return

    def _holder(self) -> str:
        """Return the process number that the holder has written; empty where it has not yet."""
        return os.pread(self._file, 20, 0).decode("ascii", "replace").strip()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the right back."""
        os.close(self._file)


def is_held(mirror: Path, right: Right) -> bool | None:
    """
    Tell whether a process of this machine holds a right; None where that cannot be seen.

    The list of locks is read, since to try one would be to hold it: a daemon that starts in the
    same moment would be refused. What runs in another container may not be in the list.
    """
    try:
        number = str(_file_of(mirror, right).stat().st_ino)
        locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except FileNotFoundError as exc:
        return None if exc.filename == "/proc/locks" else False
    except OSError:
        return None
    # `6: FLOCK ADVISORY WRITE 712 fe:00:2148526 0 EOF`; devices are not compared, since some file
    # systems show another one there than in `stat`.
    return any("FLOCK" in lock and lock.split()[-3].rpartition(":")[2] == number for lock in locks)


def _is_dead(holder: str) -> bool:
    if not holder.isdecimal():
        return False
    try:
        os.kill(int(holder), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # another user's
        return False
    return False


def _file_of(mirror: Path, right: Right) -> Path:
    """Return the file of a lock, beside the mirror itself: two links lead to one lock."""
    place = real(mirror)
    return place.with_name(f"{place.name}-{right}.lock")
