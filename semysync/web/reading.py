"""
What the pages show, read from the mirror: decided by SQL that goes along an index.

A page of a conversation is read from each box on its own and merged, so that it costs the same
wherever in a long conversation it is. A message is named by its key: `in-12`, `out-13`, `draft-4`.
"""

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from semysync.contact import contact_of
from semysync.mirror.reading.history import CONVERSATIONS
from semysync.mirror.tables import settings
from semysync.model import HIGHEST_ID

PAGE = 50  #: messages, or conversations, on a page
UNSEEN = 1_000  #: drafts that the daemon has not looked at yet
NAMES = ("in", "out", "draft")  #: by rank

# What there is of an entry, to go before what it is read from.
RECEIVED = """
select 0 as rank, id, received_at as at, inbox.text as text, phone, contact, device_id as device,
       channel, 'received' as status, utc_offset is not null as in_utc, null as error,
       null as send_at
"""

SENT = """
select 1 as rank, id, created_at as at, sent.text as text, phone, contact, device_id as device,
       channel, status, utc_offset is not null as in_utc, null as error, null as send_at
"""

_DRAFT = """
select 2 as rank, id, created_at as at, text, phone, contact, device, null as channel, status,
       1 as in_utc, error, case when status = 'queued' then send_at end as send_at
  from outbox
"""

# A draft is shown until its message is; one that never went out stays.
_SHOWN_DRAFT = """
 where contact = :contact and +status in ('queued', 'held', 'sending', 'unknown', 'accepted', 'cancelling')
   and not exists (select 1 from sent where sent.id = outbox.sent_id)
"""

_LOST_DRAFT = """
 where status in ('rejected', 'expired', 'cancelled') and contact = :contact and +sent_id is null
"""

_ARMS = (
    (RECEIVED + "  from inbox where contact = :contact", "received_at", 0),
    (SENT + "  from sent where contact = :contact", "created_at", 1),
    (_DRAFT + _SHOWN_DRAFT, "created_at", 2),
    (_DRAFT + _LOST_DRAFT, "created_at", 2),
)

OLDER = [
    f"{arm} and ({at}, id, {rank}) < (:at, :id, :rank) order by {at} desc, id desc limit :most"
    for arm, at, rank in _ARMS
]
NEWER = [
    f"{arm} and ({at}, id, {rank}) > (:at, :id, :rank) order by {at}, id limit :most"
    for arm, at, rank in _ARMS
]
# Messages without a date stand at the very beginning.
UNDATED = [
    f"{arm} and {at} is null and (id, {rank}) < (:id, :rank) order by id desc limit :most"
    for arm, at, rank in _ARMS[:2]
]
DATED_AFTER_UNDATED = [
    f"{arm} and {at} is null and (id, {rank}) > (:id, :rank) order by id limit :most"
    for arm, at, rank in _ARMS[:2]
]

ONE = (
    RECEIVED + "  from inbox where id = ?",
    SENT + "  from sent where id = ?",
    _DRAFT + " where id = ?",
)

NOT_SEEN = f"""
{_DRAFT} where contact is null and status in ('queued', 'held') order by id desc limit {UNSEEN}
"""

NEWEST = f"""
{CONVERSATIONS} where conversations.last_at is not null and (conversations.last_at, contacts.contact) < (:at, :contact)
 order by conversations.last_at desc, contacts.contact desc limit :most
"""
WITHOUT_TIME = f"""
{CONVERSATIONS} where conversations.last_at is null and contacts.contact < :contact order by contacts.contact desc limit :most
"""
OF_CONTACT = f"{CONVERSATIONS} where contacts.contact = ?"

SENT_ROW = "select * from sent where id = ?"
NAME = "select name from contacts where contact = ? and name is not null"

DEVICES = """
select id, coalesce(nullif(label, ''), nullif(name, ''), 'device ' || id) as name, channel,
       archived, missing_since is not null or mirrored_at is null as gone, battery, service_on,
       last_active_at
  from devices
 order by archived, channel, name
"""

LAST_RECEIVED = """
select device_id, channel from inbox where contact = ? order by received_at desc, id desc limit 1
"""


class Entry(NamedTuple):
    """A message in a conversation, or a draft that is to become one."""

    rank: int
    id: int
    at: str | None
    text: str | None
    phone: str | None
    contact: str | None
    device: int | str | None
    channel: str | None
    status: str
    in_utc: int  #: whether `at` is UTC, or as it was printed
    error: str | None  #: of a draft: why it waits, or ended
    send_at: str | None  #: of a draft that is queued

    @property
    def key(self) -> str:
        return f"{NAMES[self.rank]}-{self.id}"

    @property
    def is_received(self) -> bool:
        return NAMES[self.rank] == "in"

    @property
    def is_draft(self) -> bool:
        return NAMES[self.rank] == "draft"

    @property
    def place(self) -> tuple[str, int, int]:
        """Where it stands in a conversation."""
        return self.at or "", self.id, self.rank


class Page(NamedTuple):
    """Messages in the order of time, and whether there are older and newer ones."""

    entries: list[Entry]
    older: bool
    newer: bool


