"""
A first load, beside the least that such a load could do.

The account is served by a process of its own, from rows that were rendered before the clock starts;
`service` is how fast these can be had by somebody who only reads the bytes. The floor is http.client,
orjson and `executemany` into the same columns in WAL mode, the words of each page indexed by one
statement. Peers, up to a size that does not take them minutes: what somebody would write in half an
hour with requests and sqlite3, and dlt, a REST source into DuckDB; neither makes a search index. Each
runs in a process of its own, in turn, several times. Needs orjson; a peer that is not installed is
left out, and that is said.

    .venv/bin/python tests/bench/pull.py [--rounds 3] [100000 1000000]
"""

import argparse
import http.client
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs

FIRST, STEP = 70_000_000, 5  # ids
PAGE = 10_000  # rows that the floor asks for at a time
TOKEN = "0" * 32
PEERS = {"script": "requests", "dlt": "dlt"}  # and what each needs
MOST_FOR_PEERS = 200_000  # messages

SENT_ROW = (
    '{"id":%d,"phone":"+7920%07d","date":"%s.418309","msg":"Order %d is ready, please come before'
    ' six","id_device":351,"send_to_phone":"%s.904120","is_send_to_phone":1,"is_send":1,"send":"%s"'
    ',"is_delivered":1,"delivered":"%s","is_cancel":0,"cancel":null,"is_error":0,'
    '"is_error_send":0,"error_date":null,"is_out":0,"type":0}'
)
INBOX_ROW = (
    '{"id":%d,"phone":"+7920%07d","date":"%s","msg":"Thanks, I shall come at %d","id_device":351,'
    '"type":0}'
)


# The service


def serve(messages: int) -> None:
    """Answer with rendered rows; print the port."""
    boxes = {"outbox_sms": rendered(SENT_ROW, messages * 55 // 100)}
    boxes["inbox_sms"] = rendered(INBOX_ROW, messages - len(boxes["outbox_sms"]))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self) -> None:
            asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            method = self.path.rpartition("/")[2].removesuffix(".php")
            if method == "devices":
                body = b'{"code":0,"count":1,"data":[{"id":351,"is_arhive":0,"type":0}]}'
            else:
                rows = shown(boxes[method], asked)
                body = b'{"code":"0","count":%d,"data":[%b]}' % (len(rows), b",".join(rows))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):  # an answer may be broken off
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def rendered(row: str, messages: int) -> list[bytes]:
    began = 1_600_000_000
    rows = []
    for n in range(messages):
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(began + n * 60))
        sent = row.count("%s") == 4
        phone = n * n % 20_000
        values = (at, n, at, at, at) if sent else (at, n)
        rows.append((row % (FIRST + n * STEP, phone, *values)).encode())
    return rows


