"""
Ten minutes of a daemon's life, or as many as you like: traffic, faults and restarts.

The stand-in receives and sends, drafts are inserted, and every few seconds something goes wrong: the
service hangs, answers nonsense, is gone, or loses an answer; the daemon is stopped, killed, or
reads its configuration again; another program holds the mirror. At the end all is well again, and:
the mirror must equal the account, no draft may have gone out twice or be lost, the memory must be
flat, and the log must hold no error but those that the faults explain.

    .venv/bin/python -m tests.soak [--minutes 10] [--seed 1]
"""

import argparse
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from threading import Thread

sys.path.insert(0, str(Path(__file__).parent))

from processes import TOKEN, Program, truth

from semysync.sandbox import Sandbox

SETTLE_S = 120  # for all to be well again; the settle time of lost answers is shortened to 10 s
CONFIG = """
[pull]
inbox_s = 2
sent_s = 2
devices_s = 5
account_s = 10
lookback_s = 120
[send]
settle_s = 10
"""
# What the faults explain; anything else at these levels ends the soak in failure.
EXPLAINED = {
    "pass.failed",
    "pull.failing",
    "mirror.failing",
    "sending.failed",
    "sending.stopped",
    "draft.refused",
    "drafts.unknown",
    "pass.illegible_rows",
    "scope.doubted",
    "messages.late",
    "cancel.not_seen",
    "account.low",
    "verify.unproven",
}
FAULTS = ("hang", "html", "cut", "http_500", "http_429", "api_error", "drop", "reset")


