"""
What a disk would hold if the power went at a moment, rebuilt from what a program asked of the system.

strace writes down each write, sync, and change of a name, with its moment and how long it took
(`TRACED`, `read`). `Disk` follows that log up to a moment, and builds the files as they may be found
afterwards: what was synced is there; of what was not, nothing, everything, or any part, in any order,
with sectors torn. A write counts as synced only if it had ended before the sync began, and the sync
only once it has ended; a name only once its folder was synced, or one that came later in that folder.

What this does not show: a disk that lies about syncs, damage to what was synced before, and what a
file system does of its own will with sizes and names. Files that are mapped into memory (-shm) are
filled with garbage, since SQLite makes them anew.
"""

import random
import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

CALLS = (
    "openat,pwrite64,write,fsync,fdatasync,ftruncate,unlink,unlinkat,"
    "rename,renameat,renameat2,sendto"
)
TRACED = ("strace", "-f", "-qq", "--seccomp-bpf", "-ttt", "-T", "-xx", "-s", "200000", "-y")
SECTOR = 512

LINE = re.compile(r"(\d+) +(\d+\.\d+) (.*)")
UNFINISHED = re.compile(r"(.*) <unfinished \.\.\.>$")
RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
ENDED = re.compile(r"(\w+)\((.*)\) += (-?\d+)(<[^>]*>)?[^<]*<(\d+\.\d+)>$")
PART = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(?:\.\.\.)?|<((?:\\x[0-9a-f]{2})+)>')


class Called(NamedTuple):
    """A call of the system that went well: from when to when, and with what."""

    began: float
    ended: float
    name: str
    paths: list  #: behind descriptors, and as arguments
    content: bytes
    numbers: list  #: what else was given
    pid: int


def traced(log):
    """Return the command that lets another one be traced into a file."""
    return [*TRACED, "-e", f"trace={CALLS}", "-o", str(log)]


def read(logs):
    """Return the calls of several logs, in the order in which they began."""
    called = [call for log in logs for call in _read(log)]
    return sorted(called, key=lambda call: call.began)


def _read(log):
    waiting = {}
    with Path(log).open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            if not (found := LINE.match(line)):
                continue
            pid, at, rest = int(found[1]), float(found[2]), found[3]
            if begun := UNFINISHED.match(rest):
                waiting[pid] = at, begun[1]
                continue
            began = at
            if resumed := RESUMED.match(rest):
                if pid not in waiting:
                    continue
                began, head = waiting.pop(pid)
                rest = head + resumed[1]
            if call := _called(pid, began, rest):
                yield call


def _called(pid, began, line):
    found = ENDED.match(line)
    if not found or int(found[3]) < 0:
        return None
    name, given, took = found[1], found[2], float(found[5])
    paths, texts = [], []
    for text, behind in PART.findall(given):
        (paths if behind else texts).append(bytes.fromhex((text or behind).replace("\\x", "")))
    content = b""
    if name in {"write", "pwrite64", "sendto"}:
        content = texts[0] if texts else b""
    else:
        paths = [*paths, *texts] if name in {"fsync", "fdatasync", "ftruncate"} else texts
    numbers = [int(n) for n in re.findall(r"(?<=, )(\d+)(?=,|$)", PART.sub("", given))]
    if name == "openat":
        numbers = ["O_CREAT" in given, "O_TRUNC" in given]
    return Called(
        began, began + took, name, [path.decode() for path in paths], content, numbers, pid
    )


class File:
    """One file: what is safe of it, and what was asked for since."""

    def __init__(self):
        self.safe = bytearray()
        self.asked = []  # (ended, offset, content), or (ended, size, None) for a new size

    def sync(self, began):
        """Let all be safe that had ended before a sync began."""
        for _, at, content in (one for one in self.asked if one[0] <= began):
            _apply(self.safe, at, content)
        self.asked = [one for one in self.asked if one[0] > began]

    def found(self, how, chance):
        """Return what may be found of it: `how` is none, all or any."""
        content = bytearray(self.safe)
        asked = [] if how == "none" else list(self.asked)
        if how == "any":
            share = chance.choice((0.1, 0.5, 0.9))
            asked = [one for one in asked if chance.random() < share]
            asked = [piece for one in asked for piece in _torn(one, chance)]
            chance.shuffle(asked)
        for _, at, new in asked:
            _apply(content, at, new)
        return bytes(content)


def _apply(content, at, new):
    if new is None:
        del content[at:]
        content.extend(bytes(at - len(content)))
        return
    content.extend(bytes(max(0, at + len(new) - len(content))))
    content[at : at + len(new)] = new


def _torn(one, chance):
    """Cut a write into sectors, of which some are lost, now and then."""
    ended, at, content = one
    if content is None or chance.random() < 0.7:
        return [one]
    cuts = [at, *range(at - at % SECTOR + SECTOR, at + len(content), SECTOR), at + len(content)]
    return [
        (ended, low, content[low - at : high - at])
        for low, high in pairwise(cuts)
        if chance.random() < 0.6
    ]


class Disk:
    """The files whose paths begin so, as calls leave them; `play` them one by one."""

    def __init__(self, beginning):
        self._beginning = str(beginning)
        self._names = {}  # as the program sees them
        self._safe_names = {}
        self._moved = []  # (ended, names before are safe up to here): changes of names since

    def is_about(self, call):
        return any(path.startswith(self._beginning) for path in call.paths)

    def play(self, call):
        """Take in a call."""
        path = call.paths[0] if call.paths else ""
        match call.name:
            case "fsync" | "fdatasync" if self._beginning.startswith(path + "/"):
                self._sync_names(call.began)
            case "openat" if self.is_about(call) and call.numbers[0]:
                if path not in self._names:
                    self._move(call, path, File())
                elif call.numbers[1]:
                    self._names[path].asked.append((call.ended, 0, None))
            case "unlink" | "unlinkat" if path in self._names:
                self._move(call, path, None)
            case "rename" | "renameat" | "renameat2" if path in self._names:
                file = self._names[path]
                self._move(call, path, None)
                self._move(call, call.paths[1], file)
            case "pwrite64" if path in self._names:
                at = call.numbers[-1]
                self._names[path].asked.append((call.ended, at, call.content))
            case "ftruncate" if path in self._names:
                self._names[path].asked.append((call.ended, call.numbers[-1], None))
            case "fsync" | "fdatasync" if path in self._names:
                self._names[path].sync(call.began)

    def _move(self, call, path, file):
        if file is None:
            self._names.pop(path, None)
        else:
            self._names[path] = file
        self._moved.append((call.ended, path, file))

    def _sync_names(self, began):
        for _, path, file in (one for one in self._moved if one[0] <= began):
            self._put(self._safe_names, path, file)
        self._moved = [one for one in self._moved if one[0] > began]

    @staticmethod
    def _put(names, path, file):
        if file is None:
            names.pop(path, None)
        else:
            names[path] = file

    def unsafe(self):
        """How many writes and names would be lost by now."""
        return sum(len(file.asked) for file in self._names.values()) + len(self._moved)

    def build(self, folder, how, chance=None):
        """Write the files as they may be found; the mirror's own name is theirs in the folder."""
        chance = chance or random.Random(0)
        names = dict(self._safe_names)
        # A journal of the file system keeps changes of names in their order.
        kept = {"none": 0, "all": len(self._moved)}.get(how, chance.randint(0, len(self._moved)))
        for _, path, file in self._moved[:kept]:
            self._put(names, path, file)
        for path, file in names.items():
            found = file.found(how, chance)
            if path.endswith("-shm"):
                found = chance.randbytes(32768)
            (folder / Path(path).name).write_bytes(found)
