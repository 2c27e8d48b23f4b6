"""What happens to a row whose message comes back."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semysync.contact import contact_of
from semysync.mirror.tables.rows import TABLES, Writing, is_another, merged
from semysync.model import Box, Received
from semysync.times import from_utc_text, utc_text

INBOX = TABLES[Box.INBOX]
NOW = "2026-11-23T09:00:00.000000Z"

texts = st.none() | st.text(max_size=3)
messages = st.builds(
    Received,
    id=st.just(1),
    device_id=st.none() | st.integers(1, 3),
    phone=texts,
    text=texts,
    channel=st.sampled_from(["sms", "whatsapp"]),
    received_at=st.none() | st.just(datetime(2026, 1, 1)),
    extra=st.none() | st.dictionaries(st.sampled_from("ab"), st.integers(), min_size=1),
)


def row(message):
    return INBOX.row(message, Writing(), "2026-11-01T00:00:00.000000Z")


@given(messages)
def test_the_same_message_changes_nothing(message):
    assert merged(INBOX, row(message), row(message), NOW) == row(message)


@given(messages, messages)
def test_what_is_no_longer_said_stays_and_what_is_said_replaces(old, new):
    result = merged(INBOX, row(old), row(new), NOW)

    for before, after, now in zip(row(old)[:7], row(new)[:7], result[:7], strict=True):
        assert now == (before if after is None else after)


@given(messages, messages)
def test_no_text_and_no_device_that_was_ever_said_is_lost(old, new):
    result = json.dumps(merged(INBOX, row(old), row(new), NOW), ensure_ascii=False)

    for value in (old.text, new.text, old.device_id, new.device_id):
        if value is not None:
            text = json.dumps(value, ensure_ascii=False)
            assert text in result or json.dumps(text, ensure_ascii=False)[1:-1] in result


@given(messages, messages)
def test_taking_the_same_change_twice_is_taking_it_once(old, new):
    once = merged(INBOX, row(old), row(new), NOW)

    assert merged(INBOX, once, row(new), "2027-01-01T00:00:00.000000Z") == once


def test_only_another_phone_text_and_date_at_once_are_another_message():
    old = Received(
        id=1, device_id=1, phone="+1", text="a", channel="sms", received_at=datetime(2026, 1, 1)
    )
    new = {"phone": "+2", "text": "b", "received_at": datetime(2026, 1, 2)}

    def changed(**fields):
        values = {name: getattr(old, name) for name in old.__struct_fields__}
        return row(Received(**values | fields))

    assert is_another(row(old), changed(**new))
    for kept in new:
        assert not is_another(row(old), changed(**{k: v for k, v in new.items() if k != kept}))
        assert not is_another(row(old), changed(**new | {kept: None}))


@pytest.mark.parametrize(
    ("phone", "contact"),
    [
        ("+79201234567", "+79201234567"),
        ("+7 (920) 123-45-67", "+79201234567"),
        ("+7\u00a0920 123\u201145 67", "+79201234567"),
        ("89201234567", "89201234567"),
        ("8 920 123 45 67", "89201234567"),
        ("900", "900"),
        ("Beeline", "Beeline"),
        ("  Beeline ", "Beeline"),
        ("*100#", "*100#"),
        ("+123", "+123"),
        ("+7920123xxxx", "+7920123xxxx"),
        ("", None),
        (None, None),
    ],
)
def test_the_contact_of_a_number(phone, contact):
    assert contact_of(phone) == contact


@given(st.text())
def test_a_contact_is_its_own_contact(phone):
    contact = contact_of(phone)

    assert contact is None or contact_of(contact) == contact


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_text_order_is_time_order(one, other):
    assert (utc_text(one) < utc_text(other)) == (one < other)
    assert from_utc_text(utc_text(one)) == one


def test_a_time_is_written_in_one_width():
    assert utc_text(datetime(2026, 11, 23, 9, 41, 13, tzinfo=UTC)) == "2026-11-23T09:41:13.000000Z"
