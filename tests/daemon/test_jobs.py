"""The passes that are the daemon's own: what they take in hand, and what they say of it."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from semysync.config import Config
from semysync.daemon import jobs
from semysync.daemon.jobs import Kit
from semysync.errors import MirrorBusy
from semysync.mirror.lock import Lock, Right
from semysync.times import utc_text


@pytest.fixture
def kit(client, store, make_sync):
    """A day after the first load."""
    make_sync(now=lambda: datetime.now(UTC) - timedelta(hours=25)).once()
    sync = make_sync()
    return Kit(Config(), client, store, sync)


def test_what_could_not_be_verified_is_told(kit, sandbox):
    sandbox.order_fault("http_404", method="outbox_sms", times=0)

    with capture_logs() as logged:
        outcome = jobs.verify(kit)

    assert outcome.failure is None
    unproven = [line["of"] for line in logged if line["event"] == "verify.unproven"]
    assert len(unproven) == 3
    assert all(said.startswith("sent of device ") for said in unproven)


@pytest.mark.parametrize(("age_days", "left"), [(89, 1), (91, 0)])
def test_old_events_are_forgotten(kit, rows, age_days, left):
    at = utc_text(datetime.now(UTC) - timedelta(days=age_days))
    with kit.store.transaction() as conn:
        conn.execute("delete from events")
        conn.execute("insert into events (kind, at) values ('draft.queued', ?)", (at,))

    with capture_logs() as logged:
        jobs.housekeeping(kit)

    assert rows("select count(*) from events") == [(left,)]
    assert [line["events"] for line in logged if line["event"] == "events.forgotten"] == [1] * (
        1 - left
    )


def test_a_purge_is_left_to_the_person_who_is_at_it(kit, sandbox):
    asked = len(sandbox.requests)

    with Lock(kit.store.path, Right.PURGE):
        jobs.purge(kit)

    assert len(sandbox.requests) == asked


def test_a_purge_that_the_mirror_breaks_off_is_not_kept_quiet(kit):
    with kit.store.connected() as conn:
        conn.execute("pragma busy_timeout = 0")

    with closing(sqlite3.connect(kit.store.path, isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(MirrorBusy):
            jobs.purge(kit)
