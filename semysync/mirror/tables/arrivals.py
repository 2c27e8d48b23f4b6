"""
What arrives in `sent`, for the drafts: in the transaction that stores it.

A draft whose message has come follows it from here on, and while an attempt to send is open it is
noted what came after it, in the order of its coming: clocks may jump, this order cannot. That is
done a page at a time, since a trigger for each row would make a first load a third slower.
"""

import json
import sqlite3
from collections.abc import Sequence

from semysync.contact import tail
from semysync.mirror.tables.rows import ID, PHONE, Row

FOLLOW = """
update outbox
   set status = (select status from sent where id = sent_id)
 where status in ('accepted', 'cancelling')
   and sent_id in (select value from json_each(:ids))
   and (select status from sent where id = sent_id) not in (status, 'accepted')
"""

ANY_ACCEPTED = "select 1 from outbox where status in ('accepted', 'cancelling') limit 1"

OPEN_TAILS = "select distinct tail from attempts"

# Rows above all that was known can be anything's that is open, in whatever form its number stands.
OPEN_ABOVE = """
select min(above_id) from attempts
 where draft_id in (select id from outbox where status in ('sending', 'unknown'))
"""

ARRIVE = "insert or ignore into arrivals (sent_id, tail) values (?, ?)"


AWAITED = """
select exists (select 1 from outbox where status in ('unknown', 'sending'))
    or exists (select 1 from attempts
                where draft_id in (select id from outbox where status = 'queued'))
"""


def awaited(conn: sqlite3.Connection) -> bool:
    """Tell whether a draft waits for a look at all that the account has sent."""
    return bool(conn.execute(AWAITED).fetchone()[0])


def waiting(conn: sqlite3.Connection) -> int:
    """Count the drafts that are still to be sent."""
    query = "select count(*) from outbox where status = 'queued'"
    return int(conn.execute(query).fetchone()[0])


def note(conn: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Take new rows of `sent` into account, within an open transaction."""
    if conn.execute(ANY_ACCEPTED).fetchone():
        conn.execute(FOLLOW, {"ids": json.dumps([row[ID] for row in rows])})
    tails = {row[0] for row in conn.execute(OPEN_TAILS)}
    if not tails:
        return
    above = conn.execute(OPEN_ABOVE).fetchone()[0]
    came = [(row[ID], tail(row[PHONE] or "")) for row in rows]
    conn.executemany(
        ARRIVE,
        [(i, end) for i, end in came if end in tails or (above is not None and i > above)],
    )
