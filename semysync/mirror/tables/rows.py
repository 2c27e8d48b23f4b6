"""
What a message is in the mirror: its columns, and what happens when it comes back different.

A row here is a tuple in the order of the statements below. `Table.row` writes a message with what
is known of its clocks and numbers, `Table.message` reads it back as the service gave it: so a row
can be written anew whenever more is known. `merged` and `is_another` decide, without any I/O,
whether a message that comes back is the same one brought up to date.
"""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from semysync.contact import contact_of
from semysync.model import Account, Box, Device, Message, Received, Sent
from semysync.times import Clock, Clocks, as_printed, in_utc

Row = tuple[Any, ...]

MOST_FORMER = 100  #: states of a row that are kept, the first and the newest

ADD_RECEIVED = """
insert into inbox (id, device_id, phone, contact, text, channel, received_at, extra, utc_offset,
                   mirrored_at)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

FIND_RECEIVED = """
select id, device_id, phone, contact, text, channel, received_at, extra, utc_offset, mirrored_at
  from inbox
 where id in (select value from json_each(?))
"""

AFTER_RECEIVED = "select id from inbox where id > :last order by id limit :most"

UNKNOWN_RECEIVED = """
select id from inbox
 where id > :last and utc_offset is null and received_at is not null
 order by id
 limit :most
"""

CHANGE_RECEIVED = """
update inbox
   set device_id = ?, phone = ?, contact = ?, text = ?, channel = ?, received_at = ?, extra = ?,
       utc_offset = ?, mirrored_at = ?, changed_at = coalesce(?, changed_at)
 where id = ?
"""

ADD_SENT = """
insert into sent (id, device_id, phone, contact, text, channel, created_at, handed_at, sent_at,
                  delivered_at, cancelled_at, failed_at, is_send_to_phone, is_send, is_delivered,
                  is_cancel, is_error, is_error_send, is_out, extra, utc_offset, phone_utc_offset,
                  mirrored_at)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
        coalesce(?, 0), coalesce(?, 0), coalesce(?, 0), coalesce(?, 0), coalesce(?, 0),
        coalesce(?, 0), coalesce(?, 0), ?, ?, ?, ?)
"""

FIND_SENT = """
select id, device_id, phone, contact, text, channel, created_at, handed_at, sent_at,
       delivered_at, cancelled_at, failed_at, is_send_to_phone, is_send, is_delivered,
       is_cancel, is_error, is_error_send, is_out, extra, utc_offset, phone_utc_offset,
       mirrored_at
  from sent
 where id in (select value from json_each(?))
"""

AFTER_SENT = "select id from sent where id > :last order by id limit :most"

UNKNOWN_SENT = """
select id from sent
 where id > :last
   and ((utc_offset is null and coalesce(created_at, handed_at, cancelled_at) is not null)
        or (phone_utc_offset is null and coalesce(sent_at, delivered_at, failed_at) is not null))
 order by id
 limit :most
"""

CHANGE_SENT = """
update sent
   set device_id = ?, phone = ?, contact = ?, text = ?, channel = ?, created_at = ?, handed_at = ?,
       sent_at = ?, delivered_at = ?, cancelled_at = ?, failed_at = ?, is_send_to_phone = ?,
       is_send = ?, is_delivered = ?, is_cancel = ?, is_error = ?, is_error_send = ?, is_out = ?,
       extra = ?, utc_offset = ?, phone_utc_offset = ?, mirrored_at = ?,
       changed_at = coalesce(?, changed_at)
 where id = ?
"""

# The same places in both tables, then the date that tells one message from another.
ID, DEVICE, PHONE, CONTACT, TEXT, CHANNEL, DATE = range(7)


# What `extra` may hold of times on the other side of a change of the clocks, and their columns.
MOVED = {"send_to_phone": 7, "delivered": 9, "cancel": 10, "error_date": 11}


class Writing(NamedTuple):
    """What is known for writing messages down: the clocks, and the region of national numbers."""

    clocks: Clocks = Clocks()
    region: str | None = None


class Offsets(NamedTuple):
    """What was assumed of the service's clock and of a phone's, in minutes east."""

    service: int | None
    phone: int | None


class Table(NamedTuple):
    """A box's statements, and how a message becomes a row of it and a row a message."""

    add: str
    within: str
    find: str
    after: str
    unknown: str
    change: str
    words: str
    all_words: str
    row: Callable[[Any, Writing, str], Row]  # (message, writing, mirrored_at)
    message: Callable[[Row], Message]
    extra: int
    direction: str

    def offsets(self, row: Row) -> Offsets:
        """Return what was assumed of the clocks for a row."""
        *service, phone = row[self.extra + 1 : -1]
        return Offsets(service[0] if service else None, phone)

    def again(self, message: Message, old: Row, writing: Writing) -> Row:
        """Write a message that is there already: with the offsets that were assumed for it."""
        service, phone = self.offsets(old)
        kept = Clocks(
            service=writing.clocks.service.keeping(service),
            any_phone=writing.clocks.phone(message.device_id).keeping(phone),
        )
        return self.row(message, Writing(kept, writing.region), old[-1])


