"""
Where the data of one person stands, to hand it all out or to remove it all.

`PLACES` is the one list of it, for both. What is forgotten stays so: the ids of the messages, which
name nobody, are kept in the table `forgotten`, and no pull brings them back. All functions are
given a connection; the rows that they read name their columns (`sqlite3.Row`).
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from semysync.contact import contact_of
from semysync.mirror.copies.replica import was_replicated
from semysync.mirror.file import writing
from semysync.mirror.housekeeping import give_room_back
from semysync.mirror.tables import settings

AT_ONCE = 2_000  #: rows in one transaction, so that no other writer waits for long
MERGED = 500  #: pages of the search index in one transaction

_DRAFTS = "(contact = :contact or (contact is null and is_of(phone, :contact)))"
# Events of drafts name no box, those of webhooks a message that no box has; anybody may write one.
_EVENTS = f"""
       ((box = 'inbox' and message_id in (select id from inbox where contact = :contact))
        or (coalesce(box, 'sent') = 'sent'
            and message_id in (select id from sent where contact = :contact))
        or (kind glob 'draft.*' and iif(json_valid(data), json_extract(data, '$.draft_id'), null)
                                    in (select id from outbox where {_DRAFTS}))
        or (kind = 'webhook.unconfirmed'
            and (box, message_id) in (select box, message_id from unconfirmed
                                       where contact = :contact)))"""

#: every table that holds something of a person, and how its rows are known, dependent ones first
PLACES = {
    "deliveries": f"seq in (select seq from events where {_EVENTS})",
    "attempts": f"draft_id in (select id from outbox where {_DRAFTS})",
    "arrivals": "sent_id in (select id from sent where contact = :contact)",
    "pending": "message_id in (select id from sent where contact = :contact)",
    "unconfirmed": "contact = :contact",
    "conflicts": "row_is_of(row, :contact)",
    "events": _EVENTS,
    "outbox": _DRAFTS,
    "inbox": "contact = :contact",
    "sent": "contact = :contact",
    "contacts": "contact = :contact",
}

#: events name nobody, and a log with a hole would be none; `inbox`, `sent` and `contacts` go last
REMOVED = ("deliveries", "attempts", "arrivals", "pending", "unconfirmed", "conflicts", "outbox")

UNFINISHED = f"""
select id from outbox
 where {_DRAFTS} and status not in ('sent', 'delivered', 'failed', 'cancelled', 'rejected', 'expired')
 order by id
"""

REMEMBER = {
    box: f"""
insert or ignore into forgotten
select '{box}', id from {box} where contact = :contact limit :most
"""
    for box in ("inbox", "sent")
}

# The rows that were remembered in this transaction, and so the same ones.
REMOVE = {
    box: f"""
delete from {box} where contact = :contact
   and id in (select id from forgotten where box = '{box}')
"""
    for box in ("inbox", "sent")
}

# A message may have come meanwhile: of that only is told.
RECOUNT = """
update contacts
   set name = null, read_until = null,
       received = (select count(*) from inbox where contact = :contact),
       sent = (select count(*) from sent where contact = :contact)
 where contact = :contact
