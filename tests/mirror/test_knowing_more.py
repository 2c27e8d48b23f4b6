"""Rows are put right when more is known: of clocks, of regions, of zones."""

import json
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semysync.mirror import corrections
from semysync.mirror.outbox import queue
from semysync.mirror.store import Store
from semysync.mirror.tables import boxes, unconfirmed
from semysync.mirror.tables.rows import TABLES, Writing
from semysync.mirror.tables.unconfirmed import Hint
from semysync.model import Box, Received, Sent
from semysync.times import Clock, Clocks, Locale, utc_text, zone_named

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
AT = datetime(2026, 11, 23, 9, 41, 13)

naive = st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2037, 1, 1))
clocks = st.sampled_from(
    [
        Clock(),
        Clock(offset=180),
        Clock(offset=-570),
        Clock(zone_named("+05:30")),
        Clock(zone_named("Europe/Berlin")),
        Clock(zone_named("America/New_York")),
    ]
)
sent_messages = st.builds(
    Sent,
    id=st.just(1),
    device_id=st.just(351),
    phone=st.none() | st.just("89201234567"),
    text=st.none() | st.text(max_size=3),
    channel=st.just("sms"),
    **{name: st.sampled_from([0, 1]) for name in Sent.__struct_fields__ if name.startswith("is_")},
    **{name: st.none() | naive for name in Sent.__struct_fields__ if name.endswith("_at")},
    extra=st.none() | st.just({"sim": 2}),
)
received_messages = st.builds(
    Received,
    id=st.just(1),
    device_id=st.none() | st.just(351),
    phone=st.none() | st.just("Beeline"),
    text=st.none() | st.text(max_size=3),
    channel=st.just("sms"),
    received_at=st.none() | naive,
    extra=st.none() | st.just({"sim": 2}),
)


@given(sent_messages, clocks, clocks)
def test_a_sent_message_can_be_read_back_whatever_was_assumed(message, service, phone):
    table = TABLES[Box.SENT]

    row = table.row(message, Writing(Clocks(service, any_phone=phone)), "")

    assert table.message(row) == message


@given(received_messages, clocks)
def test_a_received_message_can_be_read_back_whatever_was_assumed(message, phone):
    table = TABLES[Box.INBOX]

    row = table.row(message, Writing(Clocks(any_phone=phone)), "")

    assert table.message(row) == message


@given(sent_messages, clocks, clocks, clocks, clocks)
def test_writing_anew_knows_no_history(message, service, phone, later_service, later_phone):
    """Zones replace what was assumed; an offset that was assumed stays until a zone is given."""
    table = TABLES[Box.SENT]
    first = table.row(message, Writing(Clocks(service, any_phone=phone)), "")
    later = Writing(Clocks(later_service, any_phone=later_phone))

    once = table.again(table.message(first), first, later)

    assert table.again(table.message(once), once, later) == once
    assert table.message(once) == message


def test_a_change_of_the_clocks_between_two_times_of_a_message_loses_neither():
    """Berlin, 25 October 2026: at three in the morning it is two again."""
    berlin = Clock(zone_named("Europe/Berlin"))
    message = Sent(
        **dict.fromkeys(Sent.__struct_fields__)
        | {"id": 1, "channel": "sms", "created_at": datetime(2026, 10, 25, 1, 59)}
        | {"handed_at": datetime(2026, 10, 25, 3, 1)}
    )
    table = TABLES[Box.SENT]

    row = table.row(message, Writing(Clocks(berlin)), "")

    assert row[6:8] == ("2026-10-24T23:59:00.000000Z", "2026-10-25T02:01:00.000000Z")
    assert row[20] == 120
    assert json.loads(row[19]) == {"send_to_phone": "2026-10-25 03:01:00"}


def test_rows_wait_for_their_offset_and_are_put_right(store, rows, received, sent, device):
    store.save_devices([device(351)], now=NOW, complete=True)
    store.save(Box.INBOX, [received(1, received_at=AT)], now=NOW)
    store.save(Box.SENT, [sent(1, created_at=AT, sent_at=AT)], now=NOW)
    before = rows("select received_at, utc_offset from inbox")

    store.learn_offsets(180, {351: 300})

    assert before == [("2026-11-23T09:41:13.000000Z", None)]
    assert rows("select received_at, utc_offset from inbox") == [
        ("2026-11-23T04:41:13.000000Z", 300)
    ]
    assert rows("select created_at, utc_offset, sent_at, phone_utc_offset from sent") == [
        ("2026-11-23T06:41:13.000000Z", 180, "2026-11-23T04:41:13.000000Z", 300)
    ]
    assert rows("select last_at, last_direction from contacts") == [
        ("2026-11-23T06:41:13.000000Z", "out")
    ]
    assert rows("select changed_at from inbox") == [(None,)]