class Soak:
    """A daemon under traffic and faults; `log` is all that it has logged in all its lives."""

    def __init__(self, sandbox: Sandbox, program: Program, seed: int) -> None:
        self.sandbox = sandbox
        self.program = program
        self.random = random.Random(seed)
        self.log: list[dict] = []
        self.memory: list[tuple[float, float]] = []
        self.drafts = 0
        self.lives = 0
        self.process = self._live()

    def _live(self) -> subprocess.Popen:
        self.lives += 1
        process = subprocess.Popen(
            [sys.executable, "-m", "semysync", "run"],
            env=self.program.env,
            cwd=self.program.home,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        Thread(target=self._read, args=(process,), daemon=True).start()
        self.born = time.monotonic()
        return process

    def _read(self, process: subprocess.Popen) -> None:
        for line in process.stderr:
            try:
                self.log.append(json.loads(line))
            except ValueError:
                self.log.append({"level": "error", "event": "not JSON", "line": line})

    def traffic(self) -> None:
        """Let something happen that is none of our doing, and insert a draft now and then."""
        number = f"+7920{self.random.randrange(10**7):07}"
        match self.random.randrange(3):
            case 0:
                self.sandbox.account.receive(number, f"in {self.random.random()}")
            case 1:
                self.sandbox.account.sent_elsewhere(number, f"elsewhere {self.random.random()}")
            case 2:
                self.insert(number)

    def insert(self, number: str) -> None:
        self.drafts += 1
        with closing(sqlite3.connect(self.program.mirror, timeout=30)) as conn, conn:
            conn.execute(
                "insert into outbox (phone, text) values (?, ?)", (number, f"draft {self.drafts}")
            )

    def trouble(self) -> str:
        """Let something go wrong, for some seconds; return what."""
        seconds = self.random.uniform(1, 6)
        match self.random.randrange(7):
            case 0 | 1:
                fault = self.random.choice(FAULTS)
                self.sandbox.set(fault=fault)
                self.carry_on(seconds)
                self.sandbox.set(fault="none")
                return fault
            case 2:
                self.sandbox.stop()
                self.carry_on(seconds)
                self.sandbox.start()
                return "the service is gone"
            case 3:
                self.end(signal.SIGKILL)
                self.process = self._live()
                return "kill"
            case 4:
                self.end(signal.SIGTERM)
                self.process = self._live()
                return "stop"
            case 5:
                self.process.send_signal(signal.SIGHUP)
                return "reload"
        with closing(sqlite3.connect(self.program.mirror, isolation_level=None)) as writer:
            writer.execute("pragma busy_timeout = 30000")
            writer.execute("begin immediate")
            time.sleep(seconds)
            writer.execute("rollback")
        return "lock"

    def carry_on(self, seconds: float) -> None:
        """Let traffic flow for so long."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self.traffic()
            time.sleep(self.random.uniform(0, 0.4))
            self.weigh()

    def weigh(self) -> None:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        kilobytes = int(status.partition("VmRSS:")[2].split()[0]) if "VmRSS:" in status else 0
        self.memory.append((time.monotonic() - self.born, kilobytes / 1024))

    def end(self, number: int) -> None:
        """End the daemon, which must end well where it is asked to."""
        self.process.send_signal(number)
        code = self.process.wait(90)
        assert code == (0 if number == signal.SIGTERM else -number), code

    def well(self) -> str | None:
        """Say what is not as it must be at the end."""
        for box in ("inbox", "sent"):
            mirrored = self.program.ask(f"select id, text from {box} order by id")
            if mirrored != truth(self.sandbox, box):
                return f"{box}: {len(mirrored)} mirrored, {len(truth(self.sandbox, box))} there"
        waiting = self.program.ask(
            "select status, count(*) from outbox where status not in "
            "('accepted', 'on_phone', 'sent', 'delivered', 'failed') group by status"
        )
        return f"drafts: {waiting}" if waiting else None


def sent_twice(soak: Soak) -> list[str]:
    texts = Counter(row["msg"] for row in soak.sandbox.account.rows("sent"))
    return [text for text, times in texts.items() if text.startswith("draft ") and times > 1]


def lost(soak: Soak) -> list[str]:
    texts = {row["msg"] for row in soak.sandbox.account.rows("sent")}
    return [text for n in range(1, soak.drafts + 1) if (text := f"draft {n}") not in texts]


def growth(memory: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the median of the memory in the first and the last fifth of all weighings."""
    grown = [megabytes for age, megabytes in memory if age > 5]
    fifth = max(1, len(grown) // 5)
    return sorted(grown[:fifth])[fifth // 2], sorted(grown[-fifth:])[fifth // 2]


def run(minutes: float, seed: int) -> int:
    home = Path(tempfile.mkdtemp(prefix="semysync-soak-"))
    with Sandbox(messages=2_000, devices=3, token=TOKEN) as sandbox:
        program = Program(home)
        program.configure(
            sandbox.base_url, api="timeout_s = 3\nrequests_per_minute = 600", rest=CONFIG
        )
        program.mirror_here()
        soak = Soak(sandbox, program, seed)
        ends, troubles = time.monotonic() + 60 * minutes, Counter()
        while time.monotonic() < ends:
            soak.carry_on(soak.random.uniform(1, 5))
            troubles[soak.trouble()] += 1
        until = time.monotonic() + SETTLE_S
        while (why := soak.well()) and time.monotonic() < until:
            time.sleep(0.5)
        settled_s = SETTLE_S - (until - time.monotonic())
        soak.end(signal.SIGTERM)
        before, after = growth(soak.memory)
        unexplained = [
            line
            for line in list(soak.log)
            if line["level"] in {"warning", "error", "critical"} and line["event"] not in EXPLAINED
        ]
        counts = Counter(line["event"] for line in list(soak.log))
        print(f"{minutes:g} minutes, {soak.lives} lives, {soak.drafts} drafts, troubles:")
        print("  " + ", ".join(f"{what} {times}" for what, times in sorted(troubles.items())))
        print(f"memory {before:.0f} MB at first, {after:.0f} MB at last")
        print("logged: " + ", ".join(f"{name} {times}" for name, times in counts.most_common()))
        print(
            f"all well {settled_s:.0f} s after the last trouble" if not why else f"NOT WELL: {why}"
        )
        twice, gone = sent_twice(soak), lost(soak)
        for name, found in (("sent twice", twice), ("lost", gone), ("unexplained", unexplained)):
            if found:
                print(f"{name}: {found[:10]}")
    shutil.rmtree(home)
    flat = after < before * 1.15 + 3
    return 0 if flat and not (why or twice or gone or unexplained) else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    sys.exit(run(args.minutes, args.seed))


if __name__ == "__main__":
    main()
