"""
Read and write the tables of messages, `inbox` and `sent`, and what follows from them.

All are given a connection; `add` and `change` one with an open transaction, in which they keep the
search index and the contacts in step.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import cast

from semysync.mirror.tables import arrivals, contacts
from semysync.mirror.tables.marks import WHOLE_ACCOUNT
from semysync.mirror.tables.rows import CHANNEL, ID, TEXT, Row, Table, Writing, merged
from semysync.model import Box, Message

# Made after a first load, which they would slow down.
LATER_INDEXES = {
    "inbox": (
        "create index if not exists inbox_by_device on inbox (device_id, id)",
        "create index if not exists inbox_by_time on inbox (received_at)",
        "create index if not exists inbox_by_contact on inbox (contact, received_at)",
    ),
    "sent": (
        "create index if not exists sent_by_device on sent (device_id, id)",
        "create index if not exists sent_by_time on sent (created_at)",
        "create index if not exists sent_by_contact on sent (contact, created_at)",
        # What was sent and is not reported on, which can be most of the history, is not open.
        """create index if not exists sent_open on sent (created_at)
            where is_delivered = 0 and is_error_send = 0 and is_error = 0 and is_cancel = 0
              and is_send = 0""",
    ),
}

# For each None, of which rows are full, sqlite3 looks long and in vain for how to adapt it, unless
# it is told. This returns None, and no function of ours would be as quick.
sqlite3.register_adapter(type(None), cast("Callable[[None], None]", {}.get))

# Whole statements for each case, so that each is answered from an index.
NEWEST = {
    (Box.INBOX, True): "select id from inbox order by id desc limit 1 offset :skip",
    (Box.SENT, True): "select id from sent order by id desc limit 1 offset :skip",
    (Box.INBOX, False): """
        select id from inbox where device_id = :device_id order by id desc limit 1 offset :skip""",
    (Box.SENT, False): """
        select id from sent where device_id = :device_id order by id desc limit 1 offset :skip""",
}

OLDEST = {
    (Box.INBOX, True): "select min(id) from inbox where id > :above",
    (Box.SENT, True): "select min(id) from sent where id > :above",
    (Box.INBOX, False): "select min(id) from inbox where device_id = :device_id and id > :above",
    (Box.SENT, False): "select min(id) from sent where device_id = :device_id and id > :above",
}

OWNERS = {
    Box.INBOX: """
        select id, device_id from inbox
         where id between :low and :high and purged_at is null and missing_since is null""",
    Box.SENT: """
        select id, device_id from sent
         where id between :low and :high and purged_at is null and missing_since is null""",
}


WAITING = """
select id, device_id from sent
 where is_delivered = 0 and is_error_send = 0 and is_error = 0 and is_cancel = 0
   and is_send = 0 and is_send_to_phone = 0
 order by created_at desc
 limit :most
"""


def waiting(conn: sqlite3.Connection, most: int) -> dict[int, int | None]:
    """Return the newest messages that no phone has fetched yet, each with its device."""
    return dict(conn.execute(WAITING, {"most": most}).fetchall())


def newest(conn: sqlite3.Connection, box: Box, device_id: int, skip: int) -> int:
    """Return the highest id of a device's (or the account's) box, or the one `skip` below it."""
    query = NEWEST[box, device_id == WHOLE_ACCOUNT]
    found = conn.execute(query, {"device_id": device_id, "skip": skip}).fetchone()
    return int(found[0]) if found else 0


def oldest(conn: sqlite3.Connection, box: Box, device_id: int, above: int) -> int:
    """Return the lowest id of a device's (or the account's) box above another; 0 without."""
    query = OLDEST[box, device_id == WHOLE_ACCOUNT]
    found = conn.execute(query, {"device_id": device_id, "above": above}).fetchone()
    return int(found[0] or 0)


def owners(conn: sqlite3.Connection, box: Box, low: int, high: int) -> dict[int, int]:
    """Return whose the messages from one id to another are: the device of each."""
    rows = conn.execute(OWNERS[box], {"low": low, "high": high})
    return {number: device_id for number, device_id in rows if device_id}


def find(conn: sqlite3.Connection, table: Table, ids: Sequence[int]) -> dict[int, Row]:
    """Return the rows with these ids: of a page that is new for the most part, few are asked for."""
    if not ids:
        return {}
    there = _within(conn, table, min(ids), max(ids), len(ids))
    wanted = there.intersection(ids) if len(there) <= len(ids) else ids
    if not wanted:
        return {}
    return {row[0]: tuple(row) for row in conn.execute(table.find, (json.dumps(list(wanted)),))}


def _within(conn: sqlite3.Connection, table: Table, low: int, high: int, most: int) -> set[int]:
    """Return the ids from one to another; one more than `most` of them where there are more."""
    return {row[0] for row in conn.execute(table.within, (low, high, most + 1))}


def make_indexes(conn: sqlite3.Connection, box: Box) -> None:
    """Make the indexes of a box that a first load does without; nothing where they are there."""
    for statement in LATER_INDEXES[box]:
        conn.execute(statement)


def add(conn: sqlite3.Connection, table: Table, rows: Sequence[Row]) -> None:
    """Add new rows, their words and their contacts: ascending, as they lie in the file."""
    if not rows:
        return
    conn.executemany(table.add, rows)
    _add_words(conn, table, rows)
    contacts.count(conn, table, rows)
    if table.direction == "out":
        arrivals.note(conn, rows)


def _add_words(conn: sqlite3.Connection, table: Table, rows: Sequence[Row]) -> None:
    """Index the words of new rows: in one statement, which is quicker, where no others lie between."""
    low, high = rows[0][ID], rows[-1][ID]
    if len(_within(conn, table, low, high, len(rows))) == len(rows):
        conn.execute(table.all_words, (low, high))
    else:
        conn.executemany(table.words, [(row[ID], row[TEXT]) for row in rows])


def change(
    conn: sqlite3.Connection,
    table: Table,
    moved: Sequence[tuple[Row, Row]],
    stamp: str | None,
) -> None:
    """Replace rows, given as they were and are; without a stamp the messages count as unchanged."""
    conn.executemany(table.change, [(*row[1:], stamp, row[ID]) for _, row in moved])
    contacts.recount(conn, table, moved)


def differing(
    conn: sqlite3.Connection, table: Table, messages: Sequence[Message], writing: Writing
) -> dict[int, bool]:
    """
    Return the messages that are not here just as they are given; whether more than `extra` differs.

    What a message does not say counts as what is here.
    """
    there = find(conn, table, [message.id for message in messages])
    found: dict[int, bool] = {}
    for message in messages:
        old = there.get(message.id)
        if old is None:
            found[message.id] = True
            continue
        new = merged(table, old, table.again(message, old, writing), "")
        if new != old:
            place = table.extra
            found[message.id] = new[:place] + new[place + 1 :] != old[:place] + old[place + 1 :]
    return found


def channels(conn: sqlite3.Connection, table: Table, ids: Sequence[int]) -> dict[int, str]:
    """Return by what each message came or went."""
    return {number: row[CHANNEL] for number, row in find(conn, table, ids).items()}