"""
FORGET_CONTACT = "delete from contacts where contact = :contact and received + sent = 0"

TELL = """
insert into events (kind, data)
values ('contact.forgotten', printf('{"messages":%d,"drafts":%d}', :messages, :drafts))
"""

KNOWN = """
select id from forgotten where box = ? and id in (select value from json_each(?))
"""


class OnTheirWay(Exception):
    """Drafts to a person are not finished: they must be cancelled before anything is removed."""

    def __init__(self, drafts: Sequence[int]) -> None:
        super().__init__(drafts)
        self.drafts = drafts


class Forgotten(NamedTuple):
    """How much was removed; `in_log` where a reader keeps an old state of the file alive."""

    messages: int
    drafts: int
    in_log: bool
    in_replica: bool  #: as long as that keeps old states


def prepare(conn: sqlite3.Connection) -> None:
    """Give a connection the functions that `PLACES` need."""
    region = settings.find(conn, "region")

    def row_is_of(row: str, contact: str) -> bool:
        with suppress(ValueError, AttributeError):
            phone = json.loads(row).get("phone")
            return phone is not None and contact_of(str(phone), region) == contact
        return False

    conn.create_function("is_of", 2, lambda phone, contact: contact_of(phone, region) == contact)
    conn.create_function("row_is_of", 2, row_is_of)


def contact_here(conn: sqlite3.Connection, named: str) -> str | None:
    """Return the contact that somebody means, as the mirror writes it."""
    return contact_of(named, settings.find(conn, "region"))


def data(conn: sqlite3.Connection, contact: str) -> Iterator[tuple[str, sqlite3.Row]]:
    """Return everything about a contact, row by row, each with its table."""
    prepare(conn)
    for table, is_theirs in reversed(PLACES.items()):
        query = f"select * from {table} where {is_theirs}"
        for row in conn.execute(query, {"contact": contact}):
            yield table, row


def counts(conn: sqlite3.Connection, contact: str) -> dict[str, int]:
    """Count the rows about a contact in each table that has any."""
    prepare(conn)
    found = {
        table: conn.execute(
            f"select count(*) from {table} where {is_theirs}",
            {"contact": contact},
        ).fetchone()[0]
        for table, is_theirs in reversed(PLACES.items())
    }
    return {table: count for table, count in found.items() if count}


def must_be_finished(conn: sqlite3.Connection, contact: str) -> None:
    """Raise `OnTheirWay` where drafts to a contact are not finished."""
    prepare(conn)
    if drafts := [row[0] for row in conn.execute(UNFINISHED, {"contact": contact})]:
        raise OnTheirWay(drafts)


def forget(
    conn: sqlite3.Connection, contact: str, tick: Callable[[int], None] = lambda _: None
) -> Forgotten:
    """
    Remove everything about a contact, also from the search index and from freed pages.

    In short transactions, so that the daemon goes on beside it; cut off, it may be done again.
    `tick` is told after each how many messages have gone. Raises `OnTheirWay`.
    """
    prepare(conn)
    conn.execute("pragma secure_delete = on")  # what is freed is overwritten
    named = {"contact": contact}
    with writing(conn):
        must_be_finished(conn, contact)
        gone = {
            table: conn.execute(
                f"delete from {table} where {PLACES[table]}",
                named,
            ).rowcount
            for table in REMOVED
        }
    messages = 0
    for box in REMEMBER:
        while removed := _forget_some(conn, box, contact):
            messages += removed
            tick(messages)
    with writing(conn):
        conn.execute(RECOUNT, named)
        conn.execute(FORGET_CONTACT, named)
        conn.execute(TELL, {"messages": messages, "drafts": gone["outbox"]})
    for box in REMEMBER:
        _merge(conn, f"{box}_fts")
    in_log = not give_room_back(conn)
    return Forgotten(messages, gone["outbox"], in_log, was_replicated(conn))


def known(conn: sqlite3.Connection, box: str, ids: Sequence[int]) -> set[int]:
    """Return those of some ids that were forgotten; quick where nothing ever was."""
    if not conn.execute("select exists (select 1 from forgotten)").fetchone()[0]:
        return set()
    return {row[0] for row in conn.execute(KNOWN, (box, json.dumps(list(ids))))}


def _forget_some(conn: sqlite3.Connection, box: str, contact: str) -> int:
    with writing(conn):
        conn.execute(REMEMBER[box], {"contact": contact, "most": AT_ONCE})
        return conn.execute(REMOVE[box], {"contact": contact}).rowcount


def _merge(conn: sqlite3.Connection, index: str) -> None:
    """Rewrite a search index, which keeps removed words until then, in short transactions."""
    pages = -MERGED  # the first time, whatever there is
    while True:
        before = conn.total_changes
        with writing(conn):
            conn.execute(f"insert into {index} ({index}, rank) values ('merge', ?)", (pages,))
        if conn.total_changes - before < 2:
            return
        pages = MERGED
