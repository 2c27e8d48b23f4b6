"""
Numbers that others know are not given twice, where a mirror goes on from an older state.

Drafts and events that a restored or taken-over mirror lacks had numbers, and programs elsewhere
have noted them: the next ones come from the next million.
"""

import sqlite3

BEGIN = """
insert into sqlite_sequence (name, seq)
select column1, 0 from (values ('outbox'), ('events'))
 where column1 not in (select name from sqlite_sequence)
"""

# What has leapt already, and has given no number since, stays where it is.
LEAP = """
update sqlite_sequence set seq = (seq / 1000000 + 1) * 1000000
 where name in ('outbox', 'events') and (seq % 1000000 <> 0 or seq = 0)
"""


def leap(conn: sqlite3.Connection) -> None:
    """Let the next draft and the next event have numbers that nothing has had before."""
    conn.execute(BEGIN)
    conn.execute(LEAP)
