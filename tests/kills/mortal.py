"""
What the program is doing, written where it outlives the program, and a death at any point of it.

`begin` lets this process note each statement, request and sync of the disk in a black box: a file
that is mapped into memory, so that what is in it stays when the process is killed. A plan in the
box names a point, and the process kills itself there by SIGKILL, or a moment later. Nothing in
semysync knows of this.
"""

import json
import mmap
import os
import signal
import sqlite3
import sys
import threading
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path

PLAN, SLOT, SLOTS = 1024, 160, 64  #: bytes of the plan and of a thread's slot, and how many
SIZE = PLAN + SLOT * SLOTS

WRAPPERS = {"writing", "_writing", "_write", "transaction"}
WRAPPERS |= {"_reading", "_connected", "connected", "<genexpr>", "<lambda>"}
WRITES = {"insert", "update", "delete", "replace", "with", "create", "drop", "alter"}


class Box:
    """The black box, for the process that is watched, and for who reads it afterwards."""

    def __init__(self, path):
        self.path = Path(path)
        self.points_path = self.path.with_suffix(".points")
        if not self.path.exists() or self.path.stat().st_size < SIZE:
            self.path.write_bytes(bytes(SIZE))
        with self.path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SIZE)

    def plan(self, point=None, when="before", nth=1, delay_s=0.0):
        """Let whoever passes this point die there; without one nobody dies."""
        written = json.dumps([point, when, nth, delay_s]).encode() if point else b""
        self._map[:PLAN] = written.ljust(PLAN, b"\0")

    def planned(self):
        if not self._map[0]:
            return None
        return json.loads(self._map[:PLAN].rstrip(b"\0"))

    def clear(self):
        self._map[PLAN:] = bytes(SIZE - PLAN)

    def write(self, slot, doing):
        at = PLAN + SLOT * (slot % SLOTS)
        self._map[at : at + SLOT] = doing.encode()[:SLOT].ljust(SLOT, b"\0")

    def doing(self):
        """Return what each thread was in the middle of."""
        slots = (self._map[at : at + SLOT] for at in range(PLAN, SIZE, SLOT))
        return sorted({text for slot in slots if (text := slot.rstrip(b"\0").decode())})

    def points(self):
        """Return every point that was ever passed."""
        if not self.points_path.exists():
            return []
        return sorted(set(self.points_path.read_text().splitlines()))


class Spy:
    """Notes what this process does, and ends it where that was planned."""

    def __init__(self, box):
        self._box = box
        self._known = set(box.points())
        self._slots = {}
        self._lock = threading.Lock()
        self._left = None  # of the plan: how often its point is still to be passed

    @contextmanager
    def at(self, name):
        """Do something that has a name: a point before it, and one after it."""
        slot = self._slots.setdefault(threading.get_ident(), len(self._slots))
        self._box.write(slot, name)
        try:
            self._passed(name, "before")
            yield
            self._passed(name, "after")
        finally:
            self._box.write(slot, "")

    def _passed(self, name, when):
        if name not in self._known:
            self._known.add(name)
            with self._box.points_path.open("a") as points:
                points.write(f"{name}\n")
        plan = self._box.planned()
        if plan is None or plan[1] != when or plan[0] not in {name, name.partition(" ")[0]}:
            return
        with self._lock:
            left, _ = self._left if self._left and self._left[1] == plan else (plan[2], plan)
            self._left = left - 1, plan
        if left == 1:
            self._die(plan[3])

    @staticmethod
    def _die(delay_s):
        def die():
            time.sleep(delay_s)
            os.kill(os.getpid(), signal.SIGKILL)

        if delay_s:
            threading.Thread(target=die, daemon=True).start()
        else:
            die()


def begin(path):
    """Watch this process from now on."""
    import httpx

    from semysync.follow import actions, hints

    spy = Spy(Box(path))
    connect, factory = sqlite3.connect, watched_connection(spy)
    sqlite3.connect = lambda *given, **named: connect(*given, **{"factory": factory} | named)
    for name in ("fsync", "fdatasync", "unlink", "rename", "replace", "link", "pwrite"):
        watch(spy, os, name, lambda *_, of=name, **__: f"{of} {at}" if (at := site()) else None)
    watch(
        spy,
        httpx.HTTPTransport,
        "handle_request",
        lambda _, request: (
            f"request {request.url.path.rpartition('/')[2]}"
            if "/api/3/" in request.url.path
            else "request of a hook"
        ),
    )
    watch(spy, actions.Run, "__call__", lambda *_: "program of a hook")
    watch(spy, hints.Awaited, "add", lambda *_: "call of a webhook")


def site():
    """Name the function of semysync that something is done for."""
    home = _home()
    frame = sys._getframe(1)
    while frame:
        code = frame.f_code
        if code.co_filename.startswith(home) and code.co_name not in WRAPPERS:
            module = code.co_filename.removeprefix(home).removesuffix(".py")
            if module != "mirror/file":
                return f"{module.replace(os.sep, '.')}.{code.co_name}"
        frame = frame.f_back
    return None


@cache
def _home():
    import semysync

    return str(Path(semysync.__file__).parent) + os.sep


def watch(spy, place, name, of):
    """Let calls of a function be points, by the names that `of` gives them."""
    living = getattr(place, name)

    def called(*given, **named):
        point = of(*given, **named)
        if point is None:
            return living(*given, **named)
        with spy.at(point):
            return living(*given, **named)

    setattr(place, name, called)


def watched_connection(spy):
    """Make a class of connections whose statements that write are points."""

    class Connection(sqlite3.Connection):
        def execute(self, sql, *given):
            verb = sql.split(None, 1)[0].lower() if sql.strip() else ""
            if verb in WRITES:
                verb = "write"
            if verb not in {"commit", "begin", "write", "vacuum"}:
                return super().execute(sql, *given)
            with spy.at(f"{verb} {site()}"):
                return super().execute(sql, *given)

        def executemany(self, sql, rows):
            with spy.at(f"write {site()}"):
                return super().executemany(sql, rows)

        def commit(self):
            with spy.at(f"commit {site()}"):
                return super().commit()

        def backup(self, *given, **named):
            with spy.at(f"copy {site()}"):
                return super().backup(*given, **named)

    return Connection
