"""
Keep the table `contacts` in step with the boxes, in the transaction that stores the messages.

`count` is for new messages, which come in thousands and need no look at what is there; `recount`
for messages that moved from one contact, or one time, to another. Both are given a connection with
an open transaction. `give_name` and `mark_read` write the columns that are a person's.
"""

import sqlite3
from collections.abc import Iterable

from semysync.contact import contact_of
from semysync.mirror.tables.rows import CONTACT, DATE, ID, Row, Table

COUNT = """
insert into contacts (contact, last_at, last_direction, last_id, received, sent)
values (?, ?, ?, ?, ?, ?)
    on conflict (contact) do update
   set received = received + excluded.received,
       sent = sent + excluded.sent,
       last_direction = iif(coalesce(excluded.last_at, '') >= coalesce(last_at, ''),
                            excluded.last_direction, last_direction),
       last_id = iif(coalesce(excluded.last_at, '') >= coalesce(last_at, ''),
                     excluded.last_id, last_id),
       last_at = nullif(max(coalesce(excluded.last_at, ''), coalesce(last_at, '')), '')
"""

# Counts are moved by differences; only the last message is looked up, by index.
REFRESH_LAST = """
update contacts
   set (last_at, last_direction, last_id) = (
       select at, direction, id
         from (select * from (select received_at as at, 'in' as direction, id
                                from inbox where contact = :contact
                               order by received_at desc, id desc limit 1)
               union all
               select * from (select created_at, 'out', id
                                from sent where contact = :contact
                               order by created_at desc, id desc limit 1))
        order by at desc limit 1)
 where contact = :contact
"""

# A name or a mark that somebody has given stays, also when no message does.
FORGET_EMPTY = """
delete from contacts
 where contact = :contact and received + sent = 0 and name is null and read_until is null
"""

LONGEST_NAME = 200  #: characters

GIVE_NAME = """
insert into contacts (contact, name) values (:contact, :name)
    on conflict (contact) do update set name = excluded.name
"""

# Never back: what was read in another window stays read. Only what was really received counts.
MARK_READ = """
insert into contacts (contact, read_until)
select :contact, max(received_at)
  from inbox
 where contact = :contact and received_at <= :until
group by contact
    on conflict (contact) do update
   set read_until = max(excluded.read_until, coalesce(read_until, ''))
"""

# Without a message: of a number that is written otherwise by now, or of somebody yet to come. What a
# person has filled may hold bytes that are no text, and could not be read as such.
NAMED_ONLY = "select cast(contact as blob) from contacts where received + sent = 0"

FOLLOW = """
insert into contacts (contact, name, read_until)
select :now, name, read_until from contacts where contact = :contact
    on conflict (contact) do update
   set name = coalesce(name, excluded.name),
       read_until = nullif(max(coalesce(read_until, ''), coalesce(excluded.read_until, '')), '')
"""

FORGET = "delete from contacts where contact = ?"


def give_name(conn: sqlite3.Connection, contact: str, name: str) -> None:
    """Give a contact a name, or take it away where it is blank; a contact need not have written."""
    bare = " ".join(name.replace("\0", "").split())[:LONGEST_NAME]
    if bare:
        conn.execute(GIVE_NAME, {"contact": contact, "name": bare})
        return
    conn.execute("update contacts set name = null where contact = ?", (contact,))
    conn.execute(FORGET_EMPTY, {"contact": contact})


def mark_read(conn: sqlite3.Connection, contact: str, until: str) -> None:
    """Note that what a contact wrote up to a time has been read."""
    conn.execute(MARK_READ, {"contact": contact, "until": until})


def count(conn: sqlite3.Connection, table: Table, rows: Iterable[Row]) -> None:
    """Take new rows of a box into account, given by ascending id."""
    messages: dict[str, int] = {}
    last: dict[str, Row] = {}
    for row in rows:
        contact = row[CONTACT]
        if not contact:
            continue
        if contact not in last:
            messages[contact], last[contact] = 1, row
            continue
        messages[contact] += 1
        if (row[DATE] or "") >= (last[contact][DATE] or ""):
            last[contact] = row
    inbox = table.direction == "in"
    conn.executemany(
        COUNT,
        [
            (contact, last[contact][DATE], table.direction, last[contact][ID])
            + ((number, 0) if inbox else (0, number))
            for contact, number in messages.items()
        ],
    )


def recount(conn: sqlite3.Connection, table: Table, moved: Iterable[tuple[Row, Row]]) -> None:
    """Take rows into account whose contact or time has changed, given as they were and are."""
    differences: dict[str, int] = {}
    for old, new in moved:
        if (old[CONTACT], old[DATE]) == (new[CONTACT], new[DATE]):
            continue
        for contact, difference in ((old[CONTACT], -1), (new[CONTACT], 1)):
            if contact:
                differences[contact] = differences.get(contact, 0) + difference
    for contact, difference in differences.items():
        if difference:
            inbox = table.direction == "in"
            numbers = (difference, 0) if inbox else (0, difference)
            conn.execute(COUNT, (contact, None, table.direction, None, *numbers))
        conn.execute(REFRESH_LAST, {"contact": contact})
        conn.execute(FORGET_EMPTY, {"contact": contact})


def follow_region(conn: sqlite3.Connection, region: str | None) -> None:
    """Take names and marks along, where a number has become another contact by a new region."""
    for (written,) in conn.execute(NAMED_ONLY).fetchall():
        contact = written.decode("utf-8", "replace")
        now = contact_of(contact, region)
        if now and now != contact:
            conn.execute(FOLLOW, {"contact": contact, "now": now})
            conn.execute(FORGET, (contact,))