def test_new_rows_use_what_was_learnt_and_old_ones_keep_what_was_assumed(store, rows, sent):
    """When the clocks change, messages from before the change must not move."""
    store.learn_offsets(180, {})
    store.save(Box.SENT, [sent(1, created_at=AT)], now=NOW)
    store.learn_offsets(120, {})

    store.save(Box.SENT, [sent(1, created_at=AT), sent(2, created_at=AT)], now=NOW)

    assert rows("select id, created_at, utc_offset from sent order by id") == [
        (1, "2026-11-23T06:41:13.000000Z", 180),
        (2, "2026-11-23T07:41:13.000000Z", 120),
    ]


def in_utc(hour, minute=0):
    return datetime(2026, 10, 25, hour, minute, tzinfo=UTC)


@pytest.fixture
def a_night(store, received, sent, device):
    """
    A phone and a service in Berlin, where at one in the night, in UTC, clocks go back by an hour.

    Before and after it something comes every ten minutes and is mirrored at once; but one message of
    each kind is late. Till three nobody knows that the clocks have changed.
    """

    def make(change):
        store.save_devices([device(351)], now=in_utc(0), complete=True)
        store.learn_offsets(120, {351: 120})
        times = [in_utc(hour, minute) for hour in range(3) for minute in range(0, 60, 10)]
        for n, moment in enumerate(times, start=1):
            then = moment - timedelta(hours=3) if n in {4, 10} else moment
            offset = 120 if then < in_utc(1) else 120 + change
            printed = (then + timedelta(minutes=offset)).replace(tzinfo=None)
            store.save(Box.INBOX, [received(n, received_at=printed)], now=moment)
            fields = dict.fromkeys(("created_at", "handed_at", "sent_at"), printed)
            store.save(Box.SENT, [sent(n, **fields)], now=moment)
        return times

    return make


@pytest.mark.parametrize("change", [-60, 60])
def test_what_came_between_a_change_of_the_clocks_and_its_discovery_is_put_right(
    store, rows, a_night, change
):
    times = a_night(change)

    store.learn_offsets(120 + change, {})
    store.learn_offsets(None, {351: 120 + change})

    late = {4, 10}
    expected = [utc_text(at) for n, at in enumerate(times, start=1) if n not in late]
    after = [120 if at < in_utc(1) else 120 + change for at in times]
    assert rows("select received_at from inbox where id not in (4, 10)") == [(t,) for t in expected]
    assert rows("select utc_offset from inbox") == [(offset,) for offset in after]
    for column in ("created_at", "handed_at", "sent_at"):
        found = rows(f"select {column} from sent where id not in (4, 10)")
        assert found == [(t,) for t in expected], column
    assert rows("select utc_offset, phone_utc_offset from sent") == [(o, o) for o in after]


def test_a_message_that_was_late_by_an_hour_before_the_change_is_not_taken_for_the_first_after_it():
    hour, soon = timedelta(hours=1), timedelta(seconds=5)
    spans = [(6, 2 * hour), (5, hour + soon), (4, hour), (3, soon), (2, hour), (1, soon)]

    assert corrections.since(spans, -hour) == 4
    assert corrections.since(spans[3:], -hour) is None


def test_an_offset_that_no_change_of_the_clocks_explains_was_wrong_all_along(
    store, rows, received, device
):
    store.save_devices([device(351)], now=NOW, complete=True)
    store.save(Box.INBOX, [received(1, received_at=AT)], now=NOW)
    store.learn_offsets(None, {351: 165})

    store.learn_offsets(None, {351: 180})

    assert rows("select received_at, utc_offset from inbox") == [
        ("2026-11-23T06:41:13.000000Z", 180)
    ]


def test_without_evidence_a_new_offset_is_for_new_rows_only(store, rows, received, device):
    """Rows of years ago, of which nobody knows when they came."""
    store.save_devices([device(351)], now=NOW, complete=True)
    store.learn_offsets(None, {351: 180})
    store.save(Box.INBOX, [received(1, received_at=datetime(2024, 7, 1))], now=NOW)

    store.learn_offsets(None, {351: 120})

    assert rows("select utc_offset from inbox") == [(180,)]


