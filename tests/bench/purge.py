"""
How long it takes until a long history is purged: every pass of the daemon, in simulated time.

    .venv/bin/python tests/bench/purge.py --messages 100000

With the default settings: once an hour, 500 messages and 120 requests a pass at most.
"""

import argparse
import logging
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS)]

import structlog
from sending.rig import Time, blank_mirror

from semysync.config import Purge
from semysync.mirror.store import Store
from semysync.mirror.tables.purges import Purges
from semysync.passes.pull import Puller
from semysync.passes.purge import Purger
from semysync.passes.sync import Sync
from semysync.sandbox import Sandbox
from semysync.service.client import Client


def made_in(folder):
    """Make an empty mirror in a folder."""
    mirror = Path(folder) / "semysync.db"
    mirror.write_bytes(blank_mirror())
    return mirror


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--messages", type=int, default=100_000)
    options.add_argument("--most-passes", type=int, default=10_000)
    given = options.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    clock = Time()
    with (
        tempfile.TemporaryDirectory(prefix="semysync-bench-") as folder,
        Sandbox(messages=given.messages, devices=3, clock=clock.now) as sandbox,
        Client(sandbox.token, base_url=sandbox.base_url, timeout_s=30) as client,
        Store.open(made_in(folder)) as store,
        Purges(store.path) as log,
    ):
        sync = Sync(client, store, Puller(account=client, mirror=store, now=clock.now))
        sync.once()
        began, passes, requests, took = clock.passed_s, 0, 0, time.monotonic()
        gone, quiet = 0, 0
        while quiet < 30 and passes < given.most_passes:  # of what is sent, some wait for a week
            purged = Purger(client, store, log, sync, Purge(), now=clock.now).once()
            assert not purged.failure, purged.failure
            passes += 1
            gone += purged.messages
            requests += purged.noted.requests
            # By and by only what has just become old enough goes, a few each hour.
            quiet = 0 if purged.messages > Purge().max_per_pass / 10 else quiet + 1
            clock.passed_s += 3600
            if passes % 20 == 0:
                print(f"{passes:5} passes, {gone:,} gone", file=sys.stderr)
        days = timedelta(seconds=clock.passed_s - began - quiet * 3600) / timedelta(days=1)
        left = sum(sandbox.account.state()["messages"].values())
    print(f"{given.messages:,} messages: {gone:,} gone, {left:,} stay, in {days:.1f} days")
    print(f"{passes - quiet} passes, {requests / passes:.0f} requests each, ", end="")
    print(f"{time.monotonic() - took:.0f} s of this machine")


if __name__ == "__main__":
    main()
