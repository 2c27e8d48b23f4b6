"""Stops in the middle of the passes that come seldom: nothing is half, and the next run goes on."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from processes import HASTY, end, wait_until

# The program with one kind of pass, beside the devices that it needs.
ONLY = """
import semysync.daemon.loop as loop
every = loop.jobs
loop.jobs = lambda *rest: [job for job in every(*rest) if job.name in {names!r}]
"""

PURGING = "[purge]\nenabled = true\nevery_s = 1\n"


def only(kind):
    return ONLY.format(names=("devices", kind)) + HASTY


def methods(sandbox):
    return [call.method for call in list(sandbox.requests)]


def finished(program, kind):
    return program.ask(f"select id from passes where kind = '{kind}' and error is null")


@pytest.fixture
def aged(program, sandbox):
    """A mirror beside an account in which there is something to do for every kind of pass."""
    device = min(sandbox.account.devices)
    long_ago = datetime.now(UTC) - timedelta(days=40)
    sandbox.account.remove("inbox", sandbox.account.ids("inbox"))
    ids = [
        sandbox.account.receive("+79201234567", f"Old {n}", device, at=long_ago) for n in range(3)
    ]
    sandbox.account.receive("+79201234567", "New", device)
    program.mirror_here()
    with closing(sqlite3.connect(program.mirror)) as conn, conn:
        conn.execute("insert into outbox (phone, text) values ('+79201234567', 'Hello')")
        conn.execute("update inbox set mirrored_at = received_at where text like 'Old %'")
        conn.execute("update marks set loaded_at = '2020-01-01T00:00:00.000000Z'")
    program.configure(sandbox.base_url, api="requests_per_minute = 100000", rest=PURGING)
    sandbox.requests.clear()
    return ids


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("refresh", "outbox_sms"),
        ("verify", "inbox_sms"),
        ("verify", "outbox_sms"),
        ("purge", "inbox_sms"),
        ("purge", "del_inbox_sms"),
    ],
)
def test_a_stop_in_the_middle_leaves_nothing_half(program, sandbox, aged, kind, method):
    before = finished(program, kind)
    sandbox.set(fault="hang", fault_methods=method)
    with program.running("run", code=only(kind)) as process:
        wait_until(lambda: method in methods(sandbox), process)

        code, logged = end(process)

    names = [json.loads(line)["event"] for line in logged.splitlines()]
    assert code == 0
    assert names[-1] == "daemon.stopped"
    assert not {"pass.broke", "daemon.abandoned"} & set(names)
    assert finished(program, kind) == before
    assert program.ask("pragma integrity_check") == [("ok",)]

    sandbox.set(fault="none")
    with program.running("run", code=only(kind)) as process:
        if kind == "purge":
            wait_until(lambda: not set(aged) & set(sandbox.account.ids("inbox")), process)
        else:
            wait_until(lambda: finished(program, kind) != before, process)

        assert end(process)[0] == 0
    assert program.ask("select count(*) from inbox where text like 'Old %'") == [(3,)]
