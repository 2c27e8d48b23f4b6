"""
Mark messages that have vanished from the account, and take the mark off those that are back.

Nothing is ever deleted for it, and `changed_at` moves, so that who follows the table sees it. What
we have purged ourselves is not missing. Both functions belong into the transaction of what they
follow from.
"""

import json
import sqlite3
from collections.abc import Collection, Sequence

from semysync.mirror.tables.events import TELL
from semysync.model import Box

MARK = {
    Box.INBOX: """
        update inbox set missing_since = :now, changed_at = :now
         where id in (select value from json_each(:ids))
           and missing_since is null and purged_at is null
        returning id, device_id""",
    Box.SENT: """
        update sent set missing_since = :now, changed_at = :now
         where id in (select value from json_each(:ids))
           and missing_since is null and purged_at is null
        returning id, device_id""",
}

# By an index of the missing, of which there are few: this is asked at every pull.
MARKED = {
    Box.INBOX: """
        select id from inbox where missing_since is not null and id between :low and :high""",
    Box.SENT: """
        select id from sent where missing_since is not null and id between :low and :high""",
}

CLEAR = {
    Box.INBOX: """
        update inbox set missing_since = null, changed_at = :now
         where id in (select value from json_each(:ids)) returning id, device_id""",
    Box.SENT: """
        update sent set missing_since = null, changed_at = :now
         where id in (select value from json_each(:ids)) returning id, device_id""",
}


def mark(conn: sqlite3.Connection, box: Box, ids: Sequence[int], stamp: str) -> int:
    """Mark messages as missing, and tell; return how many were not yet."""
    marked = conn.execute(MARK[box], {"ids": json.dumps(ids), "now": stamp}).fetchall()
    _tell(conn, box, "message.missing", marked, stamp)
    return len(marked)


def marked(conn: sqlite3.Connection, box: Box, ids: Collection[int]) -> list[int]:
    """Return those that are marked as missing."""
    if not ids:
        return []
    bounds = {"low": min(ids), "high": max(ids)}
    wanted = set(ids)
    return [row[0] for row in conn.execute(MARKED[box], bounds) if row[0] in wanted]


def clear(conn: sqlite3.Connection, box: Box, shown: Collection[int], stamp: str) -> list[int]:
    """Take the mark off messages that are shown; return which had one."""
    back = marked(conn, box, shown)
    if back:
        rows = conn.execute(CLEAR[box], {"ids": json.dumps(back), "now": stamp}).fetchall()
        _tell(conn, box, "message.returned", rows, stamp)
    return back


def _tell(
    conn: sqlite3.Connection, box: Box, kind: str, rows: Sequence[tuple[int, int]], stamp: str
) -> None:
    told = [(stamp, kind, box, number, device, None) for number, device in sorted(rows)]
    conn.executemany(TELL, told)
