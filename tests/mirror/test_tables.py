"""The tables and views that follow from messages and devices: contacts, search, health, stuck."""

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from datasette.utils import detect_fts
from hypothesis import given
from hypothesis import strategies as st

from semysync.mirror.store import Store
from semysync.mirror.tables.marks import Mark
from semysync.mirror.tables.passes import Pass
from semysync.model import Box, Received, Sent
from semysync.times import utc_text

NOW = datetime.now(UTC)

TRUTH = """
select contact, max(at), count(iif(direction = 'in', 1, null)), count(iif(direction = 'out', 1, null))
  from messages
 where contact is not null
 group by contact
 order by contact
"""
KEPT = "select contact, last_at, received, sent from contacts order by contact"

phones = st.sampled_from([None, "+79201234567", "+447700900123", "Beeline", ""])
moments = st.none() | st.integers(0, 5).map(lambda n: datetime(2026, 1, 1, n))
incoming = st.builds(
    Received,
    id=st.integers(1, 8),
    device_id=st.none() | st.integers(1, 2),
    phone=phones,
    text=st.sampled_from([None, "one word", "two words", "слово"]),
    channel=st.just("sms"),
    received_at=moments,
)


def outgoing(message):
    values = dict.fromkeys(Sent.__struct_fields__)
    shared = {name: getattr(message, name) for name in ("id", "phone", "text", "channel")}
    return Sent(**values | shared | {"created_at": message.received_at})


def index_of(store, box):
    """Return each word with its place, and SQLite's count of the texts and their words."""
    run = store._db.execute
    run(f"create virtual table temp.words using fts5vocab (main, {box}_fts, instance)")
    words = run("select * from temp.words").fetchall()
    run("drop table temp.words")
    (totals,) = run(f"select block from {box}_fts_data where id = 1").fetchone()
    return words, totals.strip(b"\0")


def index_made_anew(store, box):
    store._db.execute(f"insert into {box}_fts ({box}_fts) values ('rebuild')")
    return index_of(store, box)


@given(st.lists(st.tuples(st.booleans(), st.lists(incoming, max_size=6)), max_size=5))
def test_contacts_and_search_are_what_the_boxes_hold_after_any_history(tmp_path_factory, history):
    with Store.migrate(tmp_path_factory.mktemp("m") / "x.db") as store:
        for is_inbox, messages in history:
            if is_inbox:
                store.save(Box.INBOX, messages, now=NOW)
            else:
                store.save(Box.SENT, [outgoing(m) for m in messages], now=NOW)

        def ask(query):
            return store._db.execute(query).fetchall()

        assert ask(KEPT) == ask(TRUTH)
        for box in Box:
            assert index_of(store, box) == index_made_anew(store, box)
            found = ask(f"select rowid from {box}_fts where {box}_fts match 'word' order by rowid")
            assert found == ask(f"select id from {box} where text = 'one word' order by id")


def test_a_conversation_shows_its_last_message_and_what_is_unread(store, rows, received, sent):
    at = [datetime(2026, 1, 1, hour) for hour in range(4)]
    store.save(Box.INBOX, [received(n, received_at=at[n]) for n in (1, 3)], now=NOW)
    store.save(Box.SENT, [sent(7, created_at=at[2], text="Hello")], now=NOW)
    query = "select contact, last_text, last_direction, messages, unread from conversations"
    before = rows(query)
    rows("update contacts set read_until = '2026-01-01T02:00:00.000000Z', name = 'Ann'")

    assert before == [("+79201234567", "text 3", "in", 3, 2)]
    assert rows(query) == [("+79201234567", "text 3", "in", 3, 1)]
    store.save(Box.SENT, [sent(8, created_at=at[3], text="Bye")], now=NOW)
    assert rows("select name, last_text, sent from conversations") == [("Ann", "Bye", 2)]


def test_datasette_finds_the_search_of_both_boxes(store):
    conn = sqlite3.connect(store.path)

    assert detect_fts(conn, "inbox") == "inbox_fts"
    assert detect_fts(conn, "sent") == "sent_fts"
    assert detect_fts(conn, "messages") is None


def test_a_deleted_message_is_found_no_more(store, rows, received):
    store.save(Box.INBOX, [received(1, text="secret word"), received(2)], now=NOW)

    rows("delete from inbox where id = 1")

    assert rows("select rowid from inbox_fts where inbox_fts match 'secret'") == []
    rows("insert into inbox_fts (inbox_fts) values ('integrity-check')")


def test_samples_are_kept_of_battery_service_and_activity_only(store, rows, device):
    def see(minutes, **fields):
        at = NOW + timedelta(minutes=minutes)
        store.save_devices([device(351, **fields)], now=at, complete=True)

    see(0, battery=90)
    see(1, battery=90)
    see(2, battery=89)
    see(3, battery=89, label="desk")
    see(4, battery=89, label="desk", service_on=1)

    assert rows("select battery, service_on from device_samples") == [
        (90, None),
        (89, None),
        (89, 1),
    ]


