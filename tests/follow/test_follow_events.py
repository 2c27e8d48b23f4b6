"""The log of events: numbered without a gap, and thinned out by age."""

import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semysync.mirror import housekeeping
from semysync.mirror.file import connect, writing
from semysync.mirror.store import Store
from semysync.mirror.tables import followers
from semysync.times import utc_text

NOW = datetime.now(UTC)

DRAFT = "into outbox (phone, text, client_key) values ('+79201234567', 'Hello', {key})"
ACTS = st.sampled_from(
    [
        f"insert {DRAFT.format(key='null')}",
        f"insert {DRAFT.format(key=repr('a'))}",  # the second time it fails
        f"insert or ignore {DRAFT.format(key=repr('b'))}",
        f"insert or ignore {DRAFT.format(key='null')}",
        f"insert or replace {DRAFT.format(key=repr('a'))}",  # refused
        f"insert or fail {DRAFT.format(key=repr('a'))}, ('x', 'y', null)",
        f"insert or rollback {DRAFT.format(key=repr('a'))}",
        "insert into outbox (phone, text) values ('+79201234567', 'x'), ('no number', 'y')",
        "insert or fail into outbox (phone, text) values ('+79201234567', 'x'), ('no number', 'y')",
        "update outbox set status = 'held' where status = 'queued'",
        "update outbox set status = 'queued' where status = 'held'",
        "update outbox set status = 'cancelling'",  # fails where one is finished
        "update or fail outbox set status = 'sent'",
        "delete from outbox where status = 'cancelled'",
        "insert into events (kind) values ('message.received')",
        "savepoint s",
        "rollback to s",
        "release s",
        "begin",
        "commit",
        "rollback",
    ]
)


@settings(max_examples=40)
@given(st.lists(ACTS, min_size=5, max_size=40))
def test_numbers_have_no_gap_whatever_fails_or_is_taken_back(tmp_path_factory, acts):
    path = tmp_path_factory.mktemp("m") / "x.db"
    Store.migrate(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("pragma synchronous = off")
        for act in acts:
            with suppress(sqlite3.Error):
                conn.execute(act)
        with suppress(sqlite3.Error):
            conn.execute("commit")
        conn.execute("insert into events (kind) values ('message.received')")

        seqs = [row[0] for row in conn.execute("select seq from events order by seq")]

    assert seqs == list(range(1, len(seqs) + 1))


@pytest.fixture
def conn(mirror):
    with closing(connect(mirror)) as conn:
        yield conn


@pytest.fixture
def aged(conn):
    """Let events happen, so many days ago each."""

    def aged(*days):
        for age in days:
            at = utc_text(NOW - timedelta(days=age))
            conn.execute("insert into events (at, kind) values (?, 'message.received')", (at,))

    return aged


def thin_out(conn, named=()):
    return housekeeping.forget_events(conn, NOW, timedelta(days=90), named)


def seqs(conn):
    return [row[0] for row in conn.execute("select seq from events order by seq")]


def test_old_events_go_and_the_numbers_go_on(conn, aged):
    aged(100, 95, 80, 1)

    assert thin_out(conn) == 2
    assert seqs(conn) == [3, 4]
    assert thin_out(conn) == 0
    aged(0)
    assert seqs(conn) == [3, 4, 5]


def test_a_number_never_comes_twice_though_all_are_gone(conn, aged):
    aged(100, 100, 100)

    thin_out(conn)
    with writing(conn):
        followers.add(conn, ["new"], NOW)
    aged(0)

    assert seqs(conn) == [4]
    assert followers.positions(conn) == {"new": 3}


def test_no_gap_is_made_where_the_clock_has_jumped(conn, aged):
    aged(100, 80, 100, 1)  # the third was written while the clock was wrong

    thin_out(conn)

    assert seqs(conn) == [2, 3, 4]


def test_what_a_follower_has_not_seen_stays_as_long_as_it_is_named(conn, aged):
    aged(100, 100)
    with writing(conn):
        followers.add(conn, ["slow"], NOW)
    aged(99, 98, 97, 1)

    assert thin_out(conn, ["slow", "one that is not there yet"]) == 2
    assert seqs(conn) == [3, 4, 5, 6]
    assert thin_out(conn, ["slow"]) == 0

    assert thin_out(conn, ["another"]) == 3
    assert followers.positions(conn) == {}  # it could not go on without a gap


def test_one_that_is_not_named_and_has_seen_all_stays(conn, aged):
    aged(100, 100)
    with writing(conn):
        followers.add(conn, ["away"], NOW)

    thin_out(conn)

    assert followers.positions(conn) == {"away": 2}
    assert seqs(conn) == []


def test_deliveries_go_with_their_events(conn, aged):
    aged(100, 100, 1)
    with writing(conn):
        conn.execute("insert into followers values ('tell', 0, 'x')")
        for seq, status in ((1, "done"), (2, "dead"), (3, "dead")):
            delivery = followers.Delivery(
                follower="tell", seq=seq, kind="message.received", status=status
            )
            assert followers.keep(conn, delivery, seq - 1)

    thin_out(conn, ["tell"])

    assert conn.execute("select seq from deliveries").fetchall() == [(3,)]


def test_of_those_that_went_well_the_last_thousand_are_kept(conn, monkeypatch):
    monkeypatch.setattr(followers, "KEPT_DONE", 150)
    with writing(conn):
        conn.execute("insert into followers values ('tell', 0, 'x'), ('other', 0, 'x')")
        for seq in range(1, 400):
            for name in ("tell", "other"):
                status = "dead" if seq == 7 else "done"
                delivery = followers.Delivery(
                    follower=name, seq=seq, kind="message.received", status=status
                )
                followers.keep(conn, delivery, seq - 1)

    kept = [row[0] for row in conn.execute("select seq from deliveries where follower = 'tell'")]
    assert kept[0] == 7
    assert 150 <= len(kept) - 1 <= 150 + followers.THIN_OUT_EVERY
