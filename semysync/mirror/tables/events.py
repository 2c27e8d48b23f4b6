"""
Write the log of events: what happened to messages, in the transaction that stores it.

What happens to drafts is told by the table's own triggers, whoever writes there.
"""

import json
import sqlite3
from collections.abc import Sequence

from semysync.mirror.tables.rows import DEVICE, ID, Row
from semysync.model import Box

TELL = """
insert into events (at, kind, box, message_id, device_id, data) values (?, ?, ?, ?, ?, ?)
"""

# Events of drafts name no box: theirs is `sent`. Of history only they tell.
TOLD_SINCE = """
select message_id from events where seq > :seq and coalesce(box, 'sent') = :box
"""

# The places of the flags in a row of `sent`.
ON_PHONE, SENT, DELIVERED, CANCEL, ERROR, ERROR_SEND = range(12, 18)


def status(row: Row) -> str:
    """Return the status of a row of `sent`: what the generated column of that name computes."""
    if row[DELIVERED]:
        return "delivered"
    if row[ERROR_SEND] or row[ERROR]:
        return "failed"
    if row[SENT]:
        return "sent"
    if row[CANCEL]:
        return "cancelled"
    return "on_phone" if row[ON_PHONE] else "accepted"


def came(conn: sqlite3.Connection, box: Box, rows: Sequence[Row], stamp: str) -> None:
    """Tell of messages that are new."""
    kinds = ((row, "received" if box is Box.INBOX else status(row)) for row in rows)
    told = [(stamp, f"message.{kind}", box, row[ID], row[DEVICE], None) for row, kind in kinds]
    conn.executemany(TELL, told)


def moved(conn: sqlite3.Connection, box: Box, pairs: Sequence[tuple[Row, Row]], stamp: str) -> None:
    """Tell of sent messages, given as they were and are, whose status is another now."""
    if box is Box.INBOX:
        return
    told = [
        (stamp, f"message.{now}", box, row[ID], row[DEVICE], json.dumps({"was": was}))
        for old, row in pairs
        if (was := status(old)) != (now := status(row))
    ]
    conn.executemany(TELL, told)


def newest(conn: sqlite3.Connection) -> int:
    """Return the number of the newest event."""
    return int(conn.execute("select coalesce(max(seq), 0) from events").fetchone()[0])


def not_overtaken(
    conn: sqlite3.Connection, box: Box, moved: dict[int, tuple[Row, Row]], as_of: int | None
) -> dict[int, tuple[Row, Row]]:
    """Return the changes of messages of which nothing was told after an event."""
    if not moved or as_of is None:
        return moved
    told = {number for (number,) in conn.execute(TOLD_SINCE, {"seq": as_of, "box": box})}
    return {number: change for number, change in moved.items() if number not in told}


def fenced(conn: sqlite3.Connection, cause: str, stamp: str) -> None:
    """Tell that another machine sends, and this one not any more."""
    conn.execute(TELL, (stamp, "sending.fenced", None, None, None, json.dumps({"cause": cause})))


def reading(conn: sqlite3.Connection, kind: str, box: Box | None, cause: str, stamp: str) -> None:
    """Tell that the account, or a box of it, cannot be read, or is read again."""
    conn.execute(TELL, (stamp, kind, box, None, None, json.dumps({"cause": cause})))
