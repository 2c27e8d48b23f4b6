"""
How long the pages take in a mirror of a million messages, with a contact of a hundred thousand.

`semysync web` serves it as to a person, over HTTP; each page is asked for in turn with a page that asks
the mirror for next to nothing (an empty message), and the medians of both are told. The mirror is filled by the
program itself, which takes a minute; the charts' statements are asked for one by one, as a browser
does.

    .venv/bin/python tests/bench/web.py [--messages 1000000] [--rounds 15] [--keep FILE]
"""

import argparse
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import httpx
import read

from semysync.mirror.reading.plots import FIGURES, PLOTS
from semysync.mirror.reading.queries import QUERIES
from semysync.mirror.store import Store

TALK = "/{name}/-/conversations/~2B79200000000"  # read.BUSY

ADDRESSES = {
    "conversations": "/{name}/-/conversations",
    "the busy conversation": TALK,
    "the same, what is new": f"{TALK}?part=live",
    "the same, from the middle": TALK + "?before=in-{middle}",
    "a message by its link": TALK + "?message=in-{early}",
    "search in it: a common word": f"{TALK}?q=order",
    "search in it: a rare word": TALK + "?q={middle}",
    "search everywhere: a common word": "/{name}/-/conversations?q=order",
    "search everywhere: a number": "/{name}/-/conversations?q=920000",
    "the outbox": "/{name}/-/drafts",
    "Datasette: inbox": "/{name}/inbox",
    "Datasette: messages of the contact": "/{name}/messages?contact__exact=%2B79200000000",
    "the same, not counted": "/{name}/messages?contact__exact=%2B79200000000&_nocount=1",
}

# The charts end today, and so do the messages; the deliveries have times.
TO_TODAY = """
update inbox set utc_offset = 0, received_at = strftime('%Y-%m-%dT%H:%M:%f000Z', received_at, :later);
"""
SENT_TO_TODAY = """
update sent
   set utc_offset = 0, phone_utc_offset = 0,
       created_at = strftime('%Y-%m-%dT%H:%M:%f000Z', created_at, :later),
       delivered_at = case when is_delivered = 1
           then strftime('%Y-%m-%dT%H:%M:%f000Z', created_at, :later, '+' || (id % 97) || ' seconds')
           end
"""
LATER = """
select (julianday('now') - julianday(max(received_at))) || ' days' as later from inbox
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = asked.keep or Path(folder, "semysync.db")
        if not path.exists():
            read.fill(path, asked.messages)
            with closing(sqlite3.connect(path)) as conn, conn:
                later = {"later": conn.execute(LATER).fetchone()[0]}
                for statement in (TO_TODAY, SENT_TO_TODAY):
                    conn.execute(statement, later)
        with Store.migrate(path):
            pass
        measure(path, asked.rounds)


def measure(path: Path, rounds: int) -> None:
    command = [sys.executable, "-m", "semysync", "web", "--port", "0", "--database", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", bufsize=1) as process:
        try:
            link = next(line for line in iter(process.stdout.readline, "") if "http" in line)
            origin = re.match(r"\s*(http://[^/]+)", link)[1]
            with httpx.Client(base_url=origin, timeout=60) as client:
                client.get(link.strip())
                report(client, {"name": path.stem, **some_ids(path)}, rounds)
        finally:
            process.terminate()


def some_ids(path: Path) -> dict[str, int]:
    """Two received messages of the busy contact, which has every twentieth, from the eleventh on."""
    with closing(sqlite3.connect(path)) as conn:
        newest = conn.execute("select max(id) from inbox").fetchone()[0]
    return {"middle": newest // 40 * 20 + 11, "early": newest // 80 * 20 + 11}


def report(client: httpx.Client, named: dict[str, object], rounds: int) -> None:
    name = named["name"]
    floor = {"url": f"/{name}/-/compose"}
    asked = {title: {"url": address.format(**named)} for title, address in ADDRESSES.items()}
    statements = {f"chart: {plot.name}": plot.sql for plot in PLOTS}
    statements |= {"chart: figures": FIGURES}
    statements |= {f"query: {query.name}": query.sql for query in QUERIES}
    for title, sql in statements.items():
        asked[title] = {"url": f"/{name}.json", "params": {"sql": sql, "_shape": "objects"}}
    print(f"medians of {rounds} rounds\n{'':<40} {'ms':>8} {'floor ms':>9} {'ratio':>7}")
    for title, request in asked.items():
        pairs = [(timed(client, request), timed(client, floor)) for _ in range(rounds)]
        took, least = (statistics.median(times) * 1000 for times in zip(*pairs, strict=True))
        ratio = statistics.median(own / other for own, other in pairs)
        print(f"{title:<40} {took:>8.1f} {least:>9.1f} {ratio:>7.1f}")


def timed(client: httpx.Client, request: dict[str, object]) -> float:
    began = time.perf_counter()
    answer = client.get(**request)
    took = time.perf_counter() - began
    assert answer.status_code == 200, answer.text[:500]
    return took


if __name__ == "__main__":
    main()