def shown(rows: list[bytes], asked: dict[str, list[str]]) -> list[bytes]:
    if "start_id" not in asked:
        return rows[-100:]
    low = max(0, -(-(int(asked["start_id"][0]) - FIRST) // STEP))
    high = (int(asked["end_id"][0]) - FIRST) // STEP + 1 if "end_id" in asked else len(rows)
    return rows[low : max(0, high)]


def service(port: int, rows: int) -> dict[str, float]:
    """Take the account's answers as fast as they come."""
    link = http.client.HTTPConnection("127.0.0.1", port)
    began, asked = Times(), 0
    for method in ("inbox_sms", "outbox_sms"):
        for start in count(FIRST, PAGE * STEP):
            asked += 1
            if len(answer(link, method, start)) < 100:
                break
    loaded = Times()
    return report(began, loaded, loaded, rows, asked)


def answer(link: http.client.HTTPConnection, method: str, start: int) -> bytes:
    body = f"token={TOKEN}&start_id={start}&end_id={start + PAGE * STEP - 1}"
    link.request("POST", f"/api/3/{method}.php", body)
    return link.getresponse().read()


# The floor


def floor(port: int, path: Path) -> dict[str, float]:
    import sqlite3

    import orjson

    from semysync.mirror.schema import messages
    from semysync.mirror.tables import boxes

    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("pragma journal_mode = wal")
    conn.execute("pragma synchronous = normal")
    for statement in (messages.INBOX, messages.SENT, *messages.SEARCH_TABLES):
        conn.execute(statement)
    columns = {
        "inbox": "id, device_id, phone, contact, text, channel, received_at, mirrored_at",
        "sent": "id, device_id, phone, contact, text, channel, created_at, handed_at, sent_at,"
        " delivered_at, cancelled_at, failed_at, is_send_to_phone, is_send, is_delivered,"
        " is_cancel, is_error, is_error_send, is_out, mirrored_at",
    }
    link = http.client.HTTPConnection("127.0.0.1", port)
    began, asked, stored = Times(), 0, 0
    for box, method in (("inbox", "inbox_sms"), ("sent", "outbox_sms")):
        add = f"insert into {box} ({columns[box]}) values ({', '.join('?' * (columns[box].count(',') + 1))})"
        index = f"insert into {box}_fts (rowid, text) select id, text from {box} where id between ? and ?"
        start = FIRST
        while True:
            rows = orjson.loads(answer(link, method, start))["data"]
            asked += 1
            if not rows:
                break
            conn.execute("begin")
            conn.executemany(add, [flat(box, row) for row in rows])
            conn.execute(index, (rows[0]["id"], rows[-1]["id"]))
            conn.execute("commit")
            stored += len(rows)
            start += PAGE * STEP
    loaded = Times()
    for box in ("inbox", "sent"):
        for statement in boxes.LATER_INDEXES[box]:
            conn.execute(statement)
    return report(began, loaded, Times(), stored, asked)


def flat(box: str, row: dict) -> tuple:
    common = (
        row["id"],
        row["id_device"],
        row["phone"],
        row["phone"],
        row["msg"],
        "sms",
        row["date"],
    )
    if box == "inbox":
        return (*common, "2026-11-23T09:41:13.657724Z")
    return (
        *common,
        row["send_to_phone"],
        row["send"],
        row["delivered"],
        row["cancel"],
        row["error_date"],
        row["is_send_to_phone"],
        row["is_send"],
        row["is_delivered"],
        row["is_cancel"],
        row["is_error"],
        row["is_error_send"],
        row["is_out"],
        "2026-11-23T09:41:13.657724Z",
    )


# Peers


def script(port: int, path: Path) -> dict[str, float]:
    """Load by requests and sqlite3, a row at a time into tables of the columns that come."""
    import sqlite3

    import requests

    conn, link = sqlite3.connect(path), requests.Session()
    began, asked, stored = Times(), 0, 0
    for method in ("inbox_sms", "outbox_sms"):
        start, table = FIRST, None
        while True:
            data = {"token": TOKEN, "start_id": start, "end_id": start + PAGE * STEP - 1}
            rows = link.post(f"http://127.0.0.1:{port}/api/3/{method}.php", data).json()["data"]
            asked += 1
            if not rows:
                break
            if table is None:
                table = ", ".join(f'"{name}"' for name in rows[0])
                conn.execute(f"create table {method} ({table}, primary key (id))")
                places = ", ".join(f":{name}" for name in rows[0])
            for row in rows:
                conn.execute(f"insert or replace into {method} values ({places})", row)
            conn.commit()
            stored += len(rows)
            start += PAGE * STEP
    loaded = Times()
    return report(began, loaded, loaded, stored, asked)


def dlt(port: int, path: Path) -> dict[str, float]:
    """Load by dlt's client for REST, which goes from page to page, into DuckDB."""
    import dlt
    from dlt.sources.helpers.rest_client import RESTClient
    from dlt.sources.helpers.rest_client.paginators import BasePaginator

    class ByIds(BasePaginator):
        def __init__(self) -> None:
            super().__init__()
            self.start, self.asked = FIRST, 0

        def init_request(self, request) -> None:
            self.update_request(request)

        def update_state(self, _response, data=None) -> None:
            self.asked += 1
            self.start += PAGE * STEP
            self._has_next_page = bool(data)

        def update_request(self, request) -> None:
            end = self.start + PAGE * STEP - 1
            request.data = {"token": TOKEN, "start_id": self.start, "end_id": end}

    client = RESTClient(f"http://127.0.0.1:{port}/api/3/")
    pages = {method: ByIds() for method in ("inbox_sms", "outbox_sms")}

    def rows(method):
        how = {"method": "POST", "data_selector": "data", "paginator": pages[method]}
        yield from client.paginate(f"{method}.php", **how)

    resources = [
        dlt.resource(rows, name=method, primary_key="id", write_disposition="merge")(method)
        for method in pages
    ]
    folder = str(path.parent)
    began = Times()
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=f"{folder}/dlt",
        destination=dlt.destinations.duckdb(f"{folder}/x.duckdb"),
        dataset_name="mirror",
    )
    pipeline.run(resources)
    loaded = Times()
    counts = pipeline.last_trace.last_normalize_info.row_counts
    stored = sum(counts[method] for method in pages)
    return report(began, loaded, loaded, stored, sum(one.asked for one in pages.values()))


# Ours


def ours(port: int, path: Path) -> dict[str, float]:
    from semysync.log import silence
    from semysync.mirror.store import Store
    from semysync.model import Box
    from semysync.passes.pull import Progress, Puller
    from semysync.service.client import Client

    silence()
    with (
        Client(TOKEN, base_url=f"http://127.0.0.1:{port}/api/3/") as client,
        Store.migrate(path) as store,
    ):
        began, stored = Times(), 0
        for box in Box:
            progress = Progress(box, 351)
            Puller(account=client, mirror=store).pull(progress)
            stored += progress.added
        loaded = Times()
        for box in Box:
            store.make_indexes(box)
        return report(began, loaded, Times(), stored, client.requests)


class Times:
    """A moment: by the clock, and by the processor time that this process has used."""

    def __init__(self) -> None:
        self.clock, self.cpu = time.perf_counter(), time.process_time()


def report(
    began: Times, loaded: Times, indexed: Times, rows: int, requests: int
) -> dict[str, float]:
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "rows": rows,
        "loaded_s": loaded.clock - began.clock,
        "all_s": indexed.clock - began.clock,
        "cpu_s": loaded.cpu - began.cpu,
        "peak_mb": peak_mb,
        "requests": requests,
    }


