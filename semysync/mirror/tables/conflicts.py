"""
Keep the table `conflicts`: rows that cannot be stored as messages or devices, whole.

`keep` is given a connection with an open transaction.
"""

import sqlite3
from collections.abc import Iterable
from datetime import datetime

import msgspec

from semysync.mirror.tables.rows import json_text
from semysync.model import Illegible, Message

KEEP = """
insert into conflicts (box, message_id, reason, row, first_seen_at, last_seen_at)
values (:box, :id, :reason, :row, :now, :now)
    on conflict (box, row) do update set last_seen_at = excluded.last_seen_at, times = times + 1
returning times
"""


def keep(conn: sqlite3.Connection, box: str, rows: Iterable[Illegible], stamp: str) -> int:
    """Keep rows that can't be stored as messages; return how many were not known yet."""
    new = 0
    for row in rows:
        named = msgspec.to_builtins(row) | {"box": box, "now": stamp}
        new += conn.execute(KEEP, named).fetchone()[0] == 1
    return new


def clashing(message: Message) -> Illegible:
    """Return a message whose id belongs to another one, as a row to be kept."""
    reason = "this id belongs to another message already"
    fields = msgspec.structs.asdict(message)
    row = {k: str(v) if isinstance(v, datetime) else v for k, v in fields.items()}
    return Illegible(reason, json_text(row), message.id)
