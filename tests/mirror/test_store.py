"""The mirror on disk: what is stored together, what is kept, what is never overwritten."""

import json
import re
import sqlite3
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from semysync.mirror.outbox import drafts
from semysync.mirror.reading.plots import PLOTS
from semysync.mirror.reading.queries import QUERIES
from semysync.mirror.store import Saved, Store
from semysync.mirror.tables import boxes, pending
from semysync.mirror.tables.marks import Mark
from semysync.mirror.tables.passes import Pass
from semysync.model import Box, Illegible, Received
from semysync.times import utc_text

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def test_messages_and_mark_are_stored_together(store, rows, received):
    saved = store.save(Box.INBOX, [received(1), received(2)], now=NOW, mark=(351, Mark(last_id=2)))

    assert saved == Saved(added=2)
    assert rows("select id, text, contact, received_at, utc_offset from inbox") == [
        (1, "text 1", "+79201234567", "2026-11-23T09:41:13.000000Z", None),
        (2, "text 2", "+79201234567", "2026-11-23T09:41:13.000000Z", None),
    ]
    assert store.mark(Box.INBOX, 351).last_id == 2


def test_nothing_is_stored_where_the_mark_cannot_be(store, rows, received):
    with pytest.raises(sqlite3.IntegrityError):
        store.save(Box.INBOX, [received(1)], now=NOW, mark=(351, Mark(last_id=None)))

    assert rows("select * from inbox") == []


def test_devices_of_messages_that_could_not_be_stored_are_not_taken_for_known(
    store, rows, received
):
    with pytest.raises(sqlite3.IntegrityError):
        store.save(Box.INBOX, [received(1)], now=NOW, mark=(351, Mark(last_id=None)))

    store.save(Box.INBOX, [received(1)], now=NOW)

    assert rows("select id from devices") == [(351,)]


def test_the_same_messages_again_change_nothing(store, received):
    store.save(Box.INBOX, [received(1), received(2)], now=NOW)
    before = store._db.conn.total_changes

    assert store.save(Box.INBOX, [received(2), received(1)], now=NOW) == Saved()
    assert store._db.conn.total_changes == before


def test_a_message_twice_in_one_answer_is_one_message(store, rows, received):
    saved = store.save(Box.INBOX, [received(1), received(1), received(1, text="new")], now=NOW)

    assert saved == Saved(added=1)
    assert rows("select text from inbox") == [("new",)]


def test_a_changed_text_is_taken_and_the_former_one_kept(store, rows, received):
    store.save(Box.INBOX, [received(1, extra={"sim": 2})], now=NOW)
    store.save(Box.INBOX, [received(1, text="edited", extra={"sim": 2})], now=NOW)

    ((text, changed_at, extra),) = rows("select text, changed_at, extra from inbox")

    assert (text, changed_at) == ("edited", utc_text(NOW))
    former = [{"text": "text 1", "until": utc_text(NOW)}]
    assert json.loads(extra) == {"sim": 2, "former": former}


def test_statuses_become_true_and_are_not_lost_where_a_field_is_missing(store, rows, sent):
    store.save(Box.SENT, [sent(1)], now=NOW)
    store.save(
        Box.SENT, [sent(1, is_send_to_phone=1, handed_at=datetime(2026, 11, 23, 9))], now=NOW
    )
    store.save(Box.SENT, [sent(1, is_send=1, is_delivered=1)], now=NOW)
    store.save(Box.SENT, [sent(1)], now=NOW)

    assert rows("select status, is_send_to_phone, is_send, is_delivered, handed_at from sent") == [
        ("delivered", 1, 1, 1, "2026-11-23T09:00:00.000000Z")
    ]


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        ({}, "accepted"),
        ({"is_send_to_phone": 1}, "on_phone"),
        ({"is_send_to_phone": 1, "is_cancel": 1}, "cancelled"),
        ({"is_cancel": 1, "is_send": 1}, "sent"),
        ({"is_send": 1, "is_error": 1}, "failed"),
        ({"is_error_send": 1}, "failed"),
        ({"is_error": 1, "is_error_send": 1, "is_delivered": 1}, "delivered"),
    ],
)
def test_the_first_flag_that_holds_is_the_status(store, rows, flags, status, sent):
    store.save(Box.SENT, [sent(1, **flags)], now=NOW)

    assert rows("select status from sent") == [(status,)]


def test_an_id_that_comes_back_as_another_message_overwrites_nothing(store, rows, received):
    other = received(1, phone="+4477", text="other", received_at=datetime(2026, 12, 1))
    store.save(Box.INBOX, [received(1)], now=NOW)

    saved = store.save(Box.INBOX, [other], now=NOW)
    store.save(Box.INBOX, [other], now=NOW + timedelta(hours=1))

    assert saved == Saved(illegible=1)
    assert rows("select text from inbox") == [("text 1",)]
    ((number, reason, row, times),) = rows("select message_id, reason, row, times from conflicts")
    assert (number, reason, times) == (1, "this id belongs to another message already", 2)
    assert msgspec.json.decode(row, type=Received) == other


