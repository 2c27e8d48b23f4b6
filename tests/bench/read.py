"""
The queries that people ask, on a mirror of a million messages with a contact of a hundred thousand.

Each is timed in SQLite beside the least that it could do: the same number of rows, read by their
ids. The mirror is filled by the program itself, and takes a minute to make.

    .venv/bin/python tests/bench/read.py [--messages 1000000] [--keep FILE]
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from datasette.app import Datasette
from datasette.utils import tilde_encode
from datasette.utils.sqlite import sqlite3

from semysync.mirror.file import open_reader
from semysync.mirror.store import Store
from semysync.model import Box, Received, Sent

BUSY = "+79200000000"
WORDS = ("order", "ready", "thanks", "tomorrow", "invoice", "заказ", "готов", "спасибо", "gate")
ROUNDS = 30

QUERIES = {
    "newest 50 messages": "select * from messages order by at desc limit 50",
    "newest 50 of the busy contact": f"""
        select * from messages where contact = '{BUSY}' order by at desc limit 50""",
    "50 of it from the middle": f"""
        select * from messages where contact = '{BUSY}' and at < '2025-06-01T00:00:00.000000Z'
         order by at desc limit 50""",
    "newest 50 hits of a word": """
        select * from inbox where id in
               (select rowid from inbox_fts where inbox_fts match 'gate'
                 order by rowid desc limit 50)""",
    "newest 50 conversations": """
        select * from conversations order by last_at desc limit 50""",
    "health": "select * from health",
    "stuck": "select * from stuck limit 50",
}
FLOOR = "select * from inbox where id in (select value from json_each(?))"


def fill(path: Path, messages: int) -> None:
    """Every tenth message is of the busy contact; most sent ones are delivered."""
    began = datetime(2024, 11, 23)
    now = datetime.now(UTC)
    apart = timedelta(days=730) / messages
    with Store.migrate(path) as store:
        for first in range(0, messages, 5000):
            rows = range(first + 1, min(first + 5000, messages) + 1)
            inbox = [received(n, began + n * apart) for n in rows if n % 2]
            sent = [delivered(n, began + n * apart) for n in rows if not n % 2]
            store.save(Box.INBOX, inbox, now=now)
            store.save(Box.SENT, sent, now=now)
        for box in Box:
            store.make_indexes(box)


def contact(n: int) -> str:
    return BUSY if n % 20 in {0, 11} else f"+7920{n * n % 50_000 + 1:07d}"


def text(n: int) -> str:
    return f"{WORDS[n % 9]} {WORDS[n * n % 7]} {n}"


def received(n: int, at: datetime) -> Received:
    return Received(
        id=n, device_id=n % 5, phone=contact(n), text=text(n), channel="sms", received_at=at
    )


def delivered(n: int, at: datetime) -> Sent:
    values = dict.fromkeys(Sent.__struct_fields__)
    values |= {"id": n, "device_id": n % 5, "phone": contact(n), "text": text(n), "channel": "sms"}
    return Sent(**values | {"created_at": at, "is_send": 1, "is_delivered": int(n % 1000 != 0)})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = asked.keep or Path(folder, "semysync.db")
        if path.exists():
            Store.migrate(path).close()
        else:
            fill(path, asked.messages)
        measure(path)


def measure(path: Path) -> None:
    conn = open_reader(path)
    asyncio.run(measure_page(path))
    busy = conn.execute(
        "select received + sent from contacts where contact = ?", (BUSY,)
    ).fetchone()
    print(f"{path.stat().st_size / 1e6:,.0f} MB, the busy contact has {busy[0]:,} messages")
    print(f"medians of {ROUNDS} rounds\n{'':<32} {'ms':>8} {'floor ms':>9} {'ratio':>7}")
    for name, query in QUERIES.items():
        ids = str(list(range(1, 2 * len(conn.execute(query).fetchall()) + 1, 2)))
        own, least = [], []
        for _ in range(ROUNDS):
            own.append(timed(conn, query, ()))
            least.append(timed(conn, FLOOR, (ids,)))
        ratio = statistics.median(a / b for a, b in zip(own, least, strict=True))
        own_ms, least_ms = statistics.median(own) * 1000, statistics.median(least) * 1000
        print(f"{name:<32} {own_ms:>8.2f} {least_ms:>9.3f} {ratio:>7.1f}")


async def measure_page(path: Path) -> None:
    """Time the page that Datasette makes of a contact's newest messages, inside its process."""
    page = f"/{path.stem}/messages?contact__exact={quote(BUSY)}&_sort_desc=at&_size=50"
    pages = {
        "its conversation": f"/{path.stem}/-/conversations/{tilde_encode(BUSY)}",
        "the view by contact": page,
        "the same without a count": f"{page}&_nocount=1",
    }
    served = Datasette([str(path)], settings={"suggest_facets": False})
    print(f"pages of Datasette for the busy contact, SQLite {sqlite3.sqlite_version}")
    for name, address in pages.items():
        times = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            answer = await served.client.get(address)
            times.append(time.perf_counter() - began)
            assert answer.status_code == 200, answer.text
        print(f"{name:<32} {statistics.median(times) * 1000:>8.0f} ms")


def timed(conn, query: str, values: tuple) -> float:
    began = time.perf_counter()
    conn.execute(query, values).fetchall()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