def test_a_rewriting_that_is_cut_off_is_done_the_next_time(
    store, rows, received, device, monkeypatch
):
    store.save_devices([device(351)], now=NOW, complete=True)
    store.save(Box.INBOX, [received(n, received_at=AT) for n in range(1, 8)], now=NOW)
    monkeypatch.setattr(corrections, "SLICE", 3)
    change, slices = boxes.change, []

    def cut_off(*arguments):
        slices.append(arguments)
        if len(slices) == 2:
            raise KeyboardInterrupt
        change(*arguments)

    monkeypatch.setattr(boxes, "change", cut_off)
    with pytest.raises(KeyboardInterrupt):
        store.learn_offsets(180, {351: 300})
    cut = rows("select count(*) from inbox where utc_offset = 300")
    store.learn_offsets(180, {351: 300})

    assert cut == [(3,)]
    assert rows("select distinct utc_offset from inbox") == [(300,)]


def test_a_program_that_inserts_gets_its_turn_while_rows_are_put_right(
    store, received, device, monkeypatch
):
    store.save_devices([device(351)], now=NOW, complete=True)
    store.save(Box.INBOX, [received(n, received_at=AT) for n in range(1, 121)], now=NOW)
    monkeypatch.setattr(corrections, "SLICE", 1)  # so it has many turns to get
    begun, change, slices, seen = Event(), boxes.change, [], []

    def slowly(*arguments):
        slices.append(arguments)
        begun.set()
        time.sleep(0 if seen else 0.01)
        change(*arguments)

    def insert():
        with closing(sqlite3.connect(store.path, timeout=30)) as conn, conn:
            begun.wait(30)
            conn.execute("insert into outbox (phone, text) values ('+79201234567', 'Hello')")
        seen.append(len(slices))

    monkeypatch.setattr(boxes, "change", slowly)
    other = Thread(target=insert)
    other.start()
    store.learn_offsets(180, {351: 300})
    other.join()

    assert seen[0] < len(slices) == 120


def test_what_one_program_learns_another_that_is_at_work_uses_at_once(
    store, rows, received, device
):
    store.save_devices([device(351)], now=NOW, complete=True)
    with Store.open(store.path) as loading:
        loading.save(Box.INBOX, [received(1, received_at=AT)], now=NOW)
        store.learn_offsets(None, {351: 300})
        loading.save(Box.INBOX, [received(2, received_at=AT)], now=NOW)

    assert rows("select distinct utc_offset from inbox") == [(300,)]


@pytest.mark.parametrize(
    ("service", "phones", "known"), [(180, {}, (180, None)), (None, {351: 300}, (None, 300))]
)
def test_one_clock_alone_puts_right_what_waits_for_it(  # noqa: PLR0917  fixtures
    store, rows, sent, device, service, phones, known
):
    store.save_devices([device(351)], now=NOW, complete=True)
    store.save(Box.SENT, [sent(1, created_at=AT, sent_at=AT)], now=NOW)

    store.learn_offsets(service, phones)

    assert rows("select utc_offset, phone_utc_offset from sent") == [known]


def test_a_phone_that_is_learnt_later_than_the_service_puts_right_its_rows(
    store, rows, sent, device
):
    store.save_devices([device(351)], now=NOW, complete=True)
    store.save(Box.SENT, [sent(1, created_at=AT, sent_at=AT)], now=NOW)
    store.learn_offsets(180, {})

    store.learn_offsets(180, {351: 300})

    assert rows("select utc_offset, phone_utc_offset from sent") == [(180, 300)]


def test_a_row_that_another_program_stores_while_rows_are_put_right_waits_for_nothing(
    store, rows, received, device, monkeypatch
):
    store.save_devices([device(351)], now=NOW, complete=True)
    store.save(Box.INBOX, [received(1, received_at=AT)], now=NOW)
    write_all = corrections._write_all

    def slowly(*arguments, **options):
        written = write_all(*arguments, **options)
        with Store.open(store.path) as other:
            other.save(Box.INBOX, [received(2, received_at=AT)], now=NOW)
        return written

    monkeypatch.setattr(corrections, "_write_all", slowly)
    store.learn_offsets(180, {351: 300})

    assert rows("select id, utc_offset from inbox") == [(1, 300), (2, 300)]


