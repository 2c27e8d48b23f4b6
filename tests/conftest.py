"""What most tests need: a stand-in service over real HTTP, a client of it, a mirror on disk."""

import gc
import os
import shutil
import signal
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from blank import lay_blank
from hypothesis import HealthCheck, settings

from semysync.mirror.store import Store
from semysync.passes.pull import Puller
from semysync.passes.sync import Sync
from semysync.sandbox import Sandbox
from semysync.service.client import Client

# Each worker, and each interpreter that tests start, would compile again all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell lets what it starts in the background ignore Ctrl-C, and so would all that tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Mirrors of tests lie in memory, where there is room: who waits for a disk waits most of the time.
MEMORY, ROOM = Path("/dev/shm"), 4 * 1024**3
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# A busy machine is no failure of ours; in CI the examples are the same at every run.
settings.register_profile(
    "semysync",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    derandomize="CI" in os.environ,
)
settings.load_profile("semysync")


# Files that take long: whoever ran one last would have the others wait for it. Those that wait most
# of their time (for passes, a browser, the end of a pause) stand among those that reckon.
LONG = (
    *("daemon/test_survival", "web/test_browser", "purging/test_purge_attacked"),
    *("passes/test_matrix", "takeover/test_takeover", "sending/test_harness"),
    *("secrets/test_everything", "passes/test_sync", "daemon/test_daemon", "mirror/test_file"),
    *("takeover/test_replica", "passes/test_verify", "kills/test_kills", "purging/test_purge"),
    *("follow/test_whole_way_of_webhooks", "web/test_web_reading", "cli/test_cli_showing"),
    *("sending/test_lost_answers", "follow/test_listener", "cli/test_really_started"),
    *("takeover/test_elsewhere", "sending/test_going_out", "takeover/test_places"),
    *("machine/test_machine", "load/test_load", "passes/test_refresh", "daemon/test_stops"),
)


def pytest_xdist_auto_num_workers(config):
    """Two workers a processor: half of their time they wait, for processes and the disk."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Look for no garbage while the tests are collected, in each worker: all of them stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items):
    """Begin with what takes long; files stay together."""
    places = {file: place for place, file in enumerate(LONG)}
    items.sort(
        key=lambda item: places.get("/".join(item.path.with_suffix("").parts[-2:]), len(LONG))
    )


@pytest.fixture
def sandbox():
    """A stand-in with a small history: real HTTP on loopback."""
    with Sandbox(messages=300, devices=3) as stand_in:
        yield stand_in


@pytest.fixture
def client(sandbox):
    with Client(sandbox.token, base_url=sandbox.base_url, timeout_s=5) as client:
        yield client


@pytest.fixture
def store(tmp_path):
    """A real mirror on disk, migrated and empty."""
    lay_blank(tmp_path / "semysync.db")
    with Store.migrate(tmp_path / "semysync.db") as store:
        yield store


@pytest.fixture
def make_sync(client, store):
    """Make the passes over the sandbox and the mirror; keywords go to the puller."""

    def make(*, by_device=True, scope=None, turns=None, **puller):
        puller = {"lookback": timedelta(minutes=10)} | puller
        puller = Puller(account=client, mirror=store, **puller)
        scope = scope or ("device" if by_device else "account")
        return Sync(client, store, puller, scope=scope, turns=turns)

    return make


@pytest.fixture
def rows(store):
    """Ask the mirror; rows come as tuples."""

    def ask(query, *parameters):
        return store._db.execute(query, parameters).fetchall()

    return ask