def test_an_illegible_row_is_kept_once_however_often_it_comes(store, rows, sent):
    bad = Illegible("no id", '{"msg":"lost"}')

    for hour in range(3):
        store.save(Box.SENT, [sent(7)], [bad], now=NOW + timedelta(hours=hour))

    assert rows("select box, message_id, row, times from conflicts") == [
        ("sent", None, '{"msg":"lost"}', 3)
    ]
    assert rows("select id from sent") == [(7,)]


def test_a_mark_never_moves_back(store):
    store.save_mark(Box.INBOX, 351, Mark(last_id=10, lookback_id=5, lookback_next_id=9))
    store.save_mark(Box.INBOX, 351, Mark(last_id=7, lookback_id=2, lookback_next_id=3))

    mark = store.mark(Box.INBOX, 351)

    assert (mark.last_id, mark.lookback_id, mark.lookback_next_id) == (10, 5, 9)


def test_marks_of_boxes_and_devices_are_apart(store):
    store.save_mark(Box.INBOX, 351, Mark(last_id=10))
    store.save_mark(Box.SENT, 351, Mark(last_id=20))

    assert store.mark(Box.INBOX, 351).last_id == 10
    assert store.mark(Box.SENT, 351).last_id == 20
    assert store.mark(Box.INBOX, 352) == Mark()


def test_the_newest_id_of_a_device_and_of_the_account(store, received):
    store.save(Box.INBOX, [received(1), received(2), received(9, device_id=352)], now=NOW)

    assert store.newest(Box.INBOX, 351) == 2
    assert store.newest(Box.INBOX, 0) == 9
    assert store.newest(Box.INBOX, 0, skip=1) == 2
    assert store.newest(Box.INBOX, 351, skip=2) == 0


def test_devices_are_brought_up_to_date_and_marked_when_they_vanish(store, rows, device):
    store.save_devices([device(351), device(352)], now=NOW, complete=True)
    later = NOW + timedelta(minutes=1)

    quiet = store.save_devices([device(351), device(352)], now=later, complete=True)
    saved = store.save_devices([device(351, battery=50)], now=later, complete=True)

    assert (quiet, saved) == (Saved(), Saved(changed=2))
    assert rows("select id, battery, changed_at, missing_since from devices") == [
        (351, 50, utc_text(later), None),
        (352, None, None, utc_text(later)),
    ]
    store.save_devices([device(352)], now=later, complete=False)
    assert rows("select missing_since from devices where id = 352") == [(None,)]


def test_a_device_is_missing_since_it_was_first_missed(store, rows, device):
    store.save_devices([device(351), device(352)], now=NOW, complete=True)
    first = store.save_devices([device(351)], now=NOW + timedelta(minutes=1), complete=True)

    again = store.save_devices([device(351)], now=NOW + timedelta(minutes=2), complete=True)

    assert (first.changed, again.changed) == (1, 0)
    since = utc_text(NOW + timedelta(minutes=1))
    assert rows("select missing_since from devices order by id") == [(None,), (since,)]


def test_an_incomplete_list_makes_no_device_missing(store, rows, device):
    store.save_devices([device(351), device(352)], now=NOW, complete=True)

    store.save_devices([device(351)], now=NOW, complete=False)

    assert rows("select id from devices where missing_since is not null") == []


def test_a_device_that_is_seen_in_messages_only_is_known_and_not_called_missing(
    store, rows, received, device
):
    store.save(Box.INBOX, [received(1, device_id=999)], now=NOW)
    store.save_devices([device(351)], now=NOW, complete=True)

    assert store.device_ids() == {351: True, 999: False}
    assert rows("select missing_since, mirrored_at from devices where id = 999") == [(None, None)]


def test_quiet_passes_are_forgotten_and_others_stay_for_a_month(store, rows):
    def note(hours_ago, **fields):
        at = NOW - timedelta(hours=hours_ago)
        store.save_pass(Pass(kind="inbox", started_at=utc_text(at), **fields), now=at)

    note(24 * 40, added=1)
    note(3)
    note(3, added=5)
    note(2, error="no network")
    for _ in range(96):
        note(0, added=1)

    assert rows("select added, error from passes order by id") == [
        (5, None),
        (0, "no network"),
        *[(1, None)] * 96,
    ]


def test_the_plan_of_the_newest_messages_merges_by_index(store, rows):
    for box in Box:
        store.make_indexes(box)
    plan = rows("explain query plan select * from messages order by at desc limit 50")
    by_contact = rows(
        "explain query plan select * from messages where contact = '+7' order by at desc limit 50"
    )

    for steps in (plan, by_contact):
        text = " ".join(step[3] for step in steps)
        assert "MERGE (UNION ALL)" in text
        assert "TEMP B-TREE" not in text


