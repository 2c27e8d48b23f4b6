"""
Read and write the tables of messages, `inbox` and `sent`, and what follows from them.

All are given a connection; `add` and `change` one with an open transaction, in which they keep the
search index and the contacts in step.
"""

import json
import sqlite3
from collections.abc import Sequence

from semysync.mirror import arrivals, contacts
from semysync.mirror.marks import WHOLE_ACCOUNT
from semysync.mirror.rows import ID, TEXT, Row, Table
from semysync.model import Box

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
 limit ?
"""


def waiting(conn: sqlite3.Connection, most: int) -> dict[int, int | None]:
    """Return the newest messages that no phone has fetched yet, each with its device."""
    return dict(conn.execute(WAITING, (most,)).fetchall())


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
    """Return the rows with these ids; a look at the whole range tells when there is none."""
    if not ids or not conn.execute(table.any, (min(ids), max(ids))).fetchone():
        return {}
    return {row[0]: tuple(row) for row in conn.execute(table.find, (json.dumps(ids),))}


def add(conn: sqlite3.Connection, table: Table, rows: Sequence[Row]) -> None:
    """Add new rows, their words and their contacts: ascending, as they lie in the file."""
    conn.executemany(table.add, rows)
    conn.executemany(table.words, [(row[ID], row[TEXT]) for row in rows])
    contacts.count(conn, table, rows)
    if table.direction == "out":
        arrivals.note(conn, rows)


def change(
    conn: sqlite3.Connection,
    table: Table,
    moved: Sequence[tuple[Row, Row]],
    stamp: str | None,
) -> None:
    """Replace rows, given as they were and are; without a stamp the messages count as unchanged."""
    conn.executemany(table.change, [(*row[1:], stamp, row[ID]) for _, row in moved])
    contacts.recount(conn, table, moved)