def _received_row(message: Received, writing: Writing, mirrored_at: str) -> Row:
    offset = writing.clocks.phone(message.device_id).offset_at(message.received_at)
    return (
        message.id,
        message.device_id,
        message.phone,
        contact_of(message.phone, writing.region),
        message.text,
        message.channel,
        in_utc(message.received_at, offset),
        message.extra and json_text(message.extra),
        offset,
        mirrored_at,
    )


def _received_message(row: Row) -> Received:
    return Received(
        id=row[ID],
        device_id=row[DEVICE],
        phone=row[PHONE],
        text=row[TEXT],
        channel=row[CHANNEL],
        received_at=as_printed(row[DATE], row[8]),
        extra=json.loads(row[7]) if row[7] else None,
    )


def _sent_row(message: Sent, writing: Writing, mirrored_at: str) -> Row:
    service = writing.clocks.service
    phone = writing.clocks.phone(message.device_id)
    ours = message.created_at or message.handed_at or message.cancelled_at
    theirs = message.sent_at or message.delivered_at or message.failed_at
    offset, phone_offset = service.offset_at(ours), phone.offset_at(theirs)
    extra = message.extra
    if service.zone or phone.zone:
        moved = _moved(message, service, offset, phone, phone_offset)
        extra = (extra or {}) | moved if moved else extra
        handed, cancelled, delivered, failed = (
            in_utc(printed, clock.offset_at(printed))
            for printed, clock in (
                (message.handed_at, service),
                (message.cancelled_at, service),
                (message.delivered_at, phone),
                (message.failed_at, phone),
            )
        )
    else:
        handed, cancelled = in_utc(message.handed_at, offset), in_utc(message.cancelled_at, offset)
        delivered = in_utc(message.delivered_at, phone_offset)
        failed = in_utc(message.failed_at, phone_offset)
    return (
        message.id,
        message.device_id,
        message.phone,
        contact_of(message.phone, writing.region),
        message.text,
        message.channel,
        in_utc(message.created_at, offset),
        handed,
        in_utc(message.sent_at, phone_offset),
        delivered,
        cancelled,
        failed,
        message.is_send_to_phone,
        message.is_send,
        message.is_delivered,
        message.is_cancel,
        message.is_error,
        message.is_error_send,
        message.is_out,
        extra and json_text(extra),
        offset,
        phone_offset,
        mirrored_at,
    )


def _moved(
    message: Sent, service: Clock, offset: int | None, phone: Clock, phone_offset: int | None
) -> dict[str, str]:
    """
    Return what was printed for times on the other side of a change of the clocks.

    A row has one offset for each clock; where that is not the one of a time, the printed time
    stands in `extra`, under the service's name, so that it is not lost.
    """
    times = (
        ("send_to_phone", message.handed_at, service, offset),
        ("cancel", message.cancelled_at, service, offset),
        ("delivered", message.delivered_at, phone, phone_offset),
        ("error_date", message.failed_at, phone, phone_offset),
    )
    return {
        name: str(printed)
        for name, printed, clock, assumed in times
        if printed is not None and clock.offset_at(printed) != assumed
    }


def _sent_message(row: Row) -> Sent:
    extra = json.loads(row[19]) if row[19] else {}
    offset, phone_offset = row[20], row[21]

    def printed(text: str | None, name: str, assumed: int | None) -> datetime | None:
        moment = _moment(extra.get(name)) if text is not None else None
        if moment is None:
            return as_printed(text, assumed)
        del extra[name]
        return moment

    return Sent(
        id=row[ID],
        device_id=row[DEVICE],
        phone=row[PHONE],
        text=row[TEXT],
        channel=row[CHANNEL],
        created_at=as_printed(row[DATE], offset),
        handed_at=printed(row[7], "send_to_phone", offset),
        sent_at=as_printed(row[8], phone_offset),
        delivered_at=printed(row[9], "delivered", phone_offset),
        cancelled_at=printed(row[10], "cancel", offset),
        failed_at=printed(row[11], "error_date", phone_offset),
        is_send_to_phone=row[12],
        is_send=row[13],
        is_delivered=row[14],
        is_cancel=row[15],
        is_error=row[16],
        is_error_send=row[17],
        is_out=row[18],
        extra=extra or None,
    )