@pytest.mark.parametrize(
    ("query", "found_by"),
    [
        ("select * from stuck", "sent_open"),
        (boxes.WAITING, "sent_open"),
        (drafts.OPEN_MESSAGES, "sent_open"),
        (pending.ROUSE, "sent USING INTEGER PRIMARY KEY"),
    ],
)
def test_what_is_open_is_found_without_the_history_of_its_device(store, query, found_by):
    store.make_indexes(Box.SENT)
    named = {"device": 351, "device_id": 351, "now": "2026", "most": 100}

    steps = store._db.execute(f"explain query plan {query}", named).fetchall()

    plan = " ".join(step[3] for step in steps)
    assert found_by in plan
    assert "sent_by_device" not in plan


@pytest.mark.parametrize(
    "asked", [one for one in (*QUERIES, *PLOTS) if "'now'" in one.sql], ids=lambda one: one.name
)
def test_what_is_asked_of_the_last_days_is_found_without_the_years_before(store, rows, asked):
    for box in Box:
        store.make_indexes(box)

    steps = [step[3] for step in rows(f"explain query plan {asked.sql}")]

    whole = re.compile(r"SCAN (inbox|sent|sample|device_samples)\b")
    assert not list(filter(whole.match, steps))


def test_a_writer_in_between_makes_a_store_wait_not_fail(store, tmp_path, received):
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("begin immediate")
    other.execute("insert into devices (id, first_seen_at) values (1, '')")
    store._db.execute("pragma busy_timeout = 1")

    with pytest.raises(Exception, match="another program has been writing") as raised:
        store.save(Box.INBOX, [received(1)], now=NOW)

    assert raised.value.exit_code == 75
    other.execute("commit")
    assert store.save(Box.INBOX, [received(1)], now=NOW).added == 1


def test_no_space_left_is_told_and_nothing_is_stored_half(store, rows, received):
    pages = rows("pragma page_count")[0][0]
    store._db.execute(f"pragma max_page_count = {pages + 2}")
    many = [received(number, text="x" * 3000) for number in range(1, 50)]

    with pytest.raises(Exception, match="no space left") as raised:
        store.save(Box.INBOX, many, now=NOW, mark=(351, Mark(last_id=49)))

    assert raised.value.exit_code == 75
    assert rows("select count(*) from inbox") == [(0,)]
    store._db.execute("pragma max_page_count = 1000000")
    assert store.save(Box.INBOX, many, now=NOW).added == 49


def test_a_mirror_can_be_opened_again(store, received):
    store.save(Box.INBOX, [received(1)], now=NOW)

    with Store.open(store.path) as again:
        assert again.newest(Box.INBOX, 351) == 1
    with Store.migrate(store.path) as again:
        assert again.newest(Box.INBOX, 351) == 1


def test_a_pull_that_is_behind_puts_no_look_back_off(store):
    """Two programs pull at once; the slower one must not turn the look back to an older time."""
    ahead = Mark(last_id=20, lookback_next_id=20, lookback_at=utc_text(NOW + timedelta(minutes=11)))
    behind = Mark(last_id=10, lookback_next_id=10, lookback_at=utc_text(NOW))

    store.save_mark(Box.INBOX, 351, ahead)
    store.save_mark(Box.INBOX, 351, behind)

    assert store.mark(Box.INBOX, 351).lookback_at == ahead.lookback_at


@pytest.mark.parametrize(("texts", "kept"), [(2, 2), (1000, 100)])
def test_a_row_that_never_comes_to_rest_does_not_grow_for_ever(store, rows, received, texts, kept):
    """Found by `python -m tests.fuzz passes`: an answer with thousands of rows of one id."""
    store.save(Box.INBOX, [received(1, text=f"text {n % texts}") for n in range(1000)], now=NOW)

    ((extra,),) = rows("select extra from inbox")
    assert len(json.loads(extra)["former"]) == kept


def test_a_number_or_a_date_that_changes_is_kept_as_former(store, rows, received):
    store.save(Box.INBOX, [received(1, extra={"sim": 2, "former": 5})], now=NOW)
    moved = received(1, phone="+4477", received_at=datetime(2026, 12, 1))

    store.save(Box.INBOX, [moved], now=NOW)

    ((extra,),) = rows("select extra from inbox")
    assert json.loads(extra) == {
        "sim": 2,
        "former": [
            5,
            {
                "phone": "+79201234567",
                "date": "2026-11-23T09:41:13.000000Z",
                "until": utc_text(NOW),
            },
        ],
    }


def test_a_clash_with_half_a_character_in_it_stops_nothing(store, rows, received):
    other = received(
        1, phone="+4477", text="b", received_at=datetime(2026, 12, 1), extra={"x": ["\ud83d"]}
    )
    store.save(Box.INBOX, [received(1)], now=NOW)

    store.save(Box.INBOX, [received(2)], [], now=NOW)
    store.save(Box.INBOX, [other, received(3)], now=NOW)

    assert rows("select id from inbox") == [(1,), (2,), (3,)]
    assert rows("select message_id from conflicts") == [(1,)]
