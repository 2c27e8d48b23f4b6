"""
What a daemon costs at rest: CPU, memory and requests, at default settings.

The stand-in is a process of its own; beside the daemon stands APScheduler alone, with three jobs that do
nothing, each every second. The history is mirrored first; then the daemon is started, and
measured once it has settled. The same again with a history that is a thousand times as large: what
comes in has to cost the same.

    .venv/bin/python tests/bench/idle.py [--messages 1000 1000000] [--rest 60]
"""

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

HERTZ = os.sysconf("SC_CLK_TCK")
SETTLE_S = 5
BARE = """
from apscheduler.schedulers.blocking import BlockingScheduler
scheduler = BlockingScheduler()
for _ in range(3):
    scheduler.add_job(int, "interval", seconds=1)
scheduler.start()
"""
BUDGET_S, BUDGET_MB = 18, 70  # CPU seconds an hour, and memory


@contextmanager
def stand_in(messages: int, folder: Path):
    """Run the stand-in; yield the address of its admin page and the configuration it prints."""
    config = folder / "config.toml"
    with config.open("w") as printed:
        process = subprocess.Popen(
            [sys.executable, "-m", "semysync", "sandbox", "--port=0", f"--messages={messages}"],
            stdout=printed,
        )
    try:
        while "base_url" not in (text := config.read_text()) or "token" not in text:
            time.sleep(0.1)
        address = text.partition('base_url = "')[2].partition("/api/")[0]
        yield f"{address}/admin", config
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def asked(admin: str, method: str = "GET") -> list[dict] | dict:
    with urlopen(Request(f"{admin}/requests", method=method)) as answer:
        return json.load(answer)


def usage(pid: int) -> tuple[float, float]:
    """Return the CPU seconds that a process has used, and its memory in MB."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return (int(fields[11]) + int(fields[12])) / HERTZ, pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def asked_for(mirror: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(f"{mirror.as_uri()}?mode=ro", uri=True)) as conn:
        return conn.execute(query).fetchall()


def passes(mirror: Path) -> dict[str, int]:
    return dict(asked_for(mirror, "select kind, count(*) from passes group by kind order by kind"))


UNKNOWN = """
select count(*) from devices where utc_offset is null or phone_utc_offset is null
"""


def settle(mirror: Path) -> None:
    """
    Wait until what is done once is over.

    Clocks are learnt one after the other, from looks at the devices; each time, what waited for it
    is written anew, and the look ends only then.
    """
    first = passes(mirror)
    while any(
        passes(mirror).get(kind, 0) < first.get(kind, 0) + 2 for kind in ("devices", "inbox")
    ) or asked_for(mirror, UNKNOWN) != [(0,)]:
        time.sleep(1)
    time.sleep(SETTLE_S)


def measure(messages: int, rest_s: int) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        stand_in(messages, Path(folder)) as (
            admin,
            config,
        ),
    ):
        mirror = Path(folder, "mirror.db")
        named = ["--config", str(config), "--database", str(mirror)]
        subprocess.run(
            [sys.executable, "-m", "semysync", "sync", *named],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        run = subprocess.Popen(
            [sys.executable, "-m", "semysync", "run", *named], stderr=subprocess.DEVNULL
        )
        bare = subprocess.Popen([sys.executable, "-c", BARE])
        try:
            settle(mirror)
            asked(admin, "DELETE")
            least = usage(bare.pid)[0]
            before, cpu, began = passes(mirror), usage(run.pid)[0], time.monotonic()
            time.sleep(rest_s)
            used, memory = usage(run.pid)
            took = time.monotonic() - began
            least = (usage(bare.pid)[0] - least) / took
            requests = len(asked(admin))
            after = passes(mirror)
        finally:
            bare.kill()
            bare.wait()
            run.send_signal(signal.SIGTERM)
            run.wait()
    share = (used - cpu) / took
    rounds = {kind: after[kind] - before.get(kind, 0) for kind in after}
    print(
        f"{messages:>9,} messages: {100 * share:.2f} % of a core ({3600 * share:.1f} CPU s an hour, "
        f"budget {BUDGET_S}), {memory:.0f} MB (budget {BUDGET_MB}), "
        f"{60 * requests / took:.0f} requests a minute; "
        f"APScheduler with three jobs a second: {100 * least:.2f} %; passes: "
        + ", ".join(f"{kind} {count}" for kind, count in rounds.items() if count)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, nargs="+", default=[1_000, 1_000_000])
    parser.add_argument("--rest", type=int, default=60, help="seconds")
    args = parser.parse_args()
    for messages in args.messages:
        measure(messages, args.rest)


if __name__ == "__main__":
    main()
