"""
What a message is in the mirror: its columns, and what happens when it comes back different.

A row here is a tuple in the order of the table's `columns`. `merged` and `is_another` decide,
without any I/O, whether a message that comes back is the same one brought up to date.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from semysync.contact import contact_of
from semysync.mirror.times import as_printed
from semysync.model import Box, Device, Received, Sent

Row = tuple[Any, ...]

ADD_RECEIVED = """
insert into inbox (id, device_id, phone, contact, text, channel, received_at, extra, mirrored_at)
values (?, ?, ?, ?, ?, ?, ?, ?, ?)
    on conflict (id) do nothing
"""

FIND_RECEIVED = """
select id, device_id, phone, contact, text, channel, received_at, extra, mirrored_at
  from inbox
 where id in (select value from json_each(?))
"""

CHANGE_RECEIVED = """
update inbox
   set device_id = ?, phone = ?, contact = ?, text = ?, channel = ?, received_at = ?, extra = ?,
       mirrored_at = ?, changed_at = ?
 where id = ?
"""

ADD_SENT = """
insert into sent (id, device_id, phone, contact, text, channel, created_at, handed_at, sent_at,
                  delivered_at, cancelled_at, failed_at, is_send_to_phone, is_send, is_delivered,
                  is_cancel, is_error, is_error_send, is_out, extra, mirrored_at)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
        coalesce(?, 0), coalesce(?, 0), coalesce(?, 0), coalesce(?, 0), coalesce(?, 0),
        coalesce(?, 0), coalesce(?, 0), ?, ?)
    on conflict (id) do nothing
"""

FIND_SENT = """
select id, device_id, phone, contact, text, channel, created_at, handed_at, sent_at,
       delivered_at, cancelled_at, failed_at, is_send_to_phone, is_send, is_delivered,
       is_cancel, is_error, is_error_send, is_out, extra, mirrored_at
  from sent
 where id in (select value from json_each(?))
"""

CHANGE_SENT = """
update sent
   set device_id = ?, phone = ?, contact = ?, text = ?, channel = ?, created_at = ?, handed_at = ?,
       sent_at = ?, delivered_at = ?, cancelled_at = ?, failed_at = ?, is_send_to_phone = ?,
       is_send = ?, is_delivered = ?, is_cancel = ?, is_error = ?, is_error_send = ?, is_out = ?,
       extra = ?, mirrored_at = ?, changed_at = ?
 where id = ?
"""

# The same places in both tables, then the date that tells one message from another.
DEVICE, PHONE, TEXT, DATE = 1, 2, 4, 6


class Table(NamedTuple):
    """A box's statements, and how a message becomes a row of it: (message, mirrored_at) -> row."""

    add: str
    find: str
    change: str
    row: Callable[[Any, str], Row]
    extra: int
    mirrored: int


def _received_row(message: Received, mirrored_at: str) -> Row:
    return (
        message.id,
        message.device_id,
        message.phone,
        contact_of(message.phone),
        message.text,
        message.channel,
        as_printed(message.received_at),
        message.extra and json_text(message.extra),
        mirrored_at,
    )


def _sent_row(message: Sent, mirrored_at: str) -> Row:
    return (
        message.id,
        message.device_id,
        message.phone,
        contact_of(message.phone),
        message.text,
        message.channel,
        as_printed(message.created_at),
        as_printed(message.handed_at),
        as_printed(message.sent_at),
        as_printed(message.delivered_at),
        as_printed(message.cancelled_at),
        as_printed(message.failed_at),
        message.is_send_to_phone,
        message.is_send,
        message.is_delivered,
        message.is_cancel,
        message.is_error,
        message.is_error_send,
        message.is_out,
        message.extra and json_text(message.extra),
        mirrored_at,
    )


TABLES = {
    Box.INBOX: Table(ADD_RECEIVED, FIND_RECEIVED, CHANGE_RECEIVED, _received_row, 7, 8),
    Box.SENT: Table(ADD_SENT, FIND_SENT, CHANGE_SENT, _sent_row, 19, 20),
}


def is_another(old: Row, new: Row) -> bool:
    """Tell whether an id came back with another phone, text and date: then it was given anew."""
    return all(
        old[i] is not None and new[i] is not None and old[i] != new[i] for i in (PHONE, TEXT, DATE)
    )


def merged(table: Table, old: Row, new: Row, now: str) -> Row:
    """
    Bring a row up to date: what the service still says replaces what it said before.

    What it no longer says stays. A text or a device that changed is kept in `extra`, as `former`.
    """
    row = [before if after is None else after for before, after in zip(old, new, strict=True)]
    extra = json.loads(old[table.extra] or "{}")
    former = extra.pop("former", [])
    if new[table.extra] is not None:
        extra = json.loads(new[table.extra])
    replaced = {
        name: old[i]
        for name, i in (("text", TEXT), ("device_id", DEVICE))
        if old[i] is not None and old[i] != row[i]
    }
    if replaced:
        former = [*former, {**replaced, "until": now}]
    if former:
        extra["former"] = former
    if extra != json.loads(old[table.extra] or "{}"):
        row[table.extra] = json_text(extra)
    else:
        row[table.extra] = old[table.extra]
    return tuple(row)


def device_row(device: Device, now: str) -> dict[str, Any]:
    """Return the columns of a device by name."""
    row = msgspec.structs.asdict(device)
    return row | {
        "limit_at": as_printed(device.limit_at),
        "last_active_at": as_printed(device.last_active_at),
        "extra": device.extra and json_text(device.extra),
        "now": now,
    }


def json_text(value: dict[str, Any]) -> str:
    """Write JSON that SQLite takes, also where the service has sent half of a surrogate pair."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
