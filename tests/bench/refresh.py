"""
A refresh of 100 open messages, in a history of a thousand and in one of a million.

Both mirrors stand beside each other and ask the same stand-in for the same messages, in turn, in
simulated time; what a refresh costs should not depend on the history.

    .venv/bin/python tests/bench/refresh.py [--messages 1000000] [--rounds 60]
"""

import argparse
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from semysync.mirror.store import Store
from semysync.model import Box, Sent
from semysync.passes.pull import Puller
from semysync.passes.sync import Sync
from semysync.sandbox import Sandbox, Switches
from semysync.service.client import Client

OPEN = 100
PAGE = 5_000


def fill(store: Store, messages: int) -> None:
    """A history that is final, but for every tenth message, of which nobody ever reported."""
    began, now = datetime(2022, 11, 23), datetime.now(UTC)
    apart = timedelta(days=730) / messages
    usual = dict.fromkeys(Sent.__struct_fields__) | {"device_id": 352114, "channel": "sms"}
    for first in range(1, messages + 1, PAGE):
        rows = [
            Sent(
                **usual
                | {
                    "id": n,
                    "phone": f"+7920{n % 5_000:07d}",
                    "text": f"order {n} is ready",
                    "created_at": began + n * apart,
                    "is_send": 1,
                    "is_delivered": int(n % 10 != 0),
                }
            )
            for n in range(first, min(first + PAGE, messages + 1))
        ]
        store.save(Box.SENT, rows, now=now, history_to=messages)
    store.make_indexes(Box.SENT)


def prepared(store: Store, client: Client, now, messages: int) -> Sync:
    """The passes over a mirror with its history, and with the open messages of the stand-in."""
    fill(store, messages)
    sync = Sync(client, store, Puller(account=client, mirror=store, now=now), scope="account")
    store.begin_news(Box.SENT)
    for outcome in sync.once():
        assert outcome.failure is None
    assert sync.box(Box.SENT).failure is None
    return sync


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    moment = [datetime.now(UTC)]
    sizes = (1_000, options.messages)
    with (
        tempfile.TemporaryDirectory() as folder,
        Sandbox(messages=0, devices=1, switches=Switches(phone_speed=0)) as sandbox,
        Client(sandbox.token, base_url=sandbox.base_url) as client,
    ):
        for number in range(OPEN):
            sandbox.account.sent_elsewhere(f"+7920{number:07d}", f"open {number}")
        took: dict[int, list[float]] = {size: [] for size in sizes}
        stores = {size: Store.migrate(Path(folder) / f"{size}.db") for size in sizes}
        syncs = {
            size: prepared(store, client, lambda: moment[0], size) for size, store in stores.items()
        }
        for _ in range(options.rounds):
            moment[0] += timedelta(minutes=61)
            for size, sync in syncs.items():
                before = client.requests
                began = time.perf_counter()
                assert sync.refresh_is_due()
                outcome = sync.refresh()
                took[size].append(time.perf_counter() - began)
                assert outcome.failure is None
                assert client.requests - before == OPEN // 50
        for store in stores.values():
            store.close()
    medians = {size: statistics.median(times) for size, times in took.items()}
    for size, median in medians.items():
        print(f"{OPEN} open of {size:>9,} messages: {median * 1000:6.2f} ms a refresh")
    print(f"ratio {medians[sizes[1]] / medians[sizes[0]]:.2f}")


if __name__ == "__main__":
    main()