def _moment(value: object) -> datetime | None:
    """Return a printed time out of `extra`; None for what stands there because it was no time."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment and not moment.tzinfo else None


TABLES = {
    Box.INBOX: Table(
        add=ADD_RECEIVED,
        within="select id from inbox where id between ? and ? limit ?",
        find=FIND_RECEIVED,
        after=AFTER_RECEIVED,
        unknown=UNKNOWN_RECEIVED,
        change=CHANGE_RECEIVED,
        words="insert into inbox_fts (rowid, text) values (?, ?)",
        all_words="""
            insert into inbox_fts (rowid, text) select id, text from inbox where id between ? and ?""",
        row=_received_row,
        message=_received_message,
        extra=7,
        direction="in",
    ),
    Box.SENT: Table(
        add=ADD_SENT,
        within="select id from sent where id between ? and ? limit ?",
        find=FIND_SENT,
        after=AFTER_SENT,
        unknown=UNKNOWN_SENT,
        change=CHANGE_SENT,
        words="insert into sent_fts (rowid, text) values (?, ?)",
        all_words="""
            insert into sent_fts (rowid, text) select id, text from sent where id between ? and ?""",
        row=_sent_row,
        message=_sent_message,
        extra=19,
        direction="out",
    ),
}


def is_another(old: Row, new: Row) -> bool:
    """Tell whether an id came back with another phone, text and date: then it was given anew."""
    return all(
        old[i] is not None and new[i] is not None and old[i] != new[i] for i in (PHONE, TEXT, DATE)
    )


def merged(table: Table, old: Row, new: Row, now: str) -> Row:
    """
    Bring a row up to date: what the service still says replaces what it said before.

    What it no longer says stays. A device, phone, text or date that was replaced is kept in
    `extra`, as `former`.
    """
    row = [before if after is None else after for before, after in zip(old, new, strict=True)]
    was = json.loads(old[table.extra] or "{}")
    theirs = json.loads(new[table.extra] or "{}")
    kept = {k: v for k, v in was.items() if not _outdated(table, k, old, row)}
    extra = kept | theirs
    replaced = {
        name: old[i]
        for name, i in (("device_id", DEVICE), ("phone", PHONE), ("text", TEXT), ("date", DATE))
        if old[i] is not None and old[i] != row[i]
    }
    if old[table.extra + 1 : -1] != new[table.extra + 1 : -1]:
        replaced.pop("date", None)  # it is the offset that is another
    if replaced:
        extra["former"] = _with_former(was.get("former", []), replaced, now)
    if extra == was:
        row[table.extra] = old[table.extra]
    else:
        row[table.extra] = json_text(extra) if extra else None
    return tuple(row)


def _with_former(former: Any, replaced: dict[str, Any], now: str) -> list[Any]:
    """Add what was replaced, each thing once: a row that goes to and fro must not grow for ever."""
    former = former if isinstance(former, list) else [former]
    others = [
        one
        for one in former
        if not isinstance(one, dict) or {k: v for k, v in one.items() if k != "until"} != replaced
    ]
    return [*others[:1], *others[1:][2 - MOST_FORMER :], {**replaced, "until": now}]


def _outdated(table: Table, name: str, old: Row, row: list[Any]) -> bool:
    """Tell whether `extra` holds a printed time that is not the row's any more."""
    return table.direction == "out" and name in MOVED and row[MOVED[name]] != old[MOVED[name]]


def device_row(device: Device, writing: Writing, now: str) -> dict[str, Any]:
    """Return the columns of a device by name. Its times are by the service's clock (likely)."""
    clock = writing.clocks.service
    offset = clock.offset_at(device.last_active_at or device.limit_at)
    return msgspec.structs.asdict(device) | {
        "limit_at": in_utc(device.limit_at, offset),
        "last_active_at": in_utc(device.last_active_at, offset),
        "utc_offset": offset,
        "extra": device.extra and json_text(device.extra),
        "now": now,
    }


def account_row(account: Account, writing: Writing) -> dict[str, Any]:
    """Return the columns of the account by name."""
    offset = writing.clocks.service.offset_at(account.plan_ends_at)
    return msgspec.structs.asdict(account) | {
        "plan_ends_at": in_utc(account.plan_ends_at, offset),
        "extra": account.extra and json_text(account.extra),
    }


def json_text(value: dict[str, Any]) -> str:
    """Write JSON that SQLite takes, also where the service has sent half of a surrogate pair."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
