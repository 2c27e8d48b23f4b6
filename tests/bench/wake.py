"""
How soon a commit of another process is noticed, and what the waiting costs.

A process commits at random moments. Three others wait for the same commits, each with nothing else
to do: a `Watch` with inotify, a `Watch` without, and a bare loop that asks `data_version` every
40 ms, beside which the two are put. The time is from the return of the writer's commit to the end
of the wait, and below zero where the waiter was told first.

    .venv/bin/python tests/bench/wake.py [--commits 500] [--rest 60] [--folder DIR]
"""

import argparse
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from semysync.mirror import watch as watching
from semysync.mirror.watch import Watch

POLL_S = 0.04
NAMES = {"bare": "a bare poll of 40 ms", "watch": "Watch", "polling": "Watch without inotify"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--commits", type=int, default=500)
    parser.add_argument("--rest", type=float, default=60)
    parser.add_argument("--folder", type=Path, help="where: the disk counts with FULL")
    parser.add_argument("--as", dest="role", help=argparse.SUPPRESS)
    parser.add_argument("--mirror", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.role:
        waiter(asked.role, asked.mirror)
        return
    for synchronous in ("normal", "full"):
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            measure_latency(made(Path(folder, "semysync.db")), synchronous, asked.commits)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        measure_burst(made(Path(folder, "semysync.db")))
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        measure_rest(made(Path(folder, "semysync.db")), asked.rest)


def made(path: Path) -> Path:
    conn = opened(path)
    conn.execute("pragma journal_mode = wal")
    conn.execute("create table drafts (id integer primary key, text text)")
    conn.close()
    return path


def opened(path: Path, synchronous: str = "normal") -> sqlite3.Connection:
    conn = sqlite3.connect(path, isolation_level=None, timeout=60)
    conn.execute(f"pragma synchronous = {synchronous}")
    return conn


def insert(conn: sqlite3.Connection) -> None:
    conn.execute("insert into drafts (text) values ('Ready to be picked up')")


def measure_latency(path: Path, synchronous: str, commits: int) -> None:
    running = {role: started(role, path) for role in NAMES}
    conn = opened(path, synchronous)
    committed, took = [], []
    chance = random.Random(0)
    for _ in range(commits):
        time.sleep(chance.uniform(0.01, 0.15))
        began = time.monotonic()
        insert(conn)
        committed.append(time.monotonic())
        took.append(committed[-1] - began)
    time.sleep(1.2)
    answers = {role: ended(process) for role, process in running.items()}
    late = {
        role: [seen - at for seen, at in zip(answer["seen"], committed, strict=True)]
        for role, answer in answers.items()
    }
    took_ms, took_99_ms = in_ms(took)
    print(f"{commits} commits with synchronous={synchronous}, each {took_ms:.2f} ms ", end="")
    print(f"(99th percentile {took_99_ms:.1f})")
    print(f"{'':<24} {'median ms':>10} {'99th':>7} {'worst':>7} {'of the bare poll':>19}")
    bare, bare_99 = in_ms(late["bare"])
    for role, name in NAMES.items():
        median, most = in_ms(late[role])
        worst = max(late[role]) * 1000
        print(f"{name:<24} {median:>10.2f} {most:>7.1f} {worst:>7.1f} ", end="")
        print(f"{median / bare:>10.3f} {most / bare_99:>8.3f}")


def measure_burst(path: Path, lasts_s: float = 5) -> None:
    """Commit without a pause: the waiter must not take a core for itself."""
    running = {role: started(role, path) for role in ("watch", "polling")}
    conn = opened(path)
    began, commits = time.monotonic(), 0
    while time.monotonic() < began + lasts_s:
        insert(conn)
        commits += 1
    time.sleep(1.2)
    print(f"{commits / lasts_s:,.0f} commits a second for {lasts_s:.0f} s")
    for role, process in running.items():
        answer = ended(process)
        share = answer["cpu_s"] / lasts_s
        print(
            f"{NAMES[role]:<24} {share:>10.1%} of a core, {answer['told'] / lasts_s:,.0f} a second"
        )


def measure_rest(path: Path, lasts_s: float) -> None:
    keeper = opened(path)  # as the sender has one
    running = {role: started(role, path) for role in NAMES}
    time.sleep(lasts_s)
    print(f"at rest for {lasts_s:.0f} s")
    answers = {role: ended(process) for role, process in running.items()}
    for role, answer in answers.items():
        share = answer["cpu_s"] / lasts_s
        ratio = answer["cpu_s"] / answers["bare"]["cpu_s"]
        print(f"{NAMES[role]:<24} {share:>10.3%} of a core, {ratio:>6.2f} of the bare poll")
    keeper.close()


def in_ms(times: list[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile."""
    return statistics.median(times) * 1000, statistics.quantiles(times, n=100)[98] * 1000


def started(role: str, path: Path) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, __file__, "--as", role, "--mirror", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"ready\n"
    return process


def ended(process: subprocess.Popen) -> dict:
    said, _ = process.communicate(b"end\n", timeout=60)
    return json.loads(said)


def waiter(role: str, path: Path) -> None:
    """Wait for commits till the end, and say when each was seen and what that cost."""
    from threading import Thread

    conn = opened(path)
    ending: list[bool] = []
    if role == "polling":
        watching.INotify = None
    if role == "bare":
        asked = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        bare(asked, conn, ending, Thread)
        return
    with Watch(path) as watch:
        end = Thread(target=lambda: (os.read(0, 4), ending.append(True), watch.wake()))
        end.start()
        report(conn, lambda: watch.wait(60), ending)
        end.join()


def bare(asked: sqlite3.Connection, conn: sqlite3.Connection, ending: list, thread: type) -> None:
    known = asked.execute("pragma data_version").fetchone()

    def wait() -> bool:
        nonlocal known
        while not ending:
            time.sleep(POLL_S)
            now = asked.execute("pragma data_version").fetchone()
            if now != known:
                known = now
                return True
        return False

    end = thread(target=lambda: (os.read(0, 4), ending.append(True)))
    end.start()
    report(conn, wait, ending)
    end.join()


def report(conn: sqlite3.Connection, wait, ending: list) -> None:
    seen, told = [], 0
    print("ready", flush=True)
    began = time.process_time()
    while not ending:
        if wait():
            at = time.monotonic()
            told += 1
            newest = conn.execute("select coalesce(max(id), 0) from drafts").fetchone()[0]
            seen.extend([at] * (newest - len(seen)))
    cpu_s = time.process_time() - began
    print(json.dumps({"seen": seen[:100_000], "told": told, "cpu_s": cpu_s}))


if __name__ == "__main__":
    main()
