"""
Load a daemon: messages come in, two programs insert drafts, people read, all at once and by the clock.

`Load.run` is the list of what happens. The daemon, the service, the writers and Datasette are
processes of their own; here it is only watched when the mirror shows what.
"""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter, deque
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from processes import Program

HERE = Path(__file__).parent
HERTZ = os.sysconf("SC_CLK_TCK")
WRITERS = 2
LOOK_EVERY_S = 0.02
ROUNDS_BACK = 500  #: looks, which is ten seconds or more
SETTLE_S = 180  #: for what is on its way to arrive, once nothing more is added

# What somebody sets whose phones receive a hundred messages a second; the README says why.
BUSY = {"api": "requests_per_minute = 600", "rest": "[pull]\ninbox_s = 2\nsent_s = 2\n"}

OPEN_DRAFTS = """
select count(*) from outbox
 where status not in ('delivered', 'failed', 'cancelled', 'rejected', 'expired')
"""
BUSIEST = "select contact from contacts order by received + sent desc limit 1"
LOADED = "select count(*) = 2 from (select box from marks group by box having min(loaded_at) > '')"


@dataclass
class Weighing:
    """What there was to be seen of the daemon and its file at a moment."""

    at: float
    memory_mb: float
    wal_mb: float


@dataclass
class Seen:
    """All that was measured; seconds, unless a name says otherwise."""

    loaded_s: float = 0
    lags: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    inserts: list[float] = field(default_factory=list)
    pages: dict[str, list[float]] = field(default_factory=dict)
    late: list[float] = field(default_factory=list)
    weighings: list[Weighing] = field(default_factory=list)
    cpu: dict[str, float] = field(default_factory=dict)  #: shares of a core
    calls: Counter = field(default_factory=Counter)
    took_s: float = 0
    settled_s: float | None = None
    compared: dict[str, list[int]] = field(default_factory=dict)
    drafts: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        """What must not be: a sentence for each."""
        said = [
            f"{box}: {differ} of {total} rows are not alike in account and mirror"
            for box, (differ, total) in self.compared.items()
            if differ
        ]
        if self.settled_s is None:
            said.append(f"not all had arrived {SETTLE_S} s after the end")
        said += [f"never sent: {text}" for text in self.lost[:5]]
        said += [f"sent twice: {text}" for text in self.twice[:5]]
        return said + self.errors[:20]