END = ("9999", HIGHEST_ID, 9)


def newest(conn: sqlite3.Connection, contact: str, most: int = PAGE) -> Page:
    """Return the last messages of a conversation, with the drafts that nobody has looked at yet."""
    page, region = before(conn, contact, END, most), settings.find(conn, "region")
    unseen = [
        entry
        for entry in entries_of(conn.execute(NOT_SEEN))
        if entry.phone and contact_of(entry.phone, region) == contact
    ]
    entries = sorted([*page.entries, *unseen], key=lambda entry: entry.place)
    return Page(entries, older=page.older, newer=False)


def before(
    conn: sqlite3.Connection, contact: str, place: tuple[str, int, int], most: int = PAGE
) -> Page:
    """Return the messages of a conversation that stand before a place."""
    at, id_, rank = place
    named = {"contact": contact, "at": at, "id": id_, "rank": rank, "most": most + 1}
    found = [entry for arm in OLDER for entry in entries_of(conn.execute(arm, named))] if at else []
    if len(found) <= most:
        ends = named if not at else named | {"id": HIGHEST_ID, "rank": 9}
        found += [entry for arm in UNDATED for entry in entries_of(conn.execute(arm, ends))]
    found.sort(key=lambda entry: entry.place, reverse=True)
    return Page(found[:most][::-1], older=len(found) > most, newer=True)


def after(
    conn: sqlite3.Connection, contact: str, place: tuple[str, int, int], most: int = PAGE
) -> Page:
    """Return the messages of a conversation that stand behind a place."""
    at, id_, rank = place
    named = {"contact": contact, "at": at, "id": id_, "rank": rank, "most": most + 1}
    found: list[Entry] = []
    if not at:
        found = [e for arm in DATED_AFTER_UNDATED for e in entries_of(conn.execute(arm, named))]
    if len(found) <= most:
        found += [entry for arm in NEWER for entry in entries_of(conn.execute(arm, named))]
    found.sort(key=lambda entry: entry.place)
    return Page(found[:most], older=True, newer=len(found) > most)


def around(conn: sqlite3.Connection, contact: str, entry: Entry, most: int = PAGE) -> Page:
    """Return a message with what stands before and behind it."""
    earlier = before(conn, contact, entry.place, most // 2)
    later = after(conn, contact, entry.place, most // 2)
    return Page([*earlier.entries, entry, *later.entries], earlier.older, later.newer)


def one(conn: sqlite3.Connection, key: str) -> Entry | None:
    """Return the message of a key; None where there is none, or it is no key."""
    name, _, number = key.partition("-")
    if name not in NAMES or not number.isascii() or not number.isdigit() or len(number) > 18:
        return None
    for entry in entries_of(conn.execute(ONE[NAMES.index(name)], (int(number),))):
        return entry
    return None


def entries_of(rows: sqlite3.Cursor) -> list[Entry]:
    """Return the rows of a statement that begins with `RECEIVED` or `SENT`, or is about drafts."""
    return [Entry(*row) for row in rows]


class Conversations(NamedTuple):
    """Conversations, the last first, and whether there are more before or behind them."""

    rows: list[sqlite3.Row]
    more: bool


def conversations(
    conn: sqlite3.Connection, at: str | None = None, contact: str | None = None, most: int = PAGE
) -> Conversations:
    """Return the conversations whose last message stands before a time, and then a contact."""
    dated = contact is None or at is not None
    named = {"at": at or "9999", "contact": contact or "", "most": most + 1}
    found = conn.execute(NEWEST, named).fetchall() if dated else []
    if len(found) <= most:
        rest = {"contact": "\U0010ffff" if dated else contact, "most": most + 1 - len(found)}
        found += conn.execute(WITHOUT_TIME, rest).fetchall()
    return Conversations(found[:most], more=len(found) > most)


def conversation(conn: sqlite3.Connection, contact: str) -> sqlite3.Row | None:
    """Return the row of a contact."""
    row: sqlite3.Row | None = conn.execute(OF_CONTACT, (contact,)).fetchone()
    return row


def sent_row(conn: sqlite3.Connection, message_id: int | None) -> sqlite3.Row | None:
    """Return the row of a message in `sent`; None where it is not there yet."""
    row: sqlite3.Row | None = conn.execute(SENT_ROW, (message_id,)).fetchone()
    return row


def devices(conn: sqlite3.Connection) -> dict[int, sqlite3.Row]:
    """Return what is known of each device, by its id."""
    return {row["id"]: row for row in conn.execute(DEVICES)}


def answering_device(conn: sqlite3.Connection, contact: str) -> int | None:
    """
    Return the device that an answer should go by, where that matters.

    What came by WhatsApp is not answered by SMS without a word.
    """
    row = conn.execute(LAST_RECEIVED, (contact,)).fetchone()
    return row["device_id"] if row and row["channel"] != "sms" else None


def names_of(conn: sqlite3.Connection, contacts: Sequence[str]) -> dict[str, str]:
    """Return the names that contacts were given."""
    found = {contact: conn.execute(NAME, (contact,)).fetchone() for contact in set(contacts)}
    return {contact: row["name"] for contact, row in found.items() if row}
