"""
Measure how late the account shows messages, and how far pulls must look back for that.

A message that is new, while one of its device with a higher id is here already, was shown late: by
as much as the other has been here. Between two pulls nothing is known, so it may be a little less.
"""

import sqlite3
from collections.abc import Sequence
from datetime import timedelta

from semysync.mirror.tables import settings
from semysync.mirror.tables.rows import DEVICE, ID, Row
from semysync.model import Box
from semysync.times import from_utc_text

FARTHEST = timedelta(days=1)  #: later ids are left to `verify`

NEXT = {
    Box.INBOX: """
        select mirrored_at from inbox
         where device_id = ? and id > ? and mirrored_at < ?
         order by id limit 1""",
    Box.SENT: """
        select mirrored_at from sent
         where device_id = ? and id > ? and mirrored_at < ?
         order by id limit 1""",
}


def lateness_key(box: Box) -> str:
    """Return the key in `settings` of the greatest lateness measured, in seconds."""
    return f"lateness_{box}_s"


def lookback_key(box: Box) -> str:
    """Return the key in `settings` of how far pulls look back where that was raised, in seconds."""
    return f"lookback_{box}_s"


def note(conn: sqlite3.Connection, box: Box, late: Sequence[Row], stamp: str) -> None:
    """Measure messages that were stored just now, below others; within their transaction."""
    late_s = max((_late_s(conn, box, row, stamp) for row in late), default=0.0)
    if late_s > _get(conn, lateness_key(box)):
        settings.put(conn, lateness_key(box), f"{late_s:.0f}")
        raise_to(conn, box, timedelta(seconds=2 * late_s))


def raise_to(conn: sqlite3.Connection, box: Box, lookback: timedelta) -> None:
    """Let pulls look back for so long at least, within reason."""
    wanted_s = min(lookback, FARTHEST).total_seconds()
    if wanted_s > _get(conn, lookback_key(box)):
        settings.put(conn, lookback_key(box), f"{wanted_s:.0f}")


def lookback(conn: sqlite3.Connection, box: Box) -> timedelta:
    """Return how far pulls must look back by what was measured."""
    return timedelta(seconds=_get(conn, lookback_key(box)))


def _get(conn: sqlite3.Connection, key: str) -> float:
    return float(settings.find(conn, key) or 0)


def _late_s(conn: sqlite3.Connection, box: Box, row: Row, stamp: str) -> float:
    found = conn.execute(NEXT[box], (row[DEVICE], row[ID], stamp)).fetchone()
    if not found:
        return 0.0
    return (from_utc_text(stamp) - from_utc_text(found[0])).total_seconds()
