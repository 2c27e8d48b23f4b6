"""
Keep the table `passes`: a line for each round of a job, thinned out as time goes by.

The functions are given a connection; `keep` needs an open transaction.
"""

import sqlite3
from datetime import datetime, timedelta

import msgspec

from semysync.times import from_utc_text, utc_text

THIN_OUT_EVERY = 100  #: passes

KEEP = """
insert into passes (kind, started_at, finished_at, requests, added, changed, illegible, error)
values (:kind, :started_at, :finished_at, :requests, :added, :changed, :illegible, :error)
"""

# The last one of a kind that was complete stays: how late a box is follows from it.
THIN_OUT = """
delete from passes
 where ((finished_at < :hour_ago and added + changed + illegible = 0 and error is null)
        or finished_at < :month_ago)
   and id not in (select max(id) from passes where error is null group by kind)
"""

LAST_COMPLETE = """
select started_at from passes where kind = ? and error is null order by id desc limit 1
"""


class Pass(msgspec.Struct, kw_only=True):
    """One round of a job, as the table `passes` keeps it."""

    kind: str
    started_at: str
    requests: int = 0
    added: int = 0
    changed: int = 0
    illegible: int = 0
    error: str | None = None


def keep(conn: sqlite3.Connection, finished: Pass, now: datetime) -> None:
    """Note a pass, and forget quiet ones of more than an hour ago and all of over a month."""
    noted = msgspec.to_builtins(finished) | {"finished_at": utc_text(now)}
    number = conn.execute(KEEP, noted).lastrowid or 0
    if number % THIN_OUT_EVERY:
        return
    conn.execute(
        THIN_OUT,
        {
            "hour_ago": utc_text(now - timedelta(hours=1)),
            "month_ago": utc_text(now - timedelta(days=30)),
        },
    )


def last_complete(conn: sqlite3.Connection, kind: str) -> datetime | None:
    """Return when the last complete pass of a kind was begun."""
    row = conn.execute(LAST_COMPLETE, (kind,)).fetchone()
    return from_utc_text(row[0]) if row else None
