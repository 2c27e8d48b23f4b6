"""The daemon as one user, a program as another, both in the group of the mirror's folder."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from itertools import permutations
from types import SimpleNamespace
from urllib.request import urlopen

import pytest
from children import child, in_child, needs_root, place_for_all
from processes import PATIENCE_S, TOKEN, wait_until

from semysync import log
from semysync.config import Api, Config, load
from semysync.daemon import process as process_module
from semysync.daemon.loop import Loop
from semysync.errors import SemysyncError
from semysync.mirror.file import open_reader
from semysync.mirror.store import Store
from semysync.service.connecting import client_for
from semysync.service.pace import Pace

pytestmark = needs_root

DAEMON, PROGRAM, GROUP, STRANGER = 61_001, 61_002, 61_003, 61_004


@pytest.fixture
def place():
    """A folder as systemd makes it by `StateDirectory=` and `StateDirectoryMode=2770`."""
    with place_for_all() as place:
        state = place / "semysync"
        state.mkdir()
        os.chown(state, DAEMON, GROUP)
        state.chmod(0o2770)
        yield state


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """
    The address of a stand-in that runs in a process of its own, since to fork beside its threads
    would not be safe; and all is imported: other users may not be able to read our Python.
    """
    folder = tmp_path_factory.mktemp("first")
    command = [sys.executable, "-m", "semysync", "sandbox", "--port=0", f"--token={TOKEN}"]
    with (
        (folder / "printed").open("w") as printed,
        subprocess.Popen([*command, "--messages=30"], stdout=printed) as process,
    ):
        try:
            wait_until(lambda: "base_url" in (folder / "printed").read_text(), process)
            address = (folder / "printed").read_text().partition('base_url = "')[2]
            address = address.partition('"')[0]
            use_all(address, folder / "semysync.db")
            yield address
        finally:
            process.kill()


def use_all(address, mirror):
    config = Config(api=Api(base_url=address))
    Store.migrate(mirror).close()
    insert(mirror)
    pace = Pace()
    with client_for(config, TOKEN, pace) as asking, client_for(config, TOKEN, pace) as sending:
        loop = Loop(config, mirror, asking, sending, pace)
        loop.start()
        wait_until(lambda: read(mirror)[1] != ["queued"])
        assert not loop.stop()


def sent(address):
    """How many messages the account has made for us."""
    with urlopen(address.replace("/api/3/", "/admin/effects")) as answer:
        return len(json.load(answer)["messages"])


def live(config_path, mirror):
    """Be the daemon, as its unit starts it."""
    os.umask(0o007)
    config = load(config_path, {})
    log.silence()
    process_module.run(
        config,
        mirror,
        connect=lambda config, pace, *, urgent: client_for(config, TOKEN, pace, urgent=urgent),
        reread=lambda: (config, mirror),
    )


def live_and_tell(config_path, mirror):
    """The same, but leave a file where it is refused the mirror, and try again for long."""

    def sleep(_seconds):
        mirror.with_name("refused").touch()
        time.sleep(0.01)

    process_module.OPENING_S = PATIENCE_S
    process_module.time = SimpleNamespace(monotonic=time.monotonic, sleep=sleep)
    live(config_path, mirror)


@contextmanager
def daemon(config, mirror, live=live):
    """Let the daemon live for a block, and see that it ends well."""
    with child(live, config, mirror, user=DAEMON, groups=[GROUP]) as started:
        yield started
        os.kill(started.pid, signal.SIGTERM)
        assert started.said() is None


def insert(mirror):
    with closing(sqlite3.connect(mirror, timeout=30)) as conn, conn:
        conn.execute("insert into outbox (phone, text) values ('+79201234567', 'Hello')")


def read(mirror):
    with closing(open_reader(mirror)) as conn:
        count = conn.execute("select count(*) from inbox").fetchone()[0]
        statuses = [row["status"] for row in conn.execute("select status from outbox")]
    return count, statuses


def as_program(act, mirror):
    return in_child(act, mirror, user=PROGRAM, groups=[GROUP])


@pytest.mark.parametrize("order", [*permutations(["insert", "read", "restart"])], ids="-".join)
def test_they_insert_read_and_restart_in_every_order(place, service, order):
    mirror, config = place / "semysync.db", place.parent / "config.toml"
    config.write_text(f'[api]\nbase_url = "{service}"\n', encoding="utf-8")
    before_sent = sent(service)

    def wait_for(wanted):
        ends, seen = time.monotonic() + PATIENCE_S, None
        while True:
            with suppress(SemysyncError):  # it is still being made
                seen = as_program(read, mirror)
                if wanted(*seen):
                    return
            assert time.monotonic() < ends, seen
            time.sleep(0.05)

    with daemon(config, mirror):  # the first time: it makes the mirror
        wait_for(lambda count, _: count > 0)
    # From here on the program may be the first to open it, and make the files beside it.
    before, after = order[: order.index("restart")], order[order.index("restart") + 1 :]
    acts = {"insert": insert, "read": read}
    for act in before:
        as_program(acts[act], mirror)
    with daemon(config, mirror):
        for act in after:
            as_program(acts[act], mirror)
        wait_for(lambda _, statuses: statuses and statuses[0] not in {"queued", "sending"})

    assert sent(service) == before_sent + 1
    assert mirror.stat().st_mode & 0o777 == 0o660
    assert mirror.stat().st_gid == GROUP


def test_a_file_beside_the_mirror_that_is_closed_for_a_moment_ends_no_daemon(place, service):
    """As another user's SQLite makes it, which opens it to the group a moment later."""
    mirror, config = place / "semysync.db", place.parent / "config.toml"
    config.write_text(f'[api]\nbase_url = "{service}"\n', encoding="utf-8")
    beside = mirror.with_name(f"{mirror.name}-shm")
    beside.touch()
    os.chown(beside, PROGRAM, GROUP)
    beside.chmod(0o600)

    with daemon(config, mirror, live_and_tell) as started:
        wait_until(mirror.with_name("refused").exists)
        beside.chmod(0o660)
        wait_until(lambda: as_program(begun, mirror))

        assert not started.has_said()


def begun(mirror):
    """Tell whether the daemon has made the mirror, and asked for messages."""
    with suppress(SemysyncError):
        return read(mirror)[0] > 0
    return False


def test_who_is_not_in_the_group_sees_nothing(place, service):
    mirror, config = place / "semysync.db", place.parent / "config.toml"
    config.write_text(f'[api]\nbase_url = "{service}"\n', encoding="utf-8")
    with daemon(config, mirror):
        wait_until(mirror.exists)

        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            in_child(insert, mirror, user=STRANGER)
