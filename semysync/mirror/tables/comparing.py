"""
Compare what the account shows with what is here, for `verify`. Nothing is written.

What came of a comparison is kept by `audits`.
"""

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from semysync.mirror.file import Connected
from semysync.mirror.tables import boxes, missing
from semysync.mirror.tables.marks import WHOLE_ACCOUNT
from semysync.mirror.tables.rows import (
    CONTACT,
    DATE,
    DEVICE,
    PHONE,
    TABLES,
    TEXT,
    Row,
    Writing,
    is_another,
    merged,
)
from semysync.model import Box, Message
from semysync.times import utc_text

LACKING = "lacking"  #: in the account, and not in the mirror
DIFFERING = "differing"  #: in both, and not the same
CONFLICTING = "conflicting"  #: the id belongs to another message here
VANISHED = "vanished"  #: in the mirror, and no longer in the account
RETURNED = "returned"  #: in the account again, and marked as missing here

# Whole statements for each case, so that each is answered from an index.
HELD = {
    (Box.INBOX, True): """
        select id, device_id, substr(received_at, 1, 10) from inbox
         where id > :above and id <= :up_to and purged_at is null and missing_since is null
         order by id limit :most""",
    (Box.SENT, True): """
        select id, device_id, substr(created_at, 1, 10) from sent
         where id > :above and id <= :up_to and purged_at is null and missing_since is null
         order by id limit :most""",
    (Box.INBOX, False): """
        select id, device_id, substr(received_at, 1, 10) from inbox
         where device_id = :device_id and id > :above and id <= :up_to
           and purged_at is null and missing_since is null
         order by id limit :most""",
    (Box.SENT, False): """
        select id, device_id, substr(created_at, 1, 10) from sent
         where device_id = :device_id and id > :above and id <= :up_to
           and purged_at is null and missing_since is null
         order by id limit :most""",
}

FIRST = {
    Box.INBOX: "select min(id) from inbox where received_at >= :since and received_at < :until",
    Box.SENT: "select min(id) from sent where created_at >= :since and created_at < :until",
}

BEFORE = {
    (Box.INBOX, True): "select max(id) from inbox where id < :first",
    (Box.SENT, True): "select max(id) from sent where id < :first",
    (Box.INBOX, False): "select max(id) from inbox where device_id = :device_id and id < :first",
    (Box.SENT, False): "select max(id) from sent where device_id = :device_id and id < :first",
}

STILL_PENDING = """
select message_id from pending where message_id in (select value from json_each(?))
"""


class Seen(NamedTuple):
    """A message that the account has shown: its day there, and in what it differs, if at all."""

    day: str
    what: str | None


def first_since(store: Connected, box: Box, since: datetime, until: datetime) -> int | None:
    """Return the lowest id of the messages with a date between two moments."""
    bounds = {"since": utc_text(since), "until": utc_text(until)}
    with store.connected() as conn:
        found = conn.execute(FIRST[box], bounds).fetchone()[0]
    return found if found is None else int(found)


def last_before(store: Connected, box: Box, device_id: int, first: int) -> int:
    """Return the highest id of a device's (or the account's) box below another; 0 without."""
    query = BEFORE[box, device_id == WHOLE_ACCOUNT]
    with store.connected() as conn:
        found = conn.execute(query, {"device_id": device_id, "first": first}).fetchone()[0]
    return int(found or 0)


def held(
    store: Connected, box: Box, device_id: int, *, above: int, up_to: int, most: int
) -> list[tuple[int, int | None, str | None]]:
    """
    Return what the mirror holds of a device's (or the account's) box, between two ids.

    At most so many of them, the lowest first: ids with their devices and days.
    """
    query = HELD[box, device_id == WHOLE_ACCOUNT]
    named = {"device_id": device_id, "above": above, "up_to": up_to, "most": most}
    with store.connected() as conn:
        return conn.execute(query, named).fetchall()


def compared(
    conn: sqlite3.Connection,
    box: Box,
    messages: Sequence[Message],
    writing: Writing,
    stamp: str,
) -> dict[int, Seen]:
    """
    Compare messages of the account with the mirror, and write nothing.

    One that is still asked about and has merely gone on its way does not differ.
    """
    table = TABLES[box]
    seen: dict[int, Seen] = {}
    ids = [message.id for message in messages]
    there = boxes.find(conn, table, ids)
    marked = set(missing.marked(conn, box, ids))
    pending = {row[0] for row in conn.execute(STILL_PENDING, (json.dumps(ids),))}
    for message in messages:
        old = there.get(message.id)
        if old is None:
            row = table.row(message, writing, stamp)
            what: str | None = LACKING
        else:
            row = table.again(message, old, writing)
            new = merged(table, old, row, stamp)
            moved_on = box is Box.SENT and message.id in pending and _same(old, new)
            if is_another(old, row):
                what = CONFLICTING
            elif new != old and not moved_on:
                what = DIFFERING
            else:
                what = RETURNED if message.id in marked else None
        seen[message.id] = Seen((row[DATE] or "no date")[:10], what)
    return seen


def _same(old: Row, new: Row) -> bool:
    return all(old[i] == new[i] for i in (DEVICE, PHONE, CONTACT, TEXT, DATE))