# The comparison


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("messages", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    for messages in asked.messages:
        command = [sys.executable, __file__, "--serve", str(messages)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
            port = int(service.stdout.readline())
            try:
                compare(messages, port, asked.rounds)
            finally:
                service.kill()


def compare(messages: int, port: int, rounds: int) -> None:
    names = ["service", "floor", "semysync"]
    if messages <= MOST_FOR_PEERS:
        names += [name for name, needs in PEERS.items() if find_spec(needs)]
        for name, needs in PEERS.items():
            if name not in names:
                print(f"{name}: {needs} is not installed")
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, runs in results.items():
            with tempfile.TemporaryDirectory() as folder:
                into = str(messages) if name == "service" else f"{folder}/x.db"
                command = [sys.executable, __file__, f"--{name}", str(port), into]
                env = os.environ | {"RUNTIME__DLTHUB_TELEMETRY": "false"}
                runs.append(json.loads(subprocess.check_output(command, env=env)))
    print(f"\n{messages:,} messages, {rounds} rounds, medians")
    print(
        f"{'':<10} {'rows/s':>9} {'with indexes':>13} {'CPU s':>7} {'peak MB':>8} {'requests':>9}"
    )
    for name, runs in results.items():
        assert all(run["rows"] == messages for run in runs), "a load is not complete"
        rate, indexed = (
            statistics.median(run["rows"] / run[key] for run in runs)
            for key in ("loaded_s", "all_s")
        )
        cpu, peak, requests = (
            statistics.median(run[key] for run in runs) for key in ("cpu_s", "peak_mb", "requests")
        )
        print(
            f"{name:<10} {rate:>9,.0f} {indexed:>13,.0f} {cpu:>7.2f} {peak:>8.0f} {requests:>9.0f}"
        )
    pairs = list(zip(results["semysync"], results["floor"], strict=True))
    ratios_of = {"loaded_s": "ratio", "all_s": "ratio with indexes", "cpu_s": "ratio of CPU time"}
    for key, title in ratios_of.items():
        ratios = sorted(low[key] / our[key] for our, low in pairs)
        middle = statistics.median(ratios)
        print(f"{title}: {middle:.2f} (of each round: {ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--serve", messages]:
            serve(int(messages))
        case ["--service", port, rows]:
            print(json.dumps(service(int(port), int(rows))))
        case ["--floor", port, path]:
            print(json.dumps(floor(int(port), Path(path))))
        case ["--script", port, path]:
            print(json.dumps(script(int(port), Path(path))))
        case ["--dlt", port, path]:
            print(json.dumps(dlt(int(port), Path(path))))
        case ["--semysync", port, path]:
            print(json.dumps(ours(int(port), Path(path))))
        case _:
            main()