def test_a_device_that_is_merely_in_touch_is_no_news(store, device):
    store.save_devices([device(last_active_at=datetime(2026, 1, 1))], now=NOW, complete=True)

    saved = store.save_devices(
        [device(last_active_at=datetime(2026, 1, 2))], now=NOW, complete=True
    )

    assert (saved.added, saved.changed) == (0, 0)


def test_the_account_has_a_row_for_each_change(store, rows, plan):
    assert store.save_account(plan(), now=NOW)
    assert not store.save_account(plan(), now=NOW)
    assert store.save_account(plan(messages_left=1729), now=NOW)

    assert rows("select messages_left, user_id from account order by id") == [
        (1730, 24),
        (1729, 24),
    ]


def note(store, kind, seconds_ago, error=None):
    at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    store.save_pass(Pass(kind=kind, started_at=utc_text(at), error=error), now=at)


@pytest.mark.parametrize(
    ("passes", "verdict", "lags"),
    [
        ([], "late", (None, None)),
        ([("inbox", 50, None), ("sent", 90, None)], "ok", (50, 90)),
        ([("inbox", 50, None)], "late", (50, None)),
        ([("inbox", 900, None), ("sent", 50, None)], "late", (900, 50)),
        ([("inbox", 5, None), ("sent", 90, None), ("sent", 5, "no network")], "failing", (5, 90)),
        ([("inbox", 5, None), ("sent", 90, "no network"), ("sent", 5, None)], "ok", (5, 5)),
        ([("inbox", 9000, None), ("sent", 9000, "no network")], "late", (9000, None)),
    ],
)
def test_health_is_read_off_the_passes(store, rows, passes, verdict, lags):
    for one in passes:
        note(store, *one)

    ((inbox, sent, error, found),) = rows(
        "select inbox_lag_s, sent_lag_s, last_error, verdict from health"
    )

    assert found == verdict
    for lag, expected in zip((inbox, sent), lags, strict=True):
        assert lag is None if expected is None else -1 <= lag - expected < 30
    assert (error is not None) == any(one[2] for one in passes[-1:])


def test_the_last_complete_pass_outlives_the_thinning_out(store, rows):
    note(store, "inbox", 7200)
    note(store, "inbox", 5, "no network")

    assert rows("select inbox_lag_s >= 7199 from health") == [(1,)]


@pytest.mark.parametrize(
    ("fields", "of_device", "reason"),
    [
        ({}, {}, "its device has not fetched it yet"),
        ({"is_send_to_phone": 1}, {}, "its device has it, and has said nothing of it since"),
        ({}, {"archived": 1}, "its device is archived"),
        ({}, {"service_on": 0}, "the service is switched off in the app"),
        ({}, {"last_active_at": datetime(2026, 1, 1)}, "its device is out of reach"),
        ({"device_id": 999}, {}, "its device is gone from the account"),
        ({"is_out": 1}, {}, None),
        ({"is_send": 1}, {}, None),
        ({"is_delivered": 1}, {}, None),
        ({"is_error": 1}, {}, None),
        ({"is_cancel": 1}, {}, None),
        ({"created_at": NOW.replace(tzinfo=None)}, {}, None),
    ],
)
def test_messages_that_do_not_move_are_shown_with_the_likely_reason(  # noqa: PLR0917
    store, rows, sent, device, fields, of_device, reason
):
    store.save_devices([device(**of_device)], now=NOW, complete=True)
    long_ago = {"created_at": datetime(2026, 1, 1)}
    store.save(Box.SENT, [sent(1, **long_ago | fields)], now=NOW)

    assert rows("select reason from stuck") == ([(reason,)] if reason else [])


def test_no_query_of_the_daemon_reads_a_whole_box(store):
    """Once the history is loaded, the cost of a quiet pull must not follow its size."""
    from semysync.mirror.tables import boxes, clocks, marks

    for box in Box:
        store.make_indexes(box)
    named = {"device_id": 1, "skip": 0, "above": 0, "box": "inbox", "id": 1}
    queries = [query for (_, whole), query in boxes.NEWEST.items() if not whole]
    queries += [*boxes.OLDEST.values(), marks.FIND]
    queries += [clocks.SENT_BY_PHONE, clocks.RECEIVED_BY_PHONE]
    for query in queries:
        values = (1,) if "?" in query else named
        plan = store._db.execute(f"explain query plan {query}", values).fetchall()
        assert not {"SCAN inbox", "SCAN sent"} & {step[3] for step in plan}, query


def test_indexes_are_made_after_a_first_load_and_once(store, rows):
    assert not rows("select 1 from sqlite_master where name = 'inbox_by_contact'")

    store.make_indexes(Box.INBOX)
    store.make_indexes(Box.INBOX)

    assert rows("select 1 from sqlite_master where name = 'inbox_by_contact'")
    assert store.mark(Box.INBOX, 1) == Mark()
