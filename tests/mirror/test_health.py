"""The view `health` by its own arithmetic, through jumps of clocks, pauses on purpose and long loads."""

import sqlite3
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from semysync.mirror.reading.health import condition
from semysync.mirror.tables.passes import Pass
from semysync.model import Box
from semysync.times import utc_text

BOXES = [("inbox", 5, None), ("sent", 5, None)]
NO = "no network"


@pytest.fixture
def health(store, rows):
    """Note passes (kind, seconds ago, error), the earliest first; return verdict and last error."""

    def health(*passes):
        for kind, ago, error in passes:
            at = datetime.now(UTC) - timedelta(seconds=ago)
            store.save_pass(Pass(kind=kind, started_at=utc_text(at), error=error), now=at)
        return rows("select verdict, last_error from health")[0]

    return health


def test_before_the_first_pass_it_is_late(health, rows):
    assert health() == ("late", None)
    assert rows("select inbox_lag_s, sent_lag_s, queued, oldest_waiting_s from health") == [
        (None, None, 0, None)
    ]


def test_it_has_one_row_with_the_columns_of_the_contract(rows, store):
    cursor = store._db.execute("select * from health")

    assert [column[0] for column in cursor.description] == [
        "inbox_lag_s",
        "sent_lag_s",
        "queued",
        "oldest_waiting_s",
        "last_error",
        "verdict",
        "drilled_at",
        "drill_error",
    ]
    assert len(cursor.fetchall()) == 1


def test_a_first_load_that_runs_for_an_hour_is_late_and_no_failure(health):
    """Passes of other kinds come to an end all the while."""
    loading = [("devices", ago, None) for ago in range(3600, 0, -60)]

    assert health(*loading) == ("late", None)


@pytest.mark.parametrize("kind", ["devices", "account", "refresh", "purge", "verify"])
def test_a_kind_that_fails_alone_is_told(health, kind):
    assert health(*BOXES, (kind, 4, None), (kind, 2, NO)) == ("failing", NO)


def test_one_failure_of_what_runs_once_a_day_is_not_a_day_of_failing(health):
    assert health(("verify", 90_000, None), ("verify", 3600, NO), *BOXES) == ("ok", NO)


def test_the_second_failure_in_a_row_is_told_for_as_long_as_it_lasts(health):
    failed = [("verify", 90_000, NO), ("verify", 3600, NO)]

    assert health(*failed, *BOXES) == ("failing", NO)
    assert health(("verify", 1, None)) == ("ok", None)


def test_the_latest_of_several_errors_is_shown(health):
    assert health(("inbox", 9, "first"), ("sent", 8, "second"), ("devices", 7, None))[1] == "second"


@pytest.mark.parametrize(("idle", "verdict"), [(290, "failing"), (890, "failing"), (1000, "late")])
def test_a_daemon_that_backs_off_is_failing_and_not_dead(health, idle, verdict):
    down = [("inbox", 2000, None), ("sent", 2000, None), ("inbox", idle, NO)]

    assert health(*down) == (verdict, NO)


@pytest.mark.parametrize(("idle", "verdict"), [(290, "ok"), (310, "late")])
def test_a_daemon_that_was_well_and_is_silent_is_late_at_once(health, idle, verdict):
    assert health(("inbox", idle, None), ("sent", idle, None))[0] == verdict


def test_how_late_is_late_follows_the_intervals_of_the_daemon(health, store):
    store.set_setting("late_after_s", "18000")

    assert health(("inbox", 17_000, None), ("sent", 17_000, None)) == ("ok", None)


@pytest.mark.parametrize("jump", [86_400, 3600])
def test_passes_from_a_future_that_was_a_mistake_hide_no_dead_daemon(health, rows, jump):
    """Our clock was ahead, and is right again; nothing has been noted since."""
    assert health(("inbox", -jump, None), ("sent", -jump, None)) == ("late", None)
    assert rows("select inbox_lag_s, sent_lag_s from health") == [(None, None)]


def test_passes_after_such_a_future_count_at_once(health, rows):
    wrong = [("inbox", -86_400, None), ("sent", -86_400, None)]

    assert health(*wrong, *BOXES) == ("ok", None)
    assert rows("select inbox_lag_s between 4 and 60 from health") == [(1,)]


def test_a_clock_that_went_on_by_a_day_is_late_until_the_next_passes(health):
    day = 86_400

    assert health(("inbox", day, None), ("sent", day, None))[0] == "late"
    assert health(*BOXES) == ("ok", None)


