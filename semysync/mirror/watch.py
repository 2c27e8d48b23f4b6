"""
When somebody has committed to the mirror: `Watch.wait` returns as soon as it is so.

The truth is `pragma data_version`, which every commit of another connection changes. inotify only
says when to ask: its hint comes with the first byte that a writer puts into the `-wal` file, and a
commit can be seen only at its end, with `synchronous=FULL` not before the disk has said so. So each
hint is followed by looks at growing distances. They grow up to the slow beat, at which a look
is taken always: a hint that is lost, or never comes, costs time and no commit.
"""

import os
import select
import sqlite3
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Self

from semysync.errors import SemysyncError
from semysync.mirror.access import files_of, identity, real
from semysync.mirror.file import connect, explained

try:
    from inotify_simple import INotify, flags, parse_events
except ImportError:  # not Linux
    INotify = None

BEAT_S = 1.0  #: the longest time between two looks
SHORTEST_S = 0.002  #: the least time between two looks, or two readings of hints: no burst spins
GROWTH = 1.5  #: each look comes so many times later after the hint than the one before
POLL_S = 0.04  #: the time between two looks where there are no hints
DEAF_AFTER = 3  #: more commits than can be seen after one hint, even if two writers take turns
MANY_BYTES = 4096  #: hints that are more than that (some 80) are not looked at one by one
READ_BYTES = 65536  #: how much is read of them at once
LONGEST_BYTES = 16 + 256  #: one hint, with its name

BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")

Identities = tuple[tuple[int, int] | None, ...]


class Hints:
    """What inotify tells about a mirror's folder. Raises `OSError` where it can't be had."""

    def __init__(self, mirror: Path) -> None:
        if INotify is None:
            raise OSError("there is no inotify here")
        # SQLite writes to -shm through memory, which no event tells.
        self._names = {mirror.name, f"{mirror.name}-wal"}
        self._inotify = INotify(nonblocking=True)
        try:
            self._inotify.add_watch(
                mirror.parent,
                flags.MODIFY | flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO,
            )
        except BaseException:
            self._inotify.close()
            raise

    def fileno(self) -> int:
        """Return what can be polled."""
        return int(self._inotify.fileno())

    def heard(self) -> bool:
        """Take all the hints that are there; return whether one concerns the mirror."""
        try:
            found = os.read(self.fileno(), READ_BYTES)
        except BlockingIOError:
            return False
        if len(found) <= MANY_BYTES:
            return self._concerns(found)
        with suppress(BlockingIOError):
            while len(found) > READ_BYTES - LONGEST_BYTES:
                found = os.read(self.fileno(), READ_BYTES)
        return True

    def _concerns(self, found: bytes) -> bool:
        return any(
            # All that have no name are about the watch: hints were lost, or the folder has gone.
            not event.name or event.name in self._names
            for event in parse_events(found)
        )

    def close(self) -> None:
        """Give the file number back."""
        self._inotify.close()


