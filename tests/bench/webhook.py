"""
How soon a received message is in the mirror: by a webhook, and by polling alone.

Two daemons follow one stand-in over real HTTP with the default intervals. Messages come at random
moments; one daemon is told of each by a webhook, the other is not. The time is from the beginning
of the webhook's call to the commit that the mirror of each shows.

    .venv/bin/python tests/bench/webhook.py [--messages 100] [--devices 3]
"""

import argparse
import random
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from threading import Thread

import httpx

from semysync.sandbox import Sandbox

SECRET = "a-secret-of-the-address-0123"
CONFIG = """
[api]
base_url = "{base_url}"
token = "{token}"
[database]
path = "{folder}/{name}.db"
"""
LISTEN = '[http]\nlisten = "127.0.0.1:{port}"\nwebhook_secrets = ["{secret}"]\n'
LOOK_EVERY_S = 0.001


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=100)
    parser.add_argument("--devices", type=int, default=3)
    asked = parser.parse_args()
    with (
        Sandbox(messages=3000, devices=asked.devices) as stand_in,
        tempfile.TemporaryDirectory() as folder,
    ):
        port = free_port()
        hinted = daemon(stand_in, Path(folder), "hinted", LISTEN.format(port=port, secret=SECRET))
        polling = daemon(stand_in, Path(folder), "polling", "")
        try:
            measure(stand_in, Path(folder), port, asked.messages)
        finally:
            for process in (hinted, polling):
                process.terminate()
                process.wait(30)


def measure(stand_in: Sandbox, folder: Path, port: int, messages: int) -> None:
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: is_up(url))
    wait_until(lambda: count(folder, "polling") == count(folder, "hinted") > 0)
    seen: dict[str, dict[int, float]] = {"hinted": {}, "polling": {}}
    watchers = [
        Thread(target=watch, args=(folder, name, newest(folder, name), seen[name], messages))
        for name in seen
    ]
    for watcher in watchers:
        watcher.start()
    called: dict[int, float] = {}
    chance = random.Random(0)
    devices = list(stand_in.account.devices)
    for number in range(messages):
        time.sleep(chance.uniform(1.0, 2.0))
        device = devices[number % len(devices)]
        id_ = stand_in.account.receive("+79201234567", "Is it ready?", device)
        called[id_] = time.monotonic()
        httpx.post(f"{url}/webhook/{SECRET}/inbox", data={"id": id_, "id_device": device})
    for watcher in watchers:
        watcher.join()
    took = {name: [at[id_] - called[id_] for id_ in called] for name, at in seen.items()}
    print(f"{messages} messages, {len(devices)} devices, from the webhook to the commit")
    print(f"{'':<22} {'median ms':>10} {'99th':>9} {'worst':>9}")
    for name, times in took.items():
        what = "with webhooks" if name == "hinted" else "by polling alone"
        median, most = statistics.median(times), statistics.quantiles(times, n=100)[98]
        print(f"{what:<22} {median * 1000:>10.1f} {most * 1000:>9.1f} {max(times) * 1000:>9.1f}")
    ratio = statistics.median(took["hinted"]) / statistics.median(took["polling"])
    within = sum(took_s <= 0.3 for took_s in took["hinted"])
    print(f"median with webhooks: {ratio:.3f} of polling; within 300 ms: {within} of {messages}")


def daemon(stand_in: Sandbox, folder: Path, name: str, rest: str) -> subprocess.Popen:
    config = folder / f"{name}.toml"
    config.write_text(
        CONFIG.format(base_url=stand_in.base_url, token=stand_in.token, folder=folder, name=name)
        + rest
    )
    command = [sys.executable, "-m", "semysync", "run", "--config", str(config)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def watch(folder: Path, name: str, newest: int, seen: dict[int, float], messages: int) -> None:
    """Note when each new message is in a mirror."""
    with closing(sqlite3.connect(f"file:{folder / name}.db?mode=ro", uri=True)) as conn:
        while len(seen) < messages:
            for (id_,) in conn.execute("select id from inbox where id > ?", (newest,)):
                seen.setdefault(id_, time.monotonic())
            time.sleep(LOOK_EVERY_S)


def newest(folder: Path, name: str) -> int:
    return ask(folder, name, "select coalesce(max(id), 0) from inbox")


def count(folder: Path, name: str) -> int:
    return ask(folder, name, "select count(*) from inbox")


def ask(folder: Path, name: str, query: str) -> int:
    try:
        with closing(sqlite3.connect(f"file:{folder / name}.db?mode=ro", uri=True)) as conn:
            return conn.execute(query).fetchone()[0]
    except sqlite3.OperationalError:
        return -1


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.HTTPError:
        return False


def wait_until(true) -> None:
    ends = time.monotonic() + 60
    while not true():
        if time.monotonic() > ends:
            raise TimeoutError("it did not come")
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


if __name__ == "__main__":
    main()
