"""Which drafts go out next: in which order, and at what cost where many are for later."""

import sqlite3
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from semysync.mirror.file import writing
from semysync.mirror.outbox import queue
from semysync.mirror.outbox.queue import Due
from semysync.mirror.outbox.sending import Outbox
from semysync.mirror.store import Store
from semysync.times import Locale, utc_text

NOW = datetime.now(UTC)
LATER, BEFORE = utc_text(NOW + timedelta(days=30)), utc_text(NOW - timedelta(hours=1))
DAY_S = 86_400
MANY = 3_000


@pytest.fixture
def outbox(tmp_path):
    Store.migrate(tmp_path / "mirror.db", Locale()).close()
    with Outbox(tmp_path / "mirror.db") as outbox:
        yield outbox


def insert(outbox, *drafts):
    """Insert drafts of a number, a time and a priority, and look at them as the daemon does."""
    with outbox.reading() as conn:
        with writing(conn):
            conn.executemany(
                "insert into outbox (phone, text, send_at, priority) values (?, 'Hello', ?, ?)",
                [(f"+7920{number:07d}", send_at, p) for number, send_at, p in drafts],
            )
        while queue.any_unseen(conn):
            with writing(conn):
                queue.see_new(conn, None)


def claimed(outbox, **facts):
    """Claim what is due, and return the ids."""
    with outbox.reading() as conn, writing(conn):
        return [draft.id for draft in queue.claim(conn, Due(NOW, **facts))]


@contextmanager
def counted(outbox):
    """Count the steps of SQLite's machine, in hundreds."""
    steps = [0]

    def step():
        steps[0] += 1

    with outbox.reading() as conn:
        conn.set_progress_handler(step, 100)
        yield steps
        conn.set_progress_handler(None, 0)


def test_what_is_for_later_costs_nothing(outbox):
    insert(outbox, *((number, LATER, 0) for number in range(MANY)))

    with counted(outbox) as steps:
        assert not outbox.anything_due(Due(NOW, lifetime_s=DAY_S))
        assert outbox.next_time_s(NOW) > DAY_S
        assert outbox.expire(NOW, DAY_S) == 0
    assert steps[0] < MANY / 100

    insert(outbox, (MANY, None, 0))
    with counted(outbox) as steps:
        assert outbox.anything_due(Due(NOW, lifetime_s=DAY_S))
        assert claimed(outbox, lifetime_s=DAY_S) == [MANY + 1]
    assert steps[0] < MANY / 100


@pytest.mark.parametrize("few", [0, 1_000], ids=["many whose time has come", "few"])
def test_the_order_is_by_priority_and_number_whatever_had_a_time(outbox, monkeypatch, few):
    monkeypatch.setattr(queue, "FEW", few)
    times = [None, LATER, BEFORE, None, BEFORE, LATER, BEFORE, None]
    priorities = [0, 9, 0, 5, 5, 0, 0, 0]
    insert(outbox, *zip(range(8), times, priorities, strict=True))

    assert claimed(outbox, batch=3) == [4, 5, 1]
    assert claimed(outbox) == [3, 7, 8]
    assert claimed(outbox) == []


def test_by_a_wrong_clock_nothing_goes_that_has_a_time(outbox):
    insert(outbox, (1, BEFORE, 0), (2, None, 0))

    assert claimed(outbox, clock_right=False) == [2]


def test_many_drafts_expire_some_at_a_time(outbox, monkeypatch):
    insert(outbox, *((number, None, 0) for number in range(1, 6)))
    monkeypatch.setattr(queue, "AT_ONCE", 2)
    expire, seen = queue.expire, []

    def watched(*arguments):
        seen.append(other.execute("select count(*) from outbox where status = 'queued'").fetchone())
        return expire(*arguments)

    monkeypatch.setattr(queue, "expire", watched)
    with closing(sqlite3.connect(outbox.path)) as other:
        assert outbox.expire(NOW + timedelta(days=2), DAY_S) == 5

    assert seen == [(5,), (3,), (1,)]


def test_only_what_is_still_queued_expires_and_it_says_why_it_waited(outbox):
    insert(outbox, (1, None, 0), (2, None, 0))
    later = NOW + timedelta(days=2)
    with outbox.reading() as conn:
        ids = queue.expired(conn, later, DAY_S)

    with outbox.writing() as conn:
        conn.execute("update outbox set status = 'held' where id = 1")
        conn.execute(
            "update outbox set error = 'the service is busy',"
            " updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now') where id = 2"
        )
        assert queue.expire(conn, ids, later, DAY_S) == 1

    with outbox.reading() as conn:
        drafts = conn.execute("select id, status, error from outbox order by id").fetchall()
    assert drafts == [
        (1, "held", None),
        (2, "expired", "its time passed before it went out: the service is busy"),
    ]


def test_what_had_a_time_expires_as_well(outbox):
    insert(outbox, (1, BEFORE, 0), (2, LATER, 0), (3, None, 0))

    assert outbox.expire(NOW + timedelta(hours=2), 3600) == 2
    with outbox.reading() as conn:
        statuses = conn.execute("select status from outbox order by id").fetchall()
    assert statuses == [("expired",), ("queued",), ("expired",)]
