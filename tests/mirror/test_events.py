"""Events of messages: told with what they tell of, or not at all."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from itertools import product

import pytest

from semysync.mirror.file import open_reader
from semysync.mirror.reading import history
from semysync.mirror.tables import missing
from semysync.mirror.tables.marks import Mark
from semysync.model import Box

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
FLAGS = ("is_send_to_phone", "is_send", "is_delivered", "is_cancel", "is_error", "is_error_send")


@pytest.fixture
def told(rows):
    def ask():
        found = rows("select kind, box, message_id, device_id, data from events order by seq")
        return [(*event[:-1], event[-1] and json.loads(event[-1])) for event in found]

    return ask


def test_each_new_message_makes_an_event_in_the_order_of_ids(store, told, received, sent):
    store.save(Box.INBOX, [received(8), received(7)], now=NOW)
    store.save(Box.SENT, [sent(3, device_id=352, is_send=1)], now=NOW)

    assert told() == [
        ("message.received", "inbox", 7, 351, None),
        ("message.received", "inbox", 8, 351, None),
        ("message.sent", "sent", 3, 352, None),
    ]


def test_every_change_of_a_status_makes_an_event_and_nothing_else_does(store, told, received, sent):
    for flags in ({}, {"is_send_to_phone": 1}, {}, {"text": "other"}, {"is_delivered": 1}):
        store.save(Box.SENT, [sent(3, **flags)], now=NOW)
    for text in ("one", "two"):
        store.save(Box.INBOX, [received(3, text=text)], now=NOW)

    assert told() == [
        ("message.accepted", "sent", 3, 351, None),
        ("message.on_phone", "sent", 3, 351, {"was": "accepted"}),
        ("message.delivered", "sent", 3, 351, {"was": "on_phone"}),
        ("message.received", "inbox", 3, 351, None),
    ]


def test_an_event_names_the_status_that_the_table_computes(store, told, rows, sent):
    every = [dict(zip(FLAGS, flags, strict=True)) for flags in product((0, 1), repeat=len(FLAGS))]

    store.save(Box.SENT, [sent(n, **flags) for n, flags in enumerate(every, 1)], now=NOW)

    statuses = rows("select 'message.' || status, id from sent order by id")
    assert [(event[0], event[2]) for event in told()] == statuses


def test_history_makes_no_events_but_a_change_in_it_does(store, told, received, sent):
    store.save(Box.INBOX, [received(7), received(8)], now=NOW, history_to=7)
    store.save(Box.SENT, [sent(3)], now=NOW, history_to=7)
    store.save(Box.SENT, [sent(3, is_cancel=1)], now=NOW, history_to=7)

    assert told() == [
        ("message.received", "inbox", 8, 351, None),
        ("message.cancelled", "sent", 3, 351, {"was": "accepted"}),
    ]


def test_a_message_that_is_not_stored_is_not_told(store, told, received):
    with pytest.raises(sqlite3.IntegrityError):
        store.save(Box.INBOX, [received(1)], now=NOW, mark=(351, Mark(last_id=None)))

    assert told() == []


def test_only_what_is_new_is_news(store, received, sent):
    store.save(Box.INBOX, [received(7)], now=NOW)
    store.save(Box.SENT, [sent(3)], now=NOW)
    store.save(Box.SENT, [sent(3, is_send=1)], now=NOW)
    for number in (7, 8):
        with store.transaction() as conn:
            missing.mark(conn, Box.INBOX, [7], "2026-11-24")
        store.save(Box.INBOX, [received(7), received(number)], now=NOW)

    with closing(open_reader(store.path)) as conn:
        news, last = history.news(conn, history.Narrowed(), after=0)

    assert [(row["direction"], row["id"]) for row in news] == [("in", 7), ("out", 3), ("in", 8)]
    assert last == store.newest_event() - 1  # that 7 was shown again
