"""Child processes of a test: other users, own mounts, kills. Forked, so that they need no files."""

import ctypes
import inspect
import os
import signal
import tempfile
import warnings
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path
from shutil import rmtree

import pytest

CLONE_NEWNS = 0x20000
MS_RDONLY, MS_REMOUNT, MS_REC, MS_PRIVATE = 1, 32, 0x4000, 1 << 18

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="NOT TESTED: only root can act as two users, and mount"
)


class Died(Exception):
    """The child ended without a word: it was killed."""


class Child:
    """
    A process that takes steps: `steps` is a function, or a generator that waits after each yield.

    `said()` returns what it yields or returns next, or raises what it raises; `go()` lets it on.
    """

    def __init__(self, steps, *args, user=None, groups=()):
        self._pipe, end = Pipe()
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # forked beside threads: it is short
            self.pid = os.fork()
        if not self.pid:
            _live(steps, args, end, user, groups)
        end.close()

    def said(self):
        try:
            word, value = self._pipe.recv()
        except EOFError:
            raise Died from None
        if word == "raised":
            raise value
        return value

    def has_said(self):
        """Tell whether it has said something, or ended."""
        return self._pipe.poll()

    def go(self):
        self._pipe.send("go")

    def leave(self):
        """Let it end by itself, once it has said its last word."""
        self._pipe.close()
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def end(self):
        self._pipe.close()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _live(steps, args, pipe, user, groups):
    try:
        if user is not None:
            os.setgroups(groups)
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        result = steps(*args)
        if inspect.isgenerator(result):
            for value in result:
                pipe.send(("said", value))
                pipe.recv()
            result = None
        pipe.send(("said", result))
    except BaseException as exc:  # noqa: BLE001  it is raised again in the test
        pipe.send(("raised", exc))
    finally:
        os._exit(0)


@contextmanager
def child(steps, *args, **how):
    """Start a child, and see that it ends with the block."""
    started = Child(steps, *args, **how)
    try:
        yield started
    finally:
        started.end()


def in_child(act, *args, **how):
    """Return what `act` returns in a child of its own, or raise what it raises there."""
    with child(act, *args, **how) as started:
        try:
            return started.said()
        finally:
            started.leave()


@contextmanager
def place_for_all():
    """A folder that every user can reach, unlike pytest's own."""
    place = Path(tempfile.mkdtemp(prefix="semysync-test-"))
    place.chmod(0o755)
    try:
        yield place
    finally:
        rmtree(place)


def own_mounts():
    """Keep what this child mounts to itself: it goes with the child. Skip where that is refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
        pytest.skip(f"NOT TESTED: cannot mount here: {os.strerror(ctypes.get_errno())}")


def mount(place, flags=0, options=""):
    """Mount a tmpfs, or change one."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", flags, options.encode()):
        pytest.skip(f"NOT TESTED: cannot mount a tmpfs: {os.strerror(ctypes.get_errno())}")
