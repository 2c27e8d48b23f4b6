"""
What followers are told of an event: the event, and what it is about as it stands now.

Events hold ids alone. The message, the draft and the device are read when the event is delivered,
so what is told of them is never older than the event, and may be newer.
"""

import json
import sqlite3
from contextlib import suppress
from typing import Any

from semysync.contact import contact_of
from semysync.mirror.tables.followers import Event
from semysync.model import HIGHEST_ID

RECEIVED = """
select 'in' as direction, id, device_id, phone, contact, text, channel, 'received' as status,
       received_at
  from inbox where id = ?
"""

SENT = """
select 'out' as direction, id, device_id, phone, contact, text, channel, status,
       created_at, handed_at, sent_at, delivered_at, cancelled_at, failed_at
  from sent where id = ?
"""

DRAFT = """
select id, phone, contact, text, device, kind, status, client_key, sent_id, attempts, error,
       segments, created_at, accepted_at, finished_at
  from outbox where id = :draft_id or (:draft_id is null and sent_id = :sent_id)
"""

DEVICE = "select id, name, label, channel, battery, last_active_at from devices where id = ?"

NAME = "select name from contacts where contact = ?"

UNCONFIRMED = """
select id, box, message_id, device_id, phone, contact, text, channel, called_at
  from unconfirmed where id = ?
"""

Telling = dict[str, Any]  #: what is told of an event; also a hook's standard input, and its post


def told(conn: sqlite3.Connection, event: Event, region: str | None = None) -> Telling:
    """Return all that there is to tell of an event, ready for JSON."""
    data = _read(event.data)
    telling: Telling = {
        "id": event_id(event.seq, event.at),
        **event._asdict(),
        "data": data,
    }
    draft_id = _number(data.get("draft_id"))
    message = draft = None
    if event.message_id is not None and event.box in {"inbox", "sent"}:
        query = RECEIVED if event.box == "inbox" else SENT
        message = _row(conn, query, event.message_id)
    elif event.message_id is not None and event.kind.startswith("draft."):
        message = _row(conn, SENT, event.message_id)
    if draft_id is not None or (message and message["direction"] == "out"):
        keys = {"draft_id": draft_id, "sent_id": event.message_id}
        draft = _row(conn, DRAFT, keys)
    if draft and draft["contact"] is None:
        draft["contact"] = contact_of(draft["phone"], region)
    unconfirmed = _row(conn, UNCONFIRMED, _number(data.get("unconfirmed_id")))
    about = message or draft or unconfirmed
    device_id = event.device_id or (message or {}).get("device_id")
    return {
        **telling,
        "message": message,
        "draft": draft,
        "unconfirmed": unconfirmed,
        "device": _row(conn, DEVICE, device_id),
        "name": (_row(conn, NAME, about["contact"]) or {}).get("name") if about else None,
    }


def event_id(seq: int, at: str) -> str:
    """
    Return what a receiver tells repeats by: the number of an event, and when it was.

    A mirror that was restored from a copy gives the numbers since then again, to other events.
    """
    return f"{seq}-{''.join(filter(str.isalnum, at))}"


def _number(found: object) -> int | None:
    """Return a number that can be a row's; anybody may have written the event."""
    return found if isinstance(found, int) and abs(found) <= HIGHEST_ID else None


def _read(data: str | None) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        found = json.loads(data or "{}")
        return found if isinstance(found, dict) else {}
    return {}


def _row(conn: sqlite3.Connection, query: str, key: Any) -> dict[str, Any] | None:
    if key is None:
        return None
    asked = conn.execute(query, key if isinstance(key, dict) else (key,))
    row = asked.fetchone()
    return dict(zip((column[0] for column in asked.description), row, strict=True)) if row else None