class Watch(AbstractContextManager["Watch"]):
    """
    Tells a thread whether another connection, of whatever process, has committed to the mirror.

    To be entered, used and left by one thread; only `wake` is for all. What was committed before
    it was entered is not told. Raises `MirrorUnusable` where the mirror can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._conn: sqlite3.Connection | None = None
        self._hints: Hints | None = None
        self._lock = Lock()
        self._woken = False
        self._bell: tuple[int, int] | None = None  # a pipe: `wake` writes into it
        self._only_bell = select.poll()
        self._all = select.poll()
        self._real = path  # where the mirror really was when it was opened,
        self._place: Identities = ()  # and which files they were
        self._seen: int | None = None
        self._looked_at = self._checked_at = self._hinted_at = 0.0
        self._unannounced = 0

    def __enter__(self) -> Self:
        self._bell = os.pipe()
        for end in self._bell:
            os.set_blocking(end, False)
        self._only_bell.register(self._bell[0], select.POLLIN)
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection and all file numbers back; `wake` may still be called."""
        self._release()
        with self._lock:
            bell, self._bell = self._bell, None
        for end in bell or ():
            os.close(end)

    @property
    def hinted(self) -> bool:
        """Whether inotify is at work; if not, the mirror is asked every 40 ms."""
        return self._hints is not None

    def wake(self) -> None:
        """End the wait of the other thread at once, or its next one. For any thread, any time."""
        with self._lock:
            self._woken = True
            if self._bell:
                with suppress(BlockingIOError):  # full of calls that nobody has heard yet
                    os.write(self._bell[1], b"!")

    def wait(self, timeout_s: float) -> bool:
        """
        Return True as soon as somebody has committed since True was returned last.

        False after `timeout_s`, or when `wake` was called; a commit is then told by the next call.
        """
        ends = monotonic() + timeout_s
        due = self._looked_at + SHORTEST_S
        while not self._rest(min(due, ends)):
            if self._look():
                return True
            if monotonic() >= ends:
                return False
            due = self._looked_at + self._distance()
        return False

    def _rest(self, until: float) -> bool:
        """Wait for a time, or for a hint; return whether it was ended by `wake`."""
        deaf_until = 0.0
        while not self._was_woken():
            now = monotonic()
            if now >= until:
                return False
            if now < deaf_until or not self._hints:
                rest_s = (min(until, deaf_until) if self._hints else until) - now
                self._only_bell.poll(rest_s * 1000)
            elif self._all.poll((until - now) * 1000):
                # What concerns other files of the folder must not cost us a core either.
                deaf_until = monotonic() + SHORTEST_S
                if self._listen():
                    until = min(until, self._looked_at + SHORTEST_S)
        return True

    def _was_woken(self) -> bool:
        if not self._woken:
            return False
        with self._lock:
            self._woken = False
            if self._bell:
                with suppress(BlockingIOError):
                    while os.read(self._bell[0], 4096):
                        pass
        return True

    def _listen(self) -> bool:
        """Take the hints that are there; return whether one concerns the mirror."""
        if not (self._hints and self._hints.heard()):
            return False
        self._hinted_at = monotonic()
        self._unannounced = 0
        return True

    def _distance(self) -> float:
        """Return how long after a look the next is due, where no new hint comes."""
        if not self._conn:
            return BEAT_S
        if not self._hints:
            return POLL_S
        since_hint_s = self._looked_at - self._hinted_at
        return min(BEAT_S, max(SHORTEST_S, since_hint_s * (GROWTH - 1)))

    def _look(self) -> bool:
        """Return whether the mirror has changed since the last look, or is another one now."""
        self._looked_at = monotonic()
        if self._looked_at >= self._checked_at + BEAT_S and self._moved():
            return True
        version = self._version()
        if version is None or version == self._seen:
            return False
        self._seen = version
        if self._hints:
            self._doubt_hints()
        return True

    def _version(self) -> int | None:
        """Ask for the truth; None where the mirror does not say it now."""
        if not self._conn:
            return None
        try:
            return _data_version(self._conn)
        except sqlite3.Error as exc:
            # Whoever uses the mirror meets the same, and says it. We open it anew at the next beat.
            if not (getattr(exc, "sqlite_errorname", None) or "").startswith(BUSY):
                self._release()
            return None

    def _doubt_hints(self) -> None:
        """Do without hints where they do not come: on some network file systems, for example."""
        self._listen()
        self._unannounced += 1
        if self._unannounced >= DEAF_AFTER:
            self._close_hints()

    def _moved(self) -> bool:
        """Open what has taken the place of the mirror; return whether something has."""
        self._checked_at = self._looked_at
        place = _place(self._path, self._real)
        if self._conn and place == self._place:
            return False
        if place[0] is None:  # gone, or renamed with its folder: keep what we have till it is back
            return False
        self._release()
        try:
            self._open()
        except (SemysyncError, sqlite3.Error, OSError):  # perhaps not whole yet: at the next beat
            self._release()
            return False
        return True

    def _open(self) -> None:
        self._real = real(self._path)
        mirror = _place(self._path, self._real)[0]
        # Before the version is read, so that no commit can come between.
        with suppress(OSError):  # not there, or none left: then it is polled
            self._hints = Hints(self._real)
        if self._hints and self._bell:
            self._all = select.poll()
            self._all.register(self._bell[0], select.POLLIN)
            self._all.register(self._hints.fileno(), select.POLLIN)
        self._conn = connect(self._path, read_only=True)
        with explained(self._path, reading=True):
            self._seen = _data_version(self._conn)
        self._conn.execute("pragma busy_timeout = 0")  # `wake` could not end that wait
        self._looked_at = self._checked_at = self._hinted_at = monotonic()
        self._unannounced = 0
        # These the connection has just made, where they were not there.
        self._place = (mirror, *_place(self._path, self._real)[1:])

    def _release(self) -> None:
        self._close_hints()
        if self._conn:
            self._conn.close()
            self._conn = None

    def _close_hints(self) -> None:
        if self._hints:
            self._hints.close()
            self._hints = None


def _data_version(conn: sqlite3.Connection) -> int:
    return int(conn.execute("pragma data_version").fetchone()[0])


def _place(path: Path, mirror: Path) -> Identities:
    """Return what tells a mirror, its folder and the files beside it from others of their names."""
    return tuple(map(identity, (path, mirror.parent, *files_of(mirror)[1:])))
