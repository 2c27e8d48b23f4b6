"""
Keep what a webhook told of and no list shows: the answers to USSD codes may be such.

Nothing of it is invented in `inbox`. A row goes when a list shows its message after all, or when
there are too many. The functions are given a connection; those that write need an open transaction.
"""

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from semysync.contact import contact_of
from semysync.times import utc_text

MOST = 1_000  #: rows that are kept

KEEP = """
insert or ignore into unconfirmed
       (box, message_id, device_id, phone, contact, text, channel, called_at, fields)
values (:box, :message_id, :device_id, :phone, :contact, :text, :channel, :called_at, :fields)
returning id
"""

TELL = """
insert into events (at, kind, box, message_id, device_id, data)
values (:at, 'webhook.unconfirmed', :box, :message_id, :device_id, :data)
"""

DROP_OLDEST = """
delete from unconfirmed
 where id <= (select id from unconfirmed order by id desc limit 1 offset :most)
"""

CONFIRM = """
delete from unconfirmed
 where (box = 'inbox' and exists (select 1 from inbox where inbox.id = message_id))
    or (box = 'sent' and exists (select 1 from sent where sent.id = message_id))
"""

NUMBERED = "select id, phone, contact from unconfirmed"

RENUMBER = "update unconfirmed set contact = :contact where id = :id"

IN_BOX = {
    "inbox": "select 1 from inbox where id = ?",
    "sent": "select 1 from sent where id = ?",
}


class Hint(NamedTuple):
    """What a webhook said, as far as it was understood; `fields` is all of it."""

    box: str
    message_id: int
    device_id: int | None
    phone: str | None
    text: str | None
    channel: str | None
    fields: Mapping[str, str]


def is_mirrored(conn: sqlite3.Connection, box: str, message_id: int) -> bool:
    """Tell whether a message is in the mirror."""
    return conn.execute(IN_BOX[box], (message_id,)).fetchone() is not None


def keep(
    conn: sqlite3.Connection,
    hint: Hint,
    called_at: datetime,
    now: datetime,
    region: str | None = None,
) -> None:
    """Keep what a webhook said, and tell of it, once; the oldest rows make room."""
    row = hint._asdict() | {
        "contact": contact_of(hint.phone, region),
        "called_at": utc_text(called_at),
        "fields": json.dumps(hint.fields, ensure_ascii=False),
    }
    kept = conn.execute(KEEP, row).fetchone()
    if kept is None:
        return
    conn.execute(TELL, row | {"at": utc_text(now), "data": json.dumps({"unconfirmed_id": kept[0]})})
    conn.execute(DROP_OLDEST, {"most": MOST})


def is_there(conn: sqlite3.Connection) -> bool:
    """Tell whether anything is kept."""
    return conn.execute("select 1 from unconfirmed limit 1").fetchone() is not None


def follow_region(conn: sqlite3.Connection, region: str | None) -> None:
    """Give what is kept the contact that its number has by a new region."""
    for number, phone, contact in conn.execute(NUMBERED).fetchall():
        if (now := contact_of(phone, region)) != contact:
            conn.execute(RENUMBER, {"id": number, "contact": now})


def confirm(conn: sqlite3.Connection) -> int:
    """Let go what a list has shown meanwhile; return how many that were."""
    return conn.execute(CONFIRM).rowcount