def test_what_is_learnt_moves_nothing_that_a_configured_zone_has_placed(
    store, rows, received, sent, device
):
    with Store.open(store.path, Locale(timezone="+03:00", phone_timezone="+05:00")) as placed:
        placed.save_devices([device(351)], now=NOW, complete=True)
        placed.learn_offsets(180, {351: 300})
        now = NOW.replace(tzinfo=None)
        # An hour late, or else what 02:00 would make of it.
        at = {"created_at": now + timedelta(hours=2), "sent_at": now + timedelta(hours=5)}
        placed.save(Box.INBOX, [received(1, received_at=now + timedelta(hours=5))], now=NOW)
        placed.save(Box.SENT, [sent(1, **at)], now=NOW)

        placed.learn_offsets(120, {351: 315})

    assert rows("select received_at, utc_offset from inbox") == [(utc_text(NOW), 300)]
    assert rows("select utc_offset, phone_utc_offset from sent") == [(180, 300)]


def test_to_look_at_what_a_phone_printed_costs_the_same_however_long_its_history_is(
    store, received, sent
):
    """It is done every minute, for each device; here of messages that show nothing."""

    def steps(messages):
        store.save(Box.INBOX, [received(n) for n in messages], now=NOW)
        store.save(Box.SENT, [sent(n) for n in messages], now=NOW)
        done = []
        store._db.conn.set_progress_handler(lambda: done.append(1) and None, 100)
        store.times_of_phone(351)
        store._db.conn.set_progress_handler(None, 100)
        return len(done)

    for box in Box:
        store.make_indexes(box)
    few = steps(range(1, 2500))

    many = steps(range(2500, 10_000))

    assert many < few * 1.1


def test_nothing_new_about_clocks_writes_nothing(store, device):
    store.save_devices([device(351)], now=NOW, complete=True)
    for locale in (Locale(), Locale(timezone="Europe/Berlin", phone_timezone="+05:30")):
        with Store.open(store.path, locale) as again:
            again.learn_offsets(180, {351: 300})
            before = again._db.conn.total_changes

            again.learn_offsets(180, {351: 300})

            assert again._db.conn.total_changes == before


def test_a_configured_zone_rewrites_everything(store, rows, received, sent):
    store.learn_offsets(180, {})
    store.save(Box.SENT, [sent(1, created_at=datetime(2026, 7, 1, 12))], now=NOW)
    store.save(Box.INBOX, [received(1, received_at=datetime(2026, 7, 1, 12))], now=NOW)

    with Store.open(store.path, Locale(timezone="Europe/Berlin", phone_timezone="+05:30")) as later:
        later.apply_locale()

    assert rows("select created_at, utc_offset from sent") == [("2026-07-01T10:00:00.000000Z", 120)]
    assert rows("select received_at, utc_offset from inbox") == [
        ("2026-07-01T06:30:00.000000Z", 330)
    ]


def test_a_changed_region_recomputes_contacts_everywhere(store, rows, received, sent):
    store.save(Box.INBOX, [received(1), received(2, phone="8 920 123-45-67")], now=NOW)
    store.save(Box.SENT, [sent(1, phone="89201234567"), sent(2, phone="900")], now=NOW)
    before = rows("select contact from contacts order by 1")

    with Store.open(store.path, Locale(region="RU")) as later:
        later.apply_locale()

    assert before == [("+79201234567",), ("89201234567",), ("900",)]
    assert rows("select contact, received, sent from contacts order by 1") == [
        ("+79201234567", 2, 1),
        ("900", 0, 1),
    ]
    assert rows("select distinct contact from inbox") == [("+79201234567",)]


def test_a_changed_region_takes_names_and_drafts_along(store, rows, received):
    store.save(Box.INBOX, [received(1, phone="8 920 123-45-67")], now=NOW)
    store._db.execute("update contacts set name = 'Anna', read_until = '2026-11-23'")
    store._db.execute("insert into contacts (contact, name) values ('89205555555', 'Boris')")
    store._db.execute("insert into outbox (phone, text) values ('8 920 123-45-67', 'Hello')")
    store._db.execute("insert into contacts (contact, name) values ('Beeline', 'The provider')")
    store._db.execute("insert into outbox (phone, text, kind) values ('*100#', '', 'ussd')")
    store._db.execute("insert into outbox (phone, text) values ('+447700900123', 'Hi')")
    queue.see_new(store._db.conn, None)

    with Store.open(store.path, Locale(region="RU")) as later:
        later.apply_locale()

    assert rows("select contact, name, read_until, received from contacts order by 1") == [
        ("+79201234567", "Anna", "2026-11-23", 1),
        ("+79205555555", "Boris", None, 0),
        ("Beeline", "The provider", None, 0),
    ]
    assert rows("select contact from outbox order by id") == [
        ("+79201234567",),
        ("*100#",),
        ("+447700900123",),
    ]