def test_a_failure_from_the_future_is_not_fresh_for_ever(health):
    assert health(("account", -86_400, NO), *BOXES) == ("ok", NO)


def test_some_seconds_of_disagreement_are_nothing(health, rows):
    assert health(("inbox", -30, None), ("sent", -30, None)) == ("ok", None)
    assert rows("select inbox_lag_s, sent_lag_s from health") == [(0, 0)]


def test_sending_that_is_stopped_is_failing_with_the_reason(health, store):
    store.set_setting("sending_blocked", "no device can send")

    assert health(*BOXES) == ("failing", "no device can send")
    store.set_setting("sending_blocked", "")
    assert health() == ("ok", None)


def test_the_queue_is_what_is_due(store, rows):
    add = "insert into outbox (phone, text, send_at) values ('+79201234567', 'x', ?)"
    soon = utc_text(datetime.now(UTC) + timedelta(hours=1))
    for send_at in (None, None, soon):
        rows(add, send_at)

    assert rows("select queued, oldest_waiting_s between 0 and 60 from health") == [(2, 1)]


def test_the_view_reads_no_more_than_it_must_of_a_month_of_passes(store, rows):
    store._db.executescript("""
        with recursive n (i) as (values (1) union all select i + 1 from n where i < 20000)
        insert into passes (kind, started_at, finished_at, requests, added, changed, illegible, error)
        select 'inbox', '2026', '2026', 0, 0, 0, 0, 'no network' from n;
    """)
    steps = 0

    def count():
        nonlocal steps
        steps += 1

    store._db.conn.set_progress_handler(count, 100)
    rows("select * from health")
    store._db.conn.set_progress_handler(None, 0)

    assert steps < 40


@pytest.mark.parametrize(("hours", "since"), [(2, []), (20, [(1,)])])
def test_by_an_unknown_clock_a_message_is_stuck_only_when_it_surely_is(
    store, rows, sent, hours, since
):
    now = datetime.now(UTC)
    printed = (now - timedelta(hours=hours)).replace(tzinfo=None)
    store.save(Box.SENT, [sent(1, created_at=printed)], now=now)

    assert rows("select id from stuck") == since


@pytest.mark.parametrize(
    ("quiet_until", "stuck"),
    [(None, [1, 2]), ("2026-01-01T08:00:00.000000Z", [1, 2]), ("2099-01-01T08:00:00.000000Z", [2])],
)
def test_a_draft_that_waits_for_the_end_of_quiet_hours_is_not_stuck(
    store, rows, quiet_until, stuck
):
    for priority in (0, 1):
        rows("insert into outbox (phone, text, priority) values ('+79201234567', 'x', ?)", priority)
    rows("drop trigger outbox_edit")  # else no draft can be old here
    rows("update outbox set created_at = '2026-01-01T03:00:00.000000Z'")
    store.set_setting("quiet_until", quiet_until)

    assert rows("select id from stuck order by id") == [(number,) for number in stuck]


def test_a_message_that_the_account_lost_says_so(store, rows, sent):
    now = datetime.now(UTC)
    store.save(Box.SENT, [sent(1, created_at=datetime(2026, 1, 1))], now=now)
    rows("update sent set missing_since = '2026-02-01'")

    assert rows("select reason from stuck") == [("the account does not show it any more",)]


def test_a_phone_that_was_told_to_be_offline_is_out_of_reach(store, rows, sent, device):
    now = datetime.now(UTC)
    store.save_devices([device()], now=now, complete=True)
    store.save(Box.SENT, [sent(1, created_at=datetime(2026, 1, 1))], now=now)
    rows("update device_states set offline_since = '2026-02-01'")

    assert rows("select reason from stuck") == [("its device is out of reach",)]


def test_what_interrupts_a_look_at_the_mirror_is_no_fault_of_the_mirror(store):
    conn = store._db.conn
    steps = count()
    conn.set_progress_handler(lambda: next(steps) == 50, 1)  # when it has begun to read

    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        condition(conn, datetime.now(UTC))


def test_what_cannot_be_read_is_told_once_until_it_is_read_again(store, rows):
    now = datetime.now(UTC)
    for _ in range(2):
        store.tell_failing("inbox", Box.INBOX, "unreadable", now=now)

    assert rows("select kind, box, data from events") == [
        ("pull.failing", "inbox", '{"cause": "unreadable"}')
    ]
