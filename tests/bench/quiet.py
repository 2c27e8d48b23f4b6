"""
A pull with nothing new: what it asks, and that its cost does not depend on the history.

Two stand-ins and two mirrors, one of a thousand messages and one of a million, pulled in turn an hour
after the first load, in simulated time: as a whole account, and device by device. The stand-ins are
processes of their own.

    .venv/bin/python tests/bench/quiet.py [--messages 1000000] [--rounds 60]
"""

import argparse
import statistics
import tempfile
import time
import tomllib
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from idle import stand_in

from semysync.log import silence
from semysync.mirror.store import Store
from semysync.model import Box
from semysync.passes.pull import Puller
from semysync.passes.sync import Sync
from semysync.service.client import Client

SMALL = 1_000
SCOPES = {"the whole account": "account", "three devices": "device"}


def mirrored(stack: ExitStack, folder: Path, messages: int, scope: str, now):
    """A mirror that has all of a stand-in; returns the client and what pulls with it."""
    folder.mkdir()
    _, config = stack.enter_context(stand_in(messages, folder))
    api = tomllib.loads(config.read_text())["api"]
    client = stack.enter_context(Client(api["token"], base_url=api["base_url"]))
    store = stack.enter_context(Store.migrate(folder / "mirror.db"))
    sync = Sync(client, store, Puller(account=client, mirror=store, now=now), scope=scope)
    for outcome in sync.once():
        assert outcome.failure is None, outcome
    return client, sync


def timed(client: Client, sync: Sync) -> tuple[float, int]:
    """Pull both boxes; return how long that took and how many questions it were."""
    before, began = client.requests, time.perf_counter()
    for box in Box:
        outcome = sync.box(box)
        assert not outcome.failure
        assert not outcome.noted.added
    return time.perf_counter() - began, client.requests - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=60)
    given = parser.parse_args()
    silence()
    later = timedelta()
    for title, scope in SCOPES.items():
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:

            def now():
                return datetime.now(UTC) + later  # noqa: B023  it is to be the latest

            both = [
                mirrored(stack, Path(folder, str(size)), size, scope, now)
                for size in (SMALL, given.messages)
            ]
            for _ in range(2):  # the first look after a load goes back farther
                later += timedelta(hours=1)
                for one in both:
                    timed(*one)
            rounds = [[timed(*one) for one in both] for _ in range(given.rounds)]
        small, large = (statistics.median(times[n][0] for times in rounds) for n in (0, 1))
        ratio = statistics.median(times[1][0] / times[0][0] for times in rounds)
        (questions,) = {times[n][1] for times in rounds for n in (0, 1)}
        print(
            f"{title}: {1000 * small:.2f} ms with {SMALL:,} messages,"
            f" {1000 * large:.2f} ms with {given.messages:,}, ratio {ratio:.2f},"
            f" {questions} questions for both boxes"
        )


if __name__ == "__main__":
    main()