def test_a_name_that_is_no_text_stops_no_change_of_the_region(store, rows):
    store._db.execute(
        "insert into contacts (contact, name) values"
        " ('89205555555', cast(x'4dfc6c6c6572' as text)), (cast(x'e9' as text), 'E')"
    )

    with Store.open(store.path, Locale(region="RU")) as later:
        later.apply_locale()

    assert rows("select hex(contact), hex(name) from contacts order by 1") == [
        (b"+79205555555".hex().upper(), "4DFC6C6C6572"),
        ("E9", b"E".hex().upper()),
    ]


def test_a_changed_region_takes_along_what_only_a_webhook_has_told(store, rows):
    for number, phone in ((1, "89201234567"), (2, "Beeline"), (3, None)):
        hint = Hint("inbox", number, 351, phone, "Hi", "sms", {})
        with store.transaction() as conn:
            unconfirmed.keep(conn, hint, NOW, NOW)

    with Store.open(store.path, Locale(region="RU")) as later:
        later.apply_locale()

    assert rows("select contact from unconfirmed order by message_id") == [
        ("+79201234567",),
        ("Beeline",),
        (None,),
    ]


def test_others_get_their_turn_while_many_drafts_follow_a_region(store, rows, monkeypatch):
    store._db.execute(
        "insert into outbox (phone, text) select '8920555550' || value, 'Hi'"
        " from json_each('[1, 2, 3, 4, 5]')"
    )
    queue.see_new(store._db.conn, None)
    monkeypatch.setattr(queue, "AT_ONCE", 2)
    turns = []

    with Store.open(store.path, Locale(region="RU")) as later:
        later.between = lambda: turns.append(
            rows("select count(*) from outbox where contact glob '+7*'")[0][0]
        )
        later.apply_locale()

    assert turns == [2, 4, 5]


def test_a_name_that_the_new_contact_has_already_stays(store, rows, received):
    store.save(Box.INBOX, [received(1, phone="89201234567"), received(2)], now=NOW)
    store._db.execute("update contacts set name = 'old' where contact = '89201234567'")
    store._db.execute("update contacts set name = 'own' where contact = '+79201234567'")

    with Store.open(store.path, Locale(region="RU")) as later:
        later.apply_locale()

    assert rows("select contact, name from contacts") == [("+79201234567", "own")]


def test_the_same_configuration_rewrites_nothing(store, received):
    store.save(Box.INBOX, [received(1)], now=NOW)
    store.apply_locale()
    before = store._db.conn.total_changes

    store.apply_locale()

    assert store._db.conn.total_changes == before


@pytest.mark.parametrize(
    ("phone", "region", "contact"),
    [
        ("8 920 123-45-67", "RU", "+79201234567"),
        ("9201234567", "RU", "+79201234567"),
        ("79201234567", "RU", "+79201234567"),
        ("07400 123456", "GB", "+447400123456"),
        ("900", "RU", "900"),
        ("112", "RU", "112"),
        ("Beeline", "RU", "Beeline"),
        ("*100#", "RU", "*100#"),
        ("+79201234567", "GB", "+79201234567"),
        ("123456789012345678901234567890", "RU", "123456789012345678901234567890"),
    ],
)
def test_a_region_makes_national_numbers_international(phone, region, contact):
    from semysync.contact import contact_of

    assert contact_of(phone, region) == contact


@pytest.mark.parametrize(
    "junk", ["0000-00-00 00:00:00", 12345, "2026-11-23 09:41:13+03:00", {"at": None}, "soon"]
)
def test_a_time_that_later_makes_no_sense_does_not_stop_a_rewriting(store, rows, sent, junk):
    known = sent(1, created_at=AT, delivered_at=AT)
    store.save(Box.SENT, [known], now=NOW)
    store.save(Box.SENT, [sent(1, created_at=AT, extra={"delivered": junk})], now=NOW)

    store.learn_offsets(180, {351: 300})

    ((delivered_at, extra),) = rows("select delivered_at, extra from sent")
    assert delivered_at == "2026-11-23T04:41:13.000000Z"
    assert json.loads(extra) == {"delivered": junk}
