"""
Keep the mirror in good order: what was kept for long enough goes, and room on the disk comes back.

The functions are given a connection; each makes its own short transactions.
"""

import sqlite3
from collections.abc import Collection
from datetime import datetime, timedelta

from semysync.mirror.copies.replica import was_replicated
from semysync.mirror.file import writing_a_slice
from semysync.mirror.tables import followers
from semysync.times import utc_text

SLICE = 2_000  #: rows a transaction
PATIENCE_MS = 1_000  #: how long to wait for readers of the log

# Events stand in the order of their times, or nearly: the first one that is young ends the old
# ones. One from the future was stamped by a clock that was wrong: it must not keep for years what is
# before it, and stays itself until one after it is old.
FIRST_TO_STAY = """
select coalesce(max(seq) + 1, 0)
  from events
 where at < :before
   and seq < coalesce((select seq from events
                        where at between :before and :tomorrow order by seq limit 1),
                      (select max(seq) + 1 from events))
"""
FORGET = """
delete from events
 where seq in (select seq from events where seq < ? order by seq limit ?)
"""


def forget_events(
    conn: sqlite3.Connection, now: datetime, kept: timedelta, followed_by: Collection[str] = ()
) -> int:
    """
    Forget the events that were `kept` for so long, a slice at a time; return how many.

    The caller sees to it that `now` is right: a wrong clock would cost the whole log. It goes from
    the oldest on, so that no gap is made, and never past what one of `followed_by` has yet to see.
    """
    bounds = {"before": utc_text(now - kept), "tomorrow": utc_text(now + timedelta(days=1))}
    first = conn.execute(FIRST_TO_STAY, bounds).fetchone()[0]
    forgotten = 0
    while True:
        with writing_a_slice(conn):
            seen = followers.slowest(conn, followed_by)
            end = first if seen is None else min(first, seen + 1)
            gone = conn.execute(FORGET, (end, SLICE)).rowcount
            if gone:
                followers.forget_before(conn, followers.oldest(conn), followed_by)
        forgotten += gone
        if gone < SLICE:
            return forgotten


def give_room_back(conn: sqlite3.Connection) -> bool:
    """
    Empty the `-wal` file, which only grows; return whether that was possible.

    Not as long as somebody reads from it, and who waits for that holds up all writers. Litestream
    always does, and empties it itself.
    """
    if was_replicated(conn):
        return False
    patience = conn.execute("pragma busy_timeout").fetchone()[0]
    conn.execute(f"pragma busy_timeout = {PATIENCE_MS}")
    try:
        busy, *_ = conn.execute("pragma wal_checkpoint(truncate)").fetchone()
        return not busy
    finally:
        conn.execute(f"pragma busy_timeout = {int(patience)}")