class Watcher:
    """Sees when the mirror shows a received message, as any reader could, and weighs the daemon."""

    def __init__(self, mirror: Path, pid: int) -> None:
        self.shown: dict[int, float] = {}
        self.weighings: list[Weighing] = []
        self._mirror, self._pid = mirror, pid
        self._over = Event()
        self._threads = [Thread(target=run, daemon=True) for run in (self._look, self._weigh)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _look(self) -> None:
        with closing(sqlite3.connect(f"file:{self._mirror}?mode=ro", uri=True)) as conn:
            version, begins = None, conn.execute("select max(id) from inbox").fetchone()[0] or 0
            rounds: deque[int] = deque([begins], ROUNDS_BACK)
            while not self._over.wait(LOOK_EVERY_S):
                before, version = version, conn.execute("pragma data_version").fetchone()
                if version == before:
                    continue
                # Devices are asked one after the other: what comes may be older than what is here.
                rows = conn.execute("select id from inbox where id > ?", (rounds[0],)).fetchall()
                at = time.monotonic()
                for (id_,) in rows:
                    self.shown.setdefault(id_, at)
                rounds.append(max(rounds[-1], *(id_ for (id_,) in rows), begins))

    def _weigh(self) -> None:
        wal = Path(f"{self._mirror}-wal")
        began = time.monotonic()
        while True:
            status = Path(f"/proc/{self._pid}/status").read_text()
            if "VmRSS:" not in status:
                return  # it has ended, which is told at the end
            memory = int(status.partition("VmRSS:")[2].split()[0]) / 1024
            size = wal.stat().st_size / 1e6 if wal.exists() else 0
            self.weighings.append(Weighing(time.monotonic() - began, memory, size))
            if self._over.wait(1):
                return


class Child:
    """A process of ours that is told and tells in lines of JSON."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process

    def tell(self, *what: object) -> None:
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def hear(self) -> object:
        return json.loads(self.process.stdout.readline())

    def ask(self, *what: object) -> object:
        self.tell(*what)
        return self.hear()

    def over(self) -> dict:
        """Let it end, and hear its last words."""
        self.process.stdin.close()
        said = self.hear()
        self.process.wait(60)
        return said


@contextmanager
def child(name: str, *args: object):
    """Run a script beside this one."""
    command = [sys.executable, str(HERE / f"{name}.py"), *map(str, args)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, encoding="utf-8") as process:
        try:
            yield Child(process)
        finally:
            process.kill()


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / HERTZ


@dataclass
class Load:
    """A daemon under load, in a home of its own; `configuration` is what it has set, else `BUSY`."""

    home: Path
    messages: int = 1_000_000
    minutes: float = 10
    in_rate: float = 100
    out_rate: float = 50
    read_rate: float = 10
    devices: int = 3
    configuration: dict[str, str] = field(default_factory=lambda: BUSY)

    def run(self) -> Seen:
        """Mirror the history, load the daemon for so many minutes, and see what came of it."""
        self.seen = Seen()
        self.program = Program(self.home)
        with ExitStack() as stack:
            self.service = stack.enter_context(child("service", self.messages, self.devices))
            self.program.configure(self.service.hear(), **self.configuration)
            began = time.monotonic()
            ended = self._semysync("sync")
            self.seen.loaded_s = time.monotonic() - began
            assert ended.wait() == 0, "the first load has failed"
            daemon = self._semysync("run")
            stack.callback(daemon.kill)
            self._until(LOADED, 60)
            self._load(daemon)
            daemon.terminate()
            if code := daemon.wait(60):
                self.seen.errors.append(f"the daemon ended with {code}")
        self._read_logs()
        return self.seen

    def _semysync(self, command: str) -> subprocess.Popen:
        """Start a command whose words go into a file."""
        with (self.home / f"{command}.log").open("w") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "semysync", command],
                env=self.program.env,
                cwd=self.home,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        if command != "run":
            process.wait()
        return process

    def _load(self, daemon: subprocess.Popen) -> None:
        """All at once, for as long as it takes; then let what is on its way arrive, and compare."""
        seen, mirror = self.seen, self.program.mirror
        with ExitStack() as stack:
            [(contact,)] = self.program.ask(BUSIEST)
            reader = stack.enter_context(child("reader", mirror, contact, self.read_rate))
            datasette = reader.hear()
            watcher = stack.enter_context(Watcher(mirror, daemon.pid))
            writers = [
                stack.enter_context(child("writer", mirror, name, self.out_rate / WRITERS))
                for name in range(WRITERS)
            ]
            for writer in writers:
                writer.hear()  # that it has begun
            pids = {"the daemon": daemon.pid, "the stand-in": self.service.process.pid}
            pids |= {"Datasette": datasette, "the reader": reader.process.pid}
            pids |= {f"writer {n}": one.process.pid for n, one in enumerate(writers, 1)}
            self.service.ask("begin", self.in_rate)
            before, began = {who: cpu_s(pid) for who, pid in pids.items()}, time.monotonic()
            time.sleep(60 * self.minutes)
            seen.took_s = time.monotonic() - began
            seen.cpu = {who: (cpu_s(pid) - before[who]) / seen.took_s for who, pid in pids.items()}
            wrote = [writer.over() for writer in writers]
            arrived = self.service.ask("end")
            read = reader.over()
            seen.settled_s = self._settle(len(arrived["came"]), watcher)
        seen.weighings = watcher.weighings
        seen.calls, seen.late = Counter(arrived["calls"]), arrived["late_s"]
        seen.pages = read["took_s"]
        came = {int(id_): at for id_, at in arrived["came"].items()}
        seen.lags = [watcher.shown[id_] - at for id_, at in came.items() if id_ in watcher.shown]
        committed = {text: at for one in wrote for text, at in one["committed"].items()}
        seen.inserts = [took for one in wrote for took in one["took_s"]]
        seen.errors += [error for one in [*wrote, read] for error in one["errors"]]
        self._compare(committed)

    def _settle(self, came: int, watcher: Watcher) -> float | None:
        """Wait until nothing is on its way; return how long that took."""
        began = time.monotonic()
        while time.monotonic() - began < SETTLE_S:
            if len(watcher.shown) >= came and self.program.ask(OPEN_DRAFTS) == [(0,)]:
                return time.monotonic() - began
            time.sleep(0.2)
        return None

    def _compare(self, committed: dict[str, float]) -> None:
        """Account and mirror, row by row; and every draft that was committed, with what was made."""
        seen = self.seen
        account = self.service.ask("account")
        first: dict[str, float] = {}
        for text, at in account["asked"]:
            first.setdefault(text, at)
        seen.drafts = len(committed)
        seen.delays = [first[text] - at for text, at in committed.items() if text in first]
        made = account["made"]
        seen.lost = [text for text in committed if text not in made]
        seen.twice = [text for text, times in made.items() if times > 1]
        seen.compared = self.service.ask("compare", str(self.program.mirror))

    def _until(self, query: str, patience_s: float) -> None:
        ends = time.monotonic() + patience_s
        while self.program.ask(query) != [(1,)]:
            assert time.monotonic() < ends, f"it did not come: {query}"
            time.sleep(0.1)

    def _read_logs(self) -> None:
        """Find what the daemon said that it should have had no reason to say."""
        for line in (self.home / "run.log").read_text(encoding="utf-8").splitlines():
            told = json.loads(line) if line.startswith("{") else {"level": "error"}
            if told.get("level") in {"warning", "error", "critical"} or "locked" in line:
                self.seen.errors.append(f"the daemon: {line[:300]}")
