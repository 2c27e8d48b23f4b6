"""
How far one machine goes with many accounts: so many instances, each with its configuration and its
mirror, at default settings, against one stand-in.

    .venv/bin/python tests/bench/accounts.py [--instances 1 10 50] [--rest 120]

The stand-in is a process of its own, and is not counted. Memory is what the instances take together
(PSS: what they have in common is counted once).
"""

import argparse
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from idle import asked, passes, stand_in, usage

START_S = 600  # how long the instances may take until each has read its boxes


def memory(pid: int) -> float:
    """Return what a process takes, in MB, with its share of what it has in common with others."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3


def mirrored(config: Path, mirror: Path) -> None:
    named = ["--config", str(config), "--database", str(mirror)]
    command = [sys.executable, "-m", "semysync", "sync", *named]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def started(config: Path, mirror: Path) -> subprocess.Popen:
    named = ["--config", str(config), "--database", str(mirror)]
    command = [sys.executable, "-m", "semysync", "run", *named]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def awaited(mirrors: list[Path], before: dict[Path, int]) -> None:
    ends = time.monotonic() + START_S
    while any(passes(mirror).get("inbox", 0) < before[mirror] + 2 for mirror in mirrors):
        if time.monotonic() > ends:
            raise SystemExit("the instances do not come up")
        time.sleep(1)


def measure(instances: int, rest_s: int, messages: int) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="semysync-accounts-") as folder,
        stand_in(messages, Path(folder)) as (admin, config),
    ):
        first = Path(folder, "one.db")
        mirrored(config, first)
        mirrors = [Path(folder, str(n), "semysync.db") for n in range(instances)]
        for mirror in mirrors:
            mirror.parent.mkdir()
            shutil.copy(first, mirror)
        before = {mirror: passes(mirror).get("inbox", 0) for mirror in mirrors}
        began = time.monotonic()
        running = [started(config, mirror) for mirror in mirrors]
        try:
            awaited(mirrors, before)
            up_s = time.monotonic() - began
            time.sleep(5)
            asked(admin, "DELETE")
            cpu, began = [usage(one.pid)[0] for one in running], time.monotonic()
            time.sleep(rest_s)
            took = time.monotonic() - began
            used = [usage(one.pid)[0] - was for one, was in zip(running, cpu, strict=True)]
            taken = [memory(one.pid) for one in running]
            requests = len(asked(admin))
            lags = sorted(lag(mirror) for mirror in mirrors)
        finally:
            for one in running:
                one.send_signal(signal.SIGTERM)
            for one in running:
                one.wait()
    share = 100 * sum(used) / took
    print(
        f"{instances:>3} instances: {share:.1f} % of a core ({share / instances:.2f} each), "
        f"{sum(taken):,.0f} MB ({sum(taken) / instances:.0f} each), "
        f"{60 * requests / took:,.0f} requests a minute, all up after {up_s:.0f} s, "
        f"the oldest inbox read {lags[-1]} s ago",
        flush=True,
    )


def lag(mirror: Path) -> int:
    with closing(sqlite3.connect(f"{mirror.as_uri()}?mode=ro", uri=True)) as conn:
        return int(conn.execute("select inbox_lag_s from health").fetchone()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--rest", type=int, default=120, help="seconds")
    parser.add_argument("--messages", type=int, default=2_000)
    args = parser.parse_args()
    for instances in args.instances:
        measure(instances, args.rest, args.messages)


if __name__ == "__main__":
    main()
