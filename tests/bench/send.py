"""
From a committed row to the request on the wire, and drafts a second.

The service is a process of its own that does nothing but answer. The daemon is the real one, with
its defaults. Beside it, in the same run: a bare loop that does for plain rows what must be done at
least (claim, request, record, each on the disk); and a peer, Gammu SMSD, from the row to its sent items.

    .venv/bin/python tests/bench/send.py [--drafts 5000] [--commits 300] [--gammu 10]
"""

import argparse
import http.client
import json
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import gammu

BATCH = 25
TOKEN = "0" * 32

DEVICE = (
    '{"code":0,"count":1,"data":[{"id":351,"is_arhive":0,"is_work":1,"power":1,"type":0,'
    '"date_last_active":"%s.5"}]}'
)


# The service


def serve() -> None:
    """Take every message; tell on request when each came, by the clock that all processes share."""
    came: dict[str, float] = {}
    numbers = iter(range(70_000_000, 2**62))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            at = time.monotonic()
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            method = self.path.rpartition("/")[2].removesuffix(".php")
            if method == "came":
                body = json.dumps(came)
            elif method == "sms":
                came[parse_qs(raw.decode())["msg"][0]] = at
                body = f'{{"code":"0","id":{next(numbers)}}}'
            elif method == "sms_more":
                items = json.loads(raw)["data"]
                came.update((item["msg"], at) for item in items)
                rows = [{"id": next(numbers), "my_id": item["my_id"]} for item in items]
                body = json.dumps({"code": "0", "data": rows})
            elif method == "devices":
                body = DEVICE % time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
            elif method == "user":
                body = '{"code":0,"is_pay":1}'
            else:
                body = '{"code":"0","count":0,"data":[]}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def asked(port: int, method: str, body: bytes = b"") -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", f"/api/3/{method}.php", body)
    return connection.getresponse().read()


# The writer


def write(path: str, commits: int, synchronous: str) -> None:
    """Insert drafts at random moments; print when each was committed."""
    conn = sqlite3.connect(path, isolation_level=None, timeout=30)
    conn.execute(f"pragma synchronous = {synchronous}")
    chance = random.Random(1)
    committed = {}
    for n in range(commits):
        time.sleep(chance.uniform(0.02, 0.15))
        text = f"{synchronous} {n}"
        insert = "insert into outbox (phone, text) values (?, ?)"
        conn.execute(insert, (f"+7920{chance.randrange(10**7):07}", text))
        committed[text] = time.monotonic()
    print(json.dumps(committed))


# The floor


def bare(path: Path, port: int, drafts: int) -> float:
    """Send plain rows in batches, each claimed and recorded on the disk; return drafts a second."""
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("pragma journal_mode = wal")
    conn.execute("pragma synchronous = full")
    conn.execute("create table drafts (id integer primary key, phone, text, status, sent_id)")
    rows = [(f"+7920{n:07}", f"bare {n}", "queued") for n in range(drafts)]
    conn.execute("begin")
    conn.executemany("insert into drafts (phone, text, status) values (?, ?, ?)", rows)
    conn.execute("commit")
    conn.execute("create index queued on drafts (id) where status = 'queued'")
    service = http.client.HTTPConnection("127.0.0.1", port)
    began = time.monotonic()
    claim = (
        "update drafts set status = 'sending' where id in (select id from drafts"
        f" where status = 'queued' order by id limit {BATCH}) returning id, phone, text"
    )
    while claimed := conn.execute(claim).fetchall():
        items = [
            {"my_id": str(number), "device": "351", "phone": phone, "msg": text}
            for number, phone, text in claimed
        ]
        service.request("POST", "/api/3/sms_more.php", json.dumps({"data": items}))
        answer = json.loads(service.getresponse().read())
        conn.execute("begin")
        conn.executemany(
            "update drafts set status = 'accepted', sent_id = ? where id = ?",
            [(row["id"], int(row["my_id"])) for row in answer["data"]],
        )
        conn.execute("commit")
    return drafts / (time.monotonic() - began)


# The daemon


@contextmanager
def daemon(folder: Path, port: int):
    """Run the daemon with its defaults against the service; yield its mirror."""
    mirror = folder / "mirror.db"
    config = folder / "config.toml"
    config.write_text(
        f'[api]\nbase_url = "http://127.0.0.1:{port}/api/3/"\n[database]\npath = "{mirror}"\n'
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "semysync", "run", "--config", str(config)],
        env=os.environ | {"SEMYSYNC_TOKEN": TOKEN},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(mirror, "select count(*) = 2 from marks where loaded_at is not null")
        yield mirror
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def wait_for(mirror: Path, query: str) -> None:
    """Wait until a query says 1."""
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        try:
            conn = sqlite3.connect(mirror.as_uri() + "?mode=ro", uri=True)
            if conn.execute(query).fetchone()[0]:
                return
        except sqlite3.OperationalError:
            pass
        time.sleep(0.05)
    raise TimeoutError(query)


def through_batches(mirror: Path, drafts: int) -> float:
    """Insert drafts at once, and return how many a second the daemon hands over."""
    conn = sqlite3.connect(mirror, isolation_level=None, timeout=30)
    rows = [(f"+7930{n:07}", f"batch {n}") for n in range(drafts)]
    conn.execute("begin")
    conn.executemany("insert into outbox (phone, text) values (?, ?)", rows)
    conn.execute("commit")
    began = time.monotonic()
    wait_for(
        mirror, "select not exists (select 1 from outbox where status in ('queued', 'sending'))"
    )
    return drafts / (time.monotonic() - began)


def delays(port: int, mirror: Path, commits: int, synchronous: str) -> list[float]:
    """Return how many milliseconds after each commit its request was on the wire."""
    command = [sys.executable, __file__, "write", str(mirror), str(commits), synchronous]
    committed = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    wait_for(
        mirror, "select not exists (select 1 from outbox where status in ('queued', 'sending'))"
    )
    came = json.loads(asked(port, "came"))
    return [1000 * (came[text] - at) for text, at in committed.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drafts", type=int, default=5000)
    parser.add_argument("--commits", type=int, default=300)
    parser.add_argument("--gammu", type=int, default=10, help="rows for Gammu; 0: without it")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    service = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE)
    try:
        port = int(service.stdout.readline())
        with tempfile.TemporaryDirectory() as folder, daemon(Path(folder), port) as mirror:
            speeds, floors = [], []
            for n in range(args.rounds):
                speeds.append(through_batches(mirror, args.drafts))
                floors.append(bare(Path(folder, f"bare{n}.db"), port, args.drafts))
            speed, floor = statistics.median(speeds), statistics.median(floors)
            print(f"drafts through batches   {speed:8,.0f} a second")
            print(f"  a bare loop            {floor:8,.0f} a second; ratio {speed / floor:.2f}")
            for synchronous in ("NORMAL", "FULL"):
                took = sorted(delays(port, mirror, args.commits, synchronous))
                median, most = statistics.median(took), took[int(len(took) * 0.99)]
                print(
                    f"commit to request, {synchronous:<6}"
                    f" median {median:5.1f} ms, 99th percentile {most:5.1f} ms"
                )
    finally:
        service.kill()
    if args.gammu:
        gammu.report(args.gammu)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            serve()
        case ["write", path, commits, synchronous]:
            write(path, int(commits), synchronous)
        case _:
            main()
